//! What changes in a secrets folder, what is refused, and what stays.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;
use crate::testing::{CANARY, Fixture, TODAY, identity};

fn set(fixture: &Fixture, profile: &str, key: &str, value: &str) -> Result<Entry, VaultError> {
    let vault = fixture.vault();
    vault.set(profile, key, &value.into(), &fixture.to(), None, TODAY)
}

fn value(fixture: &Fixture, key: &str) -> String {
    let value = fixture.vault().get("default", key).unwrap();
    value.expose_secret().to_owned()
}

#[test]
fn setting_counts_dates_and_keeps_the_owner() {
    let fixture = Fixture::new();
    let vault = fixture.vault();
    let to = fixture.to();
    let owned = vault.set("default", "A", &"x".into(), &to, Some("petr"), "2026-12-01").unwrap();
    assert_eq!((owned.seq, owned.updated.as_str()), (2, "2026-12-01"));
    let kept = vault.set("default", "A", &"y".into(), &to, None, "2026-12-02").unwrap();
    assert_eq!((kept.seq, kept.owner.as_deref()), (3, Some("petr")));
    assert_eq!(vault.list("default").unwrap()[0], kept);
    // The vault that wrote sees it at once.
    assert_eq!(vault.get("default", "A").unwrap().expose_secret(), "y");
}

#[test]
fn setting_touches_its_own_section_only() {
    let fixture = Fixture::new();
    let text = fixture.text("default").replace("[values.B]", "# of the bot\n[values.B]");
    fixture.put("default", &text);
    fixture.set("default", "A", "new");
    let edited = fixture.text("default");
    let tail = |text: &str| text[text.find("# of the bot").unwrap()..].to_owned();
    let head = |text: &str| text[..text.find("[values.A]").unwrap()].to_owned();
    assert_eq!(tail(&edited), tail(&text));
    assert_eq!(head(&edited), head(&text));
    assert_eq!(value(&fixture, "A"), "new");
}

#[test]
fn nothing_is_left_in_the_folder_but_the_files() {
    let fixture = Fixture::new();
    fixture.vault().rm("default", "B").unwrap();
    let entries = std::fs::read_dir(fixture.folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["claw.toml", "default.toml"]);
}

#[test]
fn what_could_not_be_read_back_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let before = fixture.text("default");
    let error = |result: Result<Entry, VaultError>| {
        let error = result.unwrap_err();
        assert!(!error.help().is_empty());
        error
    };
    assert!(matches!(error(set(&fixture, "default", "A", "")), VaultError::Empty { .. }));
    let long = "v".repeat(VALUE_BYTES_MAX + 1);
    assert!(matches!(error(set(&fixture, "default", "A", &long)), VaultError::TooLong { .. }));
    assert!(matches!(error(set(&fixture, "default", "1A", "x")), VaultError::KeyName { .. }));
    assert!(matches!(error(set(&fixture, "Work", "A", "x")), VaultError::ProfileName { .. }));
    assert!(matches!(error(set(&fixture, "claw", "A", "x")), VaultError::Reserved));
    let vault = fixture.vault();
    let to = fixture.to();
    let with = |to: &[Recipient], owner, today| error(vault.set("default", "A", &CANARY.into(), to, owner, today));
    assert!(matches!(with(&[], None, TODAY), VaultError::Recipients { count: 0 }));
    assert!(matches!(with(&to, Some("a\nb"), TODAY), VaultError::Argument { .. }));
    assert!(matches!(with(&to, None, "today"), VaultError::Argument { .. }));
    assert_eq!(fixture.text("default"), before);
}

#[test]
fn setting_needs_the_fleet_key() {
    let fixture = Fixture::new();
    let set = |who| {
        let vault = fixture.vault_as(who);
        vault.set("default", "C", &CANARY.into(), &fixture.to(), None, TODAY).unwrap_err()
    };
    assert!(matches!(set(None), VaultError::NoIdentity { .. }));
    assert!(matches!(set(Some(identity())), VaultError::OtherRecipient { .. }));
    std::fs::remove_file(fixture.path("claw")).unwrap();
    assert!(matches!(set(Some(fixture.member.clone())), VaultError::NoFleetKey { .. }));
}

#[test]
fn a_profile_takes_a_thousand_values_and_no_more() {
    let fixture = Fixture::new();
    let mut text = edit::blank("k7f3q2", "many");
    for n in 0..VALUES_MAX {
        text += &format!(
            "[values.K{n:04}]\nupdated = \"{TODAY}\"\nseq = 1\nto = [\"00112233445566ff\"]\nage = \"\"\nmac = \"\"\n"
        );
    }
    fixture.put("many", &text);
    let error = set(&fixture, "many", "ONE_MORE", "x").unwrap_err();
    assert!(matches!(error, VaultError::Full { .. }), "{error}");
    set(&fixture, "many", "K0500", "x").unwrap();
}

