//! Secrets that were tampered with, cut off, made for others or cannot be opened: named, held, and nothing lost.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Fleet, Ran, have};

const CANARY: &str = "canary-0b5e6c1d";

/// A fleet with two secrets that one agent refers to, applied in the sandbox.
fn fleet() -> Fleet {
    let fleet = Fleet::new(
        "secrt1",
        "[agents.pete]\non = \"docker\"\nversion = \"2026.9.6\"\nmodel = \"anthropic/claude-sonnet-5\"\nsecrets = [\"default\"]\n\
         [agents.pete.settings]\nchannels.telegram.botToken = \"secret:default/TELEGRAM\"\n",
    );
    fleet.secret("default/ANTHROPIC_API_KEY", CANARY);
    fleet.secret("default/TELEGRAM", "another");
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).ok();
    fleet
}

/// Asserts that a plan holds the secrets and what rests on them, says why, and that apply changes nothing.
#[track_caller]
fn is_held(fleet: &Fleet, why: &str) {
    let world = fs::read_to_string(fleet.path().join(".claw/sandbox/world.json")).unwrap();
    let plan = fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(3).says(why).says("secrets: held");
    assert!(!plan.all().contains(CANARY));
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(3);
    assert_eq!(world, fs::read_to_string(fleet.path().join(".claw/sandbox/world.json")).unwrap());
}

/// Returns the profile's text and the `age` blocks in it.
fn blocks(text: &str) -> Vec<String> {
    text.split("-----BEGIN AGE ENCRYPTED FILE-----")
        .skip(1)
        .map(|part| part.split("-----END AGE").next().unwrap().to_owned())
        .collect()
}

#[test]
fn swapped_values_are_held() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    let found = blocks(&text);
    let swapped = text.replace(&found[0], "@first@").replace(&found[1], &found[0]).replace("@first@", &found[1]);
    fleet.write("secrets/default.toml", &swapped);
    is_held(&fleet, "default/ANTHROPIC_API_KEY");
}

/// Returns age armour of a value, made by the `age` program from the public recipients alone.
fn sealed_by_a_stranger(fleet: &Fleet, value: &str) -> Option<String> {
    let found = Command::new("age").arg("--version").output().is_ok();
    if !have("age", found, "install the package age") {
        return None;
    }
    let public = fleet.claw(&["identity"]).ok().stdout;
    let mut age = Command::new("age")
        .args(["-a", "-r", public.trim()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    age.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    Some(String::from_utf8(age.wait_with_output().unwrap().stdout).unwrap())
}

#[test]
fn a_value_from_somebody_who_knows_the_recipients_only_is_held_until_it_is_accepted() {
    let fleet = fleet();
    let Some(armour) = sealed_by_a_stranger(&fleet, "of-a-stranger") else { return };
    let text = fleet.read("secrets/default.toml");
    let block = format!("-----BEGIN AGE ENCRYPTED FILE-----{}", blocks(&text)[0]);
    let forged = text.replace(&block, armour.split("-----END").next().unwrap());
    assert_ne!(forged, text);
    fleet.write("secrets/default.toml", &forged);
    is_held(&fleet, "claw secret accept default/ANTHROPIC_API_KEY");
    fleet.claw(&["drift", "--sandbox"]).exits(3).says("not written by a member of this fleet");
    fleet.claw(&["secret", "list"]).ok().says("not accepted");
    let listed = fleet.claw(&["secret", "list", "--json"]).ok().json();
    assert_eq!((&listed[0]["accepted"], &listed[1]["accepted"]), (&false.into(), &true.into()));
    fleet.claw(&["secret", "accept", "default/ANTHROPIC_API_KEY"]).exits(64).says("--yes");
    assert_eq!(fleet.read("secrets/default.toml"), forged);
    let ran = fleet.claw(&["secret", "accept", "--yes", "default/ANTHROPIC_API_KEY", "default/TELEGRAM"]).ok();
    let ran = ran.says("encrypted for age1").says("default/TELEGRAM needs no accepting").says("number 2");
    assert!(!ran.all().contains("of-a-stranger"));
    assert!(fleet.claw(&["secret", "get", "default/ANTHROPIC_API_KEY"]).ok().stdout == "of-a-stranger\n");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).exits(2);
    // Whoever has no identity is told nothing about it.
    fs::remove_file(fleet.home().join(".config/claw/identity.txt")).unwrap();
    assert!(fleet.claw(&["secret", "list", "--json"]).ok().json()[0]["accepted"].is_null());
}

#[test]
fn a_value_that_does_not_open_is_not_accepted_and_says_why() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    fleet.write("secrets/default.toml", &text.replacen("-----END AGE ENCRYPTED FILE-----\n", "", 1));
    fleet.claw(&["secret", "accept", "--yes", "default/ANTHROPIC_API_KEY"]).exits(65).says("cut short");
    fleet.claw(&["secret", "accept", "--yes", "default/NONE"]).exits(65).says("there is no value default/NONE");
    fleet.claw(&["secret", "accept", "--yes", "claw/fleet_key"]).exits(65).says("claw's own");
}

