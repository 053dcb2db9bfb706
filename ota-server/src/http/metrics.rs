//! Figures for Prometheus: what the API is asked, how long it takes, and how the fleet stands.
//!
//! Labels come from the table of routes and from enums, so that no caller can make the number of series grow. Reading them takes
//! a token that may look at the installation.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use ota_core::fleet::records::CampaignState;
use serde_json::json;

use super::auth::Caller;
use super::body::word;
use super::openapi::{Answer, Operation};
use super::system::readiness;
use super::{Api, Problem};
use crate::rules::permission::{Action, Scope, permit};

/// Upper bounds of the durations that are told apart, in milliseconds.
const BOUNDS_MS: [u64; 10] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 60_000];
/// The methods that have series of their own.
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];

/// What was measured of one route, method and status.
#[derive(Default)]
struct Line {
    count: AtomicU64,
    microseconds: AtomicU64,
    /// Requests up to each bound, not cumulated.
    buckets: [AtomicU64; BOUNDS_MS.len()],
}

type Labels = (String, &'static str, u16);

/// What was measured of all requests since the start.
#[derive(Default)]
pub(super) struct Requests(RwLock<BTreeMap<Labels, Arc<Line>>>);

impl Requests {
    /// Counts a request. `route` is a path of the table, or nothing for what is not in it.
    pub(super) fn count(&self, route: Option<&str>, method: &Method, status: u16, took: Duration) {
        let method = METHODS.iter().position(|known| known == method);
        let method = method.map_or("other", |known| ["GET", "HEAD", "POST", "PUT", "DELETE"][known]);
        let labels = (route.unwrap_or("none").to_owned(), method, status);
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&labels).map(Arc::clone);
        let line = found.unwrap_or_else(|| {
            let mut lines = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lines.entry(labels).or_default())
        });
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        line.count.fetch_add(1, Ordering::Relaxed);
        line.microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(bucket) = BOUNDS_MS.iter().position(|bound| milliseconds < *bound) {
            line.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, text: &mut Text) {
        let lines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        text.family(
            "ota_http_request_seconds",
            "histogram",
            "How long requests took, by route, method and status.",
        );
        for ((route, method, status), line) in lines.iter() {
            let labels = format!("route=\"{}\",method=\"{method}\",status=\"{status}\"", escaped(route));
            let (mut below, count) = (0, line.count.load(Ordering::Relaxed));
            for (bound, bucket) in BOUNDS_MS.iter().zip(&line.buckets) {
                below += bucket.load(Ordering::Relaxed);
                let (seconds, rest) = (bound / 1000, bound % 1000);
                text.line(
                    "ota_http_request_seconds_bucket",
                    &format!("{labels},le=\"{seconds}.{rest:03}\""),
                    below,
                );
            }
            text.line("ota_http_request_seconds_bucket", &format!("{labels},le=\"+Inf\""), count);
            let micros = line.microseconds.load(Ordering::Relaxed);
            let sum = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            text.line("ota_http_request_seconds_sum", &labels, sum);
            text.line("ota_http_request_seconds_count", &labels, count);
        }
    }
}

/// The text format of Prometheus, version 0.0.4.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl core::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The figures.
pub(super) struct Exposition(String);

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], self.0).into_response()
    }
}

impl Answer for Exposition {
    fn describe(operation: &mut Operation<'_>) {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        operation.answer("200", "The text format of Prometheus", Some(text));
    }
}

/// All figures as they are now. Reads counters only, whatever the size of the fleet.
pub(super) async fn metrics(State(api): State<Api>, Caller(by): Caller) -> Result<Exposition, Problem> {
    permit(&by, Action::View, Scope::Installation).map_err(crate::CommandError::from)?;
    let mut text = Text::default();
    text.family("ota_build_info", "gauge", "The version of the program.");
    text.line("ota_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    text.family("ota_ready", "gauge", "Whether store, files and broker answer: what /health/ready says.");
    text.line("ota_ready", "", u8::from(readiness(&api).await.is_ok()));
    api.requests.write(&mut text);
    text.family("ota_refusals_total", "counter", "What devices were refused since the start, by code.");
    for (code, count) in api.server.refusals() {
        text.line("ota_refusals_total", &format!("code=\"{}\"", word(&code)), count);
    }
    text.family(
        "ota_check_ins_put_off_total",
        "counter",
        "Check-ins that were too many at once and put off.",
    );
    text.line("ota_check_ins_put_off_total", "", api.server.check_ins_put_off());
    text.family("ota_live_viewers", "gauge", "Streams of live views that are open.");
    text.line("ota_live_viewers", "", api.live.viewers());
    text.family("ota_devices", "gauge", "Registered devices, by product.");
    for (product, devices) in api.server.fleet_sizes(&by).await? {
        text.line("ota_devices", &format!("product=\"{}\"", escaped(product.as_str())), devices);
    }
    text.family("ota_campaigns", "gauge", "Campaigns that are not over, by product and state.");
    for (product, _) in api.server.products(&by).await? {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for (_, campaign) in api.server.campaigns(&by, &product).await? {
            if !matches!(campaign.state, CampaignState::Completed | CampaignState::Stopped) {
                *states.entry(word(&campaign.state)).or_insert(0) += 1;
            }
        }
        for (state, count) in states {
            let labels = format!("product=\"{}\",state=\"{state}\"", escaped(product.as_str()));
            text.line("ota_campaigns", &labels, count);
        }
    }
    Ok(Exposition(text.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulated_and_nothing_gets_lost() {
        let requests = Requests::default();
        for milliseconds in [0, 2, 50, 120_000] {
            requests.count(Some("/a"), &Method::GET, 200, Duration::from_millis(milliseconds));
        }
        let mut text = Text::default();
        requests.write(&mut text);
        let of = |bound: &str| {
            let begin = format!(
                "ota_http_request_seconds_bucket{{route=\"/a\",method=\"GET\",status=\"200\",le=\"{bound}\"}} "
            );
            text.0.lines().find_map(|line| line.strip_prefix(&begin)?.parse::<u64>().ok()).unwrap()
        };
        assert_eq!([of("0.001"), of("0.003"), of("0.100"), of("60.000"), of("+Inf")], [1, 2, 3, 3, 4]);
        assert!(
            text.0.contains("_sum{route=\"/a\",method=\"GET\",status=\"200\"} 120.052000\n"),
            "{}",
            text.0
        );
    }

    #[test]
    fn labels_cannot_break_out() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
