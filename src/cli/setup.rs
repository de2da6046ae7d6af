//! What the process is given: environment, folders, clock, chance, terminal. Made here and passed on as values.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use claw_core::mask::Known;
use claw_engine::audit::Who;
use claw_vault::Keychain;

use crate::args::Global;

/// The process's surroundings.
#[derive(Clone)]
pub struct Setup {
    /// The fleet file.
    pub fleet_file: PathBuf,
    /// The folder it lies in.
    pub root: PathBuf,
    /// Environment variables claw reads.
    env: BTreeMap<&'static str, String>,
    /// The secret values that nothing prints.
    pub known: Known,
    /// Whether a person watches standard error.
    pub stderr_terminal: bool,
    /// Whether a person can answer questions.
    pub stdin_terminal: bool,
}

/// The variables claw reads.
const VARIABLES: [&str; 24] = [
    "CLAW_IDENTITY",
    // where a Linux desktop's keychain is reached
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    // where tests and other people's simulators answer instead of the cloud
    "HCLOUD_ENDPOINT",
    // who is asked about names instead of their zones' servers; `off` asks nobody
    "CLAW_NAMESERVERS",
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "VISUAL",
    "EDITOR",
    "SSH_AUTH_SOCK",
    "TERM",
    "HOSTNAME",
    // who runs a pipeline, as GitHub and GitLab say it
    "CI",
    "GITHUB_ACTOR",
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    // files that later steps and people read
    "GITHUB_STEP_SUMMARY",
    "GITHUB_OUTPUT",
    "GITLAB_USER_LOGIN",
    "CI_JOB_URL",
    "SUDO_USER",
    "LOGNAME",
];

impl Setup {
    /// Returns the surroundings of this process.
    pub fn from_process(global: &Global, known: &Known) -> Self {
        let folder = global.folder.clone().unwrap_or_default();
        let fleet_file = folder.join(&global.fleet);
        let root = fleet_file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let env: BTreeMap<_, _> =
            VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))).collect();
        // it may be an identity itself, in place of a path
        for line in env.get("CLAW_IDENTITY").map_or("", String::as_str).lines().filter(|line| !line.starts_with('#')) {
            if !Path::new(line).exists() {
                known.add("an identity", line);
            }
        }
        Self {
            known: known.clone(),
            root: root.unwrap_or(Path::new(".")).to_owned(),
            fleet_file,
            env,
            stderr_terminal: std::io::stderr().is_terminal(),
            stdin_terminal: std::io::stdin().is_terminal(),
        }
    }

    /// Returns a variable, unless it is empty: CI passes secrets it does not have as empty texts.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the user's home folder.
    pub fn home(&self) -> Option<&Path> {
        self.env("HOME").map(Path::new)
    }

    /// Returns the same surroundings with the fleet in another folder.
    pub fn at(&self, folder: &Path) -> Self {
        let name = self.fleet_file.file_name().unwrap_or_default();
        Self { fleet_file: folder.join(name), root: folder.to_owned(), ..self.clone() }
    }

    /// Returns the system's keychain. Asks nothing of it.
    pub fn keychain(&self) -> Keychain {
        Keychain::of_system(self.env("DBUS_SESSION_BUS_ADDRESS"))
    }

    /// Returns a path beside the fleet file, written as a person would.
    pub fn beside(&self, name: &str) -> PathBuf {
        if self.root == Path::new(".") { PathBuf::from(name) } else { self.root.join(name) }
    }

    /// Returns the folder of secret profiles.
    pub fn secrets_folder(&self) -> PathBuf {
        self.beside("secrets")
    }

    /// Returns claw's own folder beside the fleet file, for the real world or the sandbox.
    pub fn state_folder(&self, sandbox: bool) -> PathBuf {
        let own = self.beside(".claw");
        if sandbox { own.join("sandbox") } else { own }
    }
}

impl Setup {
    /// Returns who acts, for records.
    pub fn who(&self) -> Who {
        let own = |name: &str| self.env(name).map(str::to_owned);
        let user = own("SUDO_USER").or_else(|| own("USER")).or_else(|| own("LOGNAME"));
        let github = || {
            let part = |name| self.env(name);
            let (server, repository) = (part("GITHUB_SERVER_URL")?, part("GITHUB_REPOSITORY")?);
            Some(format!("{server}/{repository}/actions/runs/{}", part("GITHUB_RUN_ID")?))
        };
        let name = std::fs::read_to_string("/etc/hostname").ok().map(|text| text.trim().to_owned());
        Who {
            user: user.or_else(user_of_process).unwrap_or_else(|| "unknown".to_owned()),
            machine: own("HOSTNAME").or(name).unwrap_or_else(|| "unknown".to_owned()),
            ci_actor: own("GITHUB_ACTOR").or_else(|| own("GITLAB_USER_LOGIN")),
            ci_run: github().or_else(|| own("CI_JOB_URL")),
        }
    }
}

/// Returns the name of the user this process runs as, where the environment does not say: as in most CI containers.
fn user_of_process() -> Option<String> {
    #[cfg(unix)]
    {
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?).to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let known = users.lines().find(|line| line.split(':').nth(2) == Some(&uid));
        Some(known.and_then(|line| line.split(':').next()).map_or_else(|| format!("uid {uid}"), str::to_owned))
    }
    #[cfg(not(unix))]
    None
}

/// Returns the day so many days before today, UTC.
pub fn days_ago(days: i32) -> String {
    let today: jiff::civil::Date = timestamp().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.checked_sub(jiff::Span::new().days(days)).unwrap_or(jiff::civil::Date::MIN).to_string()
}

/// Returns the time now, RFC 3339, UTC, in seconds.
pub fn now() -> String {
    timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the seconds since 1970.
pub fn seconds() -> i64 {
    timestamp().as_second()
}

/// Returns today, UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    timestamp().strftime("%Y-%m-%d").to_string()
}

/// Returns a name for a run: its time, and something that tells it from others of the same second.
pub fn run_id() -> String {
    let number = (chance() * 65_536.0) as u32;
    format!("{}-{number:04x}", timestamp().strftime("%Y%m%dT%H%M%SZ"))
}

fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Returns a number from 0 to 1, for jitter and names; not for secrets.
pub fn chance() -> f64 {
    let mut bytes = [0_u8; 4];
    if getrandom::getrandom(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
