//! The command line's end of the HTTP API, and where it keeps the address and the token of a server.

use core::time::Duration;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::Failure;
use super::keys::write_secret;
use crate::http::Problem;
use crate::http::body::{Items, UploadView};

/// Where a server that nothing else is known of is looked for.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8480";
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Entries of a list that are asked for at once.
const PAGE: usize = 500;
/// The exit code for a server that cannot be reached.
pub(super) const UNREACHABLE: u8 = 3;
const BYTES: &str = "application/octet-stream";

/// What `ota login` keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Login {
    server: Option<String>,
    token: Option<String>,
    ca: Option<PathBuf>,
}

impl Login {
    /// Who the command line speaks for: what is given counts more than what was kept.
    pub(super) fn new(server: Option<String>, token: Option<String>, ca: Option<PathBuf>) -> Self {
        let kept = Self::kept();
        // A token is for the server that it was kept for, and is never sent to another.
        let is_same = server.is_none() || server == kept.server;
        Self {
            token: token.or_else(|| kept.token.filter(|_| is_same)),
            ca: ca.or_else(|| kept.ca.filter(|_| is_same)),
            server: server.or(kept.server),
        }
    }

    /// The same with another token.
    pub(super) fn with_token(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }

    fn kept() -> Self {
        let text = file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// Keeps it for later commands, readable by its owner only; returns where.
    pub(super) fn keep(&self) -> Result<PathBuf, Failure> {
        let way_out = "set XDG_CONFIG_HOME or HOME, or use OTA_SERVER and OTA_TOKEN instead";
        let path = file().ok_or_else(|| Failure::new("there is no place to keep the token", way_out))?;
        let failed = |why: std::io::Error| {
            Failure::caused(format_args!("cannot write {}", path.display()), &why, way_out)
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = toml::to_string(self).map_err(|why| Failure::caused("cannot keep the token", &why, ""))?;
        let fresh = path.with_extension("new");
        let _ = std::fs::remove_file(&fresh);
        write_secret(&fresh, text.as_bytes())?;
        std::fs::rename(&fresh, &path).map_err(failed)?;
        Ok(path)
    }

    /// A client for it.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let server = self.server.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        Client::new(&server, self.token.as_deref(), self.ca.as_deref())
    }
}

fn file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("ota/login.toml"))
}

/// Speaks to a server.
pub struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

impl Client {
    /// A client for the server at this address; `ca` is a PEM file with the authorities of its certificate.
    ///
    /// # Errors
    /// [`Failure`] if the address or the file is not what it should be.
    pub fn new(server: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Self, Failure> {
        if !server.starts_with("http://") && !server.starts_with("https://") {
            let way_out = "give an address such as http://127.0.0.1:8480 with --server";
            return Err(Failure::new(format!("{server:?} is no address of a server"), way_out));
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls =
            TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(authorities(ca)?);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .tls_config(tls.build())
            .build();
        Ok(Self {
            agent: config.new_agent(),
            base: server.trim_end_matches('/').to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
        })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`Failure`] with what the server says, or exit code 3 if it cannot be reached.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        json(self.run(Method::GET, path, &[], SendBody::none())?)
    }

    /// Asks for a list, page by page until its end. `path` may have a query.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Items<T>, Failure> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut page: Items<T> = self.get(&format!("{path}{joint}limit={PAGE}"))?;
        let mut items = Vec::new();
        loop {
            items.append(&mut page.items);
            let Some(after) = page.next else { return Ok(Items { items, next: None }) };
            page = self.get(&format!("{path}{joint}limit={PAGE}&after={}", segment(&after)))?;
        }
    }

