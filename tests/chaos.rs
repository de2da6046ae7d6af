//! Kills claw at every engine call and at every journal event, applies again, and counts what is left over or missing:
//! nothing may be. A proxy between claw and the engine sees the calls; events are seen by the system call that puts
//! them on disk. `CLAW_CHAOS_STRIDE=5` takes every fifth instant; without it every one is taken.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::support::{Fleet, Sweep, chat, docker, have_image, have_strace, inspect, killed_at, parts, standin_fleet};

const AGENTS: [&str; 2] = ["ann", "bob"];
/// Every this many calls that only look, one is taken: nothing changes between two of them.
const LOOKS_STRIDE: usize = 5;
/// Every this many calls, one is left to race with the next apply.
const RACES_STRIDE: usize = 2;
/// After this many faults a sweep ends: they tend to be the same.
const FAULTS_MAX: usize = 5;

#[test]
fn killed_anywhere_while_it_creates_two_agents_claw_converges_on_the_next_apply() {
    let scenario = Scenario { prepare: |victim| victim.sweep.clean(), check: |_| Vec::new() };
    sweep("create two agents", &["chaosca", "chaoscb", "chaoscc", "chaoscd"], &scenario, 80);
}

#[test]
fn killed_anywhere_while_it_changes_an_image_claw_converges_on_the_next_apply() {
    let scenario = Scenario { prepare: old_agents_with_a_memory, check: new_image_and_memory };
    sweep("change the image of two agents", &["chaosia", "chaosib"], &scenario, 50);
}

/// Makes agents of the old image that were told something, out of nothing or of what the last instant left.
fn old_agents_with_a_memory(victim: &Victim) {
    let text = victim.fleet.read("fleet.toml").replace("standin:2", "standin:1");
    victim.fleet.write("fleet.toml", &text);
    victim.fleet.write("state/standin.json", r#"{"schema":1,"messages":["remember me"]}"#);
    victim.fleet.claw(&["apply", "--yes", "--target", "anchor/ann", "--target", "anchor/bob"]).ok();
    let state = victim.fleet.path().join("state");
    for gateway in victim.gateways() {
        docker(&["rm", "-f", &gateway]);
        let place = format!("{gateway}.anchor:/home/node/.openclaw/");
        docker(&["cp", "-a", state.to_str().unwrap(), &place]).unwrap();
    }
    victim.fleet.claw(&["apply", "--yes"]).ok();
    victim.fleet.edit("standin:1", "standin:2");
}

fn new_image_and_memory(victim: &Victim) -> Vec<String> {
    let wrong = victim.gateways().into_iter().filter_map(|gateway| {
        let image = inspect(&gateway, "{{.Config.Image}}");
        let reply = chat(&gateway, "and now");
        let is_right = image == "claw-test/standin:2" && reply.contains("remember me");
        (!is_right).then(|| format!("{gateway} runs {image} and says {reply}"))
    });
    wrong.collect()
}

/// What claw is killed over.
struct Scenario {
    /// Makes the world from which claw starts, out of an empty one.
    prepare: fn(&Victim),
    /// Says what is wrong once claw has converged.
    check: fn(&Victim) -> Vec<String>,
}

/// When claw is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Before the engine hears of a call that changes something.
    Before,
    /// While the engine works on it: what it still does races with the next apply.
    During,
    /// When the engine has done it, before claw hears of that.
    After,
    /// Before the engine hears of a call that only looks.
    Look,
    /// When an event of the journal goes to disk.
    Event,
}

impl Moment {
    const ALL: [Self; 5] = [Self::Before, Self::During, Self::After, Self::Look, Self::Event];

    fn stride(self) -> usize {
        let stride = std::env::var("CLAW_CHAOS_STRIDE").map_or(1, |text| text.parse().unwrap());
        match self {
            Self::Look => stride * LOOKS_STRIDE,
            Self::During => stride * RACES_STRIDE,
            Self::Before | Self::After | Self::Event => stride,
        }
    }
}

/// What the workers of a sweep share: which instant is next, and what was found.
struct Progress {
    /// Moments that are not through yet, each with the number of the next instant.
    next: Vec<(Moment, usize)>,
    killed: Vec<Moment>,
    faults: Vec<String>,
}

