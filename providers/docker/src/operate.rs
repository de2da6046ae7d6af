//! Daily work with agents on an engine: commands, logs, ports, files, talk. The engine's API only, so it is the same for
//! every engine.

use std::time::{Duration, Instant};

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, LogsOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use claw_core::operate::{
    Channel, Command, Ended, Input, Layer, LogQuery, Operate, OperateError, Operated, Pipe, Power, Target,
};
use claw_core::provider::{ApplyError, BoxFuture};
use claw_core::text::{chain, clean};
use claw_openclaw::health::Health;
use claw_openclaw::{chat, layout};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agent::Agent;
use crate::convert::published_port;
use crate::endpoint::LOOPBACK;
use crate::error::failed;
use crate::files::{Entry, upload};
use crate::names::{Names, Role};
use crate::provider::DockerProvider;
use crate::watch;

/// How many bytes travel at once.
const PIECE_BYTES: usize = 32 * 1024;
/// How long a layer of health may take, in seconds.
const LAYER_SECONDS_MAX: u64 = 20;
/// Finds the best shell there is.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash -l; fi; exec sh -l";

impl DockerProvider {
    async fn with_agent<T>(
        &self,
        id: &str,
        work: impl AsyncFnOnce(&Agent<'_>) -> Result<T, OperateError>,
    ) -> Result<T, OperateError> {
        let docker = self.docker().map_err(|error| told(failed("reach the engine", error)))?;
        let names = Names::new(self.fleet(), id);
        work(&Agent { docker: &docker, endpoint: self.endpoint(), fleet: self.fleet(), names }).await
    }
}

fn told(error: ApplyError) -> OperateError {
    OperateError { reason: error.reason, help: error.help }
}

/// Only agents are on an engine; the machine itself is another provider's.
fn agent_of(target: &Target) -> Result<&str, OperateError> {
    match target {
        Target::Agent(id) => Ok(id),
        Target::Host => Err(OperateError::new("do that: this is an engine, and no host claw logs in to")
            .help("name an agent; machines with SSH are [hosts.NAME] with on = \"ssh\"")),
    }
}

async fn gateway(agent: &Agent<'_>) -> Result<ContainerInspectResponse, OperateError> {
    agent.own_gateway().await.map_err(told)?.ok_or_else(|| {
        OperateError::new(format!("find the gateway of {}: it is not there", agent.names.agent()))
            .help("`claw apply` makes it")
    })
}

/// Returns the gateway while it runs.
async fn running(agent: &Agent<'_>) -> Result<ContainerInspectResponse, OperateError> {
    let found = gateway(agent).await?;
    match watch::stopped(&found) {
        None => Ok(found),
        Some(word) => {
            let id = agent.names.agent();
            Err(OperateError::new(format!("use {id}: it is {word}")).help(format!("`claw start {id}` starts it")))
        }
    }
}

async fn exec(agent: &Agent<'_>, command: &Command, pipe: &dyn Pipe) -> Result<Ended, OperateError> {
    running(agent).await?;
    let what = format!("run a command in {}", agent.names.agent());
    let shell = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    let words = match (command.words.is_empty(), command.shell) {
        (true, _) => shell(SHELL),
        (false, true) => shell(&command.words.join(" ")),
        (false, false) => command.words.clone(),
    };
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(command.terminal.is_some()),
        env: command.terminal.as_ref().map(|terminal| vec![format!("TERM={}", terminal.kind)]),
        cmd: Some(words),
        ..CreateExecOptions::default()
    };
    let exec = agent.docker.create_exec(&agent.gateway(), options).await;
    let exec = exec.map_err(|error| told(failed(&what, error)))?;
    let options = StartExecOptions { tty: command.terminal.is_some(), ..StartExecOptions::default() };
    let started = agent.docker.start_exec(&exec.id, Some(options)).await;
    let StartExecResults::Attached { mut output, mut input } = started.map_err(|error| told(failed(&what, error)))?
    else {
        return Err(OperateError::new(format!("{what}: the engine did not attach")));
    };
    pipe.started().map_err(|error| near(&what, &error))?;
    let resize = |size: claw_core::operate::Size| ResizeExecOptions { height: size.rows, width: size.columns };
    if let Some(terminal) = &command.terminal {
        // the first size is a courtesy: a command that ended already has none
        let _ = agent.docker.resize_exec(&exec.id, resize(terminal.size)).await;
    }
    // both ways at once: a command that says much while it is fed must not wait for us, nor we for it
    let mut up = std::pin::pin!(async {
        loop {
            match pipe.read().await {
                Input::Bytes(bytes) => {
                    // a command that closed its input goes on without it
                    if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
                        break;
                    }
                }
                Input::Resize(size) => {
                    let _ = agent.docker.resize_exec(&exec.id, resize(size)).await;
                }
                Input::End => {
                    let _ = input.shutdown().await;
                    break;
                }
            }
        }
        std::future::pending::<std::convert::Infallible>().await
    });
    let broken = loop {
        let piece = tokio::select! {
            piece = output.next() => piece,
            never = &mut up => match never {},
        };
        match piece {
            Some(Ok(piece)) => {
                use bollard::container::LogOutput::StdErr;
                let channel = if matches!(piece, StdErr { .. }) { Channel::Err } else { Channel::Out };
                let bytes = piece.into_bytes();
                pipe.write(channel, &bytes).await.map_err(|error| near(&what, &error))?;
            }
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    let ended = agent.docker.inspect_exec(&exec.id).await.map_err(|error| told(failed(&what, error)))?;
    match (broken, ended.exit_code) {
        // the engine resets the connection of a command that ended before it read all it was given
        (Some(error), code) if !is_reset(&error) || code.is_none() => Err(told(failed(&what, error))),
        (_, code) => Ok(Ended::Code(u32::try_from(code.unwrap_or_default()).unwrap_or(255))),
    }
}

fn is_reset(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::IOError { err } if err.kind() == std::io::ErrorKind::ConnectionReset)
}

