//! Opens one value of a sops file: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`. Knows no file and no tree.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Tag};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::SopsError;

const BEGIN: &str = "ENC[AES256_GCM,data:";

/// The key of all values in a file.
pub(super) struct DataKey(AesGcm<Aes256, U32>);

/// A value in clear.
pub(super) struct Plain {
    /// The bytes that sops had encrypted.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// Whether they are `True` or `False`.
    pub(super) is_bool: bool,
}

/// Returns whether a text is one that sops encrypted.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.starts_with(BEGIN) && text.ends_with(']')
}

impl DataKey {
    /// Takes the 32 bytes that were encrypted to the recipients.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, SopsError> {
        // Several key groups share a key: then what each recipient has is longer.
        AesGcm::new_from_slice(bytes).map(Self).map_err(|_| SopsError::Unsupported("a key that is not 32 bytes long"))
    }

    /// Opens a value that sops bound to `bound`; `None` where it is not that value, or none.
    pub(super) fn open(&self, text: &str, bound: &str) -> Option<Plain> {
        let (data, rest) = text.strip_prefix(BEGIN)?.strip_suffix(']')?.split_once(",iv:")?;
        let (iv, rest) = rest.split_once(",tag:")?;
        let (tag, kind) = rest.split_once(",type:")?;
        if !matches!(kind, "str" | "int" | "float" | "bool" | "bytes" | "time") {
            return None;
        }
        let decode = |text: &str| BASE64.decode(text.as_bytes()).ok();
        let (iv, tag) = (decode(iv)?, decode(tag)?);
        let mut text = Zeroizing::new(decode(data)?);
        if iv.len() != 32 || tag.len() != 16 {
            return None;
        }
        let (iv, tag) = (GenericArray::from_slice(&iv), Tag::from_slice(&tag));
        self.0.decrypt_in_place_detached(iv, bound.as_bytes(), &mut text, tag).ok()?;
        Some(Plain { text, is_bool: kind == "bool" })
    }
}
