//! Runs a program inside the agent's own container. What must not be seen travels over standard input: arguments and
//! environment can be read by others.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use claw_core::provider::ApplyError;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::agent::Agent;
use crate::error::failed;

/// How much of what a program prints is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A program and what it is told.
pub struct Program<'a> {
    /// What it is run for; reads after "failed to".
    pub what: &'a str,
    /// Its arguments.
    pub command: Vec<&'a str>,
    /// What it reads.
    pub input: &'a [u8],
    /// How long it may take, in seconds.
    pub seconds: u64,
}

/// How a program ended.
pub struct Ended {
    /// Its exit code.
    pub code: Option<i64>,
    /// What it printed on both streams.
    pub output: String,
}

/// Runs a program to its end.
pub async fn run(agent: &Agent<'_>, program: Program<'_>) -> Result<Ended, ApplyError> {
    let (what, seconds) = (program.what, program.seconds);
    let limit = Duration::from_secs(seconds);
    let running = tokio::time::timeout(limit, exchange(agent, &program)).await;
    let (id, output) = running.map_err(|_| ApplyError::fatal(format!("{what} within {seconds} s")))??;
    let ended = agent.docker.inspect_exec(&id).await.map_err(|error| failed(what, error))?;
    Ok(Ended { code: ended.exit_code, output })
}

async fn exchange(agent: &Agent<'_>, program: &Program<'_>) -> Result<(String, String), ApplyError> {
    let what = program.what;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(program.command.clone()),
        ..CreateExecOptions::default()
    };
    let exec = agent.docker.create_exec(&agent.gateway(), options).await;
    let exec = exec.map_err(|error| failed(what, error))?;
    let started = agent.docker.start_exec(&exec.id, None::<StartExecOptions>).await;
    let StartExecResults::Attached { mut output, mut input } = started.map_err(|error| failed(what, error))? else {
        return Err(ApplyError::fatal(format!("{what}: the engine did not attach")));
    };
    let sent = async {
        input.write_all(program.input).await?;
        input.flush().await?;
        input.shutdown().await
    };
    sent.await.map_err(|error| ApplyError::fatal(format!("{what}: {error}")))?;
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = output.next().await {
        let room = OUTPUT_BYTES_MAX - bytes.len();
        let chunk = chunk.into_bytes();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok((exec.id, String::from_utf8_lossy(&bytes).into_owned()))
}
