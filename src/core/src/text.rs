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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_overlong_text_do_not_reach_the_terminal() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\nline\u{202e}", 80), "red line");
        assert_eq!(clean("\u{1b}]0;title\u{7}text", 80), "text");
        assert_eq!(clean("abcdef", 3), "abc…");
    }
}
