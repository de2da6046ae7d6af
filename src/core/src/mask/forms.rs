//! How a value looks where it is written: as it is, line by line, escaped, encoded. Decides nothing about what is masked.

use std::fmt::Write;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use crate::text::clean;

/// The longest text whose encodings are known as well, in bytes: keys and tokens are shorter, and a longer text is found by
/// its lines.
const ENCODED_BYTES_MAX: usize = 8 * 1024;

/// Returns a value's forms, with repetitions.
pub(super) fn of(value: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    one(value, &mut forms);
    let trimmed = value.trim();
    if trimmed != value {
        one(trimmed, &mut forms);
    }
    for line in trimmed.lines().filter(|line| *line != trimmed) {
        let line = line.trim();
        // the armour of a key says nothing
        if !(line.starts_with("-----BEGIN ") || line.starts_with("-----END ")) {
            one(line, &mut forms);
        }
    }
    forms
}

fn one(text: &str, forms: &mut Vec<Vec<u8>>) {
    if text.len() < super::MASKED_BYTES_MIN {
        return;
    }
    let bytes = text.as_bytes();
    forms.push(bytes.to_vec());
    if bytes.len() > ENCODED_BYTES_MAX {
        return;
    }
    forms.push(clean(text, usize::MAX).into_bytes());
    if let Ok(quoted) = serde_json::to_string(text) {
        forms.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    }
    forms.push(text.escape_debug().to_string().into_bytes());
    forms.extend([percent(bytes, false), percent(bytes, true)].map(String::into_bytes));
    let encodings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXUPPER];
    forms.extend(encodings.iter().map(|encoding| encoding.encode(bytes).into_bytes()));
}

fn percent(bytes: &[u8], lower: bool) -> String {
    let mut text = String::new();
    for byte in bytes {
        let written = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(text, "{}", char::from(*byte))
            }
            _ if lower => write!(text, "%{byte:02x}"),
            _ => write!(text, "%{byte:02X}"),
        };
        written.expect("memory");
    }
    text
}
