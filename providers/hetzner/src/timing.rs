//! Time and chance as a value, so that tests neither wait nor gamble.

use std::time::{Duration, Instant, SystemTime};

use claw_core::provider::BoxFuture;

/// Clock, waiting and chance.
pub trait Timing: Send + Sync {
    /// Returns the time since some moment that stays the same.
    fn now(&self) -> Duration;
    /// Returns the time since 1970 in UTC, in seconds.
    fn unix_seconds(&self) -> u64;
    /// Waits.
    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()>;
    /// Returns a number from 0 to 1.
    fn chance(&self) -> f64;
}

/// The real ones.
#[derive(Clone, Copy, Debug)]
pub struct RealTiming {
    origin: Instant,
}

impl Default for RealTiming {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Timing for RealTiming {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }

    fn chance(&self) -> f64 {
        let mut bytes = [0; 4];
        // without randomness the longest wait is the safe one
        match getrandom::getrandom(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
            Err(_) => 1.0,
        }
    }
}
