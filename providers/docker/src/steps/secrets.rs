//! The secret file: replaced whole, then the gateway is told. Values exist here, in memory, and in that file.

use std::collections::BTreeMap;

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use claw_core::plan::Effect;
use claw_core::provider::{ApplyError, Class};
use claw_core::text::clean;
use claw_core::value::Value;
use claw_openclaw::layout;
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use super::Job;
use crate::error::failed;
use crate::files::{Entry, download, upload};
use crate::helper::{Script, run};
use crate::manifest::{self, Manifest};
use crate::watch;

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
    let changed = before.as_deref() != Some(&content);
    if changed {
        put(job, &content).await?;
    }
    if (job.step.effect != Effect::None || (job.is_blind() && changed)) && is_running(job).await? {
        let old = before.as_deref().map(|bytes| bytes.as_slice());
        take_over(job, if changed { old } else { None }).await?;
    }
    let digest = manifest::secret_digest(job.ctx.secrets, &content).unwrap_or_default();
    let files = BTreeMap::from([(FILE.to_owned(), digest)]);
    manifest::write(&job.agent, "secrets", &Manifest { files, kept: false }).await
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

/// Has the gateway read the file. Where it does not take it, the file before comes back and the step fails; after an
/// interrupted run, when nobody knows which token the gateway holds, it restarts.
async fn take_over(job: &Job<'_>, before: Option<&[u8]>) -> Result<(), ApplyError> {
    (job.ctx.progress)("telling the gateway to read its secrets");
    let Some(before) = before else {
        job.agent.stop(&job.agent.gateway()).await?;
        job.agent.start(&job.agent.gateway()).await?;
        return watch::until_healthy(&job.agent, job.ctx.progress).await;
    };
    let outcome = match reload(job, &watch::token_in(before)).await {
        Ok(()) => watch::until_healthy(&job.agent, job.ctx.progress).await,
        Err(error) => Err(error),
    };
    if let Err(mut error) = outcome {
        put(job, before).await?;
        job.agent.stop(&job.agent.gateway()).await?;
        job.agent.start(&job.agent.gateway()).await?;
        error.rolled_back = true;
        error.class = Class::Fatal; // what was undone is not tried again
        return Err(error);
    }
    Ok(())
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
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(vec!["/bin/sh", "-c", &script]),
        ..CreateExecOptions::default()
    };
    let exec = job.agent.docker.create_exec(&job.agent.gateway(), options).await;
    let exec = exec.map_err(|error| failed(what, error))?;
    let started = job.agent.docker.start_exec(&exec.id, None::<StartExecOptions>).await;
    let StartExecResults::Attached { mut output, mut input } = started.map_err(|error| failed(what, error))? else {
        return Err(ApplyError::fatal(format!("{what}: the engine did not attach")));
    };
    let line = Zeroizing::new(format!("{}\n", token.expose_secret()));
    let sent = async {
        input.write_all(line.as_bytes()).await?;
        input.flush().await?;
        input.shutdown().await
    };
    sent.await.map_err(|error| ApplyError::fatal(format!("{what}: {error}")))?;
    let reading = async {
        let mut text = String::new();
        while let Some(Ok(chunk)) = output.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
        }
        text
    };
    let limit = std::time::Duration::from_secs(RELOAD_SECONDS_MAX);
    let text = tokio::time::timeout(limit, reading)
        .await
        .map_err(|_| ApplyError::fatal(format!("{what} within {RELOAD_SECONDS_MAX} s")))?;
    let ended = job.agent.docker.inspect_exec(&exec.id).await.map_err(|error| failed(what, error))?;
    if ended.exit_code == Some(0) {
        return Ok(());
    }
    Err(ApplyError::fatal(format!("{what}: {}", clean(&text, 300))))
}
