//! What the demonstration can be told.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

/// Fewest devices: each part is played by one of them.
pub(crate) const DEVICES_MIN: usize = 8;
/// Most devices: one process holds them all, each with a thread, a connection and a folder.
pub(crate) const DEVICES_MAX: usize = 2000;

pub(crate) const HELP: &str = "\
A whole fleet on this machine: a real server, devices with the real update engine on real TLS connections, and an
update from its keys to the last device. Everything is checked at the end, byte for byte.

Usage: cargo demo [-- OPTIONS]

  --devices N      how many devices, from 8 to 2000                       [default: 50]
  --folder FOLDER  where everything is kept; must be new or empty         [default: a temporary folder, removed at the end]
  --keep           when all is done, tell the server's address and go on in the foreground: server and devices run until
                   Ctrl-C ends them; the folder stays
  -h, --help       print this

Exit status: 0 if everything is exactly as planned, 1 if not, 2 for wrong use.";

/// Everything the program was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) devices: usize,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) at_the_end: AtTheEnd,
}

/// What becomes of the server and the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtTheEnd {
    /// They are ended, and what they have written is removed.
    CleanUp,
    /// They go on.
    Keep,
}

impl Options {
    /// Reads the command line; `None` if only help was asked for.
    ///
    /// # Errors
    /// A sentence for the person who typed it.
    pub(crate) fn read(mut arguments: Parser) -> Result<Option<Self>, String> {
        let mut options = Self { devices: 50, folder: None, at_the_end: AtTheEnd::CleanUp };
        while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("devices") => {
                    let number = arguments.value().and_then(|value| value.parse());
                    options.devices = number.map_err(|why| format!("--devices: {why}"))?;
                    if !(DEVICES_MIN..=DEVICES_MAX).contains(&options.devices) {
                        return Err(format!(
                            "--devices {}: from {DEVICES_MIN}, one for each part, to {DEVICES_MAX}",
                            options.devices
                        ));
                    }
                }
                Arg::Long("folder") => {
                    let folder = arguments.value().map(PathBuf::from);
                    options.folder = Some(folder.map_err(|why| format!("--folder: {why}"))?);
                }
                Arg::Long("keep") => options.at_the_end = AtTheEnd::Keep,
                other => return Err(other.unexpected().to_string()),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        Options::read(Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn nothing_has_to_be_said() {
        let options = read("").unwrap().unwrap();
        assert_eq!((options.devices, options.at_the_end), (50, AtTheEnd::CleanUp));
        assert_eq!(read("--help").unwrap(), None);
    }

    #[test]
    fn an_error_names_the_option_and_what_is_allowed() {
        assert!(read("--devices 7").unwrap_err().contains("from 8"));
        assert!(read("--devices many").unwrap_err().contains("--devices"));
        assert!(read("--quick").unwrap_err().contains("--quick"));
    }
}
