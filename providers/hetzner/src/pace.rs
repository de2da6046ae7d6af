//! The project's rate limit: everybody stops before it is used up, and goes on once enough has come back.
//!
//! The limit is a bucket that refills all the time, so waiting for its full reset would be far too long.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use claw_net::http::Response;

use crate::client::{Event, Tell};
use crate::limits::REQUESTS_PER_HOUR;
use crate::timing::Timing;

/// As many requests stay in the bucket: those in flight take from it, and so may people with the console open.
const RESERVE: u64 = 24;
/// As many must be in it before we go on, so that we do not stop at every request.
const REFILLED: u64 = 54;
/// The longest pause. After it we ask again, whatever was said.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// When requests of the project may go on.
#[derive(Default)]
pub(crate) struct Pace {
    open_at: Mutex<Duration>,
}

impl Pace {
    /// Waits until requests may go on.
    pub(crate) async fn pass(&self, timing: &dyn Timing) {
        loop {
            let open_at = *self.open_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = timing.now();
            if open_at <= now {
                return;
            }
            timing.sleep(open_at - now).await;
        }
    }

    /// Takes in what an answer says about the limit.
    pub(crate) fn learn(&self, answer: &Response, timing: &dyn Timing, tell: &Tell) {
        let number = |name| answer.header(name).and_then(|text| text.trim().parse::<u64>().ok());
        let refused = answer.status == 429;
        let remaining = number("ratelimit-remaining").or(refused.then_some(0));
        let Some(remaining) = remaining.filter(|remaining| *remaining <= RESERVE || refused) else { return };
        let until_full = number("ratelimit-reset").map(|at| at.saturating_sub(timing.unix_seconds()));
        let pause = match number("retry-after").filter(|_| refused) {
            Some(asked) => Duration::from_secs(asked),
            None => refill(remaining, number("ratelimit-limit"), until_full),
        };
        self.close(pause.min(PAUSE_MAX), remaining, timing, tell);
    }

    fn close(&self, pause: Duration, remaining: u64, timing: &dyn Timing, tell: &Tell) {
        let until = timing.now() + pause;
        let mut open_at = self.open_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = *open_at <= timing.now();
        *open_at = until.max(*open_at);
        drop(open_at);
        // answers that were under way say the same again
        if begins && !pause.is_zero() {
            tell(&Event::Paused { seconds: pause.as_secs(), remaining });
        }
    }
}

/// Returns how long until enough has come back.
fn refill(remaining: u64, limit: Option<u64>, until_full_seconds: Option<u64>) -> Duration {
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(u64::from(REQUESTS_PER_HOUR));
    let missing = REFILLED.min(limit).saturating_sub(remaining).max(1);
    let seconds = missing.saturating_mul(3600).div_ceil(limit);
    Duration::from_secs(seconds.min(until_full_seconds.unwrap_or(u64::MAX)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_until_enough_came_back() {
        let seconds = |remaining, limit, until| refill(remaining, limit, until).as_secs();
        assert_eq!(seconds(0, Some(3600), Some(3600)), 54, "one a second");
        assert_eq!(seconds(10, None, None), 44);
        assert_eq!(seconds(0, Some(36_000), None), 6, "a project with a higher limit");
        assert_eq!(seconds(0, Some(3600), Some(4)), 4, "full sooner than that");
        assert_eq!(seconds(0, Some(3600), Some(0)), 1, "our clock is ahead");
    }
}
