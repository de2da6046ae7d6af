//! What an edit changes and, above all, what it leaves alone.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;
use crate::profile::parse_profile;

fn entry(key: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        owner: Some("petr".to_owned()),
        updated: "2026-11-21".to_owned(),
        max_age: None,
        hosts: Vec::new(),
        public: None,
        seq: 1,
        to: vec!["00112233445566ff".to_owned()],
        read_by: Vec::new(),
        age: "-----BEGIN-----\nYQ==\n-----END-----\n".to_owned(),
        mac: "bWFj".to_owned(),
    }
}

fn with(keys: &[&str]) -> String {
    keys.iter().fold(blank("k7f3q2", "claw"), |text, key| put(&text, &entry(key)))
}

/// Returns the keys in the order of the text.
fn keys(text: &str) -> Vec<String> {
    let file = parse_profile(text, "f").unwrap();
    file.entries.into_iter().map(|entry| entry.key).collect()
}

#[test]
fn a_new_file_looks_as_the_design_shows_it() {
    let text = with(&["ANTHROPIC_API_KEY"]);
    assert_eq!(
        text,
        r#"# Written by `claw secret`. Values are encrypted with age; names and dates are in clear for review.
format = 1
fleet = "k7f3q2"
profile = "claw"

[values.ANTHROPIC_API_KEY]
owner = "petr"
updated = "2026-11-21"
seq = 1
to = ["00112233445566ff"]
age = """
-----BEGIN-----
YQ==
-----END-----
"""
mac = "bWFj"
"#
    );
}

#[test]
fn what_is_put_reads_back() {
    let file = parse_profile(&with(&["A", "b.c-d"]), "f").unwrap();
    assert_eq!(file.entries, [entry("A"), entry("b.c-d")]);
}

#[test]
fn new_keys_find_their_place_by_name_and_move_nothing() {
    let text = with(&["M"]);
    let both = put(&text, &entry("Z"));
    assert_eq!(keys(&put(&both, &entry("P"))), ["M", "P", "Z"]);
    assert_eq!(keys(&put(&both, &entry("A"))), ["A", "M", "Z"]);
    let added = put(&both, &entry("P"));
    let section = added.find("\n[values.P]").unwrap()..added.find("\n[values.Z]").unwrap();
    assert_eq!(added.replacen(&added[section], "", 1), both);
}

#[test]
fn an_unsorted_file_keeps_its_order() {
    let z = with(&["Z"]);
    let a = with(&["A"]);
    let unsorted = z + &a[a.find("\n[values.A]").unwrap()..];
    assert_eq!(keys(&put(&unsorted, &entry("A"))), ["Z", "A"]);
    assert_eq!(keys(&put(&unsorted, &entry("B"))), ["B", "Z", "A"]);
}

#[test]
fn an_edit_keeps_comments_and_every_byte_of_other_sections() {
    let text = with(&["A", "B", "C"])
        .replace("[values.B]", "# about B\n[values.B] # header")
        .replace("[values.C]", "# about C\n[values.C]")
        .replace("owner = \"petr\"", "owner   =  \"petr\"   # asks Jana")
        .replace("seq = 1", "# counted\nseq = 1 # times");
    let text = format!("# licence\n{text}# the end\n");
    let changed = Entry { seq: 2, ..entry("B") };
    let edited = put(&text, &changed);
    let b = text.find("# about B").unwrap();
    let c = text.find("# about C").unwrap();
    assert_eq!(edited[..b], text[..b]);
    assert_eq!(edited[b..c], text[b..c].replace("seq = 1", "seq = 2"));
    assert_eq!(edited[c..], text[c..]);
}

#[test]
fn former_readers_come_and_go_without_a_trace() {
    let text = with(&["A", "B"]);
    let noted = put(&text, &Entry { read_by: vec!["ff00112233445566".to_owned()], ..entry("A") });
    assert_eq!(parse_profile(&noted, "f").unwrap().entries[0].read_by, ["ff00112233445566"]);
    assert_eq!(put(&noted, &entry("A")), text);
}

#[test]
fn removing_a_key_removes_its_section_and_nothing_else() {
    let text = with(&["A", "B", "C"]);
    assert_eq!(remove(&text, "B"), with(&["A", "C"]));
    assert_eq!(remove(&with(&["A"]), "A"), blank("k7f3q2", "claw"));
}

#[test]
fn generations_are_set_in_whatever_form_they_stand() {
    let text = set_generation(&with(&["A"]), "pete", 2);
    assert!(text.ends_with("\n\n[generations.gateway_token]\npete = 2\n"), "{text}");
    let dotted = with(&["A"]) + "\n[generations]\n# leaked\ngateway_token.pete = 2 # twice\n";
    let edited = set_generation(&dotted, "pete", 3);
    assert_eq!(edited, dotted.replace("= 2 #", "= 3 #"));
    let both = set_generation(&edited, "joe", 2);
    let file = parse_profile(&both, "f").unwrap();
    assert_eq!(file.gateway_generations["joe"], 2);
    assert_eq!(file.gateway_generations["pete"], 3);
    // A section before the values stays there.
    let text = set_generation(&blank("f", "claw"), "pete", 2);
    let text = put(&put(&text, &entry("B")), &entry("A"));
    assert!(text.find("[generations").unwrap() < text.find("[values.A]").unwrap(), "{text}");
    assert_eq!(keys(&text), ["A", "B"]);
}

#[test]
fn crlf_files_stay_crlf() {
    let text = with(&["A", "C"]).replace('\n', "\r\n");
    let edited = put(&text, &entry("B"));
    assert_eq!(edited, with(&["A", "B", "C"]).replace('\n', "\r\n"));
}

proptest::proptest! {
    #[test]
    fn any_order_of_writing_gives_the_same_file(names in proptest::collection::btree_set("[A-Z]{1,3}", 1..6), seed in 0..120usize) {
        let sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut shuffled = sorted.clone();
        let turn = seed % sorted.len();
        shuffled.rotate_left(turn);
        if seed % 2 == 0 { shuffled.reverse(); }
        proptest::prop_assert_eq!(with(&shuffled), with(&sorted));
    }
}
