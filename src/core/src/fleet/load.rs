//! From the text of the fleet's files to a fleet, or to every problem in them. Opens no file: the texts are given.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use toml::de::DeTable;

use super::file::{FleetFile, ProviderKind, ProviderTable};
use super::merge::{include, over};
use super::tree::{Node, Tree, location};
use super::{AgentTable, Fleet, HostTable, fleet_schema, shape};
use crate::problem::Problem;

/// The largest fleet file claw reads, in bytes: far above any fleet, far below what exhausts a machine.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One file of the fleet: its name as the person knows it, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path as the person knows it.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Returns the `include` patterns of the main file; none when it cannot be read.
pub fn include_patterns(main: &SourceFile) -> Vec<String> {
    let (document, _) = DeTable::parse_recoverable(&main.text);
    let patterns = document.get_ref().get("fleet").and_then(|fleet| fleet.get_ref().get("include"));
    let items = patterns.and_then(|list| list.get_ref().as_array());
    items
        .into_iter()
        .flat_map(|list| list.iter())
        .filter_map(|item| item.get_ref().as_str())
        .map(str::to_owned)
        .collect()
}

/// Returns the fleet as far as the files make sense, and every problem in them. What has the wrong shape is left out of
/// the fleet, so that what else is wrong can be told at once; a fleet is whole only where there are no errors.
pub fn load(files: &[SourceFile]) -> (Option<Fleet>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut nodes = files.iter().filter_map(|file| parse(file, &mut problems));
    let Some(mut root) = nodes.next() else { return (None, problems) };
    let others: Vec<_> = nodes.collect();
    if !problems.is_empty() {
        return (None, problems);
    }
    if root.table().is_some_and(|entries| entries.is_empty()) {
        let problem = Problem::error("empty-fleet", "the fleet file is empty").at(root.at.clone());
        let help = "an empty file never means \"nothing is wanted\"; `claw init` writes a skeleton";
        return (None, vec![problem.help(help)]);
    }
    for other in others {
        include(&mut root, other, &mut problems);
    }
    shape::check(&mut root, &fleet_schema(), &mut problems);
    if root.table().is_some_and(|entries| !entries.contains_key("fleet")) {
        problems.push(
            Problem::error("missing-key", "there is no `[fleet]` table")
                .at(location(&root.at.file, 0..0))
                .help("add [fleet] with `name` and `id`; `claw init` writes one with a random id"),
        );
    }
    if problems.iter().any(|problem| problem.code == "missing-key") {
        return (None, problems);
    }
    let fleet = assemble(Tree { root }, &mut problems);
    (fleet, problems)
}

fn parse(file: &SourceFile, problems: &mut Vec<Problem>) -> Option<Node> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let clean = errors.is_empty();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(Problem::error("syntax", error.message().to_owned()).at(location(&file.path, span)));
    }
    clean.then(|| Node::from_document(&file.path, document.span(), document.get_ref()))
}

/// Types the tree. Shapes were checked, so what fails here is a value serde reads more strictly than the schema says.
fn assemble(tree: Tree, problems: &mut Vec<Problem>) -> Option<Fleet> {
    let file = typed::<FleetFile>(tree.root.to_json(), &tree, &[], problems)?;
    let agents = merged::<AgentTable>("agents", &file.agents, &file.defaults.agent, &tree, problems);
    let hosts = merged::<HostTable>("hosts", &file.hosts, &file.defaults.host, &tree, problems);
    let mut fleet = Fleet {
        meta: file.fleet.unwrap_or_default(),
        providers: file.providers.into_iter().map(|(name, table)| (name.clone(), settle_kind(&name, table))).collect(),
        profiles: file.secrets,
        ssh: file.ssh,
        dns: file.dns.into_iter().map(|(name, zone)| (name.to_ascii_lowercase(), zone)).collect(),
        hosts,
        policy: file.policy,
        rollout: file.rollout,
        agents,
        tree,
    };
    let own: Vec<(String, HostTable)> = fleet
        .agents
        .iter()
        .filter_map(|(key, agent)| own_machine(&fleet, &file.defaults.host, key, agent, problems))
        .collect();
    for (key, table) in own {
        if fleet.hosts.contains_key(&key) {
            let message = format!("host `{key}` is called like agent `{key}`, which has a machine of its own");
            let help = "call one of them something else, or write what is meant of its machine into the agent's `host`";
            let at = fleet.tree.key(&["hosts", &key]);
            problems.push(Problem::error("duplicate-name", message).at(at).help(help));
            continue;
        }
        fleet.hosts.insert(key, table);
    }
    Some(fleet)
}

