//! Fleets on a cloud: what a plan of them says, and what becomes of them when something goes wrong. The cloud is simulated
//! on the wire; seeds of bad luck are the duty of `faults`, kills that of `kills`.

mod faults;
mod kills;
pub mod lab;
mod story;

use claw_core::name::Kind;
use claw_sim::hetzner::{CloudFaults, Options, Poke, Request, Response, Status};
use serde_json::{Value as Json, json};

use self::lab::{CloudLab, Ending, FOUR, NONE, ONE};

#[test]
fn a_fleet_comes_up_on_machines_of_a_cloud_and_goes_without_a_trace() {
    let mut lab = CloudLab::new(FOUR);
    let others = lab.foreign();
    lab.apply().ok();
    lab.converged();
    lab.becomes(NONE).allow(&["pete", "judy", "shared", "joe", "mia"]);
    lab.apply().ok();
    lab.converged();
    assert_eq!(lab.marked(), [""; 0]);
    assert_eq!(lab.touched(&others), None);
}

/// A fleet of one agent on a machine of its own, that is up.
#[track_caller]
fn one() -> CloudLab {
    let lab = CloudLab::new(ONE);
    lab.apply().ok();
    lab.converged();
    lab
}

const TOKEN: &str = "sandbox";

#[test]
fn with_a_token_nobody_knows_everything_is_unknown_and_nothing_is_done() {
    let lab = CloudLab::new(ONE);
    lab.cloud.with(|cloud, _| cloud.settings.tokens.insert("another".to_owned()));
    let applied = lab.apply();
    assert_eq!(applied.plan.steps, []);
    let why = &applied.plan.unseen["hetzner"];
    assert!(why.contains("unauthorized") && why.contains("HCLOUD_TOKEN"), "{why}");
    assert_eq!(lab.marked(), [""; 0]);
}

