//! The HTTP API: one route for each command and query of the [`Server`], as a router that any axum service can mount.
//!
//! Every route under `/api/v1` needs a bearer token; who may do what is decided by the commands themselves, so that HTTP
//! cannot be more generous than an embedding program. Bodies are JSON with known fields only, bounded in size;
//! errors are problem documents (RFC 9457). [`ROUTES`] lists what there is.
//!
//! ```no_run
//! # async fn run(server: ota_server::Server) -> std::io::Result<()> {
//! let router = ota_server::http::router(server, ota_server::http::Options::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8480").await?;
//! axum::serve(listener, router).await
//! # }
//! ```
//!
//! It refuses to do: TLS (put it into the listener, or a proxy in front), passwords and sessions (tokens only).

mod auth;
pub mod body;
mod campaigns;
mod devices;
mod input;
mod people;
mod problem;
mod products;
mod releases;
mod routes;
mod system;
mod trace;

use std::sync::Arc;

use axum::Router;

use self::body::InstallationView;
use crate::server::Server;

pub use self::auth::{parse_token, token_text};
#[cfg(feature = "program")]
pub(crate) use self::input::unhex;
pub use self::input::{JSON_BYTES_MAX, hex};
pub use self::problem::Problem;
pub(crate) use self::problem::chain;
pub use self::routes::ROUTES;

/// Tells whether something besides the store is not ready, and why.
pub type ReadyCheck = dyn Fn() -> Result<(), String> + Send + Sync;

/// How the API is set up.
#[derive(Clone)]
pub struct Options {
    /// Largest file that can be uploaded, in bytes.
    pub file_bytes_max: u64,
    /// What `GET /api/v1/installation` tells.
    pub installation: InstallationView,
    /// Whether everything besides the store is ready, for `GET /health/ready`.
    pub ready: Arc<ReadyCheck>,
}

impl Default for Options {
    /// 4 GiB for a file, nothing told about the installation, ready when the store is.
    fn default() -> Self {
        Self {
            file_bytes_max: 4 << 30,
            installation: InstallationView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                assignment_key: None,
                devices: Vec::new(),
            },
            ready: Arc::new(|| Ok(())),
        }
    }
}

/// What handlers share.
#[derive(Clone)]
struct Api {
    server: Server,
    options: Arc<Options>,
}

/// The API as a router. Mount it at the root of a host, or nest it.
pub fn router(server: Server, options: Options) -> Router {
    routes::router(Api { server, options: Arc::new(options) })
}