fn near(what: &str, error: &std::io::Error) -> OperateError {
    OperateError::new(format!("{what}: the output cannot be written: {error}"))
}

async fn logs(agent: &Agent<'_>, query: &LogQuery, pipe: &dyn Pipe) -> Result<(), OperateError> {
    gateway(agent).await?;
    let what = format!("read the log of {}", agent.names.agent());
    let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let mut options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(query.follow)
        .timestamps(query.timestamps)
        .tail(&tail);
    if let Some(since) = query.since_s {
        options = options.since(i32::try_from(since).unwrap_or(i32::MAX));
    }
    let mut stream = Box::pin(agent.docker.logs(&agent.gateway(), Some(options.build())));
    while let Some(piece) = stream.next().await {
        let bytes = piece.map_err(|error| told(failed(&what, error)))?.into_bytes();
        pipe.write(Channel::Out, &bytes).await.map_err(|error| near(&what, &error))?;
    }
    Ok(())
}

async fn dial(agent: &Agent<'_>, port: u16) -> Result<Box<dyn claw_openclaw::gateway::Stream>, OperateError> {
    let found = running(agent).await?;
    let id = agent.names.agent();
    let (host, port) = match port {
        0 | layout::GATEWAY_PORT => (LOOPBACK.to_owned(), published_port(&found)),
        port => {
            let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            let address = networks.get(&agent.names.of(Role::Network)).and_then(|network| network.ip_address.clone());
            (address.unwrap_or_default(), Some(port))
        }
    };
    let port = port.ok_or_else(|| OperateError::new(format!("find the port of {id}: it is not open yet")))?;
    let stream = agent.endpoint.dial(&host, port).await;
    stream.map_err(|error| OperateError::new(format!("reach port {port} of {id}: {}", clean(&chain(&error), 300))))
}

async fn connect(agent: &Agent<'_>, port: u16, pipe: &dyn Pipe) -> Result<(), OperateError> {
    let (mut far_out, mut far_in) = tokio::io::split(dial(agent, port).await?);
    let what = format!("carry bytes to {}", agent.names.agent());
    let broken = |error: std::io::Error| OperateError::new(format!("{what}: {error}"));
    let down = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match far_out.read(&mut piece).await.map_err(broken)? {
                0 => return Ok(()),
                length => pipe.write(Channel::Out, &piece[..length]).await.map_err(broken)?,
            }
        }
    };
    let up = async {
        loop {
            match pipe.read().await {
                Input::Bytes(bytes) => far_in.write_all(&bytes).await.map_err(broken)?,
                Input::Resize(_) => {}
                Input::End => {
                    let _ = far_in.shutdown().await;
                    // what is still on its way down is waited for
                    return std::future::pending::<Result<(), OperateError>>().await;
                }
            }
        }
    };
    tokio::select! { ended = down => ended, ended = up => ended }
}

