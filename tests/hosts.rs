//! Machines with SSH as hosts: what is made of them, what is undone, what is refused, and what agents on them can do. Real
//! sshd, real engines, in machines of the tests' own. How keys are replaced is the duty of `rotation`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::machine::{Machine, lose_person, machines, person};
use crate::openclaw::{AGENTS, FIRST_KEY};
use crate::support::{Fleet, Ran, have_image, signal, standin_fleet, wait_until};

/// A fleet with one machine as its host `attic`, which `more` adds to.
fn fleet_on(id: &str, image: &str, host: &str, more: &str) -> (Fleet, Machine) {
    let fleet = standin_fleet(id, "");
    let machine = Machine::start(id, image, &fleet);
    let text = fleet.read("fleet.toml").replace("on = \"docker\"", "on = \"attic\"");
    fleet.write("fleet.toml", &format!("{text}{}{host}\n{more}", machine.table("attic")));
    (fleet, machine)
}

const ANN: &str = "[agents.ann]\n";

fn apply(fleet: &Fleet) -> Ran {
    fleet.claw(&["apply", "--yes"])
}

fn plan(fleet: &Fleet) -> Ran {
    fleet.claw(&["plan", "--detailed-exitcode"])
}

#[track_caller]
fn converged(fleet: &Fleet) {
    plan(fleet).ok().says("Nothing to do");
}

#[test]
fn a_machine_with_ssh_becomes_a_host_and_agents_run_and_talk_on_it() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hswhole", "engine", "", "[agents.ann]\n[agents.bob]\n");
    machine.load("claw-test/standin:1");
    fleet.edit("[agents.ann]", &format!("[ssh.operators]\npetr = \"{}\"\n\n[agents.ann]", person(&fleet).trim()));
    plan(&fleet).exits(2).says("+ host/attic").says("+ container/bob").says("claw's key, 1 operator");
    assert!(!machine.keys().contains("claw"), "a plan changes nothing");
    apply(&fleet).ok();
    converged(&fleet);
    apply(&fleet).ok().says("Nothing to do");
    fleet.claw(&["drift"]).ok().says("unmanaged login key on attic").says("tester");

    // who may log in, and how
    assert!(machine.keys().contains(" claw\n") && machine.keys().contains(" claw:petr\n"), "{}", machine.keys());
    let sshd = machine.run("sshd -T");
    for line in ["passwordauthentication no", "permitrootlogin without-password", "allowtcpforwarding local"] {
        assert!(sshd.contains(line), "{line}: {sshd}");
    }
    assert!(machine.run("cat /etc/apt/apt.conf.d/20auto-upgrades").contains("Unattended-Upgrade \"1\""));

    // what they can do, with claw's own key alone
    lose_person(&fleet);
    fleet.claw(&["chat", "ann", "hello"]).ok().says("hello");
    fleet.claw(&["chat", "ann", "and now"]).ok().says("hello");
    fleet
        .claw(&["exec", "attic", "--", "sh", "-c", "echo it is $(hostname); exit 7"])
        .exits(7)
        .says("claw-machine-hswhole");
    fleet.claw(&["exec", "ann", "--", "id", "-u"]).ok().says("1000");
    fleet.claw(&["health"]).ok().says("gateway    healthy").says("round trip");
    fleet.claw(&["status"]).ok().says("debian 12").says("ours");
    fleet.claw(&["history", "--action", "chat"]).ok().says("tester@").says("ann");
    fleet.claw(&["history", "attic", "--action", "connect"]).ok().says("with SHA256:");

    // a change to an agent goes the same way
    machine.load("claw-test/standin:2");
    fleet.edit("standin:1", "standin:2");
    apply(&fleet).ok();
    converged(&fleet);
    fleet.claw(&["chat", "ann", "still there?"]).ok().says("hello");
}

