//! What a profile file may say and what not.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;

const GOOD: &str = r#"# Written by `claw secret`.
format = 1
fleet = "k7f3q2"
profile = "claw"

[generations]
gateway_token.pete = 3

[values.ANTHROPIC_API_KEY]
owner = "petr"
updated = "2026-11-21"
max_age = "90d"
seq = 2
to = ["00112233445566ff"]
age = """
armour
"""
mac = "bWFj"

[values."telegram.bot"]
updated = "2026-11-21"
seq = 1
to = ["00112233445566ff"]
age = "x"
mac = "y"
"#;

/// Returns the error of GOOD with one text replaced.
fn error(from: &str, to: &str) -> ProfileError {
    assert!(GOOD.contains(from), "{from}");
    parse_profile(&GOOD.replacen(from, to, 1), "secrets/claw.toml").unwrap_err()
}

#[test]
fn a_profile_reads_as_it_is_written() {
    let file = parse_profile(GOOD, "f").unwrap();
    assert_eq!((file.fleet.as_str(), file.profile.as_str()), ("k7f3q2", "claw"));
    assert_eq!(file.gateway_generations, BTreeMap::from([("pete".to_owned(), 3)]));
    let keys: Vec<&str> = file.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["ANTHROPIC_API_KEY", "telegram.bot"]);
    let entry = file.entry("ANTHROPIC_API_KEY").unwrap();
    assert_eq!(entry.owner.as_deref(), Some("petr"));
    assert_eq!((entry.seq, entry.age.as_str()), (2, "armour\n"));
    assert_eq!(entry.due().as_deref(), Some("2027-02-19"));
    assert_eq!(file.entries[1].due(), None);
}

#[test]
fn crlf_reads_the_same_but_for_the_armour() {
    let file = parse_profile(&GOOD.replace('\n', "\r\n"), "f").unwrap();
    assert_eq!(file.entry("ANTHROPIC_API_KEY").unwrap().age.trim(), "armour");
}

#[test]
fn errors_name_file_line_and_column() {
    let shown = |error: ProfileError| error.to_string();
    assert_eq!(shown(error("seq = 2", "seq = -2")), "secrets/claw.toml:13:7: `seq` is not a count");
    assert_eq!(shown(error("owner =", "ownr =")), "secrets/claw.toml:10:1: unknown key `ownr`");
    assert_eq!(
        shown(error("[values.ANTHROPIC_API_KEY]", "[values.ANTHROPIC_API_KEY")),
        "secrets/claw.toml:9:26: unclosed table, expected `]`"
    );
}

#[test]
fn each_field_is_checked_and_each_error_says_what_helps() {
    for (from, to, reason) in [
        ("format = 1", "format = 2", "newer than this claw"),
        ("format = 1", "format = \"1\"", "`format` is not a number"),
        ("format = 1\n", "", "`format` is missing"),
        ("fleet = \"k7f3q2\"", "fleet = \"\"", "`fleet` is not valid"),
        ("profile = \"claw\"", "profile = \"../x\"", "`profile` is not valid"),
        ("profile = \"claw\"", "profile = \"work\"", "generations belong"),
        ("gateway_token.pete = 3", "gateway_token.pete = 0", "a generation"),
        ("gateway_token.pete = 3", "gateway_token = 3", "not a section"),
        ("gateway_token.pete = 3", "tokens.pete = 3", "unknown key `tokens`"),
        ("owner = \"petr\"", "owner = \"a\\u001b[31m\"", "`owner` is not valid"),
        ("2026-11-21", "21.11.2026", "`updated` is not valid"),
        ("90d", "ninety", "`max_age` is not valid"),
        ("00112233445566ff", "someone", "`to` is not"),
        ("[\"00112233445566ff\"]", "[]", "`to` is not"),
        ("mac = \"bWFj\"\n", "", "`mac` is missing"),
        ("mac = \"bWFj\"", "mac = 1", "`mac` is not valid"),
        ("\"telegram.bot\"", "\"a b\"", "`a b` is not a key name"),
        ("[generations]", "[[values]]\n[generations]", "`values` is not a section"),
        ("\"telegram.bot\"", "ANTHROPIC_API_KEY", "duplicate key"),
    ] {
        let error = error(from, to);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.help().is_empty());
    }
}

#[test]
fn a_value_pasted_in_clear_is_refused_and_never_quoted() {
    let canary = "sk-ant-canary";
    for broken in [
        GOOD.replace("[values.ANTHROPIC_API_KEY]", &format!("[values]\nX = \"{canary}\"\n[values.A]")),
        GOOD.replace("seq = 2", &format!("seq = \"{canary}\"")),
        GOOD.replace("owner = \"petr\"", &format!("owner = \"{canary}\\n\"")),
        GOOD.replace("owner = \"petr\"", &format!("owner = \"{canary}")),
        GOOD.replace("owner = \"petr\"", canary),
        GOOD.replace("owner = \"petr\"", &format!("value = \"{canary}\"")),
    ] {
        let error = parse_profile(&broken, "f").unwrap_err();
        let shown = format!("{error} {error:?} {}", error.help());
        assert!(!shown.contains(canary), "{shown}");
    }
}

#[test]
fn files_and_lists_beyond_their_limit_are_refused() {
    let large = "#".repeat(PROFILE_BYTES_MAX + 1);
    assert!(matches!(parse_profile(&large, "f"), Err(ProfileError::TooLarge { .. })));
    let many: String = (0..=VALUES_MAX).map(|n| format!("[values.K{n}]\n")).collect();
    let text = format!("format = 1\nfleet = \"f\"\nprofile = \"p\"\n{many}");
    let error = parse_profile(&text, "f").unwrap_err();
    assert!(error.to_string().contains("more than 1000 values"), "{error}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(parse_profile(&deep, "f").is_err());
    let dotted = format!("{}a = 1", "a.".repeat(100_000));
    assert!(parse_profile(&dotted, "f").is_err());
    let header = format!("[{}a]", "a.".repeat(100_000));
    assert!(parse_profile(&header, "f").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(
        text in "\\PC{0,200}",
        at in 0..GOOD.len(),
        patch in "[\\[\\]{}=.\",'#\n\r\t a-z0-9é-]{0,12}",
        cut in 0..30usize,
    ) {
        drop(parse_profile(&text, "f"));
        let end = (at + cut).min(GOOD.len());
        drop(parse_profile(&format!("{}{patch}{}", &GOOD[..at], &GOOD[end..]), "f"));
    }
}
