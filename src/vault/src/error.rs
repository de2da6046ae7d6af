//! Says why the vault did not do what it was asked, and what to do then. Never holds a value.

use std::path::PathBuf;

use claw_core::secret::SecretError;

use crate::names::{RECIPIENTS_MAX, VALUE_BYTES_MAX, VALUES_MAX};
use crate::profile::{KEY_HELP, ProfileError};
use crate::sops::SopsError;

/// Why the vault did not do what it was asked. `what` is a value's name, `PROFILE/KEY`.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No file for the profile.
    #[error("there is no profile `{profile}`")]
    NoProfile {
        /// The name that was asked for.
        profile: String,
        /// A profile that was probably meant.
        near: Option<String>,
    },
    /// The profile has no such key.
    #[error("there is no value {profile}/{key}")]
    NoKey {
        /// The profile.
        profile: String,
        /// The key that was asked for.
        key: String,
        /// A key that was probably meant.
        near: Option<String>,
    },
    /// A profile name that cannot be one.
    #[error("`{name}` is not a profile name")]
    ProfileName {
        /// The name, made printable.
        name: String,
    },
    /// A key name that cannot be one.
    #[error("`{name}` is not a key name")]
    KeyName {
        /// The name, made printable.
        name: String,
    },
    /// An argument that would not read back from the file.
    #[error("{what} is not valid")]
    Argument {
        /// Which argument.
        what: &'static str,
        /// What it takes.
        help: &'static str,
    },
    /// The profile that claw keeps for itself.
    #[error("the profile `claw` is claw's own")]
    Reserved,
    /// No identity at hand.
    #[error("no identity is at hand to open {what}")]
    NoIdentity {
        /// The value or token.
        what: String,
        /// What was found but could not be used.
        notes: Vec<String>,
    },
    /// None of the identities is among the recipients.
    #[error("{what} was encrypted to others ({})", to.join(", "))]
    OtherRecipient {
        /// The value.
        what: String,
        /// The fingerprints it names as its recipients.
        to: Vec<String>,
        /// The fingerprints of the identities at hand.
        ours: Vec<String>,
    },
    /// The identity that may open it is under a passphrase, and no right one was given.
    #[error("{what} cannot be opened: the identity {file} stays locked")]
    Locked {
        /// The value.
        what: String,
        /// The identity's file.
        file: String,
    },
    /// Swapped, put back from another place, or made without the fleet key.
    #[error("{what} was not written by a member of this fleet, or was moved here")]
    BadMac {
        /// The value.
        what: String,
    },
    /// The file says something else than a moment ago.
    #[error("{what} changed meanwhile")]
    Changed {
        /// The value or profile.
        what: String,
    },
    /// Not what age wrote.
    #[error("{what} is damaged: {why}")]
    Garbled {
        /// The value.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file belongs to another fleet.
    #[error("{} belongs to the fleet `{found}`, not to `{expected}`", path.display())]
    OtherFleet {
        /// The file.
        path: PathBuf,
        /// The fleet it names.
        found: String,
        /// Ours.
        expected: String,
    },
    /// The file was renamed or copied.
    #[error("{} says that it is the profile `{found}`", path.display())]
    OtherProfile {
        /// The file.
        path: PathBuf,
        /// The profile it names.
        found: String,
    },
    /// The reserved profile holds no fleet key.
    #[error("there is no fleet key in {}", path.display())]
    NoFleetKey {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A second fleet key would make every MAC and token invalid.
    #[error("{} exists", path.display())]
    FleetKeyExists {
        /// The file.
        path: PathBuf,
    },
    /// The profile file does not read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A sops file that is not what sops wrote, or not for claw.
    #[error("{file}: {problem}")]
    Sops {
        /// The file as the caller calls it.
        file: String,
        /// What is wrong with it.
        problem: SopsError,
    },
    /// Not a plain file.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// What is there instead.
        path: PathBuf,
    },
    /// The file or folder cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file or folder cannot be written.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// age or the system's randomness failed.
    #[error("{what} could not be encrypted")]
    Encrypt {
        /// The value.
        what: String,
        /// What failed.
        source: std::io::Error,
    },
    /// An empty value is always a mistake.
    #[error("the value for {what} is empty")]
    Empty {
        /// The value.
        what: String,
    },
    /// More bytes than a value may have.
    #[error("the value for {what} is longer than {} KiB", VALUE_BYTES_MAX >> 10)]
    TooLong {
        /// The value.
        what: String,
    },
    /// The profile is full.
    #[error("the profile `{profile}` has {VALUES_MAX} values already")]
    Full {
        /// The profile.
        profile: String,
    },
    /// No one could open the value, or more than a file should name.
    #[error("{count} recipients are not between 1 and {RECIPIENTS_MAX}")]
    Recipients {
        /// How many there were.
        count: usize,
    },
}

