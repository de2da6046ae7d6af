//! claw's own login key is replaced on five hosts, one of them off, one lost half-way, and claw killed anywhere: at every
//! instant a key that is at hand opens every host that can be reached.

use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::machine::{Machine, lose_person, machines};
use crate::support::{Fleet, Ran, docker, have_strace, killed_at};

/// Every this many packets sent, claw is killed; `CLAW_CHAOS_STRIDE=1` takes every one.
const PACKETS_STRIDE: usize = 32;
/// At every this many instants, a host is lost while claw works.
const LOSSES_STRIDE: usize = 3;
const FAULTS_MAX: usize = 5;

/// A fleet of hosts without agents, each of which lets claw's key in and nobody else's.
struct Rig {
    fleet: Fleet,
    hosts: Vec<Machine>,
    /// The secrets and each host's keys as they were before any rotation.
    profile: String,
    keys: Vec<String>,
}

impl Rig {
    fn new(id: &'static str, count: usize) -> Self {
        let fleet = Fleet::new(id, "");
        let start = |number| Machine::start(&format!("{id}{number}"), "bare", &fleet);
        let hosts: Vec<Machine> = (1..=count).map(start).collect();
        let tables: String = hosts.iter().zip(1..).map(|(host, number)| host.table(&format!("h{number}"))).collect();
        fleet.write("fleet.toml", &format!("{}{tables}", fleet.read("fleet.toml")));
        let rig = Self { fleet, hosts, profile: String::new(), keys: Vec::new() };
        rig.apply().ok();
        for host in &rig.hosts {
            host.run("sed -i '/tester$/d' /root/.ssh/authorized_keys");
        }
        lose_person(&rig.fleet);
        let keys = rig.hosts.iter().map(Machine::keys).collect();
        Self { profile: rig.fleet.read("secrets/claw.toml"), keys, ..rig }
    }

    /// Applies what is about logging in, and nothing else of the hosts.
    fn apply(&self) -> Ran {
        let targets = (1..=self.hosts.len()).map(|number| format!("access/h{number}"));
        let args: Vec<String> = targets.flat_map(|target| ["--target".to_owned(), target]).collect();
        let args: Vec<&str> = ["apply", "--yes"].into_iter().chain(args.iter().map(String::as_str)).collect();
        self.fleet.claw(&args)
    }

    fn rotate(&self, args: &[&str]) -> Ran {
        self.fleet.claw(&["rotate", "ssh"].into_iter().chain(args.iter().copied()).collect::<Vec<_>>())
    }

    /// Puts everything back to before the rotation.
    fn reset(&self, reachable: usize) {
        self.fleet.write("secrets/claw.toml", &self.profile);
        for (host, keys) in self.hosts.iter().zip(&self.keys).take(reachable) {
            host.run(&format!(
                "rm -rf /var/lib/claw/rollback; cat >/root/.ssh/authorized_keys <<'END'\n{keys}\nEND\npgrep -F /run/sshd.pid >/dev/null || boot ssh"
            ));
        }
    }

    /// Returns the hosts, of the first so many, that no key at hand opens.
    fn shut(&self, reachable: usize) -> Vec<String> {
        let names = (1..=reachable).map(|number| format!("h{number}"));
        let tried = names.map(|name| (self.fleet.claw(&["exec", &name, "--", "true"]), name));
        tried.filter(|(ran, _)| ran.code != 0).map(|(ran, name)| format!("{name} is shut: {}", ran.all())).collect()
    }

    /// Returns the keys of claw's that a host lets in.
    fn lets_in(&self, host: usize) -> Vec<String> {
        let keys = self.hosts[host].keys();
        keys.lines()
            .filter(|line| line.ends_with(" claw"))
            .map(|line| line.trim_end_matches(" claw").to_owned())
            .collect()
    }

    /// Returns the public half of a key as the profile names it.
    fn key(&self, name: &str) -> Option<String> {
        let text = self.fleet.read("secrets/claw.toml");
        let section = text.split(&format!("[values.{name}]")).nth(1)?;
        let line = section.lines().find(|line| line.starts_with("public = "))?;
        Some(line.trim_start_matches("public = ").trim_matches('"').to_owned())
    }
}

