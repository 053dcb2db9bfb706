//! Editing a draft of a campaign in the form that it could have been made with.
//!
//! Plans from the command line can say more than the form. Only a draft that reads back from the filled form exactly as it
//! is can be edited there; so saving never loses what the form has no field for.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use ota_core::fleet::Version;
use ota_core::fleet::records::{Campaign, CampaignState};
use ota_core::number::CampaignId;
use ota_core::time::Timestamp;

use super::campaign::id_of;
use super::form::{Fields, Wrong};
use super::new_campaign::{self, Form, Purpose, STAGES};
use super::page::{Area, Page};
use super::parts::{campaign_path, local};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::{
    CampaignInput, OnFailureBody, PaceBody, PlanBody, PromotionBody, Share, TargetBody, Time,
};
use crate::rules::campaign::CampaignError;
use crate::server::CommandError;

/// The form as the draft fills it in.
pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let id = id_of(&id)?;
    // Read before the content: whatever is changed in between makes saving fail, and never undoes it.
    let version = api.server.campaign_version(&viewer.by, id).await?;
    let campaign = draft_of(&api, &viewer, id).await?;
    let fields = fields_of(&viewer, &campaign);
    if new_campaign::read_input(&viewer, &fields, &mut Wrong::default()).as_ref()
        != Some(&input_of(&campaign))
    {
        return Ok(beyond_the_form(id, &campaign).show(&viewer));
    }
    let (product, releases) = new_campaign::context(&api, &viewer, &campaign.product).await?;
    let of = Purpose::Edit { campaign: id, title: &campaign.title, version };
    let form = Form { of, id: &campaign.product, product: &product, releases: &releases };
    Ok(form.page(&viewer, &fields, &Wrong::default(), None).show(&viewer))
}

/// Tries the edited campaign out, or saves it.
pub(super) async fn save(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, viewer) = (id_of(&id)?, viewer.in_zone_of(&fields));
    let campaign = draft_of(&api, &viewer, id).await?;
    let version = fields.text("version").parse().map(Version);
    let version = version.map_err(|_| Trouble::invalid("version: it is none that a campaign can have"))?;
    let (mut wrong, mut run) = (Wrong::default(), None);
    if let Some(draft) = new_campaign::read(&viewer, &campaign.product, &fields, &mut wrong) {
        let done = if fields.text("do") == "draft" {
            match api.server.edit_campaign_of_version(&viewer.by, id, version, draft).await {
                Ok(()) => return Ok(Redirect::to(&campaign_path(id)).into_response()),
                Err(error) => Err(error),
            }
        } else {
            api.server.dry_run(&viewer.by, &draft).await
        };
        match done {
            Ok(found) => run = Some(found),
            Err(CommandError::Campaign(error)) => new_campaign::note(&error, &mut wrong),
            Err(error) => wrong.refuse(error),
        }
    }
    let (product, releases) = new_campaign::context(&api, &viewer, &campaign.product).await?;
    let of = Purpose::Edit { campaign: id, title: &campaign.title, version };
    let form = Form { of, id: &campaign.product, product: &product, releases: &releases };
    let page = form.page(&viewer, &fields, &wrong, run.as_ref());
    let status = if wrong.is_empty() { StatusCode::OK } else { wrong.status() };
    Ok((status, page.show(&viewer)).into_response())
}

async fn draft_of(api: &Api, viewer: &Viewer, id: CampaignId) -> Result<Campaign, Trouble> {
    let campaign = api.server.progress(&viewer.by, id).await?.campaign;
    match campaign.state {
        CampaignState::Draft => Ok(campaign),
        _ => Err(CommandError::from(CampaignError::NotADraft).into()),
    }
}

fn input_of(campaign: &Campaign) -> CampaignInput {
    CampaignInput {
        title: campaign.title.to_string(),
        release: campaign.release.to_string(),
        target: TargetBody::from(&campaign.target),
        plan: PlanBody::from(&campaign.plan),
    }
}

/// What people see whose draft says more than the form can.
fn beyond_the_form(id: CampaignId, campaign: &Campaign) -> Page {
    let body = html! {
        section.panel.form {
            h1 { "“" (campaign.title) "” says more than this form can" }
            p { "Its plan was written down in a file, with what has no field here: more stages, gates of their own, blackout dates." }
            p { "Change that file and apply it again: " code { "ota campaign plan apply" } "." }
            div.buttons { a.button.first href=(campaign_path(id)) { "Back to the campaign" } }
        }
    };
    let crumbs = [("Fleet".to_owned(), "/".to_owned()), (campaign.title.to_string(), campaign_path(id))];
    Page::new(format!("Edit {}", campaign.title), Area::Fleet, body).under(crumbs)
}

