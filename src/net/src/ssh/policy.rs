//! Every limit of a connection, with its reason.
//!
//! It holds numbers only. A test makes them small; nothing else should need to.

use std::time::Duration;

/// TCP, version exchange and key exchange together. The SSH library has no connect timeout of its own.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Authentication. Longer than the handshake because an agent may ask a person; sshd itself gives 120 s (`LoginGraceTime`).
pub const LOGIN_TIME: Duration = Duration::from_secs(60);
/// Shorter than the idle limits of usual NAT gateways (60 s and more).
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
/// A server that missed three of them is gone; it takes two minutes to say so.
pub const KEEPALIVES_MISSED_MAX: usize = 3;
/// sshd's `MaxSessions` is 10 by default; two stay free for commands that were given up but still run.
pub const CHANNELS_AT_ONCE: usize = 8;
/// `MaxSessions` does not count forwarded channels, and every host behind a bastion keeps one for as long as claw runs.
/// This bounds our own memory: a stalled channel holds up to 3.2 MB.
pub const FORWARDS_AT_ONCE: usize = 1024;
/// How long someone waits for a free channel before hearing that there is none.
pub const CHANNEL_WAIT_TIME: Duration = Duration::from_secs(120);
/// How long the reader of one channel may let its full buffer stand. It holds up the whole connection meanwhile,
/// because the SSH library hands out receive windows without asking the reader.
pub const STALL_TIME: Duration = Duration::from_secs(30);
/// How long a channel that was let go may take to end by itself before it is closed by force.
pub const ENDING_TIME: Duration = Duration::from_secs(1);
/// Logins per server and minute: below what fail2ban and sshd's `PerSourcePenalties` punish.
pub const ATTEMPTS_PER_MINUTE: usize = 10;
/// Failed rounds in a row before a server is left alone for a while.
pub const FAILURES_BEFORE_BLOCK: u32 = 5;
/// The first block; each further failure doubles it.
pub const BLOCK_FIRST: Duration = Duration::from_secs(30);
/// The longest block.
pub const BLOCK_LONGEST: Duration = Duration::from_secs(15 * 60);
/// The wait before the second try; each further one doubles it.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between tries.
pub const RETRY_LONGEST: Duration = Duration::from_secs(16);
/// sshd drops unauthenticated connections at random from 10 on (`MaxStartups 10:30:100`).
pub const HANDSHAKES_AT_ONCE: usize = 8;

/// The limits of all connections of one network.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the constant of the same name, which says why")]
pub struct Policy {
    pub connect_time: Duration,
    pub login_time: Duration,
    pub keepalive_every: Duration,
    pub keepalives_missed_max: usize,
    pub channels_at_once: usize,
    pub forwards_at_once: usize,
    pub channel_wait_time: Duration,
    pub stall_time: Duration,
    pub ending_time: Duration,
    pub attempts_per_minute: usize,
    pub failures_before_block: u32,
    pub block_first: Duration,
    pub block_longest: Duration,
    pub retry_first: Duration,
    pub retry_longest: Duration,
    pub handshakes_at_once: usize,
    /// How patient a connection is unless [`Connection::with_patience`](crate::ssh::Connection::with_patience) says otherwise.
    pub patience: Patience,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            connect_time: CONNECT_TIME,
            login_time: LOGIN_TIME,
            keepalive_every: KEEPALIVE_EVERY,
            keepalives_missed_max: KEEPALIVES_MISSED_MAX,
            channels_at_once: CHANNELS_AT_ONCE,
            forwards_at_once: FORWARDS_AT_ONCE,
            channel_wait_time: CHANNEL_WAIT_TIME,
            stall_time: STALL_TIME,
            ending_time: ENDING_TIME,
            attempts_per_minute: ATTEMPTS_PER_MINUTE,
            failures_before_block: FAILURES_BEFORE_BLOCK,
            block_first: BLOCK_FIRST,
            block_longest: BLOCK_LONGEST,
            retry_first: RETRY_FIRST,
            retry_longest: RETRY_LONGEST,
            handshakes_at_once: HANDSHAKES_AT_ONCE,
            patience: Patience::QUICK,
        }
    }
}

impl Policy {
    /// Returns the wait before the try after `tries_made`, without jitter: 1, 2, 4, 8, 16, 16 … s.
    #[must_use]
    pub fn retry_wait(&self, tries_made: u32) -> Duration {
        let doubled = self.retry_first.saturating_mul(1 << tries_made.saturating_sub(1).min(16));
        doubled.min(self.retry_longest)
    }
}

/// How hard to try to get through to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Login tries, as long as the cause is a passing one. At least one is made.
    pub tries: u32,
    /// How long to wait for the attempt limits before giving up as blocked.
    pub limits_wait: Duration,
}

impl Patience {
    /// One try now: for proofs.
    pub const ONCE: Self = Self { tries: 1, limits_wait: Duration::from_secs(2) };
    /// Two tries: for looking, where a dead server is an answer.
    pub const QUICK: Self = Self { tries: 2, limits_wait: Duration::from_secs(2) };
    /// Ten tries over about two minutes: for a change under way, and servers that boot.
    pub const STEADY: Self = Self { tries: 10, limits_wait: Duration::from_secs(65) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_waits_double_up_to_sixteen_seconds() {
        let waits: Vec<u64> = (1..=7).map(|tries| Policy::default().retry_wait(tries).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
    }
}