/// What the workers of the sweep share.
struct Progress {
    /// System calls of which there are more instants, each with its stride and the number of the next.
    next: Vec<(&'static str, usize, usize)>,
    killed: Vec<&'static str>,
    faults: Vec<String>,
}

#[test]
fn killed_anywhere_in_a_rotation_claw_is_never_shut_out_and_the_next_one_finishes() {
    if !machines() || !have_strace() {
        return;
    }
    let stride = std::env::var("CLAW_CHAOS_STRIDE").map_or(PACKETS_STRIDE, |text| text.parse().unwrap());
    // every event of the journal, every write of the profile, and packets in between
    let next = vec![("fdatasync", 1, 1), ("fsync", 1, 1), ("sendto", stride, stride)];
    let progress = Mutex::new(Progress { next, killed: Vec::new(), faults: Vec::new() });
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for id in ["rtsweepa", "rtsweepb", "rtsweepc"] {
            let progress = &progress;
            scope.spawn(move || work(id, progress));
        }
    });
    let Progress { killed, faults, .. } = progress.into_inner().unwrap();
    let counts = ["fdatasync", "fsync", "sendto"].map(|call| (call, killed.iter().filter(|one| **one == call).count()));
    let (instants, took_s, found) = (killed.len(), begun.elapsed().as_secs(), faults.len());
    let line = format!(
        "rotate the login key of five hosts: killed at {instants} instants {counts:?} in {took_s} s, {found} faults\n"
    );
    // past the test runner's capture: the numbers are worth seeing when all is well, too
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(counts[0].1 >= 15 && counts[1].1 >= 2 && counts[2].1 >= 5, "the sweep shrank: {counts:?}");
}

/// Takes instant after instant with five hosts of its own, one of them off.
fn work(id: &'static str, progress: &Mutex<Progress>) {
    let rig = Rig::new(id, 5);
    docker(&["stop", "-t", "1", &rig.hosts[4].name]).unwrap();
    loop {
        let (call, stride, number) = {
            let mut progress = progress.lock().unwrap();
            let Some(entry) = progress.next.first().copied() else { break };
            progress.next[0].2 += entry.1;
            entry
        };
        rig.reset(4);
        let loses = (number / stride).is_multiple_of(LOSSES_STRIDE);
        let status = run_killed(&rig, call, number, loses.then_some(&rig.hosts[3]));
        let faults = check(&rig);
        let mut progress = progress.lock().unwrap();
        progress.faults.extend(faults.iter().map(|fault| format!("{call} {number}: {fault}")));
        match status.code() {
            None => progress.killed.push(call),
            // with a host lost it ends early: there may be later instants where it is not
            Some(_) if loses => {}
            Some(_) => progress.next.retain(|(other, ..)| *other != call),
        }
        if progress.faults.len() >= FAULTS_MAX {
            progress.next.clear();
        }
    }
    if progress.lock().unwrap().faults.is_empty() {
        comes_back(&rig);
    }
}

/// The host that was off comes back with the old key only, and is finished like the others.
fn comes_back(rig: &Rig) {
    docker(&["start", &rig.hosts[4].name]).unwrap();
    let opens = || rig.fleet.claw(&["exec", "h5", "--", "true"]).code == 0;
    crate::support::wait_until("the host that was off answers", opens);
    let old = rig.lets_in(4);
    rig.apply().ok();
    rig.rotate(&["--finish"]).ok().says("dropped the old key");
    let current = rig.key("ssh_current").unwrap();
    assert_ne!(old, std::slice::from_ref(&current));
    for host in 0..5 {
        assert_eq!(rig.lets_in(host), std::slice::from_ref(&current), "h{}", host + 1);
    }
    assert_eq!(rig.key("ssh_retired_1"), None);
}

/// Rotates, killed at the N-th system call of a name. `lost` breaks down while claw works.
fn run_killed(rig: &Rig, call: &str, number: usize, lost: Option<&Machine>) -> ExitStatus {
    let command = rig.fleet.command(&["rotate", "ssh", "--now", "--yes", "--leave", "h5"]);
    let mut command = killed_at(&command, call, number);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    if let Some(lost) = lost {
        std::thread::sleep(Duration::from_millis(700));
        lost.try_run("pkill -x sshd");
    }
    child.wait().unwrap()
}

/// Looks at what a kill left, goes on, and returns everything that is not as it shall be.
fn check(rig: &Rig) -> Vec<String> {
    // one that was told to end may still be there for a moment
    rig.hosts[3].run(
        "for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; pgrep -x sshd >/dev/null && sleep 0.2 && pgrep -x sshd >/dev/null && exit 0; \
         boot ssh; done; exit 1",
    );
    let mut faults = rig.shut(4);
    // one host is off: what claw says of that is no success, and no failure of the others
    let resumed = rig.rotate(&["--now", "--yes", "--leave", "h5"]);
    if resumed.code != 4 || resumed.stdout.matches("proven by a login").count() != 4 {
        faults.push(format!("resumed, it exits {}: {}", resumed.code, resumed.all()));
    }
    let current = rig.key("ssh_current").unwrap_or_default();
    if rig.key("ssh_next").is_some() || rig.key("ssh_retired_1").is_none() {
        faults.push("the profile is not that of a finished rotation with a host pending".to_owned());
    }
    for host in 0..4 {
        let found = rig.lets_in(host);
        if found != std::slice::from_ref(&current) {
            faults.push(format!("h{} lets in {found:?} and shall let in {current}", host + 1));
        }
    }
    faults.extend(rig.shut(4));
    faults
}

