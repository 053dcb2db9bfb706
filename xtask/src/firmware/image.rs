//! The bytes that lie in flash, as a bootloader would find them: the loaded segments of a linked program, by address.

use std::path::Path;

use object::read::elf::ElfFile32;
use object::read::elf::ProgramHeader;
use object::{Endianness, elf};

/// Writes the image of a program that begins at address 0; gaps are filled with ones, as erased flash is.
pub(super) fn write(program: &Path, image: &Path) -> Result<(), String> {
    let broken = |error: &dyn core::fmt::Display| format!("cannot read {}: {error}", program.display());
    let bytes = std::fs::read(program).map_err(|error| broken(&error))?;
    let file = ElfFile32::<Endianness>::parse(bytes.as_slice()).map_err(|error| broken(&error))?;
    let endian = file.endian();
    let mut flash = Vec::new();
    for segment in file.elf_program_headers() {
        let data = segment.data(endian, bytes.as_slice()).map_err(|()| broken(&"a segment lies outside"))?;
        if segment.p_type(endian) != elf::PT_LOAD || data.is_empty() {
            continue;
        }
        let from = usize::try_from(segment.p_paddr(endian)).map_err(|error| broken(&error))?;
        let to = from + data.len();
        flash.resize(flash.len().max(to), 0xff);
        flash[from..to].copy_from_slice(data);
    }
    std::fs::write(image, flash).map_err(|error| format!("cannot write {}: {error}", image.display()))
}
