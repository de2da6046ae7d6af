//! Makes text from machines fit to show: what comes out of an agent, a container or an engine is hostile.

/// Returns the text in one line, without control characters and escape sequences, at most `letters_max` letters long.
pub fn clean(text: &str, letters_max: usize) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            skip_sequence(&mut letters);
            continue;
        }
        let shown = if letter == '\n' || letter == '\t' { ' ' } else { letter };
        if shown.is_control() || is_reordering(shown) {
            continue;
        }
        if count == letters_max {
            out.push('…');
            break;
        }
        out.push(shown);
        count += 1;
    }
    out.trim().to_owned()
}

/// Returns an error's text with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Returns an amount like `2GiB` in MiB.
pub fn memory_mib(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = digits.parse().ok()?;
    match unit.trim() {
        "MiB" => Some(number),
        "GiB" => number.checked_mul(1024),
        _ => None,
    }
}

/// Returns the days of a time such as `90d` or `12w`; `None` where it is neither.
pub fn days(text: &str) -> Option<i32> {
    let (number, days_each) = match text.strip_suffix('d') {
        Some(number) => (number, 1),
        None => (text.strip_suffix('w')?, 7),
    };
    let plain = (1..=4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let days = plain.then(|| number.parse::<i32>().ok())??;
    (days > 0).then_some(days * days_each)
}

/// Skips the rest of an ANSI sequence: CSI to its final letter, OSC to its end, anything else one letter.
fn skip_sequence(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match letters.next() {
        Some('[') => while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {},
        Some(']') => while letters.next().is_some_and(|letter| letter != '\u{7}' && letter != '\u{1b}') {},
        _ => {}
    }
}

/// Marks that make text read in another order than it is written.
fn is_reordering(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Takes escape sequences and control characters out of text that comes in pieces, cut anywhere. Line ends and tabs stay.
#[derive(Debug, Default)]
pub struct Stripper {
    /// Bytes of a letter that is not whole yet.
    partial: Vec<u8>,
    inside: Inside,
}

/// Within which sequence a piece ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Text,
    Escape,
    /// `ESC [`: ends with a letter.
    Control,
    /// `ESC ]` and its kin: end with BEL or `ESC \`.
    String,
}

impl Stripper {
    /// Returns what of the next piece may be shown.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.partial.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.partial);
        let mut out = String::new();
        let mut rest = bytes.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.take(text, &mut out);
                    return out;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.take(std::str::from_utf8(good).unwrap_or_default(), &mut out);
                    let Some(length) = error.error_len() else {
                        self.partial = bad.to_vec();
                        return out;
                    };
                    self.take("\u{fffd}", &mut out);
                    rest = &bad[length..];
                }
            }
        }
    }

    fn take(&mut self, text: &str, out: &mut String) {
        for letter in text.chars() {
            self.inside = match (self.inside, letter) {
                (Inside::Text | Inside::String, '\u{1b}') => Inside::Escape,
                (Inside::Text, '\n' | '\t') => {
                    out.push(letter);
                    Inside::Text
                }
                (Inside::Text, letter) => {
                    if !letter.is_control() && !is_reordering(letter) {
                        out.push(letter);
                    }
                    Inside::Text
                }
                (Inside::Escape, '[') => Inside::Control,
                (Inside::Escape, ']' | 'P' | '^' | '_' | 'X') => Inside::String,
                (Inside::Control, letter) if !('@'..='~').contains(&letter) && letter != '\n' => Inside::Control,
                // a sequence that nobody ended must not hide all that follows
                (Inside::String, letter) if letter != '\u{7}' && letter != '\n' => Inside::String,
                (_, '\n') => {
                    out.push('\n');
                    Inside::Text
                }
                _ => Inside::Text,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_overlong_text_do_not_reach_the_terminal() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\nline\u{202e}", 80), "red line");
        assert_eq!(clean("\u{1b}]0;title\u{7}text", 80), "text");
        assert_eq!(clean("abcdef", 3), "abc…");
    }

    #[test]
    fn sequences_are_taken_out_wherever_a_piece_ends() {
        let text = "a\u{1b}[31mé\u{1b}[0m\r\nb\u{1b}]0;title\u{7}c\u{1b}]8;;http://x\u{1b}\\d\u{202e}\u{1b}]open\ne\n";
        for size in 1..text.len() {
            let mut stripper = Stripper::default();
            let out: String = text.as_bytes().chunks(size).map(|piece| stripper.push(piece)).collect();
            assert_eq!(out, "aé\nbcd\ne\n", "in pieces of {size}");
        }
        assert_eq!(Stripper::default().push(b"a\xffb"), "a\u{fffd}b");
    }
}