#[test]
fn a_rotation_goes_by_commits_and_waits_for_hosts_that_are_off() {
    if !machines() {
        return;
    }
    let rig = Rig::new("rtcommit", 2);
    let first = rig.key("ssh_current").unwrap();
    git(&rig.fleet, &["init", "-q"]);
    commit(&rig.fleet);

    rig.rotate(&[]).ok().says("the next key is").says("commit secrets/claw.toml");
    let next = rig.key("ssh_next").unwrap();
    // nobody but this machine knows the key yet
    rig.apply().exits(3).says("the login key is in no commit yet");
    assert_eq!(rig.lets_in(0), std::slice::from_ref(&first));
    commit(&rig.fleet);
    rig.rotate(&["--finish"]).exits(1).says("has not let the new key in");

    docker(&["stop", "-t", "1", &rig.hosts[1].name]).unwrap();
    rig.apply().exits(4);
    rig.rotate(&[]).exits(2).says("current, next").says("pending");
    rig.rotate(&["--finish"]).exits(1).says("h2 has not let the new key in").says("--leave h2");
    rig.rotate(&["--finish", "--leave", "h2"]).ok().says("left behind");
    assert_eq!((rig.key("ssh_current"), rig.key("ssh_retired_1")), (Some(next.clone()), Some(first.clone())));
    assert_eq!(rig.lets_in(0).len(), 2, "the old key goes with the next apply");
    commit(&rig.fleet);
    rig.apply().exits(4);
    assert_eq!(rig.lets_in(0), std::slice::from_ref(&next));
    rig.rotate(&["--finish"]).ok().says("nothing to finish");
    assert!(rig.key("ssh_retired_1").is_some(), "a host that could not be seen may need it");

    docker(&["start", &rig.hosts[1].name]).unwrap();
    crate::support::wait_until("the host answers", || rig.fleet.claw(&["exec", "h2", "--", "true"]).code == 0);
    assert_eq!(rig.lets_in(1), [first]);
    rig.apply().ok();
    assert_eq!(rig.lets_in(1), [next]);
    rig.rotate(&["--finish"]).ok().says("dropped the old key");
    assert!(rig.shut(2).is_empty());
    rig.fleet.claw(&["history", "--action", "keys"]).ok().says("the next login key is the current one");
}

#[test]
fn a_key_in_wrong_hands_goes_from_every_host_that_can_be_reached() {
    if !machines() {
        return;
    }
    let rig = Rig::new("rtleak", 3);
    let leaked = rig.key("ssh_current").unwrap();
    rig.rotate(&[]).ok();
    let beside = rig.key("ssh_next").unwrap();
    docker(&["stop", "-t", "1", &rig.hosts[2].name]).unwrap();
    rig.rotate(&["--compromised", "--yes"]).exits(4).says("not seen").says("pending");
    for host in 0..2 {
        assert!(!rig.lets_in(host).contains(&leaked), "h{}", host + 1);
        assert!(!rig.lets_in(host).contains(&beside), "a next key that lay beside it is no better");
    }
    assert!(rig.shut(2).is_empty());
    docker(&["start", &rig.hosts[2].name]).unwrap();
    crate::support::wait_until("the host answers", || rig.fleet.claw(&["exec", "h3", "--", "true"]).code == 0);
    rig.apply().ok();
    assert!(!rig.lets_in(2).contains(&leaked));
}

#[test]
fn a_host_key_is_replaced_on_the_host_and_pinned_before_it_is_shown() {
    if !machines() {
        return;
    }
    let fleet = Fleet::new("rthost", "");
    let machine = Machine::start("rthost", "engine", &fleet);
    fleet.write("fleet.toml", &format!("{}{}", fleet.read("fleet.toml"), machine.table("attic")));
    fleet.claw(&["apply", "--yes"]).ok();
    fleet.claw(&["rotate", "host-key", "attic", "--finish"]).exits(1).says("no next host key");
    fleet.claw(&["rotate", "host-key", "attic"]).ok().says("commit the fleet file");
    let text = fleet.read("fleet.toml");
    assert!(text.contains(&machine.host_key) && text.contains("host_key_next = \"ssh-ed25519 "), "{text}");
    fleet.claw(&["rotate", "host-key", "attic", "--finish"]).exits(1).says("not the next key");
    fleet.claw(&["apply", "--yes"]).ok();
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    fleet.claw(&["rotate", "host-key", "attic", "--finish"]).ok();
    let text = fleet.read("fleet.toml");
    assert!(!text.contains(&machine.host_key) && !text.contains("host_key_next"), "{text}");
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    // a third one is new, and not the first again; what was left behind is gone
    fleet.claw(&["rotate", "host-key", "attic"]).ok();
    let text = fleet.read("fleet.toml");
    assert!(!text.contains(&machine.host_key), "{text}");
    fleet.claw(&["apply", "--yes"]).ok();
    fleet.claw(&["rotate", "host-key", "attic", "--finish"]).ok();
    assert_eq!(machine.run("ls /var/lib/claw/keys | grep -c pub"), "1");
    // the private half never left the machine, and nobody else there can read it
    assert_eq!(
        machine.run("stat -c '%a %U' $(sed -n 's/^hostkey //p' /etc/ssh/sshd_config.d/10-claw.conf)"),
        "600 root"
    );
}