#[test]
fn containers_on_a_host_reach_neither_it_nor_the_metadata_address_also_after_a_boot() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsguard", "engine", "", ANN);
    machine.load("claw-test/standin:1");
    apply(&fleet).ok();
    // a service of the host's on every address, and something that answers for the metadata address
    let serve = "ip addr replace 169.254.169.254/32 dev lo; setsid python3 -m http.server 8000 >/dev/null 2>&1 </dev/null & true";
    machine.run("command -v python3 >/dev/null || apt-get install -y -q python3 >/dev/null 2>&1; true");
    machine.run(serve);
    wait_until("the host's service answers", || {
        machine.try_run("exec 3<>/dev/tcp/127.0.0.1/8000 && echo ok").is_some()
    });
    let gateway = machine
        .run("docker inspect claw.hsguard.ann --format '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}'");
    let reaches = |address: &str| {
        let ask = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 2 nc -w 2 {address} 8000 | head -c 8");
        machine
            .try_run(&format!("docker exec claw.hsguard.ann sh -c \"{ask}\""))
            .is_some_and(|said| said.contains("HTTP"))
    };
    let cut_off = |when: &str| {
        assert!(!reaches(&gateway), "the host's bridge, {when}");
        assert!(!reaches("169.254.169.254"), "the metadata address, {when}");
    };
    cut_off("at first");
    machine.run("/var/lib/claw/guard off");
    assert!(reaches(&gateway) && reaches("169.254.169.254"), "without the guard both answer: the test can fail");
    plan(&fleet).exits(2).says("guard: (not set) → \"1\"");
    apply(&fleet).ok();
    cut_off("put right");
    converged(&fleet);
    machine.run("iptables -t mangle -D PREROUTING -j CLAW-GUARD");
    plan(&fleet).exits(2).says("guard");
    apply(&fleet).ok();

    crate::support::docker(&["restart", "-t", "5", &machine.name]).unwrap();
    wait_until("the engine answers again", || machine.try_run("docker version").is_some());
    machine.run(serve);
    wait_until("the gateway runs again", || {
        machine.try_run("docker exec claw.hsguard.ann true").is_some()
            && machine.try_run("exec 3<>/dev/tcp/127.0.0.1/8000 && echo ok").is_some()
    });
    cut_off("after a boot");
    wait_until("the agent is healthy again", || plan(&fleet).code == 0);
}

#[test]
fn a_machine_without_an_engine_gets_one_also_where_somebody_with_sudo_logs_in() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hssudo", "offline", "user = \"debian\"\n", ANN);
    // there is no init in the test machine: what systemd or sysvinit would do, its boot script does
    machine.run("printf '#!/bin/sh\\n[ \"$1 $2\" = \"docker start\" ] && boot engine\\n' >/usr/local/sbin/service; chmod 755 /usr/local/sbin/service");
    plan(&fleet).exits(2).says("+ host/attic").says("+ container/ann");
    // the image is not there yet: everything but the agent itself is done
    apply(&fleet).exits(4).says("✓ host/attic created").says("✗ anchor/ann").says("claw-test/standin:1");
    machine.load("claw-test/standin:1");
    apply(&fleet).ok();
    converged(&fleet);
    assert!(machine.run("id -nG debian").contains("docker"));
    assert!(machine.run("sshd -T").contains("permitrootlogin no"), "root logs in no more where debian does");
    assert!(machine.run("cat /home/debian/.ssh/authorized_keys").contains(" claw\n"));
    lose_person(&fleet);
    fleet.claw(&["chat", "ann", "hello"]).ok().says("hello");
}

#[test]
fn somebody_without_sudo_is_told_what_is_missing() {
    if !machines() {
        return;
    }
    let (fleet, _machine) = fleet_on("hsplain", "bare", "user = \"plain\"\n", ANN);
    plan(&fleet).exits(3).says("attic could not be seen").says("let plain use sudo without a password");
}

