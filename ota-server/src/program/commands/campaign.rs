//! `ota campaign`: bring a release to a fleet, step by step.

mod change;
mod plan;

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::Method;

use super::Context;
use crate::http::body::{
    CampaignInput, CampaignView, DryRunView, FailureView, GateView, HashInput, Items, Made, PlanBody,
    ReasonInput, RetriedView, RetryView, TargetBody, TrialBody,
};
use crate::program::Failure;
use crate::program::client::{Client, segment};
use crate::program::output::{Format, plain, table, when};

/// The exit code for a campaign that ended without being completed.
const NOT_COMPLETED: u8 = 4;
/// How often a watched campaign is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum CampaignCommand {
    /// Make a draft
    Create(Create),
    /// Say what a campaign would do, without making it
    DryRun(Create),
    /// Work with a campaign that is written down in a TOML file
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// List campaigns
    List {
        /// Their product
        #[arg(long)]
        product: String,
    },
    /// Show a campaign and how it fares
    Show(Which),
    /// Follow a campaign until it is completed, stopped or paused, or waits for a person
    Watch(Which),
    /// Consent to a campaign as it is now
    Approve {
        #[command(flatten)]
        which: Which,
        /// Only if the content is still what was looked at: `content_hash` as `show` tells it
        #[arg(long)]
        hash: Option<String>,
    },
    /// Make the snapshot of a filter
    Prepare(Which),
    /// Begin
    Start(Which),
    /// Bring it from its trial to the fleet
    Promote(Which),
    /// Offer nothing more for now
    Pause(Because),
    /// Go on
    Resume(Which),
    /// Let devices try again that have failed, once the gate of their stage has passed
    Retry(Because),
    /// Change a running campaign, with the consent of others: take its gate as passed, skip a soak, other limits or devices
    #[command(subcommand)]
    Change(change::ChangeCommand),
    /// Group the devices that have failed by cause, former revision and hardware
    Failures(Which),
    /// End it and take running attempts back
    Stop(Because),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The campaign's number
    campaign: u64,
}

#[derive(Debug, Args)]
pub(super) struct Because {
    /// The campaign's number
    campaign: u64,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The product
    #[arg(long)]
    product: String,
    /// The release
    #[arg(long)]
    release: String,
    /// What people call it
    #[arg(long)]
    title: String,
    /// The plan, a TOML file; without one: the whole fleet at once
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// A device of the trial group; several may be given
    #[arg(long)]
    trial: Vec<String>,
    /// Only this device; several may be given
    #[arg(long, conflicts_with_all = ["filter", "snapshot", "group"])]
    device: Vec<String>,
    /// Only devices that fulfil this expression when they check in
    #[arg(long, conflicts_with_all = ["snapshot", "group"])]
    filter: Option<String>,
    /// Only devices that fulfil this expression when the campaign is prepared
    #[arg(long, conflicts_with = "group")]
    snapshot: Option<String>,
    /// Only devices of this group, as its expression is now, when they check in
    #[arg(long)]
    group: Option<String>,
}

impl Create {
    fn input(&self, client: &Client) -> Result<CampaignInput, Failure> {
        let mut plan = match &self.plan {
            None => PlanBody::default(),
            Some(path) => {
                let wrong = |why: &dyn core::error::Error| {
                    Failure::caused(
                        format_args!("the plan {} is not one", path.display()),
                        why,
                        "correct it; nothing was made",
                    )
                };
                let text = std::fs::read_to_string(path).map_err(|why| wrong(&why))?;
                toml::from_str(&text).map_err(|why| wrong(&why))?
            }
        };
        if !self.trial.is_empty() {
            let who = TargetBody::Devices(self.trial.clone());
            plan.trial = Some(match plan.trial.take() {
                Some(trial) => TrialBody { who, ..trial },
                None => TrialBody { who, gate: Default::default(), promotion: Default::default() },
            });
        }
        if plan.trial.as_ref().is_some_and(|trial| trial.who == TargetBody::Devices(Vec::new())) {
            let way_out = "name devices with --trial, or give the plan's [trial] its `who`";
            return Err(Failure::new("the plan has a trial, and nobody is in it", way_out));
        }
        let group = self.group.as_deref();
        let group = group.map(|group| super::group::expression(client, &self.product, group)).transpose()?;
        let target = match (self.filter.as_ref().or(group.as_ref()), &self.snapshot) {
            (Some(filter), _) => TargetBody::Filter(filter.clone()),
            (None, Some(filter)) => TargetBody::Snapshot(filter.clone()),
            (None, None) if !self.device.is_empty() => TargetBody::Devices(self.device.clone()),
            (None, None) => TargetBody::Everyone,
        };
        Ok(CampaignInput { title: self.title.clone(), release: self.release.clone(), target, plan })
    }
}

