//! What a vault gives out, and everything it refuses to trust.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::process::{Command, Stdio};

use secrecy::ExposeSecret;

use super::*;
use crate::testing::{CANARY, Fixture, SSH_PRIVATE, SSH_PUBLIC, TODAY, identity};

fn profile(profile: &str, key: &str) -> SecretSource {
    SecretSource::Profile(SecretName { profile: profile.to_owned(), key: key.to_owned() })
}

/// Returns the error of getting a value, having made sure that neither it nor its help holds one.
fn error(vault: &Vault, name: &str, key: &str) -> VaultError {
    let error = vault.get(name, key).unwrap_err();
    let told = vault.reveal(&profile(name, key)).unwrap_err();
    let shown = format!("{error} {error:?} {} {told:?}", error.help());
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(!told.reason.is_empty() && !told.help.is_empty());
    error
}

/// Returns the fixture's text with a line of one section (or the whole armour, for `age`) put into another.
fn take(text: &str, field: &str, from: &str, to: &str) -> String {
    let from = field_of(text, from, field);
    let to = field_of(text, to, field);
    text.replace(&to, &from)
}

fn field_of(text: &str, key: &str, field: &str) -> String {
    let section = &text[text.find(&format!("[values.{key}]")).unwrap()..];
    let start = section.find(&format!("\n{field} = ")).unwrap();
    let rest = &section[start..];
    let end = match field {
        "age" => rest.find("-----END").unwrap(),
        _ => 1 + rest[1..].find('\n').unwrap(),
    };
    rest[..end].to_owned()
}

#[test]
fn values_come_back_as_they_were_set() {
    let fixture = Fixture::new();
    let vault = fixture.vault();
    assert_eq!(vault.get("default", "A").unwrap().expose_secret(), CANARY);
    let value = vault.reveal(&profile("default", "B")).unwrap();
    assert_eq!(value.expose_secret(), "another value");
    vault.verify("default", "A").unwrap();
    vault.verify("claw", "fleet_key").unwrap();
}

#[test]
fn every_recipient_opens_a_value_with_an_ssh_key_too() {
    let fixture = Fixture::new();
    let ssh = Identities::parse(SSH_PRIVATE, "test").unwrap();
    let mut to = fixture.to();
    to.push(SSH_PUBLIC.parse().unwrap());
    let vault = fixture.vault();
    assert_eq!(vault.rekey("claw", &to).unwrap(), ["fleet_key"]);
    vault.set("default", "A", &"two".into(), &to, None, TODAY).unwrap();
    for who in [fixture.member.clone(), ssh] {
        let value = fixture.vault_as(Some(who)).get("default", "A").unwrap();
        assert_eq!(value.expose_secret(), "two");
    }
}

#[test]
fn a_value_is_decrypted_once_and_a_vault_shows_one_state() {
    let fixture = Fixture::new();
    let vault = fixture.vault();
    vault.get("default", "A").unwrap();
    std::fs::remove_file(fixture.path("default")).unwrap();
    std::fs::remove_file(fixture.path("claw")).unwrap();
    assert_eq!(vault.get("default", "A").unwrap().expose_secret(), CANARY);
    // What is given out is what was kept, and nothing that is decrypted again.
    for kept in vault.seen().values.values_mut() {
        *kept = "kept".into();
    }
    assert_eq!(vault.get("default", "A").unwrap().expose_secret(), "kept");
    assert!(fixture.vault().get("default", "A").is_err());
}

#[test]
fn a_thousand_agents_that_share_five_profiles_open_each_value_once() {
    let fixture = Fixture::new();
    let names: Vec<_> = (0..5).flat_map(|p| (0..20).map(move |k| (format!("p{p}"), format!("K{k}")))).collect();
    for p in 0..5 {
        let set = (0..20).map(|k| (format!("K{k}"), format!("{p}-{k}").into())).collect();
        let changes = crate::Changes { set, remove: Vec::new() };
        let vault = fixture.vault();
        let snapshot = vault.snapshot(&format!("p{p}")).unwrap();
        vault.change(&snapshot, &changes, &fixture.to(), None, TODAY).unwrap();
    }
    let vault = fixture.vault();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (name, key) in (0..250).flat_map(|_| &names) {
                    let value = vault.reveal(&profile(name, key)).unwrap();
                    assert_eq!(value.expose_secret(), format!("{}-{}", &name[1..], &key[1..]));
                }
            });
        }
    });
    // and the fleet's key, which each thread may have asked for before it was there
    let opened = vault.opened.load(std::sync::atomic::Ordering::Relaxed);
    assert!((101..=104).contains(&opened), "{opened}");
    assert_eq!(vault.seen().values.len(), 100);
}