#[test]
fn another_host_key_is_a_hard_stop_with_both_fingerprints() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hspin", "bare", "", ANN);
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";
    fleet.edit(&machine.host_key, other);
    let begun = Instant::now();
    let ran = plan(&fleet).exits(3).says("hard stop").says("change host_key in fleet.toml");
    let shown: std::collections::BTreeSet<&str> = ran
        .stdout
        .split_whitespace()
        .filter(|word| word.starts_with("SHA256:"))
        .map(|word| word.trim_end_matches(','))
        .collect();
    assert_eq!(shown.len(), 2, "the one found and the one pinned: {}", ran.stdout);
    assert!(begun.elapsed() < Duration::from_secs(20), "it is not tried again and again");
    apply(&fleet).exits(3);
    fleet.claw(&["exec", "attic", "--", "true"]).exits(1).says("hard stop");
    assert!(!machine.run("cat /root/.ssh/authorized_keys").contains("claw"), "nothing was changed");
}

#[test]
fn a_host_that_refuses_our_keys_or_does_not_answer_holds_everything_on_it() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsdead", "bare", "", ANN);
    machine.run("rm /root/.ssh/authorized_keys");
    plan(&fleet).exits(3).says("log in as root").says("the server refused");
    machine.run("pkill -x sshd");
    plan(&fleet).exits(3).says("attic could not be seen").says("not seen is not absent");
    fleet.claw(&["health", "ann"]).exits(1).says("✗ connection");
}

#[test]
fn a_change_of_sshd_that_shuts_us_out_is_undone() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsroll", "engine", "", "");
    shut_out_by_the_drop_in(&machine);
    apply(&fleet).exits(4).says("✗ host/attic").says("a fresh login does not work").says("it was undone");
    lose_person(&fleet);
    fleet.claw(&["exec", "attic", "--", "true"]).ok();
    assert!(machine.try_run("test -e /etc/ssh/sshd_config.d/10-claw.conf").is_none(), "the drop-in is gone again");
}

/// Has sshd let nobody in while claw's drop-in is there.
fn shut_out_by_the_drop_in(machine: &Machine) {
    machine.run(
        "mkdir /opt/real; mv /usr/sbin/sshd /opt/real/sshd; cat >/usr/sbin/sshd <<'END'\n\
         #!/bin/bash\n\
         case \"$*\" in *-t*|*-T*) exec /opt/real/sshd \"$@\" ;; esac\n\
         given=()\n\
         for word in \"$@\"; do case $word in -o|AllowUsers=nobody) ;; *) given+=(\"$word\") ;; esac; done\n\
         [ ! -e /etc/ssh/sshd_config.d/10-claw.conf ] || given+=(-o AllowUsers=nobody)\n\
         exec -a /usr/sbin/sshd /opt/real/sshd \"${given[@]}\"\nEND\nchmod 755 /usr/sbin/sshd",
    );
}

#[test]
fn a_host_undoes_by_itself_what_nobody_comes_to_confirm() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hstimer", "engine", "", "");
    shut_out_by_the_drop_in(&machine);
    let mut child = fleet.command(&["apply", "--yes"]).spawn().unwrap();
    wait_until("the change is made", || machine.try_run("test -e /etc/ssh/sshd_config.d/10-claw.conf").is_some());
    signal(&child, "KILL");
    child.wait().unwrap();
    lose_person(&fleet);
    // sshd reads the change a moment after it is written
    wait_until("the change shuts us out", || fleet.claw(&["exec", "attic", "--", "true"]).code == 1);
    let begun = Instant::now();
    while machine.try_run("test -e /var/lib/claw/rollback/armed").is_some() {
        assert!(begun.elapsed() < Duration::from_secs(90), "the host did not undo it");
        std::thread::sleep(Duration::from_millis(500));
    }
    wait_until("a login works again", || fleet.claw(&["exec", "attic", "--", "true"]).code == 0);
    assert!(machine.try_run("test -e /etc/ssh/sshd_config.d/10-claw.conf").is_none());
}

