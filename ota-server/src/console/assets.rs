//! The one stylesheet and the one script, part of the program: nothing is fetched from anywhere else.
//!
//! Their addresses carry a hash of their content, so browsers may keep them for ever and never use an old one.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;

use crate::digest::sha256;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = concat!(
    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#1D5FC4" stroke-width="2.4" "##,
    r#"stroke-linecap="round" stroke-linejoin="round"><path d="M20 12a8 8 0 1 1-2.3-5.6"/><path d="M20 3v4h-4"/>"#,
    r#"<path d="M12 8v6m-3-2.6 3 3 3-3"/></svg>"#
);

/// The addresses of stylesheet, script and icon.
pub(super) struct Addresses {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

pub(super) static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| Addresses {
    style: address("console.css", STYLE),
    script: address("console.js", SCRIPT),
    icon: address("icon.svg", ICON),
});

fn address(name: &str, content: &str) -> String {
    let hash = ota_core::number::Sha256Digest(sha256(&[content.as_bytes()])).to_string();
    format!("/assets/{}/{name}", hash.get(..16).unwrap_or_default())
}

pub(super) async fn style() -> impl IntoResponse {
    kept("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> impl IntoResponse {
    kept("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn icon() -> impl IntoResponse {
    kept("image/svg+xml", ICON)
}

fn kept(kind: &'static str, content: &'static str) -> ([(HeaderName, HeaderValue); 2], &'static str) {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    (
        [kind, (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"))],
        content,
    )
}