#[test]
fn threads_may_share_a_vault() {
    let fixture = Fixture::new();
    let vault: &dyn Secrets = &fixture.vault();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let value = vault.reveal(&profile("default", "A")).unwrap();
                assert_eq!(value.expose_secret(), CANARY);
                vault.fingerprint(b"x").unwrap();
            });
        }
    });
}

#[test]
fn a_value_swapped_with_another_key_is_held() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    let stolen = take(&take(&text, "age", "B", "A"), "mac", "B", "A");
    assert_ne!(stolen, text);
    fixture.put("default", &stolen);
    let error = error(&fixture.vault(), "default", "A");
    assert!(matches!(error, VaultError::BadMac { .. }), "{error}");
    assert!(error.help().contains("claw secret accept default/A"));
    assert!(matches!(fixture.vault().verify("default", "A"), Err(VaultError::BadMac { .. })));
    fixture.vault().get("default", "B").unwrap();
}

#[test]
fn a_value_copied_from_another_profile_is_held() {
    let fixture = Fixture::new();
    fixture.set("work", "A", "of work");
    let moved = fixture.text("default").replace("profile = \"default\"", "profile = \"work\"");
    fixture.put("work", &moved);
    assert!(matches!(error(&fixture.vault(), "work", "A"), VaultError::BadMac { .. }));
}

#[test]
fn a_value_made_with_the_public_recipients_alone_is_held() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    let forged = cipher::seal(b"forged", &fixture.to()).unwrap();
    let old = fixture.vault().list("default").unwrap().remove(0).age;
    fixture.put("default", &text.replace(&old, &forged));
    assert!(matches!(error(&fixture.vault(), "default", "A"), VaultError::BadMac { .. }));
}

#[test]
fn a_change_of_seq_or_recipients_in_clear_is_held() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    let other = identity().recipients()[0].fingerprint();
    for changed in [text.replacen("seq = 1", "seq = 2", 1), text.replacen("to = [", &format!("to = [\"{other}\", "), 1)]
    {
        assert_ne!(changed, text);
        fixture.put("default", &changed);
        assert!(matches!(error(&fixture.vault(), "default", "A"), VaultError::BadMac { .. }));
    }
}

#[test]
fn owner_and_max_age_may_be_edited_by_hand() {
    let fixture = Fixture::new();
    let text = fixture.text("default").replace("[values.A]\n", "[values.A]\nowner = \"jana\"\nmax_age = \"2w\"\n");
    fixture.put("default", &text);
    let vault = fixture.vault();
    vault.get("default", "A").unwrap();
    assert_eq!(vault.list("default").unwrap()[0].due().as_deref(), Some("2026-12-05"));
}

#[test]
fn no_single_character_of_armour_or_mac_can_change() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    for field in ["age", "mac"] {
        let field = field_of(&text, "A", field);
        let start = text.find(&field).unwrap();
        let body = start + field.find("\n").unwrap() + 8..start + field.len();
        for at in body.step_by(7) {
            let mut bytes = text.clone().into_bytes();
            if !bytes[at].is_ascii_alphanumeric() {
                continue;
            }
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            fixture.put("default", std::str::from_utf8(&bytes).unwrap());
            let error = error(&fixture.vault(), "default", "A");
            assert!(matches!(error, VaultError::BadMac { .. } | VaultError::Garbled { .. }), "{at}: {error}");
        }
    }
}

#[test]
fn cut_armour_is_damaged_and_not_a_forgery() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    fixture.put("default", &text.replacen("-----END AGE ENCRYPTED FILE-----\n", "", 1));
    let error = error(&fixture.vault(), "default", "A");
    assert!(error.to_string().contains("cut short"), "{error}");
}

#[test]
fn line_ends_do_not_matter() {
    let fixture = Fixture::new();
    for profile in ["default", "claw"] {
        fixture.put(profile, &fixture.text(profile).replace('\n', "\r\n"));
    }
    assert_eq!(fixture.vault().get("default", "A").unwrap().expose_secret(), CANARY);
}

