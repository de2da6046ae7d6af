//! No secret in anything claw prints or writes: canaries in every place that holds a secret, every command there is, and a
//! search for them in every form, over every byte that came out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use claw_core::mask::Known;
use claw_vault::{Keychain, Places, Vault};
use secrecy::ExposeSecret;

use crate::support::{Fleet, Ran, Sweep, have_image, signal, standin_fleet, wait_until};

const API_KEY: &str = "sk-ant-canary-Q7vK2mXw9pLrT4sZ";
const QUOTED: &str = "can\"ary's\\ ünï 8Hd3/Wq+z=% Jb5n";
const LINES: &str = "-----BEGIN CANARY-----\nMIICanaryLineOne5tGx\nMIICanaryLineTwo8kRw\n-----END CANARY-----\n";
const TOKEN: &str = "hcloud-canary-Ue6yB1nF3cV0aD8j";
const TYPED: &str = "typed-canary-Gm2x-Pz7q";
const IMPORTED: &str = "imported-canary-Xk4w-Lv9s";
const EDITED: &str = "edited-canary-Rb3h-Tn6d";

/// A secret and all the ways it may be written, made here and not by what is tested.
struct Canary {
    name: String,
    forms: Vec<String>,
}

impl Canary {
    fn new(name: &str, value: &str) -> Self {
        let lines = value.lines().filter(|line| line.len() >= 6 && !line.starts_with("-----"));
        let forms = std::iter::once(value).chain(lines).flat_map(forms).collect();
        Self { name: name.to_owned(), forms }
    }
}

fn forms(text: &str) -> Vec<String> {
    let hex = |byte: &u8| format!("{byte:02x}");
    let percent = |byte: &u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            char::from(*byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let base64 = base64(text.as_bytes());
    let json = serde_json::to_string(text).unwrap();
    vec![
        text.to_owned(),
        json[1..json.len() - 1].to_owned(),
        text.as_bytes().iter().map(hex).collect(),
        text.as_bytes().iter().map(percent).collect(),
        base64.replace('+', "-").replace('/', "_"),
        base64,
    ]
}

/// Returns base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letters = (0..=three.len()).map(|at| char::from(LETTERS[(number >> (18 - 6 * at)) as usize & 63]));
        text.extend(letters);
    }
    text
}

/// Returns the names of the canaries that are in some text.
fn seen_in(canaries: &[Canary], text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let is_in =
        |form: &String| text.contains(form.as_str()) || (form.len() > 11 && lower.contains(&form.to_lowercase()));
    canaries.iter().filter(|canary| canary.forms.iter().any(is_in)).map(|canary| canary.name.clone()).collect()
}

#[track_caller]
fn assert_nowhere(canaries: &[Canary], said: &[(String, String)]) {
    for (place, text) in said {
        let seen = seen_in(canaries, text);
        assert!(seen.is_empty(), "{seen:?} in {place}:\n{text}");
    }
}

#[test]
fn the_search_finds_every_form() {
    let canaries = [Canary::new("a", QUOTED), Canary::new("b", LINES), Canary::new("c", API_KEY)];
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
    for form in [
        QUOTED,
        "can\\\"ary's\\\\ ünï 8Hd3/Wq+z=% Jb5n",
        "Y2FuImFyeSdzXCDDvG7DryA4SGQzL1dxK3o9JSBKYjVu",
        "63616E2261727927735C20C3BC6EC3AF20384864332F57712B7A3D25204A62356E",
        "can%22ary%27s%5C%20%C3%BCn%C3%AF%208Hd3%2FWq%2Bz%3D%25%20Jb5n",
    ] {
        assert_eq!(seen_in(&canaries, &format!("x{form}y")), ["a"], "{form}");
    }
    assert_eq!(seen_in(&canaries, "x MIICanaryLineTwo8kRw y"), ["b"]);
    assert_eq!(seen_in(&canaries, &format!("{API_KEY} {LINES}")), ["b", "c"]);
    assert!(seen_in(&canaries, "(secret default/API_KEY) -----BEGIN CANARY-----").is_empty());
}

