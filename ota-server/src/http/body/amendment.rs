//! Changes of a running campaign, and what its gate has shown.

use ota_core::fleet::records::{Amended, Amendment, Seen};
use ota_core::number::Sha256Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::FieldError;
use super::{ApprovalView, LimitsBody, TargetBody, Time};
use crate::server::{AmendmentState, GateReport};

/// A change of a running campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AmendedBody {
    /// The gate of the present stage counts as passed with what it has seen. Its soak still runs.
    Gate,
    /// The rest of the present soak is not waited for.
    Soak,
    /// Other limits.
    Limits(LimitsBody),
    /// Other devices.
    Target(TargetBody),
}

impl AmendedBody {
    /// The change as the rules know it.
    ///
    /// # Errors
    /// [`FieldError`] names the field.
    pub fn amended(&self) -> Result<Amended, FieldError> {
        Ok(match self {
            Self::Gate => Amended::Gate,
            Self::Soak => Amended::Soak,
            Self::Limits(limits) => Amended::Limits { limits: (*limits).into() },
            Self::Target(target) => Amended::Target { target: target.target("change.target")? },
        })
    }
}

impl From<&Amended> for AmendedBody {
    fn from(amended: &Amended) -> Self {
        match amended {
            Amended::Gate => Self::Gate,
            Amended::Soak => Self::Soak,
            Amended::Limits { limits } => Self::Limits((*limits).into()),
            Amended::Target { target } => Self::Target(target.into()),
        }
    }
}

/// A change of a running campaign to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmendmentInput {
    /// What is to change.
    pub change: AmendedBody,
    /// Why, for those who must consent and for the audit log.
    pub reason: String,
}

/// What has become of an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmendmentStateView {
    /// `made`, or `waits_for_consent`.
    pub state: String,
}

impl From<AmendmentState> for AmendmentStateView {
    fn from(state: AmendmentState) -> Self {
        Self { state: super::word(&state) }
    }
}

/// A change of a running campaign that waits for consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmendmentView {
    /// What is to change.
    pub change: AmendedBody,
    /// Who wants it.
    pub by: String,
    /// Since when.
    pub at: Time,
    /// Why.
    pub reason: String,
    /// What the stage had shown when it was wanted.
    pub seen: SeenView,
    /// Who has consented.
    pub approvals: Vec<ApprovalView>,
    /// What consent must be for.
    pub content_hash: String,
}

/// What a stage has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenView {
    /// The stage; 0 is the trial group.
    pub stage: u16,
    /// Devices that confirmed the release.
    pub confirmed: u64,
    /// Devices that failed or rolled back.
    pub failed: u64,
    /// Devices that took the offer and fell silent.
    pub silent: u64,
    /// Devices that are still at it.
    pub open: u64,
}

impl From<Seen> for SeenView {
    fn from(seen: Seen) -> Self {
        Self {
            stage: seen.stage,
            confirmed: seen.confirmed,
            failed: seen.failed,
            silent: seen.silent,
            open: seen.open,
        }
    }
}

impl AmendmentView {
    /// An amendment and the hash that consent is to.
    #[must_use]
    pub fn new(amendment: &Amendment, hash: &Sha256Digest) -> Self {
        let approvals = amendment.approvals.iter().map(|approval| ApprovalView {
            by: approval.principal.as_ref().to_owned(),
            at: Time(approval.at),
            current: approval.hash == *hash,
        });
        Self {
            change: (&amendment.what).into(),
            by: amendment.by.as_ref().to_owned(),
            at: Time(amendment.at),
            reason: amendment.reason.as_ref().to_owned(),
            seen: amendment.seen.into(),
            approvals: approvals.collect(),
            content_hash: hash.to_string(),
        }
    }
}

/// What the gate of the present stage has seen, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateView {
    /// The stage; 0 is the trial group.
    pub stage: u16,
    /// How many devices have ended or fallen silent.
    pub shown: u64,
    /// How many must have for the next judgement.
    pub next_look: u64,
    /// How many must have, none of them failing, before it can pass at all.
    pub passes_from: u64,
    /// How many devices the stage has that can get the release, where they are few enough to be counted.
    pub devices: Option<u64>,
    /// Whether a person must amend the campaign for it to go on.
    pub is_stuck: bool,
}

impl From<GateReport> for GateView {
    fn from(report: GateReport) -> Self {
        Self {
            stage: report.stage,
            shown: report.shown,
            next_look: report.next_look,
            passes_from: report.passes_from,
            devices: report.devices,
            is_stuck: report.is_stuck,
        }
    }
}
