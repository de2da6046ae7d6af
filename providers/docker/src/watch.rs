//! Watches a gateway: how it is now, and until it is healthy.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use claw_core::provider::ApplyError;
use claw_core::text::clean;
use claw_openclaw::config::TOKEN_KEY;
use claw_openclaw::gateway;
use claw_openclaw::health::{self, Health, Vitals};
use claw_openclaw::layout;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::convert::published_port;
use crate::endpoint::LOOPBACK;
use crate::files::download;
use crate::helper::logs;

/// How long a gateway may take to become healthy, in seconds. A first start takes 10 to 20 on an idle machine.
pub const HEALTHY_SECONDS_MAX: u64 = 180;
/// How long a gateway that is up may stay unhealthy before claw believes it, in seconds.
const UNHEALTHY_SECONDS_MAX: u64 = 10;
/// How often a gateway may crash before claw stops waiting.
const RESTARTS_MAX: i64 = 2;
/// OpenClaw's exit code for "do not start me again": bad config, owned state, newer database.
pub const EXIT_REFUSED: i64 = 78;

/// Returns the token in a secret file; an empty one if there is none.
pub fn token_in(file: &[u8]) -> SecretString {
    let values: BTreeMap<String, Zeroizing<String>> = serde_json::from_slice(file).unwrap_or_default();
    values.get(TOKEN_KEY).map(|token| token.as_str().to_owned()).unwrap_or_default().into()
}

/// Returns the token the gateway holds: the one in its secret file, which may not be the one it shall have.
pub async fn token_in_place(agent: &Agent<'_>) -> Result<Option<SecretString>, ApplyError> {
    let files = download(agent, layout::SECRETS).await?;
    Ok(files.and_then(|files| files.get("secrets.json").map(|file| token_in(file))))
}

/// Returns how a gateway is: `Starting` also while its port does not answer.
pub async fn health(agent: &Agent<'_>, found: &ContainerInspectResponse, token: Option<&SecretString>) -> Health {
    let Some(port) = published_port(found) else {
        return Health::Starting("the gateway's port is not open yet".to_owned());
    };
    let mut vitals = Vitals { startup: ask(agent, port, "/startupz", token).await, ..Vitals::default() };
    let version =
        vitals.startup.as_ref().and_then(|answer| answer.body["version"].as_str()).map(|text| clean(text, 40));
    if vitals.startup.as_ref().is_some_and(|answer| answer.status == 200) {
        vitals.ready = ask(agent, port, "/readyz", token).await;
    }
    let ready = vitals.ready.as_ref().map(|answer| answer.status);
    if let (Some(token), Some(status)) = (token, ready) {
        let mut questions = vec![("status", &mut vitals.status), ("models.authStatus", &mut vitals.auth)];
        if status != 200 {
            questions.push(("channels.status", &mut vitals.channels));
        }
        for (method, slot) in questions {
            match call(agent, port, token, method).await {
                Ok(payload) => *slot = Some(payload),
                Err(error) => {
                    let starting = || Health::Starting(format!("failed to {error}"));
                    return health::refused(&error).unwrap_or_else(starting);
                }
            }
        }
    }
    health::decide(&vitals, version)
}

async fn ask(agent: &Agent<'_>, port: u16, path: &str, token: Option<&SecretString>) -> Option<gateway::Answer> {
    let stream = agent.endpoint.dial(LOOPBACK, port).await.ok()?;
    gateway::get(stream, path, token).await.ok()
}

async fn call(
    agent: &Agent<'_>,
    port: u16,
    token: &SecretString,
    method: &str,
) -> Result<serde_json::Value, gateway::AskError> {
    let stream =
        agent.endpoint.dial(LOOPBACK, port).await.map_err(|error| gateway::AskError::Unreachable(Box::new(error)))?;
    gateway::call(stream, token, method).await
}

