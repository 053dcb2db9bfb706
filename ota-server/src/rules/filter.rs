//! Filter expressions: which devices, in words that people write.
//!
//! ```text
//! tag = site=berlin and (hardware = revB or not file(app.bin) = 1.4) and heard < 7d
//! ```
//!
//! | term | is true of a device |
//! |---|---|
//! | `tag = WORD` | that has the tag |
//! | `id = WORD` | with this id; a `*` at the end stands for anything |
//! | `hardware = WORD` | of this hardware revision |
//! | `file(NAME) = REVISION` | with this revision of the file |
//! | `status = active` | that is active, `quarantined` or `revoked` |
//! | `ordinal < NUMBER` | registered before the device with this ordinal |
//! | `heard < SPAN` | last heard less than so long ago (`30m`, `12h`, `7d`) |
//!
//! `!=` turns a term round, `not`, `and`, `or` and parentheses join them. Words with blanks go in double quotes.

use ota_core::fleet::records::{Device, DeviceStatus};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::view::Names;

/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// Deepest nesting of parentheses and `not`.
pub const NESTING_MAX: u32 = 16;

/// Where an expression is wrong, and what was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("expected {expected} at byte {offset} of the expression")]
pub struct FilterError {
    /// The offset in bytes.
    pub offset: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// An expression that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Tag(Box<str>),
    Id(Box<str>),
    IdPrefix(Box<str>),
    Hardware(Box<str>),
    File(Box<str>, Box<str>),
    Status(DeviceStatus),
    OrdinalBelow(u64),
    HeardWithin(Millis),
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`FilterError`] with the place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(FilterError { offset: EXPRESSION_BYTES_MAX, expected: "at most 1024 bytes" });
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let node = parser.or()?;
        parser.blanks();
        if parser.at == text.len() { Ok(Self(node)) } else { Err(parser.expected("`and`, `or` or the end")) }
    }

    /// Whether a device fulfils it.
    #[must_use]
    pub fn holds(&self, id: &DeviceIdBuf, device: &Device, names: &Names, now: Timestamp) -> bool {
        holds(&self.0, id, device, names, now)
    }

    /// Whether it asks for this very device, by its whole id.
    #[must_use]
    pub fn names(&self, id: &DeviceIdBuf) -> bool {
        names(&self.0, id)
    }

    /// A tag that every device has which fulfils it, if there is one: what an index can begin with.
    #[must_use]
    pub fn needed_tag(&self) -> Option<&str> {
        match &self.0 {
            Node::Tag(tag) => Some(tag),
            Node::And(nodes) => nodes.iter().find_map(|node| match node {
                Node::Tag(tag) => Some(&**tag),
                _ => None,
            }),
            _ => None,
        }
    }
}

fn names(node: &Node, id: &DeviceIdBuf) -> bool {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(|node| names(node, id)),
        Node::Not(node) => names(node, id),
        Node::Id(wanted) => id.as_str() == &**wanted,
        _ => false,
    }
}

