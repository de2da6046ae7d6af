//! Attempt limits of one server: a sliding window, and a block that grows with failures.
//!
//! Pure: the time is a value, nobody sleeps here, nothing is shared.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::ssh::Policy;

const MINUTE: Duration = Duration::from_secs(60);

/// What one server has seen of us lately.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    recent: VecDeque<Instant>,
    total: u64,
    failures_in_row: u32,
    blocked_until: Option<Instant>,
}

impl Attempts {
    /// Takes one attempt, or returns how long it has to wait.
    pub(crate) fn take(&mut self, policy: &Policy, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(until - now);
            }
            self.blocked_until = None;
        }
        while self.recent.front().is_some_and(|&at| now.duration_since(at) >= MINUTE) {
            self.recent.pop_front();
        }
        if let Some(&oldest) = self.recent.front()
            && self.recent.len() >= policy.attempts_per_minute
        {
            return Err(oldest + MINUTE - now);
        }
        self.recent.push_back(now);
        self.total += 1;
        Ok(())
    }

    /// Takes the last attempt back: nothing listened, so no sshd counts it. A machine that boots is asked often.
    pub(crate) fn give_back(&mut self) {
        self.recent.pop_back();
    }

    /// Notes that a login worked, which ends every block.
    pub(crate) fn succeeded(&mut self) {
        self.failures_in_row = 0;
        self.blocked_until = None;
    }

    /// Notes that a round of tries failed; from the fifth on the server is blocked, returned is for how long.
    pub(crate) fn failed(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        self.failures_in_row += 1;
        let beyond = self.failures_in_row.checked_sub(policy.failures_before_block)?;
        let block = policy.block_first.saturating_mul(1 << beyond.min(16)).min(policy.block_longest);
        self.blocked_until = Some(now + block);
        Some(block)
    }

    /// Returns how many attempts were made in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_nobody_heard_does_not_count() {
        let (policy, mut attempts, start) = (Policy::default(), Attempts::default(), Instant::now());
        for second in 0..50 {
            attempts.take(&policy, start + seconds(second)).expect("nothing counts");
            attempts.give_back();
        }
        assert_eq!(attempts.total(), 50);
    }

    #[test]
    fn eleventh_attempt_waits_until_the_first_is_a_minute_old() {
        let (policy, start, mut attempts) = (Policy::default(), Instant::now(), Attempts::default());
        for second in 0..10 {
            assert_eq!(attempts.take(&policy, start + seconds(second)), Ok(()));
        }
        assert_eq!(attempts.take(&policy, start + seconds(10)), Err(seconds(50)));
        assert_eq!(attempts.take(&policy, start + seconds(60)), Ok(()));
        assert_eq!(attempts.take(&policy, start + seconds(60)), Err(seconds(1)));
        assert_eq!(attempts.total(), 11);
    }

    #[test]
    fn block_begins_at_the_fifth_failure_and_doubles_up_to_a_quarter_hour() {
        let (policy, start, mut attempts) = (Policy::default(), Instant::now(), Attempts::default());
        for _ in 0..4 {
            assert_eq!(attempts.failed(&policy, start), None);
        }
        let blocks: Vec<u64> =
            (0..7).filter_map(|_| attempts.failed(&policy, start)).map(|block| block.as_secs()).collect();
        assert_eq!(blocks, [30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(attempts.take(&policy, start + seconds(899)), Err(seconds(1)));
        assert_eq!(attempts.take(&policy, start + seconds(900)), Ok(()));
    }

    #[test]
    fn success_forgets_failures() {
        let (policy, start, mut attempts) = (Policy::default(), Instant::now(), Attempts::default());
        for _ in 0..5 {
            attempts.failed(&policy, start);
        }
        attempts.succeeded();
        assert_eq!(attempts.take(&policy, start), Ok(()));
        assert_eq!(attempts.failed(&policy, start), None);
    }
}
