//! The simulated clouds for other people's clients: served on a port until somebody stops it.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use claw_sim::hetzner::{Cloud, CloudFaults, Handle, LogLine, LogSink, Options, serve};

use super::sandbox::now_ms;
use crate::commands;
use crate::error::CommandError;
use crate::exit;
use crate::render;

/// How a simulated cloud is served.
pub struct Serving<'a> {
    /// Where, on this machine.
    pub listen: SocketAddr,
    /// What is added to every answer.
    pub latency: Duration,
    /// The seed of what goes wrong, and how often each misfortune strikes, out of 1000.
    pub faults: Option<(u64, u64)>,
    /// How many machines of somebody else's there are from the beginning.
    pub scale: usize,
    /// Where every request is noted; `-` is standard error.
    pub log: Option<&'a Path>,
}

/// Serves a project until ^C.
pub fn run(serving: &Serving<'_>, project: Option<Handle>) -> Result<exit::Exit, CommandError> {
    let handle = project.unwrap_or_else(|| Handle::new(Cloud::new(), now_ms, |_| ()));
    handle
        .with(|cloud, now| cloud.populate(serving.scale, now, |nth| (format!("populated-{nth}"), Default::default())))
        .map_err(|why| CommandError::failed(format!("failed to populate the project: {why}")))?;
    let options = Options {
        latency: serving.latency,
        faults: serving.faults.map(|(seed, permille)| CloudFaults::new(seed, permille)),
        log: serving.log.map(sink).transpose()?,
        ..Options::default()
    };
    let outcome = commands::wait(async {
        let listener = tokio::net::TcpListener::bind(serving.listen).await?;
        render::out(format_args!("Hetzner Cloud API, simulated, at http://{}/v1", listener.local_addr()?));
        render::out("any token opens it; ^C ends it");
        tokio::select! {
            outcome = serve(handle, listener, options) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    outcome.map_err(|error| {
        CommandError::failed(format!("failed to serve at {}: {error}", serving.listen))
            .help("choose another port of 127.0.0.1 with --listen")
    })?;
    Ok(exit::DONE)
}

fn sink(path: &Path) -> Result<LogSink, CommandError> {
    if path == Path::new("-") {
        return Ok(Box::new(|line: &LogLine| render::err(line)));
    }
    let file = File::options().append(true).create(true).open(path);
    let file = file.map_err(|error| CommandError::failed(format!("failed to write {}: {error}", path.display())))?;
    let file = Mutex::new(file);
    Ok(Box::new(move |line: &LogLine| {
        if let Ok(mut file) = file.lock() {
            // a log that cannot be written is no reason to stop serving
            drop(writeln!(file, "{}", render::masked(&line.to_string())));
        }
    }))
}
