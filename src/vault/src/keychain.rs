//! Reads and keeps texts in the system's keychain: macOS' keychain, Windows' credentials, the Secret Service of a Linux
//! desktop. Reads no environment: where the session bus is comes as an argument. Never writes over an item.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use keyring_core::{CredentialStore, Entry, Error};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::names::{VALUE_BYTES_MAX, printable};

/// How long the system may take: long enough for a person to unlock a keychain that asks.
const SECONDS_MAX: u64 = 60;

/// The most letters of a service or an account: what every system takes.
const NAME_MAX: usize = 200;

/// The system's keychain, opened when something is asked of it and not before.
#[derive(Clone)]
pub struct Keychain(Access);

#[derive(Clone)]
enum Access {
    /// None, for the reason given.
    None(&'static str),
    System,
    #[cfg(test)]
    Mock(Arc<CredentialStore>),
}

impl Keychain {
    /// Returns the keychain of this system. `session_bus` is the text of `DBUS_SESSION_BUS_ADDRESS`: without it there is
    /// no keychain on Linux, which is then known without asking anybody.
    #[must_use]
    pub fn of_system(session_bus: Option<&str>) -> Self {
        if cfg!(any(target_os = "macos", windows)) {
            return Self(Access::System);
        }
        if !cfg!(target_os = "linux") {
            return Self(Access::None("claw knows no keychain of this system"));
        }
        match session_bus.is_some_and(|address| !address.trim().is_empty()) {
            true => Self(Access::System),
            false => Self(Access::None("this session has no bus (DBUS_SESSION_BUS_ADDRESS is not set)")),
        }
    }

    /// Returns no keychain, where none is to be asked; `why` is told to whoever names an item of it.
    #[must_use]
    pub fn none(why: &'static str) -> Self {
        Self(Access::None(why))
    }

    #[cfg(test)]
    pub(crate) fn mock() -> Self {
        Self(Access::Mock(keyring_core::mock::Store::new().expect("memory")))
    }

    /// Returns whether there is one to ask. Asks nobody.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self.0, Access::None(_))
    }

    /// Returns the text of an item; `None` where the keychain has no such item.
    pub fn read(&self, item: &KeychainItem) -> Result<Option<SecretString>, KeychainError> {
        self.within_limit(item, |entry| match entry.get_password() {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        })?
        .map(|text| match text.len() {
            0..=VALUE_BYTES_MAX => Ok(SecretString::from(text.as_str())),
            _ => Err(KeychainError::TooLong { item: item.clone() }),
        })
        .transpose()
    }

    /// Keeps a text as a new item. An item that is there already stays as it is.
    pub fn save_new(&self, item: &KeychainItem, text: &SecretString) -> Result<(), KeychainError> {
        if self.read(item)?.is_some() {
            return Err(KeychainError::Exists { item: item.clone() });
        }
        let text = text.clone();
        self.within_limit(item, move |entry| entry.set_password(text.expose_secret()))
    }

    /// Does something with an item in a thread of its own, which is left behind when it does not come back.
    fn within_limit<T: Send + 'static>(
        &self,
        item: &KeychainItem,
        work: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let (access, asked) = (self.0.clone(), item.clone());
        if let Access::None(why) = access {
            return Err(KeychainError::NoKeychain { why });
        }
        let (send, receive) = mpsc::channel();
        let job = move || {
            let done = store(&access).and_then(|store| {
                let entry = store.build(&asked.service, &asked.account, None)?;
                work(&entry)
            });
            // Nobody may be waiting any more.
            drop(send.send(done));
        };
        let spawned = thread::Builder::new().name("keychain".to_owned()).spawn(job);
        spawned.map_err(|_| KeychainError::Failed { item: item.clone(), why: "no thread could be had".to_owned() })?;
        match receive.recv_timeout(Duration::from_secs(SECONDS_MAX)) {
            Ok(done) => done.map_err(|error| failed(item, error)),
            Err(_) => Err(KeychainError::Slow { item: item.clone() }),
        }
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keychain(is_there: {})", self.is_there())
    }
}

/// Opens the store that this system has.
fn store(access: &Access) -> Result<Arc<CredentialStore>, Error> {
    match access {
        Access::None(why) => Err(Error::NotSupportedByStore((*why).to_owned())),
        #[cfg(target_os = "linux")]
        Access::System => Ok(dbus_secret_service_keyring_store::Store::new()?),
        #[cfg(target_os = "macos")]
        Access::System => Ok(apple_native_keyring_store::keychain::Store::new()?),
        #[cfg(windows)]
        Access::System => Ok(windows_native_keyring_store::Store::new()?),
        #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
        Access::System => Err(Error::NoDefaultStore),
        #[cfg(test)]
        Access::Mock(store) => Ok(Arc::clone(store)),
    }
}

/// Returns what went wrong. The store's own error may hold the bytes of an item, and is dropped here.
fn failed(item: &KeychainItem, error: Error) -> KeychainError {
    let item = item.clone();
    let why = match error {
        Error::PlatformFailure(source) | Error::NoStorageAccess(source) => printable(&source.to_string()),
        Error::BadEncoding(bytes) | Error::BadDataFormat(bytes, _) => {
            drop(Zeroizing::new(bytes));
            "the item is not text".to_owned()
        }
        Error::Ambiguous(_) => "several items have this name".to_owned(),
        Error::TooLong(..) => "the system keeps no text of this length".to_owned(),
        _ => "the system's keychain does not do it".to_owned(),
    };
    KeychainError::Failed { item, why }
}

/// The name of an item: `SERVICE/ACCOUNT`, as the system's own tools call the two. The last `/` parts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeychainItem {
    service: String,
    account: String,
}

