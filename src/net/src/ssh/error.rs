//! What can go wrong on the way to a server, in words an operator can act on.
//!
//! It does not carry errors of the SSH library: their text becomes a `why`, so that the library stays replaceable.

use std::path::PathBuf;

/// Why something over SSH did not work. Cheap to clone, because everyone who waited for one login hears its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// Nothing answered, or what answered was not an SSH server in its right mind.
    #[error("reach {address}: {why}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The operating system's or the protocol's reason.
        why: String,
    },
    /// Something took longer than its limit.
    #[error("{what} within {seconds} s")]
    TimedOut {
        /// What was waited for, as a fragment ("connect to 10.0.0.1:22").
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// The server proved a host key that is not pinned. A hard stop: never retried, nothing was sent.
    #[error(
        "trust {label}: hard stop, its host key is {} but {} is pinned",
        found.as_deref().unwrap_or("not an ed25519 key"),
        expected.join(" or ")
    )]
    HostKey {
        /// The target's label.
        label: String,
        /// Fingerprints of the pins.
        expected: Vec<String>,
        /// The fingerprint found, `None` when the server has no ed25519 host key at all.
        found: Option<String>,
    },
    /// The server accepts none of the keys.
    #[error("log in as {user} at {address}: {}", said_of_tried(tried))]
    KeyRefused {
        /// The user name at the server.
        user: String,
        /// `host:port`.
        address: String,
        /// Fingerprints in the order they were tried.
        tried: Vec<String>,
    },
    /// Our own attempt limits forbid another try for now.
    #[error("connect to {label}: too many attempts, blocked for another {seconds} s")]
    Blocked {
        /// The target's label.
        label: String,
        /// How long the block still lasts.
        seconds: u64,
        /// The last failure, where failures are the reason.
        source: Option<Box<SshError>>,
    },
    /// The server gives no further channel on this connection (`MaxSessions`), or none of ours became free.
    #[error("open a channel to {label}: {why}")]
    ChannelRefused {
        /// The target's label.
        label: String,
        /// Who refused.
        why: String,
    },
    /// The server does not forward to that place.
    #[error("reach {place} through {label}: {why}")]
    ForwardingRefused {
        /// The target's label.
        label: String,
        /// `host:port` or a socket's path on the server.
        place: String,
        /// The server's reason.
        why: String,
    },
    /// The connection broke while it was in use. Whether a running command finished is unknown.
    #[error("keep the connection to {label}: {why}")]
    Lost {
        /// The target's label.
        label: String,
        /// What broke it.
        why: String,
    },
    /// The server refused to start the command, shell or subsystem (`ForceCommand`, `restrict`, no sftp-server).
    #[error("start {what} on {label}: the server refused the request")]
    StartRefused {
        /// The target's label.
        label: String,
        /// "a command", "a shell", "a terminal", "sftp".
        what: &'static str,
    },
    /// A command ran over its time. It may still be running on the server.
    #[error("finish the command on {label} within {seconds} s")]
    CommandTimedOut {
        /// The target's label.
        label: String,
        /// The limit.
        seconds: u64,
    },
    /// A command or a file gave more bytes than allowed.
    #[error("take the output: it is larger than {bytes} bytes")]
    TooMuchOutput {
        /// The limit.
        bytes: u64,
    },
    /// A key or pin that cannot be used.
    #[error("use {what}: {why}")]
    BadKey {
        /// Which key ("the key in /root/.ssh/id_ed25519").
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The SSH agent does not answer or holds no ed25519 key.
    #[error("use the ssh agent at {}: {why}", path.display())]
    Agent {
        /// Its socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file operation on the server failed.
    #[error("{what} {path} on {label}: {why}")]
    File {
        /// The target's label.
        label: String,
        /// "read", "write", "list", "remove", "open".
        what: &'static str,
        /// The path on the server.
        path: String,
        /// The server's reason.
        why: String,
    },
    /// The jump host in between could not be used.
    #[error("go through the jump host {label}")]
    Jump {
        /// The jump host's label.
        label: String,
        /// What went wrong there.
        source: Box<SshError>,
    },
}

fn said_of_tried(tried: &[String]) -> String {
    match tried {
        [] => "there is no key to try".to_owned(),
        tried => format!("the server refused {}", tried.join(", ")),
    }
}

impl SshError {
    /// Returns whether the same call can work later without anyone changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Blocked { source, .. } => source.as_ref().is_none_or(|source| source.is_passing()),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Lost { .. } => true,
            Self::ChannelRefused { .. } => true,
            Self::Jump { source, .. } => source.is_passing(),
            _ => false,
        }
    }

    /// Returns what to do next, where there is something better than "try again".
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { why, .. } if why.contains("too many open files") => {
                "raise the limit of open files where claw runs: `ulimit -n 4096`".into()
            }
            Self::Unreachable { address, .. } => {
                format!(
                    "check that the server runs, that its firewall lets this machine in, and that sshd listens at {address}"
                )
            }
            Self::TimedOut { .. } => {
                "check that the server runs and that no firewall drops the packets on the way".into()
            }
            Self::HostKey { label, found: Some(found), .. } => format!(
                "if {label} was reinstalled on purpose, read its key on its own console \
                 (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), compare it with {found}, and change host_key in \
                 fleet.toml; otherwise somebody is in the middle: do not log in by other means"
            ),
            Self::HostKey { label, found: None, .. } => {
                format!("give {label} an ed25519 host key (ssh-keygen -A) and pin it as host_key in fleet.toml")
            }
            Self::KeyRefused { user, tried, .. } if tried.is_empty() => {
                format!("give a key for {user}: an ed25519 key file, the fleet's own key, or an agent")
            }
            Self::KeyRefused { user, .. } => format!(
                "put one of these keys in ~{user}/.ssh/authorized_keys on the server, or check the user name; \
                 sshd's log says why it refused"
            ),
            Self::Blocked { source: Some(source), .. } if !source.is_passing() => return source.help(),
            Self::Blocked { seconds, .. } => {
                format!("wait {seconds} s, or find out first why the earlier attempts failed")
            }
            Self::ChannelRefused { .. } => {
                "raise MaxSessions in the server's sshd_config, or run fewer things at once".into()
            }
            Self::ForwardingRefused { place, .. } => format!(
                "check that {place} exists and answers on the server, that this user may open it, and that sshd_config has \
                 AllowTcpForwarding and AllowStreamLocalForwarding"
            ),
            Self::StartRefused { .. } => {
                "check sshd_config and authorized_keys for ForceCommand, command=, restrict and the sftp subsystem"
                    .into()
            }
            Self::CommandTimedOut { .. } => {
                "look on the server whether it still runs; sshd does not end it by itself".into()
            }
            Self::BadKey { .. } => "claw uses ed25519 keys only: ssh-keygen -t ed25519".into(),
            Self::Agent { .. } => "start ssh-agent, check SSH_AUTH_SOCK, and ssh-add an ed25519 key".into(),
            Self::Jump { source, .. } => return source.help(),
            Self::Lost { .. } | Self::TooMuchOutput { .. } | Self::File { .. } => return None,
        })
    }
}