#[test]
fn a_value_for_others_names_them() {
    let fixture = Fixture::new();
    let other = identity();
    let error_of = |who: &Identities| error(&fixture.vault_as(Some(who.clone())), "default", "A");
    // Not even the fleet key opens for a stranger.
    let stranger = error_of(&other);
    assert!(stranger.to_string().contains(&fixture.to()[0].fingerprint()), "{stranger}");
    assert!(stranger.help().contains(&other.recipients()[0].fingerprint()));
    // A member whom one value leaves out.
    let vault = fixture.vault();
    vault.set("default", "A", &CANARY.into(), &other.recipients(), None, TODAY).unwrap();
    let VaultError::OtherRecipient { what, to, .. } = error_of(&fixture.member) else {
        panic!("another error");
    };
    assert_eq!((what.as_str(), to), ("default/A", fingerprints(&other.recipients())));
}

#[test]
fn without_an_identity_names_can_be_read_and_values_cannot() {
    let fixture = Fixture::new();
    fixture.set("work", "C", "x");
    let vault = fixture.vault_as(None);
    assert_eq!(vault.profiles().unwrap(), ["default", "work"]);
    assert_eq!(vault.key_names("default").unwrap(), ["A", "B"]);
    assert_eq!(vault.gateway_generation("pete").unwrap(), 1);
    let no_value = error(&vault, "default", "A");
    assert!(no_value.to_string().contains("default/A"), "{no_value}");
    assert!(matches!(no_value, VaultError::NoIdentity { .. }));
    let no_token = vault.reveal(&SecretSource::GatewayToken("pete".to_owned())).unwrap_err();
    assert!(no_token.reason.contains("gateway token of pete"), "{no_token}");
    assert!(vault.fingerprint(b"x").is_err());
}

#[test]
fn what_was_found_but_not_used_is_told() {
    let fixture = Fixture::new();
    let mut none = Identities::default();
    none.note("the SSH key is protected".to_owned());
    let error = error(&fixture.vault_as(Some(none)), "default", "A");
    assert!(error.help().contains("the SSH key is protected"));
}

#[test]
fn missing_profiles_and_keys_come_with_what_was_probably_meant() {
    let fixture = Fixture::new();
    fixture.set("default", "TELEGRAM_TOKEN", "x");
    let vault = fixture.vault_as(None);
    assert_eq!(error(&vault, "defualt", "A").help(), "did you mean `default`?");
    let key = error(&vault, "default", "TELEGRAM_TOKN");
    assert_eq!(key.help(), "did you mean `TELEGRAM_TOKEN`?");
    assert_eq!(key.to_string(), "there is no value default/TELEGRAM_TOKN");
    assert!(error(&vault, "zzz", "A").help().contains("claw secret set zzz/KEY"));
    assert!(matches!(error(&vault, "../etc", "A"), VaultError::ProfileName { .. }));
}

#[test]
fn the_fleet_key_never_leaves() {
    let fixture = Fixture::new();
    let error = error(&fixture.vault(), "claw", "fleet_key");
    assert!(matches!(error, VaultError::Reserved));
}

#[test]
fn a_missing_or_forged_fleet_key_opens_nothing() {
    let fixture = Fixture::new();
    let claw = fixture.text("claw");
    std::fs::remove_file(fixture.path("claw")).unwrap();
    assert!(matches!(error(&fixture.vault(), "default", "A"), VaultError::NoFleetKey { .. }));
    // One that a stranger made for the same recipients: no value was signed with it.
    fixture.vault().init(&fixture.to(), TODAY).unwrap();
    assert!(matches!(error(&fixture.vault(), "default", "A"), VaultError::BadMac { .. }));
    // One whose own MAC does not hold.
    fixture.put("claw", &claw.replacen("seq = 1", "seq = 2", 1));
    let error = error(&fixture.vault(), "default", "A");
    assert!(error.to_string().starts_with("claw/fleet_key was not written"), "{error}");
}

#[test]
fn a_file_of_another_fleet_or_under_another_name_is_refused() {
    let fixture = Fixture::new();
    let text = fixture.text("default");
    fixture.put("work", &text);
    let renamed = error(&fixture.vault(), "work", "A");
    assert!(matches!(renamed, VaultError::OtherProfile { .. }), "{renamed}");
    fixture.put("default", &text.replace("k7f3q2", "other1"));
    let foreign = error(&fixture.vault(), "default", "A");
    assert!(foreign.to_string().contains("belongs to the fleet `other1`, not to `k7f3q2`"));
}

