//! What the flash of the firmware goes to: its symbols, grouped by where their code comes from.

use std::collections::BTreeMap;
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// A part of the firmware, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The engine, the codecs and the checks, without cryptography: `ota-core` and `ota-device`.
    Engine,
    /// The flash format: `ota-storage`.
    Storage,
    /// Hashes and signatures.
    Cryptography,
    /// The example itself, its drivers and its start-up code.
    Application,
    /// The compiler's and the language's own: copying, formatting, division.
    Language,
}

impl Part {
    pub(super) const ALL: [Self; 5] =
        [Self::Engine, Self::Storage, Self::Cryptography, Self::Application, Self::Language];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine, codecs, checks",
            Self::Storage => "flash format",
            Self::Cryptography => "cryptography",
            Self::Application => "application and drivers",
            Self::Language => "language and compiler",
        }
    }

    /// Which part a symbol belongs to, by the crate that its path begins with.
    fn of(symbol: &str) -> Self {
        let path = symbol.trim_start_matches(['<', '&', '*', '(', '[']).trim_start_matches("mut ");
        if path.starts_with("ota_core::crypto::soft::") {
            return Self::Cryptography;
        }
        let krate = path.split("::").next().unwrap_or_default();
        match krate {
            "ota_core" | "ota_device" => Self::Engine,
            "ota_storage" => Self::Storage,
            "sha2" | "sha3" | "keccak" | "digest" | "block_buffer" | "ed25519_dalek" | "curve25519_dalek"
            | "ed25519" | "signature" | "subtle" | "crc" | "hmac" | "p256" | "primeorder"
            | "elliptic_curve" | "crypto_bigint" | "primefield" | "hybrid_array" | "crypto_common" => {
                Self::Cryptography
            }
            krate if krate.starts_with("firmware_cortex_m") || krate.starts_with("cortex_m") => {
                Self::Application
            }
            "main"
            | "Reset"
            | "HardFault"
            | "HardFault_"
            | "DefaultHandler"
            | "DefaultHandler_"
            | "DefaultPreInit"
            | "HardFaultTrampoline"
            | "rust_begin_unwind" => Self::Application,
            _ => Self::Language,
        }
    }
}

/// How many bytes of flash each part takes.
pub(super) struct Sizes {
    parts: BTreeMap<Part, u64>,
    /// Everything that lies in flash, constants and start values included.
    pub(super) flash: u64,
    /// The largest symbols with their parts, largest first.
    pub(super) largest: Vec<(u64, Part, String)>,
}

impl Sizes {
    /// Reads the symbols of a linked program.
    pub(super) fn of(program: &Path) -> Result<Self, String> {
        let broken = |error: &dyn core::fmt::Display| format!("cannot read {}: {error}", program.display());
        let bytes = std::fs::read(program).map_err(|error| broken(&error))?;
        let file = object::File::parse(bytes.as_slice()).map_err(|error| broken(&error))?;
        let in_flash = |kind| {
            matches!(
                kind,
                SectionKind::Text
                    | SectionKind::ReadOnlyData
                    | SectionKind::Data
                    | SectionKind::ReadOnlyString
            )
        };
        let flash =
            file.sections().filter(|section| in_flash(section.kind())).map(|section| section.size()).sum();
        let mut parts = BTreeMap::new();
        let mut largest = Vec::new();
        // Functions that were merged have several names and lie in one place.
        let mut seen = std::collections::BTreeSet::new();
        for symbol in file.symbols() {
            if symbol.kind() != SymbolKind::Text || symbol.size() == 0 || !seen.insert(symbol.address()) {
                continue;
            }
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or_default()));
            let part = Part::of(&name);
            *parts.entry(part).or_insert(0) += symbol.size();
            largest.push((symbol.size(), part, name));
        }
        largest.sort_by_key(|(bytes, ..)| core::cmp::Reverse(*bytes));
        Ok(Self { parts, flash, largest })
    }

    /// Bytes of code of one part.
    pub(super) fn code(&self, part: Part) -> u64 {
        self.parts.get(&part).copied().unwrap_or(0)
    }

    /// What lies in flash and is no code of any part: constants, strings, start values.
    pub(super) fn constants(&self) -> u64 {
        self.flash.saturating_sub(self.parts.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_crate_that_it_begins_with() {
        for (symbol, part) in [
            ("ota_device::updater::Updater::poll_output", Part::Engine),
            ("<ota_core::trust::Root as core::fmt::Debug>::fmt", Part::Engine),
            ("<&mut ota_storage::flash::Flash<F> as Trait>::read", Part::Storage),
            ("<ed25519_dalek::VerifyingKey>::verify_strict", Part::Cryptography),
            ("curve25519_dalek::edwards::vartime", Part::Cryptography),
            (
                "<ota_core::crypto::soft::ed25519::Ed25519 as ota_core::crypto::SignatureVerifier>::verify",
                Part::Cryptography,
            ),
            ("firmware_cortex_m::uart::send", Part::Application),
            ("core::str::from_utf8", Part::Language),
            ("__aeabi_memcpy", Part::Language),
        ] {
            assert_eq!(Part::of(symbol), part, "{symbol}");
        }
    }
}
