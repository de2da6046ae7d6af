//! What a review in git needs: `check --base`, `diff`, and taking back what somebody could read. The real binary in real
//! repositories, with branches that somebody hostile wrote.

use std::process::Command;

use crate::support::{Fleet, Ran};

const PETE: &str = "[defaults.agent]\non = \"docker\"\nimage = \"openclaw:1\"\nmodel = \"anthropic/claude-sonnet-5\"\n\
                    secrets = [\"default\"]\n\n[agents.pete]\n";

fn git(fleet: &Fleet, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(args);
    command.current_dir(fleet.path()).env("HOME", fleet.home()).env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn commit(fleet: &Fleet) {
    git(fleet, &["add", "-A", "."]);
    git(fleet, &["commit", "-q", "--allow-empty", "-m", "c"]);
}

/// A committed fleet with an agent and its model key.
fn committed(id: &str) -> Fleet {
    let fleet = Fleet::new(id, PETE);
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-one");
    git(&fleet, &["init", "-q"]);
    commit(&fleet);
    fleet
}

fn check(fleet: &Fleet, base: &str) -> Ran {
    fleet.claw(&["check", "--base", base])
}

/// Puts another recipient beside the fleet's own.
fn add_recipient(fleet: &Fleet, recipient: &str) {
    fleet.edit("recipients = [", &format!("recipients = [\"{recipient}\", "));
}

/// Returns the public key of an identity made for this test, and its private half.
fn somebody() -> (String, String) {
    let home = Fleet::empty();
    home.claw(&["init", "--name", "x"]).ok();
    let public = home.read("fleet.toml").split('"').find(|part| part.starts_with("age1")).unwrap().to_owned();
    (public, std::fs::read_to_string(home.home().join(".config/claw/identity.txt")).unwrap())
}

#[test]
fn an_honest_change_passes_and_says_who_could_read_what() {
    let fleet = committed("revw");
    check(&fleet, "HEAD").ok().says("is valid");
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-two");
    fleet.secret("default/NEW", "n");
    check(&fleet, "HEAD").ok();
    let (other, _) = somebody();
    add_recipient(&fleet, &other);
    let ran = check(&fleet, "HEAD").ok().says("these values would become readable to age1");
    assert!(ran.all().contains("default/ANTHROPIC_API_KEY, default/NEW"), "{}", ran.all());
    assert!(ran.all().contains("claw/fleet_key") && ran.all().contains("fleet.toml:"), "{}", ran.all());
    let json = fleet.claw(&["check", "--base", "HEAD", "--json"]).ok().json();
    let problems = json["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["code"] == "reader-added" && problem["at"]["line"] == 4), "{json:#}");
    // no identity is needed
    std::fs::remove_dir_all(fleet.home().join(".config")).unwrap();
    check(&fleet, "HEAD").ok();
}

#[test]
fn a_removed_recipient_leaves_values_that_need_rotation() {
    let fleet = committed("revw");
    let (other, _) = somebody();
    add_recipient(&fleet, &other);
    fleet.claw(&["secret", "rekey"]).ok();
    commit(&fleet);
    fleet.edit(&format!("\"{other}\", "), "");
    fleet.claw(&["secret", "rekey"]).ok();
    check(&fleet, "HEAD")
        .ok()
        .says("is removed and could read these values, which need rotation: default/ANTHROPIC_API_KEY");
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-three");
    let ran = check(&fleet, "HEAD").ok();
    assert!(!ran.all().contains("rotation: default/ANTHROPIC"), "{}", ran.all());
}

#[test]
fn old_values_do_not_come_back() {
    let fleet = committed("revw");
    let first = fleet.read("secrets/default.toml");
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-two");
    commit(&fleet);
    let second = fleet.read("secrets/default.toml");
    // the whole file of before: its MACs hold, and it was good once
    fleet.write("secrets/default.toml", &first);
    check(&fleet, "HEAD").exits(65).says("an older value came back").says("secrets/default.toml:");
    // another value with the number of the one there is
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-other-two");
    check(&fleet, "HEAD").exits(65).says("is another value than at").says("with the same number 2");
    // removed, committed, and back
    fleet.write("secrets/default.toml", &second);
    fleet.claw(&["secret", "rm", "default/ANTHROPIC_API_KEY"]).ok();
    commit(&fleet);
    fleet.write("secrets/default.toml", &first);
    let json = fleet.claw(&["check", "--base", "HEAD", "--json"]).exits(65).json();
    let problem = &json["problems"].as_array().unwrap()[0];
    assert_eq!(problem["code"], "replayed", "{json:#}");
    assert!(problem["message"].as_str().unwrap().contains("which was replaced or removed since"), "{json:#}");
    assert_eq!(problem["at"]["file"], "secrets/default.toml");
    // a value that is new is new, whatever its number is
    fleet.write("secrets/default.toml", &second);
    fleet.claw(&["secret", "rm", "default/ANTHROPIC_API_KEY"]).ok();
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-four");
    check(&fleet, "HEAD").ok();
    // set once, it hides nothing: an old one with a greater number comes from the history all the same
    commit(&fleet);
    fleet.write("secrets/default.toml", &second);
    check(&fleet, "HEAD").exits(65).says("which was replaced or removed since");
}

#[test]
fn a_gateway_token_does_not_go_back() {
    let fleet = committed("revw");
    let first = fleet.read("secrets/claw.toml");
    fleet.claw(&["rotate", "token", "pete"]).ok();
    commit(&fleet);
    fleet.write("secrets/claw.toml", &first);
    check(&fleet, "HEAD").exits(65).says("goes back from generation 2");
}

#[test]
fn whoever_is_slipped_into_to_is_named() {
    let fleet = committed("revw");
    let own = fleet.read("fleet.toml");
    add_recipient(&fleet, &somebody().0);
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-two");
    fleet.write("fleet.toml", &own);
    check(&fleet, "HEAD").exits(65).says("the fleet file does not name them for default").says("is encrypted to");
    // the same ciphertext with another list of readers
    git(&fleet, &["checkout", "-q", "."]);
    let text = fleet.read("secrets/default.toml");
    fleet.write("secrets/default.toml", &text.replace("to = [\"", "to = [\"0123456789abcdef\", \""));
    check(&fleet, "HEAD").exits(65).says("names other readers than at HEAD");
}

#[test]
fn what_could_not_be_found_again_does_not_just_vanish() {
    let fleet = Fleet::new(
        "revw",
        &format!(
            "[providers.attic]\nkind = \"docker\"\nendpoint = \"unix:///run/attic.sock\"\n\n{PETE}[agents.joe]\non = \"attic\"\n\n[hosts.basement]\non = \"ssh\"\naddress = \"192.0.2.10\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ\"\n"
        ),
    );
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-one");
    git(&fleet, &["init", "-q"]);
    commit(&fleet);
    let whole = fleet.read("fleet.toml");
    let at = whole.find("[hosts.basement]").unwrap();
    fleet.write("fleet.toml", &whole[..at]);
    check(&fleet, "HEAD").exits(65).says("host `basement` is in HEAD").says("state = \"absent\"");
    fleet.write(
        "fleet.toml",
        &whole
            .replace("[providers.attic]\nkind = \"docker\"\nendpoint = \"unix:///run/attic.sock\"\n\n", "")
            .replace("on = \"attic\"\n", ""),
    );
    check(&fleet, "HEAD").exits(65).says("engine `attic` is in HEAD").says("agents.joe");
    fleet.write("fleet.toml", &whole.replace("192.0.2.10", "192.0.2.11"));
    check(&fleet, "HEAD").ok().says("moves from 192.0.2.10 to 192.0.2.11");
    // as it is done: absent first
    fleet.write("fleet.toml", &format!("{whole}state = \"absent\"\n"));
    check(&fleet, "HEAD").ok();
    commit(&fleet);
    fleet.write("fleet.toml", &whole[..at]);
    check(&fleet, "HEAD").ok();
}

#[test]
fn changed_credentials_and_another_fleet_are_named() {
    let fleet = committed("revw");
    fleet.edit("[providers.docker]\n", "[providers.docker]\nendpoint = \"unix:///run/evil.sock\"\n");
    check(&fleet, "HEAD").ok().says("providers.docker.endpoint changes from the default to \"unix:///run/evil.sock\"");
    git(&fleet, &["checkout", "-q", "."]);
    fleet.edit("[providers.docker]\n", "[providers.docker]\n[providers.hetzner]\n");
    commit(&fleet);
    fleet.edit("[providers.hetzner]\n", "[providers.hetzner]\ntoken = \"env:HOME\"\n");
    check(&fleet, "HEAD").ok().says("providers.hetzner.token changes from the default to \"env:HOME\"");
    git(&fleet, &["checkout", "-q", "."]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";
    fleet.edit("[providers.hetzner]\n", &format!("[providers.hetzner]\n[ssh.operators]\neve = \"{key}\"\n"));
    check(&fleet, "HEAD").ok().says("operator `eve` could log in to every host");
    // a base with another fleet id: everything would be somebody else's
    let fleet = committed("old1");
    fleet.edit("id = \"old1\"", "id = \"new1\"");
    for file in ["secrets/default.toml", "secrets/claw.toml"] {
        fleet.write(file, &fleet.read(file).replace("old1", "new1"));
    }
    check(&fleet, "HEAD").ok().says("fleet.id changes from old1 to new1");
}

#[test]
fn a_reference_is_a_name_and_never_an_option() {
    let fleet = committed("revw");
    let planted = fleet.path().join("planted");
    let option = format!("--output={}", planted.display());
    for name in [
        option.as_str(),
        "--upload-pack=touch planted",
        "-x",
        "nowhere",
        "HEAD:fleet.toml",
        "",
        "HEAD\nHEAD",
        "a b",
        "HEAD; touch planted",
    ] {
        for args in [vec!["check", "--base", name], vec!["diff", name], vec!["diff", "HEAD", name]] {
            let ran = fleet.claw(&args);
            assert!([64, 65].contains(&ran.code), "{args:?}: {} {}", ran.code, ran.all());
        }
    }
    check(&fleet, &option).exits(65).says("git knows no commit `--output=");
    assert!(!planted.exists() && !fleet.path().join("planted").exists());
    // what is missing is said
    let bare = Fleet::new("revw", PETE);
    check(&bare, "HEAD").exits(65);
    bare.secret("default/ANTHROPIC_API_KEY", "x");
    check(&bare, "HEAD").exits(65).says("in no git repository");
    let mut without = committed("revw");
    without.set("PATH", "/nowhere");
    check(&without, "HEAD").exits(65).says("failed to run git").says("install git");
    git(&fleet, &["rm", "-q", "--cached", "fleet.toml"]);
    git(&fleet, &["commit", "-q", "-m", "gone"]);
    check(&fleet, "HEAD").exits(65).says("there is no fleet.toml at HEAD");
}

#[test]
fn a_shallow_clone_says_so() {
    let fleet = committed("revw");
    let first = git(&fleet, &["rev-parse", "HEAD"]);
    fleet.secret("default/MORE", "m");
    commit(&fleet);
    let clone = Fleet::empty();
    let from = format!("file://{}", fleet.path().display());
    git(&clone, &["clone", "-q", "--depth", "1", &from, "."]);
    check(&clone, &first).exits(65).says("this clone is shallow").says("fetch-depth: 0");
    check(&clone, "HEAD").ok().says("this clone is shallow: values that were removed");
}

#[test]
fn a_fleet_below_the_root_of_its_repository_is_compared_too() {
    let whole = Fleet::empty();
    git(&whole, &["init", "-q"]);
    let fleet = Fleet::new("revw", PETE);
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-one");
    crate::support::copy_tree(fleet.path(), &whole.path().join("teams/a b"));
    commit(&whole);
    let folder = whole.path().join("teams/a b");
    let run = |args: &[&str]| {
        let mut all = vec!["-C", folder.to_str().unwrap()];
        all.extend(args);
        whole.claw(&all)
    };
    run(&["check", "--base", "HEAD"]).ok();
    let text = whole.read("teams/a b/fleet.toml").replace("openclaw:1", "openclaw:2");
    whole.write("teams/a b/fleet.toml", &text);
    run(&["diff", "HEAD"]).ok().says("\"openclaw:1\" → \"openclaw:2\"");
    whole.write("teams/a b/secrets/default.toml", "format = 1\nfleet = \"revw\"\nprofile = \"default\"\n");
    git(&whole, &["stash", "-q"]);
    run(&["check", "--base", "HEAD"]).ok();
}

#[test]
fn a_difference_is_drawn_like_a_plan_without_identity_or_world() {
    let mut fleet = committed("revw");
    fleet.set("DOCKER_HOST", "unix:///nowhere.sock");
    std::fs::rename(fleet.home().join(".config"), fleet.home().join("kept")).unwrap();
    fleet.claw(&["diff", "HEAD", "--detailed-exitcode"]).ok().says("No difference");
    git(&fleet, &["checkout", "-q", "-b", "change"]);
    fleet.edit("[agents.pete]\n", "[agents.pete]\nimage = \"openclaw:2\"\n\n[agents.joe]\n");
    let ran = fleet.claw(&["diff", "main", "--detailed-exitcode"]).exits(2);
    assert!(ran.stdout.contains("+ container/joe"), "{}", ran.all());
    assert!(ran.stdout.contains("image: \"openclaw:1\" → \"openclaw:2\""), "{}", ran.all());
    assert!(ran.stdout.contains("Difference: "), "{}", ran.all());
    std::fs::rename(fleet.home().join("kept"), fleet.home().join(".config")).unwrap();
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-canary-two");
    fleet.claw(&["rotate", "token", "pete"]).ok();
    std::fs::rename(fleet.home().join(".config"), fleet.home().join("kept")).unwrap();
    commit(&fleet);
    let ran = fleet.claw(&["diff", "main..change"]).ok();
    assert!(
        ran.stdout.contains("ANTHROPIC_API_KEY: changed") && ran.stdout.contains("gateway_token: changed"),
        "{}",
        ran.all()
    );
    assert!(!ran.all().contains("sk-"), "{}", ran.all());
    let json = fleet.claw(&["diff", "main..", "--json"]).ok().json();
    assert_eq!(json["base"]["ref"], "main");
    assert_eq!(json["head"]["commit"], git(&fleet, &["rev-parse", "HEAD"]));
    let steps = json["plan"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["resource"] == "container/joe" && step["action"] == "create"), "{json:#}");
    // and back: what was added goes
    let ran = fleet.claw(&["diff", "change..main"]).ok();
    assert!(ran.stdout.contains("- container/joe") && ran.stdout.contains("- volume/joe"), "{}", ran.all());
    fleet.claw(&["diff", "main...change"]).exits(64).says("merge-base");
}

#[test]
fn a_branch_cannot_make_diff_read_or_run_anything_else() {
    let fleet = committed("revw");
    let refused = |fleet: &Fleet, what: &str| {
        commit(fleet);
        let ran = fleet.claw(&["diff", "HEAD~1..HEAD"]).exits(65).says(what);
        assert!(!ran.all().contains("root:"), "{}", ran.all());
        git(fleet, &["reset", "-q", "--hard", "HEAD~1"]);
    };
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, fleet.path().join(from)).unwrap();
    fleet.edit("[agents.pete]\n", "[agents.pete]\nworkspace = \"w\"\n");
    std::fs::create_dir(fleet.path().join("w")).unwrap();
    link("/etc/passwd", "w/notes.md");
    refused(&fleet, "w/notes.md is no plain file at HEAD");
    fleet.edit("[agents.pete]\n", "[agents.pete]\nworkspace = \"w\"\n");
    link("/etc", "w");
    refused(&fleet, "w is no plain file at HEAD");
    fleet.edit("[agents.pete]\n", "[agents.pete]\nworkspace = \"../../../../etc\"\n");
    refused(&fleet, "leads out of the repository");
    fleet.edit("[fleet]\n", "[fleet]\ninclude = [\"more/*.toml\"]\n");
    std::fs::create_dir(fleet.path().join("more")).unwrap();
    link("/etc/passwd", "more/a.toml");
    refused(&fleet, "more/a.toml is no plain file at HEAD");
    fleet.edit("[fleet]\n", "[fleet]\ninclude = [\"../*.toml\"]\n");
    refused(&fleet, "leads out of the fleet's folder");
    std::fs::remove_file(fleet.path().join("secrets/default.toml")).unwrap();
    link("/etc/passwd", "secrets/default.toml");
    refused(&fleet, "secrets/default.toml is no plain file at HEAD");
    fleet.write("fleet.toml", "[fleet]\nnmae = 1\n");
    refused(&fleet, "the fleet is not valid at HEAD");
}

/// A committed fleet that somebody besides its maker may read. Returns that one's public key, and their private key's file.
fn shared() -> (Fleet, String, String) {
    let fleet = committed("revw");
    let (other, identity) = somebody();
    add_recipient(&fleet, &other);
    fleet.edit("recipients = [", "# who may read\nrecipients = [");
    fleet.claw(&["secret", "rekey"]).ok();
    commit(&fleet);
    (fleet, other, identity)
}

#[test]
fn a_leaked_recipient_is_taken_out_of_everything() {
    let (mut fleet, other, identity) = shared();
    let (toml, secrets) = (fleet.read("fleet.toml"), fleet.read("secrets/claw.toml"));
    // a next login key that lies in the same file leaked too
    fleet.claw(&["rotate", "ssh"]).ok();
    fleet
        .claw(&["rotate", "all", "--leaked", &other, "--dry-run"])
        .ok()
        .says("forget the next login key, which leaked too");
    git(&fleet, &["checkout", "-q", "."]);
    // asked first, and nothing done
    fleet.claw(&["rotate", "all", "--leaked", &other]).exits(64).says("nobody is there to ask");
    let ran = fleet.claw(&["rotate", "all", "--leaked", &other, "--dry-run"]).ok();
    for text in [
        "encrypt the values of default anew",
        "make a new fleet key",
        "make a next login key",
        "take them out of fleet.toml",
        "claw rotate ssh --finish",
        "default/ANTHROPIC_API_KEY, used by pete",
        "console.anthropic.com",
        "its history stays readable to them",
    ] {
        assert!(ran.stdout.contains(text), "`{text}`: {}", ran.all());
    }
    assert_eq!(
        (fleet.read("fleet.toml"), fleet.read("secrets/claw.toml")),
        (toml.clone(), secrets),
        "nothing was done"
    );

    fleet.claw(&["rotate", "all", "--leaked", &other, "--yes"]).ok();
    assert_eq!(fleet.read("fleet.toml"), toml.replace(&format!("\"{other}\", "), ""), "comments and all else stay");
    // a review of it has nothing to refuse, and names what remains
    check(&fleet, "HEAD").ok().says("could read these values, which need rotation: default/ANTHROPIC_API_KEY");
    let value = fleet.claw(&["secret", "get", "default/ANTHROPIC_API_KEY"]).ok().stdout;
    assert_eq!(value.trim(), "sk-one");
    assert!(!fleet.read("secrets/claw.toml").contains("fleet_key_next"));
    assert!(
        fleet.read("secrets/claw.toml").contains("[values.ssh_next]"),
        "the current one stays until the next is proven"
    );
    let ran = fleet.claw(&["diff", "HEAD"]).ok();
    assert!(ran.stdout.contains("gateway_token: changed"), "{}", ran.all());
    commit(&fleet);

    // again: nothing left but what people do
    let before = ["secrets/claw.toml", "secrets/default.toml", "fleet.toml"].map(|file| fleet.read(file));
    let ran = fleet.claw(&["rotate", "all", "--leaked", &other, "--yes"]).ok();
    assert!(
        !ran.stdout.contains("claw does") && ran.stdout.contains("claw secret set default/ANTHROPIC_API_KEY"),
        "{}",
        ran.all()
    );
    assert_eq!(before, ["secrets/claw.toml", "secrets/default.toml", "fleet.toml"].map(|file| fleet.read(file)));
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-two");
    let json = fleet.claw(&["rotate", "all", "--leaked", &other, "--dry-run", "--json"]).ok().json();
    assert_eq!(json["values"], serde_json::json!([]), "{json:#}");

    // the one whose key it was opens nothing any more
    let file = fleet.home().join("theirs.txt");
    std::fs::write(&file, identity).unwrap();
    fleet.set("CLAW_IDENTITY", file.to_str().unwrap());
    fleet.claw(&["secret", "get", "default/ANTHROPIC_API_KEY"]).exits(65);
}

#[test]
fn nobody_locks_themselves_out() {
    let fleet = committed("revw");
    let own = fleet.read("fleet.toml").split('"').find(|part| part.starts_with("age1")).unwrap().to_owned();
    fleet.claw(&["rotate", "all", "--leaked", &own, "--yes"]).exits(65).says("nobody else may read");
    let (fleet, _, _) = shared();
    let own = fleet.claw(&["identity"]).ok().stdout;
    let own = own.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();
    let before = ["secrets/claw.toml", "secrets/default.toml", "fleet.toml"].map(|file| fleet.read(file));
    fleet.claw(&["rotate", "all", "--leaked", &own, "--yes"]).exits(65).says("none of those that stay");
    assert_eq!(before, ["secrets/claw.toml", "secrets/default.toml", "fleet.toml"].map(|file| fleet.read(file)));
    fleet.claw(&["rotate", "all", "--leaked", "petrr", "--yes"]).exits(64).says("is no key and no operator");
    let stranger = somebody().0;
    fleet.claw(&["rotate", "all", "--leaked", &stranger, "--yes"]).ok().says("or it is another key");
}

#[test]
fn an_operator_who_leaked_reached_what_lies_on_machines() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";
    let hosts = format!(
        "{PETE}on = \"shed\"\n\n[hosts.shed]\non = \"ssh\"\naddress = \"192.0.2.10\"\nhost_key = \"{key}\"\n\n[ssh.operators]\n\
         ann = \"{key} ann@mac\" # left in May\nbob = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICQ33jvzqEVKHb0KRpe59cqzNMeJtF0kbJx546xr/3c+\"\n"
    );
    let fleet = Fleet::new("revw", &hosts);
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-one");
    fleet.claw(&["rotate", "all", "--leaked", "anm", "--dry-run"]).exits(64).says("did you mean the operator `ann`?");
    let ran = fleet.claw(&["rotate", "all", "--leaked", "ann", "--yes"]).ok();
    for text in ["make new gateway tokens", "claw rotate host-key shed", "default/ANTHROPIC_API_KEY, used by pete"] {
        assert!(ran.stdout.contains(text), "`{text}`: {}", ran.all());
    }
    assert!(!ran.stdout.contains("fleet key"), "{}", ran.all());
    let text = fleet.read("fleet.toml");
    assert!(!text.contains("ann") && text.contains("[ssh.operators]\nbob = "), "{text}");
    assert!(fleet.read("secrets/claw.toml").contains("pete = 2"));
    fleet.claw(&["check"]).ok();
}

#[test]
fn a_rotation_of_the_fleet_key_killed_at_any_write_is_finished_by_the_next() {
    if !crate::support::have_strace() {
        return;
    }
    let fleet = committed("revw");
    fleet.secret("work/C", "third");
    commit(&fleet);
    let files = ["secrets/claw.toml", "secrets/default.toml", "secrets/work.toml"];
    let old = files.map(|file| fleet.read(file));
    let mut killed = 0;
    for number in 1..=8 {
        for (file, text) in files.iter().zip(&old) {
            fleet.write(file, text);
        }
        let command = fleet.command(&["rotate", "fleet-key"]);
        let status = crate::support::killed_at(&command, "rename,renameat,renameat2", number).output().unwrap().status;
        killed += usize::from(!status.success());
        for (name, value) in [("default/ANTHROPIC_API_KEY", "sk-one"), ("work/C", "third")] {
            let ran = fleet.claw(&["secret", "get", name]).ok();
            assert_eq!(ran.stdout.trim(), value, "killed at rename {number}");
        }
        fleet.claw(&["rotate", "fleet-key"]).ok();
        fleet.claw(&["rotate", "fleet-key"]).ok();
        assert!(!fleet.read("secrets/claw.toml").contains("fleet_key_next"));
        let list = fleet.claw(&["secret", "list"]).ok();
        assert!(!list.stdout.contains("not accepted"), "{}", list.all());
        check(&fleet, "HEAD").ok();
        if status.success() {
            break;
        }
    }
    assert_eq!(killed, 4, "the next key, two profiles, and the key itself");
}