#[test]
fn a_profile_that_would_grow_too_large_stays_as_it_was() {
    let fixture = Fixture::new();
    let long = "v".repeat(VALUE_BYTES_MAX);
    let mut results = (0..20).map(|n| set(&fixture, "large", &format!("K{n}"), &long));
    let error = results.find_map(Result::err).unwrap();
    assert!(error.to_string().contains("larger than 1024 KiB"), "{error}");
    assert!(fixture.vault().list("large").unwrap().len() > 8);
}

#[test]
fn removing_needs_no_identity_and_a_key_that_is_there() {
    let fixture = Fixture::new();
    let vault = fixture.vault_as(None);
    vault.rm("default", "A").unwrap();
    assert_eq!(vault.key_names("default").unwrap(), ["B"]);
    assert!(matches!(vault.rm("default", "A"), Err(VaultError::NoKey { .. })));
    assert!(matches!(vault.rm("work", "A"), Err(VaultError::NoProfile { .. })));
    assert!(matches!(vault.rm("claw", "fleet_key"), Err(VaultError::Reserved)));
    vault.rm("default", "B").unwrap();
    assert!(vault.list("default").unwrap().is_empty());
    fixture.set("default", "A", "again");
    assert_eq!(value(&fixture, "A"), "again");
}

#[test]
fn a_second_fleet_key_is_refused() {
    let fixture = Fixture::new();
    let before = fixture.text("claw");
    let error = fixture.vault().init(&fixture.to(), TODAY).unwrap_err();
    assert!(matches!(error, VaultError::FleetKeyExists { .. }));
    assert_eq!(fixture.text("claw"), before);
    assert!(matches!(fixture.vault().init(&[], TODAY), Err(VaultError::Recipients { .. })));
}

#[test]
fn rekeying_gives_a_new_member_everything_and_keeps_the_dates() {
    let fixture = Fixture::new();
    let newcomer = identity();
    let mut to = fixture.to();
    to.extend(newcomer.recipients());
    let vault = fixture.vault();
    assert!(!vault.list("default").unwrap()[0].is_for(&to));
    let later = vault.set("default", "B", &"b".into(), &to, None, "2026-12-01").unwrap();
    assert_eq!(vault.rekey("default", &to).unwrap(), ["A"]);
    assert_eq!(vault.rekey("claw", &to).unwrap(), ["fleet_key"]);
    let entries = vault.list("default").unwrap();
    assert!(entries.iter().all(|entry| entry.is_for(&to)));
    assert_eq!((entries[0].updated.as_str(), entries[0].seq), (TODAY, 2));
    assert_eq!(entries[1], later);
    let theirs = fixture.vault_as(Some(newcomer));
    assert_eq!(theirs.get("default", "A").unwrap().expose_secret(), CANARY);
    // A second time there is nothing to do, and the file is not written.
    let before = fixture.text("default");
    assert!(vault.rekey("default", &to).unwrap().is_empty());
    assert_eq!(fixture.text("default"), before);
}

#[test]
fn rekeying_leaves_every_byte_of_what_is_for_its_recipients_already() {
    let fixture = Fixture::new();
    let to = [fixture.to(), identity().recipients()].concat();
    for key in ["C", "E"] {
        fixture.vault().set("default", key, &"x".into(), &to, None, TODAY).unwrap();
    }
    fixture.put("default", &fixture.text("default").replace("[values.C]", "# of the team\n[values.C]"));
    let before = fixture.text("default");
    assert_eq!(fixture.vault().rekey("default", &to).unwrap(), ["A", "B"]);
    let after = fixture.text("default");
    let rest = |text: &str| text[text.find("# of the team").unwrap()..].to_owned();
    assert_eq!(rest(&after), rest(&before));
    let blocks = |text: &str| {
        let parts = text.split("-----BEGIN").skip(1).map(str::to_owned);
        parts.collect::<Vec<String>>()
    };
    let (before, after) = (blocks(&before), blocks(&after));
    assert_eq!((before.len(), after.len()), (4, 4));
    assert!(before[..2].iter().zip(&after).all(|(old, new)| old != new));
}

#[test]
fn rekeying_away_shuts_a_former_member_out() {
    let fixture = Fixture::new();
    let former = fixture.member.clone();
    let rest = identity();
    let vault = fixture.vault();
    vault.rekey("default", &rest.recipients()).unwrap();
    vault.rekey("claw", &rest.recipients()).unwrap();
    fixture.vault_as(Some(rest)).get("default", "A").unwrap();
    let error = fixture.vault_as(Some(former)).get("default", "A").unwrap_err();
    assert!(matches!(error, VaultError::OtherRecipient { .. }));
}

