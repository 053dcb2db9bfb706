//! What the firmware may need, and what it needed.

use std::path::Path;

use super::size::{Part, Sizes};

/// What the device said about its own memory, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// The engine itself, without the buffers that it is given.
    pub(super) engine: u64,
    /// All static variables, with those buffers.
    pub(super) statics: u64,
    /// The deepest that the stack ever was.
    pub(super) stack: u64,
}

impl Memory {
    /// Reads a line as the device prints it: `engine 1 static 2 stack 3`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["engine", engine, "static", statics, "stack", stack] = words.as_slice() else { return None };
        Some(Self {
            engine: engine.parse().ok()?,
            statics: statics.parse().ok()?,
            stack: stack.parse().ok()?,
        })
    }
}

/// The most that each thing may need, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Budget(Vec<(String, u64)>);

impl Budget {
    /// Reads lines of `name = bytes`; lines that begin with `#` are for people.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let limits = lines.map(|line| {
            let (name, bytes) = line.split_once('=').ok_or_else(|| format!("not `name = bytes`: {line}"))?;
            let bytes = bytes.trim().parse().map_err(|_| format!("not a number of bytes: {line}"))?;
            Ok((name.trim().to_owned(), bytes))
        });
        limits.collect::<Result<_, String>>().map(Self)
    }

    /// Holds what was needed against it; the error lists everything that is over.
    pub(super) fn check(&self, sizes: &Sizes, memory: &Memory) -> Result<(), String> {
        let needed = [
            ("flash_engine", sizes.code(Part::Engine)),
            ("flash_storage", sizes.code(Part::Storage)),
            ("flash_cryptography", sizes.code(Part::Cryptography)),
            ("flash_all", sizes.flash),
            ("ram_engine", memory.engine),
            ("ram_static", memory.statics),
            ("stack", memory.stack),
        ];
        self.compare(&needed)
    }

    fn compare(&self, needed: &[(&str, u64)]) -> Result<(), String> {
        let mut over = Vec::new();
        for (name, bytes) in needed {
            match self.0.iter().find(|(limited, _)| limited == name) {
                Some((_, limit)) if bytes <= limit => {}
                Some((_, limit)) => over.push(format!("{name} needs {bytes} bytes, its budget is {limit}")),
                None => over.push(format!("{name} has no budget")),
            }
        }
        if over.is_empty() { Ok(()) } else { Err(over.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_its_budget_is_named() {
        let budget = Budget::parse("# for people\na = 10\n\nb = 20\n").unwrap();
        assert_eq!(budget.compare(&[("a", 10), ("b", 20)]), Ok(()));
        let over = budget.compare(&[("a", 11), ("b", 20), ("c", 1)]).unwrap_err();
        assert_eq!(over, "a needs 11 bytes, its budget is 10\nc has no budget");
        assert!(Budget::parse("a: 10").is_err() && Budget::parse("a = ten").is_err());
    }

    #[test]
    fn the_line_of_a_device_is_read() {
        let memory = Memory::parse("    engine 1 static 2 stack 3");
        assert_eq!(memory, Some(Memory { engine: 1, statics: 2, stack: 3 }));
        assert_eq!(Memory::parse("engine x static 2 stack 3"), None);
    }
}
