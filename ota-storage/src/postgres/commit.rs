//! What a batch of units comes to: decided here without the database, row by row, before one statement is sent.
//!
//! A batch is planned twice at most for a state of the database: first from the versions that its units expect, which
//! is right whenever no unit is stale, then from the versions that were found under lock. Either way the writing
//! statements check every version that the plan relied on, so that a plan made of wrong versions changes nothing.

use std::collections::{BTreeMap, HashMap};

use ota_core::fleet::{AuditDraft, CounterKey, Key, Outcome, PreparedUnit, Version};

use super::schema::{Family, part_of};

/// Which row: in the order in which rows are locked, by everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name<'u> {
    pub(super) family: Family,
    pub(super) part: i16,
    pub(super) key: &'u [u8],
}

/// What is known of the versions before the batch.
pub(super) enum Known<'u> {
    /// Nothing: each is what the first unit that names the record expects.
    Expected,
    /// What was found under lock; the others are not there.
    Found(BTreeMap<Name<'u>, Version>),
}

/// How strongly a row is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// Nobody may write it.
    Relied,
    /// Nobody else may rely on it either.
    Written,
}

/// Rows as columns, one array each: what a statement unnests.
#[derive(Debug, Default)]
pub(super) struct Rows<'u> {
    pub(super) parts: Vec<i16>,
    pub(super) keys: Vec<&'u [u8]>,
    pub(super) found: Vec<i64>,
    pub(super) after: Vec<i64>,
    pub(super) bodies: Vec<&'u [u8]>,
}

/// Places as columns.
#[derive(Debug, Default)]
pub(super) struct Places<'u> {
    pub(super) parts: Vec<i16>,
    pub(super) indexes: Vec<i16>,
    pub(super) sort_keys: Vec<&'u [u8]>,
    pub(super) place_bytes: Vec<i16>,
}

/// What happens to the tables of one family.
#[derive(Debug, Default)]
pub(super) struct Changes<'u> {
    /// Rows that must have the version found, and are left alone.
    pub(super) relied: Rows<'u>,
    pub(super) updated: Rows<'u>,
    pub(super) removed: Rows<'u>,
    /// Rows that must not be there yet.
    pub(super) added: Rows<'u>,
    /// Rows that must not be there at all. They are among the added ones, with version 0, and removed again in the same
    /// transaction: until its end nobody else can put a row there.
    pub(super) absent: Rows<'u>,
    pub(super) left: Places<'u>,
    pub(super) entered: Places<'u>,
}

/// What becomes of a batch.
#[derive(Debug, Default)]
pub(super) struct Plan<'u> {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: [Changes<'u>; Family::ALL.len()],
    pub(super) counter_keys: Vec<Vec<u8>>,
    pub(super) counter_changes: Vec<i64>,
    pub(super) audit: Vec<&'u AuditDraft>,
}

/// A row as the batch leaves it so far.
struct Row<'u> {
    found: Version,
    now: Version,
    /// What was written last, if anything was.
    body: Option<&'u [u8]>,
}

/// An index, and a sort key in it.
type PlaceName<'u> = (Family, i16, i16, &'u [u8]);

/// The rows that a batch names, and how strongly each has to be locked to find out its version.
pub(super) fn names(units: &[PreparedUnit]) -> BTreeMap<Name<'_>, Strength> {
    let mut names = BTreeMap::new();
    for unit in units {
        for (position, (key, bytes, _)) in unit.expects.iter().enumerate() {
            let is_written = unit.writes.iter().any(|write| write.expected == position);
            let strength = if is_written { Strength::Written } else { Strength::Relied };
            let known = names.entry(name(key, bytes)).or_insert(strength);
            *known = strength.max(*known);
        }
    }
    names
}

