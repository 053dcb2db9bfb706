//! Administration: products and their keys, people, roles, invitations and tokens.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{PersonRole, PrincipalRecord, RoleGrant, TokenKind};
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::parts::{Tone, badge, count, empty, product_path, segment, time, words};
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::body::{ProductInput, RoleBody};
use crate::http::{Api, invitation_link, token_text};
use crate::rules::permission::Action;
use crate::server::{CommandError, NewProduct, NewToken};

/// How long a token is good for.
const TOKEN_LIFE: Millis = Millis(90 * 24 * 3_600_000);
/// Longest name of a person, in bytes.
const NAME_BYTES_MAX: usize = 64;

fn crumbs() -> [(String, String); 1] {
    [("Administration".to_owned(), "/administration".to_owned())]
}

fn person_path(name: &str) -> String {
    format!("/administration/people/{}", segment(name))
}

pub(super) async fn show(State(api): State<Api>, viewer: Viewer) -> Result<Response, Trouble> {
    let products = api.server.products(&viewer.by).await?;
    let people = match viewer.may_all(Action::KeepPeople) {
        true => Some(api.server.principals(&viewer.by).await?),
        false => None,
    };
    let installation = &api.options.installation;
    let body = html! {
        div.head {
            div { h1 { "Administration" } }
            div.buttons {
                @if viewer.may_all(Action::KeepPeople) { a.button href="/administration/people/new" { "Add a person" } }
                @if viewer.may_all(Action::KeepProducts) { a.button href="/administration/products/new" { "Make a product" } }
                @if viewer.may_all(Action::StopEverything) { a.button.danger href="/administration/stop-everything" { "Stop everything" } }
            }
        }
        section.panel aria-labelledby="people-title" {
            header { h2 id="people-title" { "People and programs" } }
            @match &people {
                None => { p.quiet { "Only administrators of the whole installation see who there is." } }
                Some(people) => { (people_table(people)) }
            }
        }
        section.panel aria-labelledby="products-title" {
            header { h2 id="products-title" { "Products" } }
            @if products.is_empty() { (empty("There is no product", "A product is a kind of device, with its own keys.", None)) }
            @else {
                div.scroll tabindex="0" {
                    table data-sortable {
                        thead { tr {
                            th scope="col" data-sort { "Product" } th.number scope="col" data-sort { "Devices" } th scope="col" { "Root of trust" }
                            th.number scope="col" { "Approvals" } th.number scope="col" { "Quarantine after" } th scope="col" data-sort { "Made" } th scope="col" { "More" }
                        } }
                        tbody {
                            @for (id, product) in &products {
                                tr {
                                    th scope="row" { a href=(product_path(id)) { (product.title) } div.quiet.small.mono { (id) } }
                                    td.number { (count(product.next_ordinal)) }
                                    td { @if product.root.0 == 0 { (badge(Tone::Warn, "none yet")) } @else { a href=(format!("{}/keys", product_path(id))) { "version " (product.root) span.visually-hidden { " of " (id) } } } }
                                    td.number { (product.approvals_min) }
                                    td.number { @if product.quarantine_after == 0 { "never" } @else { (product.quarantine_after) " failures" } }
                                    td data-key=(product.created.0) { (time(&viewer, product.created)) }
                                    td {
                                        a href=(format!("{}/groups", product_path(id))) { "Groups" span.visually-hidden { " of " (id) } }
                                        @if viewer.may(Action::KeepDevices, id) { ", " a href=(format!("{}/enrolments", product_path(id))) { "enrolments" span.visually-hidden { " of " (id) } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        section.panel aria-labelledby="installation-title" {
            header { h2 id="installation-title" { "This installation" } }
            dl.facts {
                dt { "Version" } dd { (installation.version) }
                @if let Some(key) = &installation.assignment_key { dt { "Assignment key" } dd.mono { (key) } }
                @for line in &installation.devices { dt { "Devices" } dd { (line) } }
            }
        }
    };
    Ok(Page::new("Administration", Area::Administration, body).show(&viewer))
}

fn people_table(people: &[(Box<str>, PrincipalRecord)]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table data-sortable {
                thead { tr { th scope="col" data-sort { "Name" } th scope="col" { "Roles" } th scope="col" data-sort { "Password" } th scope="col" data-sort { "State" } } }
                tbody {
                    @for (name, record) in people {
                        tr {
                            th scope="row" { a href=(person_path(name)) { (name) } @if record.title != *name { div.quiet.small { (record.title) } } }
                            td { (roles(&record.roles)) }
                            td { @if record.password.is_some() { "set" } @else { span.quiet { "none" } } }
                            td { @if record.disabled { (badge(Tone::Bad, "disabled")) } @else { (badge(Tone::Good, "active")) } }
                        }
                    }
                }
            }
        }
    }
}

fn roles(grants: &[RoleGrant]) -> Markup {
    html! {
        @if grants.is_empty() { span.quiet { "none" } }
        @for grant in grants {
            div {
                (words(&grant.role))
                @match &grant.products {
                    None => { span.quiet { " everywhere" } }
                    Some(products) => { span.quiet { " in " } @for (index, product) in products.iter().enumerate() { @if index > 0 { ", " } span.mono { (product) } } }
                }
            }
        }
    }
}

/// A page with what was made and is told once only.
pub(super) fn told_once(title: &str, what: &str, secret: &str, back: &str) -> Page {
    let body = html! {
        section.panel.form {
            h1 { (title) }
            div.note.warn { strong { "This is shown once" } div { (what) } }
            pre id="secret" tabindex="0" { (secret) }
            div.buttons { a.button.first href=(back) { "Done" } }
        }
    };
    Page::new(title, Area::Administration, body).under(crumbs())
}

pub(super) async fn new_person(viewer: Viewer) -> Result<Response, Trouble> {
    Ok(person_form(&viewer, None, &Fields::default(), &Wrong::default()).show(&viewer))
}

/// A person, with the form that changes it.
pub(super) async fn person(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    let people = api.server.principals(&viewer.by).await?;
    let Some((_, record)) = people.into_iter().find(|(one, _)| **one == *name) else {
        return Err(Trouble::not_found(format!("there is nobody called {name:?}")));
    };
    let tokens = api.server.tokens(&viewer.by, &name).await?;
    let path = person_path(&name);
    let body = html! {
        div.head {
            div { h1 { (name) } div.line { @if record.disabled { (badge(Tone::Bad, "disabled")) } @else { (badge(Tone::Good, "active")) } span.quiet { (record.title) } } }
            div.buttons {
                a.button href=(format!("{path}/edit")) { "Change" }
                form method="post" action=(format!("{path}/invite")) { (viewer.proof()) button.button { "Make a link to set a password" } }
                form method="post" action=(format!("{path}/token")) { (viewer.proof()) button.button { "Make a token" } }
            }
        }
        div.columns {
            section.panel { h2 { "Roles" } (roles(&record.roles)) }
            section.panel {
                h2 { "Tokens and sessions" }
                @if tokens.is_empty() { p.quiet { "None." } }
                @else {
                    div.scroll tabindex="0" {
                        table {
                            thead { tr { th scope="col" { "Kind" } th scope="col" { "Made" } th scope="col" { "Until" } th scope="col" { span.visually-hidden { "Action" } } } }
                            tbody {
                                @for (token, record) in &tokens {
                                    tr {
                                        th scope="row" { @match record.kind { TokenKind::Api => "token", TokenKind::Session => "session", TokenKind::Invitation => "link to set a password" } div.quiet.small { (record.title) } }
                                        td { (time(&viewer, record.created)) }
                                        td { @match record.expires { Some(at) => { (time(&viewer, at)) } None => "no end" } }
                                        td { form method="post" action=(format!("{path}/tokens/{token}/remove")) { (viewer.proof()) button.link { "Remove" span.visually-hidden { " " (token) } } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new(name, Area::Administration, body).under(crumbs()).show(&viewer))
}

pub(super) async fn edit_person(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    let people = api.server.principals(&viewer.by).await?;
    let Some((_, record)) = people.into_iter().find(|(one, _)| **one == *name) else {
        return Err(Trouble::not_found(format!("there is nobody called {name:?}")));
    };
    let mut filled = vec![("title", record.title.to_string())];
    filled.extend(record.roles.iter().map(|grant| ("role", crate::http::body::word(&grant.role))));
    let products = record.roles.first().and_then(|grant| grant.products.clone()).unwrap_or_default();
    let products: Vec<&str> = products.iter().map(ProductIdBuf::as_str).collect();
    filled.push(("products", products.join(" ")));
    if record.disabled {
        filled.push(("disabled", "yes".to_owned()));
    }
    Ok(person_form(&viewer, Some(&name), &Fields::filled(filled), &Wrong::default()).show(&viewer))
}

pub(super) async fn add_person(
    State(api): State<Api>,
    viewer: Viewer,
    fields: Fields,
) -> Result<Response, Trouble> {
    let name = fields.text("name").to_owned();
    set_person(&api, &viewer, None, &name, &fields).await
}

pub(super) async fn change_person(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    set_person(&api, &viewer, Some(&name), &name, &fields).await
}

async fn set_person(
    api: &Api,
    viewer: &Viewer,
    known: Option<&str>,
    name: &str,
    fields: &Fields,
) -> Result<Response, Trouble> {
    let mut wrong = Wrong::default();
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    if !is_name {
        wrong.field("name", "Give a name of 1 to 64 bytes without blanks.");
    }
    let chosen: Vec<PersonRole> = RoleBody::ALL
        .into_iter()
        .map(RoleBody::role)
        .filter(|role| fields.chosen("role", &crate::http::body::word(role)))
        .collect();
    let products =
        fields.text("products").split_whitespace().map(ProductIdBuf::new).collect::<Result<Vec<_>, _>>();
    if let (true, Some(products)) = (wrong.is_empty(), wrong.take("products", products)) {
        let people = api.server.principals(&viewer.by).await?;
        let before = people.into_iter().find(|(one, _)| **one == *name).map(|(_, record)| record);
        if known.is_none() && before.is_some() {
            wrong.field("name", "Somebody of this name is there already.");
        } else {
            let products = (!products.is_empty()).then_some(products);
            let grant = |role| RoleGrant { role, products: products.clone() };
            let title = Some(fields.text("title")).filter(|text| !text.is_empty()).unwrap_or(name);
            let record = PrincipalRecord {
                title: title.into(),
                roles: chosen.into_iter().map(grant).collect(),
                disabled: fields.has("disabled"),
                password: before.and_then(|record| record.password),
            };
            match api.server.set_principal(&viewer.by, name, record).await {
                Ok(()) => return Ok(Redirect::to(&person_path(name)).into_response()),
                Err(error) => wrong.refuse(error),
            }
        }
    }
    Ok((wrong.status(), person_form(viewer, known, fields, &wrong).show(viewer)).into_response())
}

fn person_form(viewer: &Viewer, known: Option<&str>, fields: &Fields, wrong: &Wrong) -> Page {
    let (title, action) = match known {
        Some(name) => (format!("Change {name}"), format!("{}/edit", person_path(name))),
        None => ("Add a person".to_owned(), "/administration/people/new".to_owned()),
    };
    let explained = [
        ("viewer", "Looks."),
        ("developer", "Uploads packages."),
        ("operator", "Runs campaigns and keeps devices."),
        ("approver", "Approves campaigns and promotes them to the fleet."),
        ("key_holder", "Brings signatures and roots."),
        ("administrator", "Looks after products, people and the installation."),
    ];
    let body = html! {
        section.panel.form {
            h1 { (title) }
            (wrong.summary())
            form.form method="post" action=(action) {
                (viewer.proof())
                @if known.is_none() { (field("name", "Name").hint("People sign in with it; programs are named too.").text(fields, wrong)) }
                (field("title", "What people call it").text(fields, wrong))
                fieldset.field {
                    legend { "Roles" }
                    @for (role, text) in explained {
                        label.check {
                            input type="checkbox" name="role" value=(role) checked[fields.chosen("role", role)];
                            span { (role.replace('_', " ")) " " span.hint { (text) } }
                        }
                    }
                }
                (field("products", "Only in these products").hint("Their ids, with blanks between them. Empty: everywhere.").text(fields, wrong))
                (field("disabled", "Disabled").hint("May do nothing at all for the time being.").tick(fields))
                div.buttons { button.button.first { "Save" } a.button href="/administration" { "Leave it as it is" } }
            }
        }
    };
    Page::new(title, Area::Administration, body).under(crumbs())
}

pub(super) async fn invite(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    let issued = api.server.invite(&viewer.by, &name).await?;
    let base = api.options.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let link = format!("{base}{}", invitation_link(&issued));
    let what = format!(
        "Give it to {name} on a way that others cannot read. It is good for a day, and for one password."
    );
    Ok(told_once(&format!("A link for {name}"), &what, &link, &person_path(&name)).show(&viewer))
}

pub(super) async fn make_token(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    let expires = Some(api.server.time().plus(TOKEN_LIFE));
    let new = NewToken { title: "made in the console".into(), expires, roles: None };
    let token = api.server.create_token(&viewer.by, &name, new).await?;
    let what = format!("Programs of {name} send it with each request. It is good for 90 days.");
    let text = token_text(&token.name, &token.secret);
    Ok(told_once(&format!("A token for {name}"), &what, &text, &person_path(&name)).show(&viewer))
}

pub(super) async fn remove_token(
    State(api): State<Api>,
    viewer: Viewer,
    Path((name, token)): Path<(String, String)>,
) -> Result<Redirect, Trouble> {
    api.server.remove_token(&viewer.by, &token).await?;
    Ok(Redirect::to(&person_path(&name)))
}

pub(super) async fn new_product(viewer: Viewer) -> Result<Response, Trouble> {
    let fields = Fields::filled([("approvals", "1".to_owned()), ("quarantine", "3".to_owned())]);
    Ok(product_form(&viewer, &fields, &Wrong::default()).show(&viewer))
}

pub(super) async fn make_product(
    State(api): State<Api>,
    viewer: Viewer,
    fields: Fields,
) -> Result<Response, Trouble> {
    let mut wrong = Wrong::default();
    let expected = "expected a number from 0 to 255";
    let approvals = wrong.take("approvals", fields.text("approvals").parse().map_err(|_| expected));
    let quarantine = wrong.take("quarantine", fields.text("quarantine").parse().map_err(|_| expected));
    if let Some((approvals_min, quarantine_after)) = approvals.zip(quarantine) {
        let input = ProductInput {
            id: fields.text("id").to_owned(),
            title: Some(fields.text("title").to_owned()).filter(|text| !text.is_empty()),
            approvals_min,
            quarantine_after,
            attested_only: fields.has("attested"),
            protocols: Vec::new(),
        };
        match NewProduct::try_from(input) {
            Err(_) => {
                wrong.field("id", "Use 1 to 64 letters, digits, dots, dashes and underscores, no dot first.")
            }
            Ok(new) => match api.server.create_product(&viewer.by, &new).await {
                Ok(()) => return Ok(Redirect::to(&product_path(&new.id)).into_response()),
                Err(error @ CommandError::ProductExists(_)) => {
                    wrong.field("id", sentence(&error.to_string()))
                }
                Err(error) => wrong.refuse(error),
            },
        }
    }
    Ok((wrong.status(), product_form(&viewer, &fields, &wrong).show(&viewer)).into_response())
}

fn product_form(viewer: &Viewer, fields: &Fields, wrong: &Wrong) -> Page {
    let body = html! {
        section.panel.form {
            h1 { "Make a product" }
            p.quiet { "A product is a kind of device. Its keys are made where its key holders are: " code { "ota init" } " does both at once." }
            (wrong.summary())
            form.form method="post" action="/administration/products/new" {
                (viewer.proof())
                (field("id", "Id").hint("What devices call it; it never changes. Letters, digits, dots, dashes and underscores.").text(fields, wrong))
                (field("title", "What people call it").text(fields, wrong))
                div.row {
                    (field("approvals", "Approvals of a campaign at least").input_of("number", fields, wrong))
                    (field("quarantine", "Quarantine after failures in a row").hint("0 for never.").input_of("number", fields, wrong))
                }
                (field("attested", "Only evidence that a device's own key vouches for counts").tick(fields))
                div.buttons { button.button.first { "Make it" } a.button href="/administration" { "Leave" } }
            }
        }
    };
    Page::new("Make a product", Area::Administration, body).under(crumbs())
}
