//! Values are masked in every form, wherever pieces end, and nothing else is.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};

use super::*;

const KEY: &str = "sk-ant-9f\"ü\\x/7+q";
const SHOWN: &str = "(secret default/KEY)";

fn known() -> Known {
    let known = Known::default();
    known.add("secret default/KEY", KEY);
    known.add("secret default/PEM", "first-line-zq\nsecond-line-zq\nab\n");
    known
}

/// Passes a text through in pieces of a size.
fn streamed(known: &Known, text: &[u8], size: usize) -> String {
    let mut stream = known.stream();
    let mut out: Vec<u8> = text.chunks(size).flat_map(|piece| stream.push(piece)).collect();
    out.extend(stream.finish());
    String::from_utf8(out).expect("text")
}

#[test]
fn a_value_is_masked_in_every_form_and_the_rest_stays() {
    let known = known();
    let forms = [
        KEY.to_owned(),
        serde_json::to_string(KEY).expect("text").trim_matches('"').to_owned(),
        format!("{KEY:?}").trim_matches('"').to_owned(),
        BASE64.encode(KEY.as_bytes()),
        BASE64URL_NOPAD.encode(KEY.as_bytes()),
        HEXLOWER.encode(KEY.as_bytes()),
        "sk-ant-9f%22%C3%BC%5Cx%2F7%2Bq".to_owned(),
    ];
    for form in forms {
        assert_eq!(known.mask(&format!("a {form}, b")), format!("a {SHOWN}, b"), "{form}");
    }
    assert!(matches!(known.mask("nothing of it"), Cow::Borrowed(_)));
}

#[test]
fn of_a_long_text_each_line_is_masked_and_short_ones_with_the_whole() {
    let known = known();
    let shown = "(secret default/PEM)";
    assert_eq!(known.mask("x second-line-zq y"), format!("x {shown} y"));
    assert_eq!(known.mask("first-line-zq second-line-zq ab"), shown, "as `clean` makes it one line");
    assert_eq!(known.mask("first-line-zq\nsecond-line-zq\nab\nab"), format!("{shown}ab"));
}

#[test]
fn what_is_short_is_not_masked() {
    let known = Known::default();
    known.add("secret a/B", "12345");
    known.add("secret a/C", "");
    assert_eq!(known.mask("12345 1 MTIzNDU="), "12345 1 MTIzNDU=");
    assert_eq!(streamed(&known, b"12345", 1), "12345");
}

#[test]
fn a_value_that_comes_in_pieces_is_masked_wherever_they_end() {
    let known = known();
    known.add("token of ada", "sk-ant-9f");
    known.add("token of bob", "qqq-aba-qqq");
    let text = format!("a{KEY}b sk-ant-8 {KEY}{KEY} qqq-aba-qqq-aba-qqq sk-ant-9f first-lin");
    let wanted = format!("a{SHOWN}b sk-ant-8 {SHOWN}{SHOWN} (token of bob) (token of ada) first-lin");
    assert_eq!(known.mask(&text), wanted);
    assert_eq!(streamed(&known, text.as_bytes(), text.len()), wanted);
    for size in 1..=text.len() {
        // where a piece ends within the first bytes of a value, those are out before anybody can know
        let out = streamed(&known, text.as_bytes(), size);
        for value in [KEY, "sk-ant-9f", "qqq-aba-qqq"] {
            assert!(
                !out.contains(&value[..HELD_BYTES_MIN]) || wanted.contains(&value[..HELD_BYTES_MIN]),
                "{size}: {out}"
            );
        }
        let masks = |text: &str| text.matches("(secret default/KEY)").count();
        assert_eq!(masks(&out), masks(&wanted), "in pieces of {size}: {out}");
    }
}

#[test]
fn only_what_may_be_a_beginning_is_held_back() {
    let known = known();
    let mut stream = known.stream();
    assert_eq!(stream.push(b"hello s"), b"hello s");
    assert_eq!(stream.push(b"o it is"), b"o it is");
    assert_eq!(stream.push(b"k-ant-9"), b"");
    assert_eq!(stream.finish(), b"k-ant-9");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn a_terminal_shows_what_is_typed_at_once_and_no_value() {
    let known = known();
    let mut stream = known.stream();
    for key in ["s", "k", "-", "x", "s", "u"] {
        assert_eq!(stream.push(key.as_bytes()), key.as_bytes());
    }
    assert_eq!(streamed(&known, format!("$ {KEY}\n").as_bytes(), 100), format!("$ {SHOWN}\n"));
    assert_eq!(streamed(&known, format!("$ {KEY}\n").as_bytes(), 1), format!("$ sk-{SHOWN}\n"));
}

#[test]
fn a_value_that_a_text_was_cut_in_is_masked() {
    let known = known();
    for letters in 6..KEY.chars().count() {
        let cut = clean_cut(&format!("said: {KEY}"), 6 + letters);
        assert_eq!(known.mask(&cut), format!("said: {SHOWN}…"));
    }
    assert_eq!(known.mask("said: sk-an…"), "said: sk-an…");
}

fn clean_cut(text: &str, letters: usize) -> String {
    let cut = crate::text::clean(text, letters);
    assert!(cut.ends_with('…'), "{cut}");
    cut
}

#[test]
fn it_says_nothing_of_what_it_knows() {
    assert_eq!(format!("{:?}", known()), "Known(..)");
    let shown = format!("{:?}", known().stream());
    assert!(!shown.contains("sk-ant"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_value_comes_through_in_whatever_pieces(
        values in proptest::collection::vec("[ab]{6,9}", 1..5),
        text in "[abc]{0,60}",
        size in 1_usize..9,
    ) {
        let known = Known::default();
        for value in &values {
            known.add("x", value);
        }
        let masked = known.mask(&text).into_owned();
        for value in &values {
            proptest::prop_assert!(!masked.contains(value.as_str()));
        }
        let out = streamed(&known, text.as_bytes(), size);
        for value in &values {
            proptest::prop_assert!(!out.contains(value.as_str()), "{} in {}", value, out);
        }
        proptest::prop_assert_eq!(out.matches("(x)").count(), masked.matches("(x)").count());
    }
}
