//! Labels and label selectors: what may be written, and what it selects.

use std::collections::BTreeMap;

use super::refusal::Refusal;

/// Labels of a resource.
pub(super) type Labels = BTreeMap<String, String>;

/// A label selector: all of its terms have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Has(String),
    HasNot(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Parses `k=v`, `k==v`, `k!=v`, `k`, `!k`, `k in (a,b)` and `k notin (a,b)`, joined by commas. An empty selector
    /// selects everything.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::invalid("label_selector", format!("`{text}` is not a label selector"));
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let parts = split_outside_parentheses(text).ok_or_else(refused)?;
        let terms: Option<Vec<Term>> = parts.into_iter().map(|part| Term::parse(part.trim())).collect();
        terms.map(Self).ok_or_else(refused)
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| term.holds(labels))
    }
}

impl Term {
    fn parse(text: &str) -> Option<Self> {
        let key = |text: &str| is_key(text.trim()).then(|| text.trim().to_owned());
        let value = |text: &str| is_value(text.trim()).then(|| text.trim().to_owned());
        if let Some((before, rest)) = text.split_once('(') {
            let list = rest.strip_suffix(')')?.split(',').map(value).collect::<Option<Vec<_>>>()?;
            let mut words = before.split_whitespace();
            let term = match (key(words.next()?)?, words.next()?) {
                (key, "in") => Self::In(key, list),
                (key, "notin") => Self::NotIn(key, list),
                _ => return None,
            };
            return words.next().is_none().then_some(term);
        }
        if let Some((left, right)) = text.split_once("!=") {
            return Some(Self::NotIn(key(left)?, vec![value(right)?]));
        }
        if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Some(Self::In(key(left)?, vec![value(right)?]));
        }
        if let Some(absent) = text.strip_prefix('!') {
            return Some(Self::HasNot(key(absent)?));
        }
        Some(Self::Has(key(text)?))
    }

    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::Has(key) => labels.contains_key(key),
            Self::HasNot(key) => !labels.contains_key(key),
            Self::In(key, list) => labels.get(key).is_some_and(|value| list.contains(value)),
            Self::NotIn(key, list) => labels.get(key).is_none_or(|value| !list.contains(value)),
        }
    }
}

fn split_outside_parentheses(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return None,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

/// Refuses labels that the API would not take.
pub(super) fn check(labels: &Labels) -> Result<(), Refusal> {
    for (key, value) in labels {
        if !is_key(key) {
            return Err(Refusal::invalid("labels", format!("label key `{key}` is not correctly formatted")));
        }
        if key.starts_with("hetzner.cloud/") {
            return Err(Refusal::invalid("labels", format!("label key `{key}` has a reserved prefix")));
        }
        if !is_value(value) {
            return Err(Refusal::invalid("labels", format!("label value `{value}` is not correctly formatted")));
        }
    }
    Ok(())
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_word(prefix, 253) && is_word(name, 63),
        None => is_word(text, 63),
    }
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_word(text, 63)
}

fn is_word(text: &str, length_max: usize) -> bool {
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    text.len() <= length_max && edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn selectors_select() {
        let table = [
            ("", "a=1", true),
            ("a=1", "a=1", true),
            ("a==1", "a=1", true),
            ("a=1", "a=2", false),
            ("a=1", "", false),
            ("a!=1", "a=2", true),
            ("a!=1", "a=1", false),
            ("a!=1", "", true),
            ("a", "a", true),
            ("a", "b=1", false),
            ("!a", "b=1", true),
            ("!a", "a=1", false),
            ("a in (1,2)", "a=2", true),
            ("a in (1, 2)", "a=3", false),
            ("a notin (1,2)", "a=3", true),
            ("a notin (1,2)", "", true),
            ("a notin (1,2)", "a=1", false),
            ("a=1,b in (x,y),!c", "a=1 b=y", true),
            ("a=1,b in (x,y),!c", "a=1 b=y c=1", false),
            ("claw.dev/fleet=f", "claw.dev/fleet=f", true),
            ("a=", "a", true),
        ];
        for (selector, with, selected) in table {
            assert_eq!(Selector::parse(selector).unwrap().selects(&labels(with)), selected, "`{selector}` on `{with}`");
        }
    }

    #[test]
    fn nonsense_is_not_a_selector() {
        for text in ["a in 1", "a in (1", "a)", "=1", "!", "a b", "a in (1) x", "ä=1", ",", "a/b/c"] {
            assert_eq!(Selector::parse(text).unwrap_err().code, "invalid_input", "`{text}`");
        }
    }

    #[test]
    fn labels_are_checked() {
        let long = "x".repeat(64);
        let table = [
            ("a=1", true),
            ("a", true),
            ("a.b/c-d=e_f", true),
            ("-a=1", false),
            ("a=-", false),
            ("hetzner.cloud/a=1", false),
        ];
        for (text, good) in table {
            assert_eq!(check(&labels(text)).is_ok(), good, "`{text}`");
        }
        assert!(check(&labels(&format!("a={long}"))).is_err());
    }
}
