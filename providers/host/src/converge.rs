//! Makes a host what it shall be. Whatever could shut us out is done under the host's own timer and counts only once a
//! fresh login has confirmed it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claw_core::plan::{Action, Step};
use claw_core::provider::{ApplyError, Class, StepContext};
use claw_core::ssh::PublicKey;
use claw_core::text::{chain, clean};
use claw_net::ssh::{Connection, Exec, Key, Patience, Pin, SshError, Status};

use crate::access::{Block, Keys, OTHERS};
use crate::facts::{BYTES_MAX, Facts};
use crate::login::Login;
use crate::rollback::{self, CHANGE_SECONDS_MAX, UNDONE, WAIT_SECONDS};
use crate::script::{self, FOLDER, GUARD_OFF, SSHD_FILES, SSHD_FILES_AND_KEY};

/// How long a look or a small change may take, in seconds.
const SHORT_SECONDS_MAX: u64 = 60;
/// How long installing packages may take, in seconds: an engine is 200 MB, and another apt may be at work.
const INSTALL_SECONDS_MAX: u64 = 900;

/// How often a fresh login is tried, and how long after the one before: together less than the host waits.
const PROOF_TRIES_MAX: u32 = 6;
/// How often the key from before is heard before it counts: below the failures in a row that block a server.
const KEY_TRIES_MAX: u32 = 4;
const PROOF_WAIT: Duration = Duration::from_millis(500);

