//! The groups of a product: expressions with a name, for lists and for the targets of campaigns.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::text::ProductIdBuf;

use super::form::{Fields, Wrong, field};
use super::page::Page;
use super::parts::{empty, product_path, segment};
use super::product::{id_of, side_page};
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::Api;
use crate::rules::permission::Action;
use crate::server::CommandError;

fn path_of(product: &ProductIdBuf) -> String {
    format!("{}/groups", product_path(product))
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    Ok(page(&api, &viewer, &product, &Fields::default(), &Wrong::default()).await?.show(&viewer))
}

/// Makes a group, or shows the form again with what is wrong.
pub(super) async fn set(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    let mut wrong = Wrong::default();
    let (name, expression) = (fields.text("name"), fields.text("expression"));
    match api.server.set_group(&viewer.by, &product, name, expression).await {
        Ok(()) => return Ok(Redirect::to(&path_of(&product)).into_response()),
        Err(CommandError::Filter(why)) => wrong.field("expression", sentence(&why.to_string())),
        Err(why @ CommandError::GroupName) => wrong.field("name", sentence(&why.to_string())),
        Err(error) => wrong.refuse(error),
    }
    let page = page(&api, &viewer, &product, &fields, &wrong).await?;
    Ok((wrong.status(), page.show(&viewer)).into_response())
}

pub(super) async fn remove(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    api.server.remove_group(&viewer.by, &product, fields.exact("name")).await?;
    Ok(Redirect::to(&path_of(&product)).into_response())
}

async fn page(
    api: &Api,
    viewer: &Viewer,
    product: &ProductIdBuf,
    fields: &Fields,
    wrong: &Wrong,
) -> Result<Page, Trouble> {
    let record = api.server.product(&viewer.by, product).await?;
    let groups = api.server.groups(&viewer.by, product).await?;
    let may_keep = viewer.may(Action::KeepDevices, product);
    let about = "An expression with a name. A campaign takes the expression as it is when its draft is made.";
    let inner = html! {
        section.panel aria-labelledby="groups-title" {
            header { h2 id="groups-title" { "Groups" } }
            @if groups.is_empty() { (empty("There is no group yet", "A group is a name for devices that fulfil an expression.", None)) }
            @else { (table(viewer, product, &groups, may_keep)) }
        }
        @if may_keep {
            section.panel.form {
                h2 { "Make a group, or give one another expression" }
                (wrong.summary())
                form.form method="post" action=(path_of(product)) {
                    (viewer.proof())
                    (field("name", "Name").text(fields, wrong))
                    (field("expression", "Devices").hint("Such as: tag = site=berlin and heard < 7d").text(fields, wrong))
                    div.buttons { button.button.first { "Save the group" } a.button href=(product_path(product)) { "Back to the product" } }
                }
            }
        }
    };
    Ok(side_page("Groups", about, product, &record, &inner))
}

fn table(viewer: &Viewer, product: &ProductIdBuf, groups: &[(Box<str>, Box<str>)], may_keep: bool) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table data-sortable {
                thead { tr { th scope="col" data-sort { "Group" } th scope="col" { "Devices" } @if may_keep { th scope="col" { span.visually-hidden { "Action" } } } } }
                tbody {
                    @for (name, expression) in groups {
                        tr {
                            th scope="row" { a href=(format!("{}/devices?group={}", product_path(product), segment(name))) { (name) } }
                            td { code { (expression) } }
                            @if may_keep {
                                td {
                                    form method="post" action=(format!("{}/remove", path_of(product))) {
                                        (viewer.proof())
                                        input type="hidden" name="name" value=(name);
                                        button.link { "Remove" span.visually-hidden { " " (name) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
