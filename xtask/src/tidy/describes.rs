//! Pages that describe sources carry the hash of those sources, so that neither changes without the other being read.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{File, below, is_test_path, relative};

const OPENING: &str = "<!-- describes: ";
const CLOSING: &str = " -->";
/// In hexadecimal digits: enough to notice a change, short enough for one line.
const HASH_LENGTH: usize = 16;
/// Pages that independent implementations are written from.
const MUST_DESCRIBE: &[&str] = &["docs/protocol.md", "docs/flash-format.md"];

/// Everything in a page that no longer fits the sources.
pub(crate) fn stale(page: &File, root: &Path) -> Vec<String> {
    let path = &page.path;
    let mut stale = Vec::new();
    let mut described = false;
    for (index, line) in page.text.lines().enumerate() {
        let Some(marker) = Marker::read(line) else { continue };
        described = true;
        match marker.fresh(root) {
            Ok(fresh) if fresh == line => {}
            Ok(_) => stale.push(format!(
                "{path}:{}: the sources that it describes have changed: read it again, then cargo xtask tidy --bless",
                index + 1
            )),
            Err(why) => stale.push(format!("{path}:{}: {why}", index + 1)),
        }
    }
    if !described && MUST_DESCRIBE.contains(&path.as_str()) {
        stale.push(format!("{path}: says nowhere what it describes: {OPENING}PATHS sha256:{CLOSING}"));
    }
    stale
}

/// The page with all its hashes as they are now.
pub(crate) fn blessed(page: &File, root: &Path) -> Result<String, String> {
    let mut text = String::with_capacity(page.text.len());
    for line in page.text.split_inclusive('\n') {
        match Marker::read(line.trim_end()) {
            Some(marker) => {
                text.push_str(&marker.fresh(root)?);
                text.push_str(&line[line.trim_end().len()..]);
            }
            None => text.push_str(line),
        }
    }
    Ok(text)
}

struct Marker<'a> {
    paths: Vec<&'a str>,
}

impl<'a> Marker<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let words = line.strip_prefix(OPENING)?.strip_suffix(CLOSING)?.split_whitespace();
        Some(Self { paths: words.filter(|word| !word.starts_with("sha256:")).collect() })
    }

    /// The line as it should be.
    fn fresh(&self, root: &Path) -> Result<String, String> {
        let mut files = Vec::new();
        for path in &self.paths {
            let whole = root.join(path);
            if !whole.exists() {
                return Err(format!("describes {path}, which is not there"));
            }
            files.extend(below(&whole, &|path| !is_test_path(&relative(root, path)))?);
        }
        files.sort();
        files.dedup();
        let mut hash = Sha256::new();
        for file in files {
            let bytes =
                std::fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            // The lengths keep two files from being taken for one.
            let name = relative(root, &file);
            hash.update(format!("{} {name} {}\n", name.len(), bytes.len()));
            hash.update(bytes);
        }
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{OPENING}{} sha256:{}{CLOSING}", self.paths.join(" "), &digits[..HASH_LENGTH]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This file describes itself here, as good as any other.
    fn page(path: &str, line: &str) -> File {
        File { path: path.into(), text: format!("# Page\n{line}\nText.\n") }
    }

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    const OURSELVES: &str = "<!-- describes: src/tidy/describes.rs sha256:0123456789abcdef -->";

    #[test]
    fn a_page_with_an_old_hash_is_stale_until_it_is_blessed() {
        let old = page("docs/any.md", OURSELVES);
        assert_eq!(stale(&old, root()).len(), 1);
        let new = File { text: blessed(&old, root()).unwrap(), ..old };
        assert_eq!(stale(&new, root()), Vec::<String>::new());
        assert!(new.text.starts_with("# Page\n<!-- describes: src/tidy/describes.rs sha256:"));
        assert!(new.text.ends_with(" -->\nText.\n"));
    }

    #[test]
    fn a_page_about_something_that_is_gone_is_stale() {
        let gone = page("docs/any.md", "<!-- describes: src/gone.rs sha256:0123456789abcdef -->");
        assert!(stale(&gone, root())[0].contains("not there"));
    }

    #[test]
    fn the_protocol_page_must_describe_something() {
        assert_eq!(stale(&page("docs/protocol.md", "no marker"), root()).len(), 1);
        assert_eq!(stale(&page("docs/any.md", "no marker"), root()).len(), 0);
    }

    #[test]
    fn another_file_or_another_order_is_another_or_the_same_hash() {
        let hash = |paths: &[&str]| {
            let line = Marker { paths: paths.to_vec() }.fresh(root()).unwrap();
            line.split("sha256:").nth(1).unwrap().to_owned()
        };
        let (one, two) = ("src/tidy/describes.rs", "src/tidy/mod.rs");
        assert_ne!(hash(&[one]), hash(&[one, two]));
        assert_eq!(hash(&[one, two]), hash(&[two, one]));
    }
}
