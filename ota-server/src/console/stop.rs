//! The button for the worst moment: all campaigns stop, of one product or of the whole installation. Whoever may stop the
//! campaigns of one product finds it there, and needs no right to anything else.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use ota_core::fleet::records::CampaignState;
use ota_core::text::ProductIdBuf;

use super::form::{Fields, Wrong, field};
use super::home::Counts;
use super::page::{Area, Page};
use super::parts::{campaigns, devices, product_path};
use super::product::id_of;
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::Api;

/// What is stopped: everything, or everything of one product.
struct What {
    product: Option<(ProductIdBuf, String)>,
}

impl What {
    const ALL: Self = Self { product: None };

    async fn of_product(api: &Api, viewer: &Viewer, id: &str) -> Result<Self, Trouble> {
        let id = id_of(id)?;
        let title = api.server.product(&viewer.by, &id).await?.title.to_string();
        Ok(Self { product: Some((id, title)) })
    }

    /// Where the campaigns are seen.
    fn home(&self) -> String {
        self.product.as_ref().map_or_else(|| "/".to_owned(), |(id, _)| product_path(id))
    }

    fn title(&self) -> String {
        match &self.product {
            Some((_, title)) => format!("Stop everything of {title}"),
            None => "Stop everything".to_owned(),
        }
    }

    fn address(&self) -> String {
        match &self.product {
            Some((id, _)) => format!("{}/stop-everything", product_path(id)),
            None => "/administration/stop-everything".to_owned(),
        }
    }
}

pub(super) async fn confirm(State(api): State<Api>, viewer: Viewer) -> Result<Response, Trouble> {
    Ok(page(&api, &viewer, &What::ALL, &Fields::default(), &Wrong::default()).await?.show(&viewer))
}

pub(super) async fn confirm_of_product(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let what = What::of_product(&api, &viewer, &id).await?;
    Ok(page(&api, &viewer, &what, &Fields::default(), &Wrong::default()).await?.show(&viewer))
}

pub(super) async fn perform(
    State(api): State<Api>,
    viewer: Viewer,
    fields: Fields,
) -> Result<Response, Trouble> {
    stop(&api, &viewer, &What::ALL, &fields).await
}

pub(super) async fn perform_of_product(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let what = What::of_product(&api, &viewer, &id).await?;
    stop(&api, &viewer, &what, &fields).await
}

async fn stop(api: &Api, viewer: &Viewer, what: &What, fields: &Fields) -> Result<Response, Trouble> {
    let mut wrong = Wrong::default();
    if let Some(reason) = wrong.take("reason", fields.reason("reason")) {
        let product = what.product.as_ref().map(|(id, _)| id);
        match api.server.stop_everything(&viewer.by, product, reason).await {
            Ok(_) => return Ok(Redirect::to(&what.home()).into_response()),
            Err(error) => wrong.refuse(error),
        }
    }
    let page = page(api, viewer, what, fields, &wrong).await?;
    Ok((wrong.status(), page.show(viewer)).into_response())
}

async fn page(
    api: &Api,
    viewer: &Viewer,
    what: &What,
    fields: &Fields,
    wrong: &Wrong,
) -> Result<Page, Trouble> {
    use CampaignState as S;
    let products = match &what.product {
        Some((id, _)) => vec![id.clone()],
        None => api.server.products(&viewer.by).await?.into_iter().map(|(id, _)| id).collect(),
    };
    let (mut stopped, mut at_work) = (0, 0);
    for product in products {
        for (id, campaign) in api.server.campaigns(&viewer.by, &product).await? {
            if !matches!(campaign.state, S::Draft | S::Stopped) {
                stopped += 1;
                at_work += Counts::of(&api.server.progress(&viewer.by, id).await?).working;
            }
        }
    }
    let title = what.title();
    let body = html! {
        section.panel.form {
            h1 { (what.title()) "?" }
            (wrong.summary())
            h2 { "What it does" }
            ul {
                @if stopped == 0 { li { "There is no campaign that could be stopped." } }
                @else { li { (campaigns(stopped)) ", those that are completed too: stopped for good." } }
                li { (devices(at_work)) " at work: told to give up." }
                li { "Devices keep what they have installed. Nothing is offered to anybody until somebody starts a new campaign." }
                @if what.product.is_some() { li { "Other products are left alone." } }
            }
            form.form method="post" action=(what.address()) {
                (viewer.proof())
                (field("reason", "Why").hint("Whoever reads the campaigns and the audit log sees it.").text(fields, wrong))
                div.buttons { button.button.first.danger { "Stop everything" } a.button href=(what.home()) { "Leave it as it is" } }
            }
        }
    };
    let page = Page::new(title, Area::Fleet, body);
    let fleet = ("Fleet".to_owned(), "/".to_owned());
    Ok(match &what.product {
        Some((id, title)) => page.under([fleet, (title.clone(), product_path(id))]),
        None => page.under([fleet]),
    })
}
