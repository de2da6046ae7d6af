//! Identities under a passphrase: OpenSSH keys, and identity files that age encrypted. Each is asked for once, and
//! not before something needs it. Knows no terminal: whoever can ask comes as an argument.

use std::fmt;
use std::io::{BufReader, Read};
use std::iter;
use std::sync::{Arc, OnceLock};

use age::armor::ArmoredReader;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::find::IDENTITY_BYTES_MAX;
use crate::identity::{Identities, Identity};
use crate::recipient::Recipient;

/// Asks for the passphrase of the identity it is given the name of; `None` where nobody answers. Called when a value is to
/// be opened, from any thread, a few times at most.
pub type AskPassphrase = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// How often a passphrase may be wrong.
const TRIES: usize = 3;

/// An identity that is not open yet.
pub(crate) struct Locked {
    file: String,
    kind: Kind,
    ask: AskPassphrase,
    opened: OnceLock<Option<Identities>>,
}

enum Kind {
    Ssh(Box<age::ssh::Identity>, Recipient),
    Age(Zeroizing<Vec<u8>>),
}

impl Locked {
    /// Takes an OpenSSH key under a passphrase, whose public half is in clear; `None` where it is of a type that opens nothing.
    pub(crate) fn ssh(key: age::ssh::Identity, file: &str, ask: &AskPassphrase) -> Option<Self> {
        let public = age::ssh::Recipient::try_from(key.clone()).ok()?.to_string().parse().ok()?;
        Some(Self::new(Kind::Ssh(Box::new(key), public), file, ask))
    }

    /// Takes an identity file that age encrypted; `None` where the bytes are none, or not under a passphrase.
    pub(crate) fn age(bytes: &[u8], file: &str, ask: &AskPassphrase) -> Option<Self> {
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes)).ok()?;
        decryptor.is_scrypt().then(|| Self::new(Kind::Age(Zeroizing::new(bytes.to_vec())), file, ask))
    }

    fn new(kind: Kind, file: &str, ask: &AskPassphrase) -> Self {
        Self { file: file.to_owned(), kind, ask: Arc::clone(ask), opened: OnceLock::new() }
    }

    /// Returns what errors call it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Returns its public key, where that is known without the passphrase.
    pub(crate) fn recipient(&self) -> Option<&Recipient> {
        match &self.kind {
            Kind::Ssh(_, public) => Some(public),
            Kind::Age(_) => None,
        }
    }

    /// Returns what is in it, and asks for the passphrase the first time. `None` where no right one was given: then
    /// nobody is asked again.
    pub(crate) fn open(&self) -> Option<&Identities> {
        let try_once = || (self.ask)(&self.file).map(|passphrase| self.unlock(passphrase));
        let opened = self.opened.get_or_init(|| iter::from_fn(try_once).take(TRIES).find_map(|opened| opened));
        opened.as_ref()
    }

    fn unlock(&self, passphrase: SecretString) -> Option<Identities> {
        match &self.kind {
            Kind::Ssh(key, public) => match key.as_ref() {
                age::ssh::Identity::Encrypted(key) => {
                    let key = age::ssh::Identity::from(key.decrypt(passphrase).ok()?);
                    Some(Identity::from_ssh(key, public.clone()).into())
                }
                _ => None,
            },
            Kind::Age(bytes) => {
                let decryptor =
                    age::Decryptor::new_buffered(BufReader::new(ArmoredReader::new(bytes.as_slice()))).ok()?;
                let key = age::scrypt::Identity::new(passphrase);
                let mut reader = decryptor.decrypt(iter::once(&key as &dyn age::Identity)).ok()?;
                // The capacity is never exceeded, so that no copy is left behind in memory.
                let mut text = Zeroizing::new(String::with_capacity(IDENTITY_BYTES_MAX as usize + 64));
                reader.by_ref().take(IDENTITY_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
                Identities::parse(&text, &self.file).ok()
            }
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locked({})", self.file)
    }
}

/// Returns an OpenSSH key if the text is one under a passphrase.
pub(crate) fn encrypted_ssh(text: &str) -> Option<age::ssh::Identity> {
    let text = Zeroizing::new(text.trim().replace("\r\n", "\n") + "\n");
    let key = age::ssh::Identity::from_buffer(BufReader::new(text.as_bytes()), None).ok()?;
    matches!(key, age::ssh::Identity::Encrypted(_)).then_some(key)
}

/// Returns whether bytes begin as an age file does, armoured or not.
pub(crate) fn is_age_file(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
        || bytes.starts_with(b"age-encryption.org/")
}

/// Returns a text under a passphrase, as `age -p -a` writes it; only tests make such files.
#[cfg(test)]
pub(crate) fn locked_file(text: &SecretString, passphrase: &str) -> String {
    use std::io::Write;

    use secrecy::ExposeSecret;
    // A work factor that takes no time: a guess costs nothing here.
    let mut recipient = age::scrypt::Recipient::new(passphrase.into());
    recipient.set_work_factor(2);
    let encryptor =
        age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).expect("one recipient");
    let armor = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).expect("armour");
    let mut writer = encryptor.wrap_output(armor).expect("a writer");
    writer.write_all(text.expose_secret().as_bytes()).expect("memory");
    String::from_utf8(writer.finish().and_then(|armor| armor.finish()).expect("memory")).expect("armour is text")
}
