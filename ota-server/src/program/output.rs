//! Answers: tables for people, JSON for scripts.

use std::io::{ErrorKind, Write as _};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::Failure;

/// For whom answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// People.
    Text,
    /// Scripts.
    Json,
}

impl Format {
    /// Shows a value as JSON, or in the words that `text` makes of it.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Text => say(text(value).trim_end()),
            Self::Json => {
                let json = serde_json::to_string_pretty(value);
                say(&json.map_err(|why| Failure::caused("cannot write JSON", &why, ""))?)
            }
        }
    }

    /// Tells people more about an answer, beside it: what is put into a variable or a file is the answer alone.
    pub(super) fn beside(self, text: &str) {
        if self == Self::Text {
            eprintln!("{text}");
        }
    }

    /// Says to people that something is done; scripts have the exit code.
    pub(super) fn done(self, text: &str) {
        if self == Self::Text {
            // It is done, whether or not somebody listens.
            let _ = say(text);
        }
    }
}

/// Writes a line to standard output. Whoever has read enough and left, as `head` does, is no failure.
fn say(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::caused("the answer cannot be written", &why, ""))
        }
        _ => Ok(()),
    }
}

/// A table without lines, with these headings.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    let mut is_empty = true;
    for row in rows {
        is_empty = false;
        table.add_row(row.map(|cell| plain(&cell)));
    }
    if is_empty { "nothing yet".to_owned() } else { table.to_string() }
}

/// Text that came from elsewhere, without what could steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time as people read it, or a dash.
pub(super) fn when(time: Option<crate::http::body::Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_devices_cannot_steer_the_terminal() {
        assert!(!table(["a"], [["\u{1b}[2Jx".to_owned()]]).contains('\u{1b}'));
    }
}
