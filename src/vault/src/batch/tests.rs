//! What a change of several values does, what stops it, and what stays.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;
use crate::testing::{CANARY, Fixture, TODAY};

fn changes(set: &[(&str, &str)], remove: &[&str]) -> Changes {
    Changes {
        set: set.iter().map(|(key, value)| ((*key).to_owned(), SecretString::from(*value))).collect(),
        remove: remove.iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn change(fixture: &Fixture, snapshot: &Snapshot, changes: &Changes) -> Result<(), VaultError> {
    fixture.vault().change(snapshot, changes, &fixture.to(), Some("petr"), TODAY)
}

/// Returns a section's bytes.
fn section(text: &str, key: &str) -> String {
    let rest = &text[text.find(&format!("[values.{key}]")).unwrap()..];
    rest[..rest[1..].find("\n[").map_or(rest.len(), |end| end + 2)].to_owned()
}

#[test]
fn only_what_differs_is_a_change() {
    let list = |pairs: &[(&str, &str)]| changes(pairs, &[]).set;
    let found =
        Changes::between(&list(&[("A", "1"), ("B", "2"), ("C", "3")]), list(&[("C", "4"), ("A", "1"), ("D", "5")]));
    let set: Vec<_> = found.set.iter().map(|(key, value)| (key.as_str(), value.expose_secret())).collect();
    assert_eq!((set, found.remove), (vec![("C", "4"), ("D", "5")], vec!["B".to_owned()]));
    assert!(Changes::between(&list(&[("A", "1")]), list(&[("A", "1")])).is_empty());
}

#[test]
fn values_are_set_and_removed_and_others_keep_every_byte() {
    let fixture = Fixture::new();
    fixture.set("default", "C", "c");
    let before = fixture.text("default");
    let snapshot = fixture.vault().snapshot("default").unwrap();
    assert_eq!(snapshot.keys().collect::<Vec<_>>(), ["A", "B", "C"]);
    assert_eq!(fixture.vault().value_in(&snapshot, "A").unwrap().expose_secret(), CANARY);
    change(&fixture, &snapshot, &changes(&[("C", "new"), ("D", "d")], &["B"])).unwrap();
    let vault = fixture.vault();
    assert_eq!(vault.key_names("default").unwrap(), ["A", "C", "D"]);
    assert_eq!(vault.get("default", "C").unwrap().expose_secret(), "new");
    assert_eq!(vault.list("default").unwrap()[1].seq, 2);
    assert_eq!(section(&fixture.text("default"), "A").trim(), section(&before, "A").trim());
}

#[test]
fn a_profile_that_is_missing_is_made() {
    let fixture = Fixture::new();
    let snapshot = fixture.vault().snapshot("work").unwrap();
    assert_eq!(snapshot.keys().count(), 0);
    change(&fixture, &snapshot, &changes(&[("A", "a")], &[])).unwrap();
    assert_eq!(fixture.vault().get("work", "A").unwrap().expose_secret(), "a");
    assert!(matches!(fixture.vault().snapshot("claw"), Err(VaultError::Reserved)));
}

#[test]
fn a_key_that_somebody_else_changed_stops_everything_and_another_one_does_not() {
    let fixture = Fixture::new();
    let snapshot = fixture.vault().snapshot("default").unwrap();
    fixture.set("default", "B", "theirs");
    fixture.set("default", "NEW", "theirs");
    let before = fixture.text("default");
    for bad in [changes(&[("A", "x"), ("B", "mine")], &[]), changes(&[("NEW", "mine")], &[]), changes(&[], &["A", "B"])]
    {
        assert!(matches!(change(&fixture, &snapshot, &bad), Err(VaultError::Changed { .. })));
        assert_eq!(fixture.text("default"), before);
    }
    change(&fixture, &snapshot, &changes(&[("A", "mine")], &[])).unwrap();
    assert_eq!(fixture.vault().get("default", "B").unwrap().expose_secret(), "theirs");
}

#[test]
fn one_value_that_cannot_be_written_stops_the_others() {
    let fixture = Fixture::new();
    let before = fixture.text("default");
    let snapshot = fixture.vault().snapshot("default").unwrap();
    assert!(matches!(
        change(&fixture, &snapshot, &changes(&[("A", "x"), ("E", "")], &[])),
        Err(VaultError::Empty { .. })
    ));
    assert!(matches!(change(&fixture, &snapshot, &changes(&[("1", "x")], &[])), Err(VaultError::KeyName { .. })));
    assert_eq!(fixture.text("default"), before);
}
