//! Which call is tried again, and after how long. Calls nothing and waits for nothing.
//!
//! Codes, number and waits are those of the vendor's own clients; `locked`, and for reads a vendor's trouble, come on top.

use std::time::Duration;

use claw_net::http::HttpError;

use crate::error::{ApiError, Code};

/// How often a call is repeated.
const RETRIES_MAX: u32 = 5;
/// How often it is repeated where no connection comes about: a machine without network shall say so soon.
const RETRIES_UNCONNECTED_MAX: u32 = 2;
/// The first wait, doubled each time.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait of our own choosing.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest wait that the API may ask for; longer ones are the caller's matter.
const WAIT_ASKED_MAX: Duration = Duration::from_secs(120);

/// How often a call may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing.
    Read,
    /// It changes something, and doing it twice is doing it once.
    Same,
    /// Doing it twice would be wrong: repeated only where it certainly was not done.
    Once,
}

/// Returns how long to wait before the next try, or `None` when there is none. `failed` tries have failed, this one
/// included; `chance` is from 0 to 1.
pub(crate) fn wait(repeat: Repeat, error: &ApiError, failed: u32, chance: f64) -> Option<Duration> {
    if failed > retries(repeat, error) {
        return None;
    }
    let ceiling = WAIT_FIRST.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(WAIT_MAX);
    let own = WAIT_FIRST + (ceiling - WAIT_FIRST).mul_f64(chance.clamp(0.0, 1.0));
    let asked = match error {
        ApiError::Refused(refusal) => Duration::from_secs(refusal.retry_after_seconds.unwrap_or(0)),
        _ => Duration::ZERO,
    };
    (asked <= WAIT_ASKED_MAX).then(|| own.max(asked))
}

fn retries(repeat: Repeat, error: &ApiError) -> u32 {
    match error {
        ApiError::Refused(refusal) => match refusal.code {
            Code::Conflict | Code::RateLimitExceeded | Code::Locked => RETRIES_MAX,
            Code::BadGateway | Code::Timeout if repeat != Repeat::Once => RETRIES_MAX,
            Code::ServiceError | Code::Unavailable if repeat == Repeat::Read => RETRIES_MAX,
            _ => 0,
        },
        ApiError::NoAnswer { source, .. } => match source {
            HttpError::Resolve { .. } | HttpError::Connect { .. } => RETRIES_UNCONNECTED_MAX,
            HttpError::TimedOut { .. } | HttpError::CutOff { .. } if repeat != Repeat::Once => RETRIES_MAX,
            _ => 0,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Refusal;

    fn refused(code: &str, retry_after_seconds: Option<u64>) -> ApiError {
        ApiError::Refused(Box::new(Refusal {
            operation: "POST /servers".into(),
            status: 400,
            code: Code::from(code),
            message: "no".into(),
            fields: Vec::new(),
            limits: Vec::new(),
            announcement: None,
            correlation: None,
            retry_after_seconds,
            token_from: Arc::from("env HCLOUD_TOKEN"),
            may_have_happened: false,
        }))
    }

    fn no_answer(source: HttpError) -> ApiError {
        ApiError::NoAnswer { operation: "POST /servers".into(), source, may_have_happened: false }
    }

    #[test]
    fn a_code_is_repeated_as_often_as_the_table_says() {
        let table = [
            // code, read, same, once
            ("conflict", 5, 5, 5),
            ("rate_limit_exceeded", 5, 5, 5),
            ("locked", 5, 5, 5),
            ("bad_gateway", 5, 5, 0),
            ("timeout", 5, 5, 0),
            ("service_error", 5, 0, 0),
            ("unavailable", 5, 0, 0),
            ("server_error", 0, 0, 0),
            ("resource_unavailable", 0, 0, 0),
            ("uniqueness_error", 0, 0, 0),
            ("unauthorized", 0, 0, 0),
            ("invented_later", 0, 0, 0),
        ];
        for (code, read, same, once) in table {
            let found = [Repeat::Read, Repeat::Same, Repeat::Once].map(|repeat| retries(repeat, &refused(code, None)));
            assert_eq!(found, [read, same, once], "{code}");
        }
    }

    #[test]
    fn no_answer_is_repeated_unless_it_might_be_done_twice() {
        let host = || "api".to_owned();
        let why = || "gone".to_owned();
        let table = [
            (HttpError::Resolve { host: host(), why: why() }, [2, 2, 2]),
            (HttpError::Connect { host: host(), why: why() }, [2, 2, 2]),
            (HttpError::Tls { host: host(), why: why() }, [0, 0, 0]),
            (HttpError::TimedOut { host: host(), seconds: 60 }, [5, 5, 0]),
            (HttpError::CutOff { host: host(), why: why() }, [5, 5, 0]),
            (HttpError::TooLarge { host: host(), bytes_max: 1 }, [0, 0, 0]),
            (HttpError::Redirected { host: host(), status: 302 }, [0, 0, 0]),
        ];
        for (source, expected) in table {
            let error = no_answer(source);
            let found = [Repeat::Read, Repeat::Same, Repeat::Once].map(|repeat| retries(repeat, &error));
            assert_eq!(found, expected, "{error:?}");
        }
    }

    #[test]
    fn waits_double_with_jitter_and_end() {
        let at = |failed, chance| {
            wait(Repeat::Read, &refused("conflict", None), failed, chance).map(|wait| wait.as_millis())
        };
        let most: Vec<_> = (1..=6).map(|failed| at(failed, 1.0)).collect();
        assert_eq!(most, [Some(1_000), Some(2_000), Some(4_000), Some(8_000), Some(16_000), None]);
        assert_eq!(at(5, 0.0), Some(1_000));
        assert_eq!(at(5, 0.5), Some(8_500));
    }

    #[test]
    fn the_api_may_ask_for_more_but_not_for_hours() {
        let at = |seconds| wait(Repeat::Once, &refused("rate_limit_exceeded", Some(seconds)), 1, 0.0);
        assert_eq!(at(7), Some(Duration::from_secs(7)));
        assert_eq!(at(0), Some(Duration::from_secs(1)));
        assert_eq!(at(3_600), None);
    }
}
