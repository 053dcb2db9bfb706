//! Values of settings that are more than a word: each reader takes a text whole, or not at all.

use core::net::IpAddr;

use ota_core::time::Millis;

use crate::http::body::Span;

/// An address without a path, in lower case; nothing for none.
pub(super) fn public_url(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let url = text.strip_suffix('/').unwrap_or(text);
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let is_host = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    (!host.is_empty() && is_host).then(|| Some(url.to_ascii_lowercase()))
}

/// Names and addresses, as a certificate can hold them.
pub(super) fn names(text: &str) -> Option<Vec<String>> {
    let is_name = |name: &&str| {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'*')
        };
        name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
    };
    text.split(',').map(str::trim).map(|name| is_name(&name).then(|| name.to_owned())).collect()
}

/// A number of MiB, in bytes.
pub(super) fn mib(text: &str) -> Option<u64> {
    let mib: u64 = text.parse().ok().filter(|mib| (1..=1_048_576).contains(mib))?;
    mib.checked_mul(1 << 20)
}

/// A span within these bounds, in milliseconds.
pub(super) fn span(text: &str, least: u64, most: u64) -> Option<Millis> {
    let Span(millis) = text.parse().ok()?;
    (least..=most).contains(&millis.0).then_some(millis)
}