#[test]
fn an_authorized_keys_file_that_sshd_does_not_read_is_put_back() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsauth", "engine", "", "");
    // sshd reads another file than the one claw writes: claw's key cannot be proven
    machine.run(
        "mkdir -p /etc/ssh/keys; cp /root/.ssh/authorized_keys /etc/ssh/keys/root; echo 'AuthorizedKeysFile /etc/ssh/keys/%u' \
         >/etc/ssh/sshd_config.d/05.conf; kill -HUP $(cat /run/sshd.pid)",
    );
    let before = machine.keys();
    apply(&fleet).says("✗ access/attic").says("it was undone").exits(4);
    assert_eq!(machine.keys(), before, "as it was");
}

#[test]
fn who_may_log_in_is_put_right_and_strangers_go_only_where_asked() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hskeys", "engine", "", "");
    apply(&fleet).ok();
    let stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ mallory";
    machine.run(&format!("echo '{stranger}' >>/root/.ssh/authorized_keys"));
    fleet.claw(&["drift"]).ok().says("unmanaged login key on attic").says("mallory");
    machine.run(&format!("sed -i '/^# claw end/i {stranger}' /root/.ssh/authorized_keys"));
    fleet.claw(&["drift"]).exits(2).says("access/attic").says("edited");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(
        machine.keys().matches("mallory").count(),
        1,
        "what stands outside the block is somebody's:\n{}",
        machine.keys()
    );

    fleet.edit("[hosts.attic]\n", "[hosts.attic]\nexclusive = true\n");
    plan(&fleet).exits(2).says("mallory").says("tester");
    apply(&fleet).ok();
    converged(&fleet);
    assert!(!machine.keys().contains("mallory") && !machine.keys().contains("tester"), "{}", machine.keys());
    lose_person(&fleet);
    fleet.claw(&["exec", "attic", "--", "true"]).ok();
}

#[test]
fn a_file_of_keys_that_claw_cannot_read_whole_is_left_alone() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hswhat", "bare", "", "");
    // somebody's comment in another encoding, a file that is far too large, a link
    for spoil in [
        "printf '# caf\\351\\n' >>",
        "head -c 70000 /dev/zero | tr '\\0' '#' >>",
        "mv /root/.ssh/authorized_keys /root/keys && ln -s /root/keys ",
    ] {
        machine.run("cp /root/.ssh/authorized_keys /root/saved");
        machine.run(&format!("{spoil}/root/.ssh/authorized_keys"));
        let before = machine.run("sha256sum </root/.ssh/authorized_keys; stat -c %F /root/.ssh/authorized_keys");
        plan(&fleet).exits(3).says("authorized_keys: it ");
        apply(&fleet).exits(3);
        assert_eq!(machine.run("sha256sum </root/.ssh/authorized_keys; stat -c %F /root/.ssh/authorized_keys"), before);
        machine.run("rm /root/.ssh/authorized_keys; cp /root/saved /root/.ssh/authorized_keys");
    }
    plan(&fleet).exits(2);
}

#[test]
fn a_bridge_that_is_not_dockers_is_no_way_out_for_the_guard() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsbridge", "engine", "", "");
    machine.run("ip link add br-lan type bridge; ip link set br-lan up");
    apply(&fleet).ok();
    converged(&fleet);
    let rules = machine.run("iptables -t mangle -S CLAW-GUARD");
    let at = |text: &str| rules.find(text).unwrap_or_else(|| panic!("{text} is not in\n{rules}"));
    assert!(at("-i br-lan -j RETURN") < at("-i br-+"), "{rules}");
}

#[test]
fn ranges_that_would_shut_us_out_are_held_and_others_are_written() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsfrom", "engine", "", "");
    fleet.edit("[hosts.attic]", "[ssh]\nallow_from = [\"203.0.113.0/24\"]\n\n[hosts.attic]");
    plan(&fleet).exits(3).says("would not let in").says("from where claw logs in now");
    apply(&fleet).exits(3);
    assert!(!machine.keys().contains("claw"));
    let ours = machine.run("ip route show default | cut -d ' ' -f 3");
    let ours = ours.trim();
    fleet.edit("\"203.0.113.0/24\"", &format!("\"203.0.113.0/24\", \"127.0.0.0/8\", \"{ours}/32\""));
    apply(&fleet).ok();
    converged(&fleet);
    assert!(machine.keys().contains(&format!("from=\"203.0.113.0/24,127.0.0.0/8,{ours}/32\" ssh-ed25519 ")));
    lose_person(&fleet);
    fleet.claw(&["exec", "attic", "--", "true"]).ok();
}

