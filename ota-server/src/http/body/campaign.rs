//! Campaigns: what people ask for, and how it fares.

use ota_core::fleet::records::{CampaignState, PhaseDevices, Sample, Target};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::ProductIdBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::{FieldError, field};
use super::{AmendmentView, GateView, PlanBody, Span, TargetBody, Time, cause_word, word};
use crate::rules::campaign::Draft;
use crate::server::{DryRun, FailureGroup, ProgressReport, Retried};

/// A campaign to make, or the new content of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignInput {
    /// What people call it.
    pub title: String,
    /// The release.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub release: String,
    /// Which devices.
    pub target: TargetBody,
    /// How.
    #[serde(default)]
    pub plan: PlanBody,
}

impl CampaignInput {
    /// The draft for this product.
    ///
    /// # Errors
    /// [`FieldError`] names the field.
    pub fn draft(self, product: ProductIdBuf) -> Result<Draft, FieldError> {
        let release = ReleaseId::from_hex(&self.release).ok_or("expected 64 lower-case hexadecimal digits");
        Ok(Draft {
            product,
            title: self.title.into(),
            release: field("release", release)?,
            target: self.target.target("target")?,
            plan: self.plan.plan()?,
        })
    }
}

/// The hash of the content that an approver was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashInput {
    /// `content_hash` of the campaign as it was read.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub content_hash: String,
}

/// Why something is done, for people and the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonInput {
    /// Why, in one line.
    #[schemars(length(min = 1, max = 1000), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub reason: String,
    /// The product that is meant, where the command can be for one or for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
}

/// How many campaigns were stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopView {
    /// How many.
    pub stopped: u64,
}

/// What became of devices that were to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetriedView {
    /// Devices that get another offer when they check in next.
    pub retried: u64,
    /// Devices that do not: the gate of their stage still judges them, or they are quarantined or revoked.
    pub left_out: u64,
    /// Those among them that the gate of their stage still judges.
    pub judged: u64,
    /// Whether there are more than one command looks at: ask again.
    pub partial: bool,
}

/// What letting devices try again would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryView {
    /// How many devices would get another offer, at most: those among them that are quarantined or revoked do not.
    pub devices: u64,
    /// Why it is refused now; `None` if it is not.
    pub refused: Option<String>,
}

impl RetryView {
    fn of(report: &ProgressReport) -> Self {
        match report.retryable() {
            Ok(devices) => Self { devices, refused: None },
            Err(why) => Self { devices: 0, refused: Some(why.to_string()) },
        }
    }
}

impl From<Retried> for RetriedView {
    fn from(done: Retried) -> Self {
        Self { retried: done.retried, left_out: done.left_out, judged: done.judged, partial: done.is_partial }
    }
}

/// A campaign and how it fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignView {
    /// Its id.
    pub id: u64,
    /// Its product.
    pub product: String,
    /// What people call it.
    pub title: String,
    /// Its release.
    pub release: String,
    /// Which devices.
    pub target: TargetBody,
    /// How many devices a prepared snapshot has.
    pub snapshot_devices: Option<u64>,
    /// How.
    pub plan: PlanBody,
    /// Who made it.
    pub author: String,
    /// When it was made.
    pub created: Time,
    /// How far it has come.
    pub state: String,
    /// Who or what brought it there, and why.
    pub reason: String,
    /// Who consented.
    pub approvals: Vec<ApprovalView>,
    /// What an approval must be for.
    pub content_hash: String,
    /// The stage: 0 is the trial group.
    pub stage: u16,
    /// When it began; `None` before that.
    pub started: Option<Time>,
    /// The campaign that takes devices back, if a gate asked for one.
    pub revert: Option<u64>,
    /// Where its devices are.
    pub phases: Vec<PhaseView>,
    /// How many devices it is for; an estimate where the target is a filter.
    pub fleet: u64,
    /// When it will be through, at its present pace.
    pub projected_end: Option<Time>,
    /// How it went.
    pub samples: Vec<SampleView>,
    /// What the gate of the present stage has seen; `None` where there is nothing to judge.
    pub gate: Option<GateView>,
    /// A change that waits for consent.
    pub amendment: Option<AmendmentView>,
    /// What letting the devices that have failed try again would do.
    pub retry: RetryView,
}

/// One person's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalView {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// Whether it is for the content as it is now.
    pub current: bool,
}

/// How many devices stand where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseView {
    /// The stage.
    pub stage: u16,
    /// The phase.
    pub phase: String,
    /// The cause.
    pub cause: String,
    /// How many.
    pub devices: u64,
}

/// How many devices were where at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleView {
    /// When.
    pub at: Time,
    /// Devices that ever had an offer.
    pub offered: u64,
    /// Devices that confirmed.
    pub confirmed: u64,
    /// Devices that failed.
    pub failed: u64,
    /// The stage at that time; 0 is the trial group.
    pub stage: Option<u16>,
    /// Devices by phase, for each phase in which there were any.
    pub phases: Vec<PhaseCountView>,
    /// Devices that failed or rolled back, by cause.
    pub causes: Vec<CauseCountView>,
}

