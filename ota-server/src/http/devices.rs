//! Devices: registration, lists, what one of them runs and why, tags, revocation.

use axum::extract::State;
use axum::http::StatusCode;
use ota_core::fleet::Cursor;
use ota_core::number::CampaignId;
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use serde::Deserialize;

use super::auth::Caller;
use super::body::{DeviceView, DevicesInput, DevicesView, ReasonInput, TagsInput, WhyNotView};
use super::input::{Ask, Id, Json, Reply, unhex};
use super::{Api, Problem, hex, system};
use crate::server::NewDevice;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    tag: Option<String>,
    after: Option<String>,
    #[serde(default = "page")]
    limit: usize,
}

const fn page() -> usize {
    100
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(listing): Ask<Listing>,
) -> Result<Reply<DevicesView>, Problem> {
    let after = listing.after.as_deref().map(|text| unhex("after", text).map(Cursor)).transpose()?;
    let page =
        api.server.devices(&by, &product, listing.tag.as_deref(), after.as_ref(), listing.limit).await?;
    let next = page.next.map(|Cursor(bytes)| hex(&bytes));
    Ok(Reply(DevicesView { items: page.devices.into_iter().map(Into::into).collect(), next }))
}

pub(super) async fn register(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<DevicesInput>,
) -> Result<StatusCode, Problem> {
    let named = |(index, device)| {
        NewDevice::try_from(device).map_err(|why| Problem::invalid(format!("devices[{index}].id: {why}")))
    };
    let new = input.devices.into_iter().enumerate().map(named).collect::<Result<Vec<_>, _>>()?;
    if new.is_empty() {
        return Err(Problem::invalid("devices: expected at least one"));
    }
    api.server.register_devices(&by, &product, &new).await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<Reply<DeviceView>, Problem> {
    let report = api.server.device(&by, &device).await?;
    Ok(Reply(DeviceView::new(&device, report)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyNotQuery {
    campaign: u64,
}

pub(super) async fn why_not(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Ask(query): Ask<WhyNotQuery>,
) -> Result<Reply<WhyNotView>, Problem> {
    let why = api.server.why_not(&by, &device, CampaignId(query.campaign)).await?;
    Ok(Reply(WhyNotView::new(query.campaign, &why)))
}

pub(super) async fn tag(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<TagsInput>,
) -> Result<StatusCode, Problem> {
    let tags: Vec<&str> = input.tags.iter().map(String::as_str).collect();
    api.server.tag_device(&by, &device, &tags).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<StatusCode, Problem> {
    api.server.revoke_device(&by, &device, system::reason(&input)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn release(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<StatusCode, Problem> {
    api.server.release_device(&by, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}
