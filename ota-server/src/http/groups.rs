//! Groups of devices: expressions with a name.

use axum::extract::State;
use ota_core::text::ProductIdBuf;

use super::answer::{Done, Reply, Versioned};
use super::auth::Caller;
use super::body::{GroupInput, GroupView, Items};
use super::input::{Ask, GroupName, Id, Ids, Json};
use super::list::{self, Page};
use super::versions::IfMatch;
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

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(product, GroupName(name)): Ids<ProductIdBuf, GroupName>,
) -> Result<Versioned<GroupView>, Problem> {
    // Read before the content: whatever is changed in between makes an edit fail, and never undoes it.
    let version = api.server.group_version(&by, &product, &name).await?;
    let expression = api.server.group(&by, &product, &name).await?;
    Ok(Versioned(version, (name.into_boxed_str(), expression).into()))
}

pub(super) async fn set(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(product, GroupName(name)): Ids<ProductIdBuf, GroupName>,
    IfMatch(expected): IfMatch,
    Json(GroupInput { expression }): Json<GroupInput>,
) -> Result<Done, Problem> {
    match expected {
        Some(version) => {
            api.server.set_group_of_version(&by, &product, &name, version, &expression).await?;
        }
        None => api.server.set_group(&by, &product, &name, &expression).await?,
    }
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
