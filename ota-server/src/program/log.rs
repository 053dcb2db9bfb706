//! The log: one line per event on standard error, so that standard output stays for answers.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins to log at this level; what other people's crates say below a warning is left out.
pub(super) fn begin(level: LevelFilter) {
    let own = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("ota", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A program that embeds this one may log already: its way counts.
    let _ = tracing_subscriber::registry().with(own).with(lines).try_init();
}
