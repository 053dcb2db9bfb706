//! What people do with a campaign. Each command first says what it will do, to how many devices, and then does it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{Amended, Amendment, Campaign, CampaignState, Target};
use ota_core::number::{CampaignId, Sha256Digest};

use super::{id_of, plan};
use crate::console::form::{Fields, Wrong, field};
use crate::console::home::Counts;
use crate::console::page::{Area, Page};
use crate::console::parts::{campaign_path, count, devices, ppm, release_path};
use crate::console::trouble::{Trouble, sentence};
use crate::console::verb::Command;
use crate::console::viewer::Viewer;
use crate::http::Api;
use crate::rules::campaign::can_retry_stage;
use crate::rules::permission::Action;
use crate::server::{CommandError, ProgressReport, Server};

/// A command about a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Approve,
    Prepare,
    Start,
    Promote,
    Resume,
    Retry,
    Accept,
    SkipSoak,
    Consent,
    Drop,
    Pause,
    Stop,
}

impl Command for Verb {
    const ALL: &'static [Self] = &[
        Self::Approve,
        Self::Prepare,
        Self::Start,
        Self::Promote,
        Self::Resume,
        Self::Retry,
        Self::Accept,
        Self::SkipSoak,
        Self::Consent,
        Self::Drop,
        Self::Pause,
        Self::Stop,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Promote => "promote",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Accept => "accept",
            Self::SkipSoak => "skip-soak",
            Self::Consent => "consent",
            Self::Drop => "drop",
            Self::Pause => "pause",
            Self::Stop => "stop",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Prepare => "Look up its devices",
            Self::Start => "Start",
            Self::Promote => "Promote",
            Self::Resume => "Resume",
            Self::Retry => "Retry failed",
            Self::Accept => "Accept what was seen",
            Self::SkipSoak => "Skip the soak",
            Self::Consent => "Consent to the change",
            Self::Drop => "Take the change back",
            Self::Pause => "Pause",
            Self::Stop => "Stop",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Approve => "Your approval is noted.",
            Self::Prepare => "Its devices were looked up; approvals are for exactly these.",
            Self::Start => "The campaign was started.",
            Self::Promote => "The campaign goes to the fleet.",
            Self::Resume => "The campaign goes on.",
            Self::Retry => "Devices that had failed get another offer when they check in next.",
            Self::Accept | Self::SkipSoak => {
                "The change was asked for; it is made once enough people have consented."
            }
            Self::Consent => "Your consent is noted.",
            Self::Drop => "The change was taken back.",
            Self::Pause => "The campaign is paused: nothing more is offered.",
            Self::Stop => "The campaign was stopped.",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Stop => "danger",
            Self::Pause | Self::Prepare | Self::Retry | Self::Accept | Self::SkipSoak | Self::Drop => "",
            Self::Approve | Self::Start | Self::Promote | Self::Resume | Self::Consent => "first",
        }
    }
}

impl Verb {
    const fn action(self) -> Action {
        match self {
            Self::Approve | Self::Consent => Action::ApproveCampaign,
            Self::Promote => Action::PromoteCampaign,
            Self::Prepare
            | Self::Start
            | Self::Resume
            | Self::Retry
            | Self::Accept
            | Self::SkipSoak
            | Self::Drop
            | Self::Pause
            | Self::Stop => Action::RunCampaign,
        }
    }

    const fn wants_reason(self) -> bool {
        matches!(self, Self::Pause | Self::Stop | Self::Retry | Self::Accept | Self::SkipSoak)
    }

