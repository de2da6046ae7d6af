//! Reads and writes values as dotenv text: `KEY=VALUE` lines. Replaces no variables and touches no file.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::draft::TextError;
use crate::names::{VALUE_BYTES_MAX, is_key_name, printable};
use crate::profile::KEY_HELP;

/// Reads dotenv text: `KEY=VALUE` with or without `export`, comments from `#`, values bare, in `'…'` (as it stands) or in
/// `"…"` (with `\n`, `\r`, `\t`, `\"`, `\\`, `\$`); both may span lines. `$NAME` is not replaced.
///
/// Returns everything that is wrong, each with its line; no problem quotes a value.
pub fn read_dotenv(text: &str) -> Result<Vec<(String, SecretString)>, Vec<TextError>> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let (mut values, mut problems) = (Vec::<(String, SecretString)>::new(), Vec::new());
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.entry() {
            Ok(Some((key, _))) if values.iter().any(|(other, _)| *other == key) => {
                problems.push(TextError { line, reason: format!("`{key}` is there twice") });
            }
            Ok(Some(value)) => values.push(value),
            Ok(None) => {}
            Err(reason) => {
                problems.push(TextError { line, reason });
                reader.skip_line();
            }
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// Returns the values as dotenv text, each in double quotes, in their order.
#[must_use]
pub fn write_dotenv(values: &[(String, SecretString)]) -> Zeroizing<String> {
    // room for the worst case, so that the text never moves and leaves no copy behind
    let room = values.iter().map(|(key, value)| key.len() + 2 * value.expose_secret().len() + 4).sum();
    let mut text = Zeroizing::new(String::with_capacity(room));
    for (key, value) in values {
        text.push_str(key);
        text.push_str("=\"");
        for letter in value.expose_secret().chars() {
            let escaped = ESCAPES.iter().find(|(_, plain)| *plain == letter);
            if escaped.is_some() {
                text.push('\\');
            }
            text.push(escaped.map_or(letter, |(sign, _)| *sign));
        }
        text.push_str("\"\n");
    }
    text
}

/// What follows a backslash within double quotes, and what it stands for.
const ESCAPES: [(char, char); 6] = [('n', '\n'), ('r', '\r'), ('t', '\t'), ('"', '"'), ('\\', '\\'), ('$', '$')];

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl Reader<'_> {
    /// Takes one entry, comment or empty line off the text. After an error the text stands somewhere in that entry.
    fn entry(&mut self) -> Result<Option<(String, SecretString)>, String> {
        let line = self.rest.lines().next().unwrap_or_default();
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            self.skip_line();
            return Ok(None);
        }
        let (before, _) = line.split_once('=').ok_or("no `KEY=VALUE`")?;
        let name = before.trim();
        let key = name.strip_prefix("export").filter(|key| key.starts_with([' ', '\t'])).unwrap_or(name).trim();
        if !is_key_name(key) {
            return Err(format!("`{}` is not a key: {KEY_HELP}", printable(key)));
        }
        self.take(before.len() + 1);
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.take(blanks);
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map_err(|why| format!("the value of `{key}` {why}"))?,
            _ => self.bare(),
        };
        if value.is_empty() {
            return Err(format!("the value of `{key}` is empty"));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("the value of `{key}` is longer than {} KiB", VALUE_BYTES_MAX >> 10));
        }
        self.skip_line();
        Ok(Some((key.to_owned(), SecretString::from(value.as_str()))))
    }

    /// Takes a value up to the line's end or a comment, which begins with ` #`.
    fn bare(&mut self) -> Zeroizing<String> {
        let line = self.rest.lines().next().unwrap_or_default();
        let comment =
            line.char_indices().find(|(at, letter)| *letter == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])));
        let value = comment.map_or(line, |(at, _)| &line[..at]);
        Zeroizing::new(value.trim_end().to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<Zeroizing<String>, &'static str> {
        let body = &self.rest[1..];
        let mut value = Zeroizing::new(String::with_capacity(body.len()));
        let mut letters = body.char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.take(1 + at + 1);
                let tail = self.rest.lines().next().unwrap_or_default().trim();
                let ends = tail.is_empty() || tail.starts_with('#');
                return if ends { Ok(value) } else { Err("is followed by more text") };
            }
            if letter == '\\' && quote == '"' {
                let sign = letters.next().map(|(_, sign)| sign);
                let known = ESCAPES.iter().find(|(known, _)| Some(*known) == sign);
                value.push(known.ok_or("has a backslash before what needs none: write `\\\\` for a backslash")?.1);
            } else {
                value.push(letter);
            }
        }
        Err("begins with a quote that does not end")
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        self.take(end);
    }

    fn take(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count();
        self.rest = &self.rest[bytes..];
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::CANARY;

    fn read(text: &str) -> Vec<(String, String)> {
        let values = read_dotenv(text).unwrap();
        values.into_iter().map(|(key, value)| (key, value.expose_secret().to_owned())).collect()
    }

    #[test]
    fn dotenv_reads_as_people_write_it() {
        for (text, value) in [
            ("A=1", "1"),
            ("\u{feff}A=1", "1"),
            ("\r\n# x\r\n  export A = 1 2  # note\r\n", "1 2"),
            ("A=a#b=c", "a#b=c"),
            ("A=$HOME", "$HOME"),
            ("A='a \\n \"$x' # note", "a \\n \"$x"),
            ("A=\"a\\n\\\"\\$x\\\\\"", "a\n\"$x\\"),
            ("A=\"-----BEGIN\nx # y\n-----END\"\n", "-----BEGIN\nx # y\n-----END"),
            ("A=it's", "it's"),
        ] {
            assert_eq!(read(text), [("A".to_owned(), value.to_owned())], "{text}");
        }
        assert_eq!(read("export=1\nB=2").len(), 2);
    }

    #[test]
    fn every_problem_has_its_line_and_quotes_no_value() {
        let text = format!(
            "A=1\nB=\"x\ny\"\n1C={CANARY}\n{CANARY}\nD=\nA={CANARY}\nE='{CANARY}' {CANARY}\nF=\"\\q{CANARY}\"\nG=\"{CANARY}\n"
        );
        let problems = read_dotenv(&text).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9, 10]);
        assert!(!format!("{problems:?}").contains(CANARY), "{problems:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_values_come_back(values in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,6}", "(?s).{1,40}", 0..5)) {
            let secrets: Vec<_> = values.iter().map(|(key, value)| (key.clone(), SecretString::from(value.as_str()))).collect();
            let back: std::collections::BTreeMap<_, _> = read(&write_dotenv(&secrets)).into_iter().collect();
            proptest::prop_assert_eq!(back, values);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[A-Z=\"'\\\\ \n\r#$é]{0,60}", any in "(?s).{0,60}") {
            drop(read_dotenv(&text));
            drop(read_dotenv(&any));
        }
    }
}
