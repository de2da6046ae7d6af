//! What a person sees: commands of the real binary in the sandbox, with everything they print.
//! `INSTA_UPDATE=always cargo test transcripts` writes the transcripts anew; read them as prose before committing.

use std::fmt::Write;

use crate::support::Fleet;

/// Runs commands and returns them with what they printed.
fn transcript(fleet: &Fleet, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let (line, input) = line.split_once(" <<< ").map_or((*line, None), |(line, input)| (line, Some(input)));
        if let Some((from, to)) = line.strip_prefix("edit: ").and_then(|edit| edit.split_once(" => ")) {
            fleet.edit(from, to);
            let _ = writeln!(text, "(fleet.toml: {from} → {to})\n");
            continue;
        }
        let args: Vec<&str> = line.split_whitespace().skip(1).collect();
        let ran = input.map_or_else(|| fleet.claw(&args), |input| fleet.claw_with_input(&args, input));
        let _ = write!(text, "$ {line}\n{}{}", ran.stdout, ran.stderr);
        let _ = writeln!(text, "{}", if ran.code == 0 { String::new() } else { format!("[exit {}]\n", ran.code) });
    }
    let place = fleet.path().canonicalize().unwrap().display().to_string();
    let text = text.replace(&place, "[folder]").replace(&fleet.home().display().to_string(), "[home]");
    hide(&text)
}

/// Hides what differs from run to run: dates, public keys, random ids.
fn hide(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '"', ',', ')']);
    let hidden = words.map(|word| {
        let bare = word.trim_end_matches([' ', '\n', '"', ',', ')', ';']);
        let rest = &word[bare.len()..];
        let digits = bare.bytes().filter(u8::is_ascii_digit).count();
        if bare.len() == 10 && digits == 8 && bare.as_bytes()[4] == b'-' && !bare.starts_with("2030") {
            format!("[date]    {rest}")
        } else if bare.starts_with("age1") && bare.len() > 50 {
            format!("[public key]{rest}")
        } else {
            word.to_owned()
        }
    });
    hidden.collect()
}

#[test]
fn the_quickstart_comes_up_breaks_and_is_mended() {
    let fleet = Fleet::example("quickstart");
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "claw check",
            "claw apply --sandbox --yes",
            "claw plan --sandbox --detailed-exitcode",
            "claw status --sandbox",
            "claw sandbox poke kill ada",
            "claw sandbox poke set config/bob agents.defaults.model.primary openai/gpt-5",
            "claw drift --sandbox",
            "claw status --sandbox",
            "claw apply --sandbox --yes",
            "claw drift --sandbox",
        ]
    ));
}

#[test]
fn changes_say_what_they_do_to_the_running_agent() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "edit: model   = \"anthropic/claude-sonnet-5\" => model   = \"anthropic/claude-haiku-5\"",
            "claw secret --sandbox set default/ANTHROPIC_API_KEY <<< another",
            "edit: memory = \"3GiB\" => memory = \"4GiB\"",
            "claw plan --sandbox --detailed-exitcode",
            "claw plan --sandbox --target bob",
            "claw apply --sandbox --yes",
        ]
    ));
}

#[test]
fn what_would_lose_data_or_touch_the_unknown_is_held() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "edit: [agents.bob] => [agents.rob]",
            "claw plan --sandbox --detailed-exitcode",
            "edit: [agents.rob] => [agents.rob]\nid = \"bob\"",
            "claw plan --sandbox --detailed-exitcode",
            "claw sandbox poke down docker",
            "claw plan --sandbox --detailed-exitcode",
            "claw apply --sandbox --yes",
            "claw status --sandbox",
            "claw sandbox poke up docker",
            "claw sandbox poke foreign container/cleo",
            "claw drift --sandbox",
            "edit: [agents.cleo] => [agents.cleo]\nsuspend = { until = 2030-01-01, reason = \"holiday\" }",
            "claw plan --sandbox --detailed-exitcode",
            "claw destroy --sandbox --yes ada",
            "claw destroy --sandbox --yes ada --allow-destroy ada",
        ]
    ));
}

