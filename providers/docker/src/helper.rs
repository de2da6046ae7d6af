//! One-shot containers: what must be atomic or needs the image's own tools runs in the agent's image, as root, without
//! a network, over the agent's volumes.

use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use claw_core::provider::ApplyError;
use claw_core::text::clean;
use futures_util::StreamExt;
use std::time::Duration;

use crate::agent::Agent;
use crate::convert::helper_body;
use crate::error::failed;

/// How long a script may run, in seconds: copying a large state takes minutes.
const SCRIPT_SECONDS_MAX: u64 = 1800;
/// How much of a script's output is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A script to run.
pub struct Script<'a> {
    /// Which step runs it: part of the container's name.
    pub step: &'a str,
    /// The image it runs in.
    pub image: &'a str,
    /// What `/bin/sh -c` gets.
    pub text: &'a str,
    /// Whether the copy of the state is mounted too.
    pub aside: bool,
}

/// How a script ended.
pub struct Outcome {
    /// Its exit code.
    pub code: i64,
    /// What it printed on both streams.
    pub output: String,
}

impl Outcome {
    /// Returns an error unless the script ended well.
    pub fn ok(self, what: &str) -> Result<Self, ApplyError> {
        if self.code == 0 {
            return Ok(self);
        }
        let text = clean(&self.output, 300);
        let error = ApplyError::fatal(format!("{what}: exit {}: {text}", self.code));
        Err(if text.to_lowercase().contains("no space left") {
            error.help("free disk space on the engine's machine, then apply again")
        } else {
            error
        })
    }
}

/// Runs a script to its end and removes its container, whatever happened.
pub async fn run(agent: &Agent<'_>, script: Script<'_>) -> Result<Outcome, ApplyError> {
    let name = agent.names.helper(script.step);
    agent.remove(&name).await?;
    agent.create(&name, helper_body(&agent.names, script.image, script.text, script.aside)).await?;
    let outcome = run_created(agent, &name).await;
    let removed = agent.remove(&name).await;
    let outcome = outcome?;
    removed.map(|()| outcome)
}

async fn run_created(agent: &Agent<'_>, name: &str) -> Result<Outcome, ApplyError> {
    agent.start(name).await?;
    let wait = async {
        let mut waiting = Box::pin(agent.docker.wait_container(name, None::<WaitContainerOptions>));
        match waiting.next().await {
            Some(Ok(done)) => Ok(done.status_code),
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(failed("wait for a helper", error)),
            None => Err(ApplyError::fatal("wait for a helper: the engine says nothing")),
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(SCRIPT_SECONDS_MAX), wait)
        .await
        .map_err(|_| ApplyError::fatal(format!("run a helper within {SCRIPT_SECONDS_MAX} s")))??;
    Ok(Outcome { code, output: logs(agent, name, "all").await })
}

/// Returns what a container printed last, bounded; nothing if that cannot be had.
pub async fn logs(agent: &Agent<'_>, name: &str, tail: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(tail).build();
    let mut stream = Box::pin(agent.docker.logs(name, Some(options)));
    let mut output = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        output.extend_from_slice(&chunk.into_bytes());
        if output.len() > OUTPUT_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&output).into_owned()
}
