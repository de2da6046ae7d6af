//! Makes a host what it shall be. Whatever could shut us out is done under the host's own timer and counts only once a
//! fresh login has confirmed it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claw_core::plan::{Action, Step};
use claw_core::provider::{ApplyError, Class, StepContext};
use claw_core::text::{chain, clean};
use claw_net::ssh::{Connection, Exec, Key, Patience, Pin, SshError, Status};

use crate::access::{Block, Keys, OTHERS};
use crate::facts::{BYTES_MAX, Facts};
use crate::login::Login;
use crate::script::{self, FOLDER, ROLLBACK_SECONDS, SSHD_FILE};

/// How long a look or a small change may take, in seconds.
const SHORT_SECONDS_MAX: u64 = 60;
/// How long installing packages may take, in seconds: an engine is 200 MB, and another apt may be at work.
const INSTALL_SECONDS_MAX: u64 = 900;

/// How often a fresh login is tried, and how long after the one before: together less than the host waits.
const PROOF_TRIES_MAX: u32 = 6;
const PROOF_WAIT: Duration = Duration::from_millis(500);

/// One host and the way to it.
pub struct Machine<'a> {
    /// How it is logged in to.
    pub login: &'a Login,
    /// The fleet's id.
    pub fleet: &'a str,
    /// The host's id.
    pub id: &'a str,
}

