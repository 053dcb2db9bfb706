//! Products, their roots, and what their devices run.

use axum::extract::State;
use ota_core::number::RootVersion;
use ota_core::text::ProductIdBuf;

use super::answer::{Cbor, Created, Reply};
use super::auth::Caller;
use super::body::{CourseView, FleetView, Items, Made, ProductInput, ProductView, RootInput};
use super::input::{Ask, Id, Json, unhex};
use super::list::{self, Page};
use super::{Api, Problem};
use crate::server::NewProduct;

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Ask(Page { after, limit }): Ask<Page>,
) -> Result<Reply<Items<ProductView>>, Problem> {
    let products = api.server.products(&by).await?;
    list::page(products, (after.as_deref(), limit), |(id, _)| id.to_string(), Into::into).map(Reply)
}

pub(super) async fn create(
    State(api): State<Api>,
    Caller(by): Caller,
    Json(input): Json<ProductInput>,
) -> Result<Created<Made<String>>, Problem> {
    let new = NewProduct::try_from(input).map_err(|why| Problem::invalid(why.to_string()))?;
    api.server.create_product(&by, &new).await?;
    Ok(Created(Made { id: new.id.as_str().to_owned() }))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<Reply<ProductView>, Problem> {
    let record = api.server.product(&by, &product).await?;
    Ok(Reply((product, record).into()))
}

pub(super) async fn fleet(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<Reply<FleetView>, Problem> {
    let lines = api.server.fleet(&by, &product).await?.into_iter().map(Into::into).collect();
    Ok(Reply(FleetView::new(lines, api.server.heard(&by, &product).await?)))
}

/// How the fleet has developed, for charts.
pub(super) async fn course(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<Reply<CourseView>, Problem> {
    Ok(Reply(api.server.fleet_course(&by, &product).await?.into()))
}

/// The body of the newest root: what devices are provisioned with.
pub(super) async fn root(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<Cbor<Vec<u8>>, Problem> {
    Ok(Cbor(api.server.root_body(&by, &product).await?))
}

pub(super) async fn add_root(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<RootInput>,
) -> Result<Created<Made<u32>>, Problem> {
    let (body, envelope) = (unhex("body", &input.body)?, unhex("envelope", &input.envelope)?);
    let RootVersion(id) = api.server.add_root(&by, &product, &body, &envelope).await?;
    Ok(Created(Made { id }))
}
