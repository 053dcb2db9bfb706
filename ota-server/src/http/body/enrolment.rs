//! Enrolments: what lets devices register themselves.

use ota_core::fleet::records::Enrolment;
use ota_core::number::Sha256Digest;
use ota_core::text::DeviceIdBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, Time, word};

/// Enrolments to make: for certificates, all of them or none, or one with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentInput {
    /// What devices show.
    pub proof: ProofInput,
    /// The only device that may use it; left away, any that nobody has registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The tags that devices get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// For how long it is good; left away, until it is used up or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

/// What devices show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProofInput {
    /// Client certificates: the SHA-256 of each in its DER form, 64 hexadecimal digits. At most a thousand.
    Certificates(Vec<String>),
    /// A token that the server makes up.
    Token {
        /// How many devices may use it.
        #[schemars(range(min = 1))]
        uses: u32,
    },
}

impl EnrolmentInput {
    /// The digests of the certificates; none for a token.
    ///
    /// # Errors
    /// The field and what it should be.
    pub fn certificates(&self) -> Result<Vec<Sha256Digest>, String> {
        let ProofInput::Certificates(texts) = &self.proof else { return Ok(Vec::new()) };
        let read = |(index, text): (usize, &String)| {
            Sha256Digest::from_hex(text).ok_or_else(|| {
                format!("proof.certificates[{index}]: expected 64 lower-case hexadecimal digits")
            })
        };
        texts.iter().enumerate().map(read).collect()
    }

    /// The only device that may use it.
    ///
    /// # Errors
    /// The field and what is wrong with it.
    pub fn only(&self) -> Result<Option<DeviceIdBuf>, String> {
        let device = self.device.as_deref().map(DeviceIdBuf::new).transpose();
        device.map_err(|why| format!("device: {why}"))
    }
}

/// What was made. A token is told here and never again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolledView {
    /// How many enrolments.
    pub enrolled: u64,
    /// The token, if it is one: what devices show. Only its hash is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl core::fmt::Debug for EnrolledView {
    /// Leaves the token out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EnrolledView").field("enrolled", &self.enrolled).finish_non_exhaustive()
    }
}

/// An enrolment. What proves it is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolmentView {
    /// Its id: a hash of its proof.
    pub id: String,
    /// What devices show: `certificate` or `token`.
    pub proof: String,
    /// The only device that may use it.
    pub device: Option<String>,
    /// The tags that devices get.
    pub tags: Vec<String>,
    /// How many devices may use it.
    pub uses_max: u32,
    /// How many have.
    pub uses: u32,
    /// When it stops being good.
    pub expires: Option<Time>,
    /// When it was made.
    pub created: Time,
}

impl From<(Sha256Digest, Enrolment)> for EnrolmentView {
    fn from((id, enrolment): (Sha256Digest, Enrolment)) -> Self {
        Self {
            id: id.to_string(),
            proof: word(&enrolment.by),
            device: enrolment.device.map(|device| device.as_str().to_owned()),
            tags: enrolment.tags.into_iter().map(Into::into).collect(),
            uses_max: enrolment.uses_max,
            uses: enrolment.uses,
            expires: enrolment.expires.map(Time),
            created: Time(enrolment.created),
        }
    }
}
