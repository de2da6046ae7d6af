//! Every exit code of the README's table is reached by the real binary.

use std::fs;

use crate::support::{Fleet, repository};

/// Returns a fleet of the sandbox, applied.
fn applied() -> Fleet {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet
}

#[test]
fn code_0_done_or_nothing_to_do() {
    let fleet = applied();
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(0);
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(0);
    fleet.claw(&["drift", "--sandbox"]).exits(0);
}

#[test]
fn code_1_failed_and_nothing_was_changed() {
    let fleet = Fleet::example("quickstart");
    let into = ["--json-into", "no/such/folder/events"];
    fleet.claw(&[&["apply", "--sandbox", "--yes"], &into[..]].concat()).exits(1).says("failed to write");
    let steps = fleet.claw(&["plan", "--sandbox", "--json"]).ok().json()["steps"].as_array().unwrap().len();
    let applied = fleet.claw(&["apply", "--sandbox", "--yes", "--json"]).ok();
    let done = applied.stdout.lines().filter(|line| line.contains("step_done")).count();
    assert_eq!(done, steps, "the failed run had changed nothing");
}

#[test]
fn code_2_changes_are_pending() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["plan", "--sandbox"]).exits(0);
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
    fleet.claw(&["drift", "--sandbox"]).exits(2);
}

#[test]
fn code_3_something_is_held() {
    let fleet = applied();
    fleet.claw(&["sandbox", "poke", "down", "docker"]).ok();
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(3);
    fleet.claw(&["drift", "--sandbox"]).exits(3);
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(3);
}

#[test]
fn code_4_something_changed_and_something_failed() {
    let fleet = Fleet::example("quickstart");
    fleet.edit("[agents.bob]\n", "[agents.bob]\nversion = \"2026.9.7-missing\"\n");
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(4);
}

#[test]
fn code_5_another_run_holds_the_lock() {
    let fleet = applied();
    let file = fs::File::options().read(true).write(true).open(fleet.path().join(".claw/sandbox/lock")).unwrap();
    file.lock().unwrap();
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(5);
    fleet.claw(&["plan", "--sandbox"]).exits(0);
}

#[test]
fn code_6_the_world_moved_since_the_plan_was_made() {
    let fleet = applied();
    fleet.edit("anthropic/claude-sonnet-5", "anthropic/claude-haiku-5");
    fleet.claw(&["plan", "--sandbox", "-o", "plan.json"]).exits(0);
    fleet.claw(&["sandbox", "poke", "set", "config/bob", "agents.defaults.model.primary", "by-hand"]).ok();
    fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(6);
}

#[test]
fn code_64_the_command_line_makes_no_sense() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["plan", "--sandbox", "--nonsense"]).exits(64);
    fleet.claw(&["plan", "--sandbox", "--json", "--format", "markdown"]).exits(64).says("different things");
    fleet.claw(&["apply", "--sandbox"]).exits(64).says("--yes");
}

#[test]
fn code_65_the_fleet_is_invalid() {
    let fleet = Fleet::example("quickstart");
    fleet.write("fleet.toml", "[fleet]\nnam = \"x\"\n");
    for command in ["check", "plan", "apply", "drift"] {
        let yes: &[&str] = if command == "apply" { &["--yes"] } else { &[] };
        fleet.claw(&[&[command, "--sandbox"], yes].concat()).exits(65);
    }
}

#[test]
fn the_readme_has_every_code_and_no_other() {
    let codes = |text: &str, head: &str, ends: char| -> Vec<u8> {
        let lines = text.lines().filter_map(|line| line.split_once(head)?.1.split(ends).next()?.trim().parse().ok());
        let mut codes: Vec<u8> = lines.collect();
        codes.sort_unstable();
        codes
    };
    let source = fs::read_to_string(repository().join("src/cli/exit.rs")).unwrap();
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let table = readme.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(codes(table, "| ", '|'), codes(&source, "Exit = Exit(", ')'));
}
