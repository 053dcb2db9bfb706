//! Requests that the server itself makes: files of other hosts, and webhooks. Their addresses come from people, so none of
//! them may reach what only the server can reach: loopback, private networks, the metadata service of a cloud.
//!
//! What counts is the address that is connected to, not the name: each connection, after each redirect too, resolves its name
//! here and goes to exactly the addresses that were checked. So a name that changes its mind between two look-ups gains
//! nothing. Proxies of the environment are not used: they would resolve names themselves.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::io::{self, Read as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::BoxError;
use ota_core::text::UrlBuf;
use ureq::config::Config;
use ureq::http::{StatusCode, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::delivery::fetch::Fetcher;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long one request may take, its answer included.
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// How often one request may be sent elsewhere.
const REDIRECTS_MAX: u32 = 3;

/// Whether requests may go to inside networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// They may: whoever may write URLs is trusted with the network.
    Allow,
    /// They may not.
    Refuse,
}

/// Whether an address is one of the public internet, so that reaching it through the server gives nobody anything.
#[must_use]
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special-purpose registry of IPv4 (RFC 6890 and its successors) is inside.
const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_special
}

/// Of IPv6 only global unicast is public, and of that nothing that leads to an IPv4 address or to nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, ..] = address.segments();
    let is_global = (0x2000..=0x3fff).contains(&a);
    // Protocol assignments with Teredo, documentation, 6to4, documentation.
    let is_special = match a {
        0x2001 => b < 0x200 || b == 0xdb8,
        0x2002 => true,
        0x3fff => b < 0x1000,
        _ => false,
    };
    is_global && !is_special
}

/// Resolves names, and refuses those that lead to an address that must not be reached.
#[derive(Debug)]
struct GuardedResolver<R> {
    inner: R,
    may_reach: fn(IpAddr) -> bool,
}

impl<R: Resolver> Resolver for GuardedResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = self.inner.resolve(uri, config, timeout)?;
        if let Some(inside) = addresses.iter().find(|address| !(self.may_reach)(address.ip())) {
            // One is enough: a host that is both is a host that tries something.
            let why = format!(
                "{} is at {}, inside a network that requests of the server must not reach; allow it with the setting \
                 `calls.inside_networks`",
                uri.host().unwrap_or_default(),
                inside.ip()
            );
            return Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        Ok(addresses)
    }
}

/// An agent whose requests stay outside, if they must.
#[must_use]
pub(super) fn agent(inside: Inside) -> Agent {
    let may_reach = match inside {
        Inside::Allow => |_| true,
        Inside::Refuse => is_public,
    };
    guarded(GuardedResolver { inner: DefaultResolver::default(), may_reach })
}

fn guarded(resolver: impl Resolver) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls =
        TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(machine_roots()).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .proxy(None)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_global(Some(REQUEST_MAX))
        .tls_config(tls)
        .build();
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// The authorities that the machine trusts.
fn machine_roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    for why in &found.errors {
        tracing::warn!(%why, "an authority of the machine cannot be read");
    }
    let certificates: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}

/// Fetches parts of files over HTTP.
pub struct HttpFetcher(Agent);

impl HttpFetcher {
    /// A fetcher whose requests stay outside, if they must.
    #[must_use]
    pub fn new(inside: Inside) -> Self {
        Self(agent(inside))
    }
}

#[async_trait]
impl Fetcher for HttpFetcher {
    async fn fetch(&self, url: &UrlBuf, offset: u64, length: u64) -> Result<Bytes, BoxError> {
        let (agent, url) = (self.0.clone(), url.as_str().to_owned());
        tokio::task::spawn_blocking(move || piece(&agent, &url, offset, length)).await?
    }
}

/// A piece of a file; empty behind its end.
fn piece(agent: &Agent, url: &str, offset: u64, length: u64) -> Result<Bytes, BoxError> {
    let last = offset.saturating_add(length).saturating_sub(1);
    let response = agent.get(url).header(header::RANGE, format!("bytes={offset}-{last}")).call()?;
    let begins = match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Bytes::new()),
        // A host without ranges sends everything: what is wanted of that is its beginning.
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
            range.and_then(begin_of).ok_or("the host does not say which part of the file it sent")?
        }
        other => return Err(format!("the host answered {other}").into()),
    };
    if begins != offset {
        return Err("the host sent another part of the file than was asked for; does it know ranges?".into());
    }
    let mut bytes = Vec::new();
    response.into_body().into_reader().take(length).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Where `bytes 100-199/1000` begins (RFC 9110, section 14.4).
