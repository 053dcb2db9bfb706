//! Linux with two system slots behind U-Boot: three variables of its environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `ota_slot` | `a` or `b`: what the next start uses |
//! | `upgrade_available` | `1` during a trial: U-Boot counts starts, and runs `altbootcmd` above `bootlimit` |
//! | `bootcount` | the starts counted so far |
//!
//! That is U-Boot's own boot count, so the board needs `CONFIG_BOOTCOUNT_ENV`, a `bootcmd` that starts `ota_slot`, an
//! `altbootcmd` that starts the other one, and a redundant environment, which makes a change of several variables one
//! step. All three are written by one call for that reason.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ota_core::device::{BootControl, BootFault, Slot};
use ota_core::number::{SecurityEpoch, Sha256Digest};

/// The bootloader's variables.
pub trait Environment {
    /// The value of a variable, or `None` if it is not set.
    ///
    /// # Errors
    /// What kept it from being read.
    fn read(&mut self, name: &str) -> io::Result<Option<String>>;

    /// Sets variables, all of them or none, also when the power goes; durable when it returns.
    ///
    /// # Errors
    /// What kept them from being written.
    fn write(&mut self, variables: &[(&str, &str)]) -> io::Result<()>;
}

/// The programs `fw_printenv` and `fw_setenv`, of U-Boot's own tools or of libubootenv.
#[derive(Debug, Clone)]
pub struct UBootTools {
    print: PathBuf,
    set: PathBuf,
}

impl Default for UBootTools {
    fn default() -> Self {
        Self::new("fw_printenv", "fw_setenv")
    }
}

impl UBootTools {
    /// Programs with other names or in other places.
    pub fn new(print: impl Into<PathBuf>, set: impl Into<PathBuf>) -> Self {
        Self { print: print.into(), set: set.into() }
    }
}

impl Environment for UBootTools {
    fn read(&mut self, name: &str) -> io::Result<Option<String>> {
        // All variables, because asking for one that is not set is an error like any other.
        let output = Command::new(&self.print).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{} ended with {}", self.print.display(), output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let value = |line: &str| {
            line.split_once('=').filter(|(found, _)| *found == name).map(|(_, value)| value.into())
        };
        Ok(text.lines().find_map(value))
    }

    fn write(&mut self, variables: &[(&str, &str)]) -> io::Result<()> {
        let mut child =
            Command::new(&self.set).args(["-s", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let script: String = variables.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        // Closed before waiting: the program reads to the end.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
        let status = child.wait()?;
        written?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{} ended with {status}", self.set.display())))
    }
}

/// Two system slots behind U-Boot.
#[derive(Debug)]
pub struct UBoot<E> {
    environment: E,
    slot: Slot,
    running: Option<Sha256Digest>,
    epoch: SecurityEpoch,
}

impl<E: Environment> UBoot<E> {
    /// Takes the environment, the slot that runs now (the system knows it from its command line, not from the
    /// environment, which may say what comes next), and the digest and security epoch of what runs.
    pub const fn new(
        environment: E,
        slot: Slot,
        running: Option<Sha256Digest>,
        epoch: SecurityEpoch,
    ) -> Self {
        Self { environment, slot, running, epoch }
    }

    /// Writes the variables unless they say so already: the environment lies in flash, too.
    fn set(&mut self, slot: Slot, trial: Trial) -> Result<(), BootFault> {
        let slot = match slot {
            Slot::A => "a",
            Slot::B => "b",
        };
        let available = match trial {
            Trial::Begins => "1",
            Trial::IsOver => "0",
        };
        let wanted = [("ota_slot", slot), ("upgrade_available", available), ("bootcount", "0")];
        let mut is_set = true;
        for (name, value) in wanted {
            let found = self.environment.read(name).map_err(|_| BootFault)?;
            is_set &= found.as_deref() == Some(value);
        }
        if is_set { Ok(()) } else { self.environment.write(&wanted).map_err(|_| BootFault) }
    }
}

#[derive(Clone, Copy)]
enum Trial {
    Begins,
    IsOver,
}

impl<E: Environment> BootControl for UBoot<E> {
    fn running(&self) -> Option<Sha256Digest> {
        self.running
    }

    fn running_epoch(&self) -> SecurityEpoch {
        self.epoch
    }

    fn running_slot(&self) -> Option<Slot> {
        Some(self.slot)
    }

    /// The slot that runs cannot be put on trial: there would be nothing to go back to.
    fn request_trial(&mut self, slot: Slot) -> Result<(), BootFault> {
        if slot == self.slot {
            return Err(BootFault);
        }
        self.set(slot, Trial::Begins)
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        self.set(self.slot, Trial::IsOver)
    }

    fn revert(&mut self) -> Result<(), BootFault> {
        self.set(self.slot.other(), Trial::IsOver)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A program that was just written cannot be started while a child of another test still inherits its file.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// Stands in for U-Boot's tools, which need a board: real programs that keep the variables in a file.
    fn tools(folder: &std::path::Path) -> UBootTools {
        let file = folder.join("environment");
        let (print, set) = (folder.join("fw_printenv"), folder.join("fw_setenv"));
        let file = file.display();
        let scripts = [
            (&print, format!("#!/bin/sh\ncat '{file}'\n")),
            (
                &set,
                format!(
                    "#!/bin/sh\n[ \"$1 $2\" = '-s -' ] || exit 2\n[ -e '{file}.broken' ] && exit 1\n\
                     echo >> '{file}.writes'\nsed 's/ /=/' > '{file}.new' && mv '{file}.new' '{file}'\n"
                ),
            ),
        ];
        for (path, script) in scripts {
            fs::write(path, script).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        UBootTools::new(print, set)
    }

    #[test]
    fn a_trial_runs_through_the_real_programs() {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("environment"), "bootcmd=run start_slot\nota_slot=a\n").unwrap();
        let text = || fs::read_to_string(folder.path().join("environment")).unwrap();
        let writes = || fs::read(folder.path().join("environment.writes")).unwrap().len();

        let mut old = UBoot::new(tools(folder.path()), Slot::A, None, SecurityEpoch(1));
        assert_eq!(old.request_trial(Slot::A), Err(BootFault), "there would be nothing to go back to");
        old.request_trial(Slot::B).unwrap();
        assert_eq!(text(), "ota_slot=b\nupgrade_available=1\nbootcount=0\n");
        old.request_trial(Slot::B).unwrap();
        assert_eq!(writes(), 1, "asking again writes nothing");

        let mut new = UBoot::new(tools(folder.path()), Slot::B, None, SecurityEpoch(1));
        new.confirm().unwrap();
        new.confirm().unwrap();
        assert_eq!(text(), "ota_slot=b\nupgrade_available=0\nbootcount=0\n");
        assert_eq!(writes(), 2);
        new.revert().unwrap();
        assert_eq!(text(), "ota_slot=a\nupgrade_available=0\nbootcount=0\n");
    }

    #[test]
    fn programs_that_fail_or_are_missing_are_a_fault() {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("environment"), "").unwrap();
        let mut boot = UBoot::new(tools(folder.path()), Slot::A, None, SecurityEpoch(0));
        fs::write(folder.path().join("environment.broken"), "").unwrap();
        assert_eq!(boot.request_trial(Slot::B), Err(BootFault));
        let missing = UBootTools::new(folder.path().join("no"), folder.path().join("nothing"));
        let mut boot = UBoot::new(missing, Slot::A, None, SecurityEpoch(0));
        assert_eq!(boot.confirm(), Err(BootFault));
    }
}
