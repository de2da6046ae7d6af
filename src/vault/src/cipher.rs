//! Seals a value as age armour and opens it again. Knows neither MACs nor files.

use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::identity::Identities;
use crate::names::VALUE_BYTES_MAX;
use crate::recipient::Recipient;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
const END: &str = "\n-----END AGE ENCRYPTED FILE-----";

/// Why a ciphertext does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// None of the identities is a recipient.
    NotOurs,
    /// Not what age wrote.
    Garbled(&'static str),
}

/// Returns the value encrypted to every recipient, as age armour with `\n` line ends.
pub(crate) fn seal(value: &[u8], recipients: &[Recipient]) -> std::io::Result<String> {
    let encryptor = Encryptor::with_recipients(recipients.iter().map(Recipient::as_age))
        .map_err(|_| std::io::Error::other("age refused the recipients"))?;
    // `AsciiArmor` writes `\n` on every system, so that a file is the same wherever it was made.
    let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armor)?;
    writer.write_all(value)?;
    let text = writer.finish()?.finish()?;
    String::from_utf8(text).map_err(|_| std::io::Error::other("age wrote armour that is not text"))
}

/// Returns the binary age file within the armour, whatever its line ends.
pub(crate) fn unarmor(text: &str) -> Result<Vec<u8>, OpenError> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    if !text.starts_with(BEGIN) {
        return Err(OpenError::Garbled("the armour has no begin line"));
    }
    if !text.ends_with(END) {
        return Err(OpenError::Garbled("the armour has no end line: it is cut short"));
    }
    let mut binary = Vec::with_capacity(text.len());
    ArmoredReader::new(text.as_bytes())
        .read_to_end(&mut binary)
        .map_err(|_| OpenError::Garbled("the armour does not decode"))?;
    Ok(binary)
}

/// Returns the value. It is read to the end, where age's last check is, before any of it is given out.
pub(crate) fn open(binary: &[u8], identities: &Identities) -> Result<SecretString, OpenError> {
    let value = open_bytes(binary, identities)?;
    let text = std::str::from_utf8(&value).map_err(|_| OpenError::Garbled("the value is not text"))?;
    Ok(SecretString::from(text))
}

/// Returns a value that need not be text, checked as [`open`] does.
pub(crate) fn open_bytes(binary: &[u8], identities: &Identities) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let decryptor = Decryptor::new_buffered(binary).map_err(|_| CUT)?;
    let mut reader = decryptor.decrypt(identities.as_age()).map_err(|error| match error {
        DecryptError::NoMatchingKeys => OpenError::NotOurs,
        _ => OpenError::Garbled("its header was changed"),
    })?;
    // A plaintext is shorter than its ciphertext, so the buffer never moves and leaves no copy behind.
    let mut value = Zeroizing::new(Vec::with_capacity(binary.len() + 64));
    let limit = VALUE_BYTES_MAX as u64 + 1;
    reader.by_ref().take(limit).read_to_end(&mut value).map_err(|_| CUT)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(OpenError::Garbled("the value is longer than 64 KiB"));
    }
    Ok(value)
}

const CUT: OpenError = OpenError::Garbled("it was cut short or changed");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::identity::Identity;
    use crate::testing::{SSH_PRIVATE, SSH_PUBLIC, identity};

    fn open_armor(armor: &str, identities: &Identities) -> Result<String, OpenError> {
        open(&unarmor(armor)?, identities).map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn every_recipient_opens_what_was_sealed_and_nobody_else() {
        let (one, other) = (identity(), identity());
        let ssh = Identities::parse(SSH_PRIVATE, "test").unwrap();
        let to = [one.recipients().remove(0), SSH_PUBLIC.parse::<Recipient>().unwrap()];
        let armor = seal("naïve\nvalue".as_bytes(), &to).unwrap();
        assert_eq!(open_armor(&armor, &one).as_deref(), Ok("naïve\nvalue"));
        assert_eq!(open_armor(&armor, &ssh).as_deref(), Ok("naïve\nvalue"));
        assert_eq!(open_armor(&armor, &other), Err(OpenError::NotOurs));
    }

    #[test]
    fn line_ends_and_blanks_around_armour_do_not_matter() {
        let one = identity();
        let armor = seal(b"value", &one.recipients()).unwrap();
        let binary = unarmor(&armor).unwrap();
        assert_eq!(unarmor(&armor.replace('\n', "\r\n")).unwrap(), binary);
        assert_eq!(unarmor(&format!("\n\n{armor}\n ")).unwrap(), binary);
    }

    #[test]
    fn armour_cut_anywhere_is_garbled() {
        let one = identity();
        let armor = seal(&[b'v'; 300], &one.recipients()).unwrap();
        for end in 0..armor.trim_end().len() {
            assert!(matches!(open_armor(&armor[..end], &one), Err(OpenError::Garbled(_))), "{end}");
        }
    }

    #[test]
    fn a_binary_cut_or_changed_anywhere_does_not_open() {
        let one = identity();
        let binary = unarmor(&seal(b"value", &one.recipients()).unwrap()).unwrap();
        for at in 0..binary.len() {
            assert!(open(&binary[..at], &one).is_err(), "cut at {at}");
            let mut flipped = binary.clone();
            flipped[at] ^= 1;
            assert!(open(&flipped, &one).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_value_longer_than_the_limit_or_not_text_is_refused() {
        let one = identity();
        let long = seal(&vec![b'v'; VALUE_BYTES_MAX + 1], &one.recipients()).unwrap();
        assert!(matches!(open_armor(&long, &one), Err(OpenError::Garbled(_))));
        let most = seal(&vec![b'v'; VALUE_BYTES_MAX], &one.recipients()).unwrap();
        assert_eq!(open_armor(&most, &one).unwrap().len(), VALUE_BYTES_MAX);
        let bytes = seal(&[0xff], &one.recipients()).unwrap();
        assert!(matches!(open_armor(&bytes, &one), Err(OpenError::Garbled(_))));
    }

    #[test]
    fn a_value_sealed_under_a_passphrase_is_not_ours() {
        let encryptor = Encryptor::with_user_passphrase(SecretString::from("pw"));
        let mut binary = Vec::new();
        let mut writer = encryptor.wrap_output(&mut binary).unwrap();
        writer.write_all(b"value").unwrap();
        writer.finish().unwrap();
        assert!(open(&binary, &identity()).is_err());
    }

    #[test]
    fn an_identity_generated_anew_opens_what_its_recipient_was_sent() {
        let (one, text) = Identity::generate("2026-11-21");
        let armor = seal(b"v", &[one.recipient()]).unwrap();
        let read = Identities::parse(text.expose_secret(), "test").unwrap();
        assert_eq!(open_armor(&armor, &read).as_deref(), Ok("v"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_opening_panic(body in "[A-Za-z0-9+/=\n\r ]{0,200}", any in "\\PC{0,100}") {
            let one = identity();
            drop(open_armor(&format!("{BEGIN}{body}{END}"), &one));
            drop(open_armor(&any, &one));
            drop(open(any.as_bytes(), &one));
        }
    }
}