fn begin_of(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn inside_addresses_are_told_from_public_ones() {
        let inside = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
        ];
        for address in inside {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.169.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// Answers each request with the next of these texts; the port.
    fn host(answers: Vec<String>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = io::Read::read(&mut connection, &mut request).unwrap();
                connection.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).unwrap();
            }
        });
        port
    }

    #[test]
    fn no_spelling_of_an_inside_address_is_reached() {
        let port = host(Vec::new());
        for name in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0",
        ] {
            let refused = agent(Inside::Refuse).get(format!("http://{name}:{port}/")).call().unwrap_err();
            // Either it is no address at all, or it is known for what it is.
            let is_denied =
                matches!(&refused, Error::Io(why) if why.kind() == io::ErrorKind::PermissionDenied);
            let is_nothing = matches!(&refused, Error::HostNotFound | Error::BadUri(_) | Error::Http(_))
                || matches!(&refused, Error::Io(why) if why.kind() != io::ErrorKind::ConnectionRefused);
            assert!(is_denied || is_nothing, "{name}: {refused:?}");
        }
    }

    /// Says that every name is at the next of these addresses.
    #[derive(Debug)]
    struct Fickle(Mutex<Vec<Ipv4Addr>>);

    impl Resolver for Fickle {
        fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            let address = self.0.lock().unwrap().remove(0);
            let mut addresses = self.empty();
            addresses.push((address, uri.port_u16().unwrap()).into());
            Ok(addresses)
        }
    }

    #[test]
    fn neither_a_redirect_nor_a_name_that_changes_its_mind_leads_inside() {
        const OUTSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
        const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
        let fickle = |addresses: &[Ipv4Addr]| {
            let may_reach = |address| address == IpAddr::V4(OUTSIDE);
            guarded(GuardedResolver { inner: Fickle(Mutex::new(addresses.to_vec())), may_reach })
        };
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        // One look-up is all that a connection makes: a second one would be of the address inside.
        let port = host(vec![good.to_owned()]);
        let outcome = fickle(&[OUTSIDE, INSIDE]).get(format!("http://name.example:{port}/")).call();
        assert_eq!(outcome.unwrap().status(), 200);
        for (status, next) in [(302, "name.example"), (307, "name.example"), (301, "inside.example")] {
            let port = host(vec![
                "HTTP/1.1 STATUS Over There\r\nlocation: http://NEXT:PORT/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    .replace("STATUS", &status.to_string())
                    .replace("NEXT", next),
                good.to_owned(),
            ]);
            let refused = fickle(&[OUTSIDE, INSIDE]).get(format!("http://name.example:{port}/")).call();
            let is_denied =
                matches!(&refused, Err(Error::Io(why)) if why.kind() == io::ErrorKind::PermissionDenied);
            assert!(is_denied, "{status} {next}: {refused:?}");
        }
    }

    #[test]
    fn a_part_is_taken_for_what_the_host_says_it_is() {
        let answer = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        };
        let port = host(vec![
            answer("206 Partial Content\r\ncontent-range: bytes 4-7/10", "4567"),
            answer("206 Partial Content\r\ncontent-range: bytes 0-3/10", "0123"),
            answer("200 OK", "0123456789"),
            answer("200 OK", "0123456789"),
            answer("416 Range Not Satisfiable", ""),
            answer("500 Oops", ""),
        ]);
        let (agent, url) = (agent(Inside::Allow), format!("http://127.0.0.1:{port}/f"));
        let of = |offset, length| piece(&agent, &url, offset, length).map_err(|why| why.to_string());
        assert_eq!(of(4, 4), Ok(Bytes::from_static(b"4567")));
        assert!(of(4, 4).unwrap_err().contains("another part"));
        assert_eq!(of(0, 4), Ok(Bytes::from_static(b"0123")));
        assert!(of(4, 4).unwrap_err().contains("another part"));
        assert_eq!(of(10, 1), Ok(Bytes::new()));
        assert!(of(0, 4).unwrap_err().contains("500"));
    }
}