/// Returns a path below the agent's own folder. A relative one is in its workspace.
fn own_path(path: &str) -> Result<String, OperateError> {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/workspace/{path}", layout::STATE) };
    let whole = whole.trim_end_matches("/.").trim_end_matches('/').to_owned();
    let inside = whole == layout::STATE || whole.strip_prefix(layout::STATE).is_some_and(|rest| rest.starts_with('/'));
    if inside && whole.split('/').all(|part| part != "..") {
        return Ok(whole);
    }
    Err(OperateError::new(format!("use {path}: it is not one of the agent's own files"))
        .help(format!("they lie below {}; a relative path is in the workspace", layout::STATE)))
}

async fn pull(agent: &Agent<'_>, path: &str, pipe: &dyn Pipe) -> Result<(), OperateError> {
    let (path, anchor) = (own_path(path)?, agent.names.of(Role::Anchor));
    let what = format!("read {path} of {}", agent.names.agent());
    refuse_linked_folders(agent, &what, &path).await?;
    let options = DownloadFromContainerOptionsBuilder::default().path(&path).build();
    let mut stream = Box::pin(agent.docker.download_from_container(&anchor, Some(options)));
    while let Some(piece) = stream.next().await {
        let bytes = piece.map_err(|error| told(failed(&what, error)))?;
        pipe.write(Channel::Out, &bytes).await.map_err(|error| near(&what, &error))?;
    }
    Ok(())
}

/// Refuses a path that leads through a link: the engine would follow it, out of the agent's own folder if it likes.
async fn refuse_linked_folders(agent: &Agent<'_>, what: &str, path: &str) -> Result<(), OperateError> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > layout::STATE.len());
    for folder in ends.map(|at| &path[..at]) {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(folder).build();
        let seen = agent.docker.get_container_archive_info(&agent.names.of(Role::Anchor), Some(options)).await;
        let seen = seen.map_err(|error| told(failed(what, error)))?;
        if !seen.link_target.is_empty() {
            return Err(OperateError::new(format!("{what}: {folder} is a link"))
                .help("links of an agent are not followed; name the place it leads to"));
        }
    }
    Ok(())
}

