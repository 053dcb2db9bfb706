//! Campaigns: drafts, approvals, start, promotion, pause, resume, stop, and how they fare.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::ProductIdBuf;

use super::auth::Caller;
use super::body::{
    CampaignInput, CampaignView, DryRunView, FailureView, HashInput, Items, Made, ReasonInput,
};
use super::input::{Id, Json, Reply};
use super::{Api, Problem, system};
use crate::rules::campaign::Draft;

/// How many failed attempts one look groups.
const FAILURES_LOOKED_AT: usize = 10_000;

fn drafted(input: CampaignInput, product: ProductIdBuf) -> Result<Draft, Problem> {
    input.draft(product).map_err(|why| Problem::invalid(why.to_string()))
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<Reply<Items<CampaignView>>, Problem> {
    let mut items = Vec::new();
    for (id, _) in api.server.campaigns(&by, &product).await? {
        items.push(CampaignView::from((id, api.server.progress(&by, id).await?)));
    }
    Ok(Reply(Items { items }))
}

pub(super) async fn draft(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<CampaignInput>,
) -> Result<impl IntoResponse, Problem> {
    let CampaignId(id) = api.server.draft_campaign(&by, drafted(input, product)?).await?;
    Ok((StatusCode::CREATED, Reply(Made { id })))
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
) -> Result<Reply<CampaignView>, Problem> {
    Ok(Reply((campaign, api.server.progress(&by, campaign).await?).into()))
}

pub(super) async fn edit(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<CampaignInput>,
) -> Result<StatusCode, Problem> {
    let product = api.server.progress(&by, campaign).await?.campaign.product;
    api.server.edit_campaign(&by, campaign, drafted(input, product)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn failures(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<Reply<Items<FailureView>>, Problem> {
    let (groups, _) = api.server.failures(&by, campaign, None, FAILURES_LOOKED_AT).await?;
    Ok(system::items(groups))
}

pub(super) async fn approve(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<HashInput>,
) -> Result<StatusCode, Problem> {
    let seen = Sha256Digest::from_hex(&input.content_hash)
        .ok_or_else(|| Problem::invalid("content_hash: expected 64 lower-case hexadecimal digits"))?;
    api.server.approve_campaign(&by, campaign, &seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prepare(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<StatusCode, Problem> {
    api.server.prepare_campaign(&by, campaign).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn start(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<StatusCode, Problem> {
    api.server.start_campaign(&by, campaign).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn promote(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<StatusCode, Problem> {
    api.server.promote_campaign(&by, campaign).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<ReasonInput>,
) -> Result<StatusCode, Problem> {
    api.server.pause_campaign(&by, campaign, system::reason(&input)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
) -> Result<StatusCode, Problem> {
    api.server.resume_campaign(&by, campaign).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn stop(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(campaign): Id<CampaignId>,
    Json(input): Json<ReasonInput>,
) -> Result<StatusCode, Problem> {
    api.server.stop_campaign(&by, campaign, system::reason(&input)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
