//! Secret references: resolved from private JSON files or the environment into values that cannot be printed.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::config::Config;
use crate::surroundings::Surroundings;

/// A secret value; it has neither `Debug` nor `Display`.
pub(crate) struct Secret(String);

impl Secret {
    /// Returns a secret that was typed or read; an empty one is none.
    pub(crate) fn new(value: &str) -> Option<Self> {
        (!value.is_empty()).then(|| Self(value.to_owned()))
    }

    /// Returns the value, to put it on the wire.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Why a secret reference does not resolve. Reads after "failed to resolve".
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// The file as a whole cannot be used.
    File(String),
    /// The file is sound and has no such value.
    Missing(String),
    /// The reference itself cannot be understood.
    Reference,
}

impl fmt::Display for SecretError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(reason) => write!(formatter, "a value of the secrets file: {reason}"),
            Self::Missing(id) => write!(formatter, "{id}: no such value, or an empty one"),
            Self::Reference => write!(formatter, "a reference that names no known source, provider and id"),
        }
    }
}

/// The key of a model provider, as far as it matters: does it resolve?
pub(crate) struct ProviderKey {
    pub(crate) provider: String,
    pub(crate) problem: Option<SecretError>,
}

/// All secrets of one moment.
pub(crate) struct Secrets {
    /// `None` when none is configured: nobody is authorised then.
    pub(crate) token: Option<Secret>,
    pub(crate) provider_keys: Vec<ProviderKey>,
}

impl Secrets {
    /// Resolves what `config` refers to. A gateway token that does not resolve is an error, a provider's key is not.
    pub(crate) fn load(config: &Config, surroundings: &Surroundings) -> Result<Self, SecretError> {
        let token = match config.gateway_token() {
            Value::Null => surroundings.variable("OPENCLAW_GATEWAY_TOKEN").and_then(Secret::new),
            configured => Some(resolve(configured, config, surroundings)?),
        };
        let provider_keys = config.provider_keys().map(|(provider, key)| ProviderKey {
            provider: provider.to_owned(),
            problem: resolve(key, config, surroundings).err(),
        });
        Ok(Self { token, provider_keys: provider_keys.collect() })
    }

    /// Returns the providers whose key does not resolve.
    pub(crate) fn degraded(&self) -> impl Iterator<Item = &ProviderKey> {
        self.provider_keys.iter().filter(|key| key.problem.is_some())
    }

    /// Returns why a file as a whole could not be used, which a reload refuses and a start does not.
    pub(crate) fn broken_file(&self) -> Option<&SecretError> {
        self.degraded().filter_map(|key| key.problem.as_ref()).find(|problem| matches!(problem, SecretError::File(_)))
    }
}

/// Returns the value that `reference` is (a text) or points to.
fn resolve(reference: &Value, config: &Config, surroundings: &Surroundings) -> Result<Secret, SecretError> {
    if let Some(text) = reference.as_str() {
        return Secret::new(text).ok_or(SecretError::Reference);
    }
    let id = reference["id"].as_str().ok_or(SecretError::Reference)?;
    let missing = || SecretError::Missing(id.to_owned());
    match reference["source"].as_str() {
        Some("env") => surroundings.variable(id).and_then(Secret::new).ok_or_else(missing),
        Some("file") => {
            let provider = reference["provider"].as_str().ok_or(SecretError::Reference)?;
            let path = config.secret_file(provider).ok_or(SecretError::Reference)?;
            let values = read_private(path, surroundings.uid).map_err(SecretError::File)?;
            values.pointer(id).and_then(Value::as_str).and_then(Secret::new).ok_or_else(missing)
        }
        _ => Err(SecretError::Reference),
    }
}

