//! A campaign: these devices, this release, this plan, and how far it has come.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::{AttemptPhase, Limits, Plan};
use crate::fleet::{Index, IndexEntry};
use crate::number::{ReleaseId, Sha256Digest};
use crate::text::{DeviceIdBuf, ProductIdBuf};
use crate::time::Timestamp;

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Campaign {
    /// The product whose devices it is about.
    #[n(0)]
    pub product: ProductIdBuf,
    /// What people call it.
    #[n(1)]
    pub title: Box<str>,
    /// The release that the devices are to have.
    #[n(2)]
    pub release: ReleaseId,
    /// Which devices.
    #[n(3)]
    pub target: Target,
    /// How.
    #[n(4)]
    pub plan: Plan,
    /// Who made it.
    #[n(5)]
    pub author: Box<str>,
    /// When it was made.
    #[n(6)]
    pub created: Timestamp,
    /// How far it has come.
    #[n(7)]
    pub state: CampaignState,
    /// Who or what brought it to that state, and why, for people.
    #[n(8)]
    pub reason: Box<str>,
    /// Who consented to it.
    #[n(9)]
    pub approvals: Vec<Approval>,
    /// Where it stands.
    #[n(10)]
    pub progress: Progress,
    /// How it went: bounded, thinned out as it grows older.
    #[n(11)]
    pub samples: Vec<Sample>,
}

/// Which devices a campaign is about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Target {
    /// All devices of the product.
    #[n(0)]
    Everyone,
    /// The devices that were registered when the campaign was made: those with a lower ordinal than this.
    #[n(1)]
    OrdinalBelow {
        /// The first ordinal that is left out.
        #[n(0)]
        ordinal: u64,
    },
    /// Whichever devices fulfil this expression when they check in.
    #[n(2)]
    Filter {
        /// The expression.
        #[n(0)]
        expression: Box<str>,
    },
    /// The devices that fulfilled this expression when the campaign was prepared.
    #[n(3)]
    Snapshot {
        /// The expression.
        #[n(0)]
        expression: Box<str>,
        /// The stored bitmap of their ordinals; `None` until it is prepared.
        #[n(1)]
        bitmap: Option<Sha256Digest>,
        /// How many they are.
        #[n(2)]
        count: u64,
    },
    /// These devices.
    #[n(4)]
    Devices {
        /// Their ids, in rising order.
        #[n(0)]
        ids: Vec<DeviceIdBuf>,
    },
}

/// How far a campaign has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CampaignState {
    /// It can still be edited, and gathers approvals.
    #[n(0)]
    Draft,
    /// Its snapshot is being made.
    #[n(1)]
    Preparing,
    /// It waits for its start.
    #[n(2)]
    Scheduled,
    /// The trial group gets the release.
    #[n(3)]
    Trial,
    /// The trial has passed and a person must promote it.
    #[n(4)]
    Trialled,
    /// The stages are under way.
    #[n(5)]
    Rolling,
    /// Nothing is offered until it is resumed.
    #[n(6)]
    Paused,
    /// All stages have passed their gates.
    #[n(7)]
    Completed,
    /// It ended before that.
    #[n(8)]
    Stopped,
}

/// One person's consent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// Who.
    #[n(0)]
    pub principal: Box<str>,
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// The hash of release, target and plan that it is consent to.
    #[n(2)]
    pub hash: Sha256Digest,
}

