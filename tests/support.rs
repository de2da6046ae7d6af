//! What tests share: throw-away fleets, the real binary run hermetically, and what must be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A fleet in a folder of its own, with a home folder of its own.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    home: tempfile::TempDir,
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
        Self { folder: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
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
pub struct Sweep(pub &'static str);

impl Sweep {
    /// Removes what an earlier test left, and will remove what this one leaves.
    pub fn new(fleet: &'static str) -> Self {
        let sweep = Self(fleet);
        sweep.clean();
        sweep
    }

    fn clean(&self) {
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
