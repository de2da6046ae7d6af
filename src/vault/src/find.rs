//! Finds identities where people keep them, and saves new ones. Reads no environment: the caller does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::identity::{Identities, IdentityError};
use crate::keychain::{Keychain, KeychainError, KeychainItem};
use crate::locked::{self, AskPassphrase};

/// The most bytes an identity file may have: a hundred keys with comments.
pub(crate) const IDENTITY_BYTES_MAX: u64 = 64 << 10;

/// Where identities are looked for, and who may be asked.
#[derive(Clone)]
pub struct Places<'a> {
    /// The text of `CLAW_IDENTITY`: keys, a path, or `keychain:SERVICE/ACCOUNT`. Empty counts as unset: so CI hands over
    /// a secret it does not have.
    pub named: Option<&'a str>,
    /// The home folder.
    pub home: Option<&'a Path>,
    /// The keychain that `keychain:` names.
    pub keychain: &'a Keychain,
    /// Whether the keychain is looked into though nobody named it.
    pub keychain_by_default: bool,
    /// Asks for a passphrase, when one is the only way to open something and not before.
    pub ask: Option<&'a AskPassphrase>,
}

/// Finds the identities: what is named and nothing else, or those of `~/.config/claw/identity.txt` and
/// `~/.ssh/id_ed25519`. Where the first of them is missing the keychain's `claw/identity` is looked for too.
///
/// A named one must exist and parse. A default SSH key that claw cannot use (a passphrase, and nobody to ask) is left
/// aside with a note, and so is a keychain that does not answer. `None` where there is nothing.
pub fn find(places: &Places<'_>) -> Result<Option<Identities>, IdentityError> {
    if let Some(named) = places.named.map(str::trim).filter(|named| !named.is_empty()) {
        return named_identity(named, places).map(Some);
    }
    let in_home = |path| places.home.map(|home: &Path| home.join(path));
    let own = in_home(".config/claw/identity.txt").map_or(Ok(None), |path| read(&path, places.ask))?;
    let ssh = in_home(".ssh/id_ed25519").map_or(Ok(None), |path| default_ssh(&path, places.ask))?;
    let kept = if own.is_none() && places.keychain_by_default { default_kept(places)? } else { None };
    Ok([own, ssh, kept].into_iter().flatten().reduce(|mut all, more| {
        all.append(more);
        all
    }))
}

/// Returns what the keychain has where claw puts it. One that fails is a note: another identity may do.
fn default_kept(places: &Places<'_>) -> Result<Option<Identities>, IdentityError> {
    if !places.keychain.is_there() {
        return Ok(None);
    }
    let item = KeychainItem::identity();
    match places.keychain.read(&item) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => parse(text.expose_secret().as_bytes(), &item.to_string(), places.ask).map(Some),
        Err(error) => {
            let mut none = Identities::default();
            none.note(error.to_string());
            Ok(Some(none))
        }
    }
}

/// Saves the text of a new identity at `path`, readable by its owner only; its folder is made where it is missing.
/// Never overwrites.
pub fn save_new(path: &Path, text: &SecretString) -> Result<(), IdentityError> {
    save(path, text).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::Exists { path },
            _ => IdentityError::Unwritable { path, source },
        }
    })
}

fn named_identity(named: &str, places: &Places<'_>) -> Result<Identities, IdentityError> {
    let (home, ask) = (places.home, places.ask);
    if named.contains("-----BEGIN") || named.contains("AGE-SECRET-KEY-") {
        return parse(named.as_bytes(), "CLAW_IDENTITY", ask);
    }
    if let Some(item) = named.strip_prefix("keychain:") {
        let item: KeychainItem = item.parse()?;
        let text = places.keychain.read(&item)?.ok_or_else(|| KeychainError::Missing { item: item.clone() })?;
        return parse(text.expose_secret().as_bytes(), &item.to_string(), ask);
    }
    let path = match (named.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(named),
    };
    match read(&path, ask) {
        Ok(Some(identities)) => Ok(identities),
        Ok(None) => Err(IdentityError::Named),
        // A key that was mistyped beyond recognition is no path; its text must not be shown as one.
        Err(IdentityError::Unreadable { .. }) if !path.exists() => Err(IdentityError::Named),
        Err(error) => Err(error),
    }
}

