//! The ways to authenticate: a key held in memory, a key file, an agent.
//!
//! Only ed25519. It does not look for keys by itself: no `~/.ssh`, no environment. `Debug` shows fingerprints and paths.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::ssh::SshError;
use crate::ssh::pin::fingerprint;

/// Asks for the passphrase of the key file at a path; `None` means there is nobody to ask. Called on a thread that may block.
pub type Passphrase = Arc<dyn Fn(&Path) -> Option<SecretString> + Send + Sync>;

/// One way to authenticate. Clones share what was loaded.
#[derive(Clone)]
pub struct Key(Arc<Source>);

enum Source {
    Held(Arc<PrivateKey>),
    File { path: PathBuf, passphrase: Passphrase, loaded: OnceCell<Arc<PrivateKey>> },
    Agent { path: PathBuf },
}

/// One key to offer to a server.
pub(crate) enum Identity {
    Private(Arc<PrivateKey>),
    Agent { public: PublicKey, path: PathBuf },
}

impl Key {
    /// Takes an unencrypted OpenSSH private key.
    ///
    /// # Errors
    /// [`SshError::BadKey`] when it is encrypted, damaged or not ed25519.
    pub fn held(text: &SecretString) -> Result<Self, SshError> {
        let what = || "the private key".to_owned();
        let key = parsed(text.expose_secret().as_bytes(), what)?;
        if key.is_encrypted() {
            return Err(SshError::BadKey { what: what(), why: "it is encrypted with a passphrase".to_owned() });
        }
        Ok(Self(Arc::new(Source::Held(Arc::new(key)))))
    }

    /// Names a key file; it is read, and its passphrase asked for, at the first login and then kept.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>, passphrase: Passphrase) -> Self {
        Self(Arc::new(Source::File { path: path.into(), passphrase, loaded: OnceCell::new() }))
    }

    /// Names an agent's socket; all its ed25519 keys are tried in its order.
    #[must_use]
    pub fn agent(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::Agent { path: path.into() }))
    }

    /// Returns the fingerprint where it is known: not of an agent, nor of a file that was not read yet.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        match &*self.0 {
            Source::Held(key) => Some(fingerprint(key.public_key())),
            Source::File { loaded, .. } => loaded.get().map(|key| fingerprint(key.public_key())),
            Source::Agent { .. } => None,
        }
    }

    pub(crate) async fn identities(&self) -> Result<Vec<Identity>, SshError> {
        match &*self.0 {
            Source::Held(key) => Ok(vec![Identity::Private(key.clone())]),
            Source::File { path, passphrase, loaded } => {
                let key = loaded.get_or_try_init(|| load(path.clone(), passphrase.clone())).await?;
                Ok(vec![Identity::Private(key.clone())])
            }
            Source::Agent { path } => of_agent(path).await,
        }
    }
}

impl Identity {
    pub(crate) fn fingerprint(&self) -> String {
        match self {
            Self::Private(key) => fingerprint(key.public_key()),
            Self::Agent { public, .. } => fingerprint(public),
        }
    }
}

pub(crate) async fn agent_at(path: &Path) -> Result<AgentClient<UnixStream>, SshError> {
    AgentClient::connect_uds(path).await.map_err(|error| agent_failed(path, &error))
}

pub(crate) fn agent_failed(path: &Path, error: &dyn fmt::Display) -> SshError {
    SshError::Agent { path: path.to_owned(), why: error.to_string() }
}

async fn of_agent(path: &Path) -> Result<Vec<Identity>, SshError> {
    let held = agent_at(path).await?.request_identities().await.map_err(|error| agent_failed(path, &error))?;
    let ours: Vec<_> = held
        .into_iter()
        .filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, .. } if key.algorithm() == Algorithm::Ed25519 => {
                Some(Identity::Agent { public: key, path: path.to_owned() })
            }
            _ => None,
        })
        .collect();
    match ours.is_empty() {
        true => Err(agent_failed(path, &"it holds no ed25519 key")),
        false => Ok(ours),
    }
}

async fn load(path: PathBuf, passphrase: Passphrase) -> Result<Arc<PrivateKey>, SshError> {
    let what = format!("the key in {}", path.display());
    let read = move || load_blocking(&path, &passphrase);
    tokio::task::spawn_blocking(read).await.map_err(|error| SshError::BadKey { what, why: error.to_string() })?
}

fn load_blocking(path: &Path, passphrase: &Passphrase) -> Result<Arc<PrivateKey>, SshError> {
    let what = || format!("the key in {}", path.display());
    let bad = |why: String| SshError::BadKey { what: what(), why };
    let text = Zeroizing::new(std::fs::read(path).map_err(|error| bad(error.to_string()))?);
    let key = parsed(&text, what)?;
    if !key.is_encrypted() {
        return Ok(Arc::new(key));
    }
    let words = passphrase(path).ok_or_else(|| bad("it is encrypted, and nobody gave its passphrase".to_owned()))?;
    let opened = key.decrypt(words.expose_secret()).map_err(|_| bad("the passphrase is wrong".to_owned()))?;
    Ok(Arc::new(opened))
}

fn parsed(text: &[u8], what: impl Fn() -> String) -> Result<PrivateKey, SshError> {
    let key = PrivateKey::from_openssh(text).map_err(|_| SshError::BadKey {
        what: what(),
        why: "it is not in the OpenSSH private key format, or damaged".to_owned(),
    })?;
    match key.public_key().algorithm() {
        Algorithm::Ed25519 => Ok(key),
        other => {
            Err(SshError::BadKey { what: what(), why: format!("it is of type {other}, only ssh-ed25519 is accepted") })
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            (Source::Held(one), Source::Held(two)) => one.public_key() == two.public_key(),
            (Source::File { path: one, .. }, Source::File { path: two, .. }) => one == two,
            (Source::Agent { path: one }, Source::Agent { path: two }) => one == two,
            _ => false,
        }
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Held(key) => write!(f, "Key(held, {})", fingerprint(key.public_key())),
            Source::File { path, .. } => write!(f, "Key(file {})", path.display()),
            Source::Agent { path } => write!(f, "Key(agent {})", path.display()),
        }
    }
}
