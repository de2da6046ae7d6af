//! Stands in for the `openclaw` program: the few commands and HTTP answers claw relies on, ready in milliseconds.
//! It has no agent, no model, no channels and no WebSocket: what claw needs those for is tested on the real image.

mod chat;
mod command;
mod config;
mod gateway;
mod health;
mod http;
mod image;
mod log;
mod reload;
mod rpc;
mod secret;
mod state;
mod surroundings;

use std::process::ExitCode;

use surroundings::Surroundings;

fn main() -> ExitCode {
    let surroundings = Surroundings::of_process();
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = typed.iter().map(String::as_str).collect();
    let code = match words.as_slice() {
        ["--version" | "-V", ..] => command::version(&surroundings),
        ["gateway", "run", options @ ..] => gateway::run(surroundings, options),
        ["gateway", options @ ..] if options.first().is_none_or(|first| first.starts_with('-')) => {
            gateway::run(surroundings, options)
        }
        ["config", "validate", options @ ..] => command::validate(&surroundings, options.contains(&"--json")),
        ["secrets", "reload", options @ ..] => command::reload_secrets(&surroundings, options),
        _ => command::usage(),
    };
    ExitCode::from(code)
}
