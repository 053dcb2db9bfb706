//! Leases: rows with an expiry, judged by the clock of the database alone, so that a server whose own clock is wrong
//! neither keeps nor takes what is not its own.

use core::time::Duration;

use ota_core::fleet::{Lease, LeaseRequest};
use ota_core::time::{Millis, Timestamp};

use super::error::Fault;
use super::session::Session;

/// Takes a lease that nobody holds any more, or prolongs one's own. Returns no row while somebody else holds it.
const TAKE: &str = "\
    INSERT INTO ota.lease AS held (name, holder, token, until) \
    VALUES ($1::bytea, $2::bytea, 1, clock_timestamp() + make_interval(secs => $3::float8)) \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, \
    token = held.token + CASE \
    WHEN held.until > clock_timestamp() AND held.holder = excluded.holder THEN 0 ELSE 1 END \
    WHERE held.until <= clock_timestamp() OR held.holder = excluded.holder \
    RETURNING token, greatest(floor(extract(epoch FROM until - clock_timestamp()) * 1000), 0)::int8, \
    floor(extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// The token stays, so that the next one is higher.
const GIVE_BACK: &str =
    "UPDATE ota.lease SET until = '-infinity' WHERE name = $1::bytea AND holder = $2::bytea";

/// Longer than anybody plans, and within what the clock of the database can tell.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Answers a request in one statement.
pub(super) async fn answer(session: &Session, request: &LeaseRequest) -> Result<Option<Lease>, Fault> {
    let (name, holder) = (request.name.as_bytes(), request.holder.as_bytes());
    if request.duration == Millis(0) {
        let statement = session.prepare_cached(GIVE_BACK).await?;
        session.execute(&statement, &[&name, &holder]).await?;
        return Ok(None);
    }
    let seconds = Duration::from_millis(request.duration.0).min(CENTURY).as_secs_f64();
    let statement = session.prepare_cached(TAKE).await?;
    let Some(row) = session.query_opt(&statement, &[&name, &holder, &seconds]).await? else {
        return Ok(None);
    };
    let left: i64 = row.try_get(1)?;
    // The clock of the database may have been set back since the row was written.
    let left = Millis(left.unsigned_abs().min(request.duration.0));
    let now: i64 = row.try_get(2)?;
    let now = Some(Timestamp(now.cast_unsigned()));
    Ok(Some(Lease { token: row.try_get::<_, i64>(0)?.cast_unsigned(), left, now }))
}
