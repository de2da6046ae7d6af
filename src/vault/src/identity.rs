//! Holds identities, the private keys that open values, and reads them from text. Knows no path and no environment.

use std::fmt;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::keychain::KeychainError;
use crate::locked::{self, AskPassphrase, Locked};
use crate::names::printable;
use crate::recipient::Recipient;

/// A private key. Its `Debug` shows the public one.
#[derive(Clone)]
pub struct Identity {
    key: Key,
    recipient: Recipient,
}

#[derive(Clone)]
enum Key {
    X25519(age::x25519::Identity),
    Ssh(age::ssh::Identity),
}

impl Identity {
    /// Makes a new key from the system's randomness, and the text to save it with (`age-keygen`'s form).
    /// `today` is an ISO date for a comment in that text.
    #[must_use]
    pub fn generate(today: &str) -> (Self, SecretString) {
        let key = age::x25519::Identity::generate();
        let identity = Self::from_x25519(key.clone());
        let secret = key.to_string();
        let text = Zeroizing::new(format!(
            "# created: {}\n# public key: {}\n{}\n",
            printable(today),
            identity.recipient,
            secret.expose_secret()
        ));
        (identity, SecretString::from(text.as_str()))
    }

    /// Returns the public key that others encrypt to.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.recipient.clone()
    }

    fn from_x25519(key: age::x25519::Identity) -> Self {
        Self { recipient: Recipient::from_x25519(key.to_public()), key: Key::X25519(key) }
    }

    pub(crate) fn from_ssh(key: age::ssh::Identity, recipient: Recipient) -> Self {
        Self { key: Key::Ssh(key), recipient }
    }

    fn as_age(&self) -> &dyn age::Identity {
        match &self.key {
            Key::X25519(key) => key,
            Key::Ssh(key) => key,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.recipient)
    }
}

/// The private keys at hand, tried in order.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    keys: Vec<Identity>,
    locked: Vec<Arc<Locked>>,
    notes: Vec<String>,
}

impl Identities {
    /// Reads an identity file: `AGE-SECRET-KEY-1…` lines with comments, or one OpenSSH private key. `file` is what
    /// errors call it; they never hold a line of it.
    pub fn parse(text: &str, file: &str) -> Result<Self, IdentityError> {
        if locked::is_age_file(text.as_bytes()) {
            return Err(IdentityError::Encrypted { file: file.to_owned() });
        }
        let keys =
            if text.trim_start().starts_with("-----BEGIN") { vec![ssh(text, file)?] } else { age_lines(text, file)? };
        Ok(Self { keys, ..Self::default() })
    }

    /// Reads an identity file as [`Self::parse`] does, and takes what is under a passphrase too: an OpenSSH key, or a
    /// file that age encrypted. `ask` is not called before something is to be opened.
    pub(crate) fn parse_asking(bytes: &[u8], file: &str, ask: &AskPassphrase) -> Result<Self, IdentityError> {
        let text = std::str::from_utf8(bytes);
        let locked = match text.ok().and_then(locked::encrypted_ssh) {
            Some(key) => {
                let other_type = || IdentityError::SshType { file: file.to_owned() };
                Some(Locked::ssh(key, file, ask).ok_or_else(other_type)?)
            }
            None => Locked::age(bytes, file, ask),
        };
        match (locked, text) {
            (Some(locked), _) => Ok(Self { locked: vec![Arc::new(locked)], ..Self::default() }),
            (None, Ok(text)) => Self::parse(text, file),
            (None, Err(_)) => Err(IdentityError::Empty { file: file.to_owned() }),
        }
    }

    /// Returns the public keys of these identities, as far as they are known without a passphrase.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        let locked = self.locked.iter().filter_map(|locked| locked.recipient());
        self.keys.iter().map(Identity::recipient).chain(locked.cloned()).collect()
    }

    /// Returns whether there is one whose public key is known only once it is open.
    pub(crate) fn has_unnamed(&self) -> bool {
        self.locked.iter().any(|locked| locked.recipient().is_none())
    }

    /// Returns whether no key is at hand, open or not; [`Self::notes`] may say why.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.locked.is_empty()
    }

    /// Returns the locked identities that may open what was encrypted to these fingerprints.
    pub(crate) fn locked_for(&self, to: &[String]) -> Vec<&Locked> {
        let fits = |locked: &&Locked| locked.recipient().is_none_or(|public| to.contains(&public.fingerprint()));
        self.locked.iter().map(AsRef::as_ref).filter(fits).collect()
    }

    /// Returns what was found where identities are looked for by default, but could not be used.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
        self.locked.append(&mut other.locked);
        self.notes.append(&mut other.notes);
    }

    pub(crate) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(Identity::as_age)
    }
}

