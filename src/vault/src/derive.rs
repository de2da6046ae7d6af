//! Derives everything that stands under the fleet key: one subkey per purpose. Touches no file.

use claw_core::secret::Fingerprint;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::names::{FLEET_KEY, RESERVED_PROFILE};

/// The version of a profile file's form, as MACs bind it.
const FORMAT: &str = "1";

/// The fleet's 32 random bytes. Neither they nor a subkey leave this file.
#[derive(Debug)]
pub(crate) struct FleetKey(SecretBox<[u8; 32]>);

/// What the MAC of a value binds together.
pub(crate) struct Bound<'a> {
    /// The fleet's id.
    pub(crate) fleet: &'a str,
    /// The profile the value is in.
    pub(crate) profile: &'a str,
    /// Its key.
    pub(crate) key: &'a str,
    /// How often it was written.
    pub(crate) seq: u64,
    /// The fingerprints of its recipients, in any order.
    pub(crate) to: &'a [String],
    /// The fingerprints of its former readers, in any order.
    pub(crate) read_by: &'a [String],
    /// Where the value may be sent, in any order; the usual places where empty.
    pub(crate) hosts: &'a [String],
    /// The binary age file, so that line ends of the armour do not matter.
    pub(crate) ciphertext: &'a [u8],
}

impl FleetKey {
    /// Makes a new key from the system's randomness.
    pub(crate) fn generate() -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::getrandom(bytes.as_mut_slice())
            .map_err(|_| std::io::Error::other("the system has no randomness to give"))?;
        Ok(Self::from_bytes(bytes.as_slice()))
    }

    /// Reads the key as it stands in the reserved profile; `None` where that is not 32 bytes in base64.
    pub(crate) fn from_base64(text: &SecretString) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text.expose_secret().as_bytes()).ok()?);
        (bytes.len() == 32).then(|| Self::from_bytes(&bytes))
    }

    /// Returns the key as it stands in the reserved profile.
    pub(crate) fn to_base64(&self) -> SecretString {
        SecretString::from(Zeroizing::new(BASE64.encode(self.0.expose_secret())).as_str())
    }

    /// Returns an agent's gateway token of a generation: 43 characters of unpadded base64url.
    pub(crate) fn gateway_token(&self, agent: &str, generation: u32) -> SecretString {
        let generation = generation.to_string();
        let token = self.subkey(&["claw/v1/gateway-token", agent, &generation]);
        SecretString::from(Zeroizing::new(BASE64URL_NOPAD.encode(token.as_slice())).as_str())
    }

    /// Returns the keyed digest by which values are compared without being kept.
    pub(crate) fn fingerprint(&self, value: &[u8]) -> Fingerprint {
        let mut mac = self.mac(&["claw/v1/fingerprint"]);
        mac.update(value);
        Fingerprint(mac.finalize().into_bytes().into())
    }

    /// Returns the MAC of a saved plan, in base64.
    pub(crate) fn sign_plan(&self, plan: &[u8]) -> String {
        let mut mac = self.mac(&["claw/v1/plan"]);
        mac.update(plan);
        BASE64.encode(&mac.finalize().into_bytes())
    }

    /// Returns whether `mac` is the MAC of this plan, in constant time.
    pub(crate) fn verify_plan(&self, plan: &[u8], mac: &str) -> bool {
        let mut own = self.mac(&["claw/v1/plan"]);
        own.update(plan);
        BASE64.decode(mac.as_bytes()).is_ok_and(|mac| own.verify_slice(&mac).is_ok())
    }

    /// Returns the keyed digest of what was seen of a thing: hex, 32 characters.
    pub(crate) fn sight(&self, bytes: &[u8]) -> String {
        let mut mac = self.mac(&["claw/v1/sight"]);
        mac.update(bytes);
        HEXLOWER.encode(&mac.finalize().into_bytes()[..16])
    }

    /// Returns the MAC of a value, in base64.
    pub(crate) fn sign(&self, bound: &Bound<'_>) -> String {
        BASE64.encode(&self.mac_of(bound).finalize().into_bytes())
    }

    /// Returns whether `mac` is the MAC of this value, in constant time.
    pub(crate) fn verify(&self, bound: &Bound<'_>, mac: &str) -> bool {
        BASE64.decode(mac.as_bytes()).is_ok_and(|mac| self.mac_of(bound).verify_slice(&mac).is_ok())
    }

    fn mac_of(&self, bound: &Bound<'_>) -> Hmac<Sha256> {
        // The fleet key's own MAC proves no more than that the file is whole, and has a subkey to itself.
        // Former readers and hosts came later: without them a MAC is what it always was, and with them it has other
        // subkeys, so that no list can be cut off or be read into an older MAC.
        let purpose = match ((bound.profile, bound.key), bound.read_by, bound.hosts) {
            ((RESERVED_PROFILE, FLEET_KEY), [], _) => "claw/v1/fleet-key-mac",
            ((RESERVED_PROFILE, FLEET_KEY), _, _) => "claw/v2/fleet-key-mac",
            (_, [], []) => "claw/v1/secret-mac",
            (_, _, []) => "claw/v2/secret-mac",
            _ => "claw/v3/secret-mac",
        };
        let mut mac = self.mac(&[purpose]);
        mac.update(&bound.encode());
        mac
    }

    fn mac(&self, purpose: &[&str]) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.subkey(purpose).as_slice()).expect("HMAC takes a key of any length")
    }

    fn subkey(&self, purpose: &[&str]) -> Zeroizing<[u8; 32]> {
        let info = encode(purpose.iter().map(|part| part.as_bytes()));
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.expose_secret())
            .expand(&info, key.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        key
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self(SecretBox::init_with_mut(|key: &mut [u8; 32]| {
            key.copy_from_slice(bytes);
        }))
    }
}

