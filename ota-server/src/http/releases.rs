//! Packages: upload of files, drafts, fixed bodies, signatures, withdrawal.

use core::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use ota_core::limits::{ENVELOPE_BYTES_MAX, UNIT_BYTES_DEFAULT, UNIT_BYTES_MAX, UNIT_BYTES_MIN};
use ota_core::number::ReleaseId;
use ota_core::text::ProductIdBuf;
use ota_core::trust::EpochRaise;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Cbor, Created, Done, Reply};
use super::auth::Caller;
use super::body::{ContentBody, FixInput, Items, ReasonInput, ReleaseInput, ReleaseRef, ReleaseView};
use super::input::{Ask, Id, Json, Raw};
use super::{Api, Problem, body, list, system};

/// How long an upload may stand still before it is given up.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// The unit of its block map in bytes, a power of two from 256 to 1048576; 0 for no block map.
    #[serde(default = "unit")]
    unit: u32,
}

/// The unit of a block map, if it can be one.
pub(super) fn checked_unit(unit: u32) -> Result<u32, Problem> {
    let is_unit = unit.is_power_of_two() && (UNIT_BYTES_MIN..=UNIT_BYTES_MAX).contains(&unit);
    if unit != 0 && !is_unit {
        return Err(Problem::invalid("unit: expected 0, or a power of two from 256 to 1048576"));
    }
    Ok(unit)
}

pub(super) const fn unit() -> u32 {
    UNIT_BYTES_DEFAULT
}

/// Takes a file's bytes in as they come. Nothing of an upload that breaks off remains.
pub(super) async fn upload(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(query): Ask<UploadQuery>,
    headers: HeaderMap,
    mut bytes: Body,
) -> Result<Created<ContentBody>, Problem> {
    let unit = checked_unit(query.unit)?;
    let limit = api.options.file_bytes_max;
    let too_large = || Problem::too_large(format!("a file has at most {limit} bytes"));
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut upload = api.server.upload(&by, &product, unit).await?;
    let _place = api.uploads.place(by.name())?;
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut size: u64 = 0;
    loop {
        let frame = tokio::time::timeout(STALL_MAX, bytes.frame()).await;
        let frame =
            frame.map_err(|_| Problem::invalid("the upload stood still for 60 s and was given up"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|why| Problem::invalid(format!("the upload broke off: {why}")))?;
        if let Ok(data) = frame.into_data() {
            size = size.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if size > limit {
                return Err(too_large());
            }
            upload.write(data).await?;
        }
    }
    let content: ContentBody = upload.finish().await?.into();
    Ok(Created(content))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those of this package.
    #[serde(default)]
    package: Option<String>,
    /// Only those in this state, such as `draft` or `signed`.
    #[serde(default)]
    status: Option<String>,
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
    Ask(Listing { package, status, after, limit }): Ask<Listing>,
) -> Result<Reply<Items<ReleaseView>>, Problem> {
    let mut all = api.server.releases(&by, &product).await?;
    all.retain(|(_, release)| {
        package.as_ref().is_none_or(|package| *package == release.package.as_str())
            && status.as_ref().is_none_or(|status| *status == body::word(&release.status))
    });
    list::page(all, (after.as_deref(), limit), |(id, _)| id.to_string(), Into::into).map(Reply)
}

pub(super) async fn draft(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<ReleaseInput>,
) -> Result<Created<ReleaseRef>, Problem> {
    let draft = input.draft(product).map_err(|why| Problem::invalid(why.to_string()))?;
    let id = api.server.draft_release(&by, draft).await?;
    Ok(Created(ReleaseRef { id: id.to_string(), status: "draft".to_owned() }))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(release): Id<ReleaseId>,
) -> Result<Reply<ReleaseView>, Problem> {
    let record = api.server.release(&by, &release).await?;
    Ok(Reply((release, record).into()))
}

/// The exact bytes whose hash is the release's id: what people check before they sign.
pub(super) async fn release_body(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(release): Id<ReleaseId>,
) -> Result<Cbor<Bytes>, Problem> {
    Ok(Cbor(api.server.release_body(&by, &release).await?))
}

pub(super) async fn fix(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(release): Id<ReleaseId>,
    Json(input): Json<FixInput>,
) -> Result<Reply<ReleaseRef>, Problem> {
    let raise = input.raise_epoch_without_limit.then_some(EpochRaise::Unlimited);
    let id = api.server.fix_release(&by, &release, raise).await?;
    Ok(Reply(ReleaseRef { id: id.to_string(), status: "fixed".to_owned() }))
}

/// Takes the signatures of an envelope in.
pub(super) async fn sign(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(release): Id<ReleaseId>,
    Raw(envelope): Raw,
) -> Result<Reply<ReleaseRef>, Problem> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(Problem::too_large(format!("an envelope has at most {ENVELOPE_BYTES_MAX} bytes")));
    }
    let status = api.server.sign_release(&by, &release, &envelope).await?;
    Ok(Reply(ReleaseRef { id: release.to_string(), status: body::word(&status) }))
}

pub(super) async fn withdraw(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(release): Id<ReleaseId>,
    Json(input): Json<ReasonInput>,
) -> Result<Done, Problem> {
    api.server.withdraw_release(&by, &release, system::reason(&input)?).await?;
    Ok(Done)
}