    /// Whether it makes sense for a campaign as it is. The rules decide again.
    fn fits(self, campaign: &Campaign) -> bool {
        use CampaignState as S;
        let is_judged = matches!(campaign.state, S::Trial | S::Rolling);
        let is_amended = campaign.progress.amendment.is_some();
        let unprepared = matches!(campaign.target, Target::Snapshot { bitmap: None, .. });
        match self {
            Self::Approve => campaign.state == S::Draft,
            Self::Prepare => matches!(campaign.state, S::Draft | S::Preparing) && unprepared,
            Self::Start => campaign.state == S::Draft && !unprepared,
            Self::Promote => campaign.state == S::Trialled,
            Self::Resume => campaign.state == S::Paused,
            Self::Retry => can_retry_stage(campaign, 0).is_ok() || can_retry_stage(campaign, 1).is_ok(),
            Self::Accept => is_judged && campaign.progress.passed.is_none() && !is_amended,
            Self::SkipSoak => is_judged && campaign.progress.passed.is_some() && !is_amended,
            Self::Consent | Self::Drop => is_amended,
            Self::Pause => {
                matches!(campaign.state, S::Scheduled | S::Trial | S::Trialled | S::Rolling | S::Completed)
            }
            Self::Stop => campaign.state != S::Stopped,
        }
    }
}

/// The commands that somebody may give about a campaign now.
pub(super) fn buttons(viewer: &Viewer, id: CampaignId, report: &ProgressReport) -> Markup {
    let campaign = &report.campaign;
    let may = |verb: &Verb| {
        let wants_it = |amendment: &Amendment| *amendment.by == *viewer.name();
        let is_own = match verb {
            Verb::Approve => *campaign.author == *viewer.name(),
            Verb::Consent => campaign.progress.amendment.as_ref().is_some_and(wants_it),
            _ => false,
        };
        let is_idle = *verb == Verb::Retry && report.retryable().is_err();
        verb.fits(campaign) && !is_idle && !is_own && viewer.may(verb.action(), &campaign.product)
    };
    let may_edit =
        campaign.state == CampaignState::Draft && viewer.may(Action::RunCampaign, &campaign.product);
    html! {
        div.buttons {
            @if may_edit { a.button id="edit" href=(format!("{}/edit", campaign_path(id))) { "Edit" } }
            @for verb in Verb::ALL.iter().filter(|verb| may(verb)) {
                (verb.link(&campaign_path(id)))
            }
        }
    }
}

/// Says what a command would do.
pub(crate) async fn confirm(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    let report = api.server.progress(&viewer.by, id).await?;
    Ok(page(&api.server, &viewer, id, verb, &report, &Fields::default(), &Wrong::default())
        .await?
        .show(&viewer))
}

/// Does what was confirmed, or shows the form again with what is wrong.
pub(crate) async fn perform(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    let (server, by) = (&api.server, &viewer.by);
    let mut wrong = Wrong::default();
    let reason = if verb.wants_reason() { wrong.take("reason", fields.reason("reason")) } else { Some("") };
    if let Some(reason) = reason {
        let done = match verb {
            // The hash of what the approver was shown.
            Verb::Approve => server.approve_campaign(by, id, &seen(&fields)?).await,
            Verb::Consent => server.consent_to_amendment(by, id, &seen(&fields)?).await.map(drop),
            Verb::Drop => server.drop_amendment(by, id).await,
            Verb::Accept => server.amend_campaign(by, id, Amended::Gate, reason).await.map(drop),
            Verb::SkipSoak => server.amend_campaign(by, id, Amended::Soak, reason).await.map(drop),
            Verb::Prepare => server.prepare_campaign(by, id).await.map(drop),
            Verb::Start => server.start_campaign(by, id).await,
            Verb::Promote => server.promote_campaign(by, id).await,
            Verb::Resume => server.resume_campaign(by, id).await,
            Verb::Retry => server.retry_failed(by, id, reason).await.map(drop),
            Verb::Pause => server.pause_campaign(by, id, reason).await,
            Verb::Stop => server.stop_campaign(by, id, reason).await,
        };
        match done {
            Ok(()) => {
                return Ok(verb.finished(&campaign_path(id)));
            }
            Err(error @ CommandError::NoCampaign(_)) => return Err(error.into()),
            Err(error) => wrong.refuse(error),
        }
    }
    let report = server.progress(by, id).await?;
    let page = page(server, &viewer, id, verb, &report, &fields, &wrong).await?;
    Ok((wrong.status(), page.show(&viewer)).into_response())
}

/// The hash that came with the form.
fn seen(fields: &Fields) -> Result<Sha256Digest, Trouble> {
    Sha256Digest::from_hex(fields.text("seen"))
        .ok_or_else(|| Trouble::invalid("seen: it is no hash of what was shown"))
}

