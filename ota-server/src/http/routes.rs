//! All routes in one table. What is not in it does not exist, and a test asks each of them as everybody.

use std::sync::OnceLock;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::routing::{delete, get, patch, post, put};
use axum::{Router, middleware};

use serde_json::Value;

use super::auth::Visitor;
use super::openapi::{self, Route, describe};
use super::{
    Api, Problem, auth, campaigns, devices, enrolments, export, groups, idempotency, input, live, metrics,
    people, products, releases, sessions, system, trace, uploads,
};

/// Makes a table of routes, a router and descriptions from one list, so that they cannot differ.
macro_rules! routes {
    ($(#[$doc:meta])* $table:ident, $router:ident, $described:ident:
        $($method:ident $path:literal, $about:literal => $handler:path,)+
    ) => {
        $(#[$doc])*
        pub const $table: &[(&str, &str)] = &[$((stringify!($method), $path)),+];

        fn $router() -> Router<Api> {
            Router::new()$(.route($path, $method($handler)))+
        }

        const $described: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            about: $about,
            handler: stringify!($handler),
            describe: |operation| describe($handler, operation),
        }),+];
    };
}

routes! {
    /// Every route that anybody can call: its method and its path. Here people show a password or an invitation.
    PUBLIC_ROUTES, public, DESCRIBED_PUBLIC:
    post "/api/v1/sign-in", "Sign in with a password: begins a session" => sessions::sign_in,
    post "/api/v1/own-tokens", "Make a token for one's own programs, by password" => sessions::create_own_token,
    post "/api/v1/accept-invitation", "Set a password by an invitation, once" => sessions::accept_invitation,
}

