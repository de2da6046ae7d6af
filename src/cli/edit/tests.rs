//! Tables added to fleet files of every shape.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use claw_core::fleet::{SourceFile, load};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

use super::*;

fn fields() -> Fields {
    vec![("on", "docker".into()), ("model", "a/b".into())]
}

/// Adds `new` and asserts that what was added stands between the given parts, which together are the old text.
#[track_caller]
fn check(before: &str, added: &str, after: &str) {
    let old = format!("{before}{after}");
    let made = add_table(&old, "agents", "new", &fields()).unwrap();
    assert_eq!(made.text, format!("{before}{added}{after}"));
    let lines: Vec<&str> = made.text.lines().skip(made.line - 1).take(made.lines.len()).collect();
    assert!(lines.iter().zip(&made.lines).all(|(line, told)| line.contains(told.as_str())), "{lines:?}");
    let root: toml_edit::DocumentMut = made.text.trim_start_matches('\u{feff}').parse().unwrap();
    assert_eq!(root["agents"]["new"]["on"].as_str(), Some("docker"));
    let by_core = load(&[SourceFile { path: "fleet.toml".to_owned(), text: made.text }]).1;
    assert!(by_core.iter().all(|problem| problem.code != "syntax"), "{by_core:?}");
}

const NEW: &str = "[agents.new]\non = \"docker\"\nmodel = \"a/b\"\n";

#[test]
fn a_table_follows_the_last_of_its_section() {
    check("[agents.a]\non = \"x\"\n", &format!("\n{NEW}"), "");
    check("[agents.a]\non = \"x\"\n", &format!("\n{NEW}"), "\n[policy]\n");
    check("[agents.a]\non = \"x\" # it runs\n", &format!("\n{NEW}"), "\n# limits\n[policy]\n");
    check("[agents.a]\n[agents.a.settings]\nx = [\n  1, # one\n]\n", &format!("\n{NEW}"), "\n[policy]\n");
    check(
        "[[agents.a.settings.l]]\nx = 1\n[[agents.a.settings.l]]\nx = '''\n# 2\n'''\n",
        &format!("\n{NEW}"),
        "\n[policy]\n",
    );
    check("[agents.a]\n[policy]\n[agents.b.env]\nX = \"1\"\n", NEW, "");
    check("[agents]\n", &format!("\n{NEW}"), "");
    check("[agents.b]\n", &format!("\n{NEW}"), "\n[policy]\n[agents]\n".trim_end_matches("[agents]\n"));
}

#[test]
fn comments_stay_with_what_they_belong_to() {
    check("[agents.a]\non = \"x\"\n# port = 1\n", &format!("\n{NEW}"), "\n# limits\n[policy]\n");
    check("[agents.a]\non = \"x\"\n", &format!("\n{NEW}\n"), "# limits\n[policy]\n");
    check("[agents.a]\non = \"x\"\n", &format!("\n{NEW}"), "\n# [agents.b]\n# on = \"y\"\n");
    check("[fleet]\n\n# [agents.b]\n# on = \"y\"\n", &format!("\n{NEW}"), "");
    check("[agents.a]\n# the end", &format!("\n\n{NEW}"), "");
}

#[test]
fn the_layout_is_the_files_own() {
    let aligned = "\n[agents.new]\non    = \"docker\"\nmodel = \"a/b\"\n";
    check("[agents.a]\nemoji   = \"x\"\npurpose = \"y\"\n", aligned, "");
    check("[agents.a]\nmodel = \"x\"\npurpose = \"y\"\n", &format!("\n{NEW}"), "");
    check("[agents.a]\n[agents.b]\n", NEW, "[policy]\n");
    check("[agents.a]\n\n# b\n[agents.b]\n", &format!("\n{NEW}"), "\n\n\n[policy]\n");
    check("[agents]\n  [agents.a]\n    on = \"x\"\n", "  [agents.new]\n    on = \"docker\"\n    model = \"a/b\"\n", "");
    check("[agents.a]\n\ton = 'x'\n", "\n[agents.new]\n\ton = \"docker\"\n\tmodel = \"a/b\"\n", "");
}

#[test]
fn lines_end_as_the_files_do() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    check(&crlf("[agents.a]\non = \"x\"\n"), &crlf(&format!("\n{NEW}")), &crlf("\n[policy]\n"));
    check(&crlf("[agents.a]\non = \"x\""), &crlf(&format!("\n\n{NEW}")), "");
    check("[agents.a]", &format!("\n\n{NEW}"), "");
    check("", NEW, "");
    check("\u{feff}", NEW, "");
    check("\u{feff}[agents.a]\n", &format!("\n{NEW}"), "\n[policy]\n");
    check("[fleet]\n\n", NEW, "");
}

