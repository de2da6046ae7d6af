//! What engines say when they refuse, in our words: what happened, whether it passes, and what to do.

use bollard::errors::Error as Engine;
use claw_core::provider::{ApplyError, Class};
use claw_core::text::clean;

use crate::over_ssh::SILENT;

/// Returns an engine's error as a step's. `what` reads after "failed to".
pub fn failed(what: &str, error: Engine) -> ApplyError {
    let (class, text, help) = explain(&error);
    let error = ApplyError::new(class, format!("{what}: {text}"));
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Whether the engine has no such object.
pub fn is_missing(error: &Engine) -> bool {
    status(error) == Some(404)
}

/// Whether the object is there already, or being removed already.
pub fn is_conflict(error: &Engine) -> bool {
    status(error) == Some(409)
}

/// Whether a network still has running containers.
pub fn is_in_use(error: &Engine) -> bool {
    status(error) == Some(403)
}

fn status(error: &Engine) -> Option<u16> {
    match error {
        Engine::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Returns class, text and help for an engine's error.
pub fn explain(error: &Engine) -> (Class, String, Option<&'static str>) {
    let text = clean(&chain(error), 300);
    let lower = text.to_lowercase();
    let unreachable: [(&str, Class, &str); 5] = [
        (
            SILENT,
            Class::Fatal,
            "it was waited for as long as one that boots takes: `claw health` says how far it can be reached",
        ),
        (
            "permission denied",
            Class::Fatal,
            "this user may not use the engine's socket: join the `docker` group, or point `endpoint` to a socket it may use",
        ),
        (
            "no such file or directory",
            Class::Fatal,
            "the engine does not run, or its socket is elsewhere: start it, or set `endpoint` or DOCKER_HOST",
        ),
        (
            "socket not found",
            Class::Fatal,
            "the engine does not run, or its socket is elsewhere: start it, or set `endpoint` or DOCKER_HOST",
        ),
        (
            "connection refused",
            Class::Retry,
            "the engine does not run, or is starting: start it, or set `endpoint` or DOCKER_HOST",
        ),
    ];
    let refused: [(&str, Class, &str); 7] = [
        ("is ambiguous", Class::Conflict, "a killed run left a second network of the name behind; apply again"),
        (
            "no space left on device",
            Class::Fatal,
            "free disk space on the engine's machine (`docker system df` shows what takes it), then apply again",
        ),
        (
            "port is already allocated",
            Class::Fatal,
            "another program has the agent's `port`; take another, or leave `port` out and the engine picks one",
        ),
        (
            "address already in use",
            Class::Fatal,
            "another program has the agent's `port`; take another, or leave `port` out and the engine picks one",
        ),
        (
            "all predefined address pools",
            Class::Fatal,
            "the engine has no address range left for a new network: remove unused ones (`docker network prune`) or widen default-address-pools",
        ),
        (
            "unauthorized",
            Class::Fatal,
            "the registry wants a login: pull the image by hand on the engine's machine, or use one that needs none",
        ),
        ("manifest unknown", Class::Fatal, "there is no such version: look at `version` or `image`"),
    ];
    // an engine that answers is reachable, whatever it says of sockets and files
    let known: &[_] = if status(error).is_none() { &unreachable } else { &refused };
    if let Some((_, class, help)) = known.iter().copied().find(|(words, ..)| lower.contains(words)) {
        return (class, text, Some(help));
    }
    let class = match status(error) {
        Some(404 | 409) => Class::Conflict,
        Some(status) if status < 500 => Class::Fatal,
        Some(_) | None => Class::Retry,
    };
    (class, text, None)
}

/// The message with its causes, which bollard leaves out.
fn chain(error: &Engine) -> String {
    let mut text = match error {
        Engine::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
