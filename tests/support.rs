//! What tests share: throw-away fleets, the real binary run hermetically, and what must be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A fleet in a folder of its own, with a home folder of its own.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Fleet {
    /// Returns a fleet with an identity, a fleet key and the id `id`. `agents` is appended to a `[fleet]` table and a
    /// `[providers.docker]` one.
    pub fn new(id: &str, agents: &str) -> Self {
        let fleet = Self::empty();
        fleet.claw(&["init", "--name", "test"]).ok();
        let written = fleet.read("fleet.toml");
        let recipients = written.lines().find(|line| line.starts_with("recipients")).unwrap();
        let head = format!("[fleet]\nname = \"test\"\nid = \"{id}\"\n{recipients}\n\n[providers.docker]\n\n");
        fleet.write("fleet.toml", &format!("{head}{agents}"));
        fs::remove_dir_all(fleet.folder.path().join("secrets")).unwrap();
        fleet.claw(&["init"]).ok();
        fleet
    }

    /// Returns an empty folder.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Sets a variable for all commands from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Returns a copy of an example of the repository.
    pub fn example(name: &str) -> Self {
        let fleet = Self::empty();
        copy_tree(&repository().join("examples").join(name), fleet.folder.path());
        fleet
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a text that occurs in the fleet file.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.read("fleet.toml");
        assert!(text.contains(from), "`{from}` is not in the fleet file:\n{text}");
        self.write("fleet.toml", &text.replace(from, to));
    }

    /// Stores a secret.
    pub fn secret(&self, name: &str, value: &str) {
        self.claw_with_input(&["secret", "set", name], value).ok();
    }

    /// Returns the command, ready to run in the folder, seeing nothing of the machine but its programs.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claw"));
        command.args(args).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home()).env("USER", "tester");
        if let Some(host) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        command.envs(self.variables.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    pub fn claw(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    pub fn claw_with_input(&self, args: &[&str], input: &str) -> Ran {
        use std::io::Write;
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that it went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts that it says something, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.all().contains(text), "it does not say `{text}`:\n{}", self.all());
        self
    }

    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.all()))
    }
}

