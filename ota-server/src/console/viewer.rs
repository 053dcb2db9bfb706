//! Who looks at a page: a person in a session, and the zone in which they read times.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use ota_core::text::ProductIdBuf;

use super::form::Fields;
use super::trouble::Trouble;
use crate::http::auth::Person;
use crate::rules::permission::{Action, Principal, Scope, permit};

/// The cookie in which the script notes the browser's zone.
const ZONE: &str = "ota_zone";
/// The field in which a form says in which zone its times are.
const TIMES_IN: &str = "times_in";

/// Whoever looks.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    pub(super) by: Principal,
    csrf: String,
    zone: TimeZone,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        let person = Person::from_request_parts(parts, state).await.map_err(Trouble::SignIn)?;
        Ok(Self { by: person.by, csrf: person.csrf, zone: zone(parts) })
    }
}

/// The zone that the browser told, or UTC. It decides nothing but how times are written.
fn zone(parts: &Parts) -> TimeZone {
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let told = cookies.flat_map(|line| line.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == ZONE).then(|| percent_encoding::percent_decode_str(value).decode_utf8().ok())?
    });
    told.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC)
}

impl Viewer {
    pub(super) fn name(&self) -> &str {
        self.by.name()
    }

    pub(super) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The same viewer in the zone that a form was shown in: what was typed there stands in that zone, even where the
    /// browser has moved to another one since.
    pub(super) fn in_zone_of(mut self, form: &Fields) -> Self {
        if let Ok(zone) = TimeZone::get(form.text(TIMES_IN)) {
            self.zone = zone;
        }
        self
    }

    /// The hidden field of a form with times: the zone that it is shown in. A fresh form is asked for once more where the
    /// browser turns out to be in another zone; one that holds what somebody has typed is not.
    pub(super) fn times_in(&self, form: &Fields) -> Markup {
        html! { input type="hidden" name=(TIMES_IN) value=(self.zone_name()) data-fresh-zone[!form.has(TIMES_IN)]; }
    }

    /// The hidden field that shows that a form came from one of our pages.
    pub(super) fn proof(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    /// The same for scripts.
    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether an action would be permitted: for deciding what to show. The command itself asks again.
    pub(super) fn may(&self, action: Action, product: &ProductIdBuf) -> bool {
        permit(&self.by, action, Scope::Product(product)).is_ok()
    }

    /// The same for what belongs to no product.
    pub(super) fn may_all(&self, action: Action) -> bool {
        permit(&self.by, action, Scope::Installation).is_ok()
    }
}
