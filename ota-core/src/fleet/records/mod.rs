//! What the records say. Plain data: every rule about them lives in `ota-server`.
//!
//! Each is stored as a CBOR map with numbered keys. Numbers are never used twice and new fields are optional, so
//! servers of neighbouring versions can share a store.

mod attempt;
mod campaign;
mod course;
mod device;
mod enrolment;
mod people;
mod plan;
mod product;
mod release;
mod small;

pub use attempt::{Attempt, AttemptPhase, FILE_STATES_MAX, FileProgress, MOMENTS_MAX, Moment};
pub use campaign::{
    Amended, Amendment, Approval, Campaign, CampaignState, PausedFrom, PhaseDevices, Progress, Sample, Seen,
    Target,
};
pub use course::{FileCourse, FileSample, RevisionDevices};
pub use device::{BUCKETS, ClaimedFile, Credential, Device, DeviceStatus, Installed};
pub use enrolment::{Enrolment, EnrolmentKind};
pub use people::{Group, PersonRole, PrincipalRecord, RoleGrant, Token, TokenKind};
pub use plan::{
    AttemptRules, Budget, Cause, DailyWindow, Date, DateRange, Gate, Limits, OnFailure, Pace, Plan,
    Promotion, Schedule, SmallGroup, Stage, Trial,
};
pub use product::{Product, RootRecord};
pub use release::{BlockMapRecord, FileRecord, Hosting, ReleaseRecord, ReleaseStatus, RequirementRecord};
pub use small::{BlobRecord, GrantKey, Interned, Setting};
