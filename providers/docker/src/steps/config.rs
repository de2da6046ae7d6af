//! `openclaw.json`: validated by the image's own OpenClaw, renamed into place, and taken over by the gateway, hot or by
//! a restart as the plan says. The file before is kept until the new one is proven.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use claw_core::plan::Effect;
use claw_core::provider::{ApplyError, Class};
use claw_core::text::clean;
use claw_core::value::Value;
use claw_openclaw::{gateway, layout};

use super::Job;
use crate::agent::Agent;
use crate::convert::published_port;
use crate::endpoint::LOOPBACK;
use crate::files::{Contents, Entry, download, upload};
use crate::helper::{Script, run};
use crate::manifest::{self, Manifest};
use crate::rules::digest;
use crate::watch;

const FILE: &str = "openclaw.json";
/// How long a running gateway may take to apply a changed file, in seconds; it polls about once a second.
const APPLIED_SECONDS_MAX: u64 = 30;
/// The exit code of the script when OpenClaw refuses the configuration.
const REFUSED: i64 = 65;

const PLACE: &str = "set -eu; cd /claw/config; \
    OPENCLAW_CONFIG_PATH=/claw/config/.stage/openclaw.json openclaw config validate --json >/tmp/verdict 2>&1 \
    || { cat /tmp/verdict; exit 65; }; \
    if [ $settled = yes ]; then rm -f openclaw.json.previous; fi; \
    if [ $unproven = no ] && [ -f openclaw.json ] && ! cmp -s openclaw.json .stage/openclaw.json; then \
    cp -p openclaw.json .stage/previous; mv -f .stage/previous openclaw.json.previous; fi; \
    touch .stage/openclaw.json; mv -f .stage/openclaw.json openclaw.json; rm -rf .stage; sync openclaw.json .";
const RESTORE: &str = "set -eu; cd /claw/config; \
    if [ -f openclaw.json.previous ]; then touch openclaw.json.previous; mv -f openclaw.json.previous openclaw.json; sync openclaw.json .; fi";

/// Puts the file in place and has it taken over. Removing an agent removes it with its volume.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    if job.step.action.is_delete() {
        return Ok(());
    }
    let content = content(job)?;
    let image = job.image().await?;
    let found = download(&job.agent, layout::CONFIG).await?.unwrap_or_default();
    let before = Before::find(job, &found);
    put(job, &image, &content, &before).await?;
    let gateway = job.agent.own_gateway().await?;
    let running = gateway.as_ref().is_some_and(|found| watch::stopped(found).is_none());
    let changed = found.get(FILE).is_none_or(|file| **file != content);
    let outcome = match job.step.effect {
        _ if !running => Ok(()),
        Effect::None if job.is_blind() && changed => restart(job).await,
        Effect::None => Ok(()),
        Effect::Hot => applied(job, &content).await,
        Effect::Restart | Effect::Reboot | Effect::Replace => restart(job).await,
    };
    if let Err(mut error) = outcome {
        restore(&job.agent, &image).await?;
        if job.step.effect >= Effect::Restart {
            job.agent.stop(&job.agent.gateway()).await?;
            job.agent.start(&job.agent.gateway()).await?;
        }
        error.rolled_back = true;
        error.class = Class::Fatal; // what was undone is not tried again
        return Err(error);
    }
    // a gateway that is about to be replaced may have to go back to the file it had
    let replaced = job.step.effect == Effect::None && !job.is_blind() && gateway.is_some();
    let kept = replaced || before.unproven;
    let files = BTreeMap::from([(FILE.to_owned(), digest(&content))]);
    manifest::write(&job.agent, "config", &Manifest { files, kept }).await
}

/// What is known of the file that is in place and of the one kept beside it.
struct Before {
    /// The file in place was put there for a container that is still being replaced: the one kept is the one to go back to.
    unproven: bool,
    /// The file in place was taken over: one kept beside it is older, and nothing goes back to it any more.
    settled: bool,
}

impl Before {
    fn find(job: &Job<'_>, contents: &Contents) -> Self {
        let manifest = manifest::find(contents, "config").unwrap_or_default();
        let unproven = manifest.kept && job.step.effect == Effect::None;
        let is_known = contents.get(FILE).is_some_and(|file| manifest.files.get(FILE) == Some(&digest(file)));
        Self { unproven, settled: is_known && !unproven }
    }
}