async fn page(
    server: &Server,
    viewer: &Viewer,
    id: CampaignId,
    verb: Verb,
    report: &ProgressReport,
    fields: &Fields,
    wrong: &Wrong,
) -> Result<Page, Trouble> {
    let campaign = &report.campaign;
    let release = server.release(&viewer.by, &campaign.release).await?;
    let effects = effects(verb, report);
    let is_idle = verb == Verb::Retry && report.retryable().is_err();
    let title = format!("{} {}", verb.title(), campaign.title);
    let body = html! {
        section.panel.form {
            h1 { (verb.title()) ": “" (campaign.title) "”?" }
            (wrong.summary())
            h2 { "What it does" }
            ul { @for effect in &effects { li { (effect) } } }
            @if verb == Verb::Stop {
                p.quiet {
                    "To take back what was installed as well, stop it and then "
                    a href=(format!("/products/{}/campaigns/new?title=Back", super::parts::segment(campaign.product.as_str()))) { "make a campaign back to the former release" }
                    "."
                }
            }
            @if verb == Verb::Approve {
                h2 { "What you approve" }
                dl.facts {
                    dt { "Release" } dd { a href=(release_path(&campaign.release)) { (release.package) " " (release.version) } }
                    dt { "Devices" } dd.sentence { (plan::target(&campaign.target)) }
                }
                (plan::facts(viewer, &campaign.plan))
            }
            @if is_idle { div.buttons { a.button.first href=(campaign_path(id)) { "Back to the campaign" } } }
            @else { form.form method="post" action=(verb.address(&campaign_path(id))) {
                (viewer.proof())
                @if verb == Verb::Approve { input type="hidden" name="seen" value=(report.hash); }
                @if verb == Verb::Consent && let Some(hash) = report.amendment_hash { input type="hidden" name="seen" value=(hash); }
                @if verb.wants_reason() {
                    (field("reason", "Why").hint("Whoever looks at the campaign and the audit log reads it.").text(fields, wrong))
                }
                (verb.form_buttons(&campaign_path(id)))
            } }
        }
    };
    let crumbs = [("Fleet".to_owned(), "/".to_owned()), (campaign.title.to_string(), campaign_path(id))];
    Ok(Page::new(title, Area::Fleet, body).under(crumbs))
}

/// What a command does to how many devices, one sentence each.
fn effects(verb: Verb, report: &ProgressReport) -> Vec<String> {
    let (campaign, counts) = (&report.campaign, Counts::of(report));
    let touched = counts.confirmed + counts.failed + counts.working + counts.other;
    let waiting = report.fleet.saturating_sub(touched);
    let first_stage = || {
        let until = campaign.plan.stages.first().map_or(1_000_000, |stage| stage.until_ppm);
        let part = u128::from(report.fleet) * u128::from(until) / 1_000_000;
        format!(
            "Stage 1 opens: up to {}, {} of the fleet, may have it.",
            devices(u64::try_from(part).unwrap_or(u64::MAX)),
            ppm(until)
        )
    };
    match verb {
        Verb::Approve => vec![
            format!("It counts as one approval of exactly this content, which is for {}.", devices(report.fleet)),
            "No device gets anything by it: somebody still has to start the campaign.".to_owned(),
            "If anything about the campaign is edited, it is void.".to_owned(),
        ],
        Verb::Prepare => vec![
            "All devices of the product are looked at, and those that fulfil the expression are kept as the target.".to_owned(),
            "Approvals that were given before are void: they were not for these devices.".to_owned(),
        ],
        Verb::Start => {
            let begin = match (&campaign.plan.trial, campaign.plan.schedule.start.0) {
                (_, start) if start > 0 => "It begins at its scheduled time; until then no device gets anything.".to_owned(),
                (Some(trial), _) => match &trial.who {
                    Target::Devices { ids } => format!("The trial begins at once: {} may have it.", devices(u64::try_from(ids.len()).unwrap_or(u64::MAX))),
                    _ => "The trial begins at once, for the devices that fulfil its expression.".to_owned(),
                },
                (None, _) => first_stage(),
            };
            let then = match campaign.plan.trial {
                Some(_) => format!("The other devices of {} get it only after the trial's gate has passed.", count(report.fleet)),
                None => "There is no trial: the fleet gets it from the beginning.".to_owned(),
            };
            vec![begin, then]
        }
        Verb::Promote => vec![
            first_stage(),
            format!("{} have not been reached yet.", devices(waiting)),
            "The gates of the stages go on watching.".to_owned(),
        ],
        Verb::Resume => vec![
            format!("Offers go on where they were interrupted: {} have not been reached yet.", devices(waiting)),
            "Gates and soaks go on from what they have seen; they are longer by the pause.".to_owned(),
        ],
        Verb::Retry => retry_effects(report),
        Verb::Accept | Verb::SkipSoak | Verb::Consent | Verb::Drop => amendment_effects(verb, report),
        Verb::Pause => vec![
            format!("{} that have not been reached yet get nothing until it is resumed.", devices(waiting)),
            format!("{} that are at work go on and may finish.", devices(counts.working)),
            format!("{} that have it keep it.", devices(counts.confirmed)),
        ],
        Verb::Stop => vec![
            format!("{} that are at work are told to give up; what they have not yet installed is dropped.", devices(counts.working)),
            format!("{} that have it keep it.", devices(counts.confirmed)),
            format!("{} that have not been reached yet never get it from this campaign.", devices(waiting)),
            "It cannot be started again.".to_owned(),
        ],
    }
}

