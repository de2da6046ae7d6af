//! Daily work from a terminal, on a real engine and on real SSH machines: shells, commands, logs, tunnels, talk, files. What
//! leaves the machine is what was given, what comes back is what was said, and nothing hostile comes along.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::machine::{Machine, machines};
use crate::support::{Fleet, Ran, Sweep, docker, have, have_image, signal, standin_fleet, wait_until};

fn engine() -> bool {
    have_image("docker", "claw-test/standin:1", ".ci/standin-image")
}

fn tmux() -> bool {
    let found = Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    have("tmux", found, "install the package tmux")
}

/// A fleet with one agent, `ann`, that runs on this machine's engine.
fn agent(id: &'static str) -> (Sweep, Fleet) {
    let (sweep, fleet) = (Sweep::new(id), standin_fleet(id, "[agents.ann]\n"));
    fleet.claw(&["apply", "--yes"]).ok();
    (sweep, fleet)
}

/// A fleet with one machine, `attic`, that claw logs in to.
fn host(id: &str, image: &str, more: &str) -> (Fleet, Machine) {
    let fleet = standin_fleet(id, "");
    let machine = Machine::start(id, image, &fleet);
    let text = fleet.read("fleet.toml").replace("on = \"docker\"", "on = \"attic\"");
    fleet.write("fleet.toml", &format!("{text}{}\n{more}", machine.table("attic")));
    (fleet, machine)
}

/// A fleet with one agent, `ann`, on a machine with an engine of its own.
fn agent_on_host(id: &str) -> (Fleet, Machine) {
    let (fleet, machine) = host(id, "engine", "[agents.ann]\n");
    machine.load("claw-test/standin:1");
    fleet.claw(&["apply", "--yes"]).ok();
    (fleet, machine)
}

// --- shells ---

/// A terminal of 100 by 30 with a shell in a fleet's folder; `$CLAW` is claw.
struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    fn new(fleet: &Fleet) -> Self {
        let tmux = Self { socket: fleet.home().join("tmux") };
        fleet.write("tmux.conf", "set -g status off\nset -s escape-time 0\n");
        let mut start = Command::new("tmux");
        start.arg("-S").arg(&tmux.socket).args(["-f", "tmux.conf", "new-session", "-d", "-x", "100", "-y", "30", "sh"]);
        start.current_dir(fleet.path()).env_clear().env("HOME", fleet.home()).env("USER", "tester");
        start.env("PATH", std::env::var_os("PATH").unwrap()).env("LANG", "C.UTF-8").env("PS1", "here> ");
        for name in ["DOCKER_HOST"] {
            if let Some(value) = std::env::var_os(name) {
                start.env(name, value);
            }
        }
        assert!(start.env("CLAW", env!("CARGO_BIN_EXE_claw")).status().unwrap().success());
        tmux
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a line.
    fn types(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.run(&["send-keys", "Enter"]);
    }

    /// Waits until a line of the screen ends with a text, and returns the screen.
    #[track_caller]
    fn shows(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.run(&["capture-pane", "-p", "-J"]);
            if screen.lines().any(|line| line.trim_end().ends_with(text)) {
                return screen;
            }
            assert!(begun.elapsed().as_secs() < 60, "`{text}` does not come up:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").status();
    }
}

/// Asserts that the terminal is one a person can type in: lines, echo and ^C work.
#[track_caller]
fn is_cooked(tmux: &Tmux, time: u8) {
    tmux.types(&format!("clear; stty -a; echo asked $(({time} + 0)) times"));
    let screen = tmux.shows(&format!("asked {time} times"));
    for word in ["icanon", "echo", "isig", "icrnl", "opost", "onlcr"] {
        assert!(screen.split_whitespace().any(|found| found == word), "the terminal is not {word}:\n{screen}");
    }
}

