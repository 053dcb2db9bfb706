//! What people do with a campaign. Each command first says what it will do, to how many devices, and then does it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{Campaign, CampaignState, Target};
use ota_core::number::{CampaignId, Sha256Digest};

use super::{id_of, plan};
use crate::console::form::{Fields, Wrong, field};
use crate::console::home::Counts;
use crate::console::page::{Area, Page};
use crate::console::parts::{campaign_path, count, devices, ppm, release_path};
use crate::console::trouble::Trouble;
use crate::console::viewer::Viewer;
use crate::http::Api;
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
    Pause,
    Stop,
}

impl Verb {
    const ALL: [Self; 7] =
        [Self::Approve, Self::Prepare, Self::Start, Self::Promote, Self::Resume, Self::Pause, Self::Stop];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Promote => "promote",
            Self::Resume => "resume",
            Self::Pause => "pause",
            Self::Stop => "stop",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Prepare => "Look up its devices",
            Self::Start => "Start",
            Self::Promote => "Promote",
            Self::Resume => "Resume",
            Self::Pause => "Pause",
            Self::Stop => "Stop",
        }
    }

    /// What is told when it has been done.
    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Approve => "Your approval is noted.",
            Self::Prepare => "Its devices were looked up; approvals are for exactly these.",
            Self::Start => "The campaign was started.",
            Self::Promote => "The campaign goes to the fleet.",
            Self::Resume => "The campaign goes on.",
            Self::Pause => "The campaign is paused: nothing more is offered.",
            Self::Stop => "The campaign was stopped.",
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Approve => Action::ApproveCampaign,
            Self::Promote => Action::PromoteCampaign,
            Self::Prepare | Self::Start | Self::Resume | Self::Pause | Self::Stop => Action::RunCampaign,
        }
    }

    const fn wants_reason(self) -> bool {
        matches!(self, Self::Pause | Self::Stop)
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Stop => "danger",
            Self::Pause | Self::Prepare => "",
            Self::Approve | Self::Start | Self::Promote | Self::Resume => "first",
        }
    }

    /// Whether it makes sense for a campaign as it is. The rules decide again.
    fn fits(self, campaign: &Campaign) -> bool {
        use CampaignState as S;
        let unprepared = matches!(campaign.target, Target::Snapshot { bitmap: None, .. });
        match self {
            Self::Approve => campaign.state == S::Draft,
            Self::Prepare => matches!(campaign.state, S::Draft | S::Preparing) && unprepared,
            Self::Start => campaign.state == S::Draft && !unprepared,
            Self::Promote => campaign.state == S::Trialled,
            Self::Resume => campaign.state == S::Paused,
            Self::Pause => {
                matches!(campaign.state, S::Scheduled | S::Trial | S::Trialled | S::Rolling | S::Completed)
            }
            Self::Stop => campaign.state != S::Stopped,
        }
    }
}

/// The commands that somebody may give about a campaign now.
pub(super) fn buttons(viewer: &Viewer, id: CampaignId, campaign: &Campaign) -> Markup {
    let may = |verb: &Verb| {
        let is_own = *verb == Verb::Approve && *campaign.author == *viewer.name();
        verb.fits(campaign) && !is_own && viewer.may(verb.action(), &campaign.product)
    };
    html! {
        div.buttons {
            @for verb in Verb::ALL.into_iter().filter(may) {
                a.button.(verb.class()) id=(format!("verb-{}", verb.word())) href=(format!("{}/{}", campaign_path(id), verb.word())) { (verb.title()) }
            }
        }
    }
}

fn verb_of(word: &str) -> Result<Verb, Trouble> {
    Verb::from_word(word).ok_or_else(|| Trouble::not_found(format!("there is no command {word:?}")))
}

/// Says what a command would do.
pub(crate) async fn confirm(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, verb_of(&word)?);
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
    let (id, verb) = (id_of(&id)?, verb_of(&word)?);
    let (server, by) = (&api.server, &viewer.by);
    let mut wrong = Wrong::default();
    let reason = if verb.wants_reason() { wrong.take("reason", fields.reason("reason")) } else { Some("") };
    if let Some(reason) = reason {
        let done = match verb {
            // The hash of what the approver was shown.
            Verb::Approve => match Sha256Digest::from_hex(fields.text("seen")) {
                Some(seen) => server.approve_campaign(by, id, &seen).await,
                None => return Err(Trouble::invalid("seen: it is no hash of a campaign's content")),
            },
            Verb::Prepare => server.prepare_campaign(by, id).await.map(drop),
            Verb::Start => server.start_campaign(by, id).await,
            Verb::Promote => server.promote_campaign(by, id).await,
            Verb::Resume => server.resume_campaign(by, id).await,
            Verb::Pause => server.pause_campaign(by, id, reason).await,
            Verb::Stop => server.stop_campaign(by, id, reason).await,
        };
        match done {
            Ok(()) => {
                return Ok(
                    Redirect::to(&format!("{}?done={}", campaign_path(id), verb.word())).into_response()
                );
            }
            Err(error @ CommandError::NoCampaign(_)) => return Err(error.into()),
            Err(error) => wrong.refuse(error),
        }
    }
    let report = server.progress(by, id).await?;
    let page = page(server, &viewer, id, verb, &report, &fields, &wrong).await?;
    Ok((wrong.status(), page.show(&viewer)).into_response())
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
    let title = format!("{} {}", verb.title(), campaign.title);
    let body = html! {
        section.panel.form {
            h1 { (verb.title()) " “" (campaign.title) "”?" }
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
                    dt { "Devices" } dd { (plan::target(&campaign.target)) }
                }
                (plan::facts(viewer, &campaign.plan))
            }
            form method="post" action=(format!("{}/{}", campaign_path(id), verb.word())) {
                (viewer.proof())
                @if verb == Verb::Approve { input type="hidden" name="seen" value=(report.hash); }
                @if verb.wants_reason() {
                    (field("reason", "Why").hint("Whoever looks at the campaign and the audit log reads it.").text(fields, wrong))
                }
                div.buttons {
                    button.button.first.(if verb == Verb::Stop { "danger" } else { "" }) { (verb.title()) }
                    a.button href=(campaign_path(id)) { "Leave it as it is" }
                }
            }
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
