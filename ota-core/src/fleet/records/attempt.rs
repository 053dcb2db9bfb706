//! An attempt: one device's work in one campaign.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::fleet::{Index, IndexEntry, Key};
use crate::number::{Nonce, OfferId, ReleaseId};
use crate::text::ProductIdBuf;
use crate::time::Timestamp;

/// Most moments that an attempt remembers; the oldest but the first are forgotten.
pub const MOMENTS_MAX: usize = 16;

/// Most files whose state an attempt keeps one by one; what is said of further ones counts for the whole only.
pub const FILE_STATES_MAX: usize = 64;

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attempt {
    /// The device's product.
    #[n(0)]
    pub product: ProductIdBuf,
    /// The stage in which the device's turn came; 0 is the trial group.
    #[n(1)]
    pub stage: u16,
    /// Where it stands.
    #[n(2)]
    pub phase: AttemptPhase,
    /// Why it failed, as the number of a report code; 0 while it has not.
    #[n(3)]
    pub cause: u16,
    /// What is being installed now: the campaign's release, or a stepping stone towards it.
    #[n(4)]
    pub release: ReleaseId,
    /// The latest offer.
    #[n(5)]
    pub offer: Option<OfferId>,
    /// The nonce that the latest offer answered; a cancellation repeats it.
    #[n(6)]
    pub nonce: Option<Nonce>,
    /// When the first offer was made.
    #[n(7)]
    pub offered: Timestamp,
    /// When the phase was reached.
    #[n(8)]
    pub changed: Timestamp,
    /// When the phase must have ended, or a retry may begin; `None` if nothing is awaited.
    #[n(9)]
    pub due: Option<Timestamp>,
    /// How often it has failed and was tried again.
    #[n(10)]
    pub retries: u8,
    /// The number of the last report that was heard of the latest offer.
    #[n(11)]
    pub sequence: Option<u32>,
    /// How many bytes the device says it has.
    #[n(12)]
    pub done: u64,
    /// Whether the device has ever asked for a block of this release.
    #[n(13)]
    pub asked: bool,
    /// What the first file of the release had as its revision before, as an interned name.
    #[n(14)]
    pub former: u32,
    /// The hardware revision, as an interned name.
    #[n(15)]
    pub hardware: u32,
    /// Where the device is (its tag `site=`), or empty.
    #[n(16)]
    pub site: Box<str>,
    /// What happened when, oldest first.
    #[n(17)]
    pub moments: Vec<Moment>,
    /// What the device said about it, for people.
    #[n(18)]
    pub detail: Box<str>,
    /// Whether the confirmation was authenticated by the device's own key.
    #[n(19)]
    pub attested: bool,
    /// In which protocol the offer was made, as the number of a dialect.
    #[n(20)]
    pub dialect: u8,
    /// Where single files stand, where the device has said so: by their place in the release, in rising order.
    #[n(21)]
    pub files: Option<Vec<FileProgress>>,
    /// When a device that may try again and has not come is looked for: it counts as silent if it was not heard either.
    #[n(22)]
    pub missed: Option<Timestamp>,
}

/// Where one file of an attempt stands, as the device reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileProgress {
    /// Its place in the release.
    #[n(0)]
    pub file: u16,
    /// What has been reached.
    #[n(1)]
    pub phase: AttemptPhase,
    /// The number of the report code; 0 while nothing is wrong with it.
    #[n(2)]
    pub code: u16,
    /// When.
    #[n(3)]
    pub at: Timestamp,
}

/// Where an attempt stands. The numbers below 11 are those of the phases that devices report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum AttemptPhase {
    /// The device has the offer.
    #[n(1)]
    Offered = 1,
    /// It asked for blocks.
    #[n(2)]
    Downloading = 2,
    /// It has all bytes.
    #[n(3)]
    Downloaded = 3,
    /// It has checked all files.
    #[n(4)]
    Verified = 4,
    /// It waits for its boot.
    #[n(5)]
    Installed = 5,
    /// The new files have proven themselves.
    #[n(6)]
    Confirmed = 6,
    /// It ended without being installed, for good.
    #[n(7)]
    Failed = 7,
    /// The old files are back.
    #[n(8)]
    RolledBack = 8,
    /// The application does not want it.
    #[n(9)]
    Rejected = 9,
    /// The application wants it later.
    #[n(10)]
    Deferred = 10,
    /// It failed and will be tried again.
    #[n(11)]
    Waiting = 11,
    /// The offer was taken, and nothing was heard since.
    #[n(12)]
    Silent = 12,
    /// It was taken back.
    #[n(13)]
    Cancelled = 13,
}

impl AttemptPhase {
    /// All phases in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Offered,
        Self::Downloading,
        Self::Downloaded,
        Self::Verified,
        Self::Installed,
        Self::Confirmed,
        Self::Failed,
        Self::RolledBack,
        Self::Rejected,
        Self::Deferred,
        Self::Waiting,
        Self::Silent,
        Self::Cancelled,
    ];

    /// Its number in counters and indexes.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Offered => 1,
            Self::Downloading => 2,
            Self::Downloaded => 3,
            Self::Verified => 4,
            Self::Installed => 5,
            Self::Confirmed => 6,
            Self::Failed => 7,
            Self::RolledBack => 8,
            Self::Rejected => 9,
            Self::Deferred => 10,
            Self::Waiting => 11,
            Self::Silent => 12,
            Self::Cancelled => 13,
        }
    }

    /// The phase with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.number() == number)
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Moment {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// The phase that was reached.
    #[n(1)]
    pub phase: AttemptPhase,
    /// Why, as the number of a report code.
    #[n(2)]
    pub cause: u16,
}

impl Attempt {
    /// Where an attempt wants to be found.
    pub(crate) fn places(&self, key: &Key, places: &mut Vec<IndexEntry>) {
        let Key::Attempt(campaign, device) = key else { return };
        let device = device.as_str();
        places.push(IndexEntry::new(Index::AttemptDevice).text(device).number(campaign.0));
        places.push(
            IndexEntry::new(Index::AttemptPhase)
                .number(campaign.0)
                .number(u64::from(self.phase.number()))
                .number(u64::from(self.cause))
                .text(device),
        );
        if let Some(due) = self.missed.or(self.due) {
            places.push(IndexEntry::new(Index::AttemptDue).number(due.0).number(campaign.0).text(device));
        }
    }
}
