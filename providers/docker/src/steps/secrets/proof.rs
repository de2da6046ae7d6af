//! Sees that what was delivered is what is used: the gateway refuses the token it had, channels that worked work with
//! their new tokens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use claw_core::provider::{ApplyError, WARNING};
use claw_openclaw::channels::{self, Concern, Link, Links};
use claw_openclaw::gateway::{self, AskError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{Job, config};
use crate::convert::published_port;
use crate::endpoint::LOOPBACK;
use crate::watch;

/// How long the gateway may take to refuse the token it had, in seconds; it does so at once.
const REFUSED_SECONDS_MAX: u64 = 10;
/// How long a channel may take to be connected again, in seconds: about 5 on an idle machine.
const CHANNEL_SECONDS_MAX: u64 = 45;
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(500);

/// The channels whose tokens change, and how they stood before.
pub struct Channels {
    concerns: BTreeSet<Concern>,
    before: Links,
}

impl Channels {
    /// Looks at them, with the token the gateway has. Channels nobody can see are not watched.
    pub async fn look(job: &Job<'_>, changed: &BTreeSet<String>, token: &SecretString) -> Self {
        let concerns = channels::concerned(&config(job), changed);
        let seen = if concerns.is_empty() { None } else { links(job, &concerns, token).await };
        Self { concerns, before: seen.unwrap_or_default() }
    }

    /// Waits until those that worked work again. The gateway restarts a channel whose token changed by itself; where that
    /// was not enough, the gateway restarts.
    pub async fn settle(&self, job: &Job<'_>) -> Result<(), ApplyError> {
        if self.before.is_empty() {
            return Ok(());
        }
        (job.ctx.progress)("waiting for its channels to take their new tokens");
        let mut now = self.wait(job).await?;
        let late = self.lost(&now).find(|(_, link)| matches!(link, Link::Waits(_))).map(|(name, _)| name.clone());
        if let Some(name) = late {
            (job.ctx.progress)(&format!("restarting the gateway: {name} does not come up with its new token"));
            job.agent.stop(&job.agent.gateway()).await?;
            job.agent.start(&job.agent.gateway()).await?;
            watch::until_healthy(&job.agent, job.ctx.progress).await?;
            now = self.wait(job).await?;
        }
        if let Some((name, link)) = self.lost(&now).next() {
            let (agent, why) = (job.agent.names.agent(), say(link));
            return Err(ApplyError::fatal(format!(
                "give {agent} its secrets: {name} worked before and does not now: {why}"
            ))
            .help("store the token its channel gave you last, then apply again"));
        }
        for (name, link) in now.iter().filter(|(_, link)| **link != Link::Works) {
            (job.ctx.progress)(&format!("{WARNING}{name} does not work with its new token either: {}", say(link)));
        }
        Ok(())
    }

    /// Returns those that worked before and do not now.
    fn lost<'a>(&'a self, now: &'a Links) -> impl Iterator<Item = (&'a String, &'a Link)> {
        now.iter().filter(|(name, link)| **link != Link::Works && self.before.get(*name) == Some(&Link::Works))
    }

    /// Asks until all of them work or are refused, or the time is up. Returns how they stand.
    async fn wait(&self, job: &Job<'_>) -> Result<Links, ApplyError> {
        let token = watch::token_in_place(&job.agent).await?;
        let token = token.ok_or_else(|| ApplyError::fatal("find the gateway's token: its secret file is gone"))?;
        let begun = Instant::now();
        let unseen = || Link::Waits("the gateway does not say how it is".to_owned());
        let mut now: Links = self.before.keys().map(|name| (name.clone(), unseen())).collect();
        while begun.elapsed().as_secs() < CHANNEL_SECONDS_MAX {
            if let Some(seen) = links(job, &self.concerns, &token).await {
                now.iter_mut().for_each(|(name, link)| *link = seen.get(name).cloned().unwrap_or_else(unseen));
                if now.values().all(|link| !matches!(link, Link::Waits(_))) {
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(now)
    }
}

fn say(link: &Link) -> String {
    match link {
        Link::Works => "it works".to_owned(),
        Link::Waits(why) => why.clone(),
        Link::Refused(status) => format!("its token is refused: HTTP {status}"),
    }
}

async fn links(job: &Job<'_>, concerns: &BTreeSet<Concern>, token: &SecretString) -> Option<Links> {
    let status = ask(job, token, "channels.status", json!({ "probe": true })).await.ok()?;
    Some(channels::links(&status, concerns))
}

async fn ask(
    job: &Job<'_>,
    token: &SecretString,
    method: &str,
    params: serde_json::Value,
) -> Result<serde_json::Value, AskError> {
    let unreachable = |text: String| AskError::Unreachable(text.into());
    let found = job.agent.own_gateway().await.map_err(|error| unreachable(error.reason))?;
    let port = found.as_ref().and_then(published_port).ok_or_else(|| unreachable("its port is not open".to_owned()))?;
    let stream = job.agent.endpoint.dial(LOOPBACK, port).await;
    let stream = stream.map_err(|error| AskError::Unreachable(Box::new(error)))?;
    gateway::call_with(stream, token, method, params).await
}

/// Returns an error unless the gateway refuses the token it had, if it has another now.
pub async fn old_token_is_refused(job: &Job<'_>, old: &SecretString) -> Result<(), ApplyError> {
    let now = watch::token_in_place(&job.agent).await?;
    let same = now.is_some_and(|now| now.expose_secret() == old.expose_secret());
    if same || old.expose_secret().is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    loop {
        let why = match ask(job, old, "health", json!({})).await {
            Err(AskError::Unauthorized) => return Ok(()),
            Ok(_) => "it still takes it".to_owned(),
            Err(error) => format!("failed to {error}"),
        };
        if begun.elapsed().as_secs() >= REFUSED_SECONDS_MAX {
            let agent = job.agent.names.agent();
            return Err(ApplyError::fatal(format!("see the gateway of {agent} refuse the token it had: {why}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
