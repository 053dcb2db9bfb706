//! Devices: registration, lists, what one of them runs and why, tags, revocation.

use axum::extract::State;
use ota_core::fleet::Cursor;
use ota_core::number::CampaignId;
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Created, Done, Reply, Versioned};
use super::auth::Caller;
use super::body::{
    DeviceInput, DeviceView, DevicesInput, DevicesView, ErasedView, ReasonInput, RegisteredView, TagsInput,
    TagsView, WhyNotView,
};
use super::input::{Ask, Id, Json, unhex};
use super::versions::IfMatch;
use super::{Api, Problem, hex, list, system};
use crate::rules::filter::Filter;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those with this tag.
    #[serde(default)]
    tag: Option<String>,
    /// Only those that fulfil this expression, such as `tag = site=berlin and not heard within 1d`.
    #[serde(default)]
    filter: Option<String>,
    /// Only those in this group.
    #[serde(default)]
    group: Option<String>,
    /// What the page before answered as `next`; nothing for the first one.
    #[serde(default)]
    after: Option<String>,
    /// How many entries at most, from 1 to 1000.
    #[serde(default = "list::entries")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(listing): Ask<Listing>,
) -> Result<Reply<DevicesView>, Problem> {
    let limit = list::limit(listing.limit)?;
    let after = listing.after.as_deref().map(|text| unhex("after", text).map(Cursor)).transpose()?;
    let Listing { tag, filter, group, .. } = listing;
    if [&tag, &filter, &group].into_iter().flatten().count() > 1 {
        return Err(Problem::invalid("tag, filter and group: give one of them; a filter can ask for tags"));
    }
    let filter = match group {
        Some(group) => Some(api.server.group(&by, &product, &group).await?.into()),
        None => filter,
    };
    let page = match filter {
        Some(filter) => {
            let filter = Filter::parse(&filter).map_err(|why| Problem::invalid(format!("filter: {why}")))?;
            api.server.devices_that(&by, &product, &filter, after.as_ref(), limit).await?
        }
        None => api.server.devices(&by, &product, tag.as_deref(), after.as_ref(), limit).await?,
    };
    let next = page.next.map(|Cursor(bytes)| hex(&bytes));
    Ok(Reply(DevicesView { items: page.devices.into_iter().map(Into::into).collect(), next }))
}

pub(super) async fn register(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<DevicesInput>,
) -> Result<Created<RegisteredView>, Problem> {
    let named = |(index, device): (usize, DeviceInput)| {
        let device = device.device(api.server.random());
        device.map_err(|why| Problem::invalid(format!("devices[{index}].{why}")))
    };
    let new = input.devices.into_iter().enumerate().map(named).collect::<Result<Vec<_>, _>>()?;
    if new.is_empty() {
        return Err(Problem::invalid("devices: expected at least one"));
    }
    api.server.register_devices(&by, &product, &new).await?;
    Ok(Created(RegisteredView { registered: u64::try_from(new.len()).unwrap_or(u64::MAX) }))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<Reply<DeviceView>, Problem> {
    let report = api.server.device(&by, &device).await?;
    Ok(Reply(DeviceView::new(&device, report)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyNotQuery {
    /// The campaign that is asked about.
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

pub(super) async fn tags(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<Versioned<TagsView>, Problem> {
    let (tags, version) = api.server.device_tags(&by, &device).await?;
    Ok(Versioned(version, tags.into()))
}

pub(super) async fn tag(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    IfMatch(expected): IfMatch,
    Json(input): Json<TagsInput>,
) -> Result<Done, Problem> {
    let tags: Vec<&str> = input.tags.iter().map(String::as_str).collect();
    match expected {
        Some(version) => api.server.tag_device_of_version(&by, &device, version, &tags).await?,
        None => api.server.tag_device(&by, &device, &tags).await?,
    }
    Ok(Done)
}

pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.revoke_device(&by, &device, system::reason(&input)?).await?;
    Ok(Done)
}

pub(super) async fn erase(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<Reply<ErasedView>, Problem> {
    Ok(Reply(api.server.erase_device(&by, &device, system::reason(&input)?).await?.into()))
}

pub(super) async fn quarantine(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.quarantine_device(&by, &device, system::reason(&input)?).await?;
    Ok(Done)
}

pub(super) async fn pin(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.pin_device(&by, &device, system::reason(&input)?).await?;
    Ok(Done)
}

pub(super) async fn unpin(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<Done, Problem> {
    api.server.unpin_device(&by, &device).await?;
    Ok(Done)
}

pub(super) async fn release(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(device): Id<DeviceIdBuf>,
) -> Result<Done, Problem> {
    api.server.release_device(&by, &device).await?;
    Ok(Done)
}
