//! The three logs: one file per record, complete before it gets its name.
//!
//! Invariant: a record that was told to the caller has a durable name and durable bytes.

use std::io;

use crc::{CRC_32_ISO_HDLC, Crc};
use ota_core::device::{Log, StorageFault, StorageFaultKind};
use ota_core::limits::{RECORD_BYTES_MAX, RECORDS_KEPT_MIN};

use super::files::Files;
use super::medium;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const CHECK_BYTES: usize = 4;
/// Digits of a record's number in its name: all that 64 bits can need, so that names sort like numbers.
const DIGITS: usize = 20;

/// What is known about one log.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// The numbers of the records that are there, oldest first.
    numbers: Vec<u64>,
    /// The names may be less durable than they look: nothing is told before they are.
    doubtful: bool,
}

const fn prefix(log: Log) -> &'static str {
    match log {
        Log::Trusted => "trusted-",
        Log::Sets => "sets-",
        Log::Journal => "journal-",
    }
}

fn name(log: Log, number: u64) -> String {
    format!("{}{number:0DIGITS$}", prefix(log))
}

impl Records {
    /// Finds the records of a log among the names in the folder.
    pub(super) fn find(log: Log, names: &[String]) -> Self {
        let number = |name: &String| {
            let digits = name.strip_prefix(prefix(log))?;
            let ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| ours)
        };
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Self { numbers, doubtful: false }
    }

    pub(super) fn append<F: Files>(
        &mut self,
        files: &mut F,
        log: Log,
        record: &[u8],
    ) -> Result<(), StorageFault> {
        if record.is_empty() || record.len() > RECORD_BYTES_MAX {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        self.settle(files)?;
        let number = self.numbers.last().map_or(Some(1), |newest| newest.checked_add(1));
        let number = number.ok_or(StorageFaultKind::Full)?;
        let new = format!("{}new", prefix(log));
        write_whole(files, &new, number, record).map_err(medium)?;
        // From here on the name may be there, and durable, whatever is answered.
        self.doubtful = true;
        if let Err(error) = files.rename(&new, &name(log, number)) {
            self.doubtful = false;
            return Err(medium(error));
        }
        self.numbers.push(number);
        self.settle(files)?;
        self.drop_old(files, log);
        Ok(())
    }

    pub(super) fn record<F: Files>(
        &mut self,
        files: &mut F,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.settle(files)?;
        let back = usize::try_from(newest_first).unwrap_or(usize::MAX);
        let Some(number) = self.numbers.iter().rev().nth(back).copied() else { return Ok(None) };
        let mut bytes = [0; CHECK_BYTES + RECORD_BYTES_MAX + 1];
        let file = files.open(&name(log, number)).map_err(medium)?.ok_or(StorageFaultKind::Medium)?;
        let length = files.read_at(&file, 0, &mut bytes).map_err(medium)?;
        let (found, record) = bytes[..length].split_first_chunk().ok_or(StorageFaultKind::Medium)?;
        // Falling back to an older record would take back something that was trusted: the fault is told instead.
        if record.is_empty() || record.len() > RECORD_BYTES_MAX || *found != check(number, record) {
            return Err(StorageFaultKind::Medium.into());
        }
        into.get_mut(..record.len()).ok_or(StorageFaultKind::OutOfBounds)?.copy_from_slice(record);
        Ok(Some(record.len()))
    }

    fn settle<F: Files>(&mut self, files: &mut F) -> Result<(), StorageFault> {
        if self.doubtful {
            files.sync_folder("").map_err(medium)?;
            self.doubtful = false;
        }
        Ok(())
    }

    /// Removes what need not be kept. That it fails is no fault of the append: the next one tries again.
    fn drop_old<F: Files>(&mut self, files: &mut F, log: Log) {
        let kept = usize::try_from(RECORDS_KEPT_MIN).unwrap_or(usize::MAX);
        while self.numbers.len() > kept {
            if files.remove(&name(log, self.numbers[0])).is_err() {
                return;
            }
            self.numbers.remove(0);
        }
    }
}

/// The check covers the number, so that a file under another name is no record.
fn check(number: u64, record: &[u8]) -> [u8; CHECK_BYTES] {
    let mut digest = CRC.digest();
    digest.update(&number.to_le_bytes());
    digest.update(record);
    digest.finalize().to_le_bytes()
}

fn write_whole<F: Files>(files: &mut F, name: &str, number: u64, record: &[u8]) -> io::Result<()> {
    let file = files.create(name)?;
    let mut bytes = check(number, record).to_vec();
    bytes.extend_from_slice(record);
    files.write_at(&file, 0, &bytes)?;
    files.sync(&file)
}
