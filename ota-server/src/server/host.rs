//! What the host provides: time and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use ota_core::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Unpredictable bytes: keys of grants, names of drafts, tokens.
pub trait Entropy: Send + Sync + 'static {
    /// Fills all bytes.
    fn fill(&self, bytes: &mut [u8]);
}