impl From<Identity> for Identities {
    fn from(identity: Identity) -> Self {
        Self { keys: vec![identity], ..Self::default() }
    }
}

/// Why an identity cannot be had. Never holds a line of the file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A line that is neither a key nor a comment.
    #[error("line {line} of {file} is not an age identity")]
    Line {
        /// The file as the caller calls it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// An age identity that needs a plugin.
    #[error("line {line} of {file} is an identity of an age plugin")]
    Plugin {
        /// The file as the caller calls it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// No key in the file.
    #[error("{file} holds no identity")]
    Empty {
        /// The file as the caller calls it.
        file: String,
    },
    /// An SSH key under a passphrase, or an identity file that age encrypted, and nobody to ask.
    #[error("the identity {file} is protected by a passphrase")]
    Encrypted {
        /// The file as the caller calls it.
        file: String,
    },
    /// An SSH key of another type than ed25519 and RSA, or of too few bits.
    #[error("the SSH key {file} is neither an ed25519 nor an RSA key of 2048 to 4096 bits")]
    SshType {
        /// The file as the caller calls it.
        file: String,
    },
    /// An SSH key that does not decode.
    #[error("the SSH key {file} does not decode")]
    Garbled {
        /// The file as the caller calls it.
        file: String,
    },
    /// `CLAW_IDENTITY` is neither a key nor a file. Its text is not shown: it may be a mistyped key.
    #[error("CLAW_IDENTITY is neither an identity nor a file that exists")]
    Named,
    /// The file cannot be read.
    #[error("the identity file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("the identity file {} cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A new identity would overwrite an older one.
    #[error("{} exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// More bytes than any identity file has.
    #[error("{} is too large to be an identity file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The keychain that was named did not give it.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// Others on this machine can read the file.
    #[error("the identity file {} can be read by others (mode {mode:04o})", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl IdentityError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Line { .. } | Self::Empty { .. } => {
                "an identity file has one `AGE-SECRET-KEY-1…` a line, as `claw identity` and `age-keygen` write it, \
                 or is one OpenSSH private key"
                    .to_owned()
            }
            Self::Plugin { .. } => {
                "plugins are not run: use a key of its own for claw, from `claw identity`".to_owned()
            }
            Self::Encrypted { .. } => {
                "run claw on a terminal to be asked for it; where nobody is asked, as in CI, use an identity of its own from \
                 `claw identity new` and have its recipient added"
                    .to_owned()
            }
            Self::SshType { .. } => "use an ed25519 key (`ssh-keygen -t ed25519`) or `claw identity`".to_owned(),
            Self::Garbled { .. } => "copy the whole file again, from its BEGIN line to its END line".to_owned(),
            Self::Named => "set CLAW_IDENTITY to a path, an `AGE-SECRET-KEY-1…` or `keychain:SERVICE/ACCOUNT`, or unset it".to_owned(),
            Self::Unreadable { .. } => "check that the file exists and that you may read it".to_owned(),
            Self::Unwritable { .. } => "check that you may write there".to_owned(),
            Self::Exists { .. } => {
                "an identity is never overwritten: what was encrypted to it would be lost. Move it away first"
                    .to_owned()
            }
            Self::TooLarge { .. } => "name the identity file itself".to_owned(),
            Self::Keychain(error) => error.help(),
            Self::TooOpen { path, .. } => format!("run `chmod 600 {}`", path.display()),
        }
    }
}

fn age_lines(text: &str, file: &str) -> Result<Vec<Identity>, IdentityError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (file, number) = (file.to_owned(), index + 1);
        if line.starts_with("AGE-PLUGIN-") {
            return Err(IdentityError::Plugin { file, line: number });
        }
        let key = line.parse().map_err(|_| IdentityError::Line { file, line: number })?;
        keys.push(Identity::from_x25519(key));
    }
    if keys.is_empty() {
        return Err(IdentityError::Empty { file: file.to_owned() });
    }
    Ok(keys)
}

