//! The device's board: a bootloader with two slots that counts the starts of firmware on trial, as U-Boot does.
//!
//! Its variables lie in a file of the device's folder; [`ota_storage::boot::linux::UBoot`] reads and writes them as it
//! would on a board.

use std::io;
use std::path::{Path, PathBuf};

use ota_core::crypto::Hasher as _;
use ota_core::crypto::soft::SoftSha256;
use ota_core::device::Slot;
use ota_core::number::{SecurityEpoch, Sha256Digest};
use ota_storage::boot::linux::{Environment, UBoot};

use crate::product::FIRMWARE;

/// Starts of firmware on trial before the bootloader takes the other one by itself.
const BOOT_LIMIT: u32 = 3;

/// The bootloader's variables, in a file.
#[derive(Debug)]
pub(crate) struct EnvironmentFile(PathBuf);

impl EnvironmentFile {
    fn all(&self) -> io::Result<Vec<(String, String)>> {
        let text = match std::fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(text.lines().filter_map(pair).collect())
    }
}

impl Environment for EnvironmentFile {
    fn read(&mut self, name: &str) -> io::Result<Option<String>> {
        Ok(self.all()?.into_iter().find_map(|(found, value)| (found == name).then_some(value)))
    }

    fn write(&mut self, variables: &[(&str, &str)]) -> io::Result<()> {
        let mut all = self.all()?;
        all.retain(|(name, _)| variables.iter().all(|(changed, _)| name != changed));
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let text: String = all.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let fresh = self.0.with_extension("new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, &self.0)
    }
}

/// What the bootloader does when the device starts: it counts, chooses a slot, and starts what is in there.
///
/// # Errors
/// What the file system says.
pub(crate) fn start(folder: &Path) -> io::Result<UBoot<EnvironmentFile>> {
    let mut environment = EnvironmentFile(folder.join("bootloader"));
    let read =
        |environment: &mut EnvironmentFile, name| environment.read(name).map(Option::unwrap_or_default);
    let mut slot = if read(&mut environment, "ota_slot")? == "b" { Slot::B } else { Slot::A };
    if read(&mut environment, "upgrade_available")? == "1" {
        let count = read(&mut environment, "bootcount")?.parse::<u32>().unwrap_or(0) + 1;
        environment.write(&[("bootcount", &count.to_string())])?;
        if count > BOOT_LIMIT {
            slot = slot.other();
        }
    }
    let name = match slot {
        Slot::A => "a",
        Slot::B => "b",
    };
    let mut hasher = SoftSha256::new();
    hasher.update(&std::fs::read(folder.join(format!("slot-{FIRMWARE}-{name}")))?);
    Ok(UBoot::new(environment, slot, Some(Sha256Digest(hasher.finish())), SecurityEpoch(0)))
}