#[test]
fn a_file_that_does_not_parse_says_where() {
    let fixture = Fixture::new();
    fixture.put("default", &fixture.text("default").replacen("seq = 1", "seq = ", 1));
    let error = error(&fixture.vault(), "default", "A");
    assert!(error.to_string().contains("default.toml:8:"), "{error}");
}

#[test]
fn gateway_tokens_follow_their_generation() {
    let fixture = Fixture::new();
    let token = |agent: &str| {
        let source = SecretSource::GatewayToken(agent.to_owned());
        fixture.vault().reveal(&source).unwrap().expose_secret().to_owned()
    };
    let (pete, joe) = (token("pete"), token("joe"));
    assert_ne!(pete, joe);
    let vault = fixture.vault();
    assert_eq!(vault.bump_gateway_token("pete").unwrap(), 2);
    assert_ne!(vault.gateway_token("pete").unwrap().expose_secret(), pete);
    assert_ne!(token("pete"), pete);
    assert_eq!(token("joe"), joe);
}

#[test]
fn fingerprints_are_equal_for_equal_values_of_one_fleet_only() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let print = |fixture: &Fixture, value: &[u8]| fixture.vault().fingerprint(value).unwrap();
    assert_eq!(print(&one, b"x"), print(&one, b"x"));
    assert_ne!(print(&one, b"x"), print(&one, b"y"));
    assert_ne!(print(&one, b"x"), print(&other, b"x"));
}

#[test]
fn no_debug_output_holds_a_value() {
    let fixture = Fixture::new();
    let vault = fixture.vault();
    let value = vault.get("default", "A").unwrap();
    let token = vault.gateway_token("pete").unwrap();
    let entry = vault.list("default").unwrap();
    let shown = format!(
        "{vault:?} {value:?} {token:?} {entry:?} {:?} {:?} {:#?}",
        fixture.member,
        vault.fleet_key("x").unwrap(),
        vault.list("claw").unwrap(),
    );
    assert!(!shown.contains(CANARY));
    assert!(!shown.contains(token.expose_secret()));
    assert!(!shown.contains("AGE-SECRET-KEY"));
    // The canary is not on disk either.
    assert!(!fixture.text("default").contains(CANARY));
}

#[test]
fn the_age_program_opens_what_claw_sealed() {
    if Command::new("age").arg("--version").output().is_err() {
        let required = std::env::var("CLAW_TEST_REQUIRE").unwrap_or_default();
        let mut required = required.split([',', ' ']);
        assert!(!required.any(|part| part == "age"), "`age` is required");
        eprintln!("skipped: `age` is not installed");
        return;
    }
    let fixture = Fixture::new();
    let (member, text) = crate::Identity::generate(TODAY);
    let keys = fixture.folder.path().join("keys.txt");
    crate::save_new(&keys, &text).unwrap();
    let vault = fixture.vault();
    let to = [member.recipient()];
    let entry = vault.set("default", "A", &CANARY.into(), &to, None, TODAY).unwrap();
    let mut age =
        Command::new("age").args(["-d", "-i"]).arg(&keys).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut age.stdin.take().unwrap(), entry.age.as_bytes()).unwrap();
    assert_eq!(age.wait_with_output().unwrap().stdout, CANARY.as_bytes());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn any_text_comes_back_and_no_damage_gives_another_value(
        value in "\\PC{1,300}",
        at in 0.0..1.0f64,
        patch in "[ -~\n]{0,3}",
    ) {
        let fixture = Fixture::new();
        fixture.set("default", "A", &value);
        let text = fixture.text("default");
        let read = |vault: Vault| vault.get("default", "A").map(|v| v.expose_secret().to_owned());
        proptest::prop_assert_eq!(read(fixture.vault()).unwrap(), value.clone());
        let at = (text.len() as f64 * at) as usize;
        fixture.put("default", &format!("{}{patch}{}", &text[..at], &text[(at + 2).min(text.len())..]));
        if let Ok(read) = read(fixture.vault()) {
            proptest::prop_assert_eq!(read, value);
        }
    }
}
