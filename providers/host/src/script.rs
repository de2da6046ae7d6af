//! What is run on a host: POSIX shell as data, composed here and tested as text. Everything is safe to run twice, and
//! what could shut us out is undone by the host itself unless a fresh login confirms it.

use data_encoding::BASE64;

/// What hardening may change: an older sshd_config has to be told of the drop-ins.
pub const SSHD_FILES: [&str; 2] = [SSHD_FILE, "/etc/ssh/sshd_config"];

/// Where claw keeps what it needs on a host.
pub const FOLDER: &str = "/var/lib/claw";
/// The drop-in that hardens sshd.
pub const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/10-claw.conf";
/// What sshd shall do, whoever logs in. Forwarding stays on, towards the machine only: that
/// is how claw reaches the engine and the agents.
const SSHD: [(&str, &str); 7] = [
    ("passwordauthentication", "no"),
    ("kbdinteractiveauthentication", "no"),
    ("pubkeyauthentication", "yes"),
    ("permitemptypasswords", "no"),
    ("x11forwarding", "no"),
    ("allowtcpforwarding", "local"),
    ("allowstreamlocalforwarding", "local"),
];

/// Returns what sshd shall do where this user logs in: directive, and value as `sshd -T` prints it. Root logs in itself
/// only where nobody else does it for claw.
pub fn sshd(user: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let root = if user == "root" { "without-password" } else { "no" };
    SSHD.into_iter().chain([("permitrootlogin", root)])
}

/// Returns the drop-in's text, but for the host key.
fn sshd_file(user: &str) -> String {
    let mut text = "# Written by claw; changes are put right by the next apply.\n".to_owned();
    for (directive, value) in sshd(user) {
        text.push_str(&format!("{directive} {value}\n"));
    }
    text
}

/// Returns a text as one word of a shell.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What every script begins with: nothing of the user's own settings plays in.
const PRELUDE: &str = "set -eu; umask 022; LC_ALL=C; export LC_ALL; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; ";

/// Returns the command line that runs a script as root, for at most so many seconds: a connection that breaks does not
/// end what runs. `sudo -n` never asks.
pub fn as_root(user: &str, seconds_max: u64, script: &str) -> String {
    let script = quote(&format!("{PRELUDE}{script}"));
    // sudo keeps nothing of the environment
    let sudo = if user == "root" { "" } else { "sudo -n -- env SSH_CONNECTION=\"$SSH_CONNECTION\" " };
    format!("{sudo}timeout -k 5 {seconds_max} /bin/sh -c {script}")
}

/// The largest authorized_keys claw writes, in bytes: it travels as one word of a command line.
pub const KEYS_BYTES_MAX: usize = 60_000;

/// Prints everything claw wants to know of a host, one `name value` a line; files as base64. One round trip.
pub fn observe(user: &str) -> String {
    let sshd = sshd(user).map(|(directive, _)| directive).collect::<Vec<_>>().join("|");
    format!(
        r#"say() {{ printf '%s %s\n' "$1" "$2"; }}
user={user}
home=$(getent passwd "$user" | cut -d: -f6) || home=
say home "$home"
say from "${{SSH_CONNECTION:-}}"
say clock "$(date +%s)"
[ -r /etc/os-release ] && . /etc/os-release && say system "${{ID:-unknown}} ${{VERSION_ID:-}}"
say machine "$(uname -m)"
say memory "$(awk '/^MemTotal:/ {{ print int($2 / 1024) }}' /proc/meminfo)"
say disk "$(df -Pm / | awk 'NR == 2 {{ print $4 }}')"
[ -f {FOLDER}/mark ] && say mark "$(head -c 200 {FOLDER}/mark | tr -d '\n')"
if [ -e {FOLDER}/rollback/armed ] || [ -e {FOLDER}/rollback/undoing ]; then say armed yes; fi
[ -d {FOLDER}/keys ] && say folders yes
keys="$home/.ssh/authorized_keys"
[ ! -L "$keys" ] || say keys_link yes
if [ -e "$keys" ]; then say keys_bytes "$(wc -c <"$keys")"; say keys "$(head -c {KEYS_BYTES_MAX} "$keys" | base64 | tr -d '\n')"; fi
from=${{SSH_CONNECTION%% *}}
{{ sshd -T -C "user=$user,host=${{from:-localhost}},addr=${{from:-127.0.0.1}}" 2>/dev/null || true; }} | grep -E -i '^({sshd}) ' | while read -r name value; do say "sshd.$name" "$value"; done
if command -v dockerd >/dev/null; then say engine installed; fi
{ENGINE_ANSWERS}if engine_answers; then say engine running; fi
if id -nG "$user" | tr ' ' '\n' | grep -qx docker; then say engine_user "$user"; fi
if [ -f /etc/apt/apt.conf.d/20auto-upgrades ] && command -v unattended-upgrade >/dev/null; then
  grep -q '^APT::Periodic::Unattended-Upgrade "1";' /etc/apt/apt.conf.d/20auto-upgrades && say updates on
fi
if [ -x {FOLDER}/guard ] && {FOLDER}/guard check 2>/dev/null; then say guard "$({FOLDER}/guard version)"; fi
say end yes
"#
    )
}