#[test]
fn what_a_removed_recipient_could_read_needs_rotation_until_it_changes() {
    let (fleet, other) = (fleet(), Fleet::empty());
    other.claw(&["identity", "new"]).ok();
    let former = other.claw(&["identity"]).ok().stdout.trim().to_owned();
    fleet.edit("recipients = [", &format!("recipients = [\"{former}\", "));
    fleet.claw(&["secret", "list"]).ok().says("recipients changed since: rekey");
    fleet.claw(&["secret", "rekey"]).ok();
    assert!(!fleet.claw(&["plan", "--sandbox"]).ok().all().contains("needs rotation"));
    fleet.edit(&format!("\"{former}\", "), "");
    let needs = "need rotation: could be read by";
    fleet.claw(&["plan", "--sandbox"]).ok().says(needs);
    fleet.claw(&["secret", "rekey"]).ok();
    // Encrypting anew is no rotation: it still says so, and who.
    fleet.claw(&["plan", "--sandbox"]).ok().says(needs).says("claw/fleet_key needs rotation");
    fleet.claw(&["drift", "--sandbox"]).ok().says("default/ANTHROPIC_API_KEY, default/TELEGRAM need rotation");
    let drift = fleet.claw(&["drift", "--sandbox", "--json"]).ok().json();
    assert!(drift["warnings"].to_string().contains("secret-due"), "{drift}");
    fleet.claw(&["secret", "list"]).ok().says("needs rotation: could be read by");
    let list = fleet.claw(&["secret", "list", "--json"]).ok().json();
    assert_eq!(list[0]["former_readers"].as_array().unwrap().len(), 1);
    fleet.secret("default/ANTHROPIC_API_KEY", "new");
    fleet.claw(&["plan", "--sandbox"]).ok().says("default/TELEGRAM needs rotation: could be read by");
    let list = fleet.claw(&["secret", "list", "--json"]).ok().json();
    assert!(list[0]["former_readers"].as_array().unwrap().is_empty());
}

#[test]
fn a_value_older_than_its_max_age_needs_rotation() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    let line = text.lines().find(|line| line.starts_with("updated")).unwrap();
    fleet.write("secrets/default.toml", &text.replacen(line, &format!("{line}\nmax_age = \"90d\""), 1));
    assert!(!fleet.claw(&["plan", "--sandbox"]).ok().all().contains("needs rotation"));
    let old = "updated = \"2020-01-01\"\nmax_age = \"90d\"";
    fleet.write("secrets/default.toml", &text.replacen(line, old, 1));
    fleet.claw(&["plan", "--sandbox"]).ok().says("default/ANTHROPIC_API_KEY needs rotation: older than 90d");
    fleet.claw(&["secret", "list"]).ok().says("older than 90d");
    fleet.secret("default/ANTHROPIC_API_KEY", "new");
    assert!(!fleet.claw(&["plan", "--sandbox"]).ok().all().contains("needs rotation"));
}

/// Runs `claw secret edit default` with a shell script as the editor; `$1` is the file.
fn edit(fleet: &Fleet, script: &str) -> Ran {
    fleet.write("editor.sh", script);
    let runtime = fleet.home().join("run");
    fs::create_dir_all(&runtime).unwrap();
    let mut command = fleet.command(&["secret", "edit", "default"]);
    command.env("EDITOR", "sh -eu editor.sh").env("XDG_RUNTIME_DIR", &runtime);
    let ran = Ran::from(command.output().unwrap());
    let left: Vec<_> = fs::read_dir(&runtime).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    ran
}

