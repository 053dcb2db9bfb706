//! Webhooks: another service is told what becomes of campaigns, each event at least once and in order.
//!
//! Events are the entries of the audit chain about campaigns: whatever a person or a plan did is in it, in the same commit, and a
//! restart loses nothing. How far they were told is noted in the store. The form is that of Standard Webhooks: the headers
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is HMAC-SHA-256 over both and the body.

use core::time::Duration;
use std::path::PathBuf;

use base64ct::{Base64, Encoding as _};
use ota_core::crypto::Authenticator as _;
use ota_core::crypto::soft::HmacSha256;
use ota_core::fleet::AuditEntry;
use ota_core::fleet::records::{PersonRole, RoleGrant};
use serde_json::json;
use ureq::Agent;

use super::Failure;
use super::outbound::{self, Inside};
use crate::http::body::AuditEntryView;
use crate::http::chain;
use crate::rules::permission::Principal;
use crate::server::Server;

/// How often it is looked for what is new.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many entries are read at once.
const BATCH: usize = 100;
/// The first pause after a failed delivery; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often an event is tried before it is left out, so that one that is refused does not hold up all others: a day.
const TRIES_MAX: u32 = 300;
/// Under which name it is noted how far events were told.
const NOTE: &str = "webhook told up to";
/// What a secret in the form of Standard Webhooks begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where events are posted to.
    pub url: String,
    /// The file with the secret: `whsec_` and 32 bytes in Base64.
    pub secret_file: PathBuf,
}

/// Tells events.
pub(super) struct Webhooks {
    server: Server,
    by: Principal,
    agent: Agent,
    url: String,
    key: HmacSha256,
}

/// What came of a delivery.
#[derive(Debug)]
enum Delivery {
    Taken,
    Failed(String),
}

impl Webhooks {
    /// Reads the secret.
    pub(super) fn new(server: Server, settings: &WebhookSettings, inside: Inside) -> Result<Self, Failure> {
        let path = settings.secret_file.display();
        let way_out = "write `whsec_` and 32 random bytes in Base64 into it: \
                       (printf whsec_; head -c 32 /dev/urandom | base64) > FILE";
        let text = std::fs::read_to_string(&settings.secret_file)
            .map_err(|why| Failure::caused(format_args!("cannot read {path}"), &why, way_out))?;
        let secret =
            secret(text.trim()).ok_or_else(|| Failure::new(format!("{path} holds no secret"), way_out))?;
        let roles = vec![RoleGrant { role: PersonRole::Administrator, products: None }];
        Ok(Self {
            server,
            by: Principal::new("webhooks", roles),
            agent: outbound::agent(inside),
            url: settings.url.clone(),
            key: HmacSha256::new(&secret),
        })
    }

    /// Tells events until the task is ended.
    pub(super) async fn run(self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.tell_new().await {
                Ok(()) => pause = PAUSE_FIRST,
                Err(why) => {
                    tracing::warn!(why = chain(&why), "webhooks cannot be told");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn tell_new(&self) -> Result<(), crate::CommandError> {
        let mut told = match self.server.note(&self.by, NOTE).await?.and_then(|note| note.parse().ok()) {
            Some(told) => told,
            // The first time: what was before it was set up is nobody's business.
            None => {
                let last = self.last_entry().await?;
                self.server.set_note(&self.by, NOTE, &last.to_string()).await?;
                last
            }
        };
        loop {
            let entries = self.server.audit_entries(&self.by, told + 1, BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(()) };
            for entry in entries.into_iter().filter(|entry| entry.draft.action.starts_with("campaign.")) {
                let sequence = entry.sequence;
                self.tell(entry).await;
                self.server.set_note(&self.by, NOTE, &sequence.to_string()).await?;
            }
            self.server.set_note(&self.by, NOTE, &last.to_string()).await?;
            told = last;
        }
    }

    async fn last_entry(&self) -> Result<u64, crate::CommandError> {
        let mut last = 0;
        loop {
            match self.server.audit_entries(&self.by, last + 1, BATCH).await?.last() {
                Some(entry) => last = entry.sequence,
                None => return Ok(last),
            }
        }
    }

    /// Tells one event, until it is taken or was tried for long enough.
    async fn tell(&self, entry: AuditEntry) {
        let sequence = entry.sequence;
        let event = AuditEntryView::from(entry);
        let body = json!({ "type": event.action, "timestamp": event.at, "data": event }).to_string();
        let mut pause = PAUSE_FIRST;
        for attempt in 1..=TRIES_MAX {
            match self.post(sequence, &body).await {
                Delivery::Taken => {
                    tracing::info!(sequence, event = event.action, attempt, "told a webhook");
                    return;
                }
                Delivery::Failed(why) => {
                    tracing::warn!(sequence, event = event.action, attempt, why, "a webhook was not taken");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        tracing::error!(sequence, event = event.action, "a webhook was left out: it was tried for too long");
    }

    async fn post(&self, sequence: u64, body: &str) -> Delivery {
        let id = format!("audit-{sequence}");
        let timestamp = (self.server.time().0 / 1000).to_string();
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()];
        let Ok(mac) = self.key.authenticate(&signed) else {
            return Delivery::Failed("the secret cannot sign".to_owned());
        };
        let request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("user-agent", concat!("ota/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", format!("v1,{}", Base64::encode_string(&mac)));
        let body = body.to_owned();
        match tokio::task::spawn_blocking(move || request.send(body)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Delivery::Taken,
            Ok(Ok(answer)) => Delivery::Failed(format!("it answered {}", answer.status())),
            Ok(Err(why)) => Delivery::Failed(chain(&why)),
            Err(why) => Delivery::Failed(why.to_string()),
        }
    }
}

fn secret(text: &str) -> Option<[u8; 32]> {
    let bytes = Base64::decode_vec(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_and_32_bytes() {
        let good = format!("{SECRET_PREFIX}{}", Base64::encode_string(&[7; 32]));
        assert_eq!(secret(&good), Some([7; 32]));
        for bad in ["", "whsec_", &good[1..], &good[..good.len() - 4], "whsec_????"] {
            assert_eq!(secret(bad), None, "{bad:?}");
        }
    }
}