/// The number of the rules that keep containers from the host; a new one puts them in place anew.
pub const GUARD_VERSION: &str = "1";

/// The program that keeps containers from the metadata address, where a cloud tells secrets to whoever asks, and from
/// what the host itself listens to. In the mangle table: docker and firewalls order only their own tables anew, and there
/// it comes before any of them. Answers to what the host began pass, and so do ports published on its loopback.
pub const GUARD: &str = r#"#!/bin/sh
# Written by claw. Keeps containers from the cloud's metadata address and from the host's own services.
set -u
each() {
  for family in iptables ip6tables; do
    command -v $family >/dev/null 2>&1 && $family -w 10 -t mangle -n -L PREROUTING >/dev/null 2>&1 && "$1" $family
  done
  true
}
# Bridges that are somebody's and not docker's, whose names end in twelve hexadecimal digits: a way in may lead through them.
others() {
  for path in /sys/class/net/br-*; do
    name=${path##*/}
    [ -e "$path" ] && ! expr "$name" : 'br-[0-9a-f]\{12\}$' >/dev/null && echo "$name"
  done
  true
}
rules() {
  metadata='169.254.0.0/16 168.63.129.16/32 100.100.100.200/32'
  [ "$1" = ip6tables ] && metadata=fd00:ec2::254/128
  for bridge in $(others); do echo "-i $bridge -j RETURN"; done
  for bridge in docker0 docker_gwbridge br-+; do
    for address in $metadata; do
      # on some clouds the same address answers for names, which is no secret
      for protocol in udp tcp; do echo "-i $bridge -d $address -p $protocol --dport 53 -j RETURN"; done
      echo "-i $bridge -d $address -j DROP"
    done
    echo "-i $bridge -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j DROP"
  done
}
lacks() {
  $1 -w 10 -t mangle -C PREROUTING -j CLAW-GUARD 2>/dev/null || echo hook
  rules $1 | while read -r rule; do $1 -w 10 -t mangle -C CLAW-GUARD $rule 2>/dev/null || echo "$rule"; done
}
put() {
  $1 -w 10 -t mangle -N CLAW-GUARD 2>/dev/null
  $1 -w 10 -t mangle -F CLAW-GUARD
  rules $1 | while read -r rule; do $1 -w 10 -t mangle -A CLAW-GUARD $rule; done
  $1 -w 10 -t mangle -C PREROUTING -j CLAW-GUARD 2>/dev/null || $1 -w 10 -t mangle -I PREROUTING 1 -j CLAW-GUARD
}
take() {
  while $1 -w 10 -t mangle -D PREROUTING -j CLAW-GUARD 2>/dev/null; do :; done
  $1 -w 10 -t mangle -F CLAW-GUARD 2>/dev/null
  $1 -w 10 -t mangle -X CLAW-GUARD 2>/dev/null
}
case ${1:-} in
version) echo 1 ;;
check) iptables -w 10 -t mangle -n -L CLAW-GUARD >/dev/null 2>&1 && [ -z "$(each lacks)" ] ;;
on) each put; exec "$0" check ;;
off) each take ;;
*) echo "usage: guard on|off|check|version" >&2; exit 64 ;;
esac
"#;

/// The unit that puts the guard in place at boot, before the engine starts containers: what it names need not be there yet.
pub const GUARD_UNIT: &str = "[Unit]
Description=Keeps containers from the metadata address and the host's services (claw)
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/var/lib/claw/guard on

[Install]
WantedBy=multi-user.target
";