#[test]
fn an_edit_changes_what_was_changed_and_leaves_every_other_byte() {
    let fleet = fleet();
    fleet.secret("default/GONE", "x");
    let before = fleet.read("secrets/default.toml");
    let script = "stat -c %a \"$1\" \"$(dirname \"$1\")\" > modes; grep -q canary \"$1\"\n\
        sed -i -e 's/another/altered/' -e '/^GONE/d' \"$1\"; echo 'NEW = \"new\"' >> \"$1\"";
    let ran = edit(&fleet, script).ok().says("stored default/NEW").says("removed default/GONE");
    assert!(!ran.all().contains("altered\"") && !ran.all().contains("ANTHROPIC"), "{}", ran.all());
    assert_eq!(fleet.read("modes"), "600\n700\n");
    let after = fleet.read("secrets/default.toml");
    let first = before.find("[values.GONE]").unwrap();
    assert_eq!(after[..first], before[..first], "the first section is as it was");
    assert!(!after.contains("[values.GONE]"));
    assert_eq!(fleet.claw(&["secret", "get", "default/TELEGRAM"]).ok().stdout, "altered\n");
    assert_eq!(fleet.claw(&["secret", "get", "default/NEW"]).ok().stdout, "new\n");
    edit(&fleet, "true").ok().says("nothing changed");
    assert_eq!(fleet.read("secrets/default.toml"), after);
}

#[test]
fn an_edit_that_does_not_read_fails_or_comes_too_late_writes_nothing() {
    let fleet = fleet();
    let before = fleet.read("secrets/default.toml");
    let ran = edit(&fleet, &format!("echo 'BAD = {CANARY}' >> \"$1\"")).exits(65).says("line 5");
    assert!(!ran.all().contains(CANARY));
    edit(&fleet, "echo 'A = \"x\"' >> \"$1\"; exit 3").exits(1).says("the editor failed");
    edit(&fleet, "kill -INT $PPID; kill -INT $$").exits(1).says("the editor failed");
    edit(&fleet, "kill -TERM $PPID; exec sleep 60").exits(1).says("ended by a signal");
    let mut command = fleet.command(&["secret", "edit", "default"]);
    Ran::from(command.output().unwrap()).exits(1).says("neither VISUAL nor EDITOR");
    Ran::from(command.env("VISUAL", "/no/such/editor").output().unwrap()).exits(1).says("/no/such/editor");
    assert_eq!(fleet.read("secrets/default.toml"), before);
    // Somebody else changes the same value meanwhile.
    let claw = env!("CARGO_BIN_EXE_claw");
    let script = format!("printf theirs | '{claw}' secret set default/TELEGRAM\nsed -i 's/another/mine/' \"$1\"");
    edit(&fleet, &script).exits(65).says("default/TELEGRAM changed meanwhile");
    assert_eq!(fleet.claw(&["secret", "get", "default/TELEGRAM"]).ok().stdout, "theirs\n");
}

#[test]
fn values_come_from_a_dotenv_file_all_or_none() {
    let fleet = fleet();
    let import = |text: &str, more: &[&str]| {
        let args = [&["secret", "import", "default", "--dotenv", "-"], more].concat();
        let ran = fleet.claw_with_input(&args, text);
        assert!(!ran.all().contains(CANARY), "{}", ran.all());
        ran
    };
    let before = fleet.read("secrets/default.toml");
    let wrong = format!("A={CANARY}\n{CANARY}\n\nB='{CANARY}\n");
    import(&wrong, &[])
        .exits(65)
        .says("-: line 2: no `KEY=VALUE`")
        .says("-: line 4: the value of `B` begins with a quote");
    let text = format!("# mine\nexport A='a b' # x\nTELEGRAM={CANARY}\nANTHROPIC_API_KEY=\"{CANARY}\"\n");
    import(&text, &[]).exits(1).says("other values already: default/TELEGRAM").says("--overwrite");
    import(&text, &["--only", "NONE"]).exits(1).says("does not have NONE");
    assert_eq!(fleet.read("secrets/default.toml"), before);
    import(&text, &["--only", "A"]).ok().says("stored default/A");
    assert_eq!(fleet.claw(&["secret", "get", "default/A"]).ok().stdout, "a b\n");
    import(&text, &["--overwrite"]).ok().says("stored default/TELEGRAM").says("2 of them are there already");
    assert_eq!(fleet.claw(&["secret", "get", "default/TELEGRAM"]).ok().stdout, format!("{CANARY}\n"));
    fleet.claw(&["secret", "import", "default"]).exits(64);
}

