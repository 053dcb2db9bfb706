//! What waits for an approval: drafts, and changes of running campaigns. First what the viewer can approve, then what others
//! must.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use ota_core::fleet::records::{Campaign, CampaignState};
use ota_core::number::CampaignId;
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;

use super::campaign::{plan, wanted_words};
use super::page::{Area, Page};
use super::parts::{campaign_path, empty, product_path, time};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::Api;
use crate::rules::campaign::valid_approvals;
use crate::rules::permission::Action;

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 5;

/// A draft or a change, and how far its approvals are.
struct Waiting {
    id: CampaignId,
    product: ProductIdBuf,
    product_title: Box<str>,
    campaign: Campaign,
    found: usize,
    needed: usize,
}

impl Waiting {
    /// What it is about, who made it and when, and the command that approves it.
    fn about(&self) -> (Markup, &str, Timestamp, &'static str) {
        match &self.campaign.progress.amendment {
            Some(amendment) => {
                let what = html! { "A change: " (wanted_words(&amendment.what)) div.quiet.small { (amendment.reason) } };
                (what, &amendment.by, amendment.at, "consent")
            }
            None => {
                let what = html! { (plan::target(&self.campaign.target)) };
                (what, &self.campaign.author, self.campaign.created, "approve")
            }
        }
    }
}

/// Who wants something of a campaign approved, and who has approved that.
fn asked(campaign: &Campaign) -> Option<(&str, Vec<&str>)> {
    if campaign.state == CampaignState::Draft {
        let found = valid_approvals(campaign).map(|approval| &*approval.principal);
        return Some((&campaign.author, found.collect()));
    }
    let has_ended = matches!(campaign.state, CampaignState::Completed | CampaignState::Stopped);
    let amendment = campaign.progress.amendment.as_ref().filter(|_| !has_ended)?;
    Some((&amendment.by, amendment.approvals.iter().map(|approval| &*approval.principal).collect()))
}

pub(super) async fn show(State(api): State<Api>, viewer: Viewer) -> Result<Response, Trouble> {
    let (mut mine, mut others, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for (product, record) in api.server.products(&viewer.by).await? {
        for (id, campaign) in api.server.campaigns(&viewer.by, &product).await? {
            let Some((by, approvals)) = asked(&campaign) else { continue };
            let found = approvals.len();
            let needed = usize::from(campaign.plan.approvals.max(record.approvals_min));
            let is_mine = by != viewer.name()
                && viewer.may(Action::ApproveCampaign, &product)
                && !approvals.contains(&viewer.name());
            let (product, product_title) = (product.clone(), record.title.clone());
            let waiting = Waiting { id, product, product_title, campaign, found, needed };
            match (found >= needed, is_mine) {
                (true, _) => ready.push(waiting),
                (false, true) => mine.push(waiting),
                (false, false) => others.push(waiting),
            }
        }
    }
    let body = html! {
        div.head { div { h1 { "Approvals" } p.quiet { "A campaign starts, and is changed while it runs, only after others have approved exactly what it will do." } } }
        section.panel id="approvals-mine" data-live aria-labelledby="mine-title" {
            header { h2 id="mine-title" { "For you to decide" } }
            @if mine.is_empty() { (empty("Nothing waits for you", "Campaigns and changes that you may approve appear here.", None)) }
            @else { (list(&viewer, &mine, "Review")) }
        }
        @if !ready.is_empty() {
            section.panel id="approvals-ready" data-live aria-labelledby="ready-title" {
                header { h2 id="ready-title" { "Approved, and not started yet" } }
                (list(&viewer, &ready, "Look"))
            }
        }
        section.panel id="approvals-others" data-live aria-labelledby="others-title" {
            header { h2 id="others-title" { "Waiting for others" } }
            @if others.is_empty() { p.quiet { "Nothing." } } @else { (list(&viewer, &others, "Look")) }
        }
    };
    Ok(Page::new("Approvals", Area::Approvals, body).live(EVERY_S).show(&viewer))
}

fn list(viewer: &Viewer, all: &[Waiting], action: &str) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr {
                    th scope="col" { "Campaign" } th scope="col" { "For" } th scope="col" { "Made" } th scope="col" { "Approvals" } th scope="col" { span.visually-hidden { "Action" } }
                } }
                tbody {
                    @for one in all {
                        @let (what, by, at, verb) = one.about();
                        tr {
                            th scope="row" { a href=(campaign_path(one.id)) { (one.campaign.title) } div.small { a href=(product_path(&one.product)) { (one.product_title) } } }
                            td.sentence { (what) }
                            td { (time(viewer, at)) div.quiet.small { "by " (by) } }
                            td { (one.found) " of " (one.needed) }
                            td {
                                @if action == "Review" { a.button.first href=(format!("{}/{verb}", campaign_path(one.id))) { "Review" span.visually-hidden { " " (one.campaign.title) } } }
                                @else { a href=(campaign_path(one.id)) { (action) span.visually-hidden { " at " (one.campaign.title) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
