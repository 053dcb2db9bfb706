//! Devices: registration, what they run, why they have not got an update.

use ota_core::fleet::records::{Credential, Device, Moment};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::{FieldError, field};
use super::{Time, cause_word, word};
use crate::rules::device;
use crate::rules::planner::WhyNot;
use crate::rules::ramp::Turn;
use crate::server::{DeviceReport, Erased, FileLine, FilePoint, FleetCourse, FleetLine, NewDevice};

/// Devices to register: all of them or none, at most a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicesInput {
    /// The devices.
    #[schemars(length(min = 1, max = 1000))]
    pub devices: Vec<DeviceInput>,
}

/// A device to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceInput {
    /// Its id.
    pub id: String,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How it proves who it is; left away, the broker's own means decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialInput>,
}

/// How a device proves who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialInput {
    /// A client certificate with this name in it.
    Certificate(String),
    /// A password, made at random: at least 16 bytes. Only its hash is kept.
    Password(String),
}

impl core::fmt::Debug for CredentialInput {
    /// Leaves the password out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Certificate(name) => f.debug_tuple("Certificate").field(name).finish(),
            Self::Password(_) => f.debug_tuple("Password").finish_non_exhaustive(),
        }
    }
}

impl DeviceInput {
    /// The device; `salt` is for its password, if it has one.
    ///
    /// # Errors
    /// [`FieldError`] names the field.
    pub fn device(self, salt: [u8; 16]) -> Result<NewDevice, FieldError> {
        let credential = match self.credential {
            None => None,
            Some(CredentialInput::Certificate(name)) => Some(Credential::Certificate { name: name.into() }),
            Some(CredentialInput::Password(password)) => {
                Some(field("credential.password", device::keep_password(password.as_bytes(), salt))?)
            }
        };
        let tags = self.tags.into_iter().map(Into::into).collect();
        Ok(NewDevice { tags, credential, ..NewDevice::named(field("id", DeviceIdBuf::new(self.id))?) })
    }
}

/// Tags to give a device in place of those it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagsInput {
    /// The tags.
    pub tags: Vec<String>,
}

/// The tags of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagsView {
    /// The tags.
    pub tags: Vec<String>,
}

impl From<Vec<Box<str>>> for TagsView {
    fn from(tags: Vec<Box<str>>) -> Self {
        Self { tags: tags.into_iter().map(Into::into).collect() }
    }
}

/// A page of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DevicesView {
    /// The devices.
    pub items: Vec<DeviceLine>,
    /// What to give as `after` for the next page; `None` at the end. With a filter a page may be short, or even empty,
    /// although more follows.
    pub next: Option<String>,
}

/// How many devices were registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredView {
    /// How many.
    pub registered: u64,
}

/// What became of a device that was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasedView {
    /// What the audit chain calls it from now on: the SHA-256 of `ota/v1/erased-device/` and its id.
    pub digest: String,
    /// How many attempts went.
    pub attempts: u64,
    /// How many enrolments made for it alone went.
    pub enrolments: u64,
    /// From the lists of how many campaigns that have ended it went.
    pub lists: u64,
    /// Groups and campaigns whose expressions people wrote and that still name it.
    pub named_in: Vec<String>,
}

impl From<Erased> for ErasedView {
    fn from(erased: Erased) -> Self {
        Self {
            digest: erased.digest.to_string(),
            attempts: erased.attempts,
            enrolments: erased.enrolments,
            lists: erased.lists,
            named_in: erased.named_in,
        }
    }
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLine {
    /// Its id.
    pub id: String,
    /// Whether it takes part.
    pub status: String,
    /// When it was last heard; `None` if never.
    pub heard: Option<Time>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The campaign that it is at work for.
    pub campaign: Option<u64>,
}

fn heard(at: Timestamp) -> Option<Time> {
    (at.0 != 0).then_some(Time(at))
}

impl From<(DeviceIdBuf, Device)> for DeviceLine {
    fn from((id, device): (DeviceIdBuf, Device)) -> Self {
        Self {
            id: id.into(),
            status: word(&device.status),
            heard: heard(device.heard),
            tags: device.tags.into_iter().map(Into::into).collect(),
            campaign: device.attempt.map(|id| id.0),
        }
    }
}

/// Everything about one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceView {
    /// Its id.
    pub id: String,
    /// Its product.
    pub product: String,
    /// Whether it takes part.
    pub status: String,
    /// Why it is pinned to what it runs, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// When it was last heard; `None` if never.
    pub heard: Option<Time>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it runs.
    pub installed: Vec<InstalledView>,
    /// Its attempts, oldest campaign first.
    pub attempts: Vec<AttemptView>,
    /// For each campaign under way, why it has not got the release, or that it has.
    pub why_not: Vec<WhyNotView>,
}

/// One file of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstalledView {
    /// The file.
    pub file: String,
    /// Its revision.
    pub revision: String,
    /// Whether it was ever released.
    pub released: bool,
}

/// One attempt of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// For which campaign.
    pub campaign: u64,
    /// Where it stands.
    pub phase: String,
    /// Why.
    pub cause: String,
    /// What the device said.
    pub detail: String,
    /// Whether the device's own key vouches for it.
    pub attested: bool,
    /// What happened when.
    pub moments: Vec<MomentView>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MomentView {
    /// When.
    pub at: Time,
    /// The phase that was reached.
    pub phase: String,
    /// Why.
    pub cause: String,
}

impl From<Moment> for MomentView {
    fn from(moment: Moment) -> Self {
        Self { at: Time(moment.at), phase: word(&moment.phase), cause: cause_word(moment.cause) }
    }
}