#[test]
fn values_are_copied_from_another_profile_and_reach_only_its_recipients() {
    let fleet = fleet();
    fleet
        .claw(&["secret", "import", "work", "--from", "default", "--only", "TELEGRAM"])
        .ok()
        .says("stored work/TELEGRAM");
    assert_eq!(fleet.claw(&["secret", "get", "work/TELEGRAM"]).ok().stdout, "another\n");
    fleet.claw(&["secret", "list", "work"]).ok().says("work/TELEGRAM");
    fleet.claw(&["secret", "import", "work", "--from", "none"]).exits(65).says("there is no profile `none`");
    fleet.claw(&["secret", "import", "work", "--from", "claw"]).exits(65).says("claw's own");
}

#[test]
fn an_export_opens_with_the_age_program_and_imports_again() {
    let (fleet, other) = (fleet(), Fleet::empty());
    other.claw(&["identity", "new"]).ok();
    let public = other.claw(&["identity"]).ok().stdout.trim().to_owned();
    fleet.claw(&["secret", "export", "default", "-r", &public]).exits(64).says("--age");
    fleet.claw(&["secret", "export", "default", "--age", "-r", "age1nonsense"]).exits(65);
    fleet.claw(&["secret", "export", "default", "--age", "-r", &public, "--out", "out.age"]).ok().says("2 values");
    fleet.claw(&["secret", "export", "default", "--age", "-r", &public, "--out", "out.age"]).exits(1).says("out.age");
    let printed = fleet.claw(&["secret", "export", "default", "--age", "-r", &public, "--only", "TELEGRAM"]).ok();
    for text in [&printed.stdout, &fleet.read("out.age")] {
        assert!(text.starts_with("-----BEGIN AGE") && !text.contains(CANARY));
    }
    if !have("age", Command::new("age").arg("--version").output().is_ok(), "install the package age") {
        return;
    }
    let identity = other.home().join(".config/claw/identity.txt");
    let age = Command::new("age").args(["-d", "-i"]).arg(identity).arg(fleet.path().join("out.age")).output().unwrap();
    let text = String::from_utf8(age.stdout).unwrap();
    assert_eq!(text, format!("ANTHROPIC_API_KEY=\"{CANARY}\"\nTELEGRAM=\"another\"\n"));
    fleet.claw_with_input(&["secret", "import", "work", "--dotenv", "-"], &text).ok().says("stored work/TELEGRAM");
}

#[test]
fn an_ssh_key_under_a_passphrase_is_asked_for_on_a_terminal_and_never_elsewhere() {
    let runs = |program: &str, args: &[&str]| Command::new(program).args(args).output().is_ok();
    if !have(
        "script",
        runs("script", &["--version"]) && runs("ssh-keygen", &["-?"]),
        "install bsdutils and openssh-client",
    ) {
        return;
    }
    let fleet = fleet();
    fs::create_dir_all(fleet.home().join(".ssh")).unwrap();
    let key = fleet.home().join(".ssh/id_ed25519");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "open sesame", "-C", "", "-f"]).arg(&key);
    assert!(make.status().unwrap().success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    fleet.edit("recipients = [", &format!("recipients = [\"{}\", ", public.trim()));
    fleet.claw(&["secret", "rekey"]).ok();
    fs::remove_file(fleet.home().join(".config/claw/identity.txt")).unwrap();
    let on_a_terminal = |words: &str, ci: &str, typed: &str| {
        let (path, claw) = (std::env::var_os("PATH").unwrap(), env!("CARGO_BIN_EXE_claw"));
        let mut command = Command::new("script");
        command.args(["-qec", &format!("'{claw}' {words}"), "/dev/null"]).current_dir(fleet.path()).env_clear();
        command.env("PATH", path).env("HOME", fleet.home()).env("CI", ci).env("SHELL", "/bin/sh");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    };
    let ran = on_a_terminal("secret get default/TELEGRAM", "", "wrong\nopen sesame\n").ok().says("another");
    assert_eq!(ran.stdout.matches("Passphrase of").count(), 2, "{}", ran.all());
    let ran = on_a_terminal("secret get default/TELEGRAM", "true", "").exits(65).says("protected by a passphrase");
    assert!(!ran.all().contains("Passphrase of"));
    assert!(!on_a_terminal("secret list", "", "").ok().all().contains("Passphrase of"));
    fleet.claw(&["secret", "get", "default/TELEGRAM"]).exits(65).says("protected by a passphrase");
}

