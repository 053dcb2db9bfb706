//! All pages in one table.

use axum::Router;
use axum::routing::{get, post};

use super::{
    administration, approvals, assets, audit, campaign, device, edit_campaign, enrolments, groups, home,
    keys, new_campaign, product, release, sign_in, stop, upload,
};
use crate::http::Api;

pub(super) fn router() -> Router<Api> {
    let addresses = &*assets::ADDRESSES;
    Router::new()
        .route(&addresses.style, get(assets::style))
        .route(&addresses.script, get(assets::script))
        .route(&addresses.icon, get(assets::icon))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/set-password", get(sign_in::show_password).post(sign_in::set_password))
        .route("/", get(home::show))
        .route("/products/{product}", get(product::show))
        .route("/products/{product}/devices", get(product::devices))
        .route("/products/{product}/releases", get(product::releases))
        .route("/products/{product}/releases/new", get(upload::show).post(upload::make))
        .route("/products/{product}/groups", get(groups::show).post(groups::set))
        .route("/products/{product}/groups/remove", post(groups::remove))
        .route("/products/{product}/keys", get(keys::show))
        .route("/products/{product}/enrolments", get(enrolments::show).post(enrolments::enrol))
        .route("/products/{product}/enrolments/{enrolment}/remove", post(enrolments::remove))
        .route("/products/{product}/campaigns", get(product::campaigns))
        .route("/products/{product}/campaigns/new", get(new_campaign::show).post(new_campaign::make))
        .route("/approvals", get(approvals::show))
        .route("/audit", get(audit::show))
        .route("/audit/verify", get(audit::verify))
        .route("/audit/export.csv", get(audit::export))
        .route("/administration", get(administration::show))
        .route("/administration/people/new", get(administration::new_person).post(administration::add_person))
        .route("/administration/people/{name}", get(administration::person))
        .route(
            "/administration/people/{name}/edit",
            get(administration::edit_person).post(administration::change_person),
        )
        .route("/administration/people/{name}/invite", post(administration::invite))
        .route("/administration/people/{name}/token", post(administration::make_token))
        .route("/administration/people/{name}/tokens/{token}/remove", post(administration::remove_token))
        .route(
            "/administration/products/new",
            get(administration::new_product).post(administration::make_product),
        )
        .route("/administration/stop-everything", get(stop::confirm).post(stop::perform))
        .route(
            "/products/{product}/stop-everything",
            get(stop::confirm_of_product).post(stop::perform_of_product),
        )
        .route("/devices", get(device::seek))
        .route("/devices/{device}", get(device::show))
        .route("/devices/{device}/{verb}", get(device::confirm).post(device::perform))
        .route("/releases/{release}", get(release::show))
        .route("/releases/{release}/{verb}", get(release::confirm).post(release::perform))
        .route("/campaigns/{campaign}", get(campaign::show))
        .route("/campaigns/{campaign}/edit", get(edit_campaign::show).post(edit_campaign::save))
        .route("/campaigns/{campaign}/devices", get(campaign::attempts))
        .route("/campaigns/{campaign}/{verb}", get(campaign::confirm).post(campaign::perform))
}
