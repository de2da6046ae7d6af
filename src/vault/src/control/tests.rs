//! The life of a login key, and what somebody who edits the file can not do.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;
use crate::testing::{Fixture, TODAY};

fn standings(fixture: &Fixture) -> Vec<(Standing, PublicKey)> {
    fixture.vault().control_keys().unwrap().into_iter().map(|key| (key.standing, key.public)).collect()
}

fn begin(fixture: &Fixture) -> ControlKey {
    fixture.vault().control_begin(&fixture.to(), TODAY).unwrap()
}

#[test]
fn a_key_becomes_current_then_retired_and_is_dropped() {
    let fixture = Fixture::new();
    let first = begin(&fixture);
    let second = begin(&fixture);
    assert_eq!((first.standing, second.standing), (Standing::Current, Standing::Next));
    assert!(fixture.vault().control_begin(&fixture.to(), TODAY).is_err(), "one rotation at a time");
    fixture.vault().control_finish(&fixture.to()).unwrap();
    let expected = [(Standing::Current, second.public.clone()), (Standing::Retired, first.public.clone())];
    assert_eq!(standings(&fixture), expected);
    for key in fixture.vault().control_keys().unwrap() {
        let private = fixture.vault().control_secret(&key).unwrap();
        let read = PrivateKey::from_openssh(private.expose_secret()).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap().parse(), Ok(key.public), "each opens to its own half");
    }
    let keys = fixture.vault().control_keys().unwrap();
    assert!(fixture.vault().control_drop(&keys[0]).is_err(), "a key in use stays");
    fixture.vault().control_drop(&keys[1]).unwrap();
    assert_eq!(standings(&fixture), [(Standing::Current, second.public)]);
}

#[test]
fn a_public_half_that_somebody_put_there_does_not_count() {
    let fixture = Fixture::new();
    let ours = begin(&fixture);
    let theirs = Fixture::new();
    let other = begin(&theirs).public;
    fixture.put("claw", &fixture.text("claw").replace(&ours.public.to_string(), &other.to_string()));
    let shown = fixture.vault().control_keys().unwrap();
    assert_eq!(shown[0].public, other, "a reviewer sees it");
    assert!(fixture.vault().control_secret(&shown[0]).is_err(), "and it is refused");
}

#[test]
fn keys_cannot_be_moved_between_standings() {
    let fixture = Fixture::new();
    begin(&fixture);
    begin(&fixture);
    let text = fixture.text("claw");
    let text =
        text.replace("ssh_current", "x").replace("ssh_next", "ssh_current").replace("[values.x]", "[values.ssh_next]");
    fixture.put("claw", &text);
    for key in fixture.vault().control_keys().unwrap() {
        assert!(matches!(fixture.vault().control_secret(&key), Err(VaultError::BadMac { .. })));
    }
}

#[test]
fn a_private_half_is_nowhere_in_clear() {
    let fixture = Fixture::new();
    let key = begin(&fixture);
    assert!(!fixture.text("claw").contains("OPENSSH PRIVATE KEY"));
    assert!(fixture.vault_as(None).control_secret(&key).is_err(), "only with an identity");
    assert_eq!(fixture.vault_as(None).control_keys().unwrap(), [key], "what is in clear is there for everybody");
}