/// Why a device has not got a campaign's release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyNotView {
    /// The campaign.
    pub campaign: u64,
    /// The reason as a word for programs.
    pub reason: String,
    /// The reason for people.
    pub text: String,
}

impl WhyNotView {
    /// Why, with times that people can read.
    #[must_use]
    pub fn new(campaign: u64, why: &WhyNot) -> Self {
        let text = match why {
            WhyNot::BeginsAt(at) => format!("the campaign begins at {}", Time(*at)),
            WhyNot::NotItsTurn(Turn::About(at)) => format!("its turn comes at about {}", Time(*at)),
            WhyNot::NotItsTurn(Turn::InStage(stage)) => format!("its turn comes in stage {stage}"),
            WhyNot::NotItsTurn(Turn::WithSuccess) => "its turn comes as more devices succeed".to_owned(),
            WhyNot::OutsideWindow(until) => format!("outside the window until {}", Time(*until)),
            WhyNot::RetryAt(at) => format!("it tries again at {}", Time(*at)),
            WhyNot::AwaitingBoot(Some(until)) => format!("its boot is awaited until {}", Time(*until)),
            WhyNot::AwaitingBoot(None) => "its boot is awaited".to_owned(),
            WhyNot::AttemptEnded { phase, cause } => {
                format!("its attempt ended as {} with cause {}", word(phase), cause_word(*cause))
            }
            WhyNot::Offline(Timestamp(0)) => "it has never been heard; its turn has come".to_owned(),
            WhyNot::Offline(at) => format!("it was last heard at {}; its turn has come", Time(*at)),
            other => other.to_string(),
        };
        Self { campaign, reason: word(why), text }
    }
}

impl DeviceView {
    /// A device's report.
    #[must_use]
    pub fn new(id: &DeviceIdBuf, report: DeviceReport) -> Self {
        let installed = report.installed.into_iter().map(|file| InstalledView {
            file: file.file.into(),
            revision: file.revision.into(),
            released: file.is_released,
        });
        let attempts = report.history.into_iter().map(|line| AttemptView {
            campaign: line.campaign.0,
            phase: word(&line.phase),
            cause: cause_word(line.cause),
            detail: line.detail.into(),
            attested: line.attested,
            moments: line.moments.into_iter().map(MomentView::from).collect(),
        });
        Self {
            id: id.as_str().to_owned(),
            product: report.product.into(),
            status: word(&report.status),
            pinned: report.pinned.map(Into::into),
            heard: heard(report.heard),
            tags: report.tags.into_iter().map(Into::into).collect(),
            installed: installed.collect(),
            attempts: attempts.collect(),
            why_not: report.reasons.iter().map(|(id, why)| WhyNotView::new(id.0, why)).collect(),
        }
    }
}

/// How many devices have which revision of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetLineView {
    /// The file.
    pub file: String,
    /// The revision; `None` for all that were never released.
    pub revision: Option<String>,
    /// How many devices.
    pub devices: u64,
}

impl From<FleetLine> for FleetLineView {
    fn from(line: FleetLine) -> Self {
        Self { file: line.file.into(), revision: line.revision.map(Into::into), devices: line.devices }
    }
}

/// A product's fleet as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetView {
    /// How many devices have which revision of a file.
    pub items: Vec<FleetLineView>,
    /// When devices were last heard, oldest first.
    pub heard: Vec<HeardView>,
}

/// How many devices were last heard in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeardView {
    /// When the hour began.
    pub hour: Time,
    /// How many devices.
    pub devices: u64,
}

impl FleetView {
    /// A fleet, from its counters: hours are counted since 1970.
    #[must_use]
    pub fn new(items: Vec<FleetLineView>, heard: Vec<(u32, u64)>) -> Self {
        let hour = |(hour, devices): (u32, u64)| HeardView {
            hour: Time(Timestamp(u64::from(hour) * 3_600_000)),
            devices,
        };
        Self { items, heard: heard.into_iter().map(hour).collect() }
    }
}

/// How a product's fleet has developed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CourseView {
    /// How many devices it had when, oldest first; the last point is now.
    pub devices: Vec<CountView>,
    /// The course of each file.
    pub files: Vec<FileCourseView>,
}

/// How many devices there were at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountView {
    /// When.
    pub at: Time,
    /// How many.
    pub devices: u64,
}

/// How the revisions of one file have spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileCourseView {
    /// The file.
    pub file: String,
    /// What devices had when, oldest first; the last point is now.
    pub points: Vec<FilePointView>,
}

/// Which revisions of a file devices had at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilePointView {
    /// When.
    pub at: Time,
    /// How many devices had which revision; `None` stands for all that were never released.
    pub revisions: Vec<RevisionView>,
    /// Devices that had a released revision which too few had to be told apart.
    pub others: u64,
}

/// How many devices had a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionView {
    /// The revision; `None` for all that were never released.
    pub revision: Option<String>,
    /// How many devices.
    pub devices: u64,
}

impl From<FleetCourse> for CourseView {
    fn from(course: FleetCourse) -> Self {
        let revision = |(revision, devices): (Option<Box<str>>, u64)| RevisionView {
            revision: revision.map(Into::into),
            devices,
        };
        let point = |point: FilePoint| FilePointView {
            at: Time(point.at),
            revisions: point.revisions.into_iter().map(revision).collect(),
            others: point.others,
        };
        let file = |line: FileLine| FileCourseView {
            file: line.file.into(),
            points: line.points.into_iter().map(point).collect(),
        };
        let count = |(at, devices)| CountView { at: Time(at), devices };
        Self {
            devices: course.devices.into_iter().map(count).collect(),
            files: course.files.into_iter().map(file).collect(),
        }
    }
}