impl Machine<'_> {
    /// Returns what the host says of itself, in one round trip.
    pub async fn facts(&self) -> Result<Facts, ApplyError> {
        self.facts_with(&self.login.connection).await
    }

    /// Returns the same without much patience: that a host does not answer is an answer, too.
    pub async fn facts_soon(&self) -> Result<Facts, ApplyError> {
        self.facts_with(&self.login.connection.with_patience(Patience::QUICK)).await
    }

    async fn facts_with(&self, connection: &Connection) -> Result<Facts, ApplyError> {
        let script = script::observe(&self.login.user);
        let output = self.root_over(connection, "look at the host", &script, SHORT_SECONDS_MAX).await?;
        Facts::read(&output).map_err(|error| ApplyError::new(Class::Retry, error.to_string()))
    }

    /// Does a step about the host itself.
    pub async fn host(&self, step: &Step, ctx: StepContext<'_>) -> Result<(), ApplyError> {
        if step.action.is_delete() {
            return self.remove_host(ctx).await;
        }
        let facts = self.refuse_foreign().await?;
        let fresh = matches!(step.action, Action::Create { .. });
        let changes = step.action.changes();
        let wants = |part: &str| {
            let here = |path: &str| path == part || path.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
            fresh || changes.iter().any(|change| here(&change.path))
        };
        self.root("make claw's folder", &script::mark(&self.mark()), SHORT_SECONDS_MAX).await?;
        if wants("engine") {
            if !facts.engine_installed {
                (ctx.progress)("installing the engine");
                self.root("install the engine", &script::install("docker.io"), INSTALL_SECONDS_MAX).await?;
            }
            (ctx.progress)("starting the engine");
            self.root("start the engine", &script::start_engine(), SHORT_SECONDS_MAX * 2).await?;
        }
        if self.login.user != "root" && wants("engine_user") {
            (ctx.progress)("letting claw's user use the engine");
            let script = script::let_use_engine(&self.login.user);
            self.root("let claw's user use the engine", &script, SHORT_SECONDS_MAX).await?;
            // groups are those of the login: the next use logs in anew
            self.login.connection.close().await;
        }
        if wants("updates") {
            (ctx.progress)("turning security updates on");
            self.root("turn security updates on", &script::updates(), INSTALL_SECONDS_MAX).await?;
        }
        if wants("guard") {
            (ctx.progress)("keeping containers from the host");
            self.root("keep containers from the host", &script::guard(), INSTALL_SECONDS_MAX).await?;
        }
        if wants("sshd") || wants("host_key") || wants("unconfirmed") {
            (ctx.progress)("hardening sshd");
            let change = script::harden(&self.login.user, &self.login.host_key.to_string());
            self.guarded("harden sshd", &[SSHD_FILE], &change, None).await?;
        }
        Ok(())
    }

    /// Does a step about who may log in.
    pub async fn access(&self, step: &Step, ctx: StepContext<'_>) -> Result<(), ApplyError> {
        let facts = self.refuse_foreign().await?;
        let keys = Keys::read(facts.keys.as_deref().unwrap_or_default(), self.fleet);
        let Some(after) = step.action.after() else {
            // the last thing that is done on a host that goes: nobody logs in to confirm it
            let text = keys.with(self.fleet, None, false);
            let script = script::put_keys(&self.login.user, &facts.home, &text);
            return self.root("remove claw's keys", &script, SHORT_SECONDS_MAX).await.map(drop);
        };
        let wanted = Block::of(after);
        let exclusive = after.contains_key(OTHERS);
        let proofs: Vec<Key> = wanted.control.iter().filter_map(|key| self.login.control.get(key).cloned()).collect();
        if proofs.len() != wanted.control.len() || proofs.is_empty() {
            return Err(ApplyError::fatal("prove claw's keys: their private halves are not at hand").help(
                "claw proves a key by a login before it relies on it: use an identity that opens secrets/claw.toml",
            ));
        }
        // first everything old and new side by side; what goes, goes once what stays is proven
        let old = keys.block.clone().unwrap_or_default();
        let mut both = wanted.clone();
        both.control.extend(old.control.iter().cloned());
        let file = format!("{}/.ssh/authorized_keys", facts.home);
        let put = |block: &Block, exclusive: bool| {
            script::put_keys(&self.login.user, &facts.home, &keys.with(self.fleet, Some(block), exclusive))
        };
        (ctx.progress)("putting the keys in place and logging in with them");
        self.guarded("put the keys in place", &[&file], &put(&both, false), Some(&proofs)).await?;
        if both != wanted || exclusive {
            (ctx.progress)("removing the keys that go, and logging in again");
            self.guarded("remove keys", &[&file], &put(&wanted, exclusive), Some(&proofs)).await?;
        }
        Ok(())
    }

    async fn remove_host(&self, ctx: StepContext<'_>) -> Result<(), ApplyError> {
        self.refuse_foreign().await?;
        (ctx.progress)("taking claw's rules and units off");
        self.root("take claw's rules off", script::REMOVE, SHORT_SECONDS_MAX).await?;
        let change = format!("{}rm -f {SSHD_FILE}\nreload_sshd\n", script::RELOAD_SSHD);
        self.guarded("put sshd back", &[SSHD_FILE], &change, None).await?;
        self.root("remove claw's folder", &format!("rm -rf {FOLDER}"), SHORT_SECONDS_MAX).await.map(drop)
    }

    fn mark(&self) -> String {
        format!("{} {}", self.fleet, self.id)
    }

    /// Looks again before anything is touched: a host another fleet has taken meanwhile is left alone.
    async fn refuse_foreign(&self) -> Result<Facts, ApplyError> {
        let facts = self.facts().await?;
        match &facts.mark {
            Some(mark) if *mark != self.mark() => Err(ApplyError::fatal(format!(
                "use {}: it carries the mark `{mark}` of another fleet or host",
                self.id
            ))
            .help(format!("one fleet looks after a host; if that one is gone, remove {FOLDER}/mark on it"))),
            _ => Ok(facts),
        }
    }

    /// Makes a change that could shut us out: armed, made, proven by fresh logins, confirmed. Else undone.
    async fn guarded(
        &self,
        what: &str,
        paths: &[&str],
        change: &str,
        proofs: Option<&[Key]>,
    ) -> Result<(), ApplyError> {
        let token = token();
        let script = format!("{}{change}", script::arm(&token, paths));
        let outcome = match self.root(what, &script, SHORT_SECONDS_MAX).await {
            Ok(_) => self.prove(what, &token, proofs).await,
            Err(error) => Err(error),
        };
        let Err(mut error) = outcome else { return Ok(()) };
        // the host would undo it by itself; over the connection that is still open it is quicker
        let undone = self.root("undo it", &script::undo(&token), SHORT_SECONDS_MAX).await.is_ok();
        error.rolled_back = true;
        error.class = Class::Fatal; // what was undone is not tried again
        error.reason.push_str(&if undone {
            "; it was undone".to_owned()
        } else {
            format!("; the host undoes it by itself within {ROLLBACK_SECONDS} s")
        });
        Err(error)
    }

    /// Logs in anew with each key that shall work, and confirms the change from there.
    async fn prove(&self, what: &str, token: &str, proofs: Option<&[Key]>) -> Result<(), ApplyError> {
        let pins: Option<Vec<Pin>> = self.login.pin().map(|pin| vec![pin]);
        let each: Vec<Option<Vec<Key>>> = match proofs {
            Some(keys) => keys.iter().map(|key| Some(vec![key.clone()])).collect(),
            None => vec![None],
        };
        let shut_out = |error: &SshError| {
            let reason = format!("{what}: a fresh login does not work: failed to {}", chain(error));
            ApplyError::fatal(reason).help("nobody is shut out: what was there before is back")
        };
        for (at, keys) in each.iter().enumerate() {
            let fresh = self.fresh(keys.as_deref(), pins.as_deref()).await.map_err(|error| shut_out(&error))?;
            let last = at + 1 == each.len();
            let script = if last { script::confirm(token) } else { "true".to_owned() };
            let line = script::as_root(&self.login.user, SHORT_SECONDS_MAX, &script);
            let outcome = fresh.exec(&line, &[], exec("confirm", SHORT_SECONDS_MAX)).await;
            fresh.close().await;
            let output = outcome.map_err(|error| shut_out(&error))?;
            if output.status != Status::Code(0) {
                return Err(ApplyError::fatal(format!("{what}: {}", last_line(&output.stderr))));
            }
        }
        Ok(())
    }

    /// Logs in anew. An sshd that reads its configuration again does not listen for a moment.
    async fn fresh(&self, keys: Option<&[Key]>, pins: Option<&[Pin]>) -> Result<Connection, SshError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let fresh = self.login.connection.fresh(keys.map(<[Key]>::to_vec), pins.map(<[Pin]>::to_vec)).await;
            match fresh {
                Err(error) if error.is_passing() && tries < PROOF_TRIES_MAX => tokio::time::sleep(PROOF_WAIT).await,
                outcome => return outcome,
            }
        }
    }

    /// Runs a script as root and returns what it printed.
    pub async fn root(&self, what: &str, script: &str, seconds_max: u64) -> Result<Vec<u8>, ApplyError> {
        self.root_over(&self.login.connection, what, script, seconds_max).await
    }

    async fn root_over(
        &self,
        connection: &Connection,
        what: &str,
        script: &str,
        seconds_max: u64,
    ) -> Result<Vec<u8>, ApplyError> {
        let line = script::as_root(&self.login.user, seconds_max, script);
        let output = connection.exec(&line, &[], exec(what, seconds_max + 10)).await;
        let output = output.map_err(|error| failed(what, &error))?;
        match output.status {
            Status::Code(0) => Ok(output.stdout),
            Status::Code(124 | 137) => Err(ApplyError::new(Class::Retry, format!("{what} within {seconds_max} s"))),
            _ => Err(self.explain(what, &output.stderr)),
        }
    }

    /// Returns what a failed script says, and what to do about it.
    fn explain(&self, what: &str, stderr: &[u8]) -> ApplyError {
        let text = last_line(stderr);
        let lower = String::from_utf8_lossy(stderr).to_lowercase();
        let user = &self.login.user;
        let known: [(&str, String); 7] = [
            (
                "a password is required",
                format!(
                    "let {user} use sudo without a password: `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/claw"
                ),
            ),
            ("sudo: command not found", format!("install sudo on the host, or let root log in instead of {user}")),
            ("sudo: not found", format!("install sudo on the host, or let root log in instead of {user}")),
            ("not in the sudoers", format!("let {user} use sudo without a password, or let another user log in")),
            ("no space left", "free disk space on the host, then apply again".to_owned()),
            (
                "read-only file system",
                "a file system of the host is mounted read-only: look at `dmesg` there, it may be damaged".to_owned(),
            ),
            (
                "unable to locate package",
                "the host's package lists are old or its sources are wrong: look at `apt-get update` there".to_owned(),
            ),
        ];
        let error = ApplyError::fatal(format!("{what}: {text}"));
        match known.into_iter().find(|(words, _)| lower.contains(words)) {
            Some((_, help)) => error.help(help),
            None if lower.contains("e: ") || lower.contains("err:") => {
                error.help("apt does not work on the host: look at `apt-get update` and `dpkg --configure -a` there")
            }
            None => error,
        }
    }
}

fn exec(label: &str, seconds_max: u64) -> Exec {
    Exec { label: Some(label.to_owned()), seconds_max, bytes_max: BYTES_MAX as u64 }
}

/// A word no other change has: what a left-over timer of an earlier one may undo is only its own.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("t{now}")
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().map(|line| clean(line, 300)).find(|line| !line.is_empty());
    last.unwrap_or_else(|| "it says nothing".to_owned())
}

/// Returns an SSH error as a step's.
pub fn failed(what: &str, error: &SshError) -> ApplyError {
    let class = if error.is_passing() { Class::Retry } else { Class::Fatal };
    let mut failed = ApplyError::new(class, format!("{what}: failed to {}", chain(error)));
    failed.help = error.help();
    failed
}