async fn push(agent: &Agent<'_>, folder: &str, pipe: &dyn Pipe) -> Result<(), OperateError> {
    let (folder, anchor) = (own_path(folder)?, agent.names.of(Role::Anchor));
    let what = format!("write to {folder} of {}", agent.names.agent());
    // a folder that is not there yet is the agent's, like what comes into it
    let below = folder.strip_prefix(layout::STATE).unwrap_or_default().trim_matches('/');
    let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    let folders: Vec<String> = (1..=parts.len()).map(|count| format!("{}/", parts[..count].join("/"))).collect();
    let entries: Vec<Entry<'_>> =
        folders.iter().map(|path| Entry { path, content: b"", mode: 0o755, uid: layout::UID }).collect();
    if !entries.is_empty() {
        upload(agent, layout::STATE, &entries).await.map_err(told)?;
    }
    // the body outlives this borrow of the pipe, so the pieces go through a channel of one
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<hyper::body::Bytes, std::io::Error>>(1);
    let feed = async {
        while let Input::Bytes(bytes) = pipe.read().await {
            if sender.send(Ok(bytes.into())).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let options = UploadToContainerOptionsBuilder::default().path(&folder).no_overwrite_dir_non_dir("1").build();
    let upload = agent.docker.upload_to_container(&anchor, Some(options), bollard::body_try_stream(pieces(receiver)));
    let (uploaded, ()) = tokio::join!(upload, feed);
    uploaded.map_err(|error| told(failed(&what, error)))
}

fn pieces<T: Send + 'static>(receiver: tokio::sync::mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

async fn talk(agent: &Agent<'_>, conversation: &str, message: &str, pipe: &dyn Pipe) -> Result<(), OperateError> {
    let token = watch::token_in_place(agent).await.map_err(told)?;
    let token = token.ok_or_else(|| {
        OperateError::new(format!("find the gateway token of {}", agent.names.agent()))
            .help("`claw apply` puts it there")
    })?;
    let stream = dial(agent, 0).await?;
    let outcome = chat::chat(stream, &token, conversation, message, pipe).await;
    outcome.map_err(|error| OperateError::new(format!("talk to {}: failed to {error}", agent.names.agent())))
}

async fn power(agent: &Agent<'_>, power: Power) -> Result<(), OperateError> {
    gateway(agent).await?;
    let name = agent.gateway();
    if power != Power::Start {
        agent.stop(&name).await.map_err(told)?;
    }
    if power != Power::Stop {
        agent.start(&name).await.map_err(told)?;
        watch::until_healthy(agent, &|_| {}).await.map_err(told)?;
    }
    Ok(())
}

async fn layer<F>(name: &'static str, look: F) -> Layer
where
    F: Future<Output = Result<String, String>>,
{
    let begun = Instant::now();
    let outcome = tokio::time::timeout(Duration::from_secs(LAYER_SECONDS_MAX), look).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {LAYER_SECONDS_MAX} s")));
    Layer { name, outcome, took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

async fn health(agent: &Agent<'_>) -> Vec<Layer> {
    let connection = layer("connection", async {
        let version = agent.docker.version().await.map_err(|error| failed("reach the engine", error).reason)?;
        Ok(format!("engine {} at {}", version.version.unwrap_or_default(), agent.endpoint.label()))
    });
    let mut layers = vec![connection.await];
    if layers[0].outcome.is_err() {
        return layers;
    }
    let silent = Silent;
    let command = Command { words: vec!["true".to_owned()], ..Command::default() };
    layers.push(
        layer("command", async {
            match exec(agent, &command, &silent).await {
                Ok(Ended::Code(0)) => Ok("commands run".to_owned()),
                Ok(ended) => Err(format!("`true` exits {}", ended.code())),
                Err(error) => Err(error.reason),
            }
        })
        .await,
    );
    if layers[1].outcome.is_ok() {
        layers.push(layer("gateway", gateway_health(agent)).await);
    }
    layers
}

async fn gateway_health(agent: &Agent<'_>) -> Result<String, String> {
    let found = gateway(agent).await.map_err(|error| error.reason)?;
    let token = watch::token_in_place(agent).await.map_err(|error| error.reason)?;
    match watch::health(agent, &found, token.as_ref()).await {
        Health::Healthy { version } => Ok(format!("healthy, OpenClaw {}", version.unwrap_or_default())),
        Health::Starting(why) => Err(format!("starting: {why}")),
        Health::Unhealthy(why) => Err(why),
    }
}

/// A near side that says nothing and hears nothing.
struct Silent;

impl Pipe for Silent {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async { Input::End })
    }

    fn write<'a>(&'a self, _: Channel, _: &'a [u8]) -> BoxFuture<'a, std::io::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl Operate for DockerProvider {
    fn exec<'a>(&'a self, target: &'a Target, command: &'a Command, pipe: &'a dyn Pipe) -> Operated<'a, Ended> {
        Box::pin(
            async move { self.with_agent(agent_of(target)?, async |agent| exec(agent, command, pipe).await).await },
        )
    }

    fn logs<'a>(&'a self, id: &'a str, query: &'a LogQuery, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(id, async |agent| logs(agent, query, pipe).await).await })
    }

    fn connect<'a>(&'a self, id: &'a str, port: u16, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(id, async |agent| connect(agent, port, pipe).await).await })
    }

    fn pull<'a>(&'a self, target: &'a Target, path: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(agent_of(target)?, async |agent| pull(agent, path, pipe).await).await })
    }

    fn push<'a>(&'a self, target: &'a Target, folder: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(agent_of(target)?, async |agent| push(agent, folder, pipe).await).await })
    }

    fn chat<'a>(&'a self, id: &'a str, talk_id: &'a str, message: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(id, async |agent| talk(agent, talk_id, message, pipe).await).await })
    }

    fn power<'a>(&'a self, id: &'a str, wanted: Power) -> Operated<'a, ()> {
        Box::pin(async move { self.with_agent(id, async |agent| power(agent, wanted).await).await })
    }

    fn health<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Vec<Layer>> {
        Box::pin(async move {
            let looked = match agent_of(target) {
                Ok(id) => self.with_agent(id, async |agent| Ok(health(agent).await)).await,
                Err(error) => Err(error),
            };
            looked.unwrap_or_else(|error| vec![Layer { name: "connection", outcome: Err(error.reason), took_ms: 0 }])
        })
    }

    fn owner(&self, _: &Target) -> u64 {
        layout::UID
    }

    fn label(&self) -> String {
        self.endpoint().label()
    }
}
