//! Saved plans: what was approved is done, and nothing else.

use crate::support::Fleet;

fn fleet() -> Fleet {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.edit("anthropic/claude-sonnet-5", "anthropic/claude-haiku-5");
    fleet.claw(&["plan", "--sandbox", "-o", "plan.json"]).ok().says("Saved to plan.json");
    fleet
}

/// Returns the digest in a plan file.
fn digest(fleet: &Fleet) -> String {
    let file: serde_json::Value = serde_json::from_str(&fleet.read("plan.json")).unwrap();
    file["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_approved_plan_is_done_without_asking_and_again_does_nothing() {
    let fleet = fleet();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(fleet.path().join("plan.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fleet.claw(&["show", "--sandbox", "plan.json"]).ok().says("config/ada").says(&digest(&fleet));
    fleet.claw(&["apply", "--sandbox", "plan.json", "--approve", &digest(&fleet)]).ok().says("3 of 3 steps done");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).ok();
    fleet.claw(&["apply", "--sandbox", "plan.json"]).ok().says("3 of 3 steps are as wanted already");
}

#[test]
fn two_plans_of_the_same_are_approved_by_the_same_digest() {
    let fleet = fleet();
    let first = digest(&fleet);
    fleet.claw(&["plan", "--sandbox", "-o", "plan.json"]).ok();
    assert_eq!(digest(&fleet), first);
    // approved without its file: planned anew, and the same
    fleet.claw(&["apply", "--sandbox", "--approve", &first]).ok().says("3 of 3 steps done");
    fleet.edit("anthropic/claude-haiku-5", "anthropic/claude-opus-5");
    fleet.claw(&["apply", "--sandbox", "--approve", &first]).exits(6).says("another plan was approved");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
}

#[test]
fn a_plan_that_was_touched_is_refused_whole() {
    let fleet = fleet();
    let text = fleet.read("plan.json");
    for (from, to) in [
        ("claude-haiku-5", "claude-evil-5"),
        ("\"made\": \"20", "\"made\": \"21"),
        ("\"targets\": []", "\"targets\": [\"ada\"]"),
    ] {
        assert!(text.contains(from), "{from}");
        fleet.write("plan.json", &text.replacen(from, to, 1));
        fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(65).says("does not carry this fleet's signature");
        fleet.claw(&["show", "--sandbox", "plan.json"]).exits(65);
    }
    for (broken, why) in [("{", "is no saved plan"), ("", "is no saved plan"), ("[]", "is no saved plan")] {
        fleet.write("plan.json", broken);
        fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(65).says(why);
    }
    fleet.write("plan.json", &text.replacen("\"format\": 1", "\"format\": 2", 1));
    fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(65).says("this claw reads form 1");
    fleet.claw(&["apply", "--sandbox", "gone.json"]).exits(1).says("failed to read gone.json");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
}

#[test]
fn a_plan_of_another_fleet_or_of_other_files_is_refused() {
    let fleet = fleet();
    let other = Fleet::example("quickstart");
    other.claw(&["init", "--own"]).ok();
    other.secret("default/ANTHROPIC_API_KEY", "sk-other");
    other.write("plan.json", &fleet.read("plan.json"));
    other.claw(&["apply", "--sandbox", "plan.json"]).exits(65).says("is a plan of fleet");
    fleet.edit("memory = \"3GiB\"", "memory = \"4GiB\"");
    fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(6).says("fleet.toml changed since");
    fleet.edit("memory = \"4GiB\"", "memory = \"3GiB\"");
    fleet.claw_with_input(&["secret", "--sandbox", "set", "default/ANTHROPIC_API_KEY"], "another").ok();
    fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(6).says("secrets/default.toml changed since");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
}

#[test]
fn what_moved_since_is_left_out_and_told_and_the_rest_is_done() {
    let fleet = fleet();
    fleet.claw(&["sandbox", "poke", "set", "config/bob", "agents.defaults.model.primary", "by-hand"]).ok();
    // nobody approved that somebody's gateway starts again
    fleet.claw(&["sandbox", "poke", "kill", "cleo"]).ok();
    let ran = fleet.claw(&["apply", "--sandbox", "plan.json"]).exits(6);
    ran.says("config/bob is not done: planned against another state")
        .says("not approved, and so not done: container/cleo");
    let plan = fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
    plan.says("config/bob").says("container/cleo").says("2 to change");
}