/// Returns the machine of an agent that runs on a cloud.
fn own_machine(
    fleet: &Fleet,
    defaults: &Map<String, Json>,
    key: &str,
    agent: &AgentTable,
    problems: &mut Vec<Problem>,
) -> Option<(String, HostTable)> {
    let on = agent.on.as_ref().filter(|on| fleet.cloud(on).is_some())?;
    let path = ["agents", key, "host"];
    let mut table: HostTable = typed(Json::Object(over(defaults, &agent.host)), &fleet.tree, &path, problems)?;
    table.id = Some(agent.id.clone().unwrap_or_else(|| key.to_owned()));
    table.on = Some(on.clone());
    table.suspend = agent.suspend.clone().or(table.suspend);
    Some((key.to_owned(), table))
}

/// Types the tables of a section, its defaults merged into each.
fn merged<T: DeserializeOwned>(
    section: &str,
    tables: &BTreeMap<String, Json>,
    defaults: &Map<String, Json>,
    tree: &Tree,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, T> {
    let empty = Map::new();
    let typed = tables.iter().filter_map(|(key, own)| {
        let whole = over(defaults, own.as_object().unwrap_or(&empty));
        Some((key.clone(), typed(Json::Object(whole), tree, &[section, key], problems)?))
    });
    typed.collect()
}

fn typed<T: DeserializeOwned>(json: Json, tree: &Tree, path: &[&str], problems: &mut Vec<Problem>) -> Option<T> {
    serde_json::from_value(json)
        .map_err(|error| {
            let text = error.to_string();
            // what was left out for its shape was told and is not missing
            if problems.is_empty() || !text.starts_with("missing field") {
                problems.push(Problem::error("wrong-value", text).at(tree.key(path)));
            }
        })
        .ok()
}

/// A provider named like a kind is of that kind.
fn settle_kind(name: &str, mut table: ProviderTable) -> ProviderTable {
    table.kind = table.kind.or_else(|| ProviderKind::ALL.into_iter().find(|kind| kind.word() == name));
    table
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "[fleet]\nname = \"a\"\nid = \"abcd\"\n[providers.docker]\n";

    fn files(texts: &[&str]) -> Vec<SourceFile> {
        let names = ["fleet.toml", "agents/a.toml", "agents/b.toml"];
        texts
            .iter()
            .zip(names)
            .map(|(text, path)| SourceFile { path: path.to_owned(), text: (*text).to_owned() })
            .collect()
    }

    /// Returns every problem with the very text it points to.
    fn problems(texts: &[&str]) -> String {
        let files = files(texts);
        let told = load(&files).1.into_iter().map(|problem| {
            let at = problem.at.expect("every problem of a file has a place");
            let text = &files.iter().find(|file| file.path == at.file).expect("a file of the fleet").text;
            let place = format!("{} {}..{} {:?}", at.file, at.start, at.end, &text[at.start..at.end]);
            let help = problem.help.map(|help| format!("\n  {help}")).unwrap_or_default();
            format!("{}: {}\n  {place}{help}", problem.code, problem.message)
        });
        told.collect::<Vec<_>>().join("\n")
    }

    fn agent(text: &str) -> AgentTable {
        let (fleet, problems) = load(&files(&[&format!("{HEAD}{text}")]));
        assert_eq!(problems, []);
        fleet.expect("a fleet").agents.remove("pete").expect("pete")
    }

    #[test]
    fn every_problem_is_told_at_once_and_points_to_its_bytes() {
        let text = format!(
            "{HEAD}[agents.pete]\nmodle = \"a/b\"\nsecrets = \"default\"\nport = 70000\nenv = {{ TZ = 1 }}\n\
             suspend = {{ until = true }}\n[agents.pete.resources]\ncpus = \"2\"\n[polcy]\n[agents.joe]\npurpose = [1]\n"
        );
        assert_snapshot!(problems(&[&text]), @r#"
        wrong-type: `purpose` wants a string, not an array
          fleet.toml 221..224 "[1]"
        wrong-type: `TZ` wants a string, not an integer
          fleet.toml 124..125 "1"
        unknown-key: unknown key `modle` in `pete`
          fleet.toml 64..69 "modle"
          did you mean `model`?
        number-range: `port` cannot be 70000
          fleet.toml 105..110 "70000"
          it lies between 0 and 65535
        wrong-type: `cpus` wants a number, not a string
          fleet.toml 186..189 "\"2\""
        wrong-type: `secrets` wants an array, not a string
          fleet.toml 88..97 "\"default\""
        wrong-type: `until` wants a date, not a boolean
          fleet.toml 148..152 "true"
        unknown-key: unknown key `polcy` in the file
          fleet.toml 191..196 "polcy"
          did you mean `policy`?
        "#);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_is_read() {
        let text = format!("{HEAD}[agents.pete]\nmodle = \"a/b\"\nsecrets = \"default\"\non = \"docker\"\n");
        let (fleet, problems) = load(&files(&[&text]));
        assert_eq!(problems.len(), 2);
        let agent = &fleet.expect("a fleet").agents["pete"];
        assert_eq!((agent.on.as_deref(), agent.secrets.len()), (Some("docker"), 0));
    }

    #[test]
    fn a_file_that_is_not_toml_points_to_the_byte() {
        assert_snapshot!(problems(&["[fleet]\nname = \n[agents.pete\n"]), @r#"
        syntax: unclosed table, expected `]`
          fleet.toml 28..28 ""
        syntax: string values must be quoted, expected literal string
          fleet.toml 15..15 ""
        "#);
        assert_snapshot!(problems(&["[fleet]\nname = \"a\"\nname = \"b\"\n"]), @r#"
        syntax: duplicate key
          fleet.toml 19..23 "name"
        "#);
    }

    #[test]
    fn a_broken_included_file_is_told_and_no_fleet_is_made_without_it() {
        let all = [HEAD, "[agents.pete"];
        assert_snapshot!(problems(&all), @r#"
        syntax: unclosed table, expected `]`
          agents/a.toml 12..12 ""
        "#);
        assert!(load(&files(&all)).0.is_none());
    }

    #[test]
    fn an_empty_file_is_a_problem_and_never_a_fleet_without_agents() {
        for text in ["", "\n", "# nothing yet\n"] {
            let (fleet, problems) = load(&files(&[text]));
            assert!(fleet.is_none(), "{text:?}");
            assert_eq!(problems[0].code, "empty-fleet", "{text:?}");
        }
    }

    #[test]
    fn a_fleet_without_its_table_or_its_id_is_refused() {
        assert_snapshot!(problems(&["[agents.pete]\n"]), @r#"
        missing-key: there is no `[fleet]` table
          fleet.toml 0..0 ""
          add [fleet] with `name` and `id`; `claw init` writes one with a random id
        "#);
        assert_snapshot!(problems(&["[fleet]\nname = \"a\"\n"]), @r#"
        missing-key: `fleet` has no `id`
          fleet.toml 0..7 "[fleet]"
          add `id`: The ownership mark: 4 to 12 lower-case letters and digits, random, written by `claw init`. Never change it.
        "#);
        assert!(load(&files(&["[agents.pete]\n"])).0.is_none());
    }

    #[test]
    fn an_agent_in_two_files_is_told_at_the_second() {
        let pete = "[agents.pete]\non = \"docker\"\n";
        assert_snapshot!(problems(&[HEAD, pete, pete]), @r#"
        duplicate: `agents.pete` is defined twice
          agents/b.toml 8..12 "pete"
          the other one is in agents/a.toml
        "#);
    }

    #[test]
    fn the_fleet_table_stays_in_the_main_file() {
        assert_snapshot!(problems(&[HEAD, "[fleet]\nname = \"b\"\n"]), @r#"
        include-fleet: an included file cannot have a `[fleet]` table
          agents/a.toml 1..6 "fleet"
          keep `[fleet]` in the main file only; included files hold agents, providers, secrets
        "#);
    }

    #[test]
    fn included_files_that_write_a_section_as_something_else_are_told_and_not_dropped() {
        let main = format!("{HEAD}[agents.joe]\n");
        assert_snapshot!(problems(&[&main, "[[agents]]\nid = \"pete\"\n"]), @r#"
        wrong-type: `agents` wants a table, not an array
          agents/a.toml 0..10 "[[agents]]"
        "#);
    }

    #[test]
    fn includes_add_agents_beside_those_of_the_main_file() {
        let main = format!("{HEAD}[agents.joe]\n");
        let (fleet, problems) = load(&files(&[&main, "[agents.pete]\nport = 0x7d0\n", "[agents.ada]\n"]));
        assert_eq!(problems, []);
        let fleet = fleet.expect("a fleet");
        assert_eq!(fleet.agents.keys().collect::<Vec<_>>(), ["ada", "joe", "pete"]);
        assert_eq!(fleet.agents["pete"].port, Some(2000));
        let at = fleet.agent_field("pete", "port").expect("a place");
        assert_eq!((at.file.as_str(), at.start, at.end), ("agents/a.toml", 21, 26));
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_told_wherever_they_stand() {
        let text = format!(
            "{HEAD}[agents.pete]\nport = 99999999999999999999\nresources.cpus = nan\n\
             settings.deep.list = [1, {{ x = 99999999999999999999 }}]\nsettings.y = -inf\n"
        );
        assert_snapshot!(problems(&[&text]), @r#"
        number-range: 99999999999999999999 is too large for an integer
          fleet.toml 71..91 "99999999999999999999"
        number-range: `cpus` cannot be NaN
          fleet.toml 109..112 "nan"
        number-range: 99999999999999999999 is too large for an integer
          fleet.toml 144..164 "99999999999999999999"
        number-range: `y` cannot be -inf
          fleet.toml 181..185 "-inf"
        "#);
    }

    #[test]
    fn a_date_is_a_day_and_a_text_is_a_text() {
        assert_eq!(agent("[agents.pete]\nsuspend = { until = 2026-12-01 }").suspend.expect("set").until, "2026-12-01");
        assert_snapshot!(problems(&[&format!("{HEAD}[agents.pete]\nmodel = 2026-12-01\n")]), @r#"
        wrong-type: `model` wants a string, not a date
          fleet.toml 72..82 "2026-12-01"
        "#);
        assert_snapshot!(problems(&[&format!("{HEAD}[agents.pete]\nsuspend.until = 2026-13-01\n")]), @r#"
        syntax: invalid date, expected month between 01 and 12
          fleet.toml 80..90 "2026-13-01"
        "#);
    }

    #[test]
    fn a_wrong_word_gets_the_near_one() {
        assert_snapshot!(problems(&["[fleet]\nname = \"a\"\nid = \"abcd\"\n[providers.a]\nkind = \"docer\"\n"]), @r#"
        unknown-value: `kind` cannot be "docer"
          fleet.toml 52..59 "\"docer\""
          did you mean "docker"?
        "#);
    }

    #[test]
    fn defaults_merge_tables_and_replace_values_and_arrays() {
        let merged = agent(
            "[defaults.agent]\nversion = \"1\"\nsecrets = [\"default\", \"work\"]\nenv = { A = \"1\", B = \"1\" }\n\
             resources.memory = \"1GiB\"\nsettings.a = { b = { c = 1, d = 1 }, l = [1, 2] }\n\
             [agents.pete]\nversion = \"2\"\nsecrets = [\"own\"]\nenv = { B = \"2\" }\nresources.cpus = 4\n\
             settings.a = { b = { d = 2 }, l = [3] }\n",
        );
        assert_eq!(merged.version.as_deref(), Some("2"));
        assert_eq!(merged.secrets, ["own"]);
        assert_eq!(merged.env, [("A".into(), "1".into()), ("B".into(), "2".into())].into());
        assert_eq!((merged.resources.memory.as_deref(), merged.resources.cpus), (Some("1GiB"), Some(4.0)));
        assert_eq!(Json::from(merged.settings), serde_json::json!({ "a": { "b": { "c": 1, "d": 2 }, "l": [3] } }));
    }

    #[test]
    fn an_empty_array_of_its_own_takes_the_defaults_away() {
        let merged = agent("[defaults.agent]\nsecrets = [\"default\"]\n[agents.pete]\nsecrets = []\n");
        assert!(merged.secrets.is_empty());
    }

    #[test]
    fn a_fleet_table_of_the_wrong_shape_is_told_once() {
        assert_snapshot!(problems(&["[fleet]\nname = 3\nid = \"abcd\"\n"]), @r#"
        wrong-type: `name` wants a string, not an integer
          fleet.toml 15..16 "3"
        "#);
    }

    #[test]
    fn nesting_without_end_is_a_problem_and_no_crash() {
        let long = |piece: &str| piece.repeat(100_000);
        for text in [format!("a = {}", long("[")), format!("a = {}", long("{b=")), format!("{}b = 1", long("a."))] {
            assert!(!load(&files(&[&text])).1.is_empty());
        }
    }

    #[test]
    fn include_patterns_are_read_even_where_the_rest_is_odd() {
        let main = |text: &str| include_patterns(&files(&[text])[0]);
        assert_eq!(main("[fleet]\ninclude = [\"a/*.toml\", 3]\nx = \n"), ["a/*.toml"]);
        assert_eq!(main("fleet = 3"), [""; 0]);
        assert_eq!(main("[fleet]\ninclude = \"a\""), [""; 0]);
    }

    /// Text that is nearly a fleet: pieces of one in any order.
    fn nearly() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "[fleet]\n",
            "name = \"a\"\n",
            "id = \"abcd\"\n",
            "[agents.pete]\n",
            "[agents]\n",
            "[[agents]]\n",
            "[defaults.agent]\n",
            "on = \"docker\"\n",
            "settings = 1\n",
            "[agents.pete.settings]\n",
            "x.y = [1, {}]\n",
            "secrets = [1]\n",
            "port = -1\n",
            "cpus = nan\n",
            "suspend.until = 2026-12-01\n",
            "until = 07:32:00\n",
            "fleet = \"é\"\n",
            "= \n",
            "\"\" = 0xffffffffffffffffff\n",
            "providers = []\n",
            "[providers.docker]\n",
            "env = { A = 1 }\n",
            "\u{feff}",
            "'''",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn no_text_makes_it_panic_and_every_place_lies_in_the_file(
            main in prop_oneof![nearly(), any::<String>(), ".{0,20}\\PC{0,40}"],
            other in prop_oneof![nearly(), any::<String>()],
        ) {
            let files = files(&[&main, &other]);
            let _ = include_patterns(&files[0]);
            let (fleet, problems) = load(&files);
            prop_assert!(fleet.is_some() || !problems.is_empty(), "no fleet and no word why");
            for at in problems.iter().filter_map(|problem| problem.at.as_ref()) {
                let text = files.iter().find(|file| file.path == at.file).map(|file| &file.text);
                prop_assert!(text.is_some_and(|text| text.get(at.start..at.end).is_some()), "{:?}", at);
            }
        }
    }
}
