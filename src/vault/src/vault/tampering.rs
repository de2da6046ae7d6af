//! What somebody with write access to the files, and nothing else, can bring about: values held, and never another value.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::cipher;
use crate::identity::Identity;
use crate::locked::locked_file;
use crate::testing::{CANARY, Fixture, SSH_ENCRYPTED, SSH_PRIVATE, TODAY, identity};

/// Returns a key's whole section.
fn section(text: &str, key: &str) -> String {
    let rest = &text[text.find(&format!("[values.{key}]")).unwrap()..];
    rest[..rest[1..].find("[values.").map_or(rest.len(), |end| end + 1)].to_owned()
}

#[track_caller]
fn held(vault: &Vault, profile: &str, key: &str) {
    let error = vault.get(profile, key).unwrap_err();
    assert!(matches!(error, VaultError::BadMac { .. }), "{error}");
}

#[test]
fn a_whole_section_moved_to_another_key_or_profile_is_held() {
    let fixture = Fixture::new();
    fixture.set("work", "A", "of work");
    let (text, work) = (fixture.text("default"), fixture.text("work"));
    fixture.put("default", &text.replace(&section(&text, "A"), &section(&text, "B").replace("values.B", "values.A")));
    // Only one key may have the name; the other one stays good.
    held(&fixture.vault(), "default", "A");
    fixture.vault().get("default", "B").unwrap();
    fixture.put("default", &text.replace(&section(&text, "A"), &section(&work, "A")));
    held(&fixture.vault(), "default", "A");
}

#[test]
fn a_value_of_another_fleet_is_held_even_under_the_same_id_and_for_the_same_reader() {
    let (ours, mut theirs) = (Fixture::new(), Fixture::new());
    theirs.member = ours.member.clone();
    std::fs::remove_file(theirs.path("claw")).unwrap();
    std::fs::remove_file(theirs.path("default")).unwrap();
    theirs.vault().init(&theirs.to(), TODAY).unwrap();
    theirs.set("default", "A", "of theirs");
    ours.put("default", &theirs.text("default"));
    held(&ours.vault(), "default", "A");
    // With their fleet key beside it the values here are theirs, and whatever was signed here before is held.
    let fresh = Fixture::new();
    fresh.put("claw", &theirs.text("claw"));
    assert!(fresh.vault().get("default", "A").is_err());
}

#[test]
fn a_reader_whom_somebody_added_by_hand_gets_nothing_and_is_remembered() {
    let fixture = Fixture::new();
    let attacker = identity();
    let text = fixture.text("default");
    let entry = fixture.vault().list("default").unwrap().remove(0);
    let print = attacker.recipients()[0].fingerprint();
    // In `to` alone: the MAC does not hold, and encrypting anew refuses it rather than making it good.
    let named = text.replacen("to = [", &format!("to = [\"{print}\", "), 1);
    fixture.put("default", &named);
    held(&fixture.vault(), "default", "A");
    assert!(matches!(fixture.vault().rekey("default", &fixture.to()), Err(VaultError::BadMac { .. })));
    assert_eq!(fixture.text("default"), named);
    // With a value of their own making: whoever accepts it encrypts for today's recipients, and the stranger is noted.
    let both = [fixture.to(), attacker.recipients()].concat();
    fixture.put("default", &named.replace(&entry.age, &cipher::seal(b"theirs", &both).unwrap()));
    let vault = fixture.vault();
    let shown = vault.held("default", "A").unwrap().unwrap();
    let accepted = vault.accept("default", &shown, &fixture.to()).unwrap();
    assert_eq!((accepted.to.clone(), accepted.read_by.clone()), (fingerprints(&fixture.to()), vec![print]));
    let binary = cipher::unarmor(&accepted.age).unwrap();
    assert!(matches!(cipher::open(&binary, &attacker), Err(OpenError::NotOurs)));
}