/// Where a campaign stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Progress {
    /// The stage: 0 is the trial group, 1 the first stage of the plan.
    #[n(0)]
    pub stage: u16,
    /// When the stage began, moved on by the time for which the campaign was paused.
    #[n(1)]
    pub since: Timestamp,
    /// How much of the fleet is open when the pace rises with success: a rank, out of 2^32.
    #[n(2)]
    pub opened: u64,
    /// When `opened` was reckoned.
    #[n(3)]
    pub opened_at: Timestamp,
    /// How many looks the gate of this stage has had.
    #[n(4)]
    pub looks: u32,
    /// When the gate found the stage good; the soak begins there.
    #[n(5)]
    pub passed: Option<Timestamp>,
    /// When and from which state it was paused.
    #[n(6)]
    pub paused: Option<PausedFrom>,
    /// When it began, 0 before that.
    #[n(7)]
    pub started: Timestamp,
    /// The campaign that takes devices back to the former release, if the gate asked for one.
    #[n(8)]
    pub revert: Option<crate::number::CampaignId>,
    /// A change of the running campaign that waits for consent.
    #[n(9)]
    pub amendment: Option<Amendment>,
    /// What the stage had shown when people took its gate as passed: only more than that speaks against it.
    #[n(10)]
    pub accepted: Option<Seen>,
    /// When it was stopped.
    #[n(11)]
    pub ended: Option<Timestamp>,
}

/// A change of a running campaign: what somebody wants, and who has consented to it so far.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Amendment {
    /// What is to change.
    #[n(0)]
    pub what: Amended,
    /// Who wants it.
    #[n(1)]
    pub by: Box<str>,
    /// Since when.
    #[n(2)]
    pub at: Timestamp,
    /// Why, for people.
    #[n(3)]
    pub reason: Box<str>,
    /// What the stage had shown when it was wanted: consent is to this.
    #[n(4)]
    pub seen: Seen,
    /// Who consented to it.
    #[n(5)]
    pub approvals: Vec<Approval>,
}

/// What changes about a running campaign.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Amended {
    /// The gate of the present stage counts as passed with what it has seen. Its soak still runs.
    #[n(0)]
    Gate,
    /// The rest of the present soak is not waited for.
    #[n(1)]
    Soak,
    /// Other limits.
    #[n(2)]
    Limits {
        /// The limits.
        #[n(0)]
        limits: Limits,
    },
    /// Other devices.
    #[n(3)]
    Target {
        /// The target.
        #[n(0)]
        target: Target,
    },
}

/// What a stage has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seen {
    /// The stage; 0 is the trial group.
    #[n(0)]
    pub stage: u16,
    /// Devices that confirmed the release.
    #[n(1)]
    pub confirmed: u64,
    /// Devices that failed or rolled back.
    #[n(2)]
    pub failed: u64,
    /// Devices that took the offer and fell silent.
    #[n(3)]
    pub silent: u64,
    /// Devices that are still at it.
    #[n(4)]
    pub open: u64,
}

/// What a pause interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PausedFrom {
    /// The state to return to.
    #[n(0)]
    pub state: CampaignState,
    /// When the pause began.
    #[n(1)]
    pub at: Timestamp,
}

/// How many devices were where at one time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sample {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// Devices that ever had an offer.
    #[n(1)]
    pub offered: u64,
    /// Devices that confirmed the release.
    #[n(2)]
    pub confirmed: u64,
    /// Devices that failed or rolled back.
    #[n(3)]
    pub failed: u64,
    /// The stage at that time; 0 is the trial group.
    #[n(4)]
    pub stage: Option<u16>,
    /// Devices by phase, for each phase in which there were any.
    #[n(5)]
    pub phases: Option<Vec<PhaseDevices>>,
    /// Devices that failed or rolled back, by cause: download, verification, install, boot.
    #[n(6)]
    pub causes: Option<[u64; 4]>,
}

/// How many devices were in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PhaseDevices {
    /// The phase.
    #[n(0)]
    pub phase: AttemptPhase,
    /// How many.
    #[n(1)]
    pub devices: u64,
}

impl Campaign {
    /// Where a campaign wants to be found.
    pub(crate) fn places(&self, places: &mut Vec<IndexEntry>) {
        let state = match self.state {
            CampaignState::Completed => 1,
            CampaignState::Stopped => 2,
            _ => 0,
        };
        places.push(IndexEntry::new(Index::CampaignState).text(self.product.as_str()).number(state));
    }
}
