//! `openclaw gateway run`: start in the real one's order (config, state, secrets, port), then answer until killed.
//! There is no signal handler: std has none, and the default death by SIGTERM is prompt.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::json;

use crate::config::{Config, Issue};
use crate::http::{self, Request, Response};
use crate::image::Fault;
use crate::secret::{Secret, Secrets};
use crate::state::Store;
use crate::surroundings::Surroundings;
use crate::{chat, health, log, reload, rpc};

/// Where `openclaw secrets reload` reaches the running gateway; the real one uses its WebSocket.
pub(crate) const SECRETS_RELOAD_PATH: &str = "/standin/secrets-reload";
/// How long the broken image lives.
const BROKEN_AFTER: Duration = Duration::from_millis(300);
/// The code that says: do not start me again as I am.
const EXIT_CONFIG: u8 = 78;

/// How far the start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Started,
    Ready,
}

/// The config file as last seen, applied or not.
pub(crate) struct Revision {
    pub(crate) hash: String,
    pub(crate) exists: bool,
    pub(crate) issues: Vec<Issue>,
}

/// What the gateway works with right now.
pub(crate) struct Active {
    pub(crate) config: Config,
    pub(crate) secrets: Secrets,
    pub(crate) revision: Revision,
}

/// What was typed after `gateway run`.
#[derive(Default)]
struct Options {
    port: Option<u16>,
    bind: Option<String>,
}

impl Options {
    /// Reads `--port` and `--bind`; the real one's other options are accepted and mean nothing here.
    fn of(words: &[&str]) -> Self {
        let value = |name: &str| {
            let with_equals = format!("{name}=");
            let separate = words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
            separate.or_else(|| words.iter().find_map(|word| word.strip_prefix(with_equals.as_str())))
        };
        Self { port: value("--port").and_then(|port| port.parse().ok()), bind: value("--bind").map(str::to_owned) }
    }
}

/// A running gateway, shared by its threads.
pub(crate) struct Gateway {
    pub(crate) surroundings: Surroundings,
    pub(crate) config_path: PathBuf,
    options: Options,
    /// The token of the start, kept by an image that never lets go of it.
    kept: Option<Secret>,
    active: RwLock<Active>,
    store: Mutex<Store>,
}

impl Gateway {
    /// Returns what is in force, to read.
    pub(crate) fn active(&self) -> RwLockReadGuard<'_, Active> {
        self.active.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is in force, to change.
    pub(crate) fn active_mut(&self) -> RwLockWriteGuard<'_, Active> {
        self.active.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how far the start has come, with the image's fault.
    pub(crate) fn stage(&self) -> Stage {
        let image = self.surroundings.image;
        if self.surroundings.started.elapsed() < self.surroundings.ready_after() || image.fault == Fault::Broken {
            Stage::Starting
        } else if image.fault == Fault::Deaf {
            Stage::Started
        } else {
            Stage::Ready
        }
    }

    /// Returns whether a request carries the token in force.
    pub(crate) fn authorises(&self, request: &Request) -> bool {
        let active = self.active();
        let token = active.secrets.token.as_ref().map(Secret::reveal);
        let kept = self.kept.as_ref().map(Secret::reveal);
        active.config.is_open() || request.bearer().is_some_and(|bearer| [token, kept].contains(&Some(bearer)))
    }

    /// Returns where a gateway with this config listens.
    pub(crate) fn listen_address(&self, config: &Config) -> SocketAddr {
        config.listen_address(self.options.port, self.options.bind.as_deref())
    }
}

/// Why a start fails: the exit code and what is printed.
struct Refusal(u8, String);

/// Runs the gateway; returns only when it cannot start.
pub(crate) fn run(surroundings: Surroundings, words: &[&str]) -> u8 {
    let Refusal(code, reason) = match start(surroundings, Options::of(words)) {
        Ok((gateway, listener)) => serve(gateway, &listener),
        Err(refusal) => refusal,
    };
    log::fatal(&reason);
    code
}

