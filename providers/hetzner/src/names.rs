//! How things of a fleet are called and marked in a project.

use std::collections::BTreeMap;

use claw_core::ssh::PublicKey;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// The label with the fleet's id. Everything that has it is ours.
pub const FLEET: &str = "claw-fleet";
/// The label with the name of the resource: a host's id, a rule set.
pub const NAME: &str = "claw-name";
/// The label with the digest of the host key a machine shows.
pub const PIN: &str = "claw-host-key";
/// The label with the digest of the host key a machine moves to.
pub const PIN_NEXT: &str = "claw-host-key-next";
/// The label that says that the host key came with the user data, which anything on the machine can read.
pub const BORN: &str = "claw-first-contact";
/// The label of a machine that says for how many agents it is.
pub const AGENTS: &str = "claw-agents";
/// The label of a record set with the agent it was made for.
pub const AGENT: &str = "claw-agent";
/// The rule set of machines that narrow nothing.
pub const RULES: &str = "ssh";

/// Returns what a thing is called: unique in a project where several fleets live.
pub fn name(fleet: &str, resource: &str) -> String {
    format!("claw-{fleet}-{resource}")
}

/// Returns the labels that mark a thing as the fleet's.
pub fn marks(fleet: &str, resource: &str) -> BTreeMap<String, String> {
    [(FLEET, fleet), (NAME, resource)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Returns the name of a login key's resource: it follows the key, so that a new key is a new thing.
pub fn of_key(key: &PublicKey) -> String {
    short(key.to_string().split_whitespace().nth(1).unwrap_or_default().as_bytes())
}

/// Returns the name of the rule set that lets these ranges in.
pub fn of_ranges(ranges: &[String]) -> String {
    format!("{RULES}-{}", short(ranges.join(" ").as_bytes()))
}

fn short(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(&Sha256::digest(bytes)[..5]).to_ascii_lowercase()
}
