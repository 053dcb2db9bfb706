//! Which tables there are, how keys become rows, and which version of that a database has.
//!
//! The tables are described where they are made, in `migrations/`. Migrations are numbered files that are only ever
//! added to, and each says from which version on a program can still work with its result: what is removed, is
//! removed a release after the last program that needs it. So servers of neighbouring versions run side by side.

use ota_core::fleet::records::Device;
use ota_core::fleet::{Key, Record, Stored, Table, Version};
use tokio_postgres::Client;

use super::Upgrade;
use super::error::Fault;

/// A step from one version of the schema to the next.
struct Migration {
    /// The version it leads to.
    number: i32,
    /// What is done, in the transaction that raises the number.
    sql: &'static str,
    /// The oldest version of a program that can work with the result.
    usable_from: i32,
}

/// They are only ever added to.
const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, sql: include_str!("migrations/0001_tables.sql"), usable_from: 1 },
    Migration { number: 2, sql: include_str!("migrations/0002_views.sql"), usable_from: 1 },
];

/// The version that this code was written for.
pub(super) const SCHEMA: i32 = 2;

const _: () = {
    let (mut position, mut number) = (0, 0);
    while position < MIGRATIONS.len() {
        let migration = &MIGRATIONS[position];
        assert!(migration.number == number + 1 && migration.usable_from <= migration.number);
        (position, number) = (position + 1, migration.number);
    }
    assert!(number == SCHEMA);
};

/// Held while the schema is changed, so that of several servers that start together one does it.
const UPGRADE_LOCK: i64 = 0x6f74_612d_7570;

/// Which set of tables a record lies in. The order is that in which rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    /// What people write: few rows, relied on by many.
    Record,
    Attempt,
    Device,
}

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Record, Self::Attempt, Self::Device];

    pub(super) const fn of(table: Table) -> Self {
        match table {
            Table::Device => Self::Device,
            Table::Attempt => Self::Attempt,
            _ => Self::Record,
        }
    }

    pub(super) const fn position(self) -> usize {
        match self {
            Self::Record => 0,
            Self::Attempt => 1,
            Self::Device => 2,
        }
    }

    pub(super) const fn statements(self) -> &'static Statements {
        match self {
            Self::Record => &RECORD,
            Self::Attempt => &ATTEMPT,
            Self::Device => &DEVICE,
        }
    }
}

/// The first column of the row with this key: the shard of the device, or the number of the table.
pub(super) fn part_of(key: &Key) -> i16 {
    match key {
        // Buckets have 12 bits.
        Key::Device(device) | Key::Attempt(_, device) => Device::bucket_of(device).cast_signed(),
        other => other.table().number().into(),
    }
}

/// What is said to the tables of one family. Statements that check versions affect or return as many rows as they
/// were given, unless one has another version.
pub(super) struct Statements {
    /// Rows with these versions, which nobody may write until the end of the transaction. Does not wait for those who
    /// are writing one: its version is about to change.
    pub(super) rely: &'static str,
    /// The versions of rows, which nobody may write until the end of the transaction.
    pub(super) lock_relied: &'static str,
    /// The versions of rows, which nobody else may write or rely on until the end of the transaction.
    pub(super) lock_written: &'static str,
    pub(super) update: &'static str,
    pub(super) add: &'static str,
    pub(super) remove: &'static str,
    pub(super) leave: &'static str,
    pub(super) enter: &'static str,
    /// A page of a table, from a key on, with an end and without one.
    pub(super) walk_until: &'static str,
    pub(super) walk: &'static str,
    /// A page of an index.
    pub(super) walk_places_until: &'static str,
    pub(super) walk_places: &'static str,
}

macro_rules! lock {
    ($table:literal, $part:literal, $strength:literal) => {
        concat!(
            "SELECT u.position, r.version FROM ota.",
            $table,
            " AS r ",
            "JOIN unnest($1::int2[], $2::bytea[]) WITH ORDINALITY AS u (part, key, position) ",
            "ON r.",
            $part,
            " = u.part AND r.key = u.key ORDER BY u.position FOR ",
            $strength,
            " OF r",
        )
    };
}

/// A page ends with the record that makes it larger than this, so that large records do not make large pages.
pub(super) const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

macro_rules! page {
    ($rows:expr) => {
        concat!(
            "SELECT sort_key, place_bytes, version, body FROM (",
            "SELECT *, sum(octet_length(body)) OVER (ORDER BY sort_key) - octet_length(body) AS before ",
            "FROM (",
            $rows,
            ") AS page) AS summed WHERE before IS NULL OR before < 8388608 ORDER BY sort_key",
        )
    };
}