#[test]
fn hosts_that_fall_silent_stay_pending_and_the_others_go_on() {
    if !machines() {
        return;
    }
    let rig = Rig::new("rtmute", 3);
    let [_, walled, stopped] = &rig.hosts[..] else { panic!("three hosts") };
    let mut command = rig.fleet.command(&["rotate", "ssh", "--now", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(600));
    walled.run("iptables -I INPUT -p tcp --dport 22 -j DROP");
    stopped.run("pkill -STOP sshd");
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert!([0, 4].contains(&ran.code), "{}", ran.all());
    rig.fleet.claw(&["exec", "h1", "--", "true"]).ok();
    walled.run("iptables -D INPUT -p tcp --dport 22 -j DROP");
    stopped.run("pkill -CONT sshd");
    crate::support::wait_until("every host answers", || rig.shut(3).is_empty());
    // a change that was under way there is undone or confirmed by now, or put right
    rig.rotate(&["--now", "--yes"]).ok();
    let current = rig.key("ssh_current").unwrap();
    for host in 0..3 {
        assert_eq!(rig.lets_in(host), std::slice::from_ref(&current), "h{}", host + 1);
    }
}

#[test]
fn without_an_identity_no_login_key_is_put_anywhere() {
    let host = format!("[hosts.attic]\non = \"ssh\"\naddress = \"192.0.2.1\"\nhost_key = \"{SOME_KEY}\"\n");
    let fleet = Fleet::new("rtnobody", &host);
    fleet.claw(&["plan", "--sandbox"]).ok().says("+ access/attic");
    std::fs::remove_file(fleet.home().join(".config/claw/identity.txt")).unwrap();
    fleet.claw(&["check"]).ok();
    // a public key that nobody can hold against its private half may be anybody's
    fleet.claw(&["plan", "--sandbox"]).ok().says("create access: held, ").says("identity");
    fleet.claw(&["apply", "--sandbox", "--yes"]).exits(3);
}

#[test]
fn a_login_key_that_is_too_old_is_asked_about_until_a_rotation_begins() {
    let host = format!("[hosts.attic]\non = \"ssh\"\naddress = \"192.0.2.1\"\nhost_key = \"{SOME_KEY}\"\n");
    let fleet = Fleet::new("rtdue", &format!("[ssh]\nrotate_every = \"90d\"\n\n{host}"));
    fleet.claw(&["apply", "--sandbox", "--yes"]).ok();
    assert!(!fleet.claw(&["drift", "--sandbox"]).ok().all().contains("and due"));
    // the date is in clear, for review, and no part of what is signed
    let text = fleet.read("secrets/claw.toml");
    let (before, key) = text.split_once("[values.ssh_current]").unwrap();
    let line = key.lines().find(|line| line.starts_with("updated = ")).unwrap();
    fleet.write(
        "secrets/claw.toml",
        &format!("{before}[values.ssh_current]{}", key.replacen(line, "updated = \"2026-01-01\"", 1)),
    );
    for command in ["plan", "drift"] {
        fleet.claw(&[command, "--sandbox"]).ok().says("login key is of 2026-01-01 and due").says("claw rotate ssh");
    }
    fleet.claw(&["rotate", "ssh"]).ok();
    assert!(!fleet.claw(&["plan", "--sandbox"]).ok().all().contains("and due"));
}

const SOME_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";

#[test]
fn a_rotation_two_people_begin_is_one() {
    let runs = Mutex::new(Vec::new());
    let fleet = Fleet::new("rttwo", "");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| runs.lock().unwrap().push(fleet.claw(&["rotate", "ssh"]).code));
        }
    });
    let text = fleet.read("secrets/claw.toml");
    assert_eq!(text.matches("[values.ssh_next]").count(), 1, "{text}");
}

fn git(fleet: &Fleet, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(fleet.path()).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args);
    assert!(command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success(), "git {args:?}");
}

fn commit(fleet: &Fleet) {
    git(fleet, &["add", "-A"]);
    git(fleet, &["commit", "-q", "-m", "what is so now"]);
}
