//! Health, who calls, the installation, the audit chain, and the two commands that concern everything.

use core::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use ota_core::fleet::AuditHash;
use ota_core::number::Sha256Digest;
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Reply;
use super::auth::{Caller, Person};
use super::body::{
    AuditView, BackupInput, BackupView, CheckpointsInput, CompactedView, InstallationView, Items, PublicKey,
    ReasonInput, RecountView, StopView, VerifiedView, WhoAmI,
};
use super::input::{Ask, Json, PathId as _};
use super::list;
use super::{Api, Problem, chain};
use crate::server::Checkpoint;

/// A store that takes longer for one record is as good as none; whoever asks does not wait for long.
const PROBED_WITHIN: Duration = Duration::from_secs(3);
/// Files that nothing refers to are left alone for this long: somebody may be about to make a draft of them.
const SWEEP_AGE: Millis = Millis(24 * 3_600_000);
/// Checkpoints of the audit chain in one request.
const CHECKPOINTS_MAX: usize = 3_000;
/// Keys that may have signed them.
const CHECKPOINT_KEYS_MAX: usize = 32;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1000;

pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether the server can do its work.
///
/// # Errors
/// Why not, for people.
pub(super) async fn readiness(api: &Api) -> Result<(), String> {
    match tokio::time::timeout(PROBED_WITHIN, api.server.probe()).await {
        Ok(Ok(())) => (api.options.ready)(),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("the store has not answered within {} s", PROBED_WITHIN.as_secs())),
    }
}

pub(super) async fn ready(State(api): State<Api>) -> Response {
    match readiness(&api).await {
        Ok(()) => "ready\n".into_response(),
        Err(why) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "The server is not ready",
            why,
            "wait; if it lasts, look at the server's log",
        )
        .into_response(),
    }
}

pub(super) async fn who_am_i(Caller(by): Caller, person: Result<Person, Redirect>) -> Reply<WhoAmI> {
    Reply(WhoAmI::of(&by, person.ok().map(|person| person.csrf)))
}

/// The description of the API. It holds no secrets: it is the same for everybody.
pub(super) async fn openapi() -> Reply<&'static serde_json::Value> {
    Reply(super::routes::openapi())
}

pub(super) async fn installation(State(api): State<Api>, _: Caller) -> Reply<InstallationView> {
    Reply(api.options.installation.clone())
}

/// A reason that people can read and the audit log can hold.
pub(super) fn reason(input: &ReasonInput) -> Result<&str, Problem> {
    let text = input.reason.trim();
    if text.is_empty() || text.len() > REASON_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Problem::invalid("reason: expected 1 to 1000 bytes of text in one line"));
    }
    Ok(text)
}

pub(super) async fn stop_everything(
    State(api): State<Api>,
    Caller(by): Caller,
    Json(input): Json<ReasonInput>,
) -> Result<Reply<StopView>, Problem> {
    let product = input.product.as_deref().map(ProductIdBuf::read).transpose();
    let product = product.map_err(|why| Problem::invalid(format!("product: {why}")))?;
    let stopped = api.server.stop_everything(&by, product.as_ref(), reason(&input)?).await?;
    Ok(Reply(StopView { stopped: u64::try_from(stopped).unwrap_or(u64::MAX) }))
}

pub(super) async fn sweep_files(
    State(api): State<Api>,
    Caller(by): Caller,
) -> Result<Reply<StopView>, Problem> {
    Ok(Reply(StopView { stopped: api.server.remove_unreferenced(&by, SWEEP_AGE).await? }))
}

pub(super) async fn compact(
    State(api): State<Api>,
    Caller(by): Caller,
) -> Result<Reply<CompactedView>, Problem> {
    // It goes on although whoever asked goes away: half of it would be work for nothing.
    let compaction = tokio::spawn(async move { api.server.compact_store(&by).await });
    let (before_bytes, after_bytes) = compaction.await.map_err(|_| gave_up())??;
    Ok(Reply(CompactedView { before_bytes, after_bytes }))
}

pub(super) async fn back_up(
    State(api): State<Api>,
    Caller(by): Caller,
    Json(input): Json<BackupInput>,
) -> Result<Reply<BackupView>, Problem> {
    let backup = tokio::spawn(async move { api.server.back_up_store(&by, &input.name).await });
    Ok(Reply(BackupView { path: backup.await.map_err(|_| gave_up())?? }))
}

pub(super) async fn recount(
    State(api): State<Api>,
    Caller(by): Caller,
) -> Result<Reply<RecountView>, Problem> {
    Ok(Reply(api.server.recount(&by).await?.into()))
}

/// What was begun did not come to its end.
fn gave_up() -> Problem {
    Problem::internal("the work on the store ended early")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// The number of the first entry.
    #[serde(default = "first")]
    from: u64,
    /// How many entries at most, from 1 to 1000.
    #[serde(default = "list::entries")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
}

const fn first() -> u64 {
    1
}

pub(super) async fn audit(
    State(api): State<Api>,
    Caller(by): Caller,
    Ask(query): Ask<AuditQuery>,
) -> Result<Reply<AuditView>, Problem> {
    let limit = list::limit(query.limit)?;
    let entries = api.server.audit_entries(&by, query.from, limit).await?;
    let next = if entries.len() < limit { None } else { entries.last().map(|last| last.sequence + 1) };
    Ok(Reply(AuditView { items: entries.into_iter().map(Into::into).collect(), next }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownHead {
    /// How many entries there were when the hash was noted elsewhere.
    entries: Option<u64>,
    /// The hash of the last of them.
    head: Option<String>,
}

pub(super) async fn verify_audit(
    State(api): State<Api>,
    Caller(by): Caller,
    Ask(known): Ask<KnownHead>,
) -> Result<Reply<VerifiedView>, Problem> {
    let known = match (known.entries, known.head) {
        (Some(entries), Some(head)) => {
            let head = Sha256Digest::from_hex(&head)
                .ok_or_else(|| Problem::invalid("head: expected 64 lower-case hexadecimal digits"))?;
            Some((entries, AuditHash(head.0)))
        }
        (None, None) => None,
        _ => return Err(Problem::invalid("entries and head belong together: give both or none")),
    };
    Ok(Reply(api.server.verify_audit(&by, known).await?.into()))
}

/// Holds the audit chain to checkpoints that were kept elsewhere: a cut-off end shows, and a chain that was written anew.
pub(super) async fn verify_checkpoints(
    State(api): State<Api>,
    Caller(by): Caller,
    Json(input): Json<CheckpointsInput>,
) -> Result<Reply<VerifiedView>, Problem> {
    if input.checkpoints.len() > CHECKPOINTS_MAX {
        return Err(Problem::invalid(format!("checkpoints: expected at most {CHECKPOINTS_MAX}")));
    }
    if input.keys.len() > CHECKPOINT_KEYS_MAX {
        return Err(Problem::invalid(format!("keys: expected at most {CHECKPOINT_KEYS_MAX}")));
    }
    let read = |(index, line): (usize, &String)| {
        let read = line.parse::<Checkpoint>();
        read.map_err(|why| Problem::invalid(format!("checkpoints[{index}]: {why}")))
    };
    let checkpoints = input.checkpoints.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<_> = input.keys.iter().map(PublicKey::key).collect();
    Ok(Reply(api.server.verify_audit_checkpoints(&by, &checkpoints, &keys).await?.into()))
}

/// One answer shape for all lists that come whole.
pub(super) fn items<T>(items: impl IntoIterator<Item = impl Into<T>>) -> Reply<Items<T>> {
    Reply(Items { items: items.into_iter().map(Into::into).collect(), next: None })
}
