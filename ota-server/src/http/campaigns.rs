//! Campaigns: drafts, approvals, start, promotion, pause, resume, stop, and how they fare.

use core::cmp::Reverse;

use axum::extract::State;
use ota_core::fleet::Cursor;
use ota_core::fleet::records::AttemptPhase;
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Created, Done, Reply, Versioned};
use super::auth::Caller;
use super::body::{
    AmendmentInput, AmendmentStateView, CampaignInput, CampaignView, DryRunView, FailureView, HashInput,
    Items, Made, ReasonInput, RetriedView,
};
use super::input::{Ask, Id, Ids, Json, unhex};
use super::versions::IfMatch;
use super::{Api, Problem, body, hex, list, system};
use crate::rules::campaign::Draft;

/// How many failed attempts one look groups.
const FAILURES_LOOKED_AT: usize = 10_000;

fn drafted(input: CampaignInput, product: ProductIdBuf) -> Result<Draft, Problem> {
    input.draft(product).map_err(|why| Problem::invalid(why.to_string()))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those in this state, such as `draft` or `rolling`.
    #[serde(default)]
    state: Option<String>,
    /// What the page before answered as `next`; nothing for the first one.
    #[serde(default)]
    after: Option<String>,
    /// How many entries at most, from 1 to 1000.
    #[serde(default = "list::entries")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
}

/// Newest first, so that a page is found again whatever becomes of the campaigns on it.
pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(Listing { state, after, limit }): Ask<Listing>,
) -> Result<Reply<Items<CampaignView>>, Problem> {
    let mut all = api.server.campaigns(&by, &product).await?;
    all.retain(|(_, campaign)| state.as_ref().is_none_or(|state| *state == body::word(&campaign.state)));
    all.sort_unstable_by_key(|(id, _)| Reverse(*id));
    let page = list::page(all, (after.as_deref(), limit), |(id, _)| id.to_string(), |(id, _)| id)?;
    let mut items = Vec::with_capacity(page.items.len());
    for id in page.items {
        items.push(CampaignView::from((id, api.server.progress(&by, id).await?)));
    }
    Ok(Reply(Items { items, next: page.next }))
}

pub(super) async fn draft(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<CampaignInput>,
) -> Result<Created<Made<u64>>, Problem> {
    let CampaignId(id) = api.server.draft_campaign(&by, drafted(input, product)?).await?;
    Ok(Created(Made { id }))
}

pub(super) async fn dry_run(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<CampaignInput>,
) -> Result<Reply<DryRunView>, Problem> {
    Ok(Reply(api.server.dry_run(&by, &drafted(input, product)?).await?.into()))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Versioned<CampaignView>, Problem> {
    // Read before the content: whatever is changed in between makes an edit fail, and never undoes it.
    let version = api.server.campaign_version(&by, campaign).await?;
    Ok(Versioned(version, (campaign, api.server.progress(&by, campaign).await?).into()))
}

pub(super) async fn edit(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    IfMatch(expected): IfMatch,
    Json(input): Json<CampaignInput>,
) -> Result<Done, Problem> {
    let product = api.server.progress(&by, campaign).await?.campaign.product;
    let content = drafted(input, product)?;
    match expected {
        Some(version) => api.server.edit_campaign_of_version(&by, campaign, version, content).await?,
        None => api.server.edit_campaign(&by, campaign, content).await?,
    }
    Ok(Done)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailuresAfter {
    /// What the answer before had as `next`; nothing for the first one.
    #[serde(default)]
    after: Option<String>,
}

/// Groups of at most ten thousand failed attempts; further ones are in the next answer, in groups of their own.
pub(super) async fn failures(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Ask(FailuresAfter { after }): Ask<FailuresAfter>,
) -> Result<Reply<Items<FailureView>>, Problem> {
    let after = after.as_deref().map(place).transpose()?;
    let (groups, next) = api.server.failures(&by, campaign, after.as_ref(), FAILURES_LOOKED_AT).await?;
    let next = next.map(|(phase, Cursor(bytes))| format!("{:02x}{}", phase.number(), hex(&bytes)));
    Ok(Reply(Items { items: groups.into_iter().map(Into::into).collect(), next }))
}

/// A phase and a place in it.
fn place(after: &str) -> Result<(AttemptPhase, Cursor), Problem> {
    let bytes = unhex("after", after)?;
    let phase =
        bytes.split_first().and_then(|(phase, rest)| Some((AttemptPhase::from_number(*phase)?, rest)));
    let (phase, rest) =
        phase.ok_or_else(|| Problem::invalid("after: expected what an answer had as `next`"))?;
    Ok((phase, Cursor(rest.to_vec())))
}

pub(super) async fn approve(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<HashInput>,
) -> Result<Done, Problem> {
    api.server.approve_campaign(&by, campaign, &content_hash(&input)?).await?;
    Ok(Done)
}

/// Asks for a change of a running campaign. It is made at once if nobody must consent.
pub(super) async fn amend(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(AmendmentInput { change, reason }): Json<AmendmentInput>,
) -> Result<Reply<AmendmentStateView>, Problem> {
    let change = change.amended().map_err(|why| Problem::invalid(why.to_string()))?;
    let reason = ReasonInput { reason, product: None };
    let state = api.server.amend_campaign(&by, campaign, change, system::reason(&reason)?).await?;
    Ok(Reply(state.into()))
}

pub(super) async fn consent(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<HashInput>,
) -> Result<Reply<AmendmentStateView>, Problem> {
    let state = api.server.consent_to_amendment(&by, campaign, &content_hash(&input)?).await?;
    Ok(Reply(state.into()))
}

pub(super) async fn drop_amendment(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Done, Problem> {
    api.server.drop_amendment(&by, campaign).await?;
    Ok(Done)
}

fn content_hash(input: &HashInput) -> Result<Sha256Digest, Problem> {
    Sha256Digest::from_hex(&input.content_hash)
        .ok_or_else(|| Problem::invalid("content_hash: expected 64 lower-case hexadecimal digits"))
}

pub(super) async fn prepare(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Done, Problem> {
    api.server.prepare_campaign(&by, campaign).await?;
    Ok(Done)
}

pub(super) async fn start(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Done, Problem> {
    api.server.start_campaign(&by, campaign).await?;
    Ok(Done)
}

pub(super) async fn promote(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Done, Problem> {
    api.server.promote_campaign(&by, campaign).await?;
    Ok(Done)
}

/// Lets all devices try again that have failed.
pub(super) async fn retry(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<ReasonInput>,
) -> Result<Reply<RetriedView>, Problem> {
    Ok(Reply(api.server.retry_failed(&by, campaign, system::reason(&input)?).await?.into()))
}

/// Lets one device try again.
pub(super) async fn retry_device(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(campaign, device): Ids<CampaignId, DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.retry_device(&by, campaign, &device, system::reason(&input)?).await?;
    Ok(Done)
}

pub(super) async fn pause(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.pause_campaign(&by, campaign, system::reason(&input)?).await?;
    Ok(Done)
}

pub(super) async fn resume(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Done, Problem> {
    api.server.resume_campaign(&by, campaign).await?;
    Ok(Done)
}

pub(super) async fn stop(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.stop_campaign(&by, campaign, system::reason(&input)?).await?;
    Ok(Done)
}
