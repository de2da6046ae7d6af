//! What a running gateway does with a changed config or secrets file: apply it, keep what it has, or restart.

use std::time::Duration;

use crate::config::{Config, Issue, ReloadMode, hash_of};
use crate::gateway::{Gateway, Revision};
use crate::log;
use crate::secret::{SecretError, Secrets};

/// Well below the second the real gateway takes to notice.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Lets answers on their way out leave before a restart.
const RESTART_AFTER: Duration = Duration::from_millis(50);

/// Follows the config file for ever. The content is compared, not the times: a file may be replaced within one tick.
pub(crate) fn follow_config(gateway: &Gateway) {
    loop {
        std::thread::sleep(POLL_EVERY);
        let found = std::fs::read(&gateway.config_path).ok();
        let hash = found.as_deref().map_or_else(|| "none".to_owned(), hash_of);
        let is_seen = gateway.active().revision.hash == hash;
        if !is_seen && take(gateway, found.as_deref(), hash) == Next::Restart {
            std::thread::sleep(RESTART_AFTER);
            std::process::exit(0);
        }
    }
}

/// Reads the secrets again: all of them or, where the file or the token is broken, none. Returns how many provider
/// keys do not resolve.
pub(crate) fn reload_secrets(gateway: &Gateway) -> Result<usize, String> {
    let mut active = gateway.active_mut();
    let explain = |error: &SecretError| format!("failed to resolve {error}");
    let secrets = Secrets::load(&active.config, &gateway.surroundings).map_err(|error| explain(&error))?;
    if let Some(error) = secrets.broken_file() {
        return Err(explain(error));
    }
    let warning_count = secrets.degraded().count();
    active.secrets = secrets;
    Ok(warning_count)
}

/// What follows a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Apply,
    /// Goes on with what it has.
    Keep,
    Restart,
}

fn decide(mode: ReloadMode, needs_restart: bool) -> Next {
    match (mode, needs_restart) {
        (ReloadMode::Off, _) | (ReloadMode::Hot, true) => Next::Keep,
        (ReloadMode::Restart, _) | (ReloadMode::Hybrid, true) => Next::Restart,
        (ReloadMode::Hybrid | ReloadMode::Hot, false) => Next::Apply,
    }
}

fn take(gateway: &Gateway, found: Option<&[u8]>, hash: String) -> Next {
    let mut active = gateway.active_mut();
    let missing = || vec![Issue { path: String::new(), message: "the config file is gone".to_owned() }];
    let parsed = found.ok_or_else(missing).and_then(Config::parse);
    let next = match parsed {
        Ok(next) => next,
        Err(issues) => {
            log::warn(&format!("config reload skipped (invalid config): {}", issues[0]));
            active.revision = Revision { hash, exists: found.is_some(), issues };
            return Next::Keep;
        }
    };
    active.revision = Revision { hash, exists: true, issues: Vec::new() };
    if next.hash() == active.config.hash() {
        return Next::Keep;
    }
    let needs_restart = gateway.listen_address(&next) != gateway.listen_address(&active.config)
        || next.is_open() != active.config.is_open();
    let decided = decide(next.reload_mode(), needs_restart);
    match decided {
        Next::Keep => log::warn("config change kept for the next restart (gateway.reload.mode)"),
        Next::Restart => log::info("config change requires a gateway restart"),
        Next::Apply => match Secrets::load(&next, &gateway.surroundings) {
            Ok(secrets) => {
                active.config = next;
                active.secrets = secrets;
                log::info("config hot reload applied");
            }
            Err(error) => log::warn(&format!("config reload skipped: failed to resolve {error}")),
        },
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::{Next, decide};
    use crate::config::ReloadMode;

    #[test]
    fn only_hybrid_and_restart_modes_restart_for_a_port() {
        for (mode, expected) in [
            (ReloadMode::Hybrid, Next::Restart),
            (ReloadMode::Restart, Next::Restart),
            (ReloadMode::Hot, Next::Keep),
            (ReloadMode::Off, Next::Keep),
        ] {
            assert_eq!(decide(mode, true), expected, "for {mode:?}");
        }
    }

    #[test]
    fn identity_is_applied_hot_unless_reload_is_off_or_restart() {
        for (mode, expected) in [
            (ReloadMode::Hybrid, Next::Apply),
            (ReloadMode::Hot, Next::Apply),
            (ReloadMode::Restart, Next::Restart),
            (ReloadMode::Off, Next::Keep),
        ] {
            assert_eq!(decide(mode, false), expected, "for {mode:?}");
        }
    }
}