impl CampaignCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::Create(create) => {
                let path = format!("/api/v1/products/{}/campaigns", segment(&create.product));
                let made: Made<u64> = client.post(&path, &create.input(client)?)?;
                format.show(&made, |made| {
                    format!(
                        "campaign {} is a draft; somebody else approves it with `ota campaign approve {}`",
                        made.id, made.id
                    )
                })
            }
            Self::DryRun(create) => {
                let path = format!("/api/v1/products/{}/dry-run", segment(&create.product));
                let run: DryRunView = client.post(&path, &create.input(client)?)?;
                format.show(&run, dry_run)
            }
            Self::Plan(command) => command.run(context),
            Self::List { product } => {
                let list: Items<CampaignView> =
                    client.all(&format!("/api/v1/products/{}/campaigns", segment(&product)))?;
                format.show(&list, |list| {
                    let row = |campaign: &CampaignView| {
                        let tally = Tally::of(campaign);
                        let done = format!("{}/{}", tally.confirmed, campaign.fleet);
                        [
                            campaign.id.to_string(),
                            campaign.state.clone(),
                            done,
                            tally.failed.to_string(),
                            campaign.title.clone(),
                        ]
                    };
                    table(["CAMPAIGN", "STATE", "DONE", "FAILED", "TITLE"], list.items.iter().map(row))
                })
            }
            Self::Show(which) => format.show(&which.view(context)?, describe),
            Self::Watch(which) => watch(context, &which),
            Self::Approve { which, hash } => {
                let content_hash = match hash {
                    Some(hash) => hash,
                    None => which.view(context)?.content_hash,
                };
                which.tell(context, "approve", &HashInput { content_hash }, "is approved")
            }
            Self::Prepare(which) => which.tell(context, "prepare", &(), "is prepared"),
            Self::Start(which) => which.tell(context, "start", &(), "is started"),
            Self::Promote(which) => which.tell(context, "promote", &(), "is promoted to the fleet"),
            Self::Resume(which) => which.tell(context, "resume", &(), "goes on"),
            Self::Retry(Because { campaign, reason }) => {
                let input = ReasonInput { reason, product: None };
                let path = format!("/api/v1/campaigns/{campaign}/retry");
                format.show(&client.post(&path, &input)?, |done: &RetriedView| {
                    let more = if done.partial { "; there are more: ask again" } else { "" };
                    format!("{} devices try again, {} are left out{more}", done.retried, done.left_out)
                })
            }
            Self::Pause(because) => because.tell(context, "pause", "is paused"),
            Self::Change(command) => command.run(context),
            Self::Failures(which) => format.show(&which.failures(context)?, failed),
            Self::Stop(because) => because.tell(context, "stop", "is stopped"),
        }
    }
}

impl Which {
    fn view(&self, context: &Context) -> Result<CampaignView, Failure> {
        context.client.get(&format!("/api/v1/campaigns/{}", self.campaign))
    }

    fn failures(&self, context: &Context) -> Result<Items<FailureView>, Failure> {
        context.client.get(&format!("/api/v1/campaigns/{}/failures", self.campaign))
    }

    fn tell(
        &self,
        context: &Context,
        verb: &str,
        input: &impl serde::Serialize,
        done: &str,
    ) -> Result<(), Failure> {
        context.client.tell(Method::POST, &format!("/api/v1/campaigns/{}/{verb}", self.campaign), input)?;
        context.format.done(&format!("campaign {} {done}", self.campaign));
        Ok(())
    }
}

impl Because {
    fn tell(self, context: &Context, verb: &str, done: &str) -> Result<(), Failure> {
        let input = ReasonInput { reason: self.reason, product: None };
        Which { campaign: self.campaign }.tell(context, verb, &input, done)
    }
}

/// Devices by how their attempt stands.
#[derive(Default)]
struct Tally {
    confirmed: u64,
    failed: u64,
    at_work: u64,
}

impl Tally {
    fn of(campaign: &CampaignView) -> Self {
        let mut tally = Self::default();
        for count in &campaign.phases {
            match count.phase.as_str() {
                "confirmed" => tally.confirmed += count.devices,
                "failed" | "rolled_back" | "rejected" | "silent" => tally.failed += count.devices,
                "cancelled" => {}
                _ => tally.at_work += count.devices,
            }
        }
        tally
    }
}