#[test]
fn trouble_on_a_host_is_named_with_what_to_do() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hstrouble", "offline", "", "");
    // its clock is off
    machine.run("printf '#!/bin/sh\\necho 1000000000\\n' >/usr/local/bin/date; chmod 755 /usr/local/bin/date");
    fleet.claw(&["status"]).ok().says("its clock is -");
    machine.run("rm /usr/local/bin/date");
    // a home that is read-only
    machine.run("mount --bind /root/.ssh /root/.ssh && mount -o remount,bind,ro /root/.ssh");
    apply(&fleet).says("✗ access/attic").says("mounted read-only");
    machine.run("umount /root/.ssh");
    // no room for claw's own files
    machine.run("mkdir -p /var/lib/claw && mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs /var/lib/claw");
    apply(&fleet).says("✗ access/attic").says("free disk space on the host");
    machine.run("umount /var/lib/claw");
    // an apt that does not work
    machine.run("mv /srv/debs /srv/gone");
    apply(&fleet).exits(4).says("✗ host/attic").says("install the engine").says("apt-get update");
    machine.run("mv /srv/gone /srv/debs");
}

#[test]
fn a_host_is_left_as_it_was_found_and_left_alone_where_the_file_says_so() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsgone", "engine", "", ANN);
    machine.load("claw-test/standin:1");
    let before = machine.keys();
    apply(&fleet).ok();
    let table = machine.table("attic");
    fleet.edit(&table, &format!("{table}suspend = {{ until = 2999-01-01, reason = \"moving\" }}\n"));
    machine.run("rm /etc/ssh/sshd_config.d/10-claw.conf; docker stop claw.hsgone.ann");
    plan(&fleet).says("attic is left alone until 2999-01-01: moving").exits(3);
    fleet.edit("suspend = { until = 2999-01-01, reason = \"moving\" }\n", "");
    apply(&fleet).ok();

    fleet.edit(&table, &format!("{table}state = \"absent\"\n"));
    fleet.claw(&["check"]).exits(65).says("agent `ann` runs on it");
    fleet.edit("[agents.ann]\n", "");
    fleet.claw(&["plan"]).ok().says("held, its data would be lost").says("waiting for that: access, host");
    fleet.claw(&["apply", "--yes", "--allow-destroy", "ann"]).ok();
    converged(&fleet);
    assert_eq!(machine.keys(), before);
    fleet.claw(&["destroy", "attic", "--yes"]).exits(64).says("state = \"absent\"");
    let left = "ls -d /var/lib/claw /etc/ssh/sshd_config.d/10-claw.conf /etc/systemd/system/claw-* 2>/dev/null; \
        iptables -t mangle -S | grep CLAW; docker ps -aq; docker volume ls -q; true";
    assert_eq!(machine.run(left), "", "nothing of claw's is left");
}

#[test]
fn hosts_behind_another_are_reached_through_it() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsjump", "engine", "", ANN);
    machine.load("claw-test/standin:1");
    let bastion = Machine::start("hsbastion", "bare", &fleet);
    // the host is reached at its own address, which only the bastion knows a way to
    let address = crate::support::inspect(&machine.name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    fleet.edit(&format!("address = \"127.0.0.1\"\nport = {}\n", machine.port), &format!("address = \"{address}\"\n"));
    let jump = format!(
        "[ssh.jump]\naddress = \"127.0.0.1\"\nport = {}\nhost_key = \"{}\"\n\n[hosts.attic]",
        bastion.port, bastion.host_key
    );
    fleet.edit("[hosts.attic]", &jump);
    apply(&fleet).ok();
    converged(&fleet);
    fleet.claw(&["chat", "ann", "hello"]).ok().says("hello");
    bastion.run("pkill -x sshd");
    plan(&fleet).exits(3).says("go through the jump host");
}

