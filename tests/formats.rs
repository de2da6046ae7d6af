//! What claw writes for programs is what its schemas say, and what other people's programs read.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::support::{Fleet, Ran, have, repository};

/// Returns what is wrong with documents by a committed schema.
fn mistakes(schema: &str, documents: &[Json]) -> Vec<String> {
    let text = fs::read_to_string(repository().join("schemas").join(schema)).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource(schema, serde_json::from_str(&text).unwrap()).unwrap();
    let index = compiler.compile(schema, &mut schemas).unwrap();
    documents
        .iter()
        .filter_map(|document| Some(format!("{}\nin {document}", schemas.validate(document, index).err()?)))
        .collect()
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Returns a sandboxed fleet in which something was made, changed, removed, lost and made to fail.
fn troubled() -> Fleet {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["sandbox", "poke", "kill", "ada"]).ok();
    fleet.claw(&["sandbox", "poke", "set", "config/bob", "agents.defaults.model.primary", "openai/gpt-5"]).ok();
    fleet.claw(&["sandbox", "poke", "remove", "container/cleo"]).ok();
    fleet.claw(&["sandbox", "poke", "foreign", "container/cleo"]).ok();
    fleet.claw(&["sandbox", "poke", "fail", "config/bob", "9"]).ok();
    fleet
}

#[test]
fn plans_and_events_fit_their_schemas() {
    let hetzner = Fleet::example("hetzner");
    let fleet = troubled();
    let mut plans = vec![hetzner.claw(&["plan", "--sandbox", "--json"]).ok().json()];
    plans.push(fleet.claw(&["plan", "--sandbox", "--json"]).ok().json());
    assert!(plans.iter().all(|plan| plan["format"] == 1));
    assert!(!plans[1]["held"].as_array().unwrap().is_empty(), "something foreign holds");
    assert_eq!(mistakes("plan.schema.json", &plans), Vec::<String>::new());

    let stdout = fleet.claw(&["apply", "--sandbox", "--yes", "--json", "--json-into", "events"]).exits(4).stdout;
    let (printed, into) = (lines(&stdout), lines(&fleet.read("events")));
    assert_eq!(mistakes("event.schema.json", &printed), Vec::<String>::new());
    assert_eq!(mistakes("event.schema.json", &into), Vec::<String>::new());
    let types: std::collections::BTreeSet<&str> = into.iter().map(|line| line["type"].as_str().unwrap()).collect();
    for expected in ["version", "planned_change", "change_summary", "apply_start", "apply_complete", "apply_errored"] {
        assert!(types.contains(expected), "{expected} is not among {types:?}");
    }
    assert!(into.iter().any(|line| line["type"] == "diagnostic" && line["diagnostic"]["severity"] == "error"));
    assert_eq!(into[0]["type"], "version");
}

#[test]
fn a_saved_plan_is_written_in_every_form_and_its_events_fit() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.edit("anthropic/claude-sonnet-5", "anthropic/claude-haiku-5");
    let now = fleet.claw(&["plan", "--sandbox", "-o", "plan.json", "--format", "markdown"]).ok().stdout;
    assert_eq!(fleet.claw(&["show", "--sandbox", "plan.json", "--format", "markdown"]).ok().stdout, now);
    let shown = fleet.claw(&["show", "--sandbox", "plan.json", "--format", "json"]).ok().json();
    assert_eq!(mistakes("plan.schema.json", &[shown]), Vec::<String>::new());
    let shown = fleet.claw(&["show", "--sandbox", "plan.json", "--format", "tf-json"]).ok().json();
    assert_eq!(shown["resource_changes"][0]["change"]["actions"], serde_json::json!(["update"]));
    fleet.claw(&["show", "--sandbox", "ada", "--format", "markdown"]).exits(64);
    fleet.claw(&["sandbox", "poke", "set", "config/bob", "agents.defaults.model.primary", "by-hand"]).ok();
    let stdout = fleet.claw(&["apply", "--sandbox", "plan.json", "--json"]).exits(6).stdout;
    let printed = lines(&stdout);
    assert_eq!(printed[0]["type"], "approved");
    assert!(!printed[0]["stale"].as_array().unwrap().is_empty());
    assert_eq!(mistakes("event.schema.json", &printed), Vec::<String>::new());
}

#[test]
fn the_schemas_refuse_what_is_not_so() {
    let fleet = Fleet::example("quickstart");
    let plan = fleet.claw(&["plan", "--sandbox", "--json"]).ok().json();
    let spoilt: [fn(&mut Json); 4] = [
        |plan| plan["format"] = "one".into(),
        |plan| plan["steps"][0]["action"] = "paint".into(),
        |plan| plan["steps"][0]["effect"] = Json::Null,
        |plan| {
            plan.as_object_mut().unwrap().remove("held");
        },
    ];
    for (number, spoil) in spoilt.iter().enumerate() {
        let mut plan = plan.clone();
        spoil(&mut plan);
        assert_eq!(mistakes("plan.schema.json", &[plan]).len(), 1, "mistake {number} is found");
    }
    let odd = serde_json::json!({ "@level": "info", "@message": "x", "type": "apply_start" });
    assert_eq!(mistakes("event.schema.json", &[odd]).len(), 1);
}

#[test]
fn the_event_file_does_not_change_what_a_person_sees() {
    let (one, two) = (Fleet::example("quickstart"), Fleet::example("quickstart"));
    let plain = one.claw(&["plan", "--sandbox"]).ok().all();
    assert_eq!(two.claw(&["plan", "--sandbox", "--json-into", "events"]).ok().all(), plain);
    let steps = lines(&two.read("events")).iter().filter(|line| line["type"] == "planned_change").count();
    assert_eq!(steps, two.claw(&["plan", "--sandbox", "--json"]).ok().json()["steps"].as_array().unwrap().len());
}