/// Has sshd read its configuration again, wherever it was started from. Sessions go on.
pub const RELOAD_SSHD: &str = r#"reload_sshd() {
  # one that waits for its first connection reads the new configuration anyway
  if [ -d /run/systemd/system ]; then systemctl try-reload-or-restart ssh 2>/dev/null || systemctl try-reload-or-restart sshd; return; fi
  for pid in $(pgrep -x sshd || true); do
    # the one that listens: it is not the child of another sshd
    parent=$(awk '/^PPid:/ { print $2 }' /proc/$pid/status 2>/dev/null) || continue
    [ "$(cat /proc/$parent/comm 2>/dev/null)" = sshd ] || kill -HUP "$pid"
  done
}
"#;

/// Returns the script that puts content into a file whole: another reader sees the old one or the new one.
pub fn put_file(path: &str, mode: &str, content: &str) -> String {
    let content = BASE64.encode(content.as_bytes());
    format!(
        "mkdir -p \"$(dirname {path})\"; printf %s {content} | base64 -d >{path}.claw-new; chmod {mode} {path}.claw-new; \
         sync {path}.claw-new; mv -f {path}.claw-new {path}\n"
    )
}

/// Puts a user's authorized_keys in place whole, owned as sshd wants it, unless somebody changed it since `old` was read.
pub fn put_keys(user: &str, home: &str, old: &str, new: &str) -> String {
    let (folder, file) = (format!("{home}/.ssh"), format!("{home}/.ssh/authorized_keys"));
    let owner = format!("{user}:$(id -g {user})");
    let (old, new) = (BASE64.encode(old.as_bytes()), BASE64.encode(new.as_bytes()));
    format!(
        "[ -d {folder} ] || {{ mkdir {folder}; chmod 700 {folder}; chown {owner} {folder}; }}\n\
         [ \"$(cat {file} 2>/dev/null | sha256sum)\" = \"$(printf %s {old} | base64 -d | sha256sum)\" ] || \
         {{ echo 'somebody changed authorized_keys meanwhile' >&2; exit 75; }}\n\
         printf %s {new} | base64 -d >{file}.claw-new; chmod 600 {file}.claw-new; chown {owner} {file}.claw-new\n\
         sync {file}.claw-new; mv -f {file}.claw-new {file}; sync {folder}\n",
    )
}

/// Makes claw's folder and says whose host this is.
pub fn mark(mark: &str) -> String {
    format!(
        "mkdir -p {FOLDER}/keys; chmod 700 {FOLDER} {FOLDER}/keys\n{}",
        put_file(&format!("{FOLDER}/mark"), "600", mark)
    )
}

/// Installs packages. Another apt at work is waited for, and one that was interrupted is finished first.
pub fn install(packages: &str) -> String {
    format!(
        "export DEBIAN_FRONTEND=noninteractive\n\
         command -v apt-get >/dev/null || {{ echo 'this is not Debian or Ubuntu: there is no apt-get' >&2; exit 69; }}\n\
         apt='apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold'\n\
         dpkg --configure -a >/dev/null 2>&1 || true\n\
         $apt install --no-install-recommends {packages} >/tmp/claw-apt.$$ 2>&1 || {{\n\
         $apt update >>/tmp/claw-apt.$$ 2>&1 || true\n\
         $apt install --no-install-recommends {packages} >>/tmp/claw-apt.$$ 2>&1 || {{\n\
         grep -E '^(E|Err|W):|No space left' /tmp/claw-apt.$$ | tail -n 5 >&2; rm -f /tmp/claw-apt.$$; exit 70; }}; }}\n\
         rm -f /tmp/claw-apt.$$\n"
    )
}

/// Whether the engine answers. Its command line is a package of its own on newer systems, and claw does without it.
const ENGINE_ANSWERS: &str = "engine_answers() {
  if command -v docker >/dev/null; then timeout 10 docker version >/dev/null 2>&1; return; fi
  [ -S /var/run/docker.sock ] && pgrep -x dockerd >/dev/null
}
";

/// Starts the engine now and at boot, and waits until it answers.
pub fn start_engine() -> String {
    format!("{ENGINE_ANSWERS}{START_ENGINE}")
}

const START_ENGINE: &str = "if [ -d /run/systemd/system ]; then systemctl enable --now docker >/dev/null 2>&1; \
    else service docker start >/dev/null 2>&1; fi || true\n\
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do \
    engine_answers && exit 0; sleep 1; done\n\
    echo 'the engine is installed and does not answer: look at `journalctl -u docker` there' >&2; exit 71\n";

