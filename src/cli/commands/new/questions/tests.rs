//! Whole dialogues: what is asked, and what comes of the answers.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use claw_core::fleet::{SourceFile, load};

use super::*;

const CLOUD: &str = "[fleet]\nname = \"brabec\"\nid = \"k7f3q2\"\n[providers.docker]\n[providers.hetzner]\n\
    [hosts.attic]\non = \"ssh\"\naddress = \"192.0.2.10\"\n[dns.\"brabec.me\"]\nprovider = \"hetzner\"\n";

/// Answers the questions about a fleet; returns what was shown with the answers in it, and what was made of them.
#[track_caller]
fn dialogue(
    fleet: &str,
    profiles: &[&str],
    prices: Prices<'_>,
    answers: &[&str],
) -> (String, Result<(String, Said), CommandError>) {
    let sources = [SourceFile { path: "fleet.toml".to_owned(), text: fleet.to_owned() }];
    let (fleet, problems) = load(&sources);
    assert_eq!(problems, []);
    let (fleet, profiles) = (fleet.unwrap(), profiles.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let known = Known::new(&fleet, &sources, &profiles);
    let (mut shown, mut answers, mut said) = (String::new(), answers.iter(), Said::default());
    let mut ask = |prompt: &str| {
        let answer = answers.next().ok_or_else(|| CommandError::failed("no answer"))?;
        shown.push_str(&format!("{prompt}{answer}\n"));
        Ok((*answer).to_owned())
    };
    let name = answer(&mut ask, &known, prices, None, &mut said);
    assert_eq!(answers.next(), None, "an answer too many:\n{shown}");
    (shown, name.map(|name| (name, said)))
}

fn no_prices(_: &str, _: &str) -> BTreeMap<String, Money> {
    BTreeMap::new()
}

#[test]
fn everything_is_asked_where_the_fleet_says_nothing() {
    let prices = |place: &str, location: &str| {
        assert_eq!((place, location), ("hetzner", "hel1"));
        let of = |size: &str, price| (size.to_owned(), Money::parse(price).unwrap());
        [of("cx23", "3.4900"), of("cpx12", "5.9900"), of("cx33", "5.4900")].into()
    };
    let answers = [
        "Pete",
        "pete",
        "hetzner",
        "hel1",
        "2",
        "",
        "2026.9.6",
        "sonnet",
        "anthropic/claude-sonnet-5",
        "work, 1",
        "🦊",
        "Mail",
    ];
    let (shown, said) = dialogue(CLOUD, &["default", "work"], &prices, &answers);
    insta::assert_snapshot!(shown);
    insta::assert_debug_snapshot!(said.unwrap());
}

#[test]
fn nothing_is_asked_that_the_defaults_say_or_that_has_one_answer() {
    let fleet = "[fleet]\nname = \"f\"\nid = \"abcd\"\n[defaults.agent]\nversion = \"1\"\nsecrets = []\nemoji = \"x\"\n\
        [providers.hetzner]\n[defaults.host]\nlocation = \"ash\"\n[agents.a]\nmodel = \"a/b\"\n[agents.b]\nmodel = \"a/b\"\n\
        [agents.c]\nmodel = \"a/a\"\n";
    let (shown, said) = dialogue(fleet, &["default"], &no_prices, &["pete", "1", "", "-"]);
    insta::assert_snapshot!(shown);
    let (_, said) = said.unwrap();
    let wanted =
        Said { on: Some("hetzner".into()), size: vec!["cpx12".into()], model: Some("a/b".into()), ..Said::default() };
    assert_eq!(said, wanted);
}

#[test]
fn an_answer_that_cannot_be_is_asked_for_again_and_no_answer_ends_it() {
    let (shown, said) = dialogue(CLOUD, &[], &no_prices, &["", "attic", "a b", "\u{1b}[A", "ann", "nowhere", "9"]);
    insta::assert_snapshot!(shown);
    assert_eq!(said.unwrap_err().message, "no answer");
}

#[test]
fn a_face_follows_from_the_name_and_is_nobody_elses_while_there_are_enough() {
    let mut text = "[fleet]\nname = \"f\"\nid = \"abcd\"\n".to_owned();
    let mut faces = Vec::new();
    for _ in 0..40 {
        let sources = [SourceFile { path: "fleet.toml".to_owned(), text: text.clone() }];
        let fleet = load(&sources).0.unwrap();
        let face = Known::new(&fleet, &sources, &[]).emoji("pete");
        assert_eq!(face, Known::new(&fleet, &sources, &[]).emoji("pete"));
        text.push_str(&format!("[agents.a{}]\nemoji = \"{face}\"\n", faces.len()));
        faces.push(face);
    }
    faces.sort_unstable();
    faces.dedup();
    assert_eq!(faces.len(), 40);
}