#[test]
fn with_a_token_that_only_reads_there_is_a_plan_and_its_apply_says_which_token_it_wants() {
    let lab = CloudLab::new(ONE);
    lab.poke(&Poke::ReadOnly(true));
    assert!(lab.text().contains("+ server/pete"));
    lab.apply().fails_saying("can only read; make one with read and write permission");
    assert_eq!(lab.marked(), [""; 0]);
    lab.poke(&Poke::ReadOnly(false));
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_token_that_is_revoked_half_way_ends_the_run_with_a_word_and_the_next_one_goes_on() {
    let lab = CloudLab::new(ONE);
    for request in [3, 8, 13, 18] {
        let fork = lab.fork();
        let applied = fork.apply_with(None, Ending::Poke(request, Poke::Revoke(TOKEN.to_owned())));
        assert!(applied.outcome.summary.as_ref().unwrap().failed > 0, "revoked after request {request}");
        let applied = applied.fails_saying("the API does not know the token from HCLOUD_TOKEN");
        assert!(applied.deeds.len() < 40, "nobody insists: {:#?}", applied.deeds);
        assert!(!fork.plan().unseen.is_empty());
        let mut renewed = fork.fork();
        "renewed".clone_into(&mut renewed.token);
        // a machine that was still booting is looked into by the apply after the next
        assert_eq!(renewed.converge().err(), None, "revoked after request {request}");
        assert_eq!(renewed.breaches(), [""; 0], "revoked after request {request}");
    }
}

#[test]
fn refusals_for_asking_too_often_are_waited_out() {
    let lab = CloudLab::new(ONE);
    let storm = CloudFaults { limited_permille: 200, ..CloudFaults::none(7) };
    let applied = lab.apply_with(Some(storm), Ending::Natural).ok();
    assert!(applied.deeds.iter().any(|line| line.status == 429), "it was a storm");
    lab.converged();
}

#[test]
fn the_requests_of_an_hour_are_never_used_up() {
    let lab = CloudLab::new(FOUR);
    lab.cloud.with(|cloud, _| cloud.settings.rate_per_hour = 60);
    let applied = lab.apply().ok();
    let all = applied.looks.iter().chain(&applied.deeds);
    assert_eq!(all.clone().filter(|line| line.status == 429).count(), 0);
    assert!(all.count() > 60, "there were fewer than an hour's requests: {}", applied.deeds.len());
    lab.cloud.with(|cloud, _| cloud.settings.rate_per_hour = 0);
    lab.converged();
}

#[test]
fn at_the_limit_of_the_project_the_step_fails_and_says_what_to_do() {
    let lab = CloudLab::new(ONE);
    lab.cloud.with(|cloud, _| cloud.settings.servers_max = 3);
    lab.apply().fails_saying("the project is at its limit (project_limit)");
    lab.cloud.with(|cloud, _| cloud.settings.servers_max = 4);
    lab.apply().ok();
    lab.converged();
}

fn size(lab: &CloudLab, id: &str) -> String {
    let id = lab.server(id).id;
    lab.call("GET", &format!("/v1/servers/{id}"), &Json::Null)["server"]["server_type"]["name"].to_string()
}

#[test]
fn a_size_that_is_sold_out_gives_way_to_the_next_of_the_list() {
    let lab = CloudLab::new(ONE);
    lab.poke(&Poke::SellOut("cx23@fsn1".to_owned()));
    lab.apply().ok();
    assert_eq!(size(&lab, "pete"), "\"cpx22\"");
    lab.converged();
    lab.poke(&Poke::Restock("cx23@fsn1".to_owned()));
    lab.converged();
}

#[test]
fn when_all_sizes_are_sold_out_nothing_is_left_half_made_and_a_later_apply_makes_it() {
    let lab = CloudLab::new(ONE);
    lab.poke(&Poke::SellOut("*@fsn1".to_owned()));
    lab.apply().fails_saying("add another size to the list");
    assert!(lab.marked().iter().all(|name| !name.starts_with("server")), "{:?}", lab.marked());
    lab.poke(&Poke::Restock("*@fsn1".to_owned()));
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_machine_that_cannot_become_larger_keeps_its_size_and_runs() {
    let mut lab = one();
    lab.edit(&[("\"cx23\", \"cpx22\"", "\"cpx32\", \"cx43\"")]);
    lab.poke(&Poke::SellOut("cpx32@fsn1".to_owned()));
    let fork = lab.fork();
    fork.apply().ok();
    assert_eq!(size(&fork, "pete"), "\"cx43\"");
    fork.converged();

    lab.poke(&Poke::SellOut("*@fsn1".to_owned()));
    lab.apply().fails_saying("it is sold out");
    assert_eq!((size(&lab, "pete").as_str(), lab.server("pete").status), ("\"cx23\"", Status::Running));
    lab.poke(&Poke::Restock("*@fsn1".to_owned()));
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_size_that_a_location_does_not_have_gives_way_to_the_next_of_the_list() {
    let mut lab = CloudLab::new(ONE);
    // one that the file's check does not know yet: what the vendor sells where changes
    lab.edit(&[("\"cx23\", \"cpx22\"", "\"cpx11\", \"cpx22\"")]);
    lab.apply().ok();
    assert_eq!(size(&lab, "pete"), "\"cpx22\"");
    lab.converged();
}

#[test]
fn a_name_that_somebody_elses_machine_has_is_held_and_that_machine_is_left_alone() {
    let lab = CloudLab::new(ONE);
    let body = json!({ "name": "claw-k7f3q2-pete", "server_type": "cpx22", "image": "debian-12", "location": "nbg1" });
    let id = lab.call("POST", "/v1/servers", &body)["server"]["id"].clone();
    lab.pass(60_000);
    let others = lab.foreign();
    let text = lab.text();
    assert!(text.contains("! replace server/pete on hetzner: foreign"), "{text}");
    assert!(text.contains("! create access/pete on pete: waits for server/pete"), "{text}");
    lab.apply().ok();
    assert_eq!(lab.touched(&others), None);
    lab.call("PUT", &format!("/v1/servers/{id}"), &json!({ "name": "mine" }));
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_machine_whose_mark_was_taken_off_is_somebody_elses_and_not_made_a_second_time() {
    let lab = one();
    lab.poke(&Poke::Relabel("claw-k7f3q2-pete".to_owned(), "claw-fleet".to_owned(), None));
    let text = lab.text();
    assert!(text.contains("! replace server/pete on hetzner: foreign"), "{text}");
    let count = lab.cloud.with(|cloud, _| cloud.count_servers());
    lab.apply();
    assert_eq!(lab.cloud.with(|cloud, _| cloud.count_servers()), count);
}

#[test]
fn two_machines_with_one_mark_are_unknown_and_neither_is_touched() {
    let lab = one();
    for (key, value) in [("claw-fleet", "k7f3q2"), ("claw-name", "pete")] {
        lab.poke(&Poke::Relabel("web".to_owned(), key.to_owned(), Some(value.to_owned())));
    }
    let text = lab.text();
    assert!(text.contains("carry the mark of one machine"), "{text}");
    let applied = lab.apply();
    let changes: Vec<_> = applied.deeds.iter().filter(|line| line.method != "GET").collect();
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn a_zone_the_project_does_not_have_is_told_and_all_else_is_made() {
    let mut lab = CloudLab::new(ONE);
    lab.edit(&[("[dns.\"fleet.example\"]", "[dns.\"gone.example\"]"), ("pete.fleet.example", "pete.gone.example")]);
    lab.apply().ok();
    let text = lab.text();
    assert!(
        text.contains("! create dns/pete.gone.example:A on hetzner: unknown, the project has no zone gone.example")
    );
    assert_eq!(text.matches("! ").count(), 2, "{text}");
    assert!(!text.contains("+ "), "{text}");
    lab.call("POST", "/v1/zones", &json!({ "name": "gone.example", "mode": "primary" }));
    lab.pass(60_000);
    lab.apply().ok();
    lab.converged();
}

#[test]
fn somebody_elses_records_in_our_place_are_held_and_stay() {
    let lab = CloudLab::new(ONE);
    let set = json!({ "name": "pete", "type": "A", "records": [{ "value": "198.51.100.7" }] });
    lab.call("POST", "/v1/zones/fleet.example/rrsets", &set);
    lab.pass(60_000);
    let others = lab.foreign();
    lab.apply().ok();
    let text = lab.text();
    assert_eq!(text, "! update dns/pete.fleet.example:A on hetzner: foreign\n= 13 unchanged\n");
    assert_eq!(lab.touched(&others), None);
}

#[test]
fn records_changed_or_removed_by_hand_are_put_right() {
    let lab = one();
    let records = |kind: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        lab.poke(&Poke::Records("fleet.example".to_owned(), "pete".to_owned(), kind.to_owned(), values));
    };
    records("A", &["198.51.100.9"]);
    records("AAAA", &[]);
    let text = lab.text();
    assert!(text.contains("~ dns/pete.fleet.example:A on hetzner"), "{text}");
    assert!(text.contains("+ dns/pete.fleet.example:AAAA on hetzner"), "{text}");
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_machine_deleted_by_hand_is_made_anew_at_its_old_addresses() {
    let lab = one();
    let before = lab.server("pete");
    lab.poke(&Poke::Delete(before.name.clone()));
    let text = lab.text();
    for line in ["+ server/pete on hetzner", "+ volume/pete on pete", "+ container/pete on pete"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("dns/"), "its names stay: {text}");
    lab.apply().ok();
    lab.converged();
    let after = lab.server("pete");
    assert_ne!(before.id, after.id);
    assert_eq!((before.ipv4, before.ipv6), (after.ipv4, after.ipv6));
}

#[test]
fn a_machine_turned_off_by_hand_is_turned_on_and_what_is_on_it_is_unknown_until_then() {
    let lab = one();
    lab.poke(&Poke::PowerOff("claw-k7f3q2-pete".to_owned()));
    let text = lab.text();
    assert!(text.contains("~ server/pete on hetzner") && text.contains("status: \"off\" → \"running\""), "{text}");
    assert!(text.contains("! create volume/pete on pete: unknown, the machine is not running"), "{text}");
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_disk_written_anew_by_hand_is_told_as_what_it_is_an_empty_one() {
    let lab = one();
    lab.poke(&Poke::Rebuild("claw-k7f3q2-pete".to_owned()));
    let text = lab.text();
    for line in ["+ host/pete on pete", "+ volume/pete on pete", "+ container/pete on pete"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_firewall_detached_by_hand_guards_its_machine_again() {
    let lab = one();
    lab.poke(&Poke::Detach("claw-k7f3q2-ssh".to_owned()));
    let text = lab.text();
    assert!(text.contains("firewall: \"none\" → \"ssh\""), "{text}");
    lab.apply().ok();
    lab.converged();
}

#[test]
fn another_image_is_held_until_the_machine_may_be_lost_and_then_keeps_addresses_and_names() {
    let mut lab = one();
    let before = lab.server("pete");
    lab.edit(&[("host = { ", "host = { image = \"debian-13\", ")]);
    let text = lab.text();
    assert!(text.contains("! replace server/pete on hetzner: data of pete"), "{text}");
    lab.apply().ok();
    assert_eq!(lab.server("pete").id, before.id);
    lab.allow(&["pete"]);
    let text = lab.text();
    assert!(text.contains("± server/pete on hetzner") && text.contains("+ volume/pete on pete"), "{text}");
    assert!(!text.contains("dns/"), "its names stay: {text}");
    lab.apply().ok();
    lab.converged();
    let after = lab.server("pete");
    assert_eq!((before.ipv4, before.ipv6), (after.ipv4, after.ipv6));
    assert_eq!((before.image.as_str(), after.image.as_str()), ("debian-12", "debian-13"));
}

#[test]
fn a_machine_moves_to_another_location_when_it_may_be_lost_and_its_names_follow() {
    let mut lab = one();
    let before = lab.server("pete");
    lab.edit(&[("\"fsn1\"", "\"nbg1\"")]);
    let text = lab.text();
    assert!(text.contains("! replace server/pete on hetzner: data of pete"), "{text}");
    lab.apply();
    assert_eq!(lab.server("pete").id, before.id);
    assert_eq!(lab.server("pete").ipv4, before.ipv4, "held as a whole: its address stays, too");
    lab.allow(&["pete"]);
    lab.apply().ok();
    lab.converged();
    let after = lab.server("pete");
    assert_ne!(before.ipv4, after.ipv4);
    let records = lab.call("GET", "/v1/zones/fleet.example/rrsets/pete/A", &Json::Null)["rrset"]["records"].clone();
    assert_eq!(records[0]["value"], after.ipv4.unwrap().to_string());
}

#[test]
fn a_rule_set_that_would_shut_us_out_is_held() {
    let mut lab = one();
    lab.edit(&[("203.0.113.0/24", "198.51.100.0/24")]);
    assert_eq!(lab.text().lines().next(), Some("! update firewall/ssh on hetzner: would shut out 203.0.113.9"));
    lab.apply().ok();
    assert!(lab.text().contains("would shut out"));
    lab.edit(&[("198.51.100.0/24", "203.0.113.9")]);
    lab.apply().ok();
    lab.converged();
}

#[test]
fn a_rule_set_of_its_own_that_would_shut_us_out_is_held_and_the_machine_keeps_the_one_it_has() {
    let mut lab = one();
    lab.edit(&[("[\"203.0.113.0/24\"]", "[\"203.0.113.0/24\", \"198.51.100.0/24\"]")]);
    lab.apply().ok();
    lab.edit(&[("host = { ", "host = { allow_from = [\"198.51.100.1\"], ")]);
    let text = lab.text();
    assert!(text.contains("would shut out 203.0.113.9"), "{text}");
    lab.apply();
    let id = lab.server("pete").id;
    let shown = lab.call("GET", &format!("/v1/servers/{id}"), &Json::Null);
    let firewalls = &shown["server"]["public_net"]["firewalls"];
    let name = lab.call("GET", &format!("/v1/firewalls/{}", firewalls[0]["id"]), &Json::Null);
    assert_eq!(name["firewall"]["name"], "claw-k7f3q2-ssh");
}

/// Serves the project with something changed in each machine that is listed.
fn bent(change: fn(&mut Json)) -> Options {
    let bend = move |request: &Request, response: &mut Response| {
        let mut body = response.json();
        if let Some(servers) = body["servers"].as_array_mut().filter(|_| request.path == "/v1/servers") {
            servers.iter_mut().for_each(change);
            response.body = body.to_string().into_bytes();
        }
    };
    Options { bend: Some(Box::new(bend)), ..Options::default() }
}

#[test]
fn a_machine_that_cannot_be_read_is_unknown_and_never_absent() {
    let mut lab = one();
    let odd = || bent(|server| server["id"] = "seven".into());
    let plan = lab.plan_through(odd());
    assert_eq!(plan.steps, [], "{}", crate::lab::text(&plan));
    assert!(crate::lab::text(&plan).contains("could not be read"), "{}", crate::lab::text(&plan));
    lab.becomes(NONE).allow(&["pete"]);
    let plan = lab.plan_through(odd());
    let deletes: Vec<_> = plan.steps.iter().filter(|step| step.address.id.kind == Kind::Server).collect();
    assert!(deletes.is_empty(), "{deletes:#?}");
}

#[test]
fn a_status_that_nobody_knows_yet_is_shown_and_nothing_is_made_anew_for_it() {
    let lab = one();
    let plan = lab.plan_through(bent(|server| server["status"] = "hibernating".into()));
    let text = crate::lab::text(&plan);
    assert!(text.contains("status: \"hibernating\" → \"running\""), "{text}");
    assert!(plan.steps.iter().all(|step| step.action.word() == "update"), "{text}");
}

#[test]
fn an_action_that_the_cloud_gives_up_is_begun_again() {
    for command in ["create_server", "start_server", "apply_firewall", "set_firewall_rules", "create_rrset"] {
        let lab = CloudLab::new(ONE);
        lab.poke(&Poke::FailNext(command.to_owned(), 1));
        lab.apply();
        assert_eq!(lab.converge().err(), None, "{command}");
        assert_eq!(lab.breaches(), [""; 0], "{command}");
    }
    for command in ["shutdown_server", "change_server_type", "start_server"] {
        let mut lab = one();
        lab.edit(&[("\"cx23\", \"cpx22\"", "\"cpx32\"")]);
        lab.poke(&Poke::FailNext(command.to_owned(), 1));
        lab.apply();
        assert_eq!(lab.converge().err(), None, "{command}");
        assert_eq!(lab.breaches(), [""; 0], "{command}");
    }
}

#[test]
fn an_empty_file_is_not_done_while_what_it_leaves_behind_cannot_be_seen() {
    let mut lab = one();
    lab.becomes(NONE).allow(&["pete"]);
    for list in ["/v1/ssh_keys", "/v1/firewalls", "/v1/primary_ips", "/v1/servers", "/v1/zones", "/rrsets"] {
        let fail = move |request: &Request, response: &mut Response| {
            if request.method == "GET" && request.path.ends_with(list) {
                response.status = 500;
            }
        };
        let plan = lab.plan_through(Options { bend: Some(Box::new(fail)), ..Options::default() });
        assert!(!plan.is_empty() && plan.unseen.contains_key("hetzner"), "{list}: {plan:#?}");
        assert_eq!(plan.steps, [], "{list}: a place that was not read whole deletes nothing");
    }
    lab.apply().ok();
    lab.converged();
}
