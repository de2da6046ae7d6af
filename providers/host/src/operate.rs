//! Daily work with a host over its connection. What is about an agent is its engine's business.

use std::io;
use std::time::{Duration, Instant};

use claw_core::operate::{
    Channel, Command, Ended, Input, Layer, LogQuery, Operate, OperateError, Operated, Pipe, Power, Target,
};
use claw_core::provider::BoxFuture;
use claw_core::ssh::PublicKey;
use claw_core::text::chain;
use claw_net::ssh::{Connection, Patience, Process, ProcessEvent, ProcessInput, Pty, SshError, Status};

use crate::provider::HostProvider;
use crate::script::quote;

/// How long a layer of health may take, in seconds.
const LAYER_SECONDS_MAX: u64 = 20;

fn told(what: &str, error: &SshError) -> OperateError {
    OperateError { reason: format!("{what}: failed to {}", chain(error)), help: error.help() }
}

impl HostProvider {
    /// Returns who does what is asked of an agent.
    fn engine(&self) -> Result<&dyn Operate, OperateError> {
        self.engine.operate().ok_or_else(|| OperateError::new(format!("do that on {}: its engine cannot", self.place)))
    }

    /// A person waits: a host that does not answer is told soon.
    fn quick(&self) -> Connection {
        self.login.connection.with_patience(Patience::QUICK)
    }

    async fn run(&self, line: Option<&str>, command: &Command, pipe: &dyn Pipe) -> Result<Ended, OperateError> {
        let what = format!("run a command on {}", self.place);
        let pty = command.terminal.as_ref().map(|terminal| Pty {
            term: terminal.kind.clone(),
            columns: terminal.size.columns.into(),
            rows: terminal.size.rows.into(),
        });
        let process = self.quick().process(line, pty, &[]).await.map_err(|error| told(&what, &error))?;
        let near = |error: io::Error| OperateError::new(format!("{what}: {error}"));
        pipe.started().map_err(near)?;
        match carry(process, pipe).await.map_err(near)? {
            Status::Code(code) => Ok(Ended::Code(code)),
            Status::Signal(name) => Ok(Ended::Signal(name)),
            Status::Lost => Err(OperateError::new(format!("{what}: the connection broke"))
                .help("whether the command goes on there is not known")),
        }
    }

    async fn tar(&self, line: &str, pipe: &dyn Pipe) -> Result<(), OperateError> {
        let heard = Heard { pipe, errors: std::sync::Mutex::default() };
        match self.run(Some(line), &Command::default(), &heard).await? {
            Ended::Code(0) => Ok(()),
            _ => {
                let errors = heard.errors.into_inner().unwrap_or_default();
                let text = claw_core::text::clean(&String::from_utf8_lossy(&errors), 300);
                Err(OperateError::new(format!("carry files to or from {}: {text}", self.place)))
            }
        }
    }

    async fn layers(&self) -> Vec<Layer> {
        let connection = layer("connection", async {
            let took = self.quick().ping().await.map_err(|error| told("connect", &error))?;
            let report = self.login.connection.report();
            let key = report.key_fingerprint.unwrap_or_default();
            Ok(format!("{}, round trip {} ms, logged in with {key}", self.label(), took.as_millis()))
        });
        let mut layers = vec![connection.await];
        if layers[0].outcome.is_ok() {
            layers.push(layer("command", self.commands_run()).await);
        }
        layers
    }

    async fn commands_run(&self) -> Result<String, OperateError> {
        let facts = self.machine().facts_soon().await;
        let facts = facts.map_err(|error| OperateError { reason: error.reason, help: error.help })?;
        let engine = match (facts.engine_installed, facts.engine_running) {
            (true, true) => "the engine runs",
            (true, false) => "the engine is stopped",
            (false, _) => "there is no engine",
        };
        Ok(format!("{}, {} MiB free on /, {engine}", facts.system, facts.disk_mib))
    }
}