    /// Asks for bytes.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        read(self.run(Method::GET, path, &[], SendBody::none())?)
    }

    /// Copies an answer of any length as it comes.
    ///
    /// # Errors
    /// [`Failure`]; a part of it may have been written.
    pub(super) fn copy(&self, path: &str, to: &mut dyn Write) -> Result<(), Failure> {
        let mut body = self.run(Method::GET, path, &[], SendBody::none())?.into_body();
        match std::io::copy(&mut body.as_reader(), to) {
            // Whoever has read enough and left, as `head` does, is no failure.
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::caused("the answer broke off or cannot be written", &why, "try again"))
            }
            _ => Ok(()),
        }
    }

    /// Tells the server to remove something, and takes what it says about that.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        json(self.with_json(Method::DELETE, path, &())?)
    }

    /// Where the server is.
    pub(super) fn address(&self) -> &str {
        &self.base
    }

    /// Tells the server to do something that answers with JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        json(self.with_json(Method::POST, path, body)?)
    }

    /// Tells the server to do something that answers with nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn tell(&self, method: Method, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.with_json(method, path, body).map(drop)
    }

    /// Sends bytes as they come from a reader. `length` is their number.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<T, Failure> {
        let length = length.to_string();
        let headers = [("content-type", BYTES), ("content-length", &length)];
        json(self.run(Method::POST, path, &headers, SendBody::from_reader(bytes))?)
    }

    /// Sends the rest of an upload: everything from `offset` on, of which there are `length` bytes.
    ///
    /// # Errors
    /// [`Failure`]; exit code 3 if the connection broke off.
    pub(super) fn send_rest(
        &self,
        path: &str,
        (offset, length): (u64, u64),
        bytes: &mut dyn Read,
    ) -> Result<UploadView, Failure> {
        let (offset, length) = (offset.to_string(), length.to_string());
        let headers = [
            ("content-type", BYTES),
            ("content-length", &*length),
            // Whoever is refused does not send it all for nothing.
            ("expect", "100-continue"),
            ("upload-offset", &offset),
            ("upload-complete", "?1"),
        ];
        json(self.run(Method::PATCH, path, &headers, SendBody::from_reader(bytes))?)
    }

    fn with_json(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response<Body>, Failure> {
        let bytes =
            serde_json::to_vec(body).map_err(|why| Failure::caused("cannot write the request", &why, ""))?;
        self.run(method, path, &[("content-type", "application/json")], bytes.as_slice())
    }

    fn run(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut body = body;
        let request = request.body(body.as_body()).map_err(|why| {
            Failure::caused("the request cannot be made", &why, "check --server and the ids")
        })?;
        let response = self.agent.run(request).map_err(|why| {
            let way_out =
                "is it running? Start one with `ota serve`, or say where it is with --server or OTA_SERVER";
            Failure::caused(format_args!("cannot reach the server at {}", self.base), &why, way_out)
                .with_exit_code(UNREACHABLE)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = read(response)?;
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if status == 401 => {
                let way_out =
                    "sign in with `ota login --name NAME` or `ota login --token TOKEN`, or set OTA_TOKEN";
                Err(Failure::new(format!("{} ({})", problem.detail, problem.title), way_out))
            }
            Ok(problem) => Err(problem.into()),
            Err(_) => {
                let way_out = "is this the address of an ota server?";
                Err(Failure::new(format!("{} answered {status} to {path}", self.base), way_out))
            }
        }
    }
}

fn authorities(ca: Option<&Path>) -> Result<RootCerts, Failure> {
    let Some(path) = ca else { return Ok(RootCerts::new_with_certs(&[])) };
    let wrong = |why: &dyn core::error::Error| {
        Failure::caused(format_args!("{} cannot be used", path.display()), why, "give a PEM file with --ca")
    };
    let pem = std::fs::read(path).map_err(|why| wrong(&why))?;
    let found = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(why) => Some(Err(why)),
    });
    let certificates: Vec<Certificate<'static>> =
        found.collect::<Result<_, _>>().map_err(|why| wrong(&why))?;
    Ok(RootCerts::new_with_certs(&certificates))
}

fn read(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let bytes = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    bytes
        .map_err(|why| Failure::caused("the answer broke off", &why, "try again").with_exit_code(UNREACHABLE))
}

fn json<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    let bytes = read(response)?;
    serde_json::from_slice(&bytes).map_err(|why| {
        let way_out = "the server may be of another version than this program";
        Failure::caused("the answer cannot be understood", &why, way_out)
    })
}

/// A part of a path: what a URL would take for something else is escaped (RFC 3986, section 2.1).
pub(super) fn segment(text: &str) -> String {
    use core::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_cannot_change_the_path() {
        assert_eq!(segment("00:11"), "00%3A11");
        assert_eq!(segment("gerät?x=/.."), "ger%C3%A4t%3Fx%3D%2F..");
    }
}