/// Returns the file's bytes.
fn content(job: &Job<'_>) -> Result<Vec<u8>, ApplyError> {
    let fields = job.step.action.after().cloned().unwrap_or_default();
    let mut bytes = serde_json::to_vec_pretty(&Value::map(fields))
        .map_err(|error| ApplyError::fatal(format!("render openclaw.json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

async fn put(job: &Job<'_>, image: &str, content: &[u8], before: &Before) -> Result<(), ApplyError> {
    (job.ctx.progress)("validating the configuration");
    let entries = [
        Entry { path: ".stage/", content: b"", mode: 0o755, uid: 0 },
        Entry { path: ".stage/openclaw.json", content, mode: 0o644, uid: 0 },
    ];
    upload(&job.agent, layout::CONFIG, &entries).await?;
    let word = |is: bool| if is { "yes" } else { "no" };
    let text = format!("settled={}; unproven={}; {PLACE}", word(before.settled), word(before.unproven));
    let outcome = run(&job.agent, Script { step: "config", image, text: &text, aside: false }).await?;
    if outcome.code == REFUSED {
        return Err(ApplyError::fatal(format!(
            "configure {}: {image} refuses it: {}",
            job.agent.names.agent(),
            verdict(&outcome.output)
        ))
        .help("nothing was changed; correct `settings`"));
    }
    outcome.ok("put the configuration in place").map(|_| ())
}

/// Returns what the validator found wrong, from its JSON or as it stands.
fn verdict(output: &str) -> String {
    let json =
        output.find('{').and_then(|start| serde_json::from_str::<serde_json::Value>(output[start..].trim()).ok());
    let issues = json.as_ref().and_then(|json| json["issues"].as_array());
    let Some(issues) = issues else { return clean(output, 300) };
    let texts = issues.iter().take(5).map(|issue| {
        let text = |key: &str| clean(issue[key].as_str().unwrap_or_default(), 200);
        format!("{}: {}", text("path"), text("message"))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// Waits until the gateway says that it runs with the file.
async fn applied(job: &Job<'_>, content: &[u8]) -> Result<(), ApplyError> {
    (job.ctx.progress)("waiting for the gateway to take the configuration over");
    let token = watch::token_in_place(&job.agent).await?;
    let token = token.ok_or_else(|| ApplyError::fatal("find the gateway's token: its secret file is gone"))?;
    let wanted: serde_json::Value = serde_json::from_slice(content)
        .map_err(|error| ApplyError::fatal(format!("read the configuration back: {error}")))?;
    let begun = Instant::now();
    let mut last = "it does not answer".to_owned();
    while begun.elapsed().as_secs() < APPLIED_SECONDS_MAX {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let Some(found) = job.agent.inspect(&job.agent.gateway()).await? else { break };
        let Some(port) = published_port(&found) else { continue };
        let Ok(stream) = job.agent.endpoint.dial(LOOPBACK, port).await else { continue };
        match gateway::call(stream, &token, "config.get").await {
            Ok(state) if gateway::config_applied(&state, &wanted) => {
                return watch::until_healthy(&job.agent, job.ctx.progress).await;
            }
            Ok(state) if state["valid"] == false => last = "it calls the file invalid".to_owned(),
            Ok(_) => last = "it still runs with the file before".to_owned(),
            Err(error) => last = format!("failed to {error}"),
        }
    }
    Err(ApplyError::fatal(format!(
        "see {} run with its new configuration within {APPLIED_SECONDS_MAX} s: {last}",
        job.agent.names.agent()
    )))
}

async fn restart(job: &Job<'_>) -> Result<(), ApplyError> {
    (job.ctx.progress)("restarting the gateway");
    job.agent.stop(&job.agent.gateway()).await?;
    job.agent.start(&job.agent.gateway()).await?;
    watch::until_healthy(&job.agent, job.ctx.progress).await
}

/// The container the file was put in place for is proven: there is no going back to the file before.
pub async fn settle(agent: &Agent<'_>) -> Result<(), ApplyError> {
    let contents = download(agent, layout::CONFIG).await?.unwrap_or_default();
    match manifest::find(&contents, "config") {
        Some(manifest) if manifest.kept => {
            manifest::write(agent, "config", &Manifest { kept: false, ..manifest }).await
        }
        _ => Ok(()),
    }
}

/// Puts the file before back, with its manifest.
pub async fn restore(agent: &Agent<'_>, image: &str) -> Result<(), ApplyError> {
    run(agent, Script { step: "config", image, text: RESTORE, aside: false })
        .await?
        .ok("put the configuration back")?;
    let contents = download(agent, layout::CONFIG).await?.unwrap_or_default();
    let files = contents.get(FILE).map(|file| (FILE.to_owned(), digest(file))).into_iter().collect();
    manifest::write(agent, "config", &Manifest { files, kept: false }).await
}