/// Uses `claw ssh NAME` as a person does.
fn is_a_terminal(fleet: &Fleet, name: &str) {
    let tmux = Tmux::new(fleet);
    tmux.types(&format!("$CLAW ssh {name}; echo code $?"));
    tmux.types("echo there $((1 + 1))");
    tmux.shows("there 2");
    tmux.types("stty size; echo $TERM");
    tmux.shows("30 100");
    tmux.shows("tmux-256color");
    tmux.run(&["resize-window", "-x", "91", "-y", "23"]);
    wait_until("the new size is known there", || {
        tmux.types("stty size");
        std::thread::sleep(Duration::from_millis(200));
        tmux.run(&["capture-pane", "-p"]).lines().any(|line| line.trim() == "23 91")
    });
    tmux.types("clear; echo sleeps $((1 + 1)); sleep 100");
    tmux.shows("sleeps 2");
    tmux.run(&["send-keys", "C-c"]);
    tmux.types("echo awake $((1 + 1))");
    tmux.shows("awake 2");
    tmux.types("exit 7");
    tmux.shows("code 7");
    is_cooked(&tmux, 1);

    // a claw that is told to end leaves the terminal as it was
    tmux.types(&format!("sh -c 'echo $$ >pid; exec $CLAW ssh {name}'; echo code $?"));
    tmux.types("echo there $((1 + 2))");
    tmux.shows("there 3");
    let ended = Command::new("kill").args(["-TERM", fleet.read("pid").trim()]).status().unwrap();
    assert!(ended.success());
    tmux.shows("code 143");
    is_cooked(&tmux, 2);
}

#[test]
fn ssh_to_an_agent_is_a_real_terminal() {
    if engine() && tmux() {
        let (_sweep, fleet) = agent("tmshell");
        is_a_terminal(&fleet, "ann");
    }
}

#[test]
fn ssh_to_a_host_that_does_not_answer_can_be_interrupted() {
    if !tmux() {
        return;
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let table = format!("[hosts.attic]\non = \"ssh\"\naddress = \"127.0.0.1\"\nport = {port}\nhost_key = \"{key}\"\n");
    let fleet = Fleet::new("tmsilent", &table);
    crate::machine::person(&fleet);
    let tmux = Tmux::new(&fleet);
    tmux.types("$CLAW ssh attic");
    let (mut stream, _) = silent.accept().unwrap();
    stream.read_exact(&mut [0]).unwrap(); // claw said that it speaks SSH, and waits
    tmux.run(&["send-keys", "C-c"]);
    tmux.types("echo code $?");
    tmux.shows("code 130");
    is_cooked(&tmux, 1);
}

#[test]
fn ssh_to_a_host_is_a_real_terminal() {
    if machines() && tmux() {
        let (fleet, _machine) = host("tmlogin", "bare", "");
        is_a_terminal(&fleet, "attic");
    }
}

// --- questions ---

#[test]
fn new_asks_what_nobody_said_and_ends_without_a_change_at_once() {
    if !tmux() {
        return;
    }
    let fleet = Fleet::new("tmnew", "[providers.attic]\nkind = \"docker\"\n\n# the end\n");
    fleet.secret("default/ANTHROPIC_API_KEY", "sk-none");
    let before = fleet.read("fleet.toml");
    let tmux = Tmux::new(&fleet);
    tmux.types("$CLAW new; echo code $?");
    tmux.shows("Name:");
    tmux.run(&["send-keys", "C-c"]);
    tmux.shows("code 1");
    is_cooked(&tmux, 1);
    tmux.types("clear; $CLAW new pete; echo code $?");
    tmux.shows("Place [attic]:");
    tmux.run(&["send-keys", "C-d"]);
    tmux.shows("error: no answer: nothing was written");
    tmux.shows("code 1");
    assert_eq!(fleet.read("fleet.toml"), before);

    tmux.types("clear; $CLAW new; echo code $?");
    for (question, answer) in [
        ("Name:", "pete"),
        ("Place [attic]:", "2"),
        ("OpenClaw version:", "2026.9.6"),
        ("Model:", "anthropic/claude-sonnet-5"),
        ("Profiles [default]:", ""),
        ("Emoji [🦋]:", ""),
        ("What it is for:", "Čte poštu"),
    ] {
        tmux.shows(question);
        tmux.types(answer);
    }
    let screen = tmux.shows("code 0");
    assert!(screen.contains("pete is in fleet.toml, from line"), "{screen}");
    let table = "[agents.pete]\non = \"docker\"\nversion = \"2026.9.6\"\nmodel = \"anthropic/claude-sonnet-5\"\n\
        secrets = [\"default\"]\npurpose = \"Čte poštu\"\nemoji = \"🦋\"\n";
    assert_eq!(fleet.read("fleet.toml"), format!("{before}\n{table}"));
    fleet.claw(&["plan", "--sandbox"]).ok().says("pete");

    // an editor saves the file while claw asks
    tmux.types("clear; $CLAW new joe --on docker --purpose x --emoji x --model anthropic/x --version 1; echo code $?");
    tmux.shows("code 0");
    tmux.types("clear; $CLAW new kim; echo code $?");
    tmux.shows("Place [docker]:");
    let saved = format!("{}# saved meanwhile\n", fleet.read("fleet.toml"));
    fleet.write("fleet.toml", &saved);
    for _ in 0..6 {
        tmux.types("");
    }
    tmux.shows("error: fleet.toml was changed meanwhile: nothing was written");
    tmux.shows("code 1");
    assert_eq!(fleet.read("fleet.toml"), saved);
}

// --- commands ---

/// Runs claw with bytes on its standard input. One that takes more than half a minute is ended and the test fails.
#[track_caller]
fn through(fleet: &Fleet, args: &[&str], input: Vec<u8>) -> (Vec<u8>, Ran) {
    let mut command = fleet.command(args);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Owned(child);
    let mut stdin = child.0.stdin.take().unwrap();
    // a command that ends without reading it all closes the pipe
    std::thread::spawn(move || stdin.write_all(&input).ok());
    let (out, err) = (drained(child.0.stdout.take().unwrap()), drained(child.0.stderr.take().unwrap()));
    let code = child.ends(30);
    let (out, err) = (out.recv().unwrap(), err.recv().unwrap());
    let ran = Ran { stdout: String::new(), stderr: String::from_utf8_lossy(&err).into_owned(), code };
    (out, ran)
}

/// Reads a stream to its end in a thread.
fn drained(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        let _ = sender.send(all);
    });
    receiver
}

