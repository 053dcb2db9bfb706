//! Products, their roots, and what their devices run.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use ota_core::number::RootVersion;
use ota_core::text::ProductIdBuf;

use super::auth::Caller;
use super::body::{FleetLineView, Items, Made, ProductInput, ProductView, RootInput};
use super::input::{Id, Json, Reply, unhex};
use super::{Api, Problem, system};
use crate::server::NewProduct;

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
) -> Result<Reply<Items<ProductView>>, Problem> {
    Ok(system::items(api.server.products(&by).await?))
}

pub(super) async fn create(
    State(api): State<Api>,
    Caller(by): Caller,
    Json(input): Json<ProductInput>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewProduct::try_from(input).map_err(|why| Problem::invalid(why.to_string()))?;
    api.server.create_product(&by, &new).await?;
    Ok((StatusCode::CREATED, Reply(Made { id: new.id.as_str().to_owned() })))
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
) -> Result<Reply<Items<FleetLineView>>, Problem> {
    Ok(system::items(api.server.fleet(&by, &product).await?))
}

/// The body of the newest root: what devices are provisioned with.
pub(super) async fn root(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
) -> Result<impl IntoResponse, Problem> {
    let body = api.server.root_body(&by, &product).await?;
    Ok(([(header::CONTENT_TYPE, "application/cbor")], body))
}

pub(super) async fn add_root(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<RootInput>,
) -> Result<impl IntoResponse, Problem> {
    let (body, envelope) = (unhex("body", &input.body)?, unhex("envelope", &input.envelope)?);
    let RootVersion(id) = api.server.add_root(&by, &product, &body, &envelope).await?;
    Ok((StatusCode::CREATED, Reply(Made { id })))
}