macro_rules! walk {
    ($table:literal, $only:literal, $below:literal) => {
        page!(concat!(
            "SELECT key AS sort_key, 0::int2 AS place_bytes, version, body FROM ota.",
            $table,
            " WHERE ",
            $only,
            " AND key >= $2::bytea ",
            $below,
            " ORDER BY key LIMIT $3::int8",
        ))
    };
}

macro_rules! walk_places {
    ($table:literal, $part:literal, $below:literal) => {
        page!(concat!(
            "SELECT p.sort_key, p.place_bytes, r.version, r.body FROM (",
            "SELECT * FROM ota.",
            $table,
            "_place WHERE index_number = $1::int2 AND sort_key >= $2::bytea ",
            $below,
            " ORDER BY sort_key LIMIT $3::int8) AS p ",
            "LEFT JOIN LATERAL (SELECT version, body FROM ota.",
            $table,
            " AS r WHERE r.",
            $part,
            " = p.",
            $part,
            " AND r.key = substring(p.sort_key FROM p.place_bytes + 1)) AS r ON true ORDER BY p.sort_key",
        ))
    };
}

macro_rules! statements {
    ($table:literal, $part:literal, $only:literal) => {
        Statements {
            rely: concat!(
                "SELECT FROM ota.", $table, " AS r ",
                "JOIN unnest($1::int2[], $2::bytea[], $3::int8[]) WITH ORDINALITY ",
                "AS u (part, key, version, position) ",
                "ON r.", $part, " = u.part AND r.key = u.key AND r.version = u.version ",
                "ORDER BY u.position FOR SHARE OF r SKIP LOCKED",
            ),
            lock_relied: lock!($table, $part, "SHARE"),
            lock_written: lock!($table, $part, "NO KEY UPDATE"),
            update: concat!(
                "UPDATE ota.", $table, " AS r SET version = u.after, body = u.body ",
                "FROM unnest($1::int2[], $2::bytea[], $3::int8[], $4::int8[], $5::bytea[]) ",
                "AS u (part, key, found, after, body) ",
                "WHERE r.", $part, " = u.part AND r.key = u.key AND r.version = u.found",
            ),
            add: concat!(
                "INSERT INTO ota.", $table, " (", $part, ", key, version, body) ",
                "SELECT * FROM unnest($1::int2[], $2::bytea[], $3::int8[], $4::bytea[]) ON CONFLICT DO NOTHING",
            ),
            remove: concat!(
                "DELETE FROM ota.", $table, " AS r ",
                "USING unnest($1::int2[], $2::bytea[], $3::int8[]) AS u (part, key, found) ",
                "WHERE r.", $part, " = u.part AND r.key = u.key AND r.version = u.found",
            ),
            leave: concat!(
                "DELETE FROM ota.", $table, "_place AS p ",
                "USING unnest($1::int2[], $2::int2[], $3::bytea[]) AS u (part, index_number, sort_key) ",
                "WHERE p.", $part, " = u.part AND p.index_number = u.index_number AND p.sort_key = u.sort_key",
            ),
            enter: concat!(
                "INSERT INTO ota.", $table, "_place (", $part, ", index_number, sort_key, place_bytes) ",
                "SELECT * FROM unnest($1::int2[], $2::int2[], $3::bytea[], $4::int2[]) ON CONFLICT DO NOTHING",
            ),
            walk_until: walk!($table, $only, "AND key < $4::bytea"),
            walk: walk!($table, $only, ""),
            walk_places_until: walk_places!($table, $part, "AND sort_key < $4::bytea"),
            walk_places: walk_places!($table, $part, ""),
        }
    };
}

// Only the small things of one table share theirs with others; the number is given in any case.
static RECORD: Statements = statements!("record", "kind", "kind = $1::int2");
static ATTEMPT: Statements = statements!("attempt", "shard", "$1::int2 IS NOT NULL");
static DEVICE: Statements = statements!("device", "shard", "$1::int2 IS NOT NULL");

macro_rules! load {
    ($table:literal, $part:literal, $columns:literal) => {
        concat!(
            "SELECT u.position, r.version, r.body FROM unnest(",
            $columns,
            ") AS u (position, part, key) ",
            "JOIN ota.",
            $table,
            " AS r ON r.",
            $part,
            " = u.part AND r.key = u.key",
        )
    };
}

/// Records of all families in one statement, so that all are of one state.
pub(super) const LOAD: &str = concat!(
    load!("record", "kind", "$1::int4[], $2::int2[], $3::bytea[]"),
    " UNION ALL ",
    load!("attempt", "shard", "$4::int4[], $5::int2[], $6::bytea[]"),
    " UNION ALL ",
    load!("device", "shard", "$7::int4[], $8::int2[], $9::bytea[]"),
);

