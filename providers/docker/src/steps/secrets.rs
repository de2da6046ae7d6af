//! The secret file: replaced whole, then the gateway is told, then it is seen that what was delivered works. Values exist
//! here, in memory, and in that file.

mod keys;
mod proof;

use std::collections::{BTreeMap, BTreeSet};

use claw_core::name::Kind;
use claw_core::plan::Effect;
use claw_core::provider::{ApplyError, Class};
use claw_core::text::clean;
use claw_core::value::Value;
use claw_openclaw::layout;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use self::proof::Channels;
use super::Job;
use crate::files::{Entry, download, upload};
use crate::helper::{Script, run};
use crate::manifest::{self, Manifest};
use crate::watch;
use crate::within::{self, Program};

/// The manifest's entry for the file.
const FILE: &str = "secrets.json";
/// How long a gateway may take to read its secrets again, in seconds.
const RELOAD_SECONDS_MAX: u64 = 60;

/// Puts the file in place and has it read. Removing an agent removes it with its volume.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    if job.step.action.is_delete() {
        return Ok(());
    }
    let before = current(job).await?;
    let content = content(job)?;
    // without the file before, nobody knows what the gateway has: everything counts as new to it
    let old = before.as_deref().map(|bytes| bytes.as_slice()).filter(|old| *old != content.as_slice());
    let changed = old.is_some() || before.is_none();
    let running = is_running(job).await?;
    let takes_over = running && (job.step.effect != Effect::None || (job.is_blind() && changed));
    let new = changed_keys(old, &content);
    let channels = match old.filter(|_| takes_over) {
        Some(old) => Some(Channels::look(job, &new, &watch::token_in(old)).await),
        None => None,
    };
    if changed {
        put(job, &content).await?;
    }
    if running && (changed || takes_over) {
        check_keys(job, &new, old).await?;
    }
    if takes_over {
        take_over(job, old.zip(channels.as_ref())).await?;
    }
    let digest = manifest::secret_digest(job.ctx.secrets, &content).unwrap_or_default();
    let files = BTreeMap::from([(FILE.to_owned(), digest)]);
    manifest::write(&job.agent, "secrets", &Manifest { files, kept: false }).await
}

/// Returns the keys of the secret file whose values are new.
fn changed_keys(old: Option<&[u8]>, content: &[u8]) -> BTreeSet<String> {
    let read =
        |bytes: &[u8]| -> BTreeMap<String, Zeroizing<String>> { serde_json::from_slice(bytes).unwrap_or_default() };
    let old = old.map(read).unwrap_or_default();
    let new = read(content).into_iter().filter(|(key, value)| old.get(key) != Some(value));
    new.map(|(key, _)| key).collect()
}

/// Returns the configuration the agent shall have.
fn config(job: &Job<'_>) -> serde_json::Value {
    let config = job.ctx.resource(&job.step.address.sibling(Kind::Config));
    config.map(|config| Value::map(config.fields.clone()).to_json()).unwrap_or_default()
}

/// Returns how people know a key of the secret file.
fn source(job: &Job<'_>, key: &str) -> String {
    match job.step.action.after().and_then(|fields| fields.get(key)) {
        Some(Value::Secret(secret)) => secret.source.as_ref().map_or_else(|| key.to_owned(), ToString::to_string),
        _ => key.to_owned(),
    }
}