/// Lets a user who is not root use the engine. Whoever may use sudo without a password may do no less.
pub fn let_use_engine(user: &str) -> String {
    format!("usermod -aG docker {user}")
}

/// Turns security updates on.
pub fn updates() -> String {
    let settings = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";
    format!("{}{}", install("unattended-upgrades"), put_file("/etc/apt/apt.conf.d/20auto-upgrades", "644", settings))
}

/// Puts a unit in place that runs at every boot, as `systemctl enable` does; a host without systemd keeps the file.
pub fn unit(name: &str, content: &str) -> String {
    let folder = "/etc/systemd/system";
    format!(
        "{}mkdir -p {folder}/multi-user.target.wants; ln -sf ../{name}.service {folder}/multi-user.target.wants/{name}.service\n\
         [ ! -d /run/systemd/system ] || systemctl daemon-reload\n",
        put_file(&format!("{folder}/{name}.service"), "644", content),
    )
}

/// Installs what the guard needs.
pub fn guard_needs() -> String {
    format!("command -v iptables >/dev/null || {{ {} }}\n", install("iptables"))
}

/// Takes the guard off again, where a login does not get past it.
pub const GUARD_OFF: &str = "/var/lib/claw/guard off";

/// Puts the guard in place, now and at every boot.
pub fn guard() -> String {
    format!(
        "{}{FOLDER}/guard on || {{ echo 'the rules could not be put in place: does the kernel have mangle, conntrack and addrtype?' >&2; exit 72; }}\n{}",
        put_file(&format!("{FOLDER}/guard"), "700", GUARD),
        unit("claw-guard", GUARD_UNIT),
    )
}

/// Puts the hardening of sshd in place. Run under [`crate::rollback::arm`] with [`SSHD_FILES`]: what sshd refuses is put
/// back. `host_key` is the public key it
/// shall show; the private half lies on the host.
pub fn harden(user: &str, host_key: &str) -> String {
    let own = format!("{FOLDER}/keys");
    format!(
        "{RELOAD_SSHD}sshd -T >/dev/null 2>&1 || {{ echo \"sshd refuses its configuration: $(sshd -t 2>&1 | tail -n 1)\" >&2; exit 73; }}\n\
         grep -Eiq '^[[:space:]]*include[[:space:]]+/etc/ssh/sshd_config.d/\\*.conf' /etc/ssh/sshd_config || \
         sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config\n\
         {}\
         for public in {own}/host_*.pub; do\n\
         [ -f \"$public\" ] && [ \"$(cut -d' ' -f1,2 \"$public\")\" = {key} ] && echo \"hostkey ${{public%.pub}}\" >>{SSHD_FILE}.try\n\
         done\n\
         mv -f {SSHD_FILE}.try {SSHD_FILE}\n\
         why=$(sshd -t 2>&1) || {{ echo \"sshd refuses it: $why\" >&2; exit 73; }}\n\
         sync /etc/ssh/sshd_config.d; reload_sshd\n",
        put_file(&format!("{SSHD_FILE}.try"), "644", &sshd_file(user)),
        key = quote(host_key),
    )
}

/// Makes a new host key on the host, where its private half stays, and prints its public half. Run again it prints the
/// same one, until that is in use.
pub fn new_host_key(current: &str) -> String {
    let folder = format!("{FOLDER}/keys");
    format!(
        "mkdir -p {folder}; chmod 700 {FOLDER} {folder}\n\
         for public in {folder}/host_*.pub; do [ -f \"$public\" ] && [ \"$(cut -d' ' -f1,2 \"$public\")\" != {current} ] && \
         [ -e \"${{public%.pub}}.next\" ] && {{ cut -d' ' -f1,2 \"$public\"; exit 0; }}; done\n\
         name={folder}/host_$(date +%s)\n\
         ssh-keygen -q -t ed25519 -N '' -C claw -f \"$name\" && : >\"$name.next\" && cut -d' ' -f1,2 \"$name.pub\"\n",
        current = quote(current),
    )
}

/// Has sshd show a host key that is in use: it is no next one any more, and older ones of claw's go.
pub fn settle_host_key(host_key: &str) -> String {
    format!(
        "for public in {FOLDER}/keys/host_*.pub; do [ -f \"$public\" ] || continue\n\
         if [ \"$(cut -d' ' -f1,2 \"$public\")\" = {key} ]; then rm -f \"${{public%.pub}}.next\"\n\
         elif [ ! -e \"${{public%.pub}}.next\" ]; then rm -f \"$public\" \"${{public%.pub}}\"; fi; done\n",
        key = quote(host_key),
    )
}

