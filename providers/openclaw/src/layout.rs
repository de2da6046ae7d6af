//! Where things lie inside an agent's container, and the environment it starts with.

/// The user the gateway runs as.
pub const UID: u64 = 1000;
/// The port the gateway listens on, inside.
pub const GATEWAY_PORT: u16 = 18789;
/// The gateway's home folder.
pub const HOME: &str = "/home/node";
/// What the agent remembers: the state volume.
pub const STATE: &str = "/home/node/.openclaw";
/// The config volume, read-only for the gateway.
pub const CONFIG: &str = "/claw/config";
/// The configuration.
pub const CONFIG_FILE: &str = "/claw/config/openclaw.json";
/// The secrets volume, read-only for the gateway.
pub const SECRETS: &str = "/claw/secrets";
/// The secret file.
pub const SECRETS_FILE: &str = "/claw/secrets/secrets.json";
/// The repository `version` stands for.
pub const IMAGE: &str = "ghcr.io/openclaw/openclaw";
/// What starts the gateway.
pub const COMMAND: [&str; 3] = ["openclaw", "gateway", "run"];

/// Environment claw gives every gateway: claw alone changes its config and starts it.
pub const ENVIRONMENT: [(&str, &str); 9] = [
    ("HOME", HOME),
    ("OPENCLAW_CONFIG_PATH", CONFIG_FILE),
    ("OPENCLAW_CONFIG_READONLY", "1"),
    ("OPENCLAW_DISABLE_BONJOUR", "1"),
    ("OPENCLAW_NO_AUTO_UPDATE", "1"),
    ("OPENCLAW_OFFLINE", "1"),
    // without it OpenClaw looks for media and more beside its configuration, which it cannot write
    ("OPENCLAW_STATE_DIR", STATE),
    ("OPENCLAW_SUPERVISOR_MODE", "external"),
    // the root file system is read-only
    ("XDG_CACHE_HOME", "/home/node/.openclaw/cache"),
];
