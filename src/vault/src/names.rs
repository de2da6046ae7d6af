//! Says what names, dates and sizes are allowed in a profile file. Touches no file and no key.

use jiff::ToSpan;
use jiff::civil::Date;

pub(crate) use claw_core::secret::is_host_pattern;
pub(crate) use claw_core::text::days as max_age_days;

/// The profile that claw keeps for itself: the fleet key and the generations of derived secrets.
pub const RESERVED_PROFILE: &str = "claw";
/// The key of the fleet key in the reserved profile.
pub const FLEET_KEY: &str = "fleet_key";
/// The most bytes a profile file may have: it is read in a review, and a larger one is a mistake.
pub const PROFILE_BYTES_MAX: usize = 1 << 20;
/// The most bytes a value may have: room for a key ring or a service account, not for a backup.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// The most values a profile may have.
pub const VALUES_MAX: usize = 1000;
/// The most recipients a value may have: each costs 100 bytes in the file and one key exchange.
pub(crate) const RECIPIENTS_MAX: usize = 100;
/// The most former readers a value remembers: ten changes of all recipients without a new value.
pub(crate) const FORMER_MAX: usize = 1000;
/// The most hosts a value may be sent to: more cannot be reviewed.
pub(crate) const HOSTS_MAX: usize = 20;

/// Returns whether `name` can be a key: a letter or `_`, then letters, digits, `_`, `.` and `-`, 128 at most.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Returns whether `name` can be a profile: a lower-case letter or digit, then those, `_` and `-`, 63 at most.
/// The reserved name is a profile name too; whoever writes refuses it.
#[must_use]
pub fn is_profile_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = name.bytes();
    name.len() <= 63 && bytes.next().is_some_and(plain) && bytes.all(|b| plain(b) || matches!(b, b'_' | b'-'))
}

/// Returns whether `text` can be a fleet's or an agent's id. Looser than the fleet file, which is checked elsewhere.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Returns whether `text` can be an owner: what a terminal shows as it stands.
pub(crate) fn is_owner(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Returns whether `text` looks like [`crate::Recipient::fingerprint`].
pub(crate) fn is_fingerprint(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether `text` is a date such as `2026-11-21`, written exactly so.
pub(crate) fn is_date(text: &str) -> bool {
    date(text).is_some()
}

/// Returns the date `max_age` after `updated`, as ISO text.
pub(crate) fn due(updated: &str, max_age: &str) -> Option<String> {
    let due = date(updated)?.checked_add(max_age_days(max_age)?.days()).ok()?;
    Some(due.to_string())
}

/// Returns the candidate that was probably meant.
pub(crate) fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    // A third of the letters wrong is a typing mistake; more is another name.
    let limit = (name.len() / 3).max(1);
    let typed = name.to_ascii_lowercase();
    candidates
        .map(|c| (strsim::damerau_levenshtein(&typed, &c.to_ascii_lowercase()), c))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, c)| c.to_owned())
}

/// Returns text of a file as it may be shown: short, without anything a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    // jiff reads other spellings of a date too; a diff should know one.
    (date.to_string() == text).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_are_those_of_environment_variables_with_dots_and_dashes() {
        for good in ["A", "_x", "ANTHROPIC_API_KEY", "telegram.bot-token", &"a".repeat(128)] {
            assert!(is_key_name(good), "{good}");
        }
        for bad in ["", "1A", "-a", ".a", "a b", "a/b", "ä", &"a".repeat(129)] {
            assert!(!is_key_name(bad), "{bad}");
        }
    }

    #[test]
    fn profile_names_cannot_leave_the_folder() {
        for good in ["default", "0", "work-2_b", "claw"] {
            assert!(is_profile_name(good), "{good}");
        }
        for bad in ["", "..", "a/b", "a.b", "Work", "-a", "_a", &"a".repeat(64)] {
            assert!(!is_profile_name(bad), "{bad}");
        }
    }

    #[test]
    fn dates_and_ages_have_one_spelling() {
        assert!(is_date("2026-11-21"));
        for bad in ["2026-11-31", "20261121", "2026-11-21T00:00:00", "", "+002026-11-21"] {
            assert!(!is_date(bad), "{bad}");
        }
        assert_eq!(max_age_days("90d"), Some(90));
        assert_eq!(max_age_days("12w"), Some(84));
        for bad in ["", "d", "0d", "90", "-1d", "+1d", "12345d", "1.5d"] {
            assert_eq!(max_age_days(bad), None, "{bad}");
        }
        assert_eq!(due("2026-11-21", "90d").as_deref(), Some("2027-02-19"));
        assert_eq!(due("9999-12-31", "9999w"), None);
    }

    #[test]
    fn a_typing_mistake_is_recognised_and_another_name_is_not() {
        let known = ["ANTHROPIC_API_KEY", "TELEGRAM_TOKEN"];
        assert_eq!(near("ANTHROPIC_KEY", known.into_iter()).as_deref(), Some("ANTHROPIC_API_KEY"));
        assert_eq!(near("telegram_token", known.into_iter()).as_deref(), Some("TELEGRAM_TOKEN"));
        assert_eq!(near("OPENAI", known.into_iter()), None);
    }
}