#[test]
fn a_former_reader_is_remembered_until_the_value_changes() {
    let fixture = Fixture::new();
    let (former, rest) = (fixture.to(), identity());
    let gone = vec![former[0].fingerprint()];
    let vault = fixture.vault();
    let both = [former.clone(), rest.recipients()].concat();
    vault.rekey("default", &both).unwrap();
    vault.rekey("claw", &both).unwrap();
    assert!(!fixture.text("default").contains("read_by"));
    assert_eq!(vault.list("default").unwrap()[0].former_readers(&rest.recipients()), gone);
    vault.rekey("default", &rest.recipients()).unwrap();
    vault.rekey("claw", &rest.recipients()).unwrap();
    let theirs = || fixture.vault_as(Some(rest.clone()));
    assert_eq!(theirs().list("default").unwrap()[0].read_by, gone);
    assert_eq!(theirs().list("claw").unwrap()[0].read_by, gone);
    // Another change of recipients forgets nobody.
    let third = [rest.recipients(), identity().recipients()].concat();
    theirs().rekey("default", &third).unwrap();
    theirs().get("default", "A").unwrap();
    assert_eq!(theirs().list("default").unwrap()[0].read_by, gone);
    // A new value does, and whoever comes back is no former reader.
    let set = theirs().set("default", "A", &"new".into(), &third, None, TODAY).unwrap();
    assert!(set.read_by.is_empty() && set.former_readers(&third).is_empty());
    theirs().rekey("default", &both).unwrap();
    assert!(!theirs().list("default").unwrap()[1].read_by.contains(&gone[0]));
}

#[test]
fn the_list_of_former_readers_cannot_be_edited() {
    let fixture = Fixture::new();
    let rest = identity();
    let to = rest.recipients();
    fixture.vault().rekey("default", &to).unwrap();
    fixture.vault().rekey("claw", &to).unwrap();
    let text = fixture.text("default");
    let line = text.lines().find(|line| line.starts_with("read_by")).unwrap();
    let other = format!("read_by = [\"{}\"]", identity().recipients()[0].fingerprint());
    for changed in [text.replace(&format!("{line}\n"), ""), text.replace(line, &other)] {
        fixture.put("default", &changed);
        let error = fixture.vault_as(Some(rest.clone())).get("default", "A").unwrap_err();
        assert!(matches!(error, VaultError::BadMac { .. }), "{error}");
    }
    // Nor can one be added where there is none.
    let fresh = Fixture::new();
    fresh.put("default", &fresh.text("default").replacen("seq = 1", &format!("{other}\nseq = 1"), 1));
    assert!(matches!(fresh.vault().get("default", "A"), Err(VaultError::BadMac { .. })));
}

#[test]
fn rekeying_stops_at_a_forged_value_and_writes_nothing() {
    let fixture = Fixture::new();
    let text = fixture.text("default").replacen("seq = 1", "seq = 7", 1);
    fixture.put("default", &text);
    let error = fixture.vault().rekey("default", &identity().recipients()).unwrap_err();
    assert!(matches!(error, VaultError::BadMac { .. }));
    assert_eq!(fixture.text("default"), text);
}

#[test]
fn accepting_makes_a_held_value_good_and_its_recipients_true() {
    let fixture = Fixture::new();
    let (old, forged) = (
        fixture.vault().list("default").unwrap().remove(0).age,
        cipher::seal(b"from a friend", &[fixture.to(), identity().recipients()].concat()).unwrap(),
    );
    fixture.put("default", &fixture.text("default").replace(&old, &forged));
    let vault = fixture.vault();
    assert!(vault.get("default", "A").is_err());
    let held = vault.held("default", "A").unwrap().unwrap();
    let entry = vault.accept("default", &held, &fixture.to()).unwrap();
    assert!(entry.is_for(&fixture.to()));
    assert_eq!(entry.seq, 2);
    assert_eq!(value(&fixture, "A"), "from a friend");
    assert!(vault.held("default", "A").unwrap().is_none());
    assert!(matches!(vault.held("claw", "fleet_key"), Err(VaultError::Reserved)));
    assert!(matches!(vault.accept("claw", &held, &fixture.to()), Err(VaultError::Reserved)));
}

