//! The HTTP API: one route for each command and query of the [`Server`], as a router that any axum service can mount.
//!
//! Every route under `/api/v1` needs a bearer token or a session, but for those where one gets either; who may do what is
//! decided by the commands themselves, so that HTTP cannot be more generous than an embedding program. Bodies are JSON
//! with known fields only, bounded in size; errors are problem documents (RFC 9457). [`ROUTES`] lists what there is.
//!
//! ```no_run
//! # async fn run(server: ota_server::Server) -> std::io::Result<()> {
//! let router = ota_server::http::router(server, ota_server::http::Options::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8480").await?;
//! axum::serve(listener, router).await
//! # }
//! ```
//!
//! To slow down those who guess passwords from one address it must be told the address: serve it with
//! `into_make_service_with_connect_info::<SocketAddr>()`.
//!
//! It refuses to do: TLS (put it into the listener, or a proxy in front, and set [`Options::public_url`]).

mod answer;
pub(crate) mod auth;
pub mod body;
mod campaigns;
mod devices;
pub(crate) mod enrolments;
mod export;
mod groups;
mod idempotency;
mod input;
mod limiter;
mod list;
mod live;
mod metrics;
mod openapi;
mod people;
mod problem;
mod products;
mod releases;
mod routes;
mod sessions;
mod system;
pub(crate) mod trace;
mod uploads;
mod versions;

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;

use self::body::InstallationView;
use crate::server::Server;

pub use self::auth::{Bearers, NoBearer, invitation_link, parse_token, token_text};
pub(crate) use self::input::unhex;
pub use self::input::{JSON_BYTES_MAX, hex};
#[cfg(feature = "program")]
pub(crate) use self::problem::NOT_FOUND;
pub use self::problem::Problem;
pub(crate) use self::problem::chain;
pub use self::routes::{PUBLIC_ROUTES, ROUTES, openapi};
#[cfg(feature = "program")]
pub(crate) use self::uploads::{ELSEWHERE as UPLOAD_ELSEWHERE, OVERTAKEN as UPLOAD_OVERTAKEN};

/// Tells whether something besides the store is not ready, and why.
pub type ReadyCheck = dyn Fn() -> Result<(), String> + Send + Sync;

/// How the API is set up.
#[derive(Clone)]
pub struct Options {
    /// Largest file that can be uploaded, in bytes.
    pub file_bytes_max: u64,
    /// Where uploads that go on over several requests are gathered: a folder of this process alone. What a killed process
    /// has left there is gone on with. `None` takes one among the system's temporary folders, which goes with the router.
    pub staging: Option<PathBuf>,
    /// How much such uploads may hold together, in bytes; at least one of the largest files always fits.
    pub staged_bytes_max: u64,
    /// How long an upload that goes on over several requests may rest before it is dropped.
    pub upload_idle_max: Duration,
    /// What `GET /api/v1/installation` tells.
    pub installation: InstallationView,
    /// Whether everything besides the store is ready, for `GET /health/ready`.
    pub ready: Arc<ReadyCheck>,
    /// Where people reach it, such as `https://ota.example`, without a path. With `https` sessions travel over TLS only.
    pub public_url: Option<String>,
    /// Tells whose bearer tokens of elsewhere are; `None` takes only tokens that were made here.
    pub bearers: Option<Arc<dyn Bearers>>,
}

impl Options {
    fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

impl Default for Options {
    /// 4 GiB for a file, 16 GiB for unfinished uploads, 15 minutes for one that rests, nothing told about the installation, ready when the store is.
    fn default() -> Self {
        Self {
            file_bytes_max: 4 << 30,
            staging: None,
            staged_bytes_max: 16 << 30,
            upload_idle_max: Duration::from_secs(15 * 60),
            installation: InstallationView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                assignment_key: None,
                devices: Vec::new(),
            },
            ready: Arc::new(|| Ok(())),
            public_url: None,
            bearers: None,
        }
    }
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) server: Server,
    pub(crate) options: Arc<Options>,
    limiter: Arc<limiter::Limiter>,
    answers: Arc<idempotency::Answers>,
    live: Arc<live::Live>,
    requests: Arc<metrics::Requests>,
    uploads: Arc<uploads::Uploads>,
}

/// The API as a router. Mount it at the root of a host, or nest it.
pub fn router(server: Server, options: Options) -> Router {
    router_with(server, options, Router::new())
}

/// The API with more beside it, all behind the same guard.
pub(crate) fn router_with(server: Server, options: Options, more: Router<Api>) -> Router {
    let uploads = uploads::Uploads::open(&options, &hex(&server.random::<16>()));
    let api = Api {
        server,
        options: Arc::new(options),
        limiter: Arc::default(),
        answers: Arc::default(),
        live: Arc::default(),
        requests: Arc::default(),
        uploads,
    };
    routes::router(api, more)
}