#[test]
fn github_gets_annotations_a_summary_and_outputs() {
    let mut fleet = troubled();
    let file = |name: &str| fleet.path().join(name).display().to_string();
    let (summary, output) = (file("summary.md"), file("output"));
    fleet.set("GITHUB_STEP_SUMMARY", &summary);
    fleet.set("GITHUB_OUTPUT", &output);
    fleet.write("summary.md", "what was there\n");
    let ran = fleet.claw(&["plan", "--sandbox", "--format", "github"]).ok();
    let line = fleet.read("fleet.toml").lines().position(|line| line == "[agents.cleo]").unwrap() + 1;
    let expected = format!("::warning file=fleet.toml,line={line},col=9,title=claw%3A held::");
    assert!(ran.stdout.contains(&expected), "{expected} is not in:\n{}", ran.stdout);
    let written = fleet.read("summary.md");
    assert!(written.starts_with("what was there\n<!-- claw:plan:"), "{written}");
    let output = fleet.read("output");
    assert!(output.starts_with("exitcode<<claw_"), "{output}");
    assert_eq!(output.lines().nth(1), Some("3"));
    let end = output.lines().next().unwrap().split("<<").nth(1).unwrap();
    assert_eq!(end.len(), "claw_".len() + 32);

    fleet.edit("[agents.cleo]\n", "[agents.cleo]\nmodl = \"x\"\n");
    let ran = fleet.claw(&["plan", "--sandbox", "--format", "github"]).exits(65);
    let expected = format!("::error file=fleet.toml,line={},col=1,title=claw%3A unknown-key::", line + 1);
    assert!(ran.stdout.contains(&expected), "{expected} is not in:\n{}", ran.stdout);
    let ran = fleet.claw(&["check", "--format", "github"]).exits(65);
    assert!(ran.stdout.contains(&expected), "{expected} is not in:\n{}", ran.stdout);

    fleet.claw(&["apply", "--sandbox", "--yes", "--json-into", "events"]).exits(65);
    let into = lines(&fleet.read("events"));
    assert_eq!(mistakes("event.schema.json", &into), Vec::<String>::new());
    assert_eq!(into.last().unwrap()["diagnostic"]["severity"], "error");
}

#[test]
fn a_comment_begins_with_its_mark_and_only_the_comment_is_on_standard_output() {
    let fleet = troubled();
    let text = fleet.claw(&["plan", "--sandbox", "--format", "markdown"]).ok().stdout;
    let id = fleet.read("fleet.toml");
    let id = id.lines().find_map(|line| line.strip_prefix("id = \"")).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(text.lines().next(), Some(format!("<!-- claw:plan:{id} -->").as_str()));
    assert!(text.contains("**held**") && text.contains("<details>"), "{text}");
}

#[test]
fn drift_is_told_as_tests_and_as_metrics() {
    let fleet = troubled();
    let junit = fleet.claw(&["drift", "--sandbox", "--format", "junit"]).exits(3).stdout;
    assert!(junit.starts_with("<?xml version=\"1.0\""), "{junit}");
    for expected in ["<failure type=\"changed\"", "<failure type=\"foreign\"", "name=\"config/bob\""] {
        assert!(junit.contains(expected), "{expected} is not in:\n{junit}");
    }
    if have("python3", Command::new("python3").arg("--version").output().is_ok(), "apt-get install python3") {
        let count = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.stdin).getroot(); \
                     print(r.get('tests'), len(r.findall('.//testcase')))";
        let said = piped(Command::new("python3").args(["-c", count]), &junit).ok().stdout;
        let numbers: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(numbers[0], numbers[1], "an XML reader finds as many testcases as are said");
    }
    let metrics = fleet.claw(&["drift", "--sandbox", "--format", "prometheus"]).exits(3).stdout;
    assert!(metrics.contains("kind=\"config\",category=\"changed\",place=\"docker\"} 1"), "{metrics}");
    assert!(metrics.contains("status=\"foreign\"} 1"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("claw_") && name.ends_with('}'), "{line}");
        value.parse::<f64>().unwrap();
    }
}

fn piped(command: &mut Command, input: &str) -> Ran {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

/// Whether Open Policy Agent's language is there, in the Python package regopy.
fn have_rego() -> bool {
    let found = Command::new("python3").args(["-c", "import regopy"]).output().is_ok_and(|ran| ran.status.success());
    have("rego", found, "pip install regopy")
}

fn policy(plan: &str) -> Json {
    let folder = repository().join("tests/formats");
    piped(Command::new("python3").arg(folder.join("policy.py")).arg(folder.join("policy.rego")), plan).ok().json()
}

#[test]
fn a_policy_written_for_terraform_judges_a_plan() {
    if !have_rego() {
        return;
    }
    let fleet = Fleet::example("quickstart");
    let plan = |more: &[&str]| fleet.claw(&[&["plan", "--sandbox", "--format", "tf-json"], more].concat()).ok().stdout;
    let said = policy(&plan(&[]));
    assert_eq!(said["deny"], serde_json::json!([]));
    assert!(said["planned"].as_u64().unwrap() > 10, "{said}");
    assert_eq!(said["secrets"], serde_json::json!(["claw_secrets"]), "secrets are masked and have no value");

    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    let text = fleet.read("fleet.toml");
    fleet.write("fleet.toml", text.split("[agents.cleo]").next().unwrap());
    assert_eq!(policy(&plan(&[]))["deny"], serde_json::json!([]), "what is held is not among the changes");
    let said = policy(&plan(&["--allow-destroy", "cleo"]));
    assert_eq!(said["deny"], serde_json::json!(["claw_volume cleo would be deleted"]));
}
