//! When a failed step is tried again, and after how long. Calls nothing and waits for nothing.

use claw_core::provider::Class;

/// How often a step is tried in all.
pub const TRIES_MAX: u32 = 5;
/// The longest wait between tries, in milliseconds.
const WAIT_MS_MAX: u64 = 60_000;
/// The first wait, in milliseconds, doubled each time.
const WAIT_MS_FIRST: u64 = 1_000;

/// Returns how long to wait before the next try, in milliseconds, or `None` when there is none. `tries` have failed;
/// `chance` is from 0 to 1: full jitter, so that many steps do not come back at once.
pub fn wait_ms(class: Class, tries: u32, chance: f64) -> Option<u64> {
    let limit = match class {
        Class::Fatal => 0,
        Class::Conflict => 3,
        Class::Retry => TRIES_MAX,
        Class::Busy => TRIES_MAX * 2,
    };
    if tries >= limit {
        return None;
    }
    let ceiling = WAIT_MS_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(WAIT_MS_MAX);
    Some((ceiling as f64 * chance.clamp(0.0, 1.0)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatal_errors_are_not_tried_again() {
        assert_eq!(wait_ms(Class::Fatal, 1, 0.5), None);
    }

    #[test]
    fn waits_double_up_to_a_minute_and_end() {
        let waits: Vec<_> = (1..=5).map(|tries| wait_ms(Class::Retry, tries, 1.0)).collect();
        assert_eq!(waits, [Some(1_000), Some(2_000), Some(4_000), Some(8_000), None]);
        assert_eq!(wait_ms(Class::Busy, 9, 1.0), Some(60_000));
    }
}