/// A change that could shut us out.
struct Change<'a> {
    /// What it is; reads after "failed to".
    what: &'a str,
    /// The files it replaces.
    paths: &'a [&'a str],
    /// What else its undoing takes, as a script.
    also: &'a str,
    /// How it is made.
    script: &'a str,
    /// Whether it is about the host key that is shown. Else each pinned one proves it: an earlier run may have been killed
    /// between two keys, and what it changed is undone first.
    shows: bool,
}

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
        // what nobody confirmed is undone by the next change: seen to be there, it will not be
        if wants("guard") || wants("unconfirmed") {
            (ctx.progress)("keeping containers from the host");
            let what = "keep containers from the host";
            self.root(what, &script::guard_needs(), INSTALL_SECONDS_MAX).await?;
            let change = Change { what, paths: &[], also: GUARD_OFF, script: &script::guard(), shows: false };
            self.guarded(change, None).await?;
        }
        if wants("sshd") || wants("host_key") || wants("unconfirmed") {
            (ctx.progress)("hardening sshd");
            self.harden("harden sshd").await?;
        }
        Ok(())
    }

    async fn harden(&self, what: &str) -> Result<(), ApplyError> {
        let key = self.login.host_key.to_string();
        let script = script::harden(&self.login.user, &key);
        self.guarded(Change { what, paths: &SSHD_FILES, also: ":", script: &script, shows: true }, None).await?;
        self.root("settle the host key", &script::settle_host_key(&key), SHORT_SECONDS_MAX).await.map(drop)
    }

    /// Makes the next host key on the host and returns it.
    pub async fn next_host_key(&self) -> Result<PublicKey, ApplyError> {
        let what = format!("make a host key on {}", self.id);
        let script = script::new_host_key(&self.login.host_key.to_string());
        let made = self.root(&what, &script, SHORT_SECONDS_MAX).await?;
        let made = String::from_utf8_lossy(&made);
        made.parse().map_err(|error| ApplyError::fatal(format!("{what}: {error}")))
    }

    /// Has sshd show the login's host key and no other, and leaves no other of its kind on the host.
    pub async fn show_host_key(&self) -> Result<(), ApplyError> {
        self.refuse_foreign().await?;
        self.harden("show the next host key").await?;
        let script = script::only_host_key(&self.login.host_key.to_string());
        self.root("forget the host key before", &script, SHORT_SECONDS_MAX).await.map(drop)
    }

    /// Does a step about who may log in.
    pub async fn access(&self, step: &Step, ctx: StepContext<'_>) -> Result<(), ApplyError> {
        let facts = self.refuse_foreign().await?;
        let old = facts.keys.as_ref().map_err(|why| {
            ApplyError::fatal(format!("change who may log in: {}/.ssh/authorized_keys: {why}", facts.home)).help(
                "nothing was changed: somebody else's keys could be lost. Make it a plain file that claw can read",
            )
        })?;
        let keys = Keys::read(old, self.fleet);
        let Some(after) = step.action.after() else {
            return self.remove_keys(&facts, &keys, old).await;
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
        let mut both = wanted.clone();
        both.control.extend(keys.block.iter().flat_map(|block| block.control.iter().cloned()));
        let file = format!("{}/.ssh/authorized_keys", facts.home);
        let between = keys.with(self.fleet, Some(&both), false);
        let last = keys.with(self.fleet, Some(&wanted), exclusive);
        let put = |old: &str, new: &str| script::put_keys(&self.login.user, &facts.home, old, new);
        (ctx.progress)("putting the keys in place and logging in with them");
        let paths = &[file.as_str()][..];
        let script = put(old, &between);
        let change = Change { what: "put the keys in place", paths, also: ":", script: &script, shows: false };
        self.guarded(change, Some(&proofs)).await?;
        if last != between {
            (ctx.progress)("removing the keys that go, and logging in again");
            let script = put(&between, &last);
            let change = Change { what: "remove keys", paths, also: ":", script: &script, shows: false };
            self.guarded(change, Some(&proofs)).await?;
        }
        Ok(())
    }

    /// The last thing that is done on a host that goes. Somebody else has to be able to log in afterwards.
    async fn remove_keys(&self, facts: &Facts, keys: &Keys, old: &str) -> Result<(), ApplyError> {
        if keys.others.is_empty() {
            return Err(ApplyError::fatal(format!(
                "remove claw's keys from {}: nobody could log in any more",
                self.id
            ))
            .help("put a key of your own into authorized_keys there, outside claw's block, then apply again"));
        }
        let script = script::put_keys(&self.login.user, &facts.home, old, &keys.with(self.fleet, None, false));
        self.root("remove claw's keys", &script, SHORT_SECONDS_MAX).await.map(drop)
    }

    async fn remove_host(&self, ctx: StepContext<'_>) -> Result<(), ApplyError> {
        self.refuse_foreign().await?;
        (ctx.progress)("taking claw's settings, rules and units off");
        let script = script::soften();
        let change =
            Change { what: "put sshd back", paths: &SSHD_FILES_AND_KEY, also: ":", script: &script, shows: true };
        self.guarded(change, None).await?;
        self.root("take claw's rules off", script::REMOVE, SHORT_SECONDS_MAX).await?;
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
            // what a killed run left unconfirmed goes back first: what is read next is what is changed
            _ if facts.armed => {
                self.root("undo what nobody confirmed", &rollback::settle(), SHORT_SECONDS_MAX).await?;
                self.facts().await
            }
            _ => Ok(facts),
        }
    }

    /// Makes a change that could shut us out: armed, made, proven by fresh logins, confirmed. Else undone.
    async fn guarded(&self, change: Change<'_>, proofs: Option<&[Key]>) -> Result<(), ApplyError> {
        let token = token();
        let script = format!("{}{}", rollback::arm(&token, change.paths, change.also), change.script);
        let outcome = match self.root(change.what, &script, CHANGE_SECONDS_MAX).await {
            // what was proven false is not tried again
            Ok(_) => self.prove(&change, &token, proofs).await.map_err(|mut error| {
                error.class = Class::Fatal;
                error
            }),
            Err(error) => Err(error),
        };
        let Err(mut error) = outcome else { return Ok(()) };
        // the host would undo it by itself; over the connection that is still open it is quicker
        let now = self.login.connection.with_patience(Patience::ONCE);
        let undone = self.root_over(&now, "undo it", &rollback::undo(&token), CHANGE_SECONDS_MAX).await;
        let (back, text) = match undone {
            Ok(said) if String::from_utf8_lossy(&said).contains(UNDONE) => (true, "; it was undone".to_owned()),
            // nothing was armed, or the host was quicker, or the confirmation came through and its answer did not
            Ok(_) => (false, String::new()),
            Err(_) => (true, format!("; the host undoes it by itself within {WAIT_SECONDS} s")),
        };
        error.rolled_back = back;
        error.reason.push_str(&text);
        Err(error)
    }

    /// Logs in anew with each key that shall work, and confirms the change from there.
    async fn prove(&self, change: &Change<'_>, token: &str, proofs: Option<&[Key]>) -> Result<(), ApplyError> {
        let what = change.what;
        let pins: Option<Vec<Pin>> = self.login.pin().filter(|_| change.shows).map(|pin| vec![pin]);
        let each: Vec<Option<Vec<Key>>> = match proofs {
            Some(keys) => keys.iter().map(|key| Some(vec![key.clone()])).collect(),
            None => vec![None],
        };
        let shut_out = |error: &SshError| {
            let reason = format!("{what}: a fresh login does not work: failed to {}", chain(error));
            ApplyError::fatal(reason).help("nobody is shut out: what was there before is back")
        };
        for (at, keys) in each.iter().enumerate() {
            let fresh = self.proof(keys.as_deref(), pins.as_deref()).await.map_err(|error| shut_out(&error))?;
            let last = at + 1 == each.len();
            let script = if last { rollback::confirm(token) } else { "true".to_owned() };
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

    /// Logs in anew to prove a change. An sshd that was told to read its configuration again shows the key from before until
    /// it does, which on a busy machine takes a moment: that key, which was trusted just now, is no stranger's.
    async fn proof(&self, keys: Option<&[Key]>, pins: Option<&[Pin]>) -> Result<Connection, SshError> {
        let before = Login::shown(&self.login.connection).map(|key| key.fingerprint());
        let mut tries = 0;
        loop {
            tries += 1;
            match self.fresh(keys, pins).await {
                Err(SshError::HostKey { found, .. }) if found == before && tries < KEY_TRIES_MAX => {
                    tokio::time::sleep(PROOF_WAIT * tries).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Logs in anew. An sshd that reads its configuration again does not listen for a moment.
    pub async fn fresh(&self, keys: Option<&[Key]>, pins: Option<&[Pin]>) -> Result<Connection, SshError> {
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
        if matches!(output, Err(SshError::CommandTimedOut { .. })) {
            // what does not answer within twice its time is gone, whatever the connection believes: the next use finds out
            connection.close().await;
        }
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
    // a host that does not answer was waited for already, as long as one that boots takes
    let waited = matches!(error, SshError::Unreachable { .. } | SshError::TimedOut { .. } | SshError::Blocked { .. });
    let class = if error.is_passing() && !waited { Class::Retry } else { Class::Fatal };
    let mut failed = ApplyError::new(class, format!("{what}: failed to {}", chain(error)));
    failed.help = error.help();
    failed
}
