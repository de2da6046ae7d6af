//! What somebody whose key leaked could reach, as far as the fleet's files say it. Opens nothing and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::fleet::ProviderKind;
use claw_core::name::Kind;
use claw_core::problem::did_you_mean;
use claw_core::secret::SecretSource;
use claw_core::value::Value;
use claw_vault::{FLEET_KEY, RESERVED_PROFILE, Recipient};

use crate::error::CommandError;
use crate::session::Checked;
use crate::wiring::catalogue;

/// Whose key leaked.
pub struct Leaked {
    /// The recipient's fingerprint.
    pub print: String,
    /// The operators with that key.
    pub operators: Vec<String>,
}

/// A value they could read, and who uses it.
#[derive(Debug, Default)]
pub struct Readable {
    /// Agents by name, and providers.
    pub used_by: BTreeSet<String>,
    /// The kind of the provider whose token it is.
    pub token_of: Option<ProviderKind>,
    /// Whether it lies on a machine they could log in to.
    pub on_a_machine: bool,
}

/// What they could reach.
#[derive(Debug, Default)]
pub struct Reach {
    /// Values by `PROFILE/KEY`, without claw's own.
    pub values: BTreeMap<String, Readable>,
    /// Profiles of which something is encrypted to them now.
    pub profiles: BTreeSet<String>,
    /// Whether they could read the fleet's key.
    pub fleet_key: bool,
    /// Keys of claw's own login keys they could read: `ssh_current`.
    pub login_keys: BTreeSet<String>,
    /// Hosts they could log in to, by name.
    pub hosts: Vec<String>,
    /// Agents on those, by id.
    pub agents: Vec<String>,
}

impl Leaked {
    /// Finds out who is meant: a public key, its fingerprint, or an operator's name.
    pub fn find(text: &str, checked: &Checked) -> Result<Self, CommandError> {
        let operators = &checked.fleet.ssh.operators;
        let of = |key: &str| key.parse::<Recipient>().ok().map(|key| key.fingerprint());
        let print = match operators.get(text) {
            Some(key) => of(key),
            None if text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => {
                Some(text.to_owned())
            }
            None if text.starts_with("age1") || text.contains(' ') => Some(text.parse::<Recipient>()?.fingerprint()),
            None => None,
        };
        let Some(print) = print else {
            let near = did_you_mean(text, operators.keys().map(String::as_str));
            let help = near.map_or_else(
                || {
                    "name a public key (age1… or \"ssh-ed25519 AAAA…\"), its fingerprint of 16 letters, or an operator"
                        .to_owned()
                },
                |near| format!("did you mean the operator `{near}`?"),
            );
            return Err(CommandError::usage(format!("`{text}` is no key and no operator")).help(help));
        };
        let same = operators.iter().filter(|(_, key)| of(key).as_ref() == Some(&print));
        Ok(Self { operators: same.map(|(name, _)| name.clone()).collect(), print })
    }

    /// Returns who may read a profile from now on.
    pub fn without(&self, recipients: Vec<Recipient>) -> Vec<Recipient> {
        recipients.into_iter().filter(|one| one.fingerprint() != self.print).collect()
    }
}

impl Reach {
    /// Looks through the fleet.
    pub fn of(leaked: &Leaked, checked: &Checked) -> Result<Self, CommandError> {
        let mut reach = Self::default();
        let vault = checked.vault();
        let mut profiles = vault.profiles()?;
        profiles.push(RESERVED_PROFILE.to_owned());
        for profile in profiles {
            for entry in vault.list(&profile)? {
                let reads = entry.to.contains(&leaked.print);
                if reads {
                    reach.profiles.insert(profile.clone());
                }
                if !reads && !entry.read_by.contains(&leaked.print) {
                    continue;
                }
                match (profile.as_str(), entry.key.as_str()) {
                    (RESERVED_PROFILE, FLEET_KEY | "fleet_key_next") => reach.fleet_key = true,
                    (RESERVED_PROFILE, key) => drop(reach.login_keys.insert(key.to_owned())),
                    (_, key) => drop(reach.values.insert(format!("{profile}/{key}"), Readable::default())),
                }
            }
        }
        if !leaked.operators.is_empty() {
            reach.hosts = checked.desired.hosts.values().map(|card| card.name.clone()).collect();
        }
        reach.uses(checked);
        Ok(reach)
    }

    /// Adds what lies on machines they could log in to, and who uses what.
    fn uses(&mut self, checked: &Checked) {
        let desired = &checked.desired;
        for (id, card) in &desired.agents {
            if self.hosts.contains(&card.place) {
                self.agents.push(id.clone());
            }
        }
        for (address, resource) in desired.resources.iter().filter(|(address, _)| address.id.kind == Kind::Secrets) {
            let id = &address.id.name;
            let agent = desired.agents.get(id).map_or(id, |card| &card.name);
            let on_a_machine = self.agents.contains(id);
            for value in resource.fields.values() {
                let Value::Secret(secret) = value else { continue };
                let Some(SecretSource::Profile(name)) = &secret.source else { continue };
                if on_a_machine {
                    self.values.entry(name.to_string()).or_default().on_a_machine = true;
                }
                if let Some(known) = self.values.get_mut(&name.to_string()) {
                    known.used_by.insert(agent.clone());
                }
            }
        }
        for (name, table) in &checked.fleet.providers {
            let token = table.token.as_deref().and_then(|token| token.strip_prefix("secret:"));
            if let Some(known) = token.and_then(|token| self.values.get_mut(token)) {
                known.used_by.insert(format!("provider {name}"));
                known.token_of = table.kind;
            }
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
            && self.profiles.is_empty()
            && !self.fleet_key
            && self.login_keys.is_empty()
            && self.hosts.is_empty()
    }
}

impl Readable {
    /// Says what a person does about the value.
    pub fn task(&self, name: &str) -> String {
        let key = name.split_once('/').map_or(name, |(_, key)| key);
        let place = catalogue::console(key, self.token_of).unwrap_or("where it was made");
        let users: Vec<&str> = self.used_by.iter().map(String::as_str).collect();
        let users = if users.is_empty() { "nobody in the fleet".to_owned() } else { users.join(", ") };
        format!(
            "{name}, used by {users}: make a new one ({place}), `claw secret set {name}`, apply, then take the old one back there"
        )
    }
}