fn ssh(text: &str, file: &str) -> Result<Identity, IdentityError> {
    let text = Zeroizing::new(text.trim().replace("\r\n", "\n") + "\n");
    let file = file.to_owned();
    let Ok(key) = age::ssh::Identity::from_buffer(BufReader::new(text.as_bytes()), None) else {
        return Err(IdentityError::Garbled { file });
    };
    if matches!(
        key,
        age::ssh::Identity::Encrypted(_)
            | age::ssh::Identity::Unsupported(
                age::ssh::UnsupportedKey::EncryptedPem | age::ssh::UnsupportedKey::EncryptedSsh(_)
            )
    ) {
        return Err(IdentityError::Encrypted { file });
    }
    let recipient = age::ssh::Recipient::try_from(key.clone()).ok().and_then(|public| public.to_string().parse().ok());
    match recipient {
        Some(recipient) => Ok(Identity::from_ssh(key, recipient)),
        None => Err(IdentityError::SshType { file }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::{SSH_ENCRYPTED, SSH_PRIVATE, SSH_PUBLIC};

    #[test]
    fn a_file_of_several_keys_and_comments_is_read_in_order() {
        let (one, first) = Identity::generate("2026-11-21");
        let (two, second) = Identity::generate("2026-11-21");
        let text = format!("{}\r\n\n  # mine\n{}", first.expose_secret(), second.expose_secret());
        let read = Identities::parse(&text, "f").unwrap();
        assert_eq!(read.recipients(), [one.recipient(), two.recipient()]);
    }

    #[test]
    fn an_openssh_key_is_read_whatever_its_line_ends() {
        for text in [SSH_PRIVATE.to_owned(), SSH_PRIVATE.replace('\n', "\r\n"), SSH_PRIVATE.trim().to_owned()] {
            let read = Identities::parse(&text, "f").unwrap();
            assert_eq!(read.recipients()[0].to_string(), SSH_PUBLIC);
        }
    }

    #[test]
    fn an_ssh_key_under_a_passphrase_says_so() {
        let error = Identities::parse(SSH_ENCRYPTED, "id_ed25519").unwrap_err();
        assert!(matches!(error, IdentityError::Encrypted { .. }));
        assert!(error.help().contains("claw identity"));
    }

    #[test]
    fn what_is_not_an_identity_is_named_by_its_line_and_never_quoted() {
        let (_, text) = Identity::generate("2026-11-21");
        let text = text.expose_secret();
        let broken = &text[..text.len() - 2];
        let error = Identities::parse(broken, "f").unwrap_err();
        assert!(matches!(error, IdentityError::Line { line: 3, .. }));
        assert!(!format!("{error} {error:?}").contains("AGE-SECRET"));
        let cut = &SSH_PRIVATE[..200];
        assert!(matches!(Identities::parse(cut, "f"), Err(IdentityError::Garbled { .. })));
        assert!(matches!(Identities::parse("# nothing\n", "f"), Err(IdentityError::Empty { .. })));
        assert!(matches!(Identities::parse("AGE-PLUGIN-YUBIKEY-1QQ", "f"), Err(IdentityError::Plugin { line: 1, .. })));
    }

    #[test]
    fn debug_shows_the_public_key_only() {
        let (identity, text) = Identity::generate("2026-11-21");
        let read = Identities::parse(text.expose_secret(), "f").unwrap();
        let ssh = Identities::parse(SSH_PRIVATE, "f").unwrap();
        let shown = format!("{identity:?} {read:?} {text:?} {ssh:?}");
        assert!(!shown.contains(&SSH_PRIVATE[40..80]) && shown.contains(SSH_PUBLIC));
        assert!(shown.contains(&identity.recipient().to_string()));
        assert!(!shown.contains("AGE-SECRET-KEY"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", body in "[A-Za-z0-9+/=\n]{0,400}") {
            drop(Identities::parse(&text, "f"));
            drop(Identities::parse(
                &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"), "f"));
        }
    }
}
