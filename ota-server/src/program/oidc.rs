//! Bearer tokens of an OpenID Connect provider: JSON Web Tokens (RFC 7519) that it signs with keys it publishes (RFC 7517).
//!
//! A token only says who somebody is. What they may do is what people and programs of this installation may do: whoever is
//! not among them, under exactly the name that the chosen claim gives, is nobody. Only signatures with public keys are
//! taken, with an algorithm that fits the key that the token names; so neither `none` nor a key taken for a password helps.

use core::time::Duration;
use std::path::PathBuf;

use async_trait::async_trait;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use ureq::Agent;

use super::Failure;
use super::outbound::{Inside, agent};
use crate::http::{Bearers, NoBearer};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Largest set of keys, in bytes.
const KEYS_BYTES_MAX: u64 = 256 * 1024;
/// After how long keys are read again, and how soon at the earliest when a token names an unknown one.
const KEYS_LIFE: Duration = Duration::from_secs(3600);
const KEYS_LIFE_MIN: Duration = Duration::from_secs(60);
/// How far the provider's clock may be from ours.
const LEEWAY_SECONDS: u64 = 60;

/// What is needed to know whose a provider's token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// The provider, exactly as its tokens name it.
    pub issuer: String,
    /// Whom its tokens must be for.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The claim with the name of the person here.
    pub claim: String,
}

/// Where a provider's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JSON Web Key Set.
    File(PathBuf),
    /// The provider's own address for it.
    Url(String),
}

/// Tells whose a token of the provider is.
pub struct Oidc {
    settings: OidcSettings,
    agent: Agent,
    keys: Mutex<Option<Keys>>,
}

struct Keys {
    set: JwkSet,
    read: Instant,
}

impl Oidc {
    /// Reads the provider's keys from a file at once; from an address with the first token.
    ///
    /// # Errors
    /// [`Failure`] if the file is none with keys.
    pub fn new(settings: OidcSettings, inside: Inside) -> Result<Self, Failure> {
        let agent = agent(inside);
        if let KeySource::File(path) = &settings.keys {
            read(&agent, &settings.keys).map_err(|why| {
                let way_out = "give a JSON Web Key Set with `oidc.keys`";
                Failure::new(format!("{} cannot be used: {why}", path.display()), way_out)
            })?;
        }
        Ok(Self { settings, agent, keys: Mutex::new(None) })
    }

    /// The key that a token names. Keys are read again when they are old, or when it names one that is not among them.
    async fn key(&self, kid: Option<&str>) -> Result<Jwk, NoBearer> {
        let mut keys = self.keys.lock().await;
        let found = keys.as_ref().and_then(|keys| find(&keys.set, kid));
        let age = keys.as_ref().map(|keys| keys.read.elapsed());
        let is_good = match age {
            None => false,
            Some(age) if found.is_some() => age < KEYS_LIFE,
            Some(age) => age < KEYS_LIFE_MIN,
        };
        if is_good {
            return found.ok_or(NoBearer::Wrong("it names a key that its issuer does not have"));
        }
        let (agent, source) = (self.agent.clone(), self.settings.keys.clone());
        match tokio::task::spawn_blocking(move || read(&agent, &source)).await {
            Ok(Ok(set)) => {
                let found = find(&set, kid);
                *keys = Some(Keys { set, read: Instant::now() });
                found.ok_or(NoBearer::Wrong("it names a key that its issuer does not have"))
            }
            failed => {
                let why = match failed {
                    Ok(Err(why)) => why,
                    Err(why) => why.to_string(),
                    Ok(Ok(_)) => String::new(),
                };
                tracing::error!(why, "the keys of the identity provider cannot be read");
                // Keys that were good go on being good while the provider is away.
                found.ok_or(NoBearer::Unavailable)
            }
        }
    }
}

