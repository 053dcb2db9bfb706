//! What goes over HTTP as JSON: one set of types for the server and for those who call it.
//!
//! Unknown fields are refused, so that a misspelt limit is an error and not a rollout without one. Times are RFC 3339,
//! spans are texts such as `90s` or `7d`, shares are texts such as `12.5%`.

mod amendment;
mod campaign;
mod device;
mod enrolment;
mod group;
mod key;
mod people;
mod plan;
mod product;
mod release;
mod store;
mod units;

pub use amendment::{AmendedBody, AmendmentInput, AmendmentStateView, AmendmentView, GateView, SeenView};
pub use campaign::{
    ApprovalView, CampaignInput, CampaignView, CauseCountView, DryRunView, FailureView, HashInput,
    LeftOutView, PhaseCountView, PhaseView, ReasonInput, RetriedView, RetryView, SampleView, StopView,
    WaitingGateView,
};
pub use device::{
    AttemptView, CountView, CourseView, CredentialInput, DeviceInput, DeviceLine, DeviceView, DevicesInput,
    DevicesView, ErasedView, FileCourseView, FilePointView, FleetLineView, FleetView, HeardView,
    InstalledView, MomentView, RegisteredView, RevisionView, TagsInput, TagsView, WhyNotView,
};
pub use enrolment::{EnrolledView, EnrolmentInput, EnrolmentView, ProofInput};
pub use group::{GroupInput, GroupView};
pub use key::PublicKey;
pub use people::{
    AcceptInput, EndedView, InvitationView, OwnTokenInput, PasswordInput, PersonInput, PersonView, RoleBody,
    SessionView, SignInInput, TokenInput, TokenLine, TokenView, WhoAmI,
};
pub use plan::{
    AttemptsBody, BlackoutBody, BudgetBody, CauseBody, DayTime, GateBody, LimitsBody, OnFailureBody,
    PaceBody, PlanBody, PromotionBody, ScheduleBody, StageBody, TargetBody, TrialBody, WindowBody,
};
pub use product::{
    AuditEntryView, AuditView, CheckpointsInput, InstallationView, ProductInput, ProductView, RootInput,
    VerifiedView,
};
pub use release::{
    BlockMapBody, ContentBody, FieldError, FileInput, FileView, FixInput, ReleaseInput, ReleaseRef,
    ReleaseView, RequirementBody, UploadView,
};
pub use store::{BackupInput, BackupView, CompactedView, DifferenceView, RecountView};
pub use units::{Share, Span, Time, UnitError};

pub(crate) use people::grants;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that was made, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Made<T> {
    /// The id.
    pub id: T,
}

/// A list, or a page of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Items<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// The name of an enum's variant as people write it: `RolledBack` becomes `rolled_back`.
pub(crate) fn word(value: &impl core::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let name = text.split([' ', '(', '{']).next().unwrap_or_default();
    let mut word = String::with_capacity(name.len() + 4);
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            word.push('_');
        }
        word.extend(character.to_lowercase());
    }
    word
}

/// The name of a report code; a code of a newer device is named by its number.
pub(crate) fn cause_word(number: u16) -> String {
    match ota_core::wire::ReportCode::from_number(number) {
        ota_core::wire::ReportCode::Unknown(_) => format!("code_{number}"),
        code => word(&code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_become_words() {
        assert_eq!(word(&ota_core::fleet::records::AttemptPhase::RolledBack), "rolled_back");
        assert_eq!(cause_word(13), "self_test_failed");
        assert_eq!(cause_word(999), "code_999");
    }
}
