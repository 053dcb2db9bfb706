//! Sections of `docs/benchmarks.md`, each between two marker lines, the same ones that a benchmark prints.

/// Ends a section.
pub(super) const CLOSING: &str = "<!-- /bench -->";

/// What the page starts with.
pub(super) const EMPTY_PAGE: &str =
    "# Benchmarks\n\nFigures are compared within one run, never between machines.\n";

/// Begins the section of a name.
pub(super) fn opening(name: &str) -> String {
    format!("<!-- bench: {name} -->")
}

/// All sections in what a benchmark printed: name and text.
pub(super) fn printed(output: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for line in output.lines() {
        let name = line.strip_prefix("<!-- bench: ").and_then(|rest| rest.strip_suffix(" -->"));
        match (name, sections.last_mut()) {
            (Some(name), _) => {
                sections.push((name.to_owned(), String::new()));
                is_open = true;
            }
            (None, _) if line == CLOSING => is_open = false,
            (None, Some((_, text))) if is_open => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    sections
}

/// All files in what a benchmark printed: path from the root of the project, and content.
pub(super) fn files(output: &str) -> Vec<(String, String)> {
    let pieces = output.split("<!-- file: ").skip(1);
    let files = pieces.filter_map(|piece| {
        let (path, rest) = piece.split_once(" -->\n")?;
        let (content, _) = rest.split_once("<!-- /file -->")?;
        Some((path.to_owned(), content.to_owned()))
    });
    files.collect()
}

/// The page with this text in the section; a new section goes to the end, under its own heading.
pub(super) fn replaced(page: &str, name: &str, text: &str) -> String {
    let opening = opening(name);
    let section = format!("{opening}\n{}\n{CLOSING}", text.trim());
    let found = page.split_once(&opening).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(CLOSING)?;
        Some(format!("{before}{section}{after}"))
    });
    found.unwrap_or_else(|| format!("{}\n\n## {name}\n\n{section}\n", page.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "noise\n<!-- bench: core -->\n| a | b |\n|---|---|\n<!-- /bench -->\nnoise\n";

    #[test]
    fn what_is_printed_between_markers_is_a_section() {
        assert_eq!(printed(OUTPUT), [("core".to_owned(), "| a | b |\n|---|---|\n".to_owned())]);
    }

    #[test]
    fn what_is_printed_between_file_markers_is_a_file() {
        let output = "noise\n<!-- file: docs/a.svg -->\n<svg>\n</svg>\n<!-- /file -->\nnoise\n";
        assert_eq!(files(output), [("docs/a.svg".to_owned(), "<svg>\n</svg>\n".to_owned())]);
        assert_eq!(files("<!-- file: docs/cut.svg -->\n<svg>\n"), []);
    }

    #[test]
    fn a_new_section_is_appended_and_an_old_one_replaced() {
        let page = replaced(EMPTY_PAGE, "core", "old");
        let page = replaced(&page, "fleet", "other");
        let page = replaced(&page, "core", "new");
        assert!(page.contains("## core\n\n<!-- bench: core -->\nnew\n<!-- /bench -->\n"));
        assert!(page.contains("## fleet\n\n<!-- bench: fleet -->\nother\n<!-- /bench -->\n"));
        assert!(!page.contains("old"));
        assert_eq!(page.matches("# Benchmarks").count(), 1);
    }
}