#[test]
fn failures_stop_what_needs_them_and_nothing_else() {
    let fleet = Fleet::example("quickstart");
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "edit: [agents.bob] => [agents.bob]\nversion = \"2026.9.7-missing\"",
            "claw apply --sandbox --yes",
            "claw apply --sandbox",
            "edit: 2026.9.7-missing => 2026.9.6",
            "claw apply --sandbox --yes",
            "edit: [agents.bob] => [agents.bob]\nimage = \"registry.example/openclaw:broken\"",
            "claw apply --sandbox --yes",
            "claw plan --sandbox",
        ]
    ));
}

#[test]
fn every_problem_is_shown_with_its_place_and_what_to_do() {
    let fleet = Fleet::empty();
    fleet.write(
        "fleet.toml",
        r#"[fleet]
name = "x"
id = "NO"
[providers.docker]
[agents.pete]
on = "doker"
verison = "2026.9.6"
model = 5
secrets = ["defualt"]
[agents.ada]
on = "docker"
version = "latest"
model = "gpt"
env = { TOKEN = "secret:a/b" }
suspend = { until = "tomorrow" }
resources = { memory = "2GB" }
workspace = "nowhere"
[agents.ada.settings]
gateway.port = 5
[agents.Bob]
id = "ada"
"#,
    );
    insta::assert_snapshot!(transcript(&fleet, &["claw check", "claw check --json"]));
}

#[test]
fn unreadable_fleets_are_errors_and_never_an_empty_fleet() {
    let fleet = Fleet::empty();
    let mut text = transcript(&fleet, &["claw plan", "claw frobnicate", "claw plan -C nowhere"]);
    fleet.write("fleet.toml", "");
    text += &transcript(&fleet, &["claw apply --yes"]);
    fleet.write("fleet.toml", "[fleet\nname = ");
    text += &transcript(&fleet, &["claw plan --json"]);
    std::fs::write(fleet.path().join("fleet.toml"), [0xff, 0xfe]).unwrap();
    text += &transcript(&fleet, &["claw plan"]);
    fleet.write("fleet.toml", &"#".repeat(5 << 20));
    text += &transcript(&fleet, &["claw plan"]);
    fleet.write("fleet.toml", "[fleet]\nname = 'a'\nid = 'abcd'\ninclude = ['../*.toml', '*.toml']\n");
    text += &transcript(&fleet, &["claw plan"]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_fleet_begins_with_init_and_its_secrets_stay_secret() {
    let fleet = Fleet::empty();
    let mut text = transcript(&fleet, &["claw init --name mine"]);
    let id = fleet.read("fleet.toml").lines().find_map(|line| line.strip_prefix("id = \"")).unwrap()[..6].to_owned();
    text += &transcript(
        &fleet,
        &[
            "claw init",
            "claw check",
            "claw secret list",
            "claw secret set default/ANTHROPIC_API_KEY <<< sk-hush",
            "claw secret set default/EMPTY <<< \n",
            "claw secret set nonsense <<< x",
            "claw secret list",
            "claw secret get default/ANTHROPIC_API_KEY",
            "claw secret get default/ANTHROPIC_KEY",
            "claw secret get claw/fleet_key",
            "claw secret rm default/ANTHROPIC_API_KEY",
            "claw secret list",
            "claw identity new",
        ],
    );
    insta::assert_snapshot!(text.replace(&id, "[id]"));
}

#[test]
fn a_copied_example_becomes_ones_own() {
    let fleet = Fleet::example("quickstart");
    let before = fleet.read("fleet.toml");
    let text = transcript(&fleet, &["claw plan", "claw init --own", "claw check", "claw init --own"]);
    let after = fleet.read("fleet.toml");
    assert_ne!(before, after);
    assert!(!fleet.path().join("sandbox-identity.txt").exists());
    assert!(after.contains("# Three agents on one engine."), "comments survive:\n{after}");
    let id = after.lines().find_map(|line| line.strip_prefix("id = \"")).unwrap()[..6].to_owned();
    insta::assert_snapshot!(text.replace(&id, "[id]"));
}

#[test]
fn graphs_and_details_are_drawn() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["sandbox", "poke", "kill", "bob"]).ok();
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "claw graph",
            "claw graph --format mermaid",
            "claw show --sandbox container/bob",
            "claw show --sandbox nobody"
        ]
    ));
}

