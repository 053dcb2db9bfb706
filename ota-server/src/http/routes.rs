//! All routes in one table. What is not in it does not exist, and a test asks each of them as everybody.

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Router, middleware};

use super::auth::Visitor;
use super::{
    Api, Problem, auth, campaigns, devices, input, people, products, releases, sessions, system, trace,
};

/// Makes a table of routes and a router from one list, so that they cannot differ.
macro_rules! routes {
    ($(#[$doc:meta])* $table:ident, $router:ident: $($method:ident $path:literal => $handler:expr,)+) => {
        $(#[$doc])*
        pub const $table: &[(&str, &str)] = &[$((stringify!($method), $path)),+];

        fn $router() -> Router<Api> {
            Router::new()$(.route($path, $method($handler)))+
        }
    };
}

routes! {
    /// Every route that anybody can call: its method and its path. Here people show a password or an invitation.
    PUBLIC_ROUTES, public:
    post "/api/v1/sign-in" => sessions::sign_in,
    post "/api/v1/own-tokens" => sessions::create_own_token,
    post "/api/v1/accept-invitation" => sessions::accept_invitation,
}

routes! {
    /// Every route that needs a token or a session: its method and its path.
    ROUTES, authenticated:
    get "/api/v1/whoami" => system::who_am_i,
    post "/api/v1/sign-out" => sessions::sign_out,
    put "/api/v1/password" => sessions::change_password,
    get "/api/v1/installation" => system::installation,
    get "/api/v1/audit" => system::audit,
    get "/api/v1/audit/verified" => system::verify_audit,
    post "/api/v1/stop-everything" => system::stop_everything,
    post "/api/v1/sweep-files" => system::sweep_files,
    get "/api/v1/people" => people::list,
    put "/api/v1/people/{name}" => people::set,
    post "/api/v1/people/{name}/invitation" => sessions::invite,
    delete "/api/v1/people/{name}/sessions" => sessions::end_all,
    get "/api/v1/people/{name}/tokens" => people::tokens,
    post "/api/v1/people/{name}/tokens" => people::create_token,
    delete "/api/v1/tokens/{name}" => people::remove_token,
    get "/api/v1/products" => products::list,
    post "/api/v1/products" => products::create,
    get "/api/v1/products/{product}" => products::show,
    get "/api/v1/products/{product}/fleet" => products::fleet,
    get "/api/v1/products/{product}/root" => products::root,
    post "/api/v1/products/{product}/roots" => products::add_root,
    get "/api/v1/products/{product}/devices" => devices::list,
    post "/api/v1/products/{product}/devices" => devices::register,
    post "/api/v1/products/{product}/files" => releases::upload,
    get "/api/v1/products/{product}/releases" => releases::list,
    post "/api/v1/products/{product}/releases" => releases::draft,
    get "/api/v1/products/{product}/campaigns" => campaigns::list,
    post "/api/v1/products/{product}/campaigns" => campaigns::draft,
    post "/api/v1/products/{product}/dry-run" => campaigns::dry_run,
    get "/api/v1/devices/{device}" => devices::show,
    get "/api/v1/devices/{device}/why-not" => devices::why_not,
    put "/api/v1/devices/{device}/tags" => devices::tag,
    post "/api/v1/devices/{device}/revoke" => devices::revoke,
    post "/api/v1/devices/{device}/release" => devices::release,
    get "/api/v1/releases/{release}" => releases::show,
    get "/api/v1/releases/{release}/body" => releases::release_body,
    post "/api/v1/releases/{release}/fix" => releases::fix,
    post "/api/v1/releases/{release}/signatures" => releases::sign,
    post "/api/v1/releases/{release}/withdraw" => releases::withdraw,
    get "/api/v1/campaigns/{campaign}" => campaigns::show,
    put "/api/v1/campaigns/{campaign}" => campaigns::edit,
    get "/api/v1/campaigns/{campaign}/failures" => campaigns::failures,
    post "/api/v1/campaigns/{campaign}/approve" => campaigns::approve,
    post "/api/v1/campaigns/{campaign}/prepare" => campaigns::prepare,
    post "/api/v1/campaigns/{campaign}/start" => campaigns::start,
    post "/api/v1/campaigns/{campaign}/promote" => campaigns::promote,
    post "/api/v1/campaigns/{campaign}/pause" => campaigns::pause,
    post "/api/v1/campaigns/{campaign}/resume" => campaigns::resume,
    post "/api/v1/campaigns/{campaign}/stop" => campaigns::stop,
}

pub(super) fn router(api: Api) -> Router {
    // What is behind `somebody` cannot be reached by nobody, whatever its handler asks for.
    let authenticated = authenticated().route_layer(middleware::from_fn(auth::somebody));
    Router::new()
        .route("/health/live", get(system::live))
        .route("/health/ready", get(system::ready))
        .merge(public())
        .merge(authenticated)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(input::JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), auth::guard))
        .layer(middleware::from_fn(trace::trace))
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
