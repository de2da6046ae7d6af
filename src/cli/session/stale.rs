//! Values that need rotation: somebody who is no recipient any more could read them, or they are too old. Needs no
//! identity and opens nothing.

use std::collections::BTreeMap;

use claw_core::fleet::Fleet;
use claw_core::problem::Problem;
use claw_vault::{Entry, FLEET_KEY, RESERVED_PROFILE, Recipient, Vault};

use super::recipients;
use crate::setup;

/// How many names a warning says before it only counts.
const NAMES_SHOWN: usize = 5;

/// Why one value needs rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// The fingerprints of those who could read it and shall not.
    pub readers: Vec<String>,
    /// The `max_age` it is past.
    pub older_than: Option<String>,
}

impl Stale {
    /// Looks at a value. `wanted` are today's recipients of its profile.
    pub fn of(entry: &Entry, wanted: &[Recipient], today: &str) -> Self {
        // a fleet that names nobody has no former readers but those that are noted
        let readers = if wanted.is_empty() { entry.read_by.clone() } else { entry.former_readers(wanted) };
        let is_due = entry.due().is_some_and(|due| due.as_str() <= today);
        Self { readers, older_than: entry.max_age.clone().filter(|_| is_due) }
    }

    /// Says it in a few words; nothing where nothing is the matter.
    pub fn words(&self, fleet: &Fleet) -> Option<String> {
        let read = (!self.readers.is_empty()).then(|| format!("could be read by {}", people(fleet, &self.readers)));
        let old = self.older_than.as_ref().map(|age| format!("older than {age}"));
        let both: Vec<String> = read.into_iter().chain(old).collect();
        (!both.is_empty()).then(|| format!("needs rotation: {}", both.join(", ")))
    }
}

/// Returns a warning for each reason and profile, with the values it is about.
pub fn due(fleet: &Fleet, vault: &Vault) -> Vec<Problem> {
    let (mut found, today) = (BTreeMap::<_, Vec<String>>::new(), setup::today());
    let profiles = vault.profiles().unwrap_or_default();
    for profile in profiles.iter().map(String::as_str).chain([RESERVED_PROFILE]) {
        let wanted = recipients(fleet, profile).unwrap_or_default();
        // a file that does not read is a problem of its own
        for entry in vault.list(profile).unwrap_or_default() {
            let stale = Stale::of(&entry, &wanted, &today);
            let help = help(profile, &entry.key);
            let reasons = [Stale { older_than: None, ..stale.clone() }, Stale { readers: Vec::new(), ..stale }];
            for words in reasons.iter().filter_map(|reason| reason.words(fleet)) {
                found.entry((words, help)).or_default().push(format!("{profile}/{}", entry.key));
            }
        }
    }
    let warning = |((words, help), names): ((String, &'static str), Vec<String>)| {
        Problem::warning("secret-due", format!("{} {}", list(&names), plural(&words, names.len()))).help(help)
    };
    found.into_iter().map(warning).collect()
}

/// Returns a recipient as a person knows it: the start of its key where the fleet names it, else its fingerprint.
pub fn person(fleet: &Fleet, print: &str) -> String {
    let own = fleet.profiles.values().flat_map(|table| &table.recipients);
    let mut known = fleet.meta.recipients.iter().chain(own).filter_map(|text| text.parse::<Recipient>().ok());
    match known.find(|recipient| recipient.fingerprint() == print) {
        Some(recipient) => format!("{} ({print})", short(&recipient.to_string())),
        None => print.to_owned(),
    }
}

/// Returns several recipients as a person knows them.
pub fn people(fleet: &Fleet, prints: &[String]) -> String {
    list(&prints.iter().map(|print| person(fleet, print)).collect::<Vec<_>>())
}

/// Returns enough of a public key to tell it from others: an SSH key's end, an age key's start.
fn short(key: &str) -> String {
    match key.strip_prefix("ssh-ed25519 ") {
        Some(body) => format!("ssh-ed25519 …{}", &body[body.len().saturating_sub(8)..]),
        None => format!("{}…", key.get(..12).unwrap_or(key)),
    }
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn plural(words: &str, count: usize) -> String {
    if count == 1 { words.to_owned() } else { words.replacen("needs", "need", 1) }
}

fn help(profile: &str, key: &str) -> &'static str {
    match (profile, key) {
        (RESERVED_PROFILE, FLEET_KEY) => {
            "whoever knows the fleet's key can sign values and compute gateway tokens: `claw rotate fleet-key` makes a new one"
        }
        (RESERVED_PROFILE, _) => "`claw rotate ssh` makes a new key",
        _ => {
            "change it where it comes from, then `claw secret set PROFILE/KEY`; `claw secret rekey` alone is no rotation"
        }
    }
}