/// Returns the word for a container's state in plans, without asking its gateway; `None` while it runs.
pub fn stopped(found: &ContainerInspectResponse) -> Option<String> {
    let state = found.state.as_ref();
    let code = state.and_then(|state| state.exit_code).unwrap_or_default();
    match state.and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::RUNNING) => None,
        Some(ContainerStateStatusEnum::RESTARTING) => Some(format!("crashing, exit {code}")),
        Some(ContainerStateStatusEnum::EXITED) => Some(format!("stopped, exit {code}")),
        Some(ContainerStateStatusEnum::CREATED) => Some("never started".to_owned()),
        Some(other) => Some(other.to_string()),
        None => Some("unknown".to_owned()),
    }
}

/// Whether somebody is removing the container.
fn is_going(found: &ContainerInspectResponse) -> bool {
    use ContainerStateStatusEnum::{DEAD, REMOVING};
    found.state.as_ref().is_some_and(|state| matches!(state.status, Some(REMOVING | DEAD)))
}

/// Waits until the gateway is healthy. Gives up early when it will never be.
pub async fn until_healthy(agent: &Agent<'_>, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), ApplyError> {
    let token = token_in_place(agent).await?;
    let name = agent.gateway();
    let begun = Instant::now();
    let mut unhealthy_since: Option<Instant> = None;
    let mut restarts_before: Option<i64> = None;
    loop {
        let Some(found) = agent.inspect(&name).await?.filter(|found| !is_going(found)) else {
            return Err(ApplyError::fatal(format!("wait for {name}: the container is gone"))
                .help("somebody removed it while claw worked; apply again"));
        };
        let restarts = found.restart_count.unwrap_or_default();
        let crashed = restarts - *restarts_before.get_or_insert(restarts);
        if let Some(word) = stopped(&found) {
            let code = found.state.as_ref().and_then(|state| state.exit_code).unwrap_or_default();
            if code == EXIT_REFUSED {
                agent.stop(&name).await?;
                return Err(refused(agent, &name).await);
            }
            let restarting = word.starts_with("crashing") && crashed < RESTARTS_MAX;
            if !restarting {
                return Err(crashed_error(agent, &name, &word).await);
            }
            progress(&word);
        } else if crashed >= RESTARTS_MAX {
            return Err(crashed_error(agent, &name, "it keeps crashing").await);
        } else {
            match health(agent, &found, token.as_ref()).await {
                Health::Healthy { .. } => return Ok(()),
                Health::Starting(why) => progress(&why),
                Health::Unhealthy(why) => {
                    let since = *unhealthy_since.get_or_insert_with(Instant::now);
                    if since.elapsed().as_secs() >= UNHEALTHY_SECONDS_MAX {
                        return Err(ApplyError::fatal(format!("see {} healthy: {why}", agent.names.agent())));
                    }
                    progress(&why);
                }
            }
        }
        if begun.elapsed().as_secs() >= HEALTHY_SECONDS_MAX {
            let last = last_words(agent, &name).await;
            return Err(ApplyError::fatal(format!(
                "see {} healthy within {HEALTHY_SECONDS_MAX} s{last}",
                agent.names.agent()
            ))
            .help(format!("`docker logs {name}` shows what it does")));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn refused(agent: &Agent<'_>, name: &str) -> ApplyError {
    let last = last_words(agent, name).await;
    ApplyError::fatal(format!("start {}: OpenClaw refuses its configuration or its state (exit 78){last}", agent.names.agent()))
        .help("the container was stopped so that it does not loop; a state written by a newer OpenClaw cannot be opened by an older one")
}

async fn crashed_error(agent: &Agent<'_>, name: &str, word: &str) -> ApplyError {
    let last = last_words(agent, name).await;
    ApplyError::fatal(format!("start {}: {word}{last}", agent.names.agent()))
        .help(format!("`docker logs {name}` shows all it said"))
}

async fn last_words(agent: &Agent<'_>, name: &str) -> String {
    let text = logs(agent, name, "20").await;
    let lines: Vec<String> = text.lines().map(|line| clean(line, 300)).filter(|line| !line.is_empty()).collect();
    // one that crashes again and again may have begun anew: what it complained about says more than its first words
    let complains = |line: &&String| ["fatal", "error"].iter().any(|word| line.to_lowercase().contains(word));
    let last = lines.iter().rfind(complains).or(lines.last());
    last.map_or_else(String::new, |line| format!("; it said: {line}"))
}
