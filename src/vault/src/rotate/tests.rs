//! Replacing the fleet key: what is under it afterwards, and after a run that stopped half-way.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use secrecy::ExposeSecret;

use super::*;
use crate::testing::{CANARY, Fixture, TODAY, identity};

fn value(fixture: &Fixture, key: &str) -> String {
    fixture.vault().get("default", key).unwrap().expose_secret().to_owned()
}

fn token(fixture: &Fixture) -> String {
    fixture.vault().gateway_token("pete").unwrap().expose_secret().to_owned()
}

#[test]
fn everything_is_under_the_new_key_and_reads_as_before() {
    let fixture = Fixture::new();
    let (before, old_file) = (token(&fixture), fixture.text("default"));
    let login = fixture.vault().control_begin(&fixture.to(), TODAY).unwrap();
    let moved = fixture.vault().rotate_fleet_key(&fixture.to(), TODAY).unwrap();
    assert_eq!(moved, Moved { finished: false, values: 3, held: Vec::new() });
    assert_eq!((value(&fixture, "A").as_str(), value(&fixture, "B").as_str()), (CANARY, "another value"));
    assert_ne!(token(&fixture), before, "gateway tokens follow");
    fixture.vault().control_secret(&login).unwrap();
    assert!(!fixture.text("claw").contains(FLEET_KEY_NEXT));
    // what was signed with the old key counts for nothing any more
    fixture.put("default", &old_file);
    assert!(matches!(fixture.vault().get("default", "A"), Err(VaultError::BadMac { .. })));
}

#[test]
fn a_run_killed_between_any_two_writes_leaves_everything_readable_and_is_finished_by_the_next() {
    let whole = Fixture::new();
    whole.set("work", "C", "third");
    let old = ["claw", "default", "work"].map(|name| (name, whole.text(name)));
    // stopped after the key was made, after the first profile, after the second
    for written in 0..=2 {
        for (name, text) in &old {
            whole.put(name, text);
        }
        let vault = whole.vault();
        let key = vault.fleet_key("x").unwrap();
        let new = vault.begin_fleet_key(&key, &whole.to(), TODAY).unwrap();
        for name in vault.profiles().unwrap().iter().take(written) {
            let (text, file) = vault.loaded(name).unwrap();
            let text = vault.moved(&file, text, (&key, &new), &mut Moved::default()).unwrap();
            vault.write(name, &text, false).unwrap();
        }
        assert_eq!(value(&whole, "A"), CANARY, "after {written} profiles");
        assert_eq!(whole.vault().get("work", "C").unwrap().expose_secret(), "third", "after {written} profiles");
        whole.set("default", "B", "set meanwhile");
        let moved = whole.vault().rotate_fleet_key(&whole.to(), TODAY).unwrap();
        assert_eq!(moved, Moved { finished: true, values: 3, held: Vec::new() });
        assert_eq!((value(&whole, "A").as_str(), value(&whole, "B").as_str()), (CANARY, "set meanwhile"));
        assert_eq!(whole.vault().fleet_key("x").unwrap().to_base64().expose_secret(), new.to_base64().expose_secret());
    }
}

#[test]
fn twice_is_harmless_and_what_nobody_vouched_for_stays_held() {
    let fixture = Fixture::new();
    let swapped = fixture.text("default").replace("[values.A]", "[values.X]");
    fixture.put("default", &swapped);
    for _ in 0..2 {
        let moved = fixture.vault().rotate_fleet_key(&fixture.to(), TODAY).unwrap();
        assert_eq!((moved.values, moved.held), (1, vec!["default/X".to_owned()]));
        assert!(matches!(fixture.vault().get("default", "X"), Err(VaultError::BadMac { .. })));
        assert_eq!(value(&fixture, "B"), "another value");
    }
}

#[test]
fn a_holder_of_the_key_moves_values_that_are_not_for_them() {
    let fixture = Fixture::new();
    let other = identity();
    let secret = secrecy::SecretString::from("theirs");
    fixture.vault().set("work", "W", &secret, &other.recipients(), None, TODAY).unwrap();
    let moved = fixture.vault().rotate_fleet_key(&fixture.to(), TODAY).unwrap();
    assert_eq!((moved.values, moved.held.len()), (3, 0));
    fixture.vault().verify("work", "W").unwrap();
}

#[test]
fn a_next_key_that_somebody_else_put_there_is_refused() {
    let fixture = Fixture::new();
    let key = FleetKey::generate().unwrap();
    fixture.vault().begin_fleet_key(&key, &fixture.to(), TODAY).unwrap();
    let refused = fixture.vault().rotate_fleet_key(&fixture.to(), TODAY);
    assert!(matches!(refused, Err(VaultError::BadMac { .. })), "{refused:?}");
    assert_eq!(value(&fixture, "A"), CANARY);
}

#[test]
fn a_key_of_an_interrupted_run_that_a_former_recipient_could_read_does_not_stay() {
    let fixture = Fixture::new();
    let leaver = identity();
    let both = [fixture.to(), leaver.recipients()].concat();
    let vault = fixture.vault();
    vault.rekey("claw", &both).unwrap();
    let key = fixture.vault().fleet_key("x").unwrap();
    let read = vault.begin_fleet_key(&key, &both, TODAY).unwrap();
    // the run was killed here; then the leaver was taken out
    fixture.vault().rekey("claw", &fixture.to()).unwrap();
    let moved = fixture.vault().rotate_fleet_key(&fixture.to(), TODAY).unwrap();
    assert!(moved.finished && moved.values == 2, "{moved:?}");
    let now = fixture.vault().fleet_key("x").unwrap().to_base64();
    assert_ne!(now.expose_secret(), read.to_base64().expose_secret(), "the leaver knows that one");
    assert_eq!(value(&fixture, "A"), CANARY);
}