/// Gives a session that commits a lane of the counters for itself, which it keeps as long as it lives: two that count in
/// the same one would wait for each other's disk. Where more than 64 commit, some share.
pub(super) const TAKE_LANE: &str = "\
    SELECT set_config('ota.lane', coalesce( \
    (SELECT lane FROM generate_series(0, 63) AS lane WHERE pg_try_advisory_lock(1869898092, lane) LIMIT 1), \
    pg_backend_pid() & 63)::text, false)";

/// A counter stays at the ends of 64 bits.
pub(super) const COUNT: &str = "\
    INSERT INTO ota.counter AS c (key, lane, value) \
    SELECT u.key, current_setting('ota.lane')::int2, u.change \
    FROM unnest($1::bytea[], $2::int8[]) AS u (key, change) \
    ON CONFLICT (key, lane) DO UPDATE SET value = \
    greatest(least(c.value::numeric + excluded.value, 9223372036854775807), -9223372036854775808)::int8";

pub(super) const COUNTERS: &str = "\
    SELECT key, greatest(least(sum(value), 9223372036854775807), -9223372036854775808)::int8 FROM ota.counter \
    WHERE key >= $1::bytea AND key < $2::bytea GROUP BY key HAVING sum(value) <> 0 ORDER BY key";

pub(super) const AUDIT_END: &str = "SELECT sequence, hash FROM ota.audit_end FOR UPDATE";

pub(super) const AUDIT_ADD: &str = "\
    INSERT INTO ota.audit (sequence, at, principal, action, subject, product, detail, previous, hash) \
    SELECT * FROM unnest($1::int8[], $2::int8[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], \
    $7::bytea[], $8::bytea[], $9::bytea[])";

pub(super) const AUDIT_MOVE_END: &str = "UPDATE ota.audit_end SET sequence = $1::int8, hash = $2::bytea";

pub(super) const AUDIT: &str = "\
    SELECT sequence, at, principal, action, subject, product, detail, previous, hash FROM ota.audit \
    WHERE sequence >= $1::int8 ORDER BY sequence LIMIT $2::int8";

/// Makes the tables in an empty database, brings an older one up to date, and refuses what it cannot work with.
pub(super) async fn prepare(client: &mut Client, upgrade: Upgrade) -> Result<(), Fault> {
    let found = found(client).await?;
    if found.is_some_and(|found| found >= SCHEMA) {
        return Ok(());
    }
    if upgrade == Upgrade::ByHand {
        return Err(Fault::Outdated { found: found.unwrap_or_default(), known: SCHEMA });
    }
    let transaction = client.transaction().await?;
    // What takes long takes long, but nobody else is kept waiting for a table that is in use.
    transaction.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&UPGRADE_LOCK]).await?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS ota; \
             CREATE TABLE IF NOT EXISTS ota.schema ( \
                 number int PRIMARY KEY, usable_from int NOT NULL, \
                 applied timestamptz NOT NULL DEFAULT now(), applied_by name NOT NULL DEFAULT session_user)",
        )
        .await?;
    let row = transaction.query_one("SELECT coalesce(max(number), 0) FROM ota.schema", &[]).await?;
    // Another server may have been quicker.
    let done: i32 = row.try_get(0)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > done) {
        transaction.batch_execute(migration.sql).await?;
        transaction
            .execute(
                "INSERT INTO ota.schema (number, usable_from) VALUES ($1, $2)",
                &[&migration.number, &migration.usable_from],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The version of the schema in a database, or nothing if there is none.
async fn found(client: &Client) -> Result<Option<i32>, Fault> {
    let row = client
        .query_one("SELECT to_regnamespace('ota') IS NOT NULL, to_regclass('ota.schema') IS NOT NULL", &[])
        .await?;
    match (row.try_get(0)?, row.try_get(1)?) {
        (true, false) => Err(Fault::Foreign),
        (_, false) => Ok(None),
        (_, true) => {
            let row = client.query_one("SELECT max(number), max(usable_from) FROM ota.schema", &[]).await?;
            let (Some(found), Some(usable_from)) = (row.try_get(0)?, row.try_get::<_, Option<i32>>(1)?)
            else {
                return Err(Fault::Foreign);
            };
            match usable_from > SCHEMA {
                true => Err(Fault::Schema { found, usable_from, known: SCHEMA }),
                false => Ok(Some(found)),
            }
        }
    }
}

/// The record in a row.
pub(super) fn stored(table: Table, version: i64, body: &[u8]) -> Result<Stored, Fault> {
    let record = Record::from_bytes(table, body).map_err(Fault::Record)?;
    Ok(Stored { version: Version(version.cast_unsigned()), record })
}
