//! Writes values as text for an editor, and reads that text again: TOML, `KEY = "value"`. Touches no file.

use secrecy::{ExposeSecret, SecretString};
use toml_edit::{Document, DocumentMut, value};
use zeroize::Zeroizing;

use crate::names::{is_key_name, printable};
use crate::profile::{KEY_HELP, position};

/// Why a text is not a list of values. Never quotes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, a fragment.
    pub reason: String,
}

/// Returns the values as text, in their order.
#[must_use]
pub fn write_draft(values: &[(String, SecretString)]) -> Zeroizing<String> {
    let mut document = DocumentMut::new();
    for (key, secret) in values {
        document[key.as_str()] = value(secret.expose_secret());
    }
    Zeroizing::new(document.to_string())
}

/// Reads values from such a text. What the TOML parser copies of it on its way is not erased from memory; it lives as long
/// as the process that shows the same values in an editor.
pub fn read_draft(text: &str) -> Result<Vec<(String, SecretString)>, TextError> {
    let line = |span: Option<std::ops::Range<usize>>| position(text, span.map_or(0, |span| span.start)).0;
    // The message is one of the parser's fixed texts. The error itself holds the whole input and goes no further.
    let document = Document::parse(text)
        .map_err(|error| TextError { line: line(error.span()), reason: error.message().to_owned() })?;
    let table = document.as_table();
    let mut values = Vec::new();
    for (key, item) in table {
        let at = line(table.key(key).and_then(toml_edit::Key::span));
        if !is_key_name(key) {
            return Err(TextError { line: at, reason: format!("`{}` is not a key: {KEY_HELP}", printable(key)) });
        }
        let Some(secret) = item.as_str() else {
            let reason = format!("the value of `{key}` is not a text in quotes; a key with a dot stands in quotes too");
            return Err(TextError { line: at, reason });
        };
        if secret.is_empty() {
            let reason = format!("the value of `{key}` is empty: remove the line to remove the value");
            return Err(TextError { line: at, reason });
        }
        values.push((key.to_owned(), SecretString::from(secret)));
    }
    Ok(values)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::CANARY;

    fn shown(values: &[(String, SecretString)]) -> Vec<(&str, &str)> {
        values.iter().map(|(key, value)| (key.as_str(), value.expose_secret())).collect()
    }

    #[test]
    fn a_draft_reads_as_a_person_writes_it() {
        let text = "# mine\nA = \"1\"\n\"b.c\" = '''\nx\ny'''\n";
        assert_eq!(shown(&read_draft(text).unwrap()), [("A", "1"), ("b.c", "x\ny")]);
    }

    #[test]
    fn what_is_no_draft_is_named_by_its_line_and_never_quoted() {
        for (text, line) in [
            (format!("A = \"1\"\nB = {CANARY}\n"), 2),
            (format!("A = \"{CANARY}\n"), 1),
            (format!("A = \"{CANARY}\"\nA = \"{CANARY}\"\n"), 2),
            (format!("\n1A = \"{CANARY}\"\n"), 2),
            (format!("A = [\"{CANARY}\"]\n"), 1),
            (format!("a.b = \"{CANARY}\"\n"), 1),
            ("A = \"\"\n".to_owned(), 1),
            (format!("[x]\nA = \"{CANARY}\"\n"), 1),
        ] {
            let error = read_draft(&text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_values_come_back(values in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,6}", "(?s).{1,40}", 0..5)) {
            let values: Vec<_> = values.into_iter().map(|(key, value)| (key, SecretString::from(value))).collect();
            let read = read_draft(&write_draft(&values)).unwrap();
            proptest::prop_assert_eq!(shown(&read), shown(&values));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[A-Z=\"'\\\\ \n#.\\[\\]{}a-z]{0,60}") {
            drop(read_draft(&text));
        }
    }
}