/// Every command, with what it is tried with. A command without a case is an error of the test below.
fn cases() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("init", vec!["", "--name x"]),
        ("new", vec!["", "ann --on hetzner --secrets default"]),
        ("check", vec!["", "--format github", "--base HEAD", "--base nothing"]),
        (
            "plan",
            vec![
                "",
                "--full",
                "--detailed-exitcode",
                "--format markdown",
                "--format tf-json",
                "--format github",
                "--json-into events.jsonl",
            ],
        ),
        ("apply", vec!["", "--yes --json-into events.jsonl"]),
        ("drift", vec!["", "--format junit", "--format prometheus"]),
        ("diff", vec!["HEAD", "nothing..HEAD"]),
        ("destroy", vec!["--yes", "--yes mia --allow-destroy mia"]),
        ("status", vec![""]),
        ("show", vec!["pete", "pet", "container/pete", "host/shared"]),
        ("cost", vec![""]),
        ("adopt", vec!["--list", "nothing"]),
        ("adopt server", vec!["1"]),
        ("graph", vec![""]),
        ("schema", vec!["", "plan", "event"]),
        ("secret set", vec!["default/TYPED", "default/TYPED typed-canary-Gm2x-Pz7q", "claw/x", "nothing"]),
        ("secret get", vec!["default/NOTHING"]), // what it shows where it may is tested by itself
        ("secret list", vec!["", "default"]),
        ("secret edit", vec!["default", "nothing/x"]),
        (
            "secret import",
            vec![
                "other --from default",
                "default --dotenv dot.env --overwrite",
                "default --dotenv bad.env",
                "other --sops dot.env",
                "other --keychain a/b",
            ],
        ),
        ("secret export", vec!["default --age -r age1nonsense", "default"]),
        ("secret accept", vec!["default/API_KEY --yes", "default/NOTHING --yes"]),
        ("secret allow", vec!["default/QUOTED 127.0.0.1", "default/QUOTED http://x", "default/NOTHING"]),
        ("secret rekey", vec![""]),
        ("secret rm", vec!["default/NOTHING", "other/IMPORTED"]),
        ("identity", vec![""]),
        ("identity new", vec![""]),
        ("ssh", vec!["pete", "shared echo sk-ant-canary-Q7vK2mXw9pLrT4sZ"]),
        ("exec", vec!["pete -- echo sk-ant-canary-Q7vK2mXw9pLrT4sZ", "shared -- true"]),
        ("logs", vec!["", "pete -n 5", "nobody"]),
        ("cp", vec!["pete:notes.md .", "dot.env pete:", "a b"]),
        ("tunnel", vec!["pete:0", "pete:3000"]),
        ("chat", vec!["pete sk-ant-canary-Q7vK2mXw9pLrT4sZ is it"]),
        ("restart", vec!["pete"]),
        ("start", vec!["pete"]),
        ("stop", vec!["pete", "nobody"]),
        ("health", vec![""]),
        ("rotate ssh", vec!["", "--status"]),
        ("rotate all", vec!["--leaked age1nonsense", ""]),
        ("rotate fleet-key", vec![""]),
        ("rotate host-key", vec!["shared", "shared --finish"]),
        ("rotate token", vec!["pete", "nobody"]),
        ("history", vec!["", "pete --since 1d"]),
        ("sandbox poke", vec!["down hetzner", "up hetzner"]),
        ("sandbox reset", vec![""]),
        ("sandbox serve", vec!["--listen 192.0.2.1:1"]),
        ("completions", vec!["bash", "sh-canary"]),
    ])
}

/// Returns all commands that claw's help names, and the commands below them.
fn commands(fleet: &Fleet, path: &[String]) -> BTreeSet<String> {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let help = fleet.claw(&args).stdout;
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut names = BTreeSet::new();
    for name in below.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let path = [path, &[name.to_owned()]].concat();
        // what only opens others is no command by itself
        let inner = if path == ["sandbox", "poke"] { BTreeSet::new() } else { commands(fleet, &path) };
        let usage =
            fleet.claw(&[&path.iter().map(String::as_str).collect::<Vec<_>>()[..], &["--help"]].concat()).stdout;
        if inner.is_empty()
            || usage.contains("[COMMAND]")
            || usage.contains(&format!("claw {} <COMMAND>\n\n", path.join(" "))) && usage.contains("       claw ")
        {
            names.insert(path.join(" "));
        }
        names.extend(inner);
    }
    names
}

