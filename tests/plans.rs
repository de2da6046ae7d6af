//! What a plan says: a fleet file, a world, and the plan between them as text.
//!
//! `+` create, `~` update, `±` replace, `-` delete, in the order they are done, each with what it does to the running
//! agent; `!` held; `?` a place that was not seen; `‖` suspended.

use claw_core::name::ResourceId;
use claw_sim::Poke;
use insta::assert_snapshot;

use crate::lab::{Lab, always_cut, text};

const PETE: &str = r#"
[agents.pete]
on = "docker"
version = "2026.9.6"
model = "anthropic/claude-sonnet-5"
secrets = ["default"]
"#;

/// Returns agents like pete under other names.
fn agents(names: &[&str]) -> String {
    names.iter().map(|name| PETE.replace("pete", name)).collect()
}

/// Returns a lab in which the fleet stands.
#[track_caller]
fn standing(fleet: &str) -> Lab {
    let lab = Lab::new(fleet);
    lab.apply();
    lab
}

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

#[test]
fn a_new_agent_is_made_from_the_ground_up() {
    assert_snapshot!(Lab::new(PETE).text(), @r#"
    + network/pete (none)
    + volume/pete (none)
    + anchor/pete (none)
    + secrets/pete (none)
    + config/pete (none)
    + container/pete (none)
    = 0 unchanged
    "#);
}

#[test]
fn an_agent_with_a_workspace_gets_it_before_it_starts() {
    assert_snapshot!(Lab::new(&format!("{PETE}workspace = \"workspaces/w\"")).text(), @r#"
    + network/pete (none)
    + volume/pete (none)
    + anchor/pete (none)
    + secrets/pete (none)
    + workspace/pete (none)
    + config/pete (none)
    + container/pete (none)
    = 0 unchanged
    "#);
}

#[test]
fn an_agent_that_is_as_the_file_says_needs_nothing() {
    assert_snapshot!(standing(PETE).text(), @r#"= 6 unchanged"#);
}

#[test]
fn another_model_is_taken_over_hot() {
    let mut lab = standing(PETE);
    lab.becomes(&PETE.replace("sonnet", "opus"));
    assert_snapshot!(lab.text(), @r#"
    ~ config/pete (hot)
        agents.defaults.model.primary: "anthropic/claude-sonnet-5" → "anthropic/claude-opus-5"
    = 5 unchanged
    "#);
}

#[test]
fn a_setting_of_the_restart_class_restarts_the_gateway_and_the_worst_class_counts() {
    let mut lab = standing(PETE);
    lab.becomes(&format!("{}[agents.pete.settings]\nbindings = [1]", PETE.replace("sonnet", "opus")));
    assert_snapshot!(lab.text(), @r#"
    ~ config/pete (restart)
        agents.defaults.model.primary: "anthropic/claude-sonnet-5" → "anthropic/claude-opus-5"
        bindings: - → [1]
    = 5 unchanged
    "#);
}

#[test]
fn a_new_image_replaces_the_container_and_the_config_beside_it_costs_nothing_more() {
    let mut lab = standing(PETE);
    lab.becomes(&PETE.replace("sonnet", "opus").replace("2026.9.6", "2026.10.1"));
    assert_snapshot!(lab.text(), @r#"
    ~ config/pete (none)
        agents.defaults.model.primary: "anthropic/claude-sonnet-5" → "anthropic/claude-opus-5"
    ± container/pete (replace)
        image: "ghcr.io/openclaw/openclaw:2026.9.6" → "ghcr.io/openclaw/openclaw:2026.10.1"
    = 4 unchanged
    "#);
}

#[test]
fn a_config_beside_a_container_that_is_held_keeps_its_own_effect() {
    let mut lab = standing(PETE);
    lab.poke(Poke::Foreign(id("network/pete")));
    lab.becomes(&PETE.replace("sonnet", "opus").replace("2026.9.6", "2026.10.1"));
    assert_snapshot!(lab.text(), @r#"
    ~ config/pete (hot)
        agents.defaults.model.primary: "anthropic/claude-sonnet-5" → "anthropic/claude-opus-5"
    ! update network/pete: foreign
    ! replace container/pete: waits for network/pete
    = 3 unchanged
    "#);
}

#[test]
fn a_changed_secret_shows_its_name_only_and_is_taken_over_hot() {
    let mut lab = standing(PETE);
    lab.safe.values.insert("default/ANTHROPIC_API_KEY".to_owned(), "another".to_owned());
    lab.becomes(PETE);
    assert_snapshot!(lab.text(), @r#"
    ~ secrets/pete (hot)
        default.ANTHROPIC_API_KEY: {"secret":"in place"} → {"secret":"default/ANTHROPIC_API_KEY"}
    = 5 unchanged
    "#);
}

#[test]
fn a_killed_gateway_is_started_in_its_container() {
    let lab = standing(PETE);
    lab.poke(Poke::Kill("pete".to_owned()));
    assert_snapshot!(lab.text(), @r#"
    ~ container/pete (restart)
        status: "stopped, exit 137" → "healthy"
    = 5 unchanged
    "#);
}

#[test]
fn a_changed_container_is_put_back() {
    let lab = standing(PETE);
    lab.poke(Poke::Set(id("container/pete"), "memory".to_owned(), "1GiB".into()));
    assert_snapshot!(lab.text(), @r#"
    ± container/pete (replace)
        memory: "1GiB" → "2GiB"
    = 5 unchanged
    "#);
}

#[test]
fn what_somebody_removed_is_made_again() {
    let lab = standing(PETE);
    lab.poke(Poke::Remove(id("container/pete"))).poke(Poke::Remove(id("config/pete")));
    assert_snapshot!(lab.text(), @r#"
    + config/pete (none)
    + container/pete (none)
    = 4 unchanged
    "#);
}

#[test]
fn an_unfinished_container_is_finished() {
    let lab = standing(PETE);
    lab.poke(Poke::Set(id("container/pete"), "unfinished".to_owned(), "a copy of its state".into()));
    assert_snapshot!(lab.text(), @r#"
    ~ container/pete (none)
        unfinished: "a copy of its state" → -
    = 5 unchanged
    "#);
    lab.apply();
    assert!(lab.plan().is_empty());
}

#[test]
fn an_agent_that_left_the_file_is_held_for_its_data_whole() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    lab.becomes(PETE);
    assert_snapshot!(lab.text(), @r#"
    ! delete network/joe: data of joe
    ! delete volume/joe: data of joe
    ! delete anchor/joe: data of joe
    ! delete secrets/joe: data of joe
    ! delete config/joe: data of joe
    ! delete container/joe: data of joe
    = 6 unchanged
    "#);
}

#[test]
fn allow_destroy_lets_an_agent_go_gateway_first_and_data_last() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    lab.becomes(PETE);
    lab.policy.allow_destroy.insert("joe".to_owned());
    assert_snapshot!(lab.text(), @r#"
    - container/joe (none)
    - network/joe (none)
    - config/joe (none)
    - secrets/joe (none)
    - anchor/joe (none)
    - volume/joe (none)
    = 6 unchanged
    "#);
    lab.apply();
    assert_eq!(lab.world.count(), 6);
}

#[test]
fn the_last_block_of_the_file_holds_its_agent_too() {
    let mut lab = standing(PETE);
    lab.becomes("");
    assert_snapshot!(lab.text(), @r#"
    ! delete network/pete: data of pete
    ! delete volume/pete: data of pete
    ! delete anchor/pete: data of pete
    ! delete secrets/pete: data of pete
    ! delete config/pete: data of pete
    ! delete container/pete: data of pete
    = 0 unchanged
    "#);
}

#[test]
fn a_workspace_that_left_the_file_goes_while_its_agent_stays() {
    let mut lab = standing(&format!("{PETE}workspace = \"workspaces/w\""));
    lab.becomes(PETE);
    assert_snapshot!(lab.text(), @r#"
    - workspace/pete (none)
    ~ config/pete (hot)
        agents.defaults.skipBootstrap: true → -
    = 5 unchanged
    "#);
    lab.apply();
    assert!(lab.plan().is_empty());
}

#[test]
fn more_deletes_than_allowed_are_all_held_even_where_data_may_go() {
    let mut lab = standing(&agents(&["a", "b", "c", "d", "e", "f"]));
    lab.becomes(&agents(&["d", "e", "f"]));
    lab.policy.allow_destroy.extend(["a", "b", "c"].map(str::to_owned));
    assert_snapshot!(lab.text(), @r#"
    ! delete network/a: 3 deletes, 1 allowed
    ! delete volume/a: 3 deletes, 1 allowed
    ! delete anchor/a: 3 deletes, 1 allowed
    ! delete secrets/a: 3 deletes, 1 allowed
    ! delete config/a: 3 deletes, 1 allowed
    ! delete container/a: 3 deletes, 1 allowed
    ! delete network/b: 3 deletes, 1 allowed
    ! delete volume/b: 3 deletes, 1 allowed
    ! delete anchor/b: 3 deletes, 1 allowed
    ! delete secrets/b: 3 deletes, 1 allowed
    ! delete config/b: 3 deletes, 1 allowed
    ! delete container/b: 3 deletes, 1 allowed
    ! delete network/c: 3 deletes, 1 allowed
    ! delete volume/c: 3 deletes, 1 allowed
    ! delete anchor/c: 3 deletes, 1 allowed
    ! delete secrets/c: 3 deletes, 1 allowed
    ! delete config/c: 3 deletes, 1 allowed
    ! delete container/c: 3 deletes, 1 allowed
    = 18 unchanged
    "#);
    lab.policy.guard_deletes = false;
    assert_eq!(lab.plan().steps.len(), 18);
}

#[test]
fn one_delete_of_a_kind_is_always_allowed() {
    let mut lab = standing(&agents(&["a", "b"]));
    lab.becomes(&format!("[policy]\ndelete_max = \"0%\"\n{}", agents(&["b"])));
    lab.policy.allow_destroy.insert("a".to_owned());
    assert_snapshot!(lab.text(), @r#"
    - container/a (none)
    - network/a (none)
    - config/a (none)
    - secrets/a (none)
    - anchor/a (none)
    - volume/a (none)
    = 6 unchanged
    "#);
}

#[test]
fn something_foreign_in_our_place_is_held_and_what_rests_on_it_waits() {
    let lab = Lab::new(PETE);
    lab.poke(Poke::Up("docker".to_owned())).poke(Poke::Foreign(id("anchor/pete")));
    assert_snapshot!(lab.text(), @r#"
    + network/pete (none)
    + volume/pete (none)
    ! update anchor/pete: foreign
    ! create secrets/pete: waits for anchor/pete
    ! create config/pete: waits for anchor/pete
    ! create container/pete: waits for secrets/pete
    = 0 unchanged
    "#);
}

#[test]
fn something_foreign_that_nobody_asked_for_is_nobodys_business() {
    let lab = standing(PETE);
    lab.poke(Poke::Foreign(id("container/neighbour")));
    assert_snapshot!(lab.text(), @r#"= 6 unchanged"#);
}

#[test]
fn an_engine_that_does_not_answer_holds_everything_and_deletes_nothing() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    lab.poke(Poke::Down("docker".to_owned()));
    lab.becomes(PETE);
    lab.policy.allow_destroy.insert("joe".to_owned());
    assert_snapshot!(lab.text(), @r#"
    ? docker: connection refused
    ! create network/pete: unknown, connection refused
    ! create volume/pete: unknown, connection refused
    ! create anchor/pete: unknown, connection refused
    ! create secrets/pete: unknown, connection refused
    ! create config/pete: unknown, connection refused
    ! create container/pete: unknown, connection refused
    = 0 unchanged
    "#);
}

const TWO_ENGINES: &str = "[providers.attic]\nkind = \"docker\"\n";

#[test]
fn an_engine_that_does_not_answer_does_not_hold_the_others() {
    let fleet = format!("{TWO_ENGINES}{PETE}{}", agents(&["joe"]).replace("docker", "attic"));
    let mut lab = standing(&fleet);
    lab.poke(Poke::Down("attic".to_owned()));
    lab.becomes(&fleet.replace("sonnet", "opus"));
    let text = lab.text();
    assert!(text.contains("~ config/pete (hot)"), "{text}");
    assert!(text.contains("config/joe on attic: unknown"), "{text}");
}

#[test]
fn a_new_agent_waits_while_an_engine_that_may_have_its_data_is_not_seen() {
    let mut lab = Lab::new(&format!("{TWO_ENGINES}{PETE}"));
    lab.poke(Poke::Down("attic".to_owned()));
    let text = lab.text();
    assert!(text.contains("! create volume/pete") && text.contains("attic could not be seen"), "{text}");
    assert!(!text.contains("+ container/pete"), "what rests on its data waits too:\n{text}");
    lab.policy.allow_destroy.insert("pete".to_owned());
    assert!(lab.text().contains("+ volume/pete"), "{}", lab.text());
}

#[test]
fn a_list_that_was_cut_short_makes_what_is_missing_unknown_and_orphans_stay() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    lab.becomes(&agents(&["pete"]).replace("sonnet", "opus"));
    lab.policy.allow_destroy.insert("joe".to_owned());
    let observed = lab.look_with(&lab.engines_with(|_| always_cut(1)));
    assert_snapshot!(text(&lab.plan_against(&observed)), @r#"
    ? docker: the answer was cut short
    ! delete network/joe: unknown, the answer was cut short
    ! delete volume/joe: unknown, the answer was cut short
    ! delete anchor/joe: unknown, the answer was cut short
    ! delete secrets/joe: unknown, the answer was cut short
    ! delete config/joe: unknown, the answer was cut short
    ! delete container/joe: unknown, the answer was cut short
    ! create network/pete: unknown, the answer was cut short
    ! create volume/pete: unknown, the answer was cut short
    ! create anchor/pete: unknown, the answer was cut short
    ! create secrets/pete: unknown, the answer was cut short
    ! create config/pete: unknown, the answer was cut short
    ! create container/pete: unknown, the answer was cut short
    = 0 unchanged
    "#);
}

#[test]
fn a_suspended_agent_is_left_alone_and_the_plan_says_so() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    let suspend = "suspend = { until = 2026-06-16, reason = \"holiday\" }\n";
    lab.becomes(&format!("{}{suspend}", agents(&["joe", "pete"]).replace("sonnet", "opus")));
    assert_snapshot!(lab.text(), @r#"
    ‖ pete until 2026-06-16: holiday
    ~ config/joe (hot)
        agents.defaults.model.primary: "anthropic/claude-sonnet-5" → "anthropic/claude-opus-5"
    ! update config/pete: suspended until 2026-06-16
    = 10 unchanged
    "#);
}

#[test]
fn a_suspended_agent_that_needs_nothing_is_still_said() {
    let mut lab = standing(PETE);
    lab.becomes(&format!("{PETE}suspend = {{ until = 2026-12-01 }}"));
    assert_snapshot!(lab.text(), @r#"
    ‖ pete until 2026-12-01: -
    = 6 unchanged
    "#);
    assert!(lab.plan().is_empty());
}

#[test]
fn a_suspension_ends_on_its_day() {
    let mut lab = standing(PETE);
    for day in ["2026-06-14", "2026-06-15"] {
        lab.becomes(&format!("{}suspend = {{ until = {day} }}", PETE.replace("sonnet", "opus")));
        let text = lab.text();
        assert!(text.starts_with("~ config/pete (hot)"), "{day}: {text}");
    }
}

#[test]
fn an_agent_that_moved_is_held_at_both_places() {
    let attic = "[providers.attic]\nkind = \"docker\"\n";
    let mut lab = standing(&format!("{attic}{PETE}"));
    lab.becomes(&format!("{attic}{}", PETE.replace("docker", "attic")));
    assert_snapshot!(lab.text(), @r#"
    ! create network/pete on attic: data of pete is on docker
    ! delete network/pete: data of pete
    ! create volume/pete on attic: data of pete is on docker
    ! delete volume/pete: data of pete
    ! create anchor/pete on attic: data of pete is on docker
    ! delete anchor/pete: data of pete
    ! create secrets/pete on attic: data of pete is on docker
    ! delete secrets/pete: data of pete
    ! create config/pete on attic: data of pete is on docker
    ! delete config/pete: data of pete
    ! create container/pete on attic: data of pete is on docker
    ! delete container/pete: data of pete
    = 0 unchanged
    "#);
}

#[test]
fn an_agent_that_moved_starts_without_its_data_where_a_person_said_so() {
    let attic = "[providers.attic]\nkind = \"docker\"\n";
    let mut lab = standing(&format!("{attic}{PETE}"));
    lab.becomes(&format!("{attic}{}", PETE.replace("docker", "attic")));
    lab.policy.allow_destroy.insert("pete".to_owned());
    lab.apply();
    assert!(lab.plan().is_empty());
    assert_eq!(lab.world.count(), 6);
}

#[test]
fn a_target_brings_what_it_needs_and_nothing_else() {
    let mut lab = Lab::new(&agents(&["joe", "pete"]));
    lab.policy.targets.insert("config/pete".to_owned());
    assert_snapshot!(lab.text(), @r#"
    + volume/pete (none)
    + anchor/pete (none)
    + secrets/pete (none)
    + config/pete (none)
    = 0 unchanged
    "#);
}

#[test]
fn a_target_that_is_deleted_brings_what_goes_before_it() {
    let mut lab = standing(&agents(&["joe", "pete"]));
    lab.becomes(PETE);
    lab.policy.allow_destroy.insert("joe".to_owned());
    lab.policy.targets.insert("volume/joe".to_owned());
    assert_snapshot!(lab.text(), @r#"
    - container/joe (none)
    - config/joe (none)
    - secrets/joe (none)
    - anchor/joe (none)
    - volume/joe (none)
    = 6 unchanged
    "#);
    lab.apply();
}

#[test]
fn a_table_renamed_with_its_id_kept_changes_the_shown_name_only() {
    let mut lab = standing(PETE);
    lab.becomes(&PETE.replace("[agents.pete]", "[agents.peter]\nid = \"pete\""));
    assert_snapshot!(lab.text(), @r#"
    ~ config/pete (hot)
        agents.entries.main.identity.name: "pete" → "peter"
    = 5 unchanged
    "#);
}

#[test]
fn a_secret_that_cannot_be_had_holds_the_files_and_the_gateway() {
    let mut lab = Lab::new(PETE);
    lab.safe.locked.insert("default/ANTHROPIC_API_KEY".to_owned());
    lab.becomes(PETE);
    assert_snapshot!(lab.text(), @r#"
    + network/pete (none)
    + volume/pete (none)
    + anchor/pete (none)
    ! create secrets/pete: secret, no identity opens default/ANTHROPIC_API_KEY
    ! create config/pete: waits for secrets/pete
    ! create container/pete: waits for secrets/pete
    = 0 unchanged
    "#);
}

#[test]
fn a_secret_that_cannot_be_had_holds_only_what_would_change() {
    let mut lab = standing(PETE);
    lab.safe.locked.insert("default/ANTHROPIC_API_KEY".to_owned());
    lab.becomes(PETE);
    assert_snapshot!(lab.text(), @r#"
    ! update secrets/pete: secret, no identity opens default/ANTHROPIC_API_KEY
    = 5 unchanged
    "#);
    lab.becomes(&PETE.replace("2026.9.6", "2026.10.1"));
    assert_snapshot!(lab.text(), @r#"
    ! update secrets/pete: secret, no identity opens default/ANTHROPIC_API_KEY
    ! replace container/pete: waits for secrets/pete
    = 4 unchanged
    "#);
}