#[test]
fn an_agent_is_added_by_flags_and_nothing_else_changes() {
    let fleet = Fleet::example("quickstart");
    let before = fleet.read("fleet.toml");
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "claw new dora --purpose Waters --dry-run",
            "claw new dora --purpose Waters --memory 1GiB --secrets default --workspace workspaces/ada",
            "claw plan --sandbox --target dora",
            "claw new dora",
            "claw new",
            "claw new eve --on dokcer --secrets defualt",
            "claw new Eve",
            "claw new Eve --id dora",
            "claw new Eve --id eve --emoji= --file agents/eve.toml",
            "claw new Eve --id eve --emoji= --version 2026.9.5 --json",
            "claw check",
        ]
    ));
    let after = fleet.read("fleet.toml");
    assert!(after.starts_with(before.trim_end()), "what was there is there:\n{after}");
}

#[test]
fn what_is_not_said_and_not_plain_is_missing() {
    let fleet = Fleet::new("newmiss", "[providers.hetzner]\n[defaults.agent]\nmodel = \"anthropic/x\"\n");
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-none");
    let before = fleet.read("fleet.toml");
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "claw new",
            "claw new pete --on hetzner --version 2026.9.6",
            "claw new pete --on hetzner --version 2026.9.6 --location ash --size cx23",
            "claw new pete --on hetzner --version 2026.9.6 --location fsn1 --size cx23 --size cpx22 --dry-run",
            "claw new pete --json",
            "edit: [providers.hetzner] => [providers.hetzner]\nkidn = 1",
            "claw new pete --on docker --version 2026.9.6",
        ]
    ));
    assert_eq!(fleet.read("fleet.toml").replace("\nkidn = 1", ""), before);
}

const NEW_DEFAULTS: &str = "[defaults.agent]\nmodel = \"anthropic/x\"\nversion = \"1\"\nsecrets = [\"default\"]\n";

#[test]
fn agents_that_lie_in_files_of_their_own_get_another_file() {
    let fleet = Fleet::new("newfile", &format!("{NEW_DEFAULTS}emoji = \"x\"\n"));
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-none");
    fleet.edit("id = \"newfile\"", "id = \"newfile\"\ninclude = [\"more/[ab].toml\", \"./agents/*.toml\"]");
    fleet.write("more/a.toml", "# nobody yet\n");
    fleet.write("agents/ann.toml", "# Ann\r\n[agents.ann]\r\non = \"docker\"\r\n");
    let main = fleet.read("fleet.toml");
    fleet.claw(&["new", "bob"]).ok().says("bob is in agents/bob.toml, from line 1").says("commit agents/bob.toml");
    assert_eq!(fleet.read("agents/bob.toml"), "[agents.bob]\non = \"docker\"\n");
    fleet.claw(&["new", "Cleo", "--id", "cleo"]).ok();
    assert_eq!(fleet.read("agents/cleo.toml"), "[agents.Cleo]\nid = \"cleo\"\non = \"docker\"\n");
    fleet.claw(&["new", "dan", "--file", "agents/ann.toml"]).ok();
    let both = "# Ann\r\n[agents.ann]\r\non = \"docker\"\r\n\r\n[agents.dan]\r\non = \"docker\"\r\n";
    assert_eq!(fleet.read("agents/ann.toml"), both);
    fleet.claw(&["new", "eve", "--file", "more/b.toml"]).ok();
    assert_eq!(fleet.read("more/b.toml"), "[agents.eve]\non = \"docker\"\n");
    assert_eq!(fleet.read("fleet.toml"), main);
    fleet.claw(&["new", "fay", "--file", "./fleet.toml"]).ok();
    assert_eq!(fleet.read("fleet.toml"), format!("{main}\n[agents.fay]\non = \"docker\"\n"));
    fleet.claw(&["new", "gus", "--file", "more/c.toml"]).exits(64).says("more/c.toml would not be read");
    fleet.claw(&["new", "gus", "--file", "agents/../../x.toml"]).exits(64);
    fleet.claw(&["new", "dan"]).exits(64).says("`dan` is an agent already, in agents/ann.toml:5");
    fleet
        .claw(&["new", "gus", "--id", "cleo"])
        .exits(64)
        .says("`cleo` is the id of `Cleo` already, in agents/cleo.toml:2");
    assert_eq!(fleet.claw(&["check", "--json"]).ok().json()["agents"], 6);
}