#[test]
fn every_command_has_a_case() {
    let found = commands(&Fleet::empty(), &[]);
    let known: BTreeSet<String> = cases().into_keys().map(str::to_owned).collect();
    assert_eq!(found, known, "tests/canaries.rs must try every command");
}

/// Returns a fleet on a cloud whose profiles, token and environment hold canaries, and the canaries, derived ones too.
fn planted() -> (Fleet, Vec<Canary>) {
    let mut fleet = Fleet::example("hetzner");
    fleet.claw(&["init", "--own"]).ok();
    fleet.set("HCLOUD_TOKEN", TOKEN);
    fleet.set("HCLOUD_ENDPOINT", "http://127.0.0.1:9/v1"); // the real one is never asked, and nobody answers there
    fleet.edit(
        "[agents.pete]\n",
        "[agents.pete.settings]\nchannels.telegram.botToken = \"secret:default/QUOTED\"\n[agents.pete]\n",
    );
    for (key, value) in [("API_KEY", API_KEY), ("ANTHROPIC_API_KEY", API_KEY), ("QUOTED", QUOTED), ("LINES", LINES)] {
        fleet.secret(&format!("default/{key}"), value);
    }
    fleet.write("dot.env", &format!("IMPORTED={IMPORTED}\n"));
    fleet.write("bad.env", &format!("1IMPORTED={IMPORTED}\n{IMPORTED}\n"));
    script(&fleet, "editor", &format!("echo 'EDITED = \"{EDITED}\"' >> \"$1\""));
    fleet.set("EDITOR", &fleet.path().join("editor").display().to_string());
    // what claw starts: its words are kept, then the real one runs
    fs::create_dir(fleet.path().join("bin")).unwrap();
    script(&fleet, "bin/git", "exec /usr/bin/git \"$@\"");
    let path = std::env::var("PATH").unwrap();
    fleet.set("PATH", &format!("{}:{path}", fleet.path().join("bin").display()));
    fs::create_dir(fleet.path().join(".git")).unwrap();
    let canaries = canaries(&fleet, &["pete", "judy", "joe", "mia"]);
    (fleet, canaries)
}

fn script(fleet: &Fleet, name: &str, line: &str) {
    let seen = fleet.home().join("started");
    fleet.write(name, &format!("#!/bin/sh\necho \"$0 $*\" >> {}\n{line}\n", seen.display()));
    fs::set_permissions(fleet.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns all canaries of a fleet: those that are planted, and those that only its identity can tell.
fn canaries(fleet: &Fleet, agents: &[&str]) -> Vec<Canary> {
    let mut canaries: Vec<Canary> = [API_KEY, QUOTED, LINES, TOKEN, TYPED, IMPORTED, EDITED]
        .iter()
        .map(|value| Canary::new(value.lines().nth(1).unwrap_or(value), value))
        .collect();
    let keychain = Keychain::of_system(None);
    let home = Some(fleet.home());
    let places = Places { named: None, home, keychain: &keychain, keychain_by_default: false, ask: None };
    let identities = claw_vault::find(&places).unwrap();
    let toml = fleet.read("fleet.toml");
    let id = toml.lines().find_map(|line| line.strip_prefix("id = \"")).unwrap().split('"').next().unwrap();
    let vault = Vault::open(&fleet.path().join("secrets"), id, identities, &Known::default()).unwrap();
    for agent in agents {
        let token = vault.gateway_token(agent).unwrap();
        canaries.push(Canary::new(&format!("the token of {agent}"), token.expose_secret()));
    }
    for key in vault.control_keys().unwrap() {
        let private = vault.control_secret(&key).unwrap();
        // its first line is the same in every such key
        let own: Vec<&str> = private.expose_secret().lines().skip(2).collect();
        canaries.push(Canary::new("the login key", &own.join("\n")));
    }
    canaries.push(fleet_key(fleet));
    canaries
}

/// Returns the fleet's key, opened without the vault: it does not give it out.
fn fleet_key(fleet: &Fleet) -> Canary {
    let mut files = Vec::new();
    files_below(fleet.home(), &mut files);
    let line =
        files.iter().flat_map(|(_, text)| text.lines()).find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let identity: age::x25519::Identity = line.parse().unwrap();
    let text = fleet.read("secrets/claw.toml");
    let (_, entry) = text.split_once("fleet_key").unwrap();
    let begin = entry.find("-----BEGIN AGE").unwrap();
    let end = entry.find("-----END AGE ENCRYPTED FILE-----").unwrap();
    let armour = format!("{}-----END AGE ENCRYPTED FILE-----\n", &entry[begin..end]);
    let key = age::decrypt(&identity, armour.as_bytes()).unwrap();
    Canary::new("the fleet's key", std::str::from_utf8(&key).unwrap())
}

/// Returns every file below a folder.
fn files_below(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push((path.display().to_string(), String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()));
        }
    }
}