#[test]
fn only_what_was_shown_is_accepted() {
    let fixture = Fixture::new();
    let forge = |value: &[u8]| {
        let old = fixture.vault().list("default").unwrap().remove(0).age;
        fixture.put("default", &fixture.text("default").replace(&old, &cipher::seal(value, &fixture.to()).unwrap()));
    };
    let good = fixture.vault().list("default").unwrap().remove(0);
    forge(b"one");
    let vault = fixture.vault();
    let held = vault.held("default", "A").unwrap().unwrap();
    forge(b"other");
    let before = fixture.text("default");
    assert!(matches!(vault.accept("default", &held, &fixture.to()), Err(VaultError::Changed { .. })));
    assert!(matches!(vault.accept("default", &good, &fixture.to()), Err(VaultError::Changed { .. })));
    assert_eq!(fixture.text("default"), before);
}

#[test]
fn what_does_not_open_or_is_empty_is_not_accepted_and_says_why() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    let old = fixture.vault().list("default").unwrap().remove(0).age;
    let put = |age: &str| fixture.put("default", &text.replace(&old, age));
    let error = || fixture.vault().held("default", "A").unwrap_err();
    put(&cipher::seal(b"x", &identity().recipients()).unwrap());
    assert!(matches!(error(), VaultError::OtherRecipient { .. }));
    put(&cipher::seal(b"", &fixture.to()).unwrap());
    assert!(matches!(error(), VaultError::Empty { .. }));
    put("nonsense\n");
    assert!(matches!(error(), VaultError::Garbled { .. }));
    let error = fixture.vault_as(None).held("default", "A").unwrap_err();
    assert!(matches!(error, VaultError::NoIdentity { .. }));
}

#[test]
fn a_count_at_its_end_still_writes_what_reads_back() {
    let fixture = Fixture::new();
    fixture.put("default", &fixture.text("default").replacen("seq = 1", &format!("seq = {}", i64::MAX), 1));
    let vault = fixture.vault();
    let held = vault.held("default", "A").unwrap().unwrap();
    vault.accept("default", &held, &fixture.to()).unwrap();
    assert_eq!(value(&fixture, "A"), CANARY);
}

#[test]
fn bumping_a_generation_changes_one_line() {
    let fixture = Fixture::new();
    let vault = fixture.vault_as(None);
    assert_eq!(vault.bump_gateway_token("pete").unwrap(), 2);
    let before = fixture.text("claw");
    assert_eq!(vault.bump_gateway_token("pete").unwrap(), 3);
    assert_eq!(fixture.text("claw"), before.replace("pete = 2", "pete = 3"));
    assert_eq!(vault.gateway_generation("pete").unwrap(), 3);
    assert!(matches!(vault.bump_gateway_token("a b"), Err(VaultError::Argument { .. })));
    fixture.vault().get("default", "A").unwrap();
}

#[cfg(unix)]
#[test]
fn no_edit_is_lost_when_many_write_at_once() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || fixture.set("default", &format!("K{n}"), "x"));
        }
    });
    assert_eq!(fixture.vault().list("default").unwrap().len(), 10);
}

#[test]
fn where_a_value_may_go_is_vouched_for_and_survives_a_new_value() {
    let fixture = Fixture::new();
    let hosts = ["llm.example".to_owned(), "*.inner.example".to_owned()];
    let allowed = fixture.vault().allow("default", "A", &hosts).unwrap();
    assert_eq!(
        (allowed.seq, allowed.hosts.as_slice()),
        (2, ["*.inner.example".to_owned(), "llm.example".to_owned()].as_slice())
    );
    assert_eq!(value(&fixture, "A"), CANARY);
    assert_eq!(set(&fixture, "default", "A", "new").unwrap().hosts, allowed.hosts);
    assert_eq!(value(&fixture, "A"), "new");
    let text = fixture.text("default");
    for tampered in [
        text.replace("llm.example", "evil.example"),
        text.replace("hosts = [\"*.inner.example\", \"llm.example\"]\n", ""),
        text.replace("\"*.inner.example\", ", ""),
    ] {
        assert_ne!(tampered, text);
        fixture.put("default", &tampered);
        assert!(matches!(fixture.vault().get("default", "A"), Err(VaultError::BadMac { .. })));
        assert!(matches!(fixture.vault().allow("default", "A", &hosts), Err(VaultError::BadMac { .. })));
        // whoever stores a new value does not sign a stranger's hosts with it
        assert_eq!(set(&fixture, "default", "A", "newer").unwrap().hosts, [] as [String; 0]);
    }
    fixture.put("default", &text);
    assert_eq!(fixture.vault().allow("default", "A", &[]).unwrap().hosts, [] as [String; 0]);
    for bad in ["https://a.example", "A.example", ""] {
        assert!(matches!(fixture.vault().allow("default", "A", &[bad.to_owned()]), Err(VaultError::Argument { .. })));
    }
}