/// The form as it would have been filled in.
fn fields_of(viewer: &Viewer, campaign: &Campaign) -> Fields {
    let CampaignInput { title, release, target, plan } = input_of(campaign);
    let mut filled: Vec<(String, String)> = Vec::new();
    let mut fill = |name: &str, value: String| filled.push((name.to_owned(), value));
    fill("title", title);
    fill("release", release);
    let (kind, expression, ids) = words_of(&target);
    fill("target", kind.to_owned());
    fill("expression", expression);
    fill("devices", ids);
    match &plan.trial {
        None => fill("trial", "none".to_owned()),
        Some(trial) => {
            let (kind, expression, ids) = words_of(&trial.who);
            fill("trial", kind.to_owned());
            fill("trial_expression", expression);
            fill("trial_devices", ids);
            fill("trial_sample", trial.gate.sample_min.to_string());
            let promotion = if trial.promotion == PromotionBody::ByGate { "by_gate" } else { "by_person" };
            fill("promotion", promotion.to_owned());
        }
    }
    for (stage, row) in plan.stages.iter().zip(1..=STAGES) {
        fill(&format!("stage-{row}-until"), plain(stage.until));
        let (pace, over, rate) = match &stage.pace {
            PaceBody::AtOnce => ("at_once", String::new(), String::new()),
            PaceBody::Linear { over } => ("linear", over.to_string(), String::new()),
            PaceBody::Exponential { base_per_minute, .. } => {
                ("exponential", String::new(), base_per_minute.to_string())
            }
        };
        fill(&format!("stage-{row}-pace"), pace.to_owned());
        fill(&format!("stage-{row}-over"), over);
        fill(&format!("stage-{row}-rate"), rate);
    }
    let gate = plan.stages.first().map(|stage| stage.gate.clone()).unwrap_or_default();
    fill("sample_min", gate.sample_min.to_string());
    fill("failures_good", plain(gate.failures_good));
    fill("failures_bad", plain(gate.failures_bad));
    fill("silent_max", plain(gate.silent_max));
    fill("soak", gate.soak.to_string());
    let (on_failure, revert_to) = match &plan.on_failure {
        OnFailureBody::Pause => ("pause", String::new()),
        OnFailureBody::Stop => ("stop", String::new()),
        OnFailureBody::Revert { to } => ("revert", to.clone()),
    };
    fill("on_failure", on_failure.to_owned());
    fill("revert_to", revert_to);
    fill("approvals", plan.approvals.to_string());
    let moment = |at: Option<Time>| at.map_or_else(String::new, |Time(at)| local_minute(viewer, at));
    fill("start", moment(plan.schedule.start));
    fill("end", moment(plan.schedule.end));
    if let Some(window) = plan.schedule.windows.first() {
        fill("window_from", window.from.to_string());
        fill("window_until", window.until.to_string());
    }
    fill("zone", plan.schedule.zone.clone());
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    fill("per_minute", number(plan.limits.devices_per_minute.into()));
    fill("downloads", number(plan.limits.downloads_max.into()));
    fill("per_site", number(plan.limits.downloads_per_site_max.into()));
    fill("bandwidth", number(plan.limits.bytes_per_second));
    Fields::filled(filled.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

/// A target as the form has it: its kind, an expression, ids.
fn words_of(target: &TargetBody) -> (&'static str, String, String) {
    match target {
        TargetBody::Filter(expression) => ("filter", expression.clone(), String::new()),
        TargetBody::Snapshot(expression) => ("snapshot", expression.clone(), String::new()),
        TargetBody::Devices(ids) => ("devices", String::new(), ids.join(" ")),
        TargetBody::Everyone | TargetBody::OrdinalBelow(_) => ("everyone", String::new(), String::new()),
    }
}

/// A share without its sign.
fn plain(share: Share) -> String {
    share.to_string().replace('%', "")
}

/// A moment as browsers write it, in the viewer's zone.
fn local_minute(viewer: &Viewer, at: Timestamp) -> String {
    local(viewer, at, "%Y-%m-%dT%H:%M")
}
