//! Files that the real sops wrote (`tests/sops`, sops 3.11.0), and what becomes of them when they are changed.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::*;
use crate::testing::Fixture;

fn text(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/sops");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn open_as(who: &str, text: &str) -> Result<SopsValues, VaultError> {
    let who = Identities::parse(who, "identity.txt").unwrap();
    Fixture::new().vault_as(Some(who)).open_sops(text, "file")
}

fn open(text: &str) -> Result<SopsValues, VaultError> {
    open_as(&self::text("identity.txt"), text)
}

/// Asserts what a file holds.
#[track_caller]
fn holds(name: &str, values: &[(&str, &str)], clear: &[&str]) {
    let opened = open(&text(name)).unwrap();
    let found: Vec<_> = opened.values.iter().map(|(key, value)| (key.as_str(), value.expose_secret())).collect();
    assert_eq!(found, values);
    assert_eq!(opened.clear, clear);
}

#[track_caller]
fn refused(text: &str, says: &str) {
    let error = open(text).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert!(!error.help().is_empty() && !format!("{error} {error:?} {}", error.help()).contains("canary"));
}

#[test]
fn yaml_that_sops_wrote_is_opened_in_its_order() {
    let values = [
        ("ANTHROPIC_API_KEY", "canary-5e1a-key"),
        ("db_password", "canary-5e1a with: colon"),
        ("db_port", "5432"),
        ("db_ratio", "0.25"),
        ("db_tls", "true"),
        ("hosts_0", "canary-5e1a-one"),
        ("hosts_1_user", "canary-5e1a-two"),
        ("text", "canary-5e1a line one\nline two\n"),
    ];
    holds("values.yaml", &values, &["note_unencrypted", "count_unencrypted"]);
}

#[test]
fn json_that_sops_wrote_is_opened_in_its_order() {
    let values = [
        ("ANTHROPIC_API_KEY", "canary-5e1a-key"),
        ("db_zeta", "canary-5e1a-z"),
        ("db_alpha", "7"),
        ("db_float", "1.5"),
        ("db_on", "false"),
        ("list_0", "canary-5e1a-one"),
        ("list_1", "2"),
    ];
    holds("values.json", &values, &["n_unencrypted"]);
    holds("file.json", &[("data", "canary-5e1a-file\n")], &[]);
}

#[test]
fn dotenv_that_sops_wrote_is_opened() {
    let values = [("ANTHROPIC_API_KEY", "canary-5e1a-key"), ("MULTI", "canary-5e1a one\ntwo")];
    holds("values.env", &values, &["note_unencrypted"]);
    // as Windows may leave it
    assert_eq!(open(&text("values.env").replace('\n', "\r\n")).unwrap().values.len(), 2);
}

#[test]
fn a_mac_of_encrypted_values_only_says_nothing_of_the_others() {
    holds("partly.yaml", &[("password", "canary-5e1a-pw")], &["name"]);
    let other = text("partly.yaml").replace("name: plain", "name: other");
    assert_eq!(open(&other).unwrap().values.len(), 1);
    // It cannot be turned on or off by hand.
    refused(&text("partly.yaml").replace("mac_only_encrypted: true", "mac_only_encrypted: false"), "MAC");
    let on = text("values.yaml").replace("version:", "mac_only_encrypted: true\n    version:");
    refused(&on, "MAC does not hold");
}

#[test]
fn what_was_changed_after_sops_wrote_it_is_refused() {
    let whole = text("values.yaml");
    let line = |begin: &str| whole.lines().find(|line| line.trim_start().starts_with(begin)).unwrap();
    let (key, port) = (line("ANTHROPIC"), line("port:"));
    let value = |line: &str| line.split_once(": ").unwrap().1.to_owned();
    let twice = format!("{key}\nAGAIN: {}", value(key));
    for (changed, says) in [
        (whole.replace(&format!("{key}\n"), ""), "MAC does not hold"),
        (whole.replace("count_unencrypted: 12", "count_unencrypted: 13"), "MAC does not hold"),
        (whole.replace("note_unencrypted: seen", "more: clear\nnote_unencrypted: seen"), "MAC does not hold"),
        (whole.replace(&value(key), "canary"), "MAC does not hold"),
        (whole.replace(key, &twice), "`AGAIN` was changed or moved"),
        (whole.replace(&value(port), &value(key)), "`db_port` was changed or moved"),
        (whole.replace("ANTHROPIC_API_KEY:", "OTHER:"), "`OTHER` was changed or moved"),
        (whole.replacen("iv:a", "iv:b", 1), "`ANTHROPIC_API_KEY` was changed or moved"),
        (whole.replace("lastmodified: \"2026", "lastmodified: \"2025"), "MAC does not hold"),
        (whole.replace("    mac: ENC", "    mac: XNC"), "MAC does not hold"),
        (whole.replace("    mac:", "    mag:"), "no `mac`"),
        (whole.replace("    age:", "    pgp:"), "no `age`"),
        (whole.replace("\nsops:", "\nsoup:"), "no `sops` section"),
    ] {
        assert_ne!(changed, whole);
        refused(&changed, says);
    }
    // Elements of a list are bound to the list and not to their place: their order is the MAC's.
    let elements = [line("- ENC").trim_start(), line("- user:").trim_start()];
    let swapped = whole.replace(elements[0], "@").replace(elements[1], elements[0]).replace('@', elements[1]);
    refused(&swapped, "MAC does not hold");
}

#[test]
fn every_byte_of_a_value_and_of_the_mac_counts() {
    let whole = text("partly.yaml");
    for begin in ["password: ENC", "    mac: ENC"] {
        let start = whole.find(begin).unwrap() + begin.len();
        let end = start + whole[start..].find('\n').unwrap();
        for at in (start..end).filter(|at| whole.as_bytes()[*at] != b'=') {
            let mut changed = whole.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if changed != whole {
                assert!(open(&changed).is_err(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_file_for_others_or_of_several_groups_says_so() {
    let (_, other) = crate::Identity::generate("2026-11-21");
    let error = open_as(other.expose_secret(), &text("values.yaml")).map(|_| ()).unwrap_err();
    assert!(matches!(error, VaultError::OtherRecipient { .. }), "{error}");
    let error = Fixture::new().vault_as(None).open_sops(&text("values.yaml"), "file").map(|_| ()).unwrap_err();
    assert!(matches!(error, VaultError::NoIdentity { .. }), "{error}");
    refused(&text("groups.yaml"), "several key groups");
}