/// Decides what becomes of each unit, in order, and what that leaves to write.
pub(super) fn plan<'u>(units: &'u [PreparedUnit], known: &Known<'u>) -> Plan<'u> {
    let mut rows = NamedRows::default();
    let mut places = BTreeMap::new();
    let mut counters: BTreeMap<&CounterKey, i64> = BTreeMap::new();
    let mut plan = Plan::default();
    // Where the rows of a unit are, in the order in which it names them.
    let mut at = Vec::new();
    for unit in units {
        if let Some(stale) = rows.stale(unit, known, &mut at) {
            plan.outcomes.push(Outcome::Conflict(stale.clone()));
            continue;
        }
        plan.outcomes.push(Outcome::Committed);
        for write in &unit.writes {
            let (name, row) = &mut rows.rows[at[write.expected]];
            row.now = write.version;
            row.body = Some(write.after.as_deref().unwrap_or_default());
            let place = |place: &'u ota_core::fleet::Place| -> PlaceName<'u> {
                (name.family, name.part, place.index.number().into(), &place.sort_key)
            };
            // What comes later in the batch has the last word about a place.
            places.extend(write.leaves.iter().map(|left| (place(left), None)));
            places.extend(write.enters.iter().map(|entered| (place(entered), Some(entered.place_bytes))));
        }
        for change in &unit.counters {
            let sum = counters.entry(&change.key).or_default();
            *sum = sum.saturating_add(change.by);
        }
        plan.audit.extend(&unit.audit);
    }
    rows.rows.sort_unstable_by_key(|(name, _)| *name);
    for (name, row) in rows.rows {
        plan.changes[name.family.position()].add(name, &row);
    }
    for ((family, part, index, sort_key), entered) in places {
        let changes = &mut plan.changes[family.position()];
        let list = if entered.is_some() { &mut changes.entered } else { &mut changes.left };
        list.parts.push(part);
        list.indexes.push(index);
        list.sort_keys.push(sort_key);
        // A place is no longer than its limit, which is far below.
        list.place_bytes.push(entered.map_or(0, |bytes| i16::try_from(bytes).unwrap_or(i16::MAX)));
    }
    counters.retain(|_, by| *by != 0);
    let mut counters: Vec<(Vec<u8>, i64)> =
        counters.into_iter().map(|(key, by)| (key.to_bytes(), by)).collect();
    // The order in which everybody locks them.
    counters.sort_unstable();
    (plan.counter_keys, plan.counter_changes) = counters.into_iter().unzip();
    plan
}

/// The rows that a batch has named so far.
#[derive(Default)]
struct NamedRows<'u> {
    rows: Vec<(Name<'u>, Row<'u>)>,
    positions: HashMap<Name<'u>, usize>,
}

impl<'u> NamedRows<'u> {
    /// The first record of the unit that has another version than expected, now, after the units before it; if there is
    /// none, `at` says where its rows are.
    fn stale(&mut self, unit: &'u PreparedUnit, known: &Known<'u>, at: &mut Vec<usize>) -> Option<&'u Key> {
        at.clear();
        for (key, bytes, expected) in &unit.expects {
            // Once for each record: the shard of a device is a hash of its id.
            let name = name(key, bytes);
            let position = *self.positions.entry(name).or_insert(self.rows.len());
            if position == self.rows.len() {
                let found = match known {
                    Known::Expected => *expected,
                    Known::Found(found) => found.get(&name).copied().unwrap_or_default(),
                };
                self.rows.push((name, Row { found, now: found, body: None }));
            }
            if self.rows[position].1.now != *expected {
                return Some(key);
            }
            at.push(position);
        }
        None
    }
}

fn name<'u>(key: &'u Key, bytes: &'u [u8]) -> Name<'u> {
    Name { family: Family::of(key.table()), part: part_of(key), key: bytes }
}

impl<'u> Changes<'u> {
    fn add(&mut self, name: Name<'u>, row: &Row<'u>) {
        const ABSENT: Version = Version(0);
        match (row.found, row.now, row.body) {
            (ABSENT, ABSENT, _) => {
                self.added.push(name, row, &[]);
                self.absent.push(name, row, &[]);
            }
            (_, _, None) => self.relied.push(name, row, &[]),
            (ABSENT, _, Some(body)) => self.added.push(name, row, body),
            (_, ABSENT, Some(_)) => self.removed.push(name, row, &[]),
            (_, _, Some(body)) => self.updated.push(name, row, body),
        }
    }
}

impl<'u> Rows<'u> {
    fn push(&mut self, name: Name<'u>, row: &Row<'u>, body: &'u [u8]) {
        self.parts.push(name.part);
        self.keys.push(name.key);
        // Versions are only ever compared for being the same.
        self.found.push(row.found.0.cast_signed());
        self.after.push(row.now.0.cast_signed());
        self.bodies.push(body);
    }
}