#[test]
fn agents_on_one_line_get_another_line() {
    let entry = "new = { on = \"docker\", model = \"a/b\" }\n";
    check("[agents]\na = { on = \"x\" } # a\n", entry, "\n[policy]\n");
    check("[agents]\n  a = {}\n", &format!("  {entry}"), "# limits\n[policy]\n");
    check("agents.a = { on = \"x\" }\n", &format!("agents.{entry}"), "policy.delete_max = \"3%\"\n[fleet]\n");
    check("agents.a = {}", &format!("\nagents.{entry}"), "");
    check("\"agents\" . a = {}\n", &format!("agents.{entry}"), "");
}

#[test]
fn dotted_agents_get_dotted_lines() {
    check("[agents]\na.on = \"x\"\n", "new.on = \"docker\"\nnew.model = \"a/b\"\n", "\n[policy]\n");
    check(
        "agents.a.on = \"x\"\nagents.a.env.X = \"1\"\n",
        "agents.new.on = \"docker\"\nagents.new.model = \"a/b\"\n",
        "[fleet]\n",
    );
    check("agents.a.on = \"x\"\n[fleet]\n[agents.b]\n", NEW, "");
    check("[agents]\na.on = \"x\"\n[agents.a.settings]\ny = 1\n", NEW, "");
}

#[test]
fn an_inline_section_stays_on_its_line() {
    let entry = "new = { on = \"docker\", model = \"a/b\" }";
    check("agents = {", &format!(" {entry} "), "}\n");
    check("agents = {", &format!(" {entry}"), " }\n");
    check("agents = { a = { on = \"x\" }", &format!(", {entry}"), " } # all\n[fleet]\n");
    check("agents = { a.on = \"x\", a.env.X = \"1\"", &format!(", {entry}"), " }");
    check("agents = {\n  a = { on = \"x\" }", &format!(", {entry}"), ", # a\n}\n");
}

#[test]
fn names_and_values_of_every_kind_are_written_as_toml() {
    let mut host = InlineTable::new();
    host.insert("size", ["cx23", "cpx22"].into_iter().collect::<Value>());
    let fields: Fields = vec![("host", host.into()), ("purpose", "čte \"vše\" \\ 🦊".into())];
    let made = add_table("# žluť\n[agents.\"ö.ä\"]\n", "agents", "ü b.c", &fields).unwrap();
    let added = ["[agents.\"ü b.c\"]", "host = { size = [\"cx23\", \"cpx22\"] }", "purpose = 'čte \"vše\" \\ 🦊'"];
    assert_eq!(made.lines, added);
    assert_eq!(made.line, 4);
}

#[test]
fn what_is_no_toml_and_what_is_there_already_is_refused() {
    for text in
        ["[agents", "agents = 3\n", "[[agents]]\n", "[agents.new]\n", "[agents]\nnew.on = 1\n", "agents = { new = 1 }"]
    {
        assert!(add_table(text, "agents", "new", &fields()).is_err(), "{text}");
    }
}

/// A piece of a fleet file: an agent, written in one of the ways there are, or something else.
fn piece(number: usize, form: usize, more: &str) -> String {
    let name = format!("a{number}");
    let head = match form {
        0 => format!("[agents.{name}]\non = \"docker\"\n"),
        1 => format!("[agents.{name}]\non      = \"docker\" # here\nversion = \"{number}\"\n"),
        2 => format!("  [agents.{name}]\n    on = \"docker\"\n"),
        3 => format!("[agents.{name}.settings]\nx.y = [\n  1,\n  2, # two\n]\n"),
        4 => format!("[[agents.{name}.settings.list]]\nx = '''\n[agents.z]\n'''\n"),
        5 => format!("[providers.p{number}]\nkind = \"docker\"\n"),
        6 => format!("# [agents.{name}]\n# on = \"docker\"\n"),
        _ => format!("[dns.\"z{number}.org\"]\nprovider = \"h\" # ž\n"),
    };
    format!("{head}{more}")
}

