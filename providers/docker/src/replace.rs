//! The gateway's container: made, started, replaced. A replacement that fails is taken back whole: container, state and
//! configuration. What to do next is read from the engine, so that a killed run is finished by the next.
//!
//! While a replacement is under way the container before is called `…previous`, and, when the image changes, a copy of
//! its state lies in the volume `…aside`, marked complete when it is.

use bollard::models::ContainerInspectResponse;
use claw_core::plan::Effect;
use claw_core::provider::{ApplyError, Class};
use claw_core::value::{Fields, Value};
use claw_openclaw::health::Health;
use claw_openclaw::layout;

use crate::convert::{gateway_body, gateway_fields};
use crate::error::failed;
use crate::files::download;
use crate::helper::{Script, run};
use crate::manifest;
use crate::names::Role;
use crate::steps::{Job, config, network, volume};
use crate::watch;

const COPY_ASIDE: &str = "set -eu; rm -rf /claw/aside/copy /claw/aside/complete; mkdir /claw/aside/copy; \
    cp -a /home/node/.openclaw/. /claw/aside/copy/; sync; : >/claw/aside/complete; sync";
const IS_COMPLETE: &str = "test -f /claw/aside/complete";
const COPY_BACK: &str = "set -eu; test -f /claw/aside/complete; \
    find /home/node/.openclaw -mindepth 1 -maxdepth 1 -exec rm -rf {} +; \
    cp -a /claw/aside/copy/. /home/node/.openclaw/; sync";

/// Brings the container to where the step wants it.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    let names = &job.agent.names;
    let (gateway, previous) = (names.of(Role::Gateway), names.of(Role::Previous));
    let Some(after) = job.step.action.after() else {
        job.agent.stop(&gateway).await?;
        for name in [&gateway, &previous] {
            job.agent.remove(name).await?;
        }
        return tidy(job).await;
    };
    let image = job.image().await?;
    let now = job.agent.inspect(&gateway).await?;
    let before = job.agent.inspect(&previous).await?;
    let network = network::settle(&job.agent).await?;
    if let Some(found) = &now {
        job.agent.refuse_foreign(&gateway, found)?;
        if is_as_wanted(&gateway_fields(found), after) && is_attached(job, found, network.as_deref()) {
            return keep(job, found, before.is_some()).await;
        }
    }
    match (&now, &before) {
        (Some(found), None) => set_aside(job, found, &image).await?,
        // a replacement that worked, and was killed before it tidied up: what it has lived through since counts
        (Some(found), Some(_)) if works(job, found).await? => {
            finish(job).await?;
            set_aside(job, found, &image).await?;
        }
        (Some(found), Some(_)) if has_lived(found) => return Err(undecided(job, &image)),
        (_, Some(_)) => {
            // one that did not come up: the container before and its state are what there is to go back to
            job.agent.remove(&gateway).await?;
            if is_complete(job, &image).await? {
                copy_back(job, &image).await?;
            }
        }
        (None, None) => {}
    }
    let outcome = create_and_see(job, after).await;
    match outcome {
        Ok(()) => finish(job).await,
        Err(error) if job.agent.inspect(&previous).await?.is_some() => Err(roll_back(job, error).await),
        Err(error) => Err(ApplyError { changed: true, ..error }),
    }
}