/// Reads a JSON file that only `uid` can read: OpenClaw refuses any other, links included.
fn read_private(path: &Path, uid: u32) -> Result<Value, String> {
    let found = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("not a regular file".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("readable by others (mode {:04o}, must be 0600 or 0400)", found.mode() & 0o7777));
    }
    if found.uid() != uid {
        return Err(format!("owned by user {}, not by the gateway's user {uid}", found.uid()));
    }
    if found.nlink() != 1 {
        return Err("it has more than one hard link".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|_| "not valid JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use super::{SecretError, Secrets};
    use crate::config::Config;
    use crate::image::Image;
    use crate::surroundings::Surroundings;

    /// A folder of this test alone, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("claw-standin-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).expect("the temporary folder is writable");
            Self(path)
        }

        fn with_secrets(name: &str, text: &str, mode: u32) -> Self {
            let folder = Self::new(name);
            std::fs::write(folder.file(), text).expect("the folder is writable");
            std::fs::set_permissions(folder.file(), PermissionsExt::from_mode(mode)).expect("the file is ours");
            folder
        }

        fn file(&self) -> PathBuf {
            self.0.join("secrets.json")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn load(file: &Path) -> Result<Secrets, SecretError> {
        let config = serde_json::json!({
            "gateway": {"mode": "local", "auth": {"token": {"source": "file", "provider": "claw", "id": "/gateway_token"}}},
            "secrets": {"providers": {"claw": {"source": "file", "path": file, "mode": "json"}}},
            "models": {"providers": {"p": {"apiKey": {"source": "file", "provider": "claw", "id": "/llm_key"}}}},
        });
        let config = Config::parse(config.to_string().as_bytes()).expect("the config is valid");
        let surroundings = Surroundings {
            environment: BTreeMap::new(),
            image: Image::described_at(Path::new("/nonexistent")),
            started: Instant::now(),
            uid: std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("this is Linux")),
        };
        Secrets::load(&config, &surroundings)
    }

    fn reason(loaded: Result<Secrets, SecretError>) -> String {
        loaded.err().map_or_else(|| "it resolved".to_owned(), |error| error.to_string())
    }

    #[test]
    fn private_file_resolves_token_and_key() {
        let folder = Folder::with_secrets("private", r#"{"gateway_token":"t","llm_key":"k"}"#, 0o600);
        let secrets = load(&folder.file()).expect("the file is private and complete");
        assert_eq!(secrets.token.as_ref().map(super::Secret::reveal), Some("t"));
        assert_eq!(secrets.degraded().count(), 0);
    }

    #[test]
    fn file_that_others_can_read_is_refused() {
        let folder = Folder::with_secrets("public", r#"{"gateway_token":"t","llm_key":"k"}"#, 0o644);
        assert!(reason(load(&folder.file())).contains("mode 0644"));
    }

    #[test]
    fn linked_file_is_refused() {
        let folder = Folder::with_secrets("linked", r#"{"gateway_token":"t","llm_key":"k"}"#, 0o600);
        let link = folder.0.join("link.json");
        std::os::unix::fs::symlink(folder.file(), &link).expect("the folder is writable");
        assert!(reason(load(&link)).contains("not a regular file"));
        std::fs::hard_link(folder.file(), folder.0.join("second.json")).expect("the folder is writable");
        assert!(reason(load(&folder.file())).contains("hard link"));
    }

    #[test]
    fn missing_token_fails_and_missing_provider_key_only_degrades() {
        let folder = Folder::with_secrets("no-token", r#"{"llm_key":"k"}"#, 0o600);
        assert_eq!(load(&folder.file()).err(), Some(SecretError::Missing("/gateway_token".to_owned())));
        let folder = Folder::with_secrets("no-key", r#"{"gateway_token":"t"}"#, 0o600);
        let secrets = load(&folder.file()).expect("the token resolves");
        assert_eq!(secrets.degraded().map(|key| key.provider.as_str()).collect::<Vec<_>>(), ["p"]);
        assert!(secrets.broken_file().is_none());
    }

    #[test]
    fn broken_file_is_refused_without_repeating_it() {
        let folder = Folder::with_secrets("broken", r#"{"gateway_token": hunter2"#, 0o600);
        let reason = reason(load(&folder.file()));
        assert!(reason.ends_with("not valid JSON"), "{reason}");
    }
}