/// How a file may begin: agents that are no `[header]`s, if there are any.
const HEADS: [&str; 6] = [
    "",
    "agents.top.on = \"docker\"\nagents.top.env.X = \"1\"\n",
    "agents.top = { on = \"docker\" } # top\n",
    "# ⚙\n\n",
    "[agents]\ntop = { on = \"docker\" }\n",
    "[agents]\ntop.on = \"docker\"\n",
];

fn file() -> impl Strategy<Value = String> {
    let gap = select(&["", "\n", "\n\n", "# more\n", "\n# next\n"][..]);
    let pieces = prop::collection::vec((0..8_usize, gap), 0..6);
    (select(&HEADS[..]), pieces, any::<bool>(), any::<bool>()).prop_map(|(head, pieces, crlf, cut)| {
        let mut text = head.to_owned();
        text.push_str("[fleet]\nname = \"f\"\nid = \"abcd\"\n");
        for (number, (form, more)) in pieces.into_iter().enumerate() {
            text.push_str(&piece(number, form, more));
        }
        if cut {
            text.truncate(text.trim_end_matches('\n').len());
        }
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

/// Returns the agents as written, and everything else.
fn parsed(text: &str) -> (serde_json::Map<String, Json>, Json) {
    let (fleet, problems) = load(&[SourceFile { path: "fleet.toml".to_owned(), text: text.to_owned() }]);
    assert_eq!(problems, [], "{text}");
    let fleet = fleet.unwrap();
    let Json::Object(agents) = serde_json::to_value(&fleet.agents).unwrap() else { panic!("no table") };
    (agents, serde_json::json!([fleet.meta, fleet.providers, fleet.dns]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn whatever_the_file_the_new_agent_is_in_it_and_the_rest_is_as_it_was(text in file()) {
        let made = add_table(&text, "agents", "new", &fields()).unwrap();
        let ((before, rest), (mut after, rest_after)) = (parsed(&text), parsed(&made.text));
        let new = after.remove("new").unwrap();
        prop_assert_eq!((&new["on"], &new["model"]), (&Json::from("docker"), &Json::from("a/b")));
        prop_assert_eq!(before, after);
        prop_assert_eq!(rest, rest_after);
        // every old line is there, in order, byte for byte
        let mut lines = made.text.split('\n');
        for old in text.split('\n') {
            let bare = old.trim_end_matches('\r');
            prop_assert!(lines.any(|line| line.trim_end_matches('\r') == bare), "{old:?} is gone:\n{}", made.text);
        }
        let crlf = text.contains("\r\n");
        prop_assert_eq!(made.text.matches('\n').count() == made.text.matches("\r\n").count(), crlf || !made.text.contains('\n'));
        let first = made.text.lines().nth(made.line - 1).unwrap();
        prop_assert_eq!(first, &made.lines[0]);
    }
}

#[test]
fn what_is_taken_out_takes_its_line_or_its_comma_and_nothing_else() {
    let gone = |text: &str, what: &str| {
        let start = text.find(what).unwrap();
        without(text, std::slice::from_ref(&(start..start + what.len()))).unwrap()
    };
    assert_eq!(gone("a = [\"x\", \"y\"] # both\n", "\"x\""), "a = [\"y\"] # both\n");
    assert_eq!(gone("a = [\"x\", \"y\"] # both\n", "\"y\""), "a = [\"x\"] # both\n");
    assert_eq!(gone("a = [\"x\"]\n", "\"x\""), "a = []\n");
    let lines = "a = [\n  \"x\", # x is Ann\n  # next\n  \"y\" # y is Bob\n]\n";
    assert_eq!(gone(lines, "\"x\""), "a = [\n  # next\n  \"y\" # y is Bob\n]\n");
    assert_eq!(gone(lines, "\"y\""), "a = [\n  \"x\", # x is Ann\n  # next\n]\n");
    assert_eq!(gone("[o]\nann = \"k\" # hers\nbob = \"l\"\n", "ann = \"k\""), "[o]\nbob = \"l\"\n");
    assert_eq!(gone("ssh.o.ann = \"k\"\nb = 1\n", "ann = \"k\""), "b = 1\n");
    assert_eq!(gone("o = { ann = \"k\", bob = \"l\" }\n", "bob = \"l\""), "o = { ann = \"k\" }\n");
    let both = "a = [\"x\", \"y\", \"z\"]\n";
    assert_eq!(without(both, &[5..8, 10..13]).unwrap(), "a = [\"z\"]\n");
    for nothing in [0..1, 90..99] {
        assert!(without("a = 1\n", std::slice::from_ref(&nothing)).is_err());
    }
}
