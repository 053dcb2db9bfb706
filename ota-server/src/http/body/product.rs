//! Products, the audit chain and the installation.

use ota_core::fleet::AuditEntry;
use ota_core::fleet::records::Product;
use ota_core::text::{ProductIdBuf, TextError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PublicKey, Time};
use crate::server::{AuditCheck, NewProduct};

/// A product to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductInput {
    /// Its id.
    pub id: String,
    /// What people call it; its id if left away.
    #[serde(default)]
    pub title: Option<String>,
    /// How many people must approve a campaign at least, not counting its author.
    #[serde(default = "one")]
    pub approvals_min: u8,
    /// How many failed attempts in a row put a device into quarantine; 0 for never.
    #[serde(default = "three")]
    pub quarantine_after: u8,
    /// Whether only evidence that a device's own key authenticated counts.
    #[serde(default)]
    pub attested_only: bool,
    /// The protocols that its devices may speak: `native`, `sft`; none given for all.
    #[serde(default)]
    pub protocols: Vec<String>,
}

const fn one() -> u8 {
    1
}

const fn three() -> u8 {
    3
}

/// Why a product cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProductInputError {
    /// The id is not one.
    #[error("id: {0}")]
    Id(#[from] TextError),
    /// A protocol is not known.
    #[error("protocols: {0:?} is none of native, sft")]
    Protocol(String),
}

impl TryFrom<ProductInput> for NewProduct {
    type Error = ProductInputError;
    fn try_from(input: ProductInput) -> Result<Self, ProductInputError> {
        let id = ProductIdBuf::new(input.id)?;
        let mut dialects = 0;
        for protocol in input.protocols {
            dialects |= match protocol.as_str() {
                "native" => 1 << 1,
                "sft" => 1 << 2,
                _ => return Err(ProductInputError::Protocol(protocol)),
            };
        }
        let title = input.title.unwrap_or_else(|| id.as_str().to_owned());
        Ok(Self {
            id,
            title: title.into(),
            approvals_min: input.approvals_min,
            quarantine_after: input.quarantine_after,
            attested_only: input.attested_only,
            dialects,
        })
    }
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// When it was made.
    pub created: Time,
    /// How many devices were ever registered.
    pub devices: u64,
    /// The version of its newest root; 0 while it has none.
    pub root_version: u32,
    /// The version that its next release gets.
    pub next_version: u64,
    /// How many people must approve a campaign at least.
    pub approvals_min: u8,
    /// How many failed attempts in a row put a device into quarantine; 0 for never.
    pub quarantine_after: u8,
    /// Whether only authenticated evidence counts.
    pub attested_only: bool,
    /// The protocols that its devices may speak.
    pub protocols: Vec<String>,
}

impl From<(ProductIdBuf, Product)> for ProductView {
    fn from((id, product): (ProductIdBuf, Product)) -> Self {
        let is_allowed = |number: u8| product.dialects == 0 || product.dialects & 1 << number != 0;
        let protocols = [(1, "native"), (2, "sft")];
        Self {
            id: id.into(),
            title: product.title.into(),
            created: Time(product.created),
            devices: product.next_ordinal,
            root_version: product.root.0,
            next_version: product.next_version.0,
            approvals_min: product.approvals_min,
            quarantine_after: product.quarantine_after,
            attested_only: product.attested_only,
            protocols: protocols
                .iter()
                .filter(|(n, _)| is_allowed(*n))
                .map(|(_, name)| (*name).into())
                .collect(),
        }
    }
}

/// A root to bring: body and envelope in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootInput {
    /// The body.
    pub body: String,
    /// The signatures; may be left away for the first root.
    #[serde(default)]
    pub envelope: String,
}

/// What callers need to know of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstallationView {
    /// The version of the program.
    pub version: String,
    /// The public key that signs assignments, as `ed25519:` and hexadecimal digits: a product's root must list it.
    pub assignment_key: Option<String>,
    /// Where devices connect.
    pub devices: Vec<String>,
}

/// Entries of the audit chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditView {
    /// The entries.
    pub items: Vec<AuditEntryView>,
    /// The number to go on from; `None` at the end.
    pub next: Option<u64>,
}

/// An entry of the audit chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntryView {
    /// Its number.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub principal: String,
    /// What, as a dotted word.
    pub action: String,
    /// To what.
    pub subject: String,
    /// In which product, or empty.
    pub product: String,
    /// The particulars, as a JSON object in a text: exactly what the hash covers.
    pub detail: String,
    /// Its hash.
    pub hash: String,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        let draft = entry.draft;
        Self {
            sequence: entry.sequence,
            at: Time(draft.at),
            principal: draft.principal,
            action: draft.action,
            subject: draft.subject,
            product: draft.product,
            detail: draft.detail,
            hash: ota_core::number::Sha256Digest(entry.hash.0).to_string(),
        }
    }
}

/// Checkpoints of the audit chain that were kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointsInput {
    /// The checkpoints, each the line that the server wrote; in any order, at most three thousand.
    pub checkpoints: Vec<String>,
    /// The public keys of the servers that signed them. Take them from where the checkpoints were kept: a key that is asked
    /// of the server that is in doubt proves nothing.
    pub keys: Vec<PublicKey>,
}

/// Whether the audit chain is intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedView {
    /// Whether it is.
    pub intact: bool,
    /// How many entries it has; of a broken one, the number of the first that is wrong.
    pub entries: u64,
    /// The hash of the last entry: keep it elsewhere, and a cut-off end shows.
    pub head: Option<String>,
}

impl From<AuditCheck> for VerifiedView {
    fn from(check: AuditCheck) -> Self {
        match check {
            AuditCheck::Intact { entries, head } => {
                let head = ota_core::number::Sha256Digest(head.0).to_string();
                Self { intact: true, entries, head: Some(head) }
            }
            AuditCheck::Broken { sequence } => Self { intact: false, entries: sequence, head: None },
        }
    }
}
