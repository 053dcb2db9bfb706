//! All routes in one table. What is not in it does not exist, and a test asks each of them as everybody.

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Router, middleware};

use super::{Api, Problem, auth, campaigns, devices, input, people, products, releases, system, trace};

/// Makes the table of routes and the router from one list, so that they cannot differ.
macro_rules! routes {
    ($($method:ident $path:literal => $handler:expr,)+) => {
        /// Every route that needs a token: its method and its path.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),+];

        fn authenticated() -> Router<Api> {
            Router::new()$(.route($path, $method($handler)))+
        }
    };
}

routes! {
    get "/api/v1/whoami" => system::who_am_i,
    get "/api/v1/installation" => system::installation,
    get "/api/v1/audit" => system::audit,
    get "/api/v1/audit/verified" => system::verify_audit,
    post "/api/v1/stop-everything" => system::stop_everything,
    post "/api/v1/sweep-files" => system::sweep_files,
    get "/api/v1/people" => people::list,
    put "/api/v1/people/{name}" => people::set,
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
    let authenticated = authenticated()
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(input::JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), auth::authenticate));
    Router::new()
        .route("/health/live", get(system::live))
        .route("/health/ready", get(system::ready))
        .merge(authenticated)
        .layer(middleware::from_fn(trace::trace))
        .with_state(api)
}

async fn no_route(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at {}", request.uri().path()))
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