#[cfg(unix)]
#[test]
fn a_linked_fleet_file_is_written_through() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fleet = Fleet::new("newlink", NEW_DEFAULTS);
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-none");
    let (link, real) = (fleet.path().join("fleet.toml"), fleet.home().join("real.toml"));
    std::fs::rename(&link, &real).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, &link).unwrap();
    fleet.claw(&["new", "pete"]).ok();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read_to_string(&real).unwrap().contains("[agents.pete]"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn facts_are_json_where_they_are_asked_for() {
    let fleet = Fleet::example("quickstart");
    assert_eq!(fleet.claw(&["check", "--json"]).ok().json()["agents"], 3);
    let plan = fleet.claw(&["plan", "--sandbox", "--json"]).ok().json();
    assert_eq!(plan["steps"].as_array().unwrap().len(), 19);
    let events = fleet.claw(&["apply", "--sandbox", "--yes", "--json"]).ok().stdout;
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds[..2], ["plan", "run_started"]);
    assert_eq!(kinds.last().map(String::as_str), Some("run_finished"));
    assert_eq!(kinds.iter().filter(|kind| *kind == "step_done").count(), 19);
    let status = fleet.claw(&["status", "--sandbox", "--json"]).ok().json();
    assert_eq!(status["agents"][0]["health"], "healthy");
    fleet.claw(&["sandbox", "poke", "remove", "container/ada"]).ok();
    let drift = fleet.claw(&["drift", "--sandbox", "--json"]).exits(2).json();
    assert_eq!(drift["drift"][0]["category"], "missing");
    let shown = fleet.claw(&["show", "--sandbox", "ada", "--json"]).ok().json();
    assert_eq!(shown.as_array().unwrap().len(), 7);
    assert!(fleet.claw(&["graph", "--json"]).ok().json()["edges"].as_array().unwrap().len() > 20);
    assert!(fleet.claw(&["check", "-f", "nothing.toml", "--json"]).exits(65).json()["problems"][0]["help"].is_string());
}