/// Within one file an older state, put back whole, looks like the newest: its `seq` is as right as it was then. What shows
/// it is the history of the repository, where `seq` goes down in a diff. This test says what is so, not what is wished for.
#[test]
fn an_older_section_put_back_whole_opens_as_it_did() {
    let fixture = Fixture::new();
    let old = fixture.text("default");
    fixture.set("default", "A", "newer");
    let new = fixture.text("default");
    fixture.put("default", &new.replace(&section(&new, "A"), &section(&old, "A")));
    assert_eq!(fixture.vault().get("default", "A").unwrap().expose_secret(), CANARY);
    assert_eq!(fixture.vault().list("default").unwrap()[0].seq, 1);
    // A number that was only raised does not.
    let raised = section(&old, "A").replace("seq = 1", "seq = 3");
    fixture.put("default", &new.replace(&section(&new, "A"), &raised));
    held(&fixture.vault(), "default", "A");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damage_in_the_fleet_key_gives_no_other_value(at in 0.0..1.0f64, patch in "[ -~\n]{0,3}", cut in 0..4usize) {
        let fixture = Fixture::new();
        let text = fixture.text("claw");
        let at = (text.len() as f64 * at) as usize;
        fixture.put("claw", &format!("{}{patch}{}", &text[..at], &text[(at + cut).min(text.len())..]));
        if let Ok(read) = fixture.vault().get("default", "A") {
            prop_assert_eq!(read.expose_secret(), CANARY);
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_value_or_none(at in 0.0..1.0f64) {
        let fixture = Fixture::new();
        let text = fixture.text("default");
        fixture.put("default", &text[..(text.len() as f64 * at) as usize]);
        if let Ok(read) = fixture.vault().get("default", "A") {
            prop_assert_eq!(read.expose_secret(), CANARY);
        }
    }

    #[test]
    fn armour_that_was_changed_opens_as_it_was_or_not_at_all(at in 0.0..1.0f64, patch in "[A-Za-z0-9+/=\n -]{0,4}") {
        let one = identity();
        let text = cipher::seal(CANARY.as_bytes(), &one.recipients()).unwrap();
        let at = (text.len() as f64 * at) as usize;
        let end = (at + patch.len()).min(text.len());
        let changed = format!("{}{patch}{}", &text[..at], &text[end..]);
        if let Ok(value) = cipher::unarmor(&changed).and_then(|binary| cipher::open(&binary, &one)) {
            prop_assert_eq!(value.expose_secret(), CANARY);
        }
    }

    #[test]
    fn an_identity_that_was_changed_is_the_same_or_none(at in 0.0..1.0f64, patch in "[A-Z0-9]{1,3}") {
        let (one, text) = Identity::generate(TODAY);
        let line = text.expose_secret().lines().last().unwrap();
        let at = ((line.len() - patch.len()) as f64 * at) as usize;
        let changed = format!("{}{patch}{}", &line[..at], &line[at + patch.len()..]);
        if let Ok(read) = Identities::parse(&changed, "f") {
            prop_assert_eq!(read.recipients(), [one.recipient()]);
        }
    }

    #[test]
    fn no_locked_identity_makes_the_reader_panic(at in 0.0..1.0f64, patch in "[ -~\n]{0,4}", cut in 0..4usize, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let ask: crate::AskPassphrase = Arc::new(|_| None);
        let locked = locked_file(&"x".into(), "pw");
        for text in [SSH_ENCRYPTED, SSH_PRIVATE, &locked] {
            let at = (text.len() as f64 * at) as usize;
            let changed = format!("{}{patch}{}", &text[..at], &text[(at + cut).min(text.len())..]);
            drop(Identities::parse_asking(changed.as_bytes(), "f", &ask));
        }
        drop(Identities::parse_asking(&bytes, "f", &ask));
        drop(Identities::parse_asking(&[b"age-encryption.org/v1\n-> ", bytes.as_slice()].concat(), "f", &ask));
    }
}