fn start(surroundings: Surroundings, options: Options) -> Result<(Arc<Gateway>, TcpListener), Refusal> {
    let config_path = surroundings.config_path();
    if !config_path.exists() {
        let reason = format!("Missing config {}: set gateway.mode=local", config_path.display());
        return Err(Refusal(EXIT_CONFIG, reason));
    }
    let explain = |issues: Vec<Issue>| {
        let listed: Vec<String> = issues.iter().map(Issue::to_string).collect();
        Refusal(EXIT_CONFIG, format!("Invalid config at {}: {}", config_path.display(), listed.join("; ")))
    };
    let config = Config::read(&config_path).map_err(explain)?;
    if surroundings.image.fault == Fault::Exit78 {
        return Err(Refusal(EXIT_CONFIG, format!("Invalid config at {}: bad config", config_path.display())));
    }
    let store = Store::open(&surroundings.state_root().join("state"), surroundings.image.schema)
        .map_err(|error| Refusal(error.exit_code(), format!("failed to open the state: {error}")))?;
    let secrets = Secrets::load(&config, &surroundings)
        .map_err(|error| Refusal(1, format!("failed to resolve gateway.auth.token: {error}")))?;
    let address = config.listen_address(options.port, options.bind.as_deref());
    if secrets.token.is_none() && !config.is_open() && !address.ip().is_loopback() {
        return Err(Refusal(1, "Refusing to bind the gateway beyond loopback without auth".to_owned()));
    }
    let listener =
        TcpListener::bind(address).map_err(|error| Refusal(1, format!("failed to listen on {address}: {error}")))?;
    log::info(&format!("listening on {address}, version {}", surroundings.image.version()));
    let revision = Revision { hash: config.hash().to_owned(), exists: true, issues: Vec::new() };
    let kept = secrets.token.as_ref().filter(|_| surroundings.image.fault == Fault::Lenient);
    let kept = kept.and_then(|token| Secret::new(token.reveal()));
    let active = RwLock::new(Active { config, secrets, revision });
    let gateway = Gateway { surroundings, config_path, options, kept, active, store: Mutex::new(store) };
    Ok((Arc::new(gateway), listener))
}

fn serve(gateway: Arc<Gateway>, listener: &TcpListener) -> Refusal {
    let watching = Arc::clone(&gateway);
    std::thread::spawn(move || reload::follow_config(&watching));
    if gateway.surroundings.image.fault == Fault::Broken {
        let left = BROKEN_AFTER.saturating_sub(gateway.surroundings.started.elapsed());
        std::thread::spawn(move || {
            std::thread::sleep(left);
            log::fatal("startup failed: this image is broken");
            std::process::exit(1);
        });
    }
    http::serve(listener, move |request| answer(&gateway, request));
    Refusal(1, "the listener is gone".to_owned())
}

fn answer(gateway: &Gateway, request: &Request) -> Response {
    if let Some(probe) = health::answer(gateway, request) {
        return probe;
    }
    let (is_served, handler): (bool, fn(&Gateway, &Request) -> Response) = match request.path.as_str() {
        "/v1/chat/completions" => (gateway.active().config.serves_chat(), chat::answer),
        "/api/v1/admin/rpc" => (gateway.active().config.serves_admin_rpc(), rpc::answer),
        SECRETS_RELOAD_PATH => (request.is_local, reload_secrets),
        _ => (false, chat::answer),
    };
    if !is_served {
        return Response::not_found();
    }
    if request.method != "POST" {
        return Response::error(405, "Method Not Allowed", "invalid_request_error");
    }
    if !gateway.authorises(request) {
        return Response::error(401, "Unauthorized", "unauthorized");
    }
    if gateway.stage() == Stage::Starting {
        return Response::error(503, "gateway starting", "unavailable");
    }
    handler(gateway, request)
}

fn reload_secrets(gateway: &Gateway, _request: &Request) -> Response {
    match reload::reload_secrets(gateway) {
        Ok(warning_count) => {
            log::info("secrets reloaded");
            Response::json(200, &json!({"ok": true, "warningCount": warning_count}))
        }
        Err(reason) => {
            log::warn(&format!("secrets reload failed: {reason}"));
            Response::json(200, &json!({"ok": false, "error": format!("secrets.reload failed: {reason}")}))
        }
    }
}
