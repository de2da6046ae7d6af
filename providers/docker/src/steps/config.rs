//! `openclaw.json`: validated by the image's own OpenClaw, renamed into place, and taken over by the gateway, hot or by
//! a restart as the plan says. The file before is kept until the new one is proven.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use claw_core::plan::Effect;
use claw_core::provider::ApplyError;
use claw_core::secret::SecretSource;
use claw_core::text::clean;
use claw_core::value::Value;
use claw_openclaw::{gateway, layout};

use super::Job;
use crate::agent::Agent;
use crate::convert::published_port;
use crate::files::{Entry, download, upload};
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
    if [ -f openclaw.json ] && ! cmp -s openclaw.json .stage/openclaw.json; then \
    cp -p openclaw.json .stage/previous; mv -f .stage/previous openclaw.json.previous; fi; \
    mv -f .stage/openclaw.json openclaw.json; rm -rf .stage; sync";
const RESTORE: &str = "set -eu; cd /claw/config; \
    if [ -f openclaw.json.previous ]; then mv -f openclaw.json.previous openclaw.json; fi; sync";

/// Puts the file in place and has it taken over. Removing an agent removes it with its volume.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    if job.step.action.is_delete() {
        return Ok(());
    }
    let content = content(job)?;
    let image = job.image().await?;
    put(job, &image, &content).await?;
    let gateway = job.agent.inspect(&job.agent.gateway()).await?;
    let running = gateway.as_ref().is_some_and(|found| watch::stopped(found).is_none());
    let outcome = match job.step.effect {
        Effect::None => Ok(()),
        _ if !running => Ok(()),
        Effect::Hot => applied(job, &content).await,
        Effect::Restart | Effect::Replace => restart(job).await,
    };
    if let Err(mut error) = outcome {
        restore(&job.agent, &image).await?;
        if job.step.effect >= Effect::Restart {
            job.agent.stop(&job.agent.gateway()).await?;
            job.agent.start(&job.agent.gateway()).await?;
        }
        error.rolled_back = true;
        return Err(error);
    }
    // a gateway that is about to be replaced may have to go back to the file it had
    let kept = job.step.effect == Effect::None && gateway.is_some();
    let files = BTreeMap::from([(FILE.to_owned(), digest(&content))]);
    manifest::write(&job.agent, "config", &Manifest { files, kept }).await
}

/// Returns the file's bytes.
fn content(job: &Job<'_>) -> Result<Vec<u8>, ApplyError> {
    let fields = job.step.action.after().cloned().unwrap_or_default();
    let mut bytes = serde_json::to_vec_pretty(&Value::Map(fields))
        .map_err(|error| ApplyError::fatal(format!("render openclaw.json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

async fn put(job: &Job<'_>, image: &str, content: &[u8]) -> Result<(), ApplyError> {
    (job.ctx.progress)("validating the configuration");
    let entries = [
        Entry { path: ".stage/", content: b"", mode: 0o755, uid: 0 },
        Entry { path: ".stage/openclaw.json", content, mode: 0o644, uid: 0 },
    ];
    upload(&job.agent, layout::CONFIG, &entries).await?;
    let outcome = run(&job.agent, Script { step: "config", image, text: PLACE, aside: false }).await?;
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
    let source = SecretSource::GatewayToken(job.agent.names.agent().to_owned());
    let token = job.ctx.secrets.reveal(&source);
    let token = token.map_err(|error| ApplyError::fatal(error.reason).help(error.help))?;
    let wanted: serde_json::Value = serde_json::from_slice(content)
        .map_err(|error| ApplyError::fatal(format!("read the configuration back: {error}")))?;
    let begun = Instant::now();
    let mut last = "it does not answer".to_owned();
    while begun.elapsed().as_secs() < APPLIED_SECONDS_MAX {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let Some(found) = job.agent.inspect(&job.agent.gateway()).await? else { break };
        let Some(port) = published_port(&found) else { continue };
        let Ok(stream) = job.agent.endpoint.dial(port).await else { continue };
        match gateway::call(stream, &token, "config.get").await {
            Ok(state) if gateway::config_applied(&state, &wanted) => {
                return watch::until_healthy(&job.agent, job.ctx.secrets, job.ctx.progress).await;
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
    watch::until_healthy(&job.agent, job.ctx.secrets, job.ctx.progress).await
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
