//! The authorizer that a fleet of devices needs: identity from the certificate or from a verified password, topics by
//! [`TopicRules`], and a set of devices whose credentials do not count any longer.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use ota_core::fleet::{Authorizer, ConnectRequest, Identity, Refusal, TopicAction, TopicRules};
use ota_core::text::{DeviceId, DeviceIdBuf};

/// Looks passwords up.
#[async_trait]
pub trait Passwords: Send + Sync + 'static {
    /// Whether this is the password of this user. Hashing takes long by intention: do it on a thread for blocking work.
    ///
    /// # Errors
    /// [`Refusal`]: [`Refusal::Credentials`] for an unknown user and a wrong password alike.
    async fn verify(&self, user: &str, password: &[u8]) -> Result<(), Refusal>;
}

/// Nobody has a password: only certificates count.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPasswords;

#[async_trait]
impl Passwords for NoPasswords {
    async fn verify(&self, _user: &str, _password: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::Credentials)
    }
}

/// Admits devices and servers by name. Deny by default.
///
/// A name, proven by a certificate or a password, is a server's if it was given as one, and a device's if it is a
/// [`DeviceId`]. Server names hold a `/`, so that none can be both.
pub struct DeviceAuthorizer {
    rules: TopicRules,
    servers: BTreeSet<String>,
    passwords: Arc<dyn Passwords>,
    revoked: RwLock<HashSet<DeviceIdBuf>>,
}

/// The name is no server's: a device could have it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server name {0:?} could be a device's: it must hold a slash")]
pub struct ServerNameError(String);

impl DeviceAuthorizer {
    /// Admits devices by certificate.
    #[must_use]
    pub fn new(rules: TopicRules) -> Self {
        Self { rules, servers: BTreeSet::new(), passwords: Arc::new(NoPasswords), revoked: RwLock::default() }
    }

    /// Admits those who know a password as well.
    #[must_use]
    pub fn with_passwords(mut self, passwords: Arc<dyn Passwords>) -> Self {
        self.passwords = passwords;
        self
    }

    /// Admits a server that connects by MQTT under this name, and may do everything.
    ///
    /// # Errors
    /// [`ServerNameError`] if a device could have the name.
    pub fn with_server(mut self, name: &str) -> Result<Self, ServerNameError> {
        if !name.contains('/') {
            return Err(ServerNameError(name.to_owned()));
        }
        self.servers.insert(name.to_owned());
        Ok(self)
    }

    /// Takes all rights from a device, with the next thing that it does; then disconnect it. Again does nothing.
    pub fn revoke(&self, device: DeviceIdBuf) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).insert(device);
    }

    /// Gives a revoked device its rights back.
    pub fn reinstate(&self, device: &DeviceIdBuf) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).remove(device);
    }

    fn standing(&self, device: &DeviceIdBuf) -> Result<(), Refusal> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if revoked.contains(device) { Err(Refusal::Revoked) } else { Ok(()) }
    }
}

#[async_trait]
impl Authorizer for DeviceAuthorizer {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        let name = match (&request.certificate, &request.user) {
            (Some(name), None) => name,
            (Some(name), Some(user)) if name == user => name,
            (Some(_), Some(_)) => return Err(Refusal::ForeignUser),
            (None, Some(user)) => {
                self.passwords.verify(user, request.password.as_deref().unwrap_or_default()).await?;
                user
            }
            (None, None) => return Err(Refusal::Credentials),
        };
        if self.servers.contains(name) {
            return Ok(Identity::Server);
        }
        let device = DeviceId::new(name).map_err(|_| Refusal::Credentials)?.into();
        self.standing(&device)?;
        Ok(Identity::Device(device))
    }

    async fn stands(&self, identity: &Identity) -> Result<(), Refusal> {
        match identity {
            Identity::Device(device) => self.standing(device),
            _ => Ok(()),
        }
    }

    fn topic(&self, identity: &Identity, action: TopicAction, topic: &str) -> Result<(), Refusal> {
        match identity {
            Identity::Server => Ok(()),
            Identity::Device(device) => {
                self.standing(device)?;
                if self.rules.allow(device.borrow(), action, topic) { Ok(()) } else { Err(Refusal::Topic) }
            }
            _ => Err(Refusal::Topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use ota_core::wire::topic::TopicPrefix;

    use super::*;

    struct OnePassword;

    #[async_trait]
    impl Passwords for OnePassword {
        async fn verify(&self, user: &str, password: &[u8]) -> Result<(), Refusal> {
            if (user, password) == ("a", b"right") { Ok(()) } else { Err(Refusal::Credentials) }
        }
    }

    fn request(certificate: Option<&str>, user: Option<&str>, password: &str) -> ConnectRequest {
        ConnectRequest {
            certificate: certificate.map(str::to_owned),
            fingerprint: None,
            user: user.map(str::to_owned),
            password: Some(password.into()),
            client_id: "whatever".into(),
            peer: None,
        }
    }

    fn device(id: &str) -> DeviceIdBuf {
        DeviceIdBuf::new(id).unwrap()
    }

    fn authorizer() -> DeviceAuthorizer {
        DeviceAuthorizer::new(TopicRules::new(TopicPrefix::DEFAULT))
            .with_passwords(Arc::new(OnePassword))
            .with_server("ota/server")
            .unwrap()
    }

    #[tokio::test]
    async fn only_what_is_proven_makes_an_identity() {
        let authorizer = authorizer();
        let device = |id| Ok(Identity::Device(device(id)));
        for (certificate, user, password, expected) in [
            (Some("a"), None, "", device("a")),
            (Some("a"), Some("a"), "wrong", device("a")),
            (Some("a"), Some("b"), "", Err(Refusal::ForeignUser)),
            (Some("ota/server"), None, "", Ok(Identity::Server)),
            (Some("ota/other"), None, "", Err(Refusal::Credentials)),
            (Some("#"), None, "", Err(Refusal::Credentials)),
            (Some("a+"), None, "", Err(Refusal::Credentials)),
            (Some(""), None, "", Err(Refusal::Credentials)),
            (None, Some("a"), "right", device("a")),
            (None, Some("a"), "wrong", Err(Refusal::Credentials)),
            (None, Some("ota/server"), "", Err(Refusal::Credentials)),
            (None, None, "right", Err(Refusal::Credentials)),
        ] {
            let found = authorizer.connect(&request(certificate, user, password)).await;
            assert_eq!(found, expected, "{certificate:?} {user:?}");
        }
    }

    #[tokio::test]
    async fn a_revoked_device_loses_everything_until_it_is_reinstated() {
        let authorizer = authorizer();
        let a = Identity::Device(device("a"));
        let publish = || authorizer.topic(&a, TopicAction::Publish, "ota/1/a/up");
        assert_eq!(publish(), Ok(()));
        authorizer.revoke(device("a"));
        assert_eq!(publish(), Err(Refusal::Revoked));
        assert_eq!(authorizer.stands(&a).await, Err(Refusal::Revoked));
        assert_eq!(authorizer.connect(&request(Some("a"), None, "")).await, Err(Refusal::Revoked));
        authorizer.reinstate(&device("a"));
        assert_eq!(publish(), Ok(()));
        assert_eq!(authorizer.stands(&a).await, Ok(()));
    }

    #[test]
    fn no_server_is_called_like_a_device() {
        let authorizer = DeviceAuthorizer::new(TopicRules::new(TopicPrefix::DEFAULT));
        assert!(authorizer.with_server("server").is_err());
    }
}