/// Returns what claw wrote: everything in the folder but what the test planted there, and what programs were started with.
fn written(fleet: &Fleet) -> Vec<(String, String)> {
    let mut files = Vec::new();
    files_below(fleet.path(), &mut files);
    files.retain(|(name, _)| !name.ends_with(".env") && !name.ends_with("editor"));
    let started = fs::read_to_string(fleet.home().join("started")).unwrap_or_default();
    files.push(("the words of what was started".to_owned(), started));
    files
}

/// Runs every case with some more words; what waits for somebody is ended after a while.
fn run_all(fleet: &Fleet, more: &[&str], said: &mut Vec<(String, String)>) {
    for (command, tries) in cases() {
        for words in tries {
            let mut args: Vec<&str> = command.split(' ').collect();
            // before the words: behind `exec` they would be the command's
            args.splice(0..0, more.iter().copied());
            args.extend(words.split_whitespace());
            let ran = run(fleet, &args);
            assert_ne!(ran.code, 101, "{args:?} panicked: {}", ran.all());
            said.push((args.join(" "), ran.all()));
        }
    }
}

fn run(fleet: &Fleet, args: &[&str]) -> Ran {
    use std::io::Write;
    let typed = fleet.command(args);
    let mut command = std::process::Command::new("timeout");
    // a tunnel waits for ^C; nothing else does
    let seconds = if args.contains(&"tunnel") { "2" } else { "60" };
    command.args(["-s", "INT", "-k", "5", seconds]).arg(typed.get_program()).args(typed.get_args());
    command.current_dir(fleet.path()).env_clear();
    command.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(TYPED.as_bytes()); // many do not read it
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn no_command_prints_or_writes_a_secret_in_the_sandbox() {
    let (fleet, canaries) = planted();
    let mut said = Vec::new();
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    for more in [&["--sandbox"][..], &["--sandbox", "--json"]] {
        run_all(&fleet, more, &mut said);
        fleet.claw(&["apply", "--sandbox", "--yes"]);
    }
    said.extend(written(&fleet));
    let has = |text: &str| said.iter().any(|(place, said)| place.contains(text) || said.contains(text));
    assert!(has(".claw/sandbox/runs/") && has(".claw/sandbox/audit/"), "journals and records are among the files");
    assert!(has("(secret default/"), "a value was there to be masked");
    assert!(has("editor "), "the editor was started");
    assert_nowhere(&canaries, &said);
}

#[test]
fn no_command_prints_or_writes_a_secret_where_everything_fails() {
    let (mut fleet, canaries) = planted();
    let mut said = Vec::new();
    // nobody answers
    for more in [&[][..], &["--json"]] {
        for args in [&["plan"][..], &["apply", "--yes"], &["status"], &["drift"], &["cost"], &["adopt", "--list"]] {
            let args = [more, args].concat();
            said.push((format!("no network: {args:?}"), run(&fleet, &args).all()));
        }
    }
    // somebody answers, and much goes wrong
    let mut cloud =
        fleet.command(&["sandbox", "serve", "--listen", "127.0.0.1:0", "--faults", "7:60", "--log", "requests.log"]);
    let mut cloud = cloud.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(cloud.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    fleet.set("HCLOUD_ENDPOINT", line.split_whitespace().last().unwrap());
    for args in [&["plan"][..], &["status", "--json"], &["cost"], &["adopt", "--list"]] {
        said.push((format!("faults: {args:?}"), run(&fleet, args).all()));
    }
    signal(&cloud, "INT");
    cloud.wait().unwrap();
    fleet.set("HCLOUD_ENDPOINT", "http://127.0.0.1:9/v1");
    said.extend(written(&fleet));
    assert!(said.iter().any(|(place, text)| place.ends_with("requests.log") && text.contains("GET")), "it was asked");
    // the fleet's file is broken, with secrets in it that nobody should have put there
    let whole = fleet.read("fleet.toml");
    let breaks = [
        format!("{whole}\nkey = {API_KEY}\n"),
        format!("{whole}\n[agents.x]\nmodel = {QUOTED:?}\nnothing = \"{API_KEY}\"\n"),
        format!("{whole}\n[agents.x]\non = \"{TOKEN}\"\nmodel = \"{API_KEY}\"\nversion = \"{API_KEY}\"\n"),
    ];
    for broken in breaks {
        fleet.write("fleet.toml", &broken);
        for args in [&["check"][..], &["check", "--json"], &["plan"], &["secret", "list"], &["status", "--json"]] {
            let ran = run(&fleet, args);
            assert!(ran.code != 0 || args[0] == "secret", "{args:?}");
            said.push((format!("broken: {args:?}"), ran.all()));
        }
    }
    fleet.write("fleet.toml", &whole);
    // nobody has an identity, or one that is none
    let key = "AGE-SECRET-KEY-1CANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARYCAN";
    fleet.set("CLAW_IDENTITY", key);
    run_all(&fleet, &["--sandbox"], &mut said);
    let mut all = canaries;
    all.retain(|canary| canary.name != API_KEY); // typed by the test on the command line: nobody can know it here
    all.push(Canary::new("an identity", key));
    assert!(said.iter().any(|(_, text)| text.contains("(secret default/")), "something was there to be masked");
    assert_nowhere(&all, &said);
}

#[test]
fn what_is_shown_on_purpose_is_shown() {
    let (fleet, _) = planted();
    assert_eq!(fleet.claw(&["secret", "get", "default/QUOTED"]).ok().stdout, format!("{QUOTED}\n"));
    let json = fleet.claw(&["secret", "get", "default/LINES", "--json"]).ok().json();
    assert_eq!(json["value"], LINES.trim_end_matches('\n'));
}

#[test]
fn an_agent_that_says_its_secrets_is_not_repeated() {
    if !have_image("standin", "claw-test/standin:1", ".ci/standin-image") {
        return;
    }
    let _sweep = Sweep::new("hdcanary");
    let fleet = standin_fleet("hdcanary", "[agents.ann]\n");
    fleet.secret("default/LLM_KEY", API_KEY);
    fleet.claw(&["apply", "--yes"]).ok();
    let file = "/claw/secrets/secrets.json";
    let masked = Ran::from(fleet.command(&["cp", &format!("ann:{file}"), "out.json"]).output().unwrap());
    if masked.code == 0 {
        assert!(fleet.read("out.json").contains(API_KEY), "a copy is what it was");
        fs::remove_file(fleet.path().join("out.json")).unwrap();
    }
    let mut said = Vec::new();
    for args in [
        &["exec", "ann", "--", "cat", file][..],
        &["ssh", "ann", "cat", file],
        &["exec", "ann", "--", "sh", "-c", "cat /claw/secrets/secrets.json >&2"],
        &["chat", "ann", "remember", API_KEY],
        &["logs", "ann"],
        &["history"],
        &["history", "--json"],
    ] {
        said.push((args.join(" "), run(&fleet, args).all()));
    }
    said.extend(written(&fleet));
    for (place, text) in said.iter().filter(|(place, _)| place.contains("secrets.json")) {
        assert!(
            text.contains("(secret default/LLM_KEY)") && text.contains("(gateway token of ann)"),
            "{place}: {text}"
        );
    }
    let canaries = canaries(&fleet, &["ann"]);
    assert_nowhere(&canaries, &said);
    wait_until("the agent says it", || {
        run(&fleet, &["chat", "ann", "again"]).all().contains("(secret default/LLM_KEY)")
    });
}