/// Kills at instant after instant until there are no more, a few fleets side by side.
fn sweep(what: &str, fleets: &[&'static str], scenario: &Scenario, instants_min: usize) {
    if !have_image("docker", "claw-test/standin:1", ".ci/standin-image") || !have_strace() {
        return;
    }
    let begun = Instant::now();
    let next = Moment::ALL.map(|moment| (moment, moment.stride())).to_vec();
    let progress = Mutex::new(Progress { next, killed: Vec::new(), faults: Vec::new() });
    std::thread::scope(|scope| {
        for id in fleets {
            scope.spawn(|| work(&Victim::new(id), scenario, &progress));
        }
    });
    let Progress { killed, faults, .. } = progress.into_inner().unwrap();
    let counts = Moment::ALL.map(|moment| (moment, killed.iter().filter(|other| **other == moment).count()));
    let instants = killed.len();
    let (took_s, found) = (begun.elapsed().as_secs(), faults.len());
    // past the test runner's capture: the numbers are worth seeing when all is well, too
    let line = format!("{what}: killed at {instants} instants {counts:?} in {took_s} s, {found} faults\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(Moment::Before.stride() > 1 || instants >= instants_min, "the sweep shrank: {counts:?}");
    assert!(counts.iter().all(|(_, count)| *count > 0), "the sweep shrank: {counts:?}");
}

fn work(victim: &Victim, scenario: &Scenario, progress: &Mutex<Progress>) {
    loop {
        let (moment, number) = {
            let mut progress = progress.lock().unwrap();
            let Some(entry) = progress.next.first().copied() else { return };
            progress.next[0].1 += entry.0.stride();
            entry
        };
        (scenario.prepare)(victim);
        let (is_killed, mut faults) = match victim.run(moment, number) {
            None => (true, Vec::new()),
            Some(status) if status.success() => (false, Vec::new()),
            Some(status) => (false, vec![format!("not killed, and yet {status}: {}", victim.said())]),
        };
        faults.extend(victim.heal());
        if faults.is_empty() {
            faults.extend((scenario.check)(victim));
        }
        let mut progress = progress.lock().unwrap();
        let call = victim.proxy.last_call();
        progress.faults.extend(faults.iter().map(|fault| format!("{moment:?} {number} ({call}): {fault}")));
        progress.killed.extend(is_killed.then_some(moment));
        if !is_killed {
            progress.next.retain(|(other, _)| *other != moment);
        }
        if progress.faults.len() >= FAULTS_MAX {
            progress.next.clear();
        }
    }
}

/// A fleet whose claw is killed again and again.
struct Victim {
    fleet: Fleet,
    sweep: Sweep,
    proxy: Proxy,
}

impl Victim {
    fn new(id: &'static str) -> Self {
        let agents: String = AGENTS.iter().map(|agent| format!("[agents.{agent}]\n")).collect();
        let fleet = standin_fleet(id, &agents);
        let proxy = Proxy::new(&fleet.home().join("proxy.sock"));
        Self { sweep: Sweep::new(id), fleet, proxy }
    }

    fn gateways(&self) -> Vec<String> {
        AGENTS.iter().map(|agent| format!("claw.{}.{agent}", self.sweep.0)).collect()
    }

    fn log(&self) -> PathBuf {
        self.fleet.home().join("apply.log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    /// Applies, killed at an instant. Returns how it ended by itself if there is no such instant.
    fn run(&self, moment: Moment, number: usize) -> Option<ExitStatus> {
        let apply = self.fleet.command(&["apply", "--yes"]);
        let mut command = if moment == Moment::Event { killed_at(&apply, "fdatasync", number) } else { apply };
        let log = File::create(self.log()).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.env("DOCKER_HOST", format!("unix://{}", self.proxy.socket.display()));
        let status = self.proxy.run(command, moment, number);
        std::os::unix::process::ExitStatusExt::signal(&status).is_none().then_some(status)
    }

    /// Applies again, undisturbed, and returns everything that is not as it shall be then.
    fn heal(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for args in [["apply", "--yes"], ["plan", "--detailed-exitcode"]] {
            let ran = self.fleet.claw(&args);
            if ran.code != 0 {
                faults.push(format!("`claw {}` exits {}: {}", args.join(" "), ran.code, ran.all()));
            }
        }
        let (found, expected) = (self.sweep.marked(), parts(self.sweep.0, &AGENTS));
        if found != expected {
            faults.push(format!("on the engine is {found:?}, and shall be {expected:?}"));
        }
        faults
    }
}

/// Stands between claw and the engine, counts calls, and kills.
struct Proxy {
    socket: PathBuf,
    run: Arc<Mutex<Run>>,
}

/// The run under way, and when it shall die.
struct Run {
    moment: Moment,
    /// How many calls of the kind are left before the one.
    left: usize,
    child: Option<Child>,
    last: String,
}

impl Proxy {
    fn new(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let run = Arc::new(Mutex::new(Run { moment: Moment::Event, left: 0, child: None, last: String::new() }));
        let shared = Arc::clone(&run);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let run = Arc::clone(&shared);
                // a connection that breaks in the middle is what this is about
                std::thread::spawn(move || pass(stream, &run).ok());
            }
        });
        Self { socket: socket.to_owned(), run }
    }

    /// Runs a command to its end.
    fn run(&self, mut command: Command, moment: Moment, number: usize) -> ExitStatus {
        {
            let mut run = lock(&self.run);
            // spawned under the lock: its first call finds it here
            *run = Run { moment, left: number, child: Some(command.spawn().unwrap()), last: String::new() };
        }
        loop {
            if let Some(status) = lock(&self.run).child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the call claw was killed at, or the last one.
    fn last_call(&self) -> String {
        lock(&self.run).last.clone()
    }
}

fn lock(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap()
}

impl Run {
    /// Notes a call. Returns the moment to kill at, if this is the call.
    fn note(&mut self, call: &str) -> Option<Moment> {
        let looks = call.starts_with("GET ");
        // a file that was written, or a wait that ended, is as good as the call after it not begun
        let makes = !looks && !call.starts_with("PUT ") && !call.contains("/wait");
        let counts = match self.moment {
            Moment::Before => !looks,
            Moment::During | Moment::After => makes,
            Moment::Look => looks,
            Moment::Event => false,
        };
        if counts && self.left > 0 {
            self.left -= 1;
            self.last = call.to_owned();
            return (self.left == 0).then_some(self.moment);
        }
        None
    }

    fn kill(&mut self) {
        self.child.as_mut().unwrap().kill().unwrap();
    }
}

/// Passes calls on, one after the other, until either side hangs up or claw is killed.
fn pass(client: UnixStream, run: &Mutex<Run>) -> io::Result<()> {
    let mut engine = UnixStream::connect(engine_socket())?;
    let (mut calls, mut answers) = (BufReader::new(client.try_clone()?), BufReader::new(engine.try_clone()?));
    let mut client = client;
    loop {
        let call = Head::read(&mut calls)?;
        let kill = lock(run).note(&call.first_line);
        if matches!(kill, Some(Moment::Before | Moment::Look)) {
            lock(run).kill();
            return Ok(());
        }
        engine.write_all(&call.bytes)?;
        call.pass_body(&mut calls, &mut engine, Body::Empty)?;
        if kill == Some(Moment::During) {
            std::thread::sleep(Duration::from_millis(5)); // the engine reads it and begins
            lock(run).kill();
            return Ok(());
        }
        let answer = Head::read(&mut answers)?;
        if kill == Some(Moment::After) {
            lock(run).kill();
            return Ok(());
        }
        client.write_all(&answer.bytes)?;
        let silent = [" 204 ", " 304 "].iter().any(|code| answer.first_line.contains(code));
        answer.pass_body(&mut answers, &mut client, if silent { Body::Empty } else { Body::UntilEnd })?;
    }
}

fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// The head of an HTTP message, as it came.
struct Head {
    first_line: String,
    bytes: Vec<u8>,
    body: Option<Body>,
}

/// How the end of a body is known.
#[derive(Clone, Copy)]
enum Body {
    Empty,
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let (mut text, mut body) = (String::new(), None);
        loop {
            let start = text.len();
            if from.read_line(&mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = text[start..].trim_end().to_ascii_lowercase();
            if line.is_empty() {
                let first_line = text.lines().next().unwrap_or_default().to_owned();
                return Ok(Self { first_line, bytes: text.into_bytes(), body });
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                body = Some(Body::Length(length.trim().parse().map_err(io::Error::other)?));
            } else if line.starts_with("transfer-encoding:") && line.ends_with("chunked") {
                body = Some(Body::Chunked);
            }
        }
    }

    /// Passes the body on as it comes. `otherwise` is what a head that does not say means.
    fn pass_body(&self, from: &mut impl BufRead, to: &mut impl Write, otherwise: Body) -> io::Result<()> {
        match self.body.unwrap_or(otherwise) {
            Body::Empty => Ok(()),
            Body::Length(length) => io::copy(&mut from.take(length), to).map(drop),
            Body::UntilEnd => io::copy(from, to).map(drop),
            Body::Chunked => pass_chunks(from, to),
        }
    }
}

fn pass_chunks(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        io::copy(&mut from.take(length + 2), to)?; // the chunk and its line end; after the last one the end of the body
        if length == 0 {
            return Ok(());
        }
    }
}