/// How many devices were in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseCountView {
    /// The phase.
    pub phase: String,
    /// How many.
    pub devices: u64,
}

/// How many devices failed for a cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CauseCountView {
    /// The cause: `download`, `verification`, `install` or `boot`.
    pub cause: String,
    /// How many.
    pub devices: u64,
}

impl From<Sample> for SampleView {
    fn from(sample: Sample) -> Self {
        let phase =
            |count: &PhaseDevices| PhaseCountView { phase: word(&count.phase), devices: count.devices };
        let causes = ["download", "verification", "install", "boot"]
            .into_iter()
            .zip(sample.causes.unwrap_or_default());
        Self {
            at: Time(sample.at),
            offered: sample.offered,
            confirmed: sample.confirmed,
            failed: sample.failed,
            stage: sample.stage,
            phases: sample.phases.iter().flatten().map(phase).collect(),
            causes: causes
                .filter(|(_, devices)| *devices > 0)
                .map(|(cause, devices)| CauseCountView { cause: cause.to_owned(), devices })
                .collect(),
        }
    }
}

impl From<(CampaignId, ProgressReport)> for CampaignView {
    fn from((id, report): (CampaignId, ProgressReport)) -> Self {
        let retry = RetryView::of(&report);
        let (campaign, hash) = (report.campaign, report.hash);
        let snapshot_devices = match &campaign.target {
            Target::Snapshot { bitmap: Some(_), count, .. } => Some(*count),
            _ => None,
        };
        let approvals = campaign.approvals.into_iter().map(|approval| ApprovalView {
            by: approval.principal.into(),
            at: Time(approval.at),
            current: approval.hash == hash,
        });
        let phases = report.now.into_iter().map(|count| PhaseView {
            stage: count.stage,
            phase: word(&count.phase),
            cause: cause_word(count.cause),
            devices: count.devices,
        });
        let samples = report.samples.into_iter().map(SampleView::from);
        let started = campaign.progress.started;
        let amendment = campaign.progress.amendment.as_ref().zip(report.amendment_hash.as_ref());
        let amendment = amendment.map(|(amendment, hash)| AmendmentView::new(amendment, hash));
        Self {
            id: id.0,
            product: campaign.product.into(),
            title: campaign.title.into(),
            release: campaign.release.to_string(),
            target: (&campaign.target).into(),
            snapshot_devices,
            plan: (&campaign.plan).into(),
            author: campaign.author.into(),
            created: Time(campaign.created),
            state: word(&campaign.state),
            reason: campaign.reason.into(),
            approvals: approvals.collect(),
            content_hash: hash.to_string(),
            stage: campaign.progress.stage,
            started: (started.0 != 0 && campaign.state != CampaignState::Draft).then_some(Time(started)),
            revert: campaign.progress.revert.map(|id| id.0),
            phases: phases.collect(),
            fleet: report.fleet,
            projected_end: report.projected_end.map(Time),
            samples: samples.collect(),
            gate: report.gate.map(Into::into),
            amendment,
            retry,
        }
    }
}

/// Devices that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureView {
    /// Why.
    pub cause: String,
    /// The revision they came from.
    pub former: Option<String>,
    /// Their hardware.
    pub hardware: Option<String>,
    /// How many.
    pub devices: u64,
}

impl From<FailureGroup> for FailureView {
    fn from(group: FailureGroup) -> Self {
        Self {
            cause: cause_word(group.cause),
            former: group.former.map(Into::into),
            hardware: group.hardware.map(Into::into),
            devices: group.devices,
        }
    }
}

/// What a campaign would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunView {
    /// How many devices the product has.
    pub fleet: u64,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// How many of those would get it.
    pub would_get: u64,
    /// How many of those would not, by reason.
    pub left_out: Vec<LeftOutView>,
    /// How many bytes one device fetches at most.
    pub bytes_per_device: u64,
    /// How long the stages take at least; `None` where the pace rises with success.
    pub at_least: Option<Span>,
    /// Gates that need more devices than their stage will see.
    pub gates_that_wait: Vec<WaitingGateView>,
}

/// Devices that would be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOutView {
    /// Why.
    pub reason: String,
    /// How many.
    pub devices: u64,
}

/// A gate that could not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingGateView {
    /// The stage; 0 is the trial.
    pub stage: u16,
    /// How many devices it needs.
    pub needs: u64,
}

impl From<DryRun> for DryRunView {
    fn from(run: DryRun) -> Self {
        let left_out = run.left_out.into_iter().map(|(reason, devices)| LeftOutView { reason, devices });
        let waiting = run.gates_that_wait.into_iter().map(|(stage, needs)| WaitingGateView { stage, needs });
        Self {
            fleet: run.fleet,
            looked_at: run.looked_at,
            would_get: run.would_get,
            left_out: left_out.collect(),
            bytes_per_device: run.bytes_per_device,
            at_least: run.at_least.map(Span),
            gates_that_wait: waiting.collect(),
        }
    }
}