#[test]
fn a_second_apply_waits_for_nobody_and_says_who_holds_the_lock() {
    let fleet = Fleet::example("quickstart");
    std::fs::create_dir_all(fleet.path().join(".claw/sandbox")).unwrap();
    let path = fleet.path().join(".claw/sandbox/lock");
    std::fs::write(&path, "pid 1 of somebody, since yesterday").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    file.lock().unwrap();
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(5).says("pid 1 of somebody, since yesterday");
    fleet.claw(&["plan", "--sandbox"]).ok();
    fleet.claw(&["drift", "--sandbox"]).exits(2);
    drop(file);
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let fleet = Fleet::example("quickstart");
    let mut child =
        fleet.command(&["plan", "--sandbox", "--full"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}

#[test]
fn an_engine_that_is_named_and_cannot_be_reached_is_never_replaced_by_another() {
    let fleet = Fleet::example("quickstart");
    let output = fleet.command(&["plan"]).env("DOCKER_HOST", "tcp://192.0.2.1:2375").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tcp://192.0.2.1:2375"));
    fleet.edit("[providers.docker]", "[providers.docker]\nendpoint = \"ssh://somewhere\"");
    fleet.claw(&["check"]).exits(65).says("ssh://somewhere");
}

#[test]
fn a_name_that_means_nothing_is_never_a_clean_bill_of_health() {
    let fleet = Fleet::example("quickstart");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["sandbox", "poke", "kill", "ada"]).ok();
    fleet.claw(&["drift", "--sandbox", "--target", "adda"]).exits(64).says("did you mean `ada`?");
    fleet.claw(&["plan", "--sandbox", "--allow-destroy", "nobody"]).exits(64).says("nobody");
    fleet.claw(&["drift", "--sandbox", "--target", "ada"]).exits(2);
}

#[test]
fn two_agents_cannot_have_one_port_and_a_name_means_one_agent() {
    let fleet = Fleet::example("quickstart");
    fleet.edit("[agents.ada]", "[agents.ada]\nport = 18801");
    fleet.edit("[agents.bob]", "[agents.bob]\nport = 18801\nid = \"cleo\"");
    fleet.edit("[agents.cleo]\n", "[agents.cleo]\nid = \"other\"\n");
    fleet.claw(&["check"]).exits(65).says("the same port 18801").says("is called like the id of");
}

#[test]
fn whoever_becomes_a_recipient_reads_the_secrets_after_a_rekey() {
    let (fleet, colleague) = (Fleet::new("rekey1", ""), Fleet::empty());
    fleet.secret("default/KEY", "value");
    colleague.claw(&["identity", "new"]).ok();
    let recipient = colleague.claw(&["identity"]).ok().stdout;
    fleet.edit("recipients = [", &format!("recipients = [\"{}\", ", recipient.trim()));
    let identity = colleague.home().join(".config/claw/identity.txt");
    let get = || {
        let mut command = fleet.command(&["secret", "get", "default/KEY"]);
        command.env("CLAW_IDENTITY", &identity).env("HOME", "/nonexistent").output().unwrap()
    };
    assert_eq!(get().status.code(), Some(65));
    fleet.claw(&["secret", "list"]).ok().says("recipients changed since");
    fleet.claw(&["secret", "rekey"]).ok().says("claw/fleet_key").says("default/KEY");
    assert_eq!(String::from_utf8_lossy(&get().stdout), "value\n");
    fleet.claw(&["secret", "rekey"]).ok().says("nothing to do");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let fleet = Fleet::example("quickstart");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = fleet.command(&["schema"]).stdout(full).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn completions_are_made_for_every_shell() {
    let fleet = Fleet::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(fleet.claw(&["completions", shell]).ok().stdout.contains("claw"), "{shell}");
    }
}

#[test]
fn a_fleet_on_a_cloud_says_what_it_costs_what_is_held_and_what_somebody_did_by_hand() {
    let fleet = Fleet::example("hetzner");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok().says("45 of 45 steps done");
    insta::assert_snapshot!(transcript(
        &fleet,
        &[
            "claw plan --sandbox --detailed-exitcode",
            "claw cost --sandbox",
            "edit: size = \"cpx32\" => size = \"cpx42\"",
            "claw plan --sandbox",
            "edit: size = \"cpx42\" => size = \"cpx32\"\nimage = \"debian-13\"",
            "claw plan --sandbox --target shared",
            "claw plan --sandbox --allow-destroy shared --target shared",
            "edit: image = \"debian-13\" => ",
            "edit: allow_from = [\"203.0.113.0/24\"] => allow_from = [\"198.51.100.0/24\"]",
            "claw plan --sandbox --target firewall/ssh",
            "edit: allow_from = [\"198.51.100.0/24\"] => allow_from = [\"203.0.113.0/24\"]",
            "claw sandbox poke power-off shared",
            "claw sandbox poke detach ssh",
            "claw sandbox poke record brabec.example @ MX",
            "claw drift --sandbox",
            "claw apply --sandbox --yes --target server/shared",
            "claw sandbox poke stranger old-box",
            "claw adopt --list --sandbox",
            "claw adopt server old-box --host-key nonsense --sandbox",
            "claw adopt server new-box --host-key ssh-ed25519 --sandbox",
            "claw destroy judy --sandbox --yes",
            "claw destroy shared --sandbox --yes --allow-destroy shared",
        ]
    ));
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";
    let adopted = fleet.claw(&["adopt", "server", "old-box", "--host-key", key, "--as", "box", "--sandbox"]).ok();
    let lines = adopted.stdout.split_once("\n\n[").unwrap().1.split_once("\n\n").unwrap().0.to_owned();
    let text = fleet.read("fleet.toml");
    fleet.write("fleet.toml", &format!("{text}\n[{lines}\n"));
    let plan = fleet.claw(&["plan", "--sandbox", "--target", "box"]).ok();
    plan.says("~ server/box").says("name: \"old-box\" → \"claw-").says("+ host/box");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).ok();
    fleet.claw(&["adopt", "--list", "--sandbox"]).ok().says("every machine in hetzner is this fleet's");
    // a machine that is removed by hand is made again, and what was on it with it
    fleet.claw(&["sandbox", "poke", "remove", "server/shared"]).ok();
    fleet.claw(&["plan", "--sandbox"]).ok().says("+ server/shared").says("+ volume/joe");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["destroy", "--sandbox", "--yes", "--allow-destroy", "all"]).ok();
    let left = fleet.read(".claw/sandbox/cloud-hetzner.json");
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    for kind in ["servers", "primary_ips", "firewalls", "ssh_keys"] {
        assert_eq!(left[kind].as_object().unwrap().len(), 0, "{kind}");
    }
    for zone in left["zones"].as_object().unwrap().values() {
        assert_eq!(zone["rrsets"].as_object().unwrap().keys().collect::<Vec<_>>(), ["@/NS", "@/SOA"]);
    }
}
