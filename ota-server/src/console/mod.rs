//! Pages for people: the fleet, its campaigns, devices and packages, rendered on the server.
//!
//! Pages call the commands and queries of [`Server`] as whoever is signed in, so they can do nothing that the API could
//! not, and nothing in here touches a store. Everything works without scripts but dropping files onto a form; with the
//! one script that there is, pages stay current by themselves. No page refers to anything outside the program.
//!
//! ```no_run
//! # async fn run(server: ota_server::Server) -> std::io::Result<()> {
//! let router = ota_server::console::router(server, ota_server::http::Options::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8480").await?;
//! axum::serve(listener, router).await
//! # }
//! ```

mod administration;
mod approvals;
mod assets;
mod audit;
mod campaign;
mod charts;
mod device;
mod edit_campaign;
mod enrolments;
mod form;
mod groups;
mod home;
mod keys;
mod new_campaign;
mod overview;
mod page;
mod parts;
mod product;
mod release;
mod routes;
mod sign_in;
mod stop;
mod trouble;
mod upload;
mod verb;
mod viewer;

use axum::Router;

use crate::http::Options;
use crate::server::Server;

/// The API with the pages beside it. Mount it at the root of a host: pages refer to each other by their whole paths.
pub fn router(server: Server, options: Options) -> Router {
    crate::http::router_with(server, options, routes::router())
}
