//! Keeps secrets: age encryption of single values, MACs and derived tokens under the fleet key, and the profile
//! files below `secrets/`.
//!
//! Opens no network connection, reads no clock and no environment: dates and `CLAW_IDENTITY` come in as arguments (the system's
//! keychain alone is found as the system says, by the bus' address in the environment).
//! Randomness is taken from the system in three places only: inside age, [`Identity::generate`] and the making of
//! fleet and login keys. What leaves the crate in clear is a [`secrecy::SecretString`]; no error and no `Debug` holds a value.

mod batch;
mod change;
mod cipher;
mod control;
mod derive;
mod dotenv;
mod draft;
mod edit;
mod error;
mod find;
mod identity;
mod keychain;
mod locked;
mod names;
mod pair;
mod profile;
mod recipient;
mod recognise;
mod rotate;
mod sops;
mod store;
#[cfg(test)]
mod testing;
mod vault;

pub use batch::{Changes, Snapshot};
pub use change::seal_text;
pub use control::login_keys_in;
pub use dotenv::{read_dotenv, write_dotenv};
pub use draft::{TextError, read_draft, write_draft};
pub use error::VaultError;
pub use find::{Places, find, save_new};
pub use identity::{Identities, Identity, IdentityError};
pub use keychain::{Keychain, KeychainError, KeychainItem};
pub use locked::AskPassphrase;
pub use names::{
    FLEET_KEY, PROFILE_BYTES_MAX, RESERVED_PROFILE, VALUE_BYTES_MAX, VALUES_MAX, is_key_name, is_profile_name,
};
pub use pair::key_pair;
pub use profile::{Entry, ProfileError, ProfileFile, parse_profile};
pub use recipient::{Recipient, RecipientError};
pub use rotate::Moved;
pub use sops::{SopsError, SopsValues};
pub use vault::Vault;
