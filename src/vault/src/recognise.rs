//! Makes values known so that they are masked wherever they are printed, without asking anybody for a passphrase. Gives none out.

use std::path::Path;

use claw_core::mask::Known;
use secrecy::{ExposeSecret, SecretString};

use crate::cipher;
use crate::identity::Identities;
use crate::names::{FLEET_KEY, RESERVED_PROFILE};
use crate::profile::parse_profile;
use crate::store;
use crate::vault::{Vault, unarmor, what};

impl Vault {
    /// Opens the vault of whichever fleet the folder belongs to; `None` where it says of none. For when the fleet's file
    /// cannot be read: a secret that was pasted into it must not be shown with the line that is wrong.
    #[must_use]
    pub fn of_folder(folder: &Path, identities: Option<Identities>, known: &Known) -> Option<Self> {
        let text = store::read(&store::path_of(folder, RESERVED_PROFILE)).ok()??;
        let file = parse_profile(&text, "claw.toml").ok()?;
        Self::open(folder, &file.fleet, identities, known).ok()
    }

    /// Makes every value known that opens without a passphrase, and the agents' gateway tokens. What does not open, or
    /// whose MAC does not hold, stays unknown: no agent has it either.
    pub fn recognise<'a>(&self, agents: impl Iterator<Item = &'a str>) {
        if !self.opens_unasked() {
            return;
        }
        let Ok(fleet_key) = self.fleet_key("the fleet key, which vouches for values") else { return };
        let profiles = self.profiles().unwrap_or_default();
        for profile in profiles.iter().map(String::as_str).chain([RESERVED_PROFILE]) {
            let Ok(Some((_, file))) = self.load(profile) else { continue };
            for entry in &file.entries {
                let verified = self.verified(&fleet_key, profile, entry);
                if let Some(value) = verified.ok().and_then(|bytes| cipher::open(&bytes, &self.identities).ok()) {
                    self.learn(profile, &entry.key, &value);
                }
            }
        }
        for agent in agents {
            drop(self.gateway_token(agent)); // it is known now; without a fleet key there is none
        }
    }

    /// Whether the fleet key opens with what is at hand.
    fn opens_unasked(&self) -> bool {
        let Ok(Some((_, file))) = self.load(RESERVED_PROFILE) else { return false };
        let sealed = file.entry(FLEET_KEY).and_then(|entry| unarmor(RESERVED_PROFILE, entry).ok());
        sealed.is_some_and(|bytes| cipher::open(&bytes, &self.identities).is_ok())
    }

    /// Makes a value known: from now on nothing that is masked shows it.
    pub(crate) fn learn(&self, profile: &str, key: &str, value: &SecretString) {
        let label = match (profile, key) {
            (RESERVED_PROFILE, FLEET_KEY) => "the fleet's key".to_owned(),
            (RESERVED_PROFILE, _) => "claw's login key".to_owned(),
            _ => format!("secret {}", what(profile, key)),
        };
        self.known.add(&label, value.expose_secret());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::{CANARY, Fixture, TODAY};

    #[test]
    fn what_is_opened_sealed_or_derived_is_known_from_then_on() {
        let fixture = Fixture::new();
        let vault = fixture.vault();
        let shown = |text: &str| vault.known.mask(text).into_owned();
        assert_eq!(shown(CANARY), CANARY, "nothing was opened yet");
        drop(vault.get("default", "A").unwrap());
        assert_eq!(shown(&format!("a {CANARY} b")), "a (secret default/A) b");
        let token = vault.gateway_token("ada").unwrap();
        assert_eq!(shown(token.expose_secret()), "(gateway token of ada)");
        vault.set("default", "B", &"typed-just-now".into(), &fixture.to(), None, TODAY).unwrap();
        assert_eq!(shown("typed-just-now"), "(secret default/B)");
    }

    #[test]
    fn a_folder_is_recognised_without_its_fleets_file() {
        let fixture = Fixture::new();
        drop(fixture.vault().control_begin(&fixture.to(), TODAY).unwrap());
        let known = Known::default();
        let folder = fixture.folder.path();
        Vault::of_folder(folder, Some(fixture.member.clone()), &known).unwrap().recognise(["ada"].into_iter());
        assert_eq!(known.mask(CANARY), "(secret default/A)");
        let vault = fixture.vault();
        let (token, key) = (vault.gateway_token("ada").unwrap(), &vault.control_keys().unwrap()[0]);
        assert_eq!(known.mask(token.expose_secret()), "(gateway token of ada)");
        let private = vault.control_secret(key).unwrap();
        assert_eq!(known.mask(private.expose_secret().lines().nth(2).unwrap()), "(claw's login key)");
        let nobody = Known::default();
        Vault::of_folder(folder, None, &nobody).unwrap().recognise(["ada"].into_iter());
        assert_eq!(nobody.mask(CANARY), CANARY);
        assert!(Vault::of_folder(&folder.join("nothing"), None, &nobody).is_none());
    }
}