/// Why the devices that have failed cannot be tried again, for whoever looks for the button.
pub(super) fn why_no_retry(viewer: &Viewer, report: &ProgressReport) -> Markup {
    let is_sought =
        Counts::of(report).failed > 0 && viewer.may(Verb::Retry.action(), &report.campaign.product);
    let why = report.retryable().err().filter(|_| is_sought);
    html! { @if let Some(why) = why { p.quiet id="why-no-retry" { (sentence(&why.to_string())) } } }
}

/// The same for trying again what has failed: not what a gate still judges.
fn retry_effects(report: &ProgressReport) -> Vec<String> {
    match report.retryable() {
        Ok(again) => vec![
            format!("{} that have failed get another offer when they check in next.", devices(again)),
            "Those whose stage is still judged by its gate are left alone, and so are those that are quarantined or revoked.".to_owned(),
            "Their failures no longer count among those of the campaign.".to_owned(),
        ],
        Err(why) => vec!["Nothing now.".to_owned(), sentence(&why.to_string())],
    }
}

/// The same for changes of a running campaign.
fn amendment_effects(verb: Verb, report: &ProgressReport) -> Vec<String> {
    let campaign = &report.campaign;
    let shown = super::stages::evidence(report).get(&campaign.progress.stage).copied().unwrap_or_default();
    let seen = format!(
        "The present stage has shown: {} confirmed, {} failed, {} silent, {} still at work.",
        count(shown.confirmed),
        count(shown.failed_in_all()),
        count(shown.silent),
        count(shown.open)
    );
    let consent =
        "It is made once as many others have consented as must approve the campaign; if a device more fails \
                   meanwhile, it has to be asked for again."
            .to_owned();
    match verb {
        Verb::Accept => {
            vec![seen, "The gate counts as passed with that; its soak still runs.".to_owned(), consent]
        }
        Verb::SkipSoak => vec![seen, "The rest of the soak is not waited for.".to_owned(), consent],
        Verb::Consent => {
            let wanted = campaign.progress.amendment.as_ref();
            let what = wanted.map_or_else(String::new, |amendment| {
                format!(
                    "{} wants: {}. Because: {}",
                    amendment.by,
                    wanted_words(&amendment.what),
                    amendment.reason
                )
            });
            vec![what, seen, "With enough consents it is made at once.".to_owned()]
        }
        _ => vec!["The change is not made; the campaign goes on as it is.".to_owned()],
    }
}

/// What a change of a running campaign is, in words.
pub(crate) const fn wanted_words(what: &Amended) -> &'static str {
    match what {
        Amended::Gate => "to take the gate of the present stage as passed with what was seen",
        Amended::Soak => "not to wait for the rest of the soak",
        Amended::Limits { .. } => "other limits",
        Amended::Target { .. } => "other devices",
    }
}