async fn layer<F>(name: &'static str, look: F) -> Layer
where
    F: Future<Output = Result<String, OperateError>>,
{
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(Duration::from_secs(LAYER_SECONDS_MAX), look).await {
        Ok(outcome) => outcome.map_err(|error| match error.help {
            Some(help) => format!("{}; {help}", error.reason),
            None => error.reason,
        }),
        Err(_) => Err(format!("no answer within {LAYER_SECONDS_MAX} s")),
    };
    Layer { name, outcome, took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

/// Carries bytes both ways until the process is over, both at once: a process that says much while it is fed must not wait
/// for us, nor we for it.
async fn carry(mut process: Process, pipe: &dyn Pipe) -> Result<Status, io::Error> {
    let input = process.input();
    let mut up = std::pin::pin!(async {
        while pass(&input, pipe.read().await).await {}
        std::future::pending::<std::convert::Infallible>().await
    });
    loop {
        let event = tokio::select! {
            event = process.next() => event,
            never = &mut up => match never {},
        };
        match event {
            Some(ProcessEvent::Stdout(bytes)) => pipe.write(Channel::Out, &bytes).await?,
            Some(ProcessEvent::Stderr(bytes)) => pipe.write(Channel::Err, &bytes).await?,
            Some(ProcessEvent::Exit(status)) => return Ok(status),
            None => return Ok(Status::Lost),
        }
    }
}

/// Passes input on, and returns whether more may come. A process that closed its input goes on without it.
async fn pass(input: &ProcessInput, given: Input) -> bool {
    match given {
        Input::Bytes(bytes) => input.write(&bytes).await.is_ok(),
        Input::Resize(size) => input.resize(size.columns.into(), size.rows.into()).await.is_ok(),
        Input::End => {
            let _ = input.end().await;
            false
        }
    }
}

/// A near side that keeps what the far side complains about.
struct Heard<'a> {
    pipe: &'a dyn Pipe,
    errors: std::sync::Mutex<Vec<u8>>,
}

impl Pipe for Heard<'_> {
    fn read(&self) -> BoxFuture<'_, Input> {
        self.pipe.read()
    }

    fn write<'a>(&'a self, channel: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        match (channel, self.errors.lock()) {
            (Channel::Err, Ok(mut errors)) => {
                let room = 4096_usize.saturating_sub(errors.len());
                errors.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Box::pin(async { Ok(()) })
            }
            _ => self.pipe.write(channel, bytes),
        }
    }
}

impl Operate for HostProvider {
    fn exec<'a>(&'a self, target: &'a Target, command: &'a Command, pipe: &'a dyn Pipe) -> Operated<'a, Ended> {
        Box::pin(async move {
            if *target != Target::Host {
                return self.engine()?.exec(target, command, pipe).await;
            }
            let word = |word: &String| if command.shell { word.clone() } else { quote(word) };
            let line = command.words.iter().map(word).collect::<Vec<_>>().join(" ");
            self.run((!line.is_empty()).then_some(line.as_str()), command, pipe).await
        })
    }

    fn logs<'a>(&'a self, agent: &'a str, query: &'a LogQuery, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.engine()?.logs(agent, query, pipe).await })
    }

    fn connect<'a>(&'a self, agent: &'a str, port: u16, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.engine()?.connect(agent, port, pipe).await })
    }

    fn pull<'a>(&'a self, target: &'a Target, path: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move {
            if *target != Target::Host {
                return self.engine()?.pull(target, path, pipe).await;
            }
            let (folder, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or((".", path));
            let folder = if folder.is_empty() { "/" } else { folder };
            self.tar(&format!("tar -cf - -C {} -- {}", quote(folder), quote(name)), pipe).await
        })
    }

    fn push<'a>(&'a self, target: &'a Target, folder: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move {
            if *target != Target::Host {
                return self.engine()?.push(target, folder, pipe).await;
            }
            let folder = quote(folder);
            self.tar(&format!("mkdir -p -- {folder} && tar -xf - --no-same-owner -C {folder}"), pipe).await
        })
    }

    fn chat<'a>(&'a self, agent: &'a str, talk: &'a str, message: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.engine()?.chat(agent, talk, message, pipe).await })
    }

    fn power<'a>(&'a self, agent: &'a str, power: Power) -> Operated<'a, ()> {
        Box::pin(async move { self.engine()?.power(agent, power).await })
    }

    fn health<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Vec<Layer>> {
        Box::pin(async move {
            match (target, self.engine.operate()) {
                (Target::Agent(_), Some(engine)) => {
                    let connection = layer("connection", async {
                        self.quick().open().await.map_err(|error| told("connect", &error))?;
                        Ok(self.label())
                    });
                    let connection = connection.await;
                    if connection.outcome.is_err() { vec![connection] } else { engine.health(target).await }
                }
                _ => self.layers().await,
            }
        })
    }

    fn owner(&self, target: &Target) -> u64 {
        match (target, self.engine.operate()) {
            (Target::Agent(_), Some(engine)) => engine.owner(target),
            _ => 0,
        }
    }

    fn prove<'a>(&'a self, key: &'a PublicKey) -> Operated<'a, ()> {
        Box::pin(async move {
            let what = format!("prove {} at {}", key.fingerprint(), self.place);
            let held = self.login.control.get(key).cloned().ok_or_else(|| {
                OperateError::new(format!("{what}: its private half is not at hand"))
                    .help("use an identity that opens secrets/claw.toml")
            })?;
            let fresh = self.machine().fresh(Some(&[held]), None).await;
            fresh.map_err(|error| told(&what, &error))?.close().await;
            Ok(())
        })
    }

    fn new_host_key(&self) -> Operated<'_, PublicKey> {
        Box::pin(async move {
            let made = self.next_host_key().await;
            made.map_err(|error| OperateError { reason: error.reason, help: error.help })
        })
    }

    fn label(&self) -> String {
        let target = self.login.connection.target();
        format!("{}@{}", target.user, target.place())
    }
}
