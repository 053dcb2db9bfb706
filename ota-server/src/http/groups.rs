//! Groups of devices: expressions with a name.

use axum::extract::State;
use ota_core::text::ProductIdBuf;

use super::answer::{Done, Reply};
use super::auth::Caller;
use super::body::{GroupInput, GroupView, Items};
use super::input::{Ask, GroupName, Id, Ids, Json};
use super::list::{self, Page};
use super::{Api, Problem};

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(Page { after, limit }): Ask<Page>,
) -> Result<Reply<Items<GroupView>>, Problem> {
    let groups = api.server.groups(&by, &product).await?;
    list::page(groups, (after.as_deref(), limit), |(name, _)| name.to_string(), Into::into).map(Reply)
}

pub(super) async fn set(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(product, GroupName(name)): Ids<ProductIdBuf, GroupName>,
    Json(input): Json<GroupInput>,
) -> Result<Done, Problem> {
    api.server.set_group(&by, &product, &name, &input.expression).await?;
    Ok(Done)
}

pub(super) async fn remove(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(product, GroupName(name)): Ids<ProductIdBuf, GroupName>,
) -> Result<Done, Problem> {
    api.server.remove_group(&by, &product, &name).await?;
    Ok(Done)
}