routes! {
    /// Every route that needs a token or a session: its method and its path.
    ROUTES, authenticated, DESCRIBED:
    get "/api/v1/whoami", "Tell who calls, and what they may do with what they showed" => system::who_am_i,
    get "/metrics", "Tell figures for Prometheus" => metrics::metrics,
    post "/api/v1/sign-out", "End the session that the request comes from" => sessions::sign_out,
    put "/api/v1/password", "Change one's own password; all sessions end" => sessions::change_password,
    get "/api/v1/installation", "Tell what callers need to know of the installation" => system::installation,
    get "/api/v1/audit", "List entries of the audit chain" => system::audit,
    get "/api/v1/audit/verified", "Check that no entry of the audit chain was changed, removed or put in between" => system::verify_audit,
    post "/api/v1/audit/verified", "Check the audit chain, and hold it to checkpoints that were kept elsewhere" => system::verify_checkpoints,
    get "/api/v1/audit/export", "Export the audit chain as CSV or JSON" => export::audit,
    post "/api/v1/stop-everything", "Stop all campaigns, of a product or of all" => system::stop_everything,
    post "/api/v1/sweep-files", "Remove files that nothing refers to" => system::sweep_files,
    post "/api/v1/store/compact", "Give back the room that the store does not need any more, while it serves" => system::compact,
    post "/api/v1/store/backups", "Write a copy of the store, while it serves" => system::back_up,
    get "/api/v1/store/recounted", "Count all records, and compare with the counters that pages show" => system::recount,
    get "/api/v1/people", "List people and programs" => people::list,
    get "/api/v1/people/{name}", "Show a person or program" => people::show,
    put "/api/v1/people/{name}", "Make or change a person or program" => people::set,
    post "/api/v1/people/{name}/invitation", "Make a link with which somebody sets a password" => sessions::invite,
    delete "/api/v1/people/{name}/sessions", "End all of somebody's sessions" => sessions::end_all,
    get "/api/v1/people/{name}/tokens", "List somebody's tokens and sessions" => people::tokens,
    post "/api/v1/people/{name}/tokens", "Make a token for somebody" => people::create_token,
    delete "/api/v1/tokens/{name}", "Take a token away, or end a session" => people::remove_token,
    get "/api/v1/products", "List products" => products::list,
    post "/api/v1/products", "Make a product" => products::create,
    get "/api/v1/products/{product}", "Show a product" => products::show,
    get "/api/v1/products/{product}/fleet", "Tell how many devices have which revision, and when they were heard" => products::fleet,
    get "/api/v1/products/{product}/fleet/events", "Watch how the fleet stands" => live::product,
    get "/api/v1/products/{product}/course", "Tell how the fleet has developed" => products::course,
    get "/api/v1/products/{product}/root", "Get the newest root, as devices are provisioned with it" => products::root,
    post "/api/v1/products/{product}/roots", "Bring a root" => products::add_root,
    get "/api/v1/products/{product}/devices", "List devices" => devices::list,
    get "/api/v1/products/{product}/devices/export", "Export devices as CSV or JSON" => export::devices,
    post "/api/v1/products/{product}/devices", "Register devices" => devices::register,
    get "/api/v1/products/{product}/groups", "List groups of devices" => groups::list,
    get "/api/v1/products/{product}/groups/{group}", "Show a group" => groups::show,
    put "/api/v1/products/{product}/groups/{group}", "Make a group, or give it another expression" => groups::set,
    delete "/api/v1/products/{product}/groups/{group}", "Remove a group; its devices stay" => groups::remove,
    get "/api/v1/products/{product}/enrolments", "List what lets devices register themselves" => enrolments::list,
    post "/api/v1/products/{product}/enrolments", "Let devices register themselves, by certificates or by a token" => enrolments::enrol,
    delete "/api/v1/products/{product}/enrolments/{enrolment}", "Take an enrolment back; registered devices stay" => enrolments::remove,
    post "/api/v1/products/{product}/files", "Upload a file" => releases::upload,
    post "/api/v1/products/{product}/uploads", "Begin an upload that can be gone on with after it broke off" => uploads::begin,
    get "/api/v1/uploads/{upload}", "Tell how much of an upload has arrived" => uploads::show,
    patch "/api/v1/uploads/{upload}", "Send the next piece of an upload" => uploads::append,
    delete "/api/v1/uploads/{upload}", "Drop an upload" => uploads::remove,
    get "/api/v1/products/{product}/releases", "List releases" => releases::list,
    post "/api/v1/products/{product}/releases", "Make a draft of a release" => releases::draft,
    get "/api/v1/products/{product}/campaigns", "List campaigns, newest first" => campaigns::list,
    post "/api/v1/products/{product}/campaigns", "Make a draft of a campaign" => campaigns::draft,
    post "/api/v1/products/{product}/dry-run", "Tell what a campaign would do" => campaigns::dry_run,
    get "/api/v1/devices/{device}", "Show what a device runs, its history, and why it has not got an update" => devices::show,
    get "/api/v1/devices/{device}/why-not", "Tell why a device has not got a campaign's release" => devices::why_not,
    get "/api/v1/devices/{device}/tags", "Show a device's tags" => devices::tags,
    put "/api/v1/devices/{device}/tags", "Replace a device's tags" => devices::tag,
    post "/api/v1/devices/{device}/revoke", "Take a device's credentials away" => devices::revoke,
    post "/api/v1/devices/{device}/erase", "Erase what is known of a device, for good" => devices::erase,
    post "/api/v1/devices/{device}/quarantine", "Set a device apart until somebody releases it" => devices::quarantine,
    post "/api/v1/devices/{device}/release", "End a device's quarantine" => devices::release,
    put "/api/v1/devices/{device}/pin", "Pin a device to what it runs" => devices::pin,
    delete "/api/v1/devices/{device}/pin", "Let campaigns change again what a device runs" => devices::unpin,
    get "/api/v1/releases/{release}", "Show a release" => releases::show,
    get "/api/v1/releases/{release}/body", "Get the exact bytes that are signed" => releases::release_body,
    post "/api/v1/releases/{release}/fix", "Fix the body of a draft, so that it can be signed" => releases::fix,
    post "/api/v1/releases/{release}/signatures", "Bring signatures of a release" => releases::sign,
    post "/api/v1/releases/{release}/withdraw", "Withdraw a release" => releases::withdraw,
    get "/api/v1/campaigns/{campaign}", "Show a campaign and how it fares" => campaigns::show,
    get "/api/v1/campaigns/{campaign}/events", "Watch how a campaign fares" => live::campaign,
    put "/api/v1/campaigns/{campaign}", "Edit a draft of a campaign; approvals are void" => campaigns::edit,
    get "/api/v1/campaigns/{campaign}/failures", "Group the devices that failed by cause, former revision and hardware" => campaigns::failures,
    post "/api/v1/campaigns/{campaign}/approve", "Approve the content that was shown" => campaigns::approve,
    post "/api/v1/campaigns/{campaign}/amendment", "Ask for a change of a running campaign" => campaigns::amend,
    delete "/api/v1/campaigns/{campaign}/amendment", "Take a change back that waits for consent" => campaigns::drop_amendment,
    post "/api/v1/campaigns/{campaign}/amendment/consent", "Consent to the change that was shown" => campaigns::consent,
    post "/api/v1/campaigns/{campaign}/prepare", "Make the snapshot of devices that a campaign waits for" => campaigns::prepare,
    post "/api/v1/campaigns/{campaign}/start", "Start an approved campaign" => campaigns::start,
    post "/api/v1/campaigns/{campaign}/promote", "Bring a release from its trial to the fleet" => campaigns::promote,
    post "/api/v1/campaigns/{campaign}/retry", "Let devices try again that have failed" => campaigns::retry,
    post "/api/v1/campaigns/{campaign}/devices/{device}/retry", "Let a device try again that has failed" => campaigns::retry_device,
    post "/api/v1/campaigns/{campaign}/pause", "Pause a campaign" => campaigns::pause,
    post "/api/v1/campaigns/{campaign}/resume", "Go on with a paused campaign" => campaigns::resume,
    post "/api/v1/campaigns/{campaign}/stop", "Stop a campaign" => campaigns::stop,
}

/// The description of the API (OpenAPI 3.1), made from the handlers. It is the same for every server of this version.
pub fn openapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::document(DESCRIBED_PUBLIC, DESCRIBED))
}

pub(super) fn router(api: Api, more: Router<Api>) -> Router {
    // What is behind `somebody` cannot be reached by nobody, whatever its handler asks for.
    let authenticated = authenticated()
        .route_layer(middleware::from_fn(input::taken_whole))
        .route_layer(middleware::from_fn_with_state(api.clone(), idempotency::once))
        .route_layer(middleware::from_fn(auth::somebody));
    Router::new()
        .route("/healthz", get(system::live))
        .route("/readyz", get(system::ready))
        .route("/health/live", get(system::live))
        .route("/health/ready", get(system::ready))
        .route("/openapi.json", get(system::openapi))
        .merge(public().route_layer(middleware::from_fn(input::taken_whole)))
        .merge(authenticated)
        .merge(more)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(input::JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), auth::guard))
        .layer(middleware::from_fn_with_state(api.clone(), trace::trace))
        .with_state(api)
}

/// Nobody learns which routes there are.
async fn no_route(Visitor(who): Visitor, request: Request) -> Problem {
    let path = request.uri().path();
    if who.is_none() && path.starts_with("/api/") {
        return Problem::unauthenticated("the request has neither a token nor a session");
    }
    Problem::not_found(format!("there is nothing at {path}"))
}

async fn no_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "This method does not fit",
        format!("{} does not take {}", request.uri().path(), request.method()),
        "use a method that the route takes",
    )
}