fn holds(node: &Node, id: &DeviceIdBuf, device: &Device, names: &Names, now: Timestamp) -> bool {
    match node {
        Node::And(nodes) => nodes.iter().all(|node| holds(node, id, device, names, now)),
        Node::Or(nodes) => nodes.iter().any(|node| holds(node, id, device, names, now)),
        Node::Not(node) => !holds(node, id, device, names, now),
        Node::Tag(tag) => device.tags.binary_search(tag).is_ok(),
        Node::Id(wanted) => id.as_str() == &**wanted,
        Node::IdPrefix(prefix) => id.as_str().starts_with(&**prefix),
        Node::Hardware(wanted) => match &device.claimed_hardware {
            Some(claimed) => claimed.as_str() == &**wanted,
            None => device.hardware != 0 && names.text(device.hardware) == Some(wanted),
        },
        Node::File(file, revision) => {
            let (file_number, revision_number) = (names.number(file), names.number(revision));
            let is_released = file_number != 0
                && revision_number != 0
                && device
                    .installed
                    .iter()
                    .any(|have| have.file == file_number && have.revision == revision_number);
            is_released
                || device
                    .claimed
                    .iter()
                    .flatten()
                    .any(|have| have.file.as_str() == &**file && have.revision.as_str() == &**revision)
        }
        Node::Status(status) => device.status == *status,
        Node::OrdinalBelow(limit) => device.ordinal < *limit,
        Node::HeardWithin(span) => device.heard.0 != 0 && now.since(device.heard) < *span,
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl<'t> Parser<'t> {
    const fn expected(&self, expected: &'static str) -> FilterError {
        FilterError { offset: self.at, expected }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes a mark such as `(` if it stands here.
    fn mark(&mut self, mark: &str) -> bool {
        self.blanks();
        let is_here = self.rest().starts_with(mark);
        if is_here {
            self.at += mark.len();
        }
        is_here
    }

    /// Takes a key word if it stands here as a word of its own.
    fn keyword(&mut self, keyword: &str) -> bool {
        self.blanks();
        let is_here = self.rest().strip_prefix(keyword).is_some_and(|rest| {
            !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        });
        if is_here {
            self.at += keyword.len();
        }
        is_here
    }

    fn word(&mut self, expected: &'static str) -> Result<&'t str, FilterError> {
        self.blanks();
        if self.rest().starts_with('"') {
            let inner = self.rest().get(1..).unwrap_or_default();
            let Some(end) = inner.find('"') else { return Err(self.expected("a closing quote")) };
            self.at += end + 2;
            return Ok(inner.get(..end).unwrap_or_default());
        }
        let length = self.rest().find(|c| !is_word_character(c)).unwrap_or(self.rest().len());
        let word = self.rest().get(..length).unwrap_or_default();
        if word.is_empty() {
            return Err(self.expected(expected));
        }
        self.at += length;
        Ok(word)
    }

    fn deeper(&mut self) -> Result<(), FilterError> {
        self.depth += 1;
        if self.depth > NESTING_MAX { Err(self.expected("less nesting")) } else { Ok(()) }
    }

    fn or(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.and()?];
        while self.keyword("or") {
            nodes.push(self.and()?);
        }
        Ok(single(nodes, Node::Or))
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.not()?];
        while self.keyword("and") {
            nodes.push(self.not()?);
        }
        Ok(single(nodes, Node::And))
    }

    fn not(&mut self) -> Result<Node, FilterError> {
        if self.keyword("not") {
            self.deeper()?;
            let node = self.not()?;
            self.depth -= 1;
            return Ok(Node::Not(Box::new(node)));
        }
        if self.mark("(") {
            self.deeper()?;
            let node = self.or()?;
            self.depth -= 1;
            return if self.mark(")") { Ok(node) } else { Err(self.expected("`)`")) };
        }
        self.term()
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        let start = self.at;
        if self.keyword("tag") {
            return self.equals(|word| Some(Node::Tag(word.into())), "a tag");
        }
        if self.keyword("id") {
            let node = |word: &str| {
                Some(
                    word.strip_suffix('*')
                        .map_or_else(|| Node::Id(word.into()), |p| Node::IdPrefix(p.into())),
                )
            };
            return self.equals(node, "a device id");
        }
        if self.keyword("hardware") {
            return self.equals(|word| Some(Node::Hardware(word.into())), "a hardware revision");
        }
        if self.keyword("status") {
            return self.equals(
                |word| {
                    Some(Node::Status(match word {
                        "active" => DeviceStatus::Active,
                        "quarantined" => DeviceStatus::Quarantined,
                        "revoked" => DeviceStatus::Revoked,
                        _ => return None,
                    }))
                },
                "`active`, `quarantined` or `revoked`",
            );
        }
        if self.keyword("file") {
            if !self.mark("(") {
                return Err(self.expected("`(` and the file's name"));
            }
            let file: Box<str> = self.word("a file's name")?.into();
            if !self.mark(")") {
                return Err(self.expected("`)`"));
            }
            return self.equals(|word| Some(Node::File(file.clone(), word.into())), "a revision");
        }
        if self.keyword("ordinal") {
            let number = self.below("a number")?;
            let parsed = number.parse().map_err(|_| self.expected("a number"))?;
            return Ok(Node::OrdinalBelow(parsed));
        }
        if self.keyword("heard") {
            let text = self.below("a span such as 12h")?;
            return span(text).map(Node::HeardWithin).ok_or_else(|| self.expected("a span such as 12h"));
        }
        self.at = start;
        self.blanks();
        Err(self.expected("`tag`, `id`, `hardware`, `file(…)`, `status`, `ordinal`, `heard`, `not` or `(`"))
    }

    fn equals(
        &mut self,
        node: impl Fn(&str) -> Option<Node>,
        expected: &'static str,
    ) -> Result<Node, FilterError> {
        let is_negated = self.mark("!=");
        if !is_negated && !self.mark("=") {
            return Err(self.expected("`=` or `!=`"));
        }
        self.blanks();
        let start = self.at;
        let word = self.word(expected)?;
        let Some(node) = node(word) else { return Err(FilterError { offset: start, expected }) };
        Ok(if is_negated { Node::Not(Box::new(node)) } else { node })
    }

    fn below(&mut self, expected: &'static str) -> Result<&'t str, FilterError> {
        if self.mark("<") { self.word(expected) } else { Err(self.expected("`<`")) }
    }
}

fn single(mut nodes: Vec<Node>, join: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        Some(node) => {
            nodes.push(node);
            join(nodes)
        }
        None => join(nodes),
    }
}

fn is_word_character(c: char) -> bool {
    !c.is_whitespace() && !"()\"!<".contains(c)
}

fn span(text: &str) -> Option<Millis> {
    let number: u64 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
    let seconds = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    Some(Millis::from_seconds(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::device::tests::device;
    use ota_core::fleet::records::Installed;
    use proptest::prelude::*;

    fn names() -> Names {
        Names::new([(1, "app.bin".into()), (2, "1.4".into()), (3, "revB".into())])
    }

    fn is_true(expression: &str) -> bool {
        let id = DeviceIdBuf::new("lamp-7").unwrap();
        let mut device = device(&["beta", "site=berlin"]);
        device.hardware = 3;
        device.installed = vec![Installed { file: 1, revision: 2 }];
        device.heard = Timestamp(10_000);
        let now = Timestamp(10_000 + 3_600_000);
        Filter::parse(expression).unwrap().holds(&id, &device, &names(), now)
    }

    #[test]
    fn terms_say_what_the_table_says() {
        for expression in [
            "tag = beta",
            "tag=site=berlin",
            "tag != gamma",
            "id = lamp-7",
            "id = lamp-*",
            "hardware = revB",
            "file(app.bin) = 1.4",
            "file(\"app.bin\") != \"own build\"",
            "status = active",
            "ordinal < 2",
            "heard < 2h",
            "not heard < 1h",
            "tag = beta and (hardware = revA or not tag = gamma)",
            "tag = x or tag = y or tag = beta and tag = site=berlin",
        ] {
            assert!(is_true(expression), "{expression}");
            assert!(!is_true(&format!("not ({expression})")), "{expression}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(is_true("tag = beta or tag = beta and tag = gamma"));
        assert!(!is_true("(tag = beta or tag = beta) and tag = gamma"));
    }

    #[test]
    fn an_error_names_the_place_and_what_belongs_there() {
        for (text, offset) in [
            ("", 0),
            ("tag", 3),
            ("tag = ", 6),
            ("tag = a b", 8),
            ("tag = a and", 11),
            ("(tag = a", 8),
            ("status = gone", 9),
            ("heard < soon", 12),
            ("colour = red", 0),
            ("tag = \"a", 6),
        ] {
            assert_eq!(Filter::parse(text).unwrap_err().offset, offset, "{text:?}");
        }
        assert!(Filter::parse(&"(".repeat(500)).is_err());
        assert!(Filter::parse(&"not ".repeat(200)).is_err());
        assert!(Filter::parse(&"x".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn an_index_can_begin_with_a_needed_tag_only() {
        let needed = |text: &str| Filter::parse(text).unwrap().needed_tag().map(str::to_owned);
        assert_eq!(needed("tag = a and hardware = b"), Some("a".into()));
        assert_eq!(needed("tag = a or hardware = b"), None);
        assert_eq!(needed("tag != a"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn no_mixture_of_its_own_words_makes_it_panic(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("tag"), Just("="), Just("("), Just(")"), Just("not"), Just("and"), Just("or"), Just("file"),
                    Just("\""), Just("<"), Just("heard"), Just("7d"), Just("!="), Just("ä"),
                ],
                0..40,
            )
        ) {
            let _ = Filter::parse(&words.join(" "));
        }
    }
}