impl Bound<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut to: Vec<&[u8]> = self.to.iter().map(|to| to.as_bytes()).collect();
        to.sort_unstable();
        let (seq, count) = (self.seq.to_string(), to.len().to_string());
        let head = [FORMAT.as_bytes(), self.fleet.as_bytes(), self.profile.as_bytes()];
        let value = [self.key.as_bytes(), seq.as_bytes(), count.as_bytes()];
        let mut read_by: Vec<&[u8]> = self.read_by.iter().map(|print| print.as_bytes()).collect();
        read_by.sort_unstable();
        let mut hosts: Vec<&[u8]> = self.hosts.iter().map(|host| host.as_bytes()).collect();
        hosts.sort_unstable();
        // the count tells them from the former readers before them; only MACs of the third version have either
        let count = hosts.len().to_string();
        let count = (!hosts.is_empty()).then_some(count.as_bytes());
        encode(
            head.into_iter().chain(value).chain(to).chain([self.ciphertext]).chain(read_by).chain(hosts).chain(count),
        )
    }
}

/// Returns the parts one after the other, each behind its length, so that no two lists of parts read the same.
fn encode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> FleetKey {
        FleetKey::from_bytes(&[7; 32])
    }

    fn bound<'a>(to: &'a [String]) -> Bound<'a> {
        Bound {
            fleet: "k7f3q2",
            profile: "default",
            key: "A",
            seq: 1,
            to,
            read_by: &[],
            hosts: &[],
            ciphertext: b"age",
        }
    }

    // The expected texts of the next three tests were computed with Python's hmac module, from this file's words.

    #[test]
    fn a_gateway_token_is_the_same_on_every_machine() {
        assert_eq!(key().gateway_token("pete", 1).expose_secret(), "iUumTUlC2oY88RkYJuA0NRlOPoAB78GpMcXtwb4pDqk");
    }

    #[test]
    fn a_mac_is_the_same_on_every_machine() {
        let to = ["b".to_owned(), "a".to_owned()];
        assert_eq!(key().sign(&bound(&to)), "N6+V44J5n1sBLwVZ2H67RU5PTe1x4FJo/kJLPEg4l20=");
        assert!(key().verify(&bound(&to), "N6+V44J5n1sBLwVZ2H67RU5PTe1x4FJo/kJLPEg4l20="));
    }

    #[test]
    fn a_fingerprint_is_the_same_on_every_machine() {
        assert_eq!(BASE64.encode(&key().fingerprint(b"value").0), "HVdmx/qS/QQbKbkK9JwT5IoBMMDkuGzJA8QbilLBRjM=");
    }

    #[test]
    fn a_mac_binds_every_field() {
        let to = ["a".to_owned(), "b".to_owned()];
        let mac = key().sign(&bound(&to));
        let glued = ["ab".to_owned()];
        let others = [
            Bound { fleet: "other", ..bound(&to) },
            Bound { profile: "work", ..bound(&to) },
            Bound { key: "B", ..bound(&to) },
            Bound { seq: 2, ..bound(&to) },
            Bound { ciphertext: b"agf", ..bound(&to) },
            bound(&glued),
            bound(&to[..1]),
            Bound { hosts: &to, ..bound(&to) },
            Bound { read_by: &to, ..bound(&to) },
        ];
        for (index, other) in others.iter().enumerate() {
            assert!(!key().verify(other, &mac), "field {index}");
        }
        assert!(!FleetKey::from_bytes(&[8; 32]).verify(&bound(&to), &mac));
    }

    #[test]
    fn former_readers_are_never_read_as_hosts() {
        let names = ["a", "b", "1"].map(str::to_owned);
        let (to, none) = ([], [] as [String; 0]);
        let both = |read_by, hosts| key().sign(&Bound { read_by, hosts, ..bound(&to) });
        let macs =
            [both(&names[..1], &names[1..2]), both(&names[..2], &none), both(&none, &names[..2]), both(&names, &none)];
        for (index, mac) in macs.iter().enumerate() {
            assert!(!macs[index + 1..].contains(mac), "{index}");
        }
    }

    #[test]
    fn a_mac_that_is_not_one_is_refused() {
        let mac = key().sign(&bound(&[]));
        for bad in ["", "!", &mac[..40], &format!("{mac}AAAA")] {
            assert!(!key().verify(&bound(&[]), bad), "{bad}");
        }
    }

    #[test]
    fn tokens_of_agents_and_generations_never_meet() {
        let token = |agent, generation| key().gateway_token(agent, generation).expose_secret().to_owned();
        let tokens = [token("pete", 1), token("pete", 2), token("pete1", 1), token("pete", 11)];
        for (index, one) in tokens.iter().enumerate() {
            assert_eq!(one.len(), 43);
            assert!(!tokens[index + 1..].contains(one));
        }
    }

    #[test]
    fn a_fleet_key_survives_its_text_and_shows_nothing() {
        let key = FleetKey::generate().expect("randomness");
        let text = key.to_base64();
        let read = FleetKey::from_base64(&text).expect("own text");
        assert_eq!(read.fingerprint(b"x"), key.fingerprint(b"x"));
        assert!(!format!("{key:?} {text:?}").contains(text.expose_secret()));
        for bad in ["", "AAAA", "not base64"] {
            assert!(FleetKey::from_base64(&SecretString::from(bad)).is_none());
        }
    }
}