/// A claw that does not outlive the test.
struct Owned(Child);

impl Owned {
    /// Waits for its end and returns its exit code; as a shell would where a signal ended it.
    #[track_caller]
    fn ends(&mut self, seconds_max: u64) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            }
            assert!(begun.elapsed().as_secs() < seconds_max, "it hangs for {seconds_max} s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns bytes of every value, without a pattern that a mistake could hide in.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Uses `claw exec NAME`; `alive` tells whether a `cat` runs there.
fn carries_commands(fleet: &Fleet, name: &str, alive: &dyn Fn() -> bool) {
    let bytes = noise(8 * 1024 * 1024);
    let (back, ran) = through(fleet, &["exec", name, "--", "cat"], bytes.clone());
    ran.ok();
    assert!(back == bytes, "8 MiB went there and {} other bytes came back", back.len());

    let (back, ran) = through(fleet, &["exec", name, "--", "od", "-v", "-An", "-tx1"], noise(4 * 1024 * 1024));
    ran.ok();
    assert_eq!(
        back.iter().filter(|byte| byte.is_ascii_hexdigit()).count(),
        8 * 1024 * 1024,
        "it says more than it hears"
    );

    let ran = fleet.claw(&["exec", name, "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let ran = fleet.claw(&["exec", name, "--", "printf", "%s|", "a b", "$HOME", "", "'\"*;\\", "č\n"]).ok();
    assert_eq!(ran.stdout, "a b|$HOME||'\"*;\\|č\n|", "no shell reads the words");
    let (back, ran) = through(fleet, &["exec", name, "--", "head", "-c", "5"], noise(1024 * 1024));
    ran.ok();
    assert_eq!(back, noise(5), "what is not read is not waited for");
    let code = fleet.claw(&["exec", name, "--", "no-such-program"]).code;
    assert!([126, 127].contains(&code), "a shell says 127 and an engine says 126, not {code}");
    fleet.claw(&["exec", name, "-t", "--", "true"]).exits(64).says("--tty");

    let mut command = fleet.command(&["exec", name, "--", "cat"]);
    let mut claw = Owned(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut stdin = claw.0.stdin.take().unwrap();
    stdin.write_all(b"x").unwrap();
    claw.0.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    assert!(alive(), "the command runs");
    signal(&claw.0, "TERM");
    assert_eq!(claw.ends(5), 143);
    wait_until("the command there ended too", || !alive());
    drop(stdin);
}

/// Whether a `cat` runs in a container of this machine's engine.
fn cat_in(container: &str) -> bool {
    docker(&["exec", container, "pidof", "cat"]).is_some()
}

#[test]
fn exec_in_an_agent_carries_bytes_codes_and_errors_as_they_are() {
    if engine() {
        let (_sweep, fleet) = agent("tmexec");
        carries_commands(&fleet, "ann", &|| cat_in("claw.tmexec.ann"));
    }
}

#[test]
fn exec_on_a_host_carries_bytes_codes_and_errors_as_they_are() {
    if machines() {
        let (fleet, machine) = host("tmhexec", "bare", "");
        carries_commands(&fleet, "attic", &|| machine.try_run("pgrep -x cat").is_some());
    }
}

// --- logs ---

const AGENTS: usize = 20;
const LINES: usize = 5000;
/// How much more memory claw may take while agents say more than anybody reads, in KiB.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

/// Writes into the log of an agent what its gateway might say.
fn says(container: &str, script: &str) -> Child {
    let inside = format!("({script}) >/proc/1/fd/1");
    Command::new("docker").args(["exec", container, "sh", "-c", &inside]).stdin(Stdio::null()).spawn().unwrap()
}

fn resident_kib(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// Follows what agents say; each has said `ready` and says `over` at its end.
fn follows_all(fleet: &Fleet, agents: &[String], speak: &mut dyn FnMut()) {
    let mut claw = Owned(fleet.command(&["logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut out = BufReader::new(claw.0.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "claw goes on");
        let (agent, line) = line.trim_end().split_once(" | ").unwrap();
        (agents.iter().position(|name| name == agent.trim_end()).unwrap(), line.to_owned())
    };
    let mut waited: Vec<usize> = (0..agents.len()).collect();
    while !waited.is_empty() {
        let (agent, line) = next();
        waited.retain(|one| line != "ready" || *one != agent);
    }
    let before = resident_kib(&claw.0);
    speak(); // nobody reads meanwhile
    let full = resident_kib(&claw.0);
    let mut counts = vec![0; agents.len()];
    let mut over = 0;
    while over < agents.len() {
        let (agent, line) = next();
        if line == "over" {
            assert_eq!(counts[agent], LINES, "lines of {}", agents[agent]);
            over += 1;
        } else if let Some(number) = line.strip_prefix("line ") {
            assert_eq!(number.split(' ').next(), Some(counts[agent].to_string().as_str()), "of {}", agents[agent]);
            counts[agent] += 1;
        }
    }
    let after = resident_kib(&claw.0);
    assert!(full.max(after) < before + GROWTH_KIB_MAX, "{before} KiB grew to {full} KiB, then {after} KiB");
    signal(&claw.0, "TERM");
    assert_eq!(claw.ends(5), 143);
}

#[test]
fn logs_of_twenty_agents_lose_nothing_and_keep_nothing_however_slowly_they_are_read() {
    if !engine() {
        return;
    }
    let _sweep = Sweep::new("tmflood");
    let agents: Vec<String> = (1..=AGENTS).map(|number| format!("a{number}")).collect();
    let fleet = standin_fleet("tmflood", &agents.iter().map(|name| format!("[agents.{name}]\n")).collect::<String>());
    fleet.edit("\"128MiB\", cpus = 1", "\"64MiB\", cpus = 0.2");
    fleet.claw(&["apply", "--yes", "--parallel", "8"]).ok();
    let all_say = |script: &str| {
        let said: Vec<Child> = agents.iter().map(|name| says(&format!("claw.tmflood.{name}"), script)).collect();
        assert!(said.into_iter().all(|mut child| child.wait().unwrap().success()));
    };
    all_say("echo ready");
    let script = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i of an agent; i=$((i+1)); done; echo over");
    follows_all(&fleet, &agents, &mut || all_say(&script));
}

/// What an agent may say to drive a terminal.
const HOSTILE: &str = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}\u{1b}[2Jtext\u{9b}31m\u{202e}";

#[test]
fn escape_sequences_of_an_agent_do_not_reach_the_terminal() {
    if !engine() {
        return;
    }
    let (_sweep, fleet) = agent("tmescape");
    assert!(says("claw.tmescape.ann", &format!("printf '%s\\n' '{HOSTILE}'")).wait().unwrap().success());
    let said = [
        fleet.claw(&["logs", "ann"]).ok(),
        fleet.claw(&["logs", "ann", "--tail", "3", "--timestamps"]).ok(),
        fleet.claw(&["chat", "ann", HOSTILE]).ok(),
    ];
    for ran in said {
        let ran = ran.says("red text");
        let odd = ran.all().chars().find(|letter| (letter.is_control() && *letter != '\n') || *letter == '\u{202e}');
        assert_eq!(odd, None, "{:?}", ran.all());
    }
}

// --- tunnels ---

/// Asks for a page over a connection that is open already.
fn page(stream: &mut TcpStream, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn tunnels(fleet: &Fleet, name: &str) {
    for target in [name.to_owned(), format!("{name}:18789")] {
        let mut command = fleet.command(&["tunnel", &target]);
        let mut claw = Owned(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut url = String::new();
        BufReader::new(claw.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim_end().strip_prefix("http://").unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{url}");
        let mut open: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in open.iter_mut().rev() {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let answer = page(stream, "/healthz");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("live"), "{answer}");
        }
        let left = TcpStream::connect(address).unwrap();
        signal(&claw.0, "INT");
        assert_eq!(claw.ends(5), 0);
        drop(left);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

#[test]
fn tunnels_carry_connections_until_they_are_interrupted() {
    if engine() {
        let (_sweep, fleet) = agent("tmtunnel");
        tunnels(&fleet, "ann");
        // one that is interrupted at once ends as well
        let mut command = fleet.command(&["tunnel", "ann"]);
        let mut claw = Owned(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        claw.0.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        signal(&claw.0, "INT");
        assert_eq!(claw.ends(5), 0);
        fleet.claw(&["tunnel", "ann:0"]).exits(64);
    }
}

// --- talk ---

fn talks(fleet: &Fleet, name: &str) {
    fleet.claw(&["chat", name, "first", "words"]).ok().says("you said: first words\n");
    let ran = fleet.claw_with_input(&["chat", name], "second\n\nthird čau\n").ok();
    let answers: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(answers.len(), 2, "{}", ran.all());
    assert!(answers[0].ends_with("you said: first words | second"), "{}", answers[0]);
    assert!(answers[1].ends_with("you said: first words | second | third čau"), "{}", answers[1]);
    let answer = fleet.claw(&["chat", name, "--json", "fourth"]).ok().json();
    assert_eq!((answer["agent"].as_str(), answer["conversation"].as_str()), (Some(name), Some("claw:tester")));
    assert!(answer["answer"].as_str().unwrap().ends_with("third čau | fourth"), "{answer}");
    let answer = fleet.claw(&["chat", name, "--conversation", "work", "--json", "fifth"]).ok().json();
    assert_eq!(answer["conversation"], "claw:work");
    fleet.claw_with_input(&["chat", name, "-"], "two\nlines\n").ok().says("two\nlines");
}

#[test]
fn a_conversation_goes_on_where_it_was_left() {
    if engine() {
        let (_sweep, fleet) = agent("tmtalk");
        talks(&fleet, "ann");
    }
}

// --- files ---

/// Returns the files below a folder, by path, with what is in them.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(
                tree(&path).into_iter().map(|(name, bytes)| (Path::new(path.file_name().unwrap()).join(name), bytes)),
            );
        } else {
            found.push((path.file_name().unwrap().into(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Copies there and back with `claw cp`.
fn copies(fleet: &Fleet, name: &str) {
    let at = |path: &str| format!("{name}:{path}");
    for (path, bytes) in [
        ("data set/žluťoučký kůň 馬.txt", noise(3)),
        ("data set/-rf", noise(100)),
        ("data set/empty", Vec::new()),
        ("data set/sub/deep/big", noise(20 * 1024 * 1024)),
    ] {
        let path = fleet.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let there = tree(&fleet.path().join("data set"));
    let back = |from: &str, to: &str| {
        fleet.claw(&["cp", &at(from), to]).ok().says("4 files copied");
        assert!(
            tree(&fleet.path().join(to.trim_end_matches('/'))) == there || to == "into/",
            "{from} came back as it went"
        );
    };
    // as what it is called, as something else, and into a folder
    fleet.claw(&["cp", "data set", &at("")]).ok().says("4 files copied");
    back("data set", "back");
    fleet.claw(&["cp", "data set", &at("other name")]).ok();
    back("other name/", "other back");
    back("other name", "into/");
    assert!(tree(&fleet.path().join("into/other name")) == there);
    fleet.claw(&["cp", "data set/žluťoučký kůň 馬.txt", &at("new folder/")]).ok().says("1 file copied");
    fleet.claw(&["cp", &at("new folder/žluťoučký kůň 馬.txt"), "one copy"]).ok().says("1 file copied");
    assert_eq!(std::fs::read(fleet.path().join("one copy")).unwrap(), noise(3));
    fleet.claw(&["cp", "data set/-rf", &at("-rf")]).ok();
    fleet.claw(&["cp", &at("-rf"), "dashed"]).ok();
    assert_eq!(std::fs::read(fleet.path().join("dashed")).unwrap(), noise(100));
    fleet.claw(&["cp", &at("nothing here"), "nothing"]).exits(1);
    fleet.claw(&["cp", "nothing", &at("")]).exits(1);
    assert!(!fleet.path().join("nothing").exists());
}

const WORKSPACE: &str = "/home/node/.openclaw/workspace";

#[test]
fn copies_to_and_from_an_agent_are_exact_and_leave_its_folder_on_no_way() {
    if !engine() {
        return;
    }
    let (_sweep, fleet) = agent("tmcopy");
    copies(&fleet, "ann");
    let inside = |script: &str| docker(&["exec", "-w", WORKSPACE, "claw.tmcopy.ann", "sh", "-c", script]).unwrap();
    assert_eq!(
        inside("stat -c %u 'data set' 'data set/empty' 'new folder'"),
        "1000\n1000\n1000",
        "they are the agent's"
    );

    // what the agent links to is not read
    inside(
        "mkdir box && echo plain >box/plain && ln -s /etc/passwd box/leak && ln -s /etc box/dir && ln -s /etc/passwd leak",
    );
    inside("ln -s /claw/secrets hole && ln box/plain box/second");
    fleet.claw(&["cp", "ann:box", "box"]).ok();
    let names: Vec<PathBuf> = tree(&fleet.path().join("box")).into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"plain".into())
            && names.iter().all(|name| name.as_os_str() != "leak" && !name.starts_with("dir")),
        "{names:?}"
    );
    let ran = fleet.claw(&["cp", "ann:leak", "leaked"]);
    assert!(!fleet.path().join("leaked").exists(), "{}", ran.all());
    let ran = fleet.claw(&["cp", "ann:hole/secrets.json", "secrets.json"]);
    assert!(!fleet.path().join("secrets.json").exists(), "{}", ran.all());
    for path in ["/etc/passwd", "../../../../etc/passwd", "/claw/secrets/secrets.json"] {
        fleet.claw(&["cp", &format!("ann:{path}"), "leaked"]).exits(1).says("own files");
    }

    // nor written through
    fleet.write("new", "new");
    std::fs::create_dir(fleet.path().join("folder")).unwrap();
    fleet.write("folder/new", "new");
    let before = docker(&["exec", "claw.tmcopy.ann", "cat", "/etc/passwd"]);
    fleet.claw(&["cp", "new", "ann:leak"]);
    assert_eq!(docker(&["exec", "claw.tmcopy.ann", "cat", "/etc/passwd"]), before);
    inside("ln -s /claw/config way; ln -s /claw/config/new link");
    let pushes = [("new", "ann:way/"), ("new", "ann:way/new"), ("folder", "ann:way"), ("new", "ann:link")];
    for (from, to) in pushes {
        let ran = fleet.claw(&["cp", from, to]);
        assert!(
            crate::support::read_back("claw.tmcopy.ann", "/claw/config/new").is_none(),
            "{from} to {to}: {}",
            ran.all()
        );
    }
    fleet.claw(&["cp", "new", "ann:/claw/config/"]).exits(1).says("own files");
    fleet.claw(&["cp", "new", "ann:../../x/"]).exits(1).says("own files");
}

#[test]
fn copies_to_and_from_a_host_are_exact_and_hostile_archives_write_nothing_outside() {
    if !machines() {
        return;
    }
    let (fleet, machine) = host("tmhcopy", "bare", "");
    copies(&fleet, "attic");
    // a machine that was taken over sends what it likes in place of what was asked for
    machine.run("mkdir -p /x/a/b && cd /x/a/b && echo evil >evil && ln -s /tmp/claw-tm-outside dir");
    let archives = [
        ("tar -C /x/a/b -P -c --transform 's,^evil,box/../../evil,' evil", "leads out"),
        ("tar -C /x/a/b -P -c --transform 's,^evil,../evil,' evil", ""),
        ("tar -C /x/a/b -P -c --transform 's,^evil,/tmp/claw-tm-outside,' evil", ""),
        (
            "sh -c 'cd /x/a/b && { tar -c --transform s,^dir,box/dir, dir | head -c 512; tar -c --transform s,^evil,box/dir/evil, evil; }'",
            "",
        ),
        ("head -c 3000 /dev/urandom", ""),
        ("bash -c 'head -c 148 /dev/zero | tr \\\\0 a; printf \"\\033[31mred\"; head -c 900 /dev/zero'", "numeric"),
        ("bash -c 'tar -C /x/a -c b | head -c 700'", "entire"),
    ];
    for (archive, why) in archives {
        machine.run(&format!("printf '#!/bin/bash\\nPATH=/usr/bin:/bin\\n%s\\n' \"$(cat <<'END'\n{archive}\nEND\n)\" >/usr/local/bin/tar; chmod 755 /usr/local/bin/tar"));
        std::fs::create_dir_all(fleet.path().join("in/here")).unwrap();
        let ran = fleet.claw(&["cp", "attic:box", "in/here/box"]);
        assert!(ran.all().contains(why), "{archive}: {}", ran.all());
        assert!(!ran.all().contains('\u{1b}'), "{archive}: {:?}", ran.all());
        let outside: Vec<PathBuf> = tree(&fleet.path().join("in"))
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with("here/box"))
            .collect();
        assert!(outside.is_empty() && !Path::new("/tmp/claw-tm-outside").exists(), "{archive}: {outside:?}");
        assert!(!fleet.path().join("evil").exists());
        let _ = std::fs::remove_dir_all(fleet.path().join("in"));
    }
}

// --- all of it, further away ---

#[test]
fn all_of_it_reaches_an_agent_on_a_host() {
    if !machines() || !engine() || !tmux() {
        return;
    }
    let (fleet, machine) = agent_on_host("tmaway");
    carries_commands(&fleet, "ann", &|| machine.try_run("docker exec claw.tmaway.ann pidof cat").is_some());
    tunnels(&fleet, "ann");
    talks(&fleet, "ann");
    copies(&fleet, "ann");
    is_a_terminal(&fleet, "ann");
}