impl VaultError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NoProfile { near: Some(near), .. } | Self::NoKey { near: Some(near), .. } => {
                format!("did you mean `{near}`?")
            }
            Self::NoProfile { profile, .. } => {
                format!("make it with `claw secret set {profile}/KEY`")
            }
            Self::NoKey { profile, key, .. } => {
                format!("write it with `claw secret set {profile}/{key}`")
            }
            Self::NoIdentity { notes, .. } => no_identity(notes),
            Self::OtherRecipient { ours, .. } => format!(
                "your identities are {}: use another one, or let someone who can open it add you with `claw secret rekey`",
                ours.join(", ")
            ),
            Self::BadMac { what } => format!(
                "look at who changed it in git; if it is right, someone who can open it runs `claw secret accept {what}`"
            ),
            Self::Profile(error) => error.help(),
            Self::Sops { problem, .. } => problem.help(),
            Self::Argument { help, .. } => (*help).to_owned(),
            other => other.fixed_help().to_owned(),
        }
    }

    fn fixed_help(&self) -> &'static str {
        match self {
            Self::ProfileName { .. } => "a profile is a lower-case letter or digit, then those, `_` and `-`, up to 63",
            Self::KeyName { .. } => KEY_HELP,
            Self::Reserved => "choose another profile; the fleet key is never shown or set by hand",
            Self::Locked { .. } => "try again with its passphrase",
            Self::Changed { .. } => "nothing of it was written; look at it again, then try again",
            Self::Garbled { .. } => "take it from git again, or write it anew with `claw secret set`",
            Self::OtherFleet { .. } => {
                "values cannot move between fleets: check `fleet.id`, or write them anew with `claw secret set`"
            }
            Self::OtherProfile { .. } => {
                "a profile cannot be renamed or copied as a file: name it back, and write its values anew where they belong"
            }
            Self::NoFleetKey { .. } => "`claw init` makes it; if the fleet had one, take the file from git again",
            Self::FleetKeyExists { .. } => {
                "the fleet has its key already; a second one would break every value and token"
            }
            Self::NotAFile { .. } => "put a plain file there: links and devices are not followed",
            Self::Empty { .. } => "give a value, or remove the key with `claw secret rm`",
            Self::TooLong { .. } => "keep large files elsewhere, and only their key here",
            Self::Full { .. } => "use a second profile",
            Self::Recipients { .. } => "set `recipients` in [fleet] or in the profile's [secrets] table",
            Self::Encrypt { .. } => "try again; if it stays, the system gives no randomness",
            _ => "check that it exists and that you may read and write it",
        }
    }
}

impl From<VaultError> for SecretError {
    fn from(error: VaultError) -> Self {
        let mut reason = error.to_string();
        // The chain ends here: what carries a `SecretError` on has no source to walk.
        if let Some(source) = std::error::Error::source(&error) {
            reason = format!("{reason}: {source}");
        }
        Self { reason, help: error.help() }
    }
}

fn no_identity(notes: &[String]) -> String {
    let mut help = "set CLAW_IDENTITY to an identity or its path, or make one with `claw identity` and have \
                    its recipient added"
        .to_owned();
    if !notes.is_empty() {
        help = format!("{help} (not used: {})", notes.join("; "));
    }
    help
}