#[test]
fn a_flipped_mac_is_held() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    let at = text.find("mac = \"").unwrap() + 7;
    let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
    fleet.write("secrets/default.toml", &format!("{}{flipped}{}", &text[..at], &text[at + 1..]));
    is_held(&fleet, "default/");
}

#[test]
fn cut_off_armour_is_held_or_refused_with_its_place() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    let block = &blocks(&text)[0];
    let lines: Vec<&str> = block.trim().lines().collect();
    let cut = text.replace(block, &format!("\n{}\n", lines[..lines.len() - 2].join("\n")));
    fleet.write("secrets/default.toml", &cut);
    let ran = fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).says("ANTHROPIC_API_KEY");
    assert!([3, 65].contains(&ran.code), "{}", ran.all());
    assert!(!ran.all().contains(CANARY));
}

#[test]
fn a_secret_for_other_recipients_is_held_and_says_for_whom() {
    let (fleet, stranger) = (fleet(), Fleet::empty());
    stranger.claw(&["identity", "new"]).ok();
    let identity = fs::read_to_string(stranger.home().join(".config/claw/identity.txt")).unwrap();
    fs::write(fleet.home().join(".config/claw/identity.txt"), identity).unwrap();
    is_held(&fleet, "encrypted to others");
}

#[test]
fn without_an_identity_a_plan_still_shows_what_it_can() {
    let fleet = fleet();
    fs::remove_file(fleet.home().join(".config/claw/identity.txt")).unwrap();
    is_held(&fleet, "no identity");
    fleet.claw(&["check"]).ok();
    fleet.claw(&["secret", "list"]).ok().says("default/TELEGRAM");
    fleet.claw(&["status", "--sandbox"]).ok().says("pete");
    fleet.claw(&["secret", "get", "default/TELEGRAM"]).exits(65).says("no identity");
}

#[test]
fn a_named_identity_that_is_not_there_is_an_error_and_never_shown() {
    let fleet = fleet();
    for (value, says) in
        [("/nowhere/identity.txt", "/nowhere/identity.txt"), ("AGE-SECRET-KEY-1BROKEN", "CLAW_IDENTITY")]
    {
        let output = fleet.command(&["plan", "--sandbox"]).env("CLAW_IDENTITY", value).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{text}");
        assert!(says != "CLAW_IDENTITY" || !text.contains("1BROKEN"), "{text}");
    }
}

#[test]
fn the_profile_of_another_fleet_is_refused() {
    let fleet = fleet();
    let text = fleet.read("secrets/default.toml");
    fleet.write("secrets/default.toml", &text.replace("fleet = \"secrt1\"", "fleet = \"other1\""));
    let ran = fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]);
    assert!([3, 65].contains(&ran.code), "{}", ran.all());
    assert!(ran.all().contains("other1"), "{}", ran.all());
}

#[test]
fn a_changed_secret_reaches_only_agents_that_refer_to_it() {
    let fleet = fleet();
    let text = fleet.read("fleet.toml");
    fleet.write("fleet.toml", &text.replace("channels.telegram.botToken = \"secret:default/TELEGRAM\"\n", ""));
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    fleet.secret("default/TELEGRAM", "changed");
    fleet.claw(&["plan", "--sandbox", "--detailed-exitcode"]).ok();
}

#[test]
fn the_sandbox_keeps_no_secret_in_clear() {
    let fleet = fleet();
    let mut all = String::new();
    for args in [
        &["plan", "--sandbox", "--full"] as &[&str],
        &["plan", "--sandbox", "--json"],
        &["show", "--sandbox", "pete"],
        &["show", "--sandbox", "pete", "--json"],
        &["status", "--sandbox", "--json"],
        &["drift", "--sandbox", "--json"],
        &["graph", "--json"],
        &["check", "--json"],
        &["secret", "list", "--json"],
    ] {
        all += &fleet.claw(args).all();
    }
    assert!(!all.contains(CANARY));
    let found = Command::new("grep").args(["-rlF", CANARY]).arg(fleet.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "no file has it in clear");
}