#[test]
fn an_apply_survives_an_sshd_with_one_session_and_a_host_that_boots_meanwhile() {
    if !machines() {
        return;
    }
    let (fleet, machine) = fleet_on("hsboot", "engine", "", "[agents.ann]\n[agents.bob]\n");
    machine.load("claw-test/standin:1");
    machine.run("echo 'MaxSessions 1' >/etc/ssh/sshd_config.d/01.conf; kill -HUP $(cat /run/sshd.pid)");
    fleet.claw(&["apply", "--yes", "--target", "attic"]).ok();
    let mut command = fleet.command(&["apply", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the first agent is being made", || {
        machine.try_run("docker volume ls -q").is_some_and(|list| !list.is_empty())
    });
    crate::support::docker(&["kill", &machine.name]).unwrap();
    crate::support::docker(&["start", &machine.name]).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    // what the boot broke off may have failed; nothing is half-made for good
    assert!([0, 1, 4].contains(&ran.code), "{}", ran.all());
    wait_until("the engine answers again", || machine.try_run("docker version").is_some());
    apply(&fleet).ok();
    converged(&fleet);
    fleet.claw(&["chat", "bob", "hello"]).ok().says("hello");
}

#[test]
fn a_real_openclaw_on_a_host_talks_through_a_tunnel() {
    if !machines() || !have_image("openclaw", "claw-test/openclaw:2026.9.6", ".ci/openclaw-images") {
        return;
    }
    let agents = AGENTS.replace("on = \"docker\"", "on = \"attic\"").replace("2026.9.5", "2026.9.6");
    let agents = agents.split("[agents.ada]").next().unwrap();
    let fleet = Fleet::new("hsreal", agents);
    fleet.secret("default/LLM_KEY", FIRST_KEY);
    fleet.claw(&["secret", "allow", "default/LLM_KEY", "fakellm"]).exits(0);
    let machine = Machine::start("hsreal", "engine", &fleet);
    fleet.write("fleet.toml", &format!("{}{}", fleet.read("fleet.toml"), machine.table("attic")));
    machine.load_all(&["claw-test/openclaw:2026.9.6", "claw-test/model"]);
    fleet.claw(&["apply", "--yes", "--target", "network/pete"]).ok();
    machine.run(&format!(
        "docker run -d --network claw.hsreal.pete --network-alias fakellm -e MODEL_KEYS={FIRST_KEY} claw-test/model"
    ));
    apply(&fleet).ok();
    converged(&fleet);
    fleet.claw(&["chat", "pete", "please remember mango"]).ok();
    fleet.claw(&["health", "pete"]).ok().says("OpenClaw 2026.9.6");

    let mut tunnel = fleet.command(&["tunnel", "pete"]);
    let mut tunnel = tunnel.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(tunnel.stdout.take().unwrap()), &mut url).unwrap();
    let token = machine.run("docker cp claw.hsreal.pete.anchor:/claw/secrets/secrets.json - | tar -xO");
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let answer =
        ask(url.trim().trim_start_matches("http://"), token["gateway_token"].as_str().unwrap(), "hello through it");
    assert!(answer.contains("200 OK") && answer.contains("hello through it"), "{answer}");
    signal(&tunnel, "INT");
    assert!(tunnel.wait().unwrap().success(), "^C ends a tunnel well");
    // the key is in the agent's secret file there, and nowhere else
    let inspected = machine.run(
        "docker inspect claw.hsreal.pete; docker logs claw.hsreal.pete 2>&1; cat /var/lib/claw/* 2>/dev/null; true",
    );
    assert!(!inspected.contains(FIRST_KEY) && !fleet.claw(&["history"]).ok().all().contains(FIRST_KEY));
}

/// Asks an agent at an address, and returns what it answers with its head.
fn ask(address: &str, token: &str, text: &str) -> String {
    use std::io::{Read, Write};
    let body =
        serde_json::json!({ "model": "openclaw", "messages": [{ "role": "user", "content": text }] }).to_string();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