/// Compares what only a new container can change.
fn is_as_wanted(found: &Fields, wanted: &Fields) -> bool {
    let relevant = |fields: &Fields| -> Fields {
        let ignored = ["status", "unfinished"];
        fields
            .iter()
            .filter(|(key, _)| !ignored.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    relevant(found) == relevant(wanted)
}

/// Whether the gateway is up and healthy now.
async fn works(job: &Job<'_>, found: &ContainerInspectResponse) -> Result<bool, ApplyError> {
    if watch::stopped(found).is_some() {
        return Ok(false);
    }
    let token = watch::token_in_place(&job.agent).await?;
    Ok(matches!(watch::health(&job.agent, found, token.as_ref()).await, Health::Healthy { .. }))
}

/// Whether the container can start: it remembers its network's id, and one made in that one's place has another.
fn is_attached(job: &Job<'_>, found: &ContainerInspectResponse, network: Option<&str>) -> bool {
    let settings = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let own = settings.and_then(|networks| networks.get(&job.agent.names.of(Role::Network)));
    let id = own.and_then(|own| own.network_id.as_deref()).filter(|id| !id.is_empty());
    id.is_none_or(|id| Some(id) == network)
}

/// The container is the right one: have it run, and finish what was begun.
async fn keep(job: &Job<'_>, found: &ContainerInspectResponse, replacing: bool) -> Result<(), ApplyError> {
    let name = job.agent.gateway();
    let runs = watch::stopped(found).is_none();
    if runs && job.step.effect >= Effect::Restart && !is_starting(job) {
        (job.ctx.progress)("restarting the gateway");
        job.agent.stop(&name).await?;
        job.agent.start(&name).await?;
    } else if !runs {
        job.agent.stop(&name).await?; // ends a crash loop
        job.agent.start(&name).await?;
    }
    match watch::until_healthy(&job.agent, job.ctx.progress).await {
        Ok(()) => finish(job).await,
        Err(error) if replacing && !has_lived(found) => Err(roll_back(job, error).await),
        Err(error) => Err(error),
    }
}

/// Whether a gateway is older than any trial: then what it wrote since is not for claw to throw away.
fn has_lived(found: &ContainerInspectResponse) -> bool {
    let created = found.created.as_deref().and_then(|date| date.parse::<jiff::Timestamp>().ok());
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    created.is_none_or(|created| now.as_second() - created.as_second() > 2 * watch::HEALTHY_SECONDS_MAX as i64)
}

/// An interrupted replacement that ran for a while and is not healthy now: only a person knows which state counts.
fn undecided(job: &Job<'_>, image: &str) -> ApplyError {
    let (gateway, previous) = (job.agent.gateway(), job.agent.names.of(Role::Previous));
    ApplyError::fatal(format!(
        "replace {} by {image}: an earlier replacement was interrupted, its gateway ran since and is not healthy",
        job.agent.names.agent()
    ))
    .help(format!("`docker rm {previous}` keeps the newer state; `docker rm -f {gateway}` goes back to the state before; then apply again"))
}

/// Whether the plan saw it starting: then waiting is enough.
fn is_starting(job: &Job<'_>) -> bool {
    let status = job.step.action.changes().iter().find(|change| change.path == "status");
    status
        .and_then(|change| change.before.as_ref())
        .and_then(Value::as_text)
        .is_some_and(|text| text.starts_with("starting"))
}

async fn set_aside(job: &Job<'_>, found: &ContainerInspectResponse, image: &str) -> Result<(), ApplyError> {
    let gateway = job.agent.gateway();
    (job.ctx.progress)("stopping the gateway");
    job.agent.stop(&gateway).await?;
    let old = gateway_fields(found).get("image").and_then(Value::as_text).unwrap_or_default().to_owned();
    if old == image {
        volume::remove(&job.agent, Role::Aside).await?; // of a run that was killed: the state may have moved on since
    } else {
        (job.ctx.progress)("copying its state aside");
        if let Err(mut error) = copy_aside(job, image).await {
            restore_config(job, &old).await?;
            error.rolled_back = true;
            error.class = Class::Fatal;
            job.agent.start(&gateway).await?;
            volume::remove(&job.agent, Role::Aside).await?;
            return Err(error);
        }
    }
    let options = bollard::query_parameters::RenameContainerOptionsBuilder::default();
    let previous = job.agent.names.of(Role::Previous);
    let renamed = job.agent.docker.rename_container(&gateway, options.name(&previous).build()).await;
    renamed.map_err(|error| failed(&format!("rename {gateway}"), error))
}

async fn copy_aside(job: &Job<'_>, image: &str) -> Result<(), ApplyError> {
    volume::ensure(&job.agent, Role::Aside).await?;
    let script = Script { step: "aside", image, text: COPY_ASIDE, aside: true };
    run(&job.agent, script).await?.ok("copy the state aside").map(|_| ())
}

/// Whether a whole copy of the state lies aside.
async fn is_complete(job: &Job<'_>, image: &str) -> Result<bool, ApplyError> {
    if !volume::exists(&job.agent, Role::Aside).await? {
        return Ok(false);
    }
    let script = Script { step: "aside", image, text: IS_COMPLETE, aside: true };
    Ok(run(&job.agent, script).await?.code == 0)
}

async fn copy_back(job: &Job<'_>, image: &str) -> Result<(), ApplyError> {
    (job.ctx.progress)("putting its state back");
    let script = Script { step: "aside", image, text: COPY_BACK, aside: true };
    run(&job.agent, script).await?.ok("put the state back").map(|_| ())
}

async fn create_and_see(job: &Job<'_>, after: &Fields) -> Result<(), ApplyError> {
    let gateway = job.agent.gateway();
    job.agent.create(&gateway, gateway_body(&job.agent.names, after)).await?;
    (job.ctx.progress)("starting the gateway");
    job.agent.start(&gateway).await?;
    watch::until_healthy(&job.agent, job.ctx.progress).await
}

/// Puts container, state and configuration back. Returns the error that led here, with how that went.
async fn roll_back(job: &Job<'_>, mut error: ApplyError) -> ApplyError {
    (job.ctx.progress)("going back to the container before");
    match try_roll_back(job).await {
        Ok(()) => {
            error.rolled_back = true;
            error.class = Class::Fatal; // what was undone is not tried again
            error
        }
        Err(second) => ApplyError {
            changed: true,
            ..ApplyError::fatal(format!("{}; and going back failed: {}", error.reason, second.reason)).help(
                "apply again: the container before and its state are still there, and claw goes on from what it finds",
            )
        },
    }
}

async fn try_roll_back(job: &Job<'_>) -> Result<(), ApplyError> {
    let names = &job.agent.names;
    let (gateway, previous) = (names.of(Role::Gateway), names.of(Role::Previous));
    let Some(found) = job.agent.inspect(&previous).await? else { return Ok(()) };
    let old = gateway_fields(&found).get("image").and_then(Value::as_text).unwrap_or_default().to_owned();
    job.agent.stop(&gateway).await?;
    job.agent.remove(&gateway).await?;
    if is_complete(job, &old).await? {
        copy_back(job, &old).await?;
    }
    restore_config(job, &old).await?;
    let options = bollard::query_parameters::RenameContainerOptionsBuilder::default();
    let renamed = job.agent.docker.rename_container(&previous, options.name(&gateway).build()).await;
    renamed.map_err(|error| failed(&format!("rename {previous}"), error))?;
    job.agent.start(&gateway).await?;
    watch::until_healthy(&job.agent, job.ctx.progress).await?;
    tidy(job).await
}

/// Puts the configuration back that the container before ran with, if it was changed for the new one.
async fn restore_config(job: &Job<'_>, image: &str) -> Result<(), ApplyError> {
    let contents = download(&job.agent, layout::CONFIG).await?.unwrap_or_default();
    if manifest::find(&contents, "config").is_some_and(|manifest| manifest.kept) {
        config::restore(&job.agent, image).await?;
    }
    Ok(())
}

/// The container is proven: what there was to go back to goes.
async fn finish(job: &Job<'_>) -> Result<(), ApplyError> {
    config::settle(&job.agent).await?;
    job.agent.remove(&job.agent.names.of(Role::Previous)).await?;
    tidy(job).await
}

/// Removes what a finished replacement leaves behind.
async fn tidy(job: &Job<'_>) -> Result<(), ApplyError> {
    for step in ["aside", "config", "secrets", "workspace"] {
        job.agent.remove(&job.agent.names.helper(step)).await?;
    }
    volume::remove(&job.agent, Role::Aside).await
}
