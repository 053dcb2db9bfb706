//! What is seen while something is awaited: one line that changes on a terminal, a line now and then elsewhere.

use core::time::Duration;
use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ota_device::Activity;

use crate::Failure;
use crate::fleet::Fleet;

/// How often what is awaited is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a line is printed where lines stay.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// How long anything may take: far more than it does, so that what hangs is a failure and not a wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// What each device may take on top of that, on a slow machine with a slow disk.
const PATIENCE_PER_DEVICE: Duration = Duration::from_millis(500);

/// Where progress is shown.
pub(crate) struct View {
    bar: Option<ProgressBar>,
    began: Instant,
    printed: Option<Instant>,
    last: String,
}

impl View {
    /// A view that begins now.
    pub(crate) fn new() -> Self {
        let bar = std::io::stdout().is_terminal().then(ProgressBar::new_spinner);
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template("  {elapsed:>7} {wide_msg}")) {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), printed: None, last: String::new() }
    }

    /// Looks until there is a result. `look` gives it, or what to show meanwhile.
    ///
    /// # Errors
    /// [`Failure`] of `look`, of a device, or because it took too long.
    pub(crate) fn wait<T>(
        &mut self,
        fleet: &Fleet,
        mut look: impl FnMut() -> Result<Result<T, String>, Failure>,
    ) -> Result<T, Failure> {
        let patience =
            PATIENCE + PATIENCE_PER_DEVICE * u32::try_from(fleet.devices.len()).unwrap_or(u32::MAX);
        let began = Instant::now();
        loop {
            match look()? {
                Ok(result) => {
                    if let Some(bar) = &self.bar {
                        bar.set_message("");
                    }
                    return Ok(result);
                }
                Err(line) if began.elapsed() > patience => {
                    let waited = patience.as_secs();
                    return Err(Failure::new(format!("nothing came of it in {waited} s: {line}")));
                }
                Err(line) => self.show(&line),
            }
            if let Some(failure) = fleet.failure() {
                return Err(failure);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    fn show(&mut self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(line.to_owned());
            bar.tick();
        } else if self.last != line && self.printed.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            println!("  {:>6.1} s  {line}", self.began.elapsed().as_secs_f64());
            line.clone_into(&mut self.last);
            self.printed = Some(Instant::now());
        }
    }
}

/// What the devices are doing, in a few words.
pub(crate) fn at_work(fleet: &Fleet) -> String {
    let (mut downloading, mut testing, mut bytes) = (0, 0, 0);
    for device in &fleet.devices {
        let notes = device.notes();
        bytes += notes.fetched;
        match notes.activity {
            Activity::Metadata | Activity::Downloading | Activity::Verifying => downloading += 1,
            Activity::ReadyToInstall
            | Activity::Installing
            | Activity::RestartNeeded
            | Activity::OnTrial
            | Activity::Reverting => testing += 1,
            _ => {}
        }
    }
    format!(
        "{downloading} downloading, {testing} installing, {:.1} MiB fetched",
        bytes as f64 / f64::from(1 << 20)
    )
}