async fn current(job: &Job<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, ApplyError> {
    Ok(download(&job.agent, layout::SECRETS).await?.and_then(|mut files| files.remove(FILE)))
}

fn content(job: &Job<'_>) -> Result<Zeroizing<Vec<u8>>, ApplyError> {
    let fields = job.step.action.after().into_iter().flatten();
    let mut values: BTreeMap<&str, SecretString> = BTreeMap::new();
    for (key, value) in fields {
        if let Value::Secret(secret) = value
            && let Some(source) = &secret.source
        {
            let plain = job.ctx.secrets.reveal(source);
            let plain =
                plain.map_err(|error| ApplyError::fatal(format!("get {source}: {}", error.reason)).help(error.help))?;
            values.insert(key, plain);
        }
    }
    let size: usize = values.iter().map(|(key, value)| key.len() + value.expose_secret().len() * 6 + 8).sum();
    let mut content = Zeroizing::new(Vec::with_capacity(size + 2));
    let shown: BTreeMap<&str, &str> = values.iter().map(|(key, value)| (*key, value.expose_secret())).collect();
    serde_json::to_writer(&mut *content, &shown).map_err(|_| ApplyError::fatal("write the secret file as JSON"))?;
    Ok(content)
}

async fn put(job: &Job<'_>, content: &[u8]) -> Result<(), ApplyError> {
    let image = job.image().await?;
    let entries = [
        Entry { path: ".stage/", content: b"", mode: 0o700, uid: 0 },
        Entry { path: ".stage/secrets.json", content, mode: 0o600, uid: layout::UID },
    ];
    upload(&job.agent, layout::SECRETS, &entries).await?;
    let text = "set -eu; cd /claw/secrets; mv -f .stage/secrets.json secrets.json; rm -rf .stage; sync secrets.json .";
    let outcome = run(&job.agent, Script { step: "secrets", image: &image, text, aside: false }).await?;
    outcome.ok("put the secret file in place").map(|_| ())
}

async fn is_running(job: &Job<'_>) -> Result<bool, ApplyError> {
    let found = job.agent.own_gateway().await?;
    Ok(found.is_some_and(|found| watch::stopped(&found).is_none()))
}

/// Puts the file before back if a provider refuses a key of the new one. The gateway has not read it yet, and goes on.
async fn check_keys(job: &Job<'_>, new: &BTreeSet<String>, old: Option<&[u8]>) -> Result<(), ApplyError> {
    let Err(mut error) = keys::check(job, new).await else { return Ok(()) };
    match old {
        Some(old) => match put(job, old).await {
            Ok(()) => error.rolled_back = true,
            Err(second) => stays(&mut error, &second),
        },
        None => error.changed = true,
    }
    Err(error)
}

/// Says that what a step changed could not be taken back.
fn stays(error: &mut ApplyError, second: &ApplyError) {
    error.changed = true;
    error.reason = format!("{}; and to put the secrets before back: {}", error.reason, second.reason);
}

/// Has the gateway read the file. Where it does not take it, the file before comes back and the step fails; after an
/// interrupted run, when nobody knows which token the gateway holds, it restarts.
async fn take_over(job: &Job<'_>, before: Option<(&[u8], &Channels)>) -> Result<(), ApplyError> {
    (job.ctx.progress)("telling the gateway to read its secrets");
    let Some((old, channels)) = before else {
        job.agent.stop(&job.agent.gateway()).await?;
        job.agent.start(&job.agent.gateway()).await?;
        return watch::until_healthy(&job.agent, job.ctx.progress).await;
    };
    let Err(mut error) = use_them(job, old, channels).await else { return Ok(()) };
    (job.ctx.progress)("putting the secrets before back");
    error.class = Class::Fatal; // what was undone is not tried again
    let back = async {
        put(job, old).await?;
        job.agent.stop(&job.agent.gateway()).await?;
        job.agent.start(&job.agent.gateway()).await
    };
    if let Err(second) = back.await {
        stays(&mut error, &second);
        return Err(error);
    }
    error.rolled_back = true;
    if let Err(second) = watch::until_healthy(&job.agent, job.ctx.progress).await {
        error.reason = format!("{}; and with those before: failed to {}", error.reason, second.reason);
    }
    Err(error)
}

/// Has the gateway use the new file, and sees that it does.
async fn use_them(job: &Job<'_>, old: &[u8], channels: &Channels) -> Result<(), ApplyError> {
    let token = watch::token_in(old);
    reload(job, &token).await?;
    watch::until_healthy(&job.agent, job.ctx.progress).await?;
    proof::old_token_is_refused(job, &token).await?;
    channels.settle(job).await
}

/// Runs the reload inside the container. The token travels over standard input: arguments can be read by others. The URL
/// has the command take the token from its environment: without it, it takes the new one from the file and is refused.
async fn reload(job: &Job<'_>, token: &SecretString) -> Result<(), ApplyError> {
    let script = format!(
        "IFS= read -r OPENCLAW_GATEWAY_TOKEN; export OPENCLAW_GATEWAY_TOKEN; \
         OPENCLAW_GATEWAY_URL=ws://127.0.0.1:{} exec openclaw secrets reload --json",
        layout::GATEWAY_PORT
    );
    let what = "have the gateway read its secrets";
    let line = Zeroizing::new(format!("{}\n", token.expose_secret()));
    let command = vec!["/bin/sh", "-c", &script];
    let program = Program { what, command, input: line.as_bytes(), seconds: RELOAD_SECONDS_MAX };
    let ended = within::run(&job.agent, program).await?;
    match ended.code {
        Some(0) => Ok(()),
        _ => Err(ApplyError::fatal(format!("{what}: {}", clean(&ended.output, 300)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_when_their_values_are_and_when_nobody_knows_the_ones_before() {
        let old = br#"{"a":"1","b":"2","gone":"3"}"#;
        let new = br#"{"a":"1","b":"9","c":"3"}"#;
        let names = |old: Option<&[u8]>| changed_keys(old, new).into_iter().collect::<Vec<_>>();
        assert_eq!(names(Some(old)), ["b", "c"]);
        assert_eq!(names(None), ["a", "b", "c"]);
        assert_eq!(names(Some(b"not JSON")), ["a", "b", "c"]);
    }
}