fn describe(campaign: &CampaignView) -> String {
    let row = |count: &crate::http::body::PhaseView| {
        [count.stage.to_string(), count.phase.clone(), count.cause.clone(), count.devices.to_string()]
    };
    let approvals =
        campaign.approvals.iter().filter(|approval| approval.current).map(|approval| plain(&approval.by));
    format!(
        "campaign  {} {}\nproduct   {}\nrelease   {}\nstate     {} in stage {}\nbecause   {}\nfleet     {}\n\
         author    {}\napproved  {}\ncontent   {}\nends      {}\n{}{}{}\n{}",
        campaign.id,
        plain(&campaign.title),
        campaign.product,
        campaign.release,
        campaign.state,
        campaign.stage,
        plain(&campaign.reason),
        campaign.fleet,
        plain(&campaign.author),
        approvals.collect::<Vec<_>>().join(" "),
        campaign.content_hash,
        when(campaign.projected_end),
        campaign.gate.as_ref().map_or_else(String::new, gate),
        campaign.amendment.as_ref().map_or_else(String::new, change::describe),
        retry(&campaign.retry),
        table(["STAGE", "PHASE", "CAUSE", "DEVICES"], campaign.phases.iter().map(row))
    )
}

/// What letting devices try again would do, where that is possible.
fn retry(retry: &RetryView) -> String {
    match retry.devices {
        0 => String::new(),
        devices => format!("failed    {devices} devices can try again: `ota campaign retry`\n"),
    }
}

/// What the gate of the present stage waits for.
fn gate(gate: &GateView) -> String {
    let mut text = format!("gate      {} have ended, it looks again at {}", gate.shown, gate.next_look);
    if gate.is_stuck {
        text.push_str("; its stage is too small for it: `ota campaign change accept` takes what was seen");
    }
    text.push('\n');
    text
}

/// Whether nobody but a person can move the campaign on.
fn is_stuck(campaign: &CampaignView) -> bool {
    let is_stuck = campaign.gate.as_ref().is_some_and(|gate| gate.is_stuck && gate.shown > 0);
    is_stuck && Tally::of(campaign).at_work == 0
}

fn failed(failures: &Items<FailureView>) -> String {
    let row = |group: &FailureView| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [group.devices.to_string(), group.cause.clone(), text(&group.former), text(&group.hardware)]
    };
    table(["FAILED", "CAUSE", "FROM", "HARDWARE"], failures.items.iter().map(row))
}

fn dry_run(run: &DryRunView) -> String {
    let mut text = format!(
        "fleet       {}\nlooked at   {}\nwould get   {}\nper device  {} bytes at most\nat least    {}\n",
        run.fleet,
        run.looked_at,
        run.would_get,
        run.bytes_per_device,
        run.at_least.map_or_else(|| "as success allows".to_owned(), |span| span.to_string()),
    );
    for left in &run.left_out {
        text.push_str(&format!("left out    {}: {}\n", left.devices, left.reason));
    }
    for gate in &run.gates_that_wait {
        text.push_str(&format!(
            "stage {}     its gate needs {} devices and will wait for ever\n",
            gate.stage, gate.needs
        ));
    }
    text
}

/// Follows a campaign. Ends well when it is completed or waits for a person to promote it.
fn watch(context: &Context, which: &Which) -> Result<(), Failure> {
    let bar = match context.format {
        Format::Json => ProgressBar::hidden(),
        Format::Text => ProgressBar::new(0),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let campaign = loop {
        let campaign = which.view(context)?;
        let tally = Tally::of(&campaign);
        bar.set_length(campaign.fleet);
        bar.set_position(tally.confirmed);
        bar.set_message(format!(
            "{} (stage {}), {} at work, {} failed",
            campaign.state, campaign.stage, tally.at_work, tally.failed
        ));
        let has_ended =
            matches!(campaign.state.as_str(), "draft" | "trialled" | "paused" | "completed" | "stopped");
        if has_ended || is_stuck(&campaign) {
            break campaign;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    bar.finish_and_clear();
    context.format.show(&campaign, describe)?;
    let failures = which.failures(context)?;
    if context.format == Format::Text && !failures.items.is_empty() {
        println!("\n{}", failed(&failures));
    }
    let ended = |what: &str| {
        let way_out = format!("`ota campaign show {}` says more", which.campaign);
        Err(Failure::new(format!("the campaign is {what}: {}", plain(&campaign.reason)), way_out)
            .with_exit_code(NOT_COMPLETED))
    };
    match campaign.state.as_str() {
        "completed" | "trialled" => Ok(()),
        _ if is_stuck(&campaign) => {
            ended("waiting for a person, because its stage is too small for its gate")
        }
        other => ended(other),
    }
}
