//! Changes of a running campaign: asked for by one person, made once enough others consent.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ureq::http::Method;

use super::{Because, Context, Which};
use crate::http::body::{
    AmendedBody, AmendmentInput, AmendmentStateView, AmendmentView, CampaignView, HashInput, PlanBody,
    TargetBody,
};
use crate::program::Failure;
use crate::program::output::plain;

#[derive(Debug, Subcommand)]
pub(in crate::program::commands) enum ChangeCommand {
    /// Take the gate of the present stage as passed with what it has seen; its soak still runs
    Accept(Because),
    /// Do not wait for the rest of the soak
    SkipSoak(Because),
    /// Set other limits: those of a plan, where a limit that is left away is none
    Limits {
        #[command(flatten)]
        because: Because,
        /// The plan, a TOML file; only its `[limits]` count
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
    },
    /// Bring it to other devices
    Target {
        #[command(flatten)]
        because: Because,
        #[command(flatten)]
        whom: Whom,
    },
    /// Consent to the change that waits for it
    Consent {
        #[command(flatten)]
        which: Which,
        /// Only if the change is still what was looked at: `amendment.content_hash` as `show --json` tells it
        #[arg(long)]
        hash: Option<String>,
    },
    /// Take the change back that waits for consent
    Drop(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::program::commands) struct Whom {
    /// All devices of the product
    #[arg(long)]
    everyone: bool,
    /// Devices that fulfil this expression when they check in
    #[arg(long)]
    filter: Option<String>,
    /// This device; several may be given
    #[arg(long)]
    device: Vec<String>,
}

impl ChangeCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Accept(because) => ask(context, because, AmendedBody::Gate),
            Self::SkipSoak(because) => ask(context, because, AmendedBody::Soak),
            Self::Limits { because, plan } => {
                let wrong = |why: &dyn core::error::Error| {
                    let what = format_args!("the plan {} is not one", plan.display());
                    Failure::caused(what, why, "correct it; nothing was changed")
                };
                let text = std::fs::read_to_string(&plan).map_err(|why| wrong(&why))?;
                let plan: PlanBody = toml::from_str(&text).map_err(|why| wrong(&why))?;
                ask(context, because, AmendedBody::Limits(plan.limits))
            }
            Self::Target { because, whom } => {
                let target = match whom {
                    Whom { everyone: true, .. } => TargetBody::Everyone,
                    Whom { filter: Some(filter), .. } => TargetBody::Filter(filter),
                    Whom { device, .. } => TargetBody::Devices(device),
                };
                ask(context, because, AmendedBody::Target(target))
            }
            Self::Consent { which, hash } => consent(context, &which, hash),
            Self::Drop(which) => {
                let path = format!("/api/v1/campaigns/{}/amendment", which.campaign);
                context.client.tell(Method::DELETE, &path, &())?;
                context.format.done(&format!("campaign {} goes on without that change", which.campaign));
                Ok(())
            }
        }
    }
}

fn ask(context: &Context, because: Because, change: AmendedBody) -> Result<(), Failure> {
    let Because { campaign, reason } = because;
    let path = format!("/api/v1/campaigns/{campaign}/amendment");
    let state: AmendmentStateView = context.client.post(&path, &AmendmentInput { change, reason })?;
    told(context, campaign, &state)
}

fn consent(context: &Context, which: &Which, hash: Option<String>) -> Result<(), Failure> {
    let content_hash = match hash {
        Some(hash) => hash,
        None => {
            let CampaignView { amendment, .. } = which.view(context)?;
            let nothing = || Failure::new("no change of this campaign waits for consent", "look with `show`");
            amendment.ok_or_else(nothing)?.content_hash
        }
    };
    let path = format!("/api/v1/campaigns/{}/amendment/consent", which.campaign);
    let state: AmendmentStateView = context.client.post(&path, &HashInput { content_hash })?;
    told(context, which.campaign, &state)
}

fn told(context: &Context, campaign: u64, state: &AmendmentStateView) -> Result<(), Failure> {
    context.format.show(state, |state| match state.state.as_str() {
        "made" => format!("campaign {campaign} is changed"),
        _ => format!(
            "the change of campaign {campaign} waits for others: `ota campaign change consent {campaign}`"
        ),
    })
}

/// A change that waits for consent, in words.
pub(super) fn describe(amendment: &AmendmentView) -> String {
    let what = match &amendment.change {
        AmendedBody::Gate => "to take the gate of the present stage as passed".to_owned(),
        AmendedBody::Soak => "not to wait for the rest of the soak".to_owned(),
        AmendedBody::Limits(_) => "other limits".to_owned(),
        AmendedBody::Target(_) => "other devices".to_owned(),
    };
    let seen = &amendment.seen;
    let consents = amendment.approvals.iter().filter(|approval| approval.current);
    format!(
        "change    {} wants {what}: {}\nseen      {} confirmed, {} failed, {} silent, {} at work\nconsents  {}\n",
        plain(&amendment.by),
        plain(&amendment.reason),
        seen.confirmed,
        seen.failed,
        seen.silent,
        seen.open,
        consents.map(|approval| plain(&approval.by)).collect::<Vec<_>>().join(" ")
    )
}
