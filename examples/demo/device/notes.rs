//! What a device's thread tells the rest of the program. The update knows nothing of it.

use std::collections::BTreeSet;

use ota_core::number::{ByteLength, ReleaseId};
use ota_core::wire::{Block, Down, Part, ReportCode};
use ota_device::{Activity, Event, Progress};

/// What was seen of one device so far.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    /// What its engine is doing.
    pub(crate) activity: Activity,
    /// How far its download is.
    pub(crate) done: ByteLength,
    /// How long its download is.
    pub(crate) total: ByteLength,
    /// How often it was started.
    pub(crate) starts: u32,
    /// How often the broker let it in.
    pub(crate) connections: u32,
    /// How often the broker did not, and why the last time.
    pub(crate) turned_away: u32,
    pub(crate) turned_away_because: String,
    /// What it has confirmed, in this order.
    pub(crate) confirmed: Vec<ReleaseId>,
    /// Why it went back.
    pub(crate) reverted: Vec<ReportCode>,
    /// Why an attempt ended before anything was installed.
    pub(crate) failed: Vec<ReportCode>,
    /// The power cut that was planned for it.
    pub(crate) cut: Option<Cut>,
    /// Bytes of files that came in blocks.
    pub(crate) fetched: u64,
    /// Why its thread ended, if it ended before it should.
    pub(crate) failure: Option<String>,
    seen: BTreeSet<(u64, u64)>,
}

/// A power cut in the middle of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes that had come before it.
    pub(crate) before: u64,
    /// Bytes that came twice, once before and once after it.
    pub(crate) twice: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            activity: Activity::Starting,
            done: ByteLength(0),
            total: ByteLength(0),
            starts: 0,
            connections: 0,
            turned_away: 0,
            turned_away_because: String::new(),
            confirmed: Vec::new(),
            reverted: Vec::new(),
            failed: Vec::new(),
            cut: None,
            fetched: 0,
            failure: None,
            seen: BTreeSet::new(),
        }
    }
}

impl Notes {
    /// A message came: the bytes of files in it are counted.
    pub(crate) fn hear(&mut self, message: &[u8]) {
        let Ok(Down::Block(Block { part: Part::File(file), offset, bytes, .. })) = Down::decode(message)
        else {
            return;
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.fetched += length;
        let is_known = !self.seen.insert((u64::from(file.0), offset.0));
        if is_known && let Some(cut) = &mut self.cut {
            cut.twice += length;
        }
    }

    /// The engine has told something.
    pub(crate) fn on_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Confirmed(release) => self.confirmed.push(*release),
            Event::Reverted(code) => self.reverted.push(*code),
            Event::Failed(code) => self.failed.push(*code),
            Event::Offered(_) if self.cut.is_none() => self.seen.clear(),
            _ => {}
        }
    }

    /// The engine has had a turn.
    pub(crate) fn on_progress(&mut self, progress: &Progress) {
        (self.activity, self.done, self.total) = (progress.activity, progress.done, progress.total);
    }

    /// The broker did not let the device in, or let go of it.
    pub(crate) fn turned_away(&mut self, why: String) {
        self.turned_away += 1;
        self.turned_away_because = why;
    }

    /// The power goes, on purpose.
    pub(crate) fn cut(&mut self) {
        self.cut = Some(Cut { before: self.fetched, twice: 0 });
    }
}