impl KeychainItem {
    /// Returns where claw keeps an identity unless somebody says otherwise: `claw/identity`.
    #[must_use]
    pub fn identity() -> Self {
        Self { service: "claw".to_owned(), account: "identity".to_owned() }
    }

    /// Returns the part after the last `/`.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl FromStr for KeychainItem {
    type Err = KeychainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |part: &str| (1..=NAME_MAX).contains(&part.len()) && !part.chars().any(char::is_control);
        match text.rsplit_once('/') {
            Some((service, account)) if fits(service) && fits(account) => {
                Ok(Self { service: service.to_owned(), account: account.to_owned() })
            }
            _ => Err(KeychainError::Name),
        }
    }
}

impl fmt::Display for KeychainItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keychain:{}/{}", self.service, self.account)
    }
}

/// Why the keychain did not do what it was asked. Never holds an item's text.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeychainError {
    /// A text that names no item. It is not shown: somebody may have written a key there.
    #[error("this is not the name of a keychain item")]
    Name,
    /// There is no keychain to ask.
    #[error("there is no keychain to ask: {why}")]
    NoKeychain {
        /// How that is known.
        why: &'static str,
    },
    /// The keychain has no such item.
    #[error("there is no {item}")]
    Missing {
        /// The item.
        item: KeychainItem,
    },
    /// A new item would overwrite an older one.
    #[error("{item} exists")]
    Exists {
        /// The item.
        item: KeychainItem,
    },
    /// The system said no.
    #[error("{item} cannot be had: {why}")]
    Failed {
        /// The item.
        item: KeychainItem,
        /// What the system said.
        why: String,
    },
    /// More bytes than any value has.
    #[error("{item} is longer than {} KiB", VALUE_BYTES_MAX >> 10)]
    TooLong {
        /// The item.
        item: KeychainItem,
    },
    /// The system does not answer.
    #[error("the keychain did not give {item} within {SECONDS_MAX} seconds")]
    Slow {
        /// The item.
        item: KeychainItem,
    },
}

impl KeychainError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Name => "write SERVICE/ACCOUNT, as the system's own tools call the two",
            Self::NoKeychain { .. } | Self::Failed { .. } => {
                "without a keychain, as on most servers, an identity lies in ~/.config/claw/identity.txt (`claw identity new`), \
                 under a passphrase if you like (`age -p`), or CLAW_IDENTITY names its file"
            }
            Self::Missing { .. } => {
                "look at its service and account in the system's own tool; `claw identity new --keychain` makes an identity"
            }
            Self::Exists { .. } => "an item is never overwritten: name another one, or remove it with the system's own tool",
            Self::TooLong { .. } => "name the item of one secret",
            Self::Slow { .. } => "unlock the keychain, or use an identity in a file: `claw identity new`",
        }
        .to_owned()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::CANARY;

    #[test]
    fn what_is_kept_comes_back_and_is_never_written_over() {
        let (keychain, item) = (Keychain::mock(), KeychainItem::identity());
        assert!(keychain.read(&item).unwrap().is_none());
        keychain.save_new(&item, &CANARY.into()).unwrap();
        assert_eq!(keychain.read(&item).unwrap().unwrap().expose_secret(), CANARY);
        let error = keychain.save_new(&item, &"other".into()).unwrap_err();
        assert!(matches!(error, KeychainError::Exists { .. }), "{error}");
        assert_eq!(keychain.read(&item).unwrap().unwrap().expose_secret(), CANARY);
    }

    #[test]
    fn an_item_is_named_by_its_service_and_account() {
        for (text, service, account) in
            [("claw/identity", "claw", "identity"), ("https://api.example/x/me", "https://api.example/x", "me")]
        {
            let item: KeychainItem = text.parse().unwrap();
            assert_eq!((item.service.as_str(), item.account()), (service, account));
            assert_eq!(item.to_string(), format!("keychain:{text}"));
        }
        for wrong in ["", "claw", "/x", "x/", "a\n/b", &"x/".repeat(300)] {
            assert!(matches!(wrong.parse::<KeychainItem>(), Err(KeychainError::Name)), "{wrong}");
        }
    }

    #[test]
    fn what_the_system_says_no_to_is_told_without_the_item() {
        let item = KeychainItem::identity();
        for error in [
            Error::BadEncoding(CANARY.into()),
            Error::BadDataFormat(CANARY.into(), "bad".into()),
            Error::NoStorageAccess("locked".into()),
            Error::Ambiguous(Vec::new()),
        ] {
            let error = failed(&item, error);
            assert!(!format!("{error} {error:?}").contains(CANARY));
            assert!(error.help().contains("identity.txt"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_session_bus_there_is_no_keychain_and_nobody_is_asked() {
        for bus in [None, Some(""), Some(" ")] {
            let keychain = Keychain::of_system(bus);
            assert!(!keychain.is_there());
            let error = keychain.read(&KeychainItem::identity()).unwrap_err();
            assert!(error.to_string().contains("DBUS_SESSION_BUS_ADDRESS") && error.help().contains("identity.txt"));
        }
        assert!(Keychain::of_system(Some("unix:path=/run/user/1/bus")).is_there());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_bus_without_anybody_behind_it_is_an_error_at_once() {
        let keychain = Keychain::of_system(Some("unix:path=/nowhere"));
        // The store reads the address from the environment itself, where a test's is none.
        if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() {
            let begun = std::time::Instant::now();
            let error = keychain.read(&KeychainItem::identity()).unwrap_err();
            assert!(matches!(error, KeychainError::Failed { .. }), "{error}");
            assert!(begun.elapsed().as_secs() < 10);
        }
    }
}