/// Puts a host key of claw's that is in use in the place of the one the machine came with: that one is gone, and an sshd
/// that is told nothing shows the right one.
pub fn only_host_key(host_key: &str) -> String {
    format!(
        "for public in {FOLDER}/keys/host_*.pub; do\n\
         [ -f \"$public\" ] && [ \"$(cut -d' ' -f1,2 \"$public\")\" = {key} ] || continue\n\
         {}exit 0; done\n\
         echo 'the host key is not on the host' >&2; exit 76\n",
        put_own_key("${public%.pub}"),
        key = quote(host_key),
    )
}

/// Copies a key pair to where sshd looks by itself, each half whole.
fn put_own_key(private: &str) -> String {
    let file = "/etc/ssh/ssh_host_ed25519_key";
    format!(
        "for end in '' .pub; do cp -p \"{private}$end\" {file}$end.claw-new; sync {file}$end.claw-new; \
         mv -f {file}$end.claw-new {file}$end; done\n"
    )
}

/// What taking the hardening off may change: a host key that claw made stays the host's.
pub const SSHD_FILES_AND_KEY: [&str; 3] =
    [SSHD_FILE, "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"];

/// Takes the hardening of sshd off. The host goes on showing the key it is known by.
pub fn soften() -> String {
    format!(
        "{RELOAD_SSHD}own=$(sed -n 's/^hostkey //p' {SSHD_FILE} 2>/dev/null || true)\n\
         if [ -n \"$own\" ] && [ -f \"$own\" ]; then {}fi\n\
         rm -f {SSHD_FILE}; why=$(sshd -t 2>&1) || {{ echo \"sshd refuses it: $why\" >&2; exit 73; }}\n\
         reload_sshd\n",
        put_own_key("$own"),
    )
}

/// Takes off the host what claw put there, but for the engine, what runs in it, and the updates.
pub const REMOVE: &str = "cd /etc/systemd/system && rm -f claw-guard.service claw-rollback.service \
    multi-user.target.wants/claw-guard.service multi-user.target.wants/claw-rollback.service\n\
    [ ! -x /var/lib/claw/guard ] || /var/lib/claw/guard off\n\
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_word_whatever_is_in_it() {
        assert_eq!(quote("it's"), r"'it'\''s'");
        let line = as_root("petr", 30, "echo 'a'");
        assert!(
            line.starts_with("sudo -n -- env SSH_CONNECTION=\"$SSH_CONNECTION\" timeout -k 5 30 /bin/sh -c 'set -eu; "),
            "{line}"
        );
        assert!(!as_root("root", 30, "true").contains("sudo"));
    }

    #[test]
    fn every_script_is_one_that_a_shell_can_read() {
        let scripts = [
            observe("root"),
            crate::rollback::arm("t1", &[SSHD_FILE, "/root/.ssh/authorized_keys"], GUARD_OFF),
            crate::rollback::confirm("t1"),
            crate::rollback::undo("t1"),
            crate::rollback::settle(),
            settle_host_key("ssh-ed25519 AAAA"),
            only_host_key("ssh-ed25519 AAAA"),
            soften(),
            guard_needs(),
            put_keys("root", "/root", "", "ssh-ed25519 AAAA\n"),
            mark("k7f3q2 attic"),
            install("docker.io"),
            start_engine(),
            updates(),
            guard(),
            GUARD.to_owned(),
            harden("root", "ssh-ed25519 AAAA"),
            new_host_key("ssh-ed25519 AAAA"),
            REMOVE.to_owned(),
        ];
        for script in scripts {
            let read = std::process::Command::new("sh").args(["-n", "-c", &script]).output().expect("a shell");
            assert!(read.status.success(), "{}\n{script}", String::from_utf8_lossy(&read.stderr));
        }
    }

    #[test]
    fn the_drop_in_says_what_is_compared() {
        let text = sshd_file("petr");
        assert!(sshd("petr").all(|(directive, value)| text.contains(&format!("{directive} {value}\n"))), "{text}");
        assert!(text.contains("permitrootlogin no") && sshd_file("root").contains("permitrootlogin without-password"));
    }
}
