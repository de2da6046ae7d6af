//! The commands that are not the gateway: `--version`, `config validate`, `secrets reload`. Each returns its exit code.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Config, Issue};
use crate::gateway::SECRETS_RELOAD_PATH;
use crate::secret::{Secret, Secrets};
use crate::surroundings::Surroundings;

/// A gateway on the same machine answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Prints the version.
pub(crate) fn version(surroundings: &Surroundings) -> u8 {
    print(&format!("OpenClaw {}", surroundings.image.version()));
    0
}

/// Says which commands exist.
pub(crate) fn usage() -> u8 {
    let known = "gateway run, config validate [--json], secrets reload [--json] [--token T], --version";
    let _ = writeln!(io::stderr(), "openclaw (stand-in): unknown command; known: {known}");
    1
}

/// Checks the config file as a start would; the image's fault is not asked.
pub(crate) fn validate(surroundings: &Surroundings, is_json: bool) -> u8 {
    let path = surroundings.config_path();
    let issues = Config::read(&path).err().unwrap_or_default();
    let is_valid = issues.is_empty();
    match (is_json, is_valid) {
        (true, true) => print(&json!({"valid": true, "path": path, "warnings": []}).to_string()),
        (true, false) => {
            let issues = issues.iter().map(|issue| json!({"path": issue.path, "message": issue.message}));
            print(&json!({"valid": false, "path": path, "issues": issues.collect::<Vec<_>>()}).to_string());
        }
        (false, true) => print(&format!("Config valid: {}", path.display())),
        (false, false) => print(&issues.iter().map(Issue::to_string).collect::<Vec<_>>().join("\n")),
    }
    u8::from(!is_valid)
}

/// Makes the running gateway read its secrets again, with the token it has now.
pub(crate) fn reload_secrets(surroundings: &Surroundings, words: &[&str]) -> u8 {
    let answer = ask_for_reload(surroundings, words)
        .unwrap_or_else(|reason| json!({"ok": false, "error": format!("secrets.reload failed: {reason}")}));
    let is_ok = answer["ok"] == true;
    match (words.contains(&"--json"), is_ok) {
        (true, _) => print(&answer.to_string()),
        (false, true) => print("Secrets reloaded."),
        (false, false) => {
            let _ = writeln!(io::stderr(), "{}", answer["error"].as_str().unwrap_or("secrets.reload failed"));
        }
    }
    u8::from(!is_ok)
}

fn ask_for_reload(surroundings: &Surroundings, words: &[&str]) -> Result<Value, String> {
    let config = Config::read(&surroundings.config_path()).map_err(|issues| issues[0].to_string())?;
    let typed = words.windows(2).find(|pair| pair[0] == "--token").map(|pair| pair[1]);
    let given = typed.or_else(|| surroundings.variable("OPENCLAW_GATEWAY_TOKEN")).and_then(Secret::new);
    let token = match given {
        Some(token) => token,
        // The real one falls back to the config too, which after a rotation holds the new token and is refused.
        None => Secrets::load(&config, surroundings)
            .map_err(|error| format!("failed to resolve {error}"))?
            .token
            .ok_or("no gateway token: give --token or set OPENCLAW_GATEWAY_TOKEN")?,
    };
    let body = post(config.port(), &token).map_err(|error| format!("failed to reach the gateway: {error}"))?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| "the gateway's answer is not JSON".to_owned())?;
    match answer["error"]["type"].as_str() {
        Some("unauthorized") => Err("unauthorized: gateway token mismatch".to_owned()),
        Some(_) => Err(answer["error"]["message"].as_str().unwrap_or("refused").to_owned()),
        None => Ok(answer),
    }
}

fn post(port: u16, token: &Secret) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let head = format!("POST {SECRETS_RELOAD_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    write!(stream, "{head}Authorization: Bearer {}\r\nContent-Length: 0\r\n\r\n", token.reveal())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |start| start + 4);
    Ok(answer.split_off(head_end))
}

fn print(line: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(io::stdout(), "{line}");
}