#[async_trait]
impl Bearers for Oidc {
    async fn name_of(&self, token: &str) -> Result<String, NoBearer> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NoBearer::Wrong("it is too long"));
        }
        let header = decode_header(token).map_err(|_| NoBearer::Wrong("it is no token of an issuer"))?;
        if !is_public(header.alg) {
            return Err(NoBearer::Wrong("its algorithm has no public key"));
        }
        let jwk = self.key(header.kid.as_deref()).await?;
        let says_other =
            jwk.common.key_algorithm.is_some_and(|alg| alg.to_string() != format!("{:?}", header.alg));
        if says_other {
            return Err(NoBearer::Wrong("its algorithm is not that of its key"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| NoBearer::Wrong("its key cannot be used"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let token = decode::<Map<String, Value>>(token, &key, &validation).map_err(|why| {
            use jsonwebtoken::errors::ErrorKind as E;
            NoBearer::Wrong(match why.kind() {
                E::ExpiredSignature => "it has expired",
                E::ImmatureSignature => "it is not good yet",
                E::InvalidIssuer => "it is of another issuer",
                E::InvalidAudience => "it is for somebody else",
                E::InvalidSignature => "its signature is not good",
                _ => "it is not good",
            })
        })?;
        self.name(&token.claims)
    }
}

impl Oidc {
    fn name(&self, claims: &Map<String, Value>) -> Result<String, NoBearer> {
        let claim = self.settings.claim.as_str();
        // An address that nobody has checked can be anybody's.
        if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(NoBearer::Wrong("its issuer has not checked the e-mail address"));
        }
        let name = claims.get(claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        name.map(str::to_owned).ok_or(NoBearer::Wrong("it lacks the claim with the name"))
    }
}

/// Whether an algorithm signs with a private key and is checked with a public one.
const fn is_public(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// The key with this id; without an id the only one, if it is the only one.
fn find(set: &JwkSet, kid: Option<&str>) -> Option<Jwk> {
    let signs = |jwk: &&Jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let mut fitting = set
        .keys
        .iter()
        .filter(signs)
        .filter(|jwk| kid.is_none_or(|kid| jwk.common.key_id.as_deref() == Some(kid)));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}

fn read(agent: &Agent, source: &KeySource) -> Result<JwkSet, String> {
    let bytes = match source {
        KeySource::File(path) => std::fs::read(path).map_err(|why| why.to_string())?,
        KeySource::Url(url) => {
            let response = agent.get(url).call().map_err(|why| why.to_string())?;
            if !response.status().is_success() {
                return Err(format!("{url} answered {}", response.status()));
            }
            let body = response.into_body().into_with_config().limit(KEYS_BYTES_MAX).read_to_vec();
            body.map_err(|why| why.to_string())?
        }
    };
    serde_json::from_slice(&bytes).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    use ota_core::crypto::sign::{Ed25519Signer, Signer as _};
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example";

    fn issuer(seed: u8) -> Ed25519Signer {
        Ed25519Signer::from_seed(&[seed; 32])
    }

    fn key_of(signer: &Ed25519Signer, kid: &str) -> Value {
        let x = Base64UrlUnpadded::encode_string(signer.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "use": "sig", "alg": "EdDSA" })
    }

    fn token(header: &Value, claims: &Value, signer: &Ed25519Signer) -> String {
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = signer.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
    }

    fn now() -> u64 {
        std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
    }

    fn good() -> Value {
        json!({ "iss": ISSUER, "aud": "ota", "sub": "u-7", "exp": now() + 300, "email": "ann@x.example", "name": "" })
    }

    fn oidc(folder: &tempfile::TempDir, keys: &[Value], claim: &str) -> Oidc {
        let path = folder.path().join("keys.json");
        std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
        let settings = OidcSettings {
            issuer: ISSUER.to_owned(),
            audience: "ota".to_owned(),
            keys: KeySource::File(path),
            claim: claim.to_owned(),
        };
        Oidc::new(settings, Inside::Refuse).unwrap()
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "kid": "k1", "typ": "JWT" })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    #[tokio::test]
    async fn a_good_token_gives_a_name_and_every_other_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, others) = (issuer(1), issuer(2));
        let oidc = oidc(&folder, &[key_of(&ours, "k1"), key_of(&others, "k2")], "sub");
        let audiences = with("aud", json!(["x", "ota"]));
        for claims in [good(), audiences, with("exp", json!(now() - 30))] {
            assert_eq!(oidc.name_of(&token(&header(), &claims, &ours)).await, Ok("u-7".to_owned()));
        }
        let wrong_claims = [
            with("exp", json!(now() - 120)),
            with("exp", Value::Null),
            with("nbf", json!(now() + 600)),
            with("iss", json!("https://id.example/")),
            with("aud", json!("other")),
            with("aud", json!([])),
            with("sub", json!(7)),
            with("sub", json!("")),
        ];
        for claims in wrong_claims {
            let outcome = oidc.name_of(&token(&header(), &claims, &ours)).await;
            assert!(matches!(outcome, Err(NoBearer::Wrong(_))), "{claims}: {outcome:?}");
        }
        let none = format!("{}.e30.", Base64UrlUnpadded::encode_string(b"{\"alg\":\"none\"}"));
        let whole = token(&header(), &good(), &ours);
        let (signed, _) = whole.rsplit_once('.').unwrap();
        let wrong = [
            // Signed by another key of the same issuer, or by nobody.
            token(&header(), &good(), &others),
            token(&json!({ "alg": "EdDSA", "kid": "k3" }), &good(), &ours),
            token(&json!({ "alg": "EdDSA" }), &good(), &ours),
            // A public key is no password.
            token(&json!({ "alg": "HS256", "kid": "k1" }), &good(), &ours),
            token(&json!({ "alg": "ES256", "kid": "k1" }), &good(), &ours),
            none,
            format!("{signed}."),
            String::new(),
            "a.b.c".to_owned(),
            "x".repeat(TOKEN_BYTES_MAX + 1),
        ];
        for token in wrong {
            assert!(matches!(oidc.name_of(&token).await, Err(NoBearer::Wrong(_))), "{token}");
        }
    }

    #[tokio::test]
    async fn an_address_counts_only_if_the_issuer_has_checked_it() {
        let folder = tempfile::tempdir().unwrap();
        let oidc = oidc(&folder, &[key_of(&issuer(1), "k1")], "email");
        assert!(oidc.name_of(&token(&header(), &good(), &issuer(1))).await.is_err());
        let checked = with("email_verified", json!(true));
        let name = oidc.name_of(&token(&header(), &checked, &issuer(1))).await;
        assert_eq!(name, Ok("ann@x.example".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn new_keys_are_found_and_the_issuer_is_not_asked_for_each_bad_token() {
        let folder = tempfile::tempdir().unwrap();
        let oidc = oidc(&folder, &[key_of(&issuer(1), "k1")], "sub");
        let next = token(&json!({ "alg": "EdDSA", "kid": "k2" }), &good(), &issuer(2));
        assert!(oidc.name_of(&next).await.is_err());
        let path = folder.path().join("keys.json");
        std::fs::write(&path, json!({ "keys": [key_of(&issuer(2), "k2")] }).to_string()).unwrap();
        assert!(oidc.name_of(&next).await.is_err(), "the keys were read a moment ago");
        tokio::time::advance(KEYS_LIFE_MIN).await;
        assert_eq!(oidc.name_of(&next).await, Ok("u-7".to_owned()));
        // The issuer is away: what was good stays good, and what is unknown is nobody's fault.
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(KEYS_LIFE).await;
        assert_eq!(oidc.name_of(&next).await, Ok("u-7".to_owned()));
        let unknown = token(&header(), &good(), &issuer(1));
        assert_eq!(oidc.name_of(&unknown).await, Err(NoBearer::Unavailable));
    }
}