/// The repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name == ".claw" {
            continue;
        }
        if path.is_dir() {
            copy_tree(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Whether a test that needs something may run. Where it is missing the test says so and passes, unless
/// `CLAW_TEST_REQUIRE` names it.
pub fn have(what: &str, found: bool, hint: &str) -> bool {
    let required = std::env::var("CLAW_TEST_REQUIRE").unwrap_or_default();
    assert!(found || !required.split_whitespace().any(|word| word == what), "{what} is required and missing: {hint}");
    if !found {
        eprintln!("skipped: no {what} ({hint})");
    }
    found
}

/// Runs the docker command line and returns what it printed; nothing if it failed.
pub fn docker(args: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether an engine answers and has an image.
pub fn have_image(what: &str, image: &str, script: &str) -> bool {
    have(what, docker(&["image", "inspect", image]).is_some(), &format!("start a Docker engine and run {script}"))
}

/// Removes everything of a fleet from the engine when a test ends, however it ends.
/// Another process with the same tests waits for its turn.
pub struct Sweep(pub &'static str, #[expect(dead_code, reason = "held until it is dropped")] fs::File);

impl Sweep {
    /// Removes what an earlier test left, and will remove what this one leaves.
    pub fn new(fleet: &'static str) -> Self {
        let turn = fs::File::create(std::env::temp_dir().join(format!("claw-test-{fleet}.lock"))).unwrap();
        turn.lock().unwrap();
        let sweep = Self(fleet, turn);
        sweep.clean();
        sweep
    }

    /// Removes it now.
    pub fn clean(&self) {
        let label = format!("label=claw.fleet={}", self.0);
        let remove = |list: &[&str], remove: &[&str]| {
            let names = docker(list).unwrap_or_default();
            let names: Vec<&str> = names.split_whitespace().collect();
            if !names.is_empty() {
                let args: Vec<&str> = remove.iter().copied().chain(names).collect();
                docker(&args);
            }
        };
        remove(&["ps", "-aq", "--filter", &label], &["rm", "-f"]);
        remove(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "-f"]);
        remove(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
    }

    /// Returns the names of everything with the fleet's mark.
    pub fn marked(&self) -> Vec<String> {
        let label = format!("label=claw.fleet={}", self.0);
        let lists: [&[&str]; 3] = [
            &["ps", "-a", "--format", "{{.Names}}", "--filter", &label],
            &["volume", "ls", "-q", "--filter", &label],
            &["network", "ls", "--format", "{{.Name}}", "--filter", &label],
        ];
        let all = lists.iter().filter_map(|args| docker(args)).collect::<Vec<_>>().join("\n");
        let mut names: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.clean();
    }
}

/// Returns the names of what agents consist of on an engine when nothing is under way.
pub fn parts(fleet: &str, agents: &[&str]) -> Vec<String> {
    let one = |agent: &&str| {
        let base = format!("claw.{fleet}.{agent}");
        let rest = [".anchor", ".config", ".secrets", ".state"].map(|part| format!("{base}{part}"));
        [base.clone(), base].into_iter().chain(rest) // the gateway, its network, and the rest
    };
    let mut names: Vec<String> = agents.iter().flat_map(one).collect();
    names.sort();
    names
}

/// The key the stand-in's model wants, where a test does not set another.
pub const LLM_KEY: &str = "sk-standin-0123456789";

/// Returns a fleet of agents on the stand-in image, version 1, with the model key they want.
pub fn standin_fleet(id: &str, agents: &str) -> Fleet {
    let defaults = r#"
[defaults.agent]
on = "docker"
image = "claw-test/standin:1"
model = "fake/fake-1"
secrets = ["default"]
resources = { memory = "128MiB", cpus = 1 }

[defaults.agent.settings.models.providers.fake]
baseUrl = "http://127.0.0.1:9/v1"
api = "openai-completions"
apiKey = "secret:default/LLM_KEY"
models = [{ id = "fake-1", name = "fake-1" }]

"#;
    let fleet = Fleet::new(id, &format!("{defaults}{agents}"));
    fleet.secret("default/LLM_KEY", LLM_KEY);
    fleet
}

/// Sends a chat message to a gateway's published port and returns the reply; the stand-in's repeats all it remembers.
#[track_caller]
pub fn chat(gateway: &str, message: &str) -> String {
    try_chat(gateway, message).unwrap_or_else(|error| panic!("{gateway} does not answer: {error}"))
}

fn try_chat(gateway: &str, message: &str) -> Result<String, Box<dyn std::error::Error>> {
    let body = serde_json::json!({ "model": "openclaw", "messages": [{ "role": "user", "content": message }] });
    let reply = post(gateway, "/v1/chat/completions", &body)?;
    Ok(reply["choices"][0]["message"]["content"].as_str().ok_or(reply.to_string())?.to_owned())
}

/// Asks a gateway's admin RPC.
#[track_caller]
pub fn ask(gateway: &str, method: &str) -> serde_json::Value {
    let body = serde_json::json!({ "id": "1", "method": method });
    post(gateway, "/api/v1/admin/rpc", &body).unwrap_or_else(|error| panic!("{gateway} does not answer: {error}"))
}

fn post(gateway: &str, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    use std::io::{Read, Write};
    let secrets = read_back(gateway, "/claw/secrets/secrets.json").ok_or("no secret file")?.content;
    let token = serde_json::from_slice::<serde_json::Value>(&secrets)?["gateway_token"].clone();
    let address = docker(&["port", gateway, "18789/tcp"]).ok_or("no port")?;
    let mut stream = std::net::TcpStream::connect(address.lines().next().unwrap_or_default())?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let (body, token) = (body.to_string(), token.as_str().unwrap_or_default());
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(serde_json::from_str(answer.split_once("\r\n\r\n").ok_or("no answer")?.1)?)
}

/// A file in an agent's volumes.
pub struct ReadBack {
    pub content: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Reads a file in an agent's volumes through its anchor; nothing if it is not there.
pub fn read_back(gateway: &str, path: &str) -> Option<ReadBack> {
    let from = format!("{gateway}.anchor:{path}");
    let output = Command::new("docker").args(["cp", &from, "-"]).stdin(Stdio::null()).output().ok()?;
    // an archive of one file: a header of 512 bytes, then the content
    let (head, rest) = output.stdout.split_at_checked(512)?;
    let number = |at: std::ops::Range<usize>| {
        let text = String::from_utf8_lossy(&head[at]).trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
        u32::from_str_radix(&text, 8).unwrap()
    };
    let content = rest[..number(124..136) as usize].to_vec();
    Some(ReadBack { content, mode: number(100..108), uid: number(108..116), gid: number(116..124) })
}

/// Looks at one thing about a container, as a Go template.
#[track_caller]
pub fn inspect(name: &str, template: &str) -> String {
    docker(&["inspect", "--format", template, name]).unwrap_or_else(|| panic!("there is no {name}"))
}

/// Waits until something is so, for a minute at most.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 60, "waited a minute until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Sends a signal to a process the test started.
pub fn signal(child: &std::process::Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Whether a process can be killed at a system call of its own.
pub fn have_strace() -> bool {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    have("strace", traces, "apt-get install strace")
}

/// Wraps a command so that it is killed when it makes a system call for the N-th time.
pub fn killed_at(command: &Command, call: &str, number: usize) -> Command {
    let mut wrapped = Command::new("strace");
    let kill = format!("inject={call}:signal=KILL:when={number}");
    wrapped.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &kill]);
    wrapped.arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    wrapped
}