fn default_ssh(path: &Path, ask: Option<&AskPassphrase>) -> Result<Option<Identities>, IdentityError> {
    match read(path, ask) {
        Err(
            error @ (IdentityError::Encrypted { .. } | IdentityError::SshType { .. } | IdentityError::Garbled { .. }),
        ) => {
            let mut none = Identities::default();
            none.note(error.to_string());
            Ok(Some(none))
        }
        other => other,
    }
}

/// Reads an identity file; `None` where there is none.
fn read(path: &Path, ask: Option<&AskPassphrase>) -> Result<Option<Identities>, IdentityError> {
    let unreadable = |source| IdentityError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    refuse_open_to_others(path, &file)?;
    // The capacity is never exceeded, so that no copy is left behind in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(IDENTITY_BYTES_MAX as usize + 64));
    file.take(IDENTITY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > IDENTITY_BYTES_MAX {
        return Err(IdentityError::TooLarge { path: path.to_owned() });
    }
    parse(&bytes, &path.display().to_string(), ask).map(Some)
}

fn parse(bytes: &[u8], file: &str, ask: Option<&AskPassphrase>) -> Result<Identities, IdentityError> {
    match (ask, std::str::from_utf8(bytes)) {
        (Some(ask), _) => Identities::parse_asking(bytes, file, ask),
        (None, Ok(text)) => Identities::parse(text, file),
        (None, Err(_)) if locked::is_age_file(bytes) => Err(IdentityError::Encrypted { file: file.to_owned() }),
        (None, Err(_)) => Err(IdentityError::Empty { file: file.to_owned() }),
    }
}

/// Looks at the opened file and not at its path, which may name another one by now.
#[cfg(unix)]
fn refuse_open_to_others(path: &Path, file: &File) -> Result<(), IdentityError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata().map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(IdentityError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open_to_others(_: &Path, _: &File) -> Result<(), IdentityError> {
    Ok(())
}

fn save(path: &Path, text: &SecretString) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(text.expose_secret().as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half an identity is worse than none: it would stop the next attempt. The first error is the one to tell.
        drop(fs::remove_file(path));
    }
    written
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::identity::Identity;
    use crate::testing::{SSH_ENCRYPTED, SSH_ENCRYPTED_PUBLIC, SSH_PRIVATE, SSH_PUBLIC};

    fn find(env: Option<&str>, home: Option<&Path>) -> Result<Option<Identities>, IdentityError> {
        find_in(env, home, &Keychain::none("not here"), None)
    }

    fn find_asking(
        env: Option<&str>,
        home: Option<&Path>,
        ask: &AskPassphrase,
    ) -> Result<Option<Identities>, IdentityError> {
        find_in(env, home, &Keychain::none("not here"), Some(ask))
    }

    fn find_in(
        named: Option<&str>,
        home: Option<&Path>,
        keychain: &Keychain,
        ask: Option<&AskPassphrase>,
    ) -> Result<Option<Identities>, IdentityError> {
        super::find(&Places { named, home, keychain, keychain_by_default: true, ask })
    }

    #[test]
    fn the_keychain_is_looked_into_last_and_only_where_claws_own_file_is_missing() {
        let (home, keychain) = (TempDir::new().unwrap(), Keychain::mock());
        let (kept, text) = Identity::generate("2026-11-21");
        keychain.save_new(&KeychainItem::identity(), &text).unwrap();
        let found = |home| find_in(None, home, &keychain, None).unwrap().unwrap().recipients();
        assert_eq!(found(None), [kept.recipient()]);
        put(&home, ".ssh/id_ed25519", SSH_PRIVATE);
        assert_eq!(found(Some(home.path())), [SSH_PUBLIC.parse().unwrap(), kept.recipient()]);
        let (own, text) = Identity::generate("2026-11-21");
        put(&home, ".config/claw/identity.txt", text.expose_secret());
        assert_eq!(found(Some(home.path())), [own.recipient(), SSH_PUBLIC.parse().unwrap()]);
        let quiet = Places { named: None, home: None, keychain: &keychain, keychain_by_default: false, ask: None };
        assert!(super::find(&quiet).unwrap().is_none());
    }

    #[test]
    fn an_item_of_the_keychain_can_be_named_and_must_then_be_there() {
        let keychain = Keychain::mock();
        let (kept, text) = Identity::generate("2026-11-21");
        keychain.save_new(&"work/me".parse().unwrap(), &text).unwrap();
        keychain.save_new(&"work/bad".parse().unwrap(), &"AGE-SECRET-KEY-1CANARY".into()).unwrap();
        let named = |name| find_in(Some(name), None, &keychain, None);
        assert_eq!(named("keychain:work/me").unwrap().unwrap().recipients(), [kept.recipient()]);
        for (name, says) in [
            ("keychain:work/none", "there is no keychain:work/none"),
            ("keychain:work", "not the name of a keychain item"),
            ("keychain:work/bad", "line 1 of keychain:work/bad"),
        ] {
            let error = named(name).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(!format!("{error} {error:?} {}", error.help()).contains("CANARY"));
        }
        let none = Keychain::none("there is no bus");
        let error = find_in(Some("keychain:work/me"), None, &none, None).unwrap_err();
        assert!(error.to_string().contains("there is no bus") && error.help().contains("identity.txt"));
    }

    fn put(home: &TempDir, path: &str, text: &str) -> PathBuf {
        let path = home.path().join(path);
        save_new(&path, &SecretString::from(text)).unwrap();
        path
    }

    fn recipients(env: Option<&str>, home: &TempDir) -> Vec<String> {
        let found = find(env, Some(home.path())).unwrap().unwrap();
        found.recipients().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_found_in_an_empty_home() {
        let home = TempDir::new().unwrap();
        assert!(find(None, Some(home.path())).unwrap().is_none());
        assert!(find(Some(" "), None).unwrap().is_none());
    }

    #[test]
    fn default_identities_are_claws_own_and_then_the_ssh_key() {
        let home = TempDir::new().unwrap();
        let (own, text) = Identity::generate("2026-11-21");
        put(&home, ".ssh/id_ed25519", SSH_PRIVATE);
        assert_eq!(recipients(None, &home), [SSH_PUBLIC]);
        put(&home, ".config/claw/identity.txt", text.expose_secret());
        assert_eq!(recipients(None, &home), [own.recipient().to_string(), SSH_PUBLIC.to_owned()]);
    }

    #[test]
    fn a_named_identity_is_the_only_one() {
        let home = TempDir::new().unwrap();
        put(&home, ".ssh/id_ed25519", SSH_PRIVATE);
        let (named, text) = Identity::generate("2026-11-21");
        let wanted = [named.recipient().to_string()];
        assert_eq!(recipients(Some(text.expose_secret()), &home), wanted);
        let path = put(&home, "keys/mine.txt", text.expose_secret());
        assert_eq!(recipients(path.to_str(), &home), wanted);
        assert_eq!(recipients(Some("~/keys/mine.txt"), &home), wanted);
        assert_eq!(recipients(Some(SSH_PRIVATE), &home), [SSH_PUBLIC]);
    }

    #[test]
    fn a_named_identity_that_is_missing_or_broken_is_an_error_that_does_not_quote_it() {
        let home = TempDir::new().unwrap();
        let (_, text) = Identity::generate("2026-11-21");
        let key = text.expose_secret().lines().last().unwrap().to_owned();
        let long = "GE-SECRET-KEY".repeat(1000);
        for broken in [&key[..40], &key[3..], "/nowhere/at/all", &long] {
            let error = find(Some(broken), Some(home.path())).unwrap_err();
            let shown = format!("{error} {error:?} {}", error.help());
            assert!(!shown.contains(&key[20..40]), "{shown}");
            assert!(!shown.contains("GE-SECRET-KEYGE"), "{shown}");
        }
    }

    #[test]
    fn a_default_ssh_key_under_a_passphrase_is_left_aside_with_a_note() {
        let home = TempDir::new().unwrap();
        put(&home, ".ssh/id_ed25519", SSH_ENCRYPTED);
        let found = find(None, Some(home.path())).unwrap().unwrap();
        assert!(found.is_empty());
        assert!(found.notes()[0].contains("passphrase"));
        assert!(find(home.path().join(".ssh/id_ed25519").to_str(), None).is_err());
    }

    #[test]
    fn an_identity_under_a_passphrase_is_asked_for_once_and_when_something_needs_it() {
        use crate::testing::{CANARY, Fixture, TODAY};
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (one, text) = Identity::generate("2026-11-21");
        let fixture = Fixture::new();
        let ssh: crate::Recipient = SSH_ENCRYPTED_PUBLIC.parse().unwrap();
        let to = [fixture.to(), vec![ssh, one.recipient()]].concat();
        fixture.vault().rekey("claw", &to).unwrap();
        fixture.vault().rekey("default", &to).unwrap();
        let locked_age = crate::locked::locked_file(&text, "pw");
        for (path, text) in [(".ssh/id_ed25519", SSH_ENCRYPTED), (".config/claw/identity.txt", &locked_age)] {
            let home = TempDir::new().unwrap();
            put(&home, path, text);
            for (answers, asked, opens) in [
                (vec!["pw"], 1, true),
                (vec!["wrong", "pw"], 2, true),
                (vec!["a", "b", "c", "pw"], 3, false),
                (vec![], 1, false),
            ] {
                let count = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&count);
                let ask: AskPassphrase = Arc::new(move |file| {
                    assert!(file.ends_with("identity.txt") || file.ends_with("id_ed25519"));
                    let at = counted.fetch_add(1, Ordering::Relaxed);
                    answers.get(at).map(|answer| SecretString::from(*answer))
                });
                let found = find_asking(None, Some(home.path()), &ask).unwrap().unwrap();
                assert!(!found.is_empty() && !format!("{found:?}").contains("SECRET"));
                let vault = fixture.vault_as(Some(found));
                vault.list("default").unwrap();
                assert_eq!(count.load(Ordering::Relaxed), 0, "nothing needs it yet");
                let got = vault.get("default", "A");
                match got {
                    Ok(value) => assert!(opens && value.expose_secret() == CANARY),
                    Err(error) => assert!(!opens && error.to_string().contains("stays locked"), "{error}"),
                }
                drop(vault.get("default", "B"));
                drop(vault.set("default", "C", &"x".into(), &to, None, TODAY));
                assert_eq!(count.load(Ordering::Relaxed), asked);
            }
            // Where nobody can be asked it is left aside, or an error.
            match find(None, Some(home.path())) {
                Ok(found) => assert!(found.unwrap().notes()[0].contains("passphrase")),
                Err(error) => assert!(matches!(error, IdentityError::Encrypted { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn a_locked_key_that_is_no_recipient_is_not_asked_for() {
        use crate::testing::Fixture;
        let home = TempDir::new().unwrap();
        put(&home, ".ssh/id_ed25519", SSH_ENCRYPTED);
        let ask: AskPassphrase = std::sync::Arc::new(|_| panic!("it opens nothing here"));
        let found = find_asking(None, Some(home.path()), &ask).unwrap();
        let error = Fixture::new().vault_as(found).get("default", "A").unwrap_err();
        assert!(matches!(error, crate::VaultError::OtherRecipient { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn an_identity_that_others_can_read_is_refused_with_the_command_that_helps() {
        use std::os::unix::fs::PermissionsExt;
        let home = TempDir::new().unwrap();
        let path = put(&home, ".ssh/id_ed25519", SSH_PRIVATE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = find(None, Some(home.path())).unwrap_err();
        assert!(error.to_string().contains("0640"), "{error}");
        assert!(error.help().contains("chmod 600"));
    }

    #[test]
    fn a_saved_identity_is_never_overwritten() {
        let home = TempDir::new().unwrap();
        let path = put(&home, "a/b/identity.txt", "first");
        let error = save_new(&path, &SecretString::from("second")).unwrap_err();
        assert!(matches!(error, IdentityError::Exists { .. }));
        assert_eq!(fs::read_to_string(path).unwrap(), "first");
    }

    #[test]
    fn a_file_too_large_for_an_identity_is_refused() {
        let home = TempDir::new().unwrap();
        let path = put(&home, "large", &"#".repeat(IDENTITY_BYTES_MAX as usize + 1));
        let error = find(path.to_str(), None).unwrap_err();
        assert!(matches!(error, IdentityError::TooLarge { .. }));
    }
}
