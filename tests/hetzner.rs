//! Fleets on the Hetzner Cloud, from nothing to nothing: the real binary, the API simulated on the wire, real machines with
//! cloud-init, sshd and an engine behind it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use claw_core::ssh::PublicKey;
use claw_host::{matches_label, pin_label};
use claw_sim::hetzner::Poke;

use crate::region::{Region, ZONE, regions};
use crate::support::{Fleet, Ran, docker, signal, standin_fleet, wait_until};

const PIN: &str = "claw-host-key";
const PIN_NEXT: &str = "claw-host-key-next";
const BORN: &str = "claw-first-contact";

/// A fleet in a project of its own; `more` are its agents and hosts.
fn fleet_in(region: &Region, id: &str, more: &str) -> Fleet {
    let mut fleet = standin_fleet(id, "");
    let text = fleet.read("fleet.toml").replace("[providers.docker]", "[providers.hetzner]");
    let text = text.replace("on = \"docker\"", "on = \"hetzner\"");
    let head = format!(
        "[defaults.host]\nlocation = \"fsn1\"\nsize = [\"cx23\", \"cpx22\"]\n\n[dns.\"{ZONE}\"]\nprovider = \"hetzner\"\n\n"
    );
    fleet.write("fleet.toml", &format!("{text}{head}{more}"));
    region.open_to(&mut fleet);
    fleet
}

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

/// Asserts that a host shows a key that never was in user data, and that its labels say so.
#[track_caller]
fn has_a_key_of_its_own(region: &Region, host: &str) {
    let (server, key) = (region.server(host), region.host_key(host));
    let key: PublicKey = key.parse().unwrap();
    assert!(matches_label(&key, &server.labels[PIN]), "{host} shows {key}, its labels are {:?}", server.labels);
    assert!(!server.labels.contains_key(BORN) && !server.labels.contains_key(PIN_NEXT), "{:?}", server.labels);
    let user_data = server.user_data.unwrap();
    assert!(!user_data.contains(&key.to_string()), "it came with the user data");
    let private = user_data.split("\\n").nth(3).unwrap();
    assert!(region.try_run(host, &format!("grep -rqF {private} /etc /root /var/lib/claw")).is_none(), "it is void");
}

/// Says how long the parts of a long test took, for who reads its output.
struct Laps(Instant);

impl Laps {
    fn lap(&mut self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.0.elapsed().as_secs_f32());
        self.0 = Instant::now();
    }
}

const FLEET: &str = "[agents.pete]\ndomain = \"pete.brabec.example\"\n\n[hosts.shared]\non = \"hetzner\"\nsize = \"cx33\"\n\n\
    [agents.joe]\non = \"shared\"\n";

#[test]
fn a_fleet_comes_up_lives_and_goes_with_real_machines() {
    if !regions() {
        return;
    }
    let region = Region::new("life", "203.0.113.0/28");
    let fleet = fleet_in(&region, "hzlife", FLEET);
    let mut laps = Laps(Instant::now());

    // one apply, and all of it stands
    plan(&fleet).exits(2).says("+ server/pete").says("+ host/shared").says("+ container/joe");
    laps.lap("plan of everything");
    apply(&fleet).ok().says("✓ container/pete created");
    laps.lap("first apply");
    converged(&fleet);
    laps.lap("plan of nothing");
    assert_eq!([region.count("servers"), region.count("primary_ips")], [2, 4]);
    assert_eq!([region.count("ssh_keys"), region.count("firewalls")], [1, 1]);
    for host in ["pete", "shared"] {
        has_a_key_of_its_own(&region, host);
    }
    let set = region.api("GET", &format!("/v1/zones/{ZONE}/rrsets/pete/A"), "");
    let address = region.server("pete").ipv4.unwrap().to_string();
    assert_eq!(set["rrset"]["records"][0]["value"], address);

    // what people do all day
    fleet.claw(&["status"]).ok().says("pete").says("joe").says(&address);
    fleet.claw(&["exec", "pete", "--", "id", "-u"]).ok().says("1000");
    fleet.claw(&["exec", "shared", "--", "hostname"]).ok().says("claw-hzlife-shared");
    fleet.claw(&["chat", "pete", "please remember mango"]).ok().says("mango");
    fleet.claw(&["chat", "joe", "hello"]).ok().says("hello");
    fleet.claw(&["health"]).ok().says("gateway    healthy");
    through_a_tunnel(&fleet);
    laps.lap("a day's work");

    // a larger machine: off and on again with its disk, its agents healthy afterwards
    let before = region.run("shared", "cat /etc/machine-id /var/lib/claw/mark 2>/dev/null; ls /var/lib/docker/volumes");
    fleet.edit("size = \"cx33\"", "size = \"cx43\"");
    plan(&fleet).exits(2).says("goes off and on again");
    apply(&fleet).ok();
    laps.lap("resize");
    converged(&fleet);
    let after = region.run("shared", "cat /etc/machine-id /var/lib/claw/mark 2>/dev/null; ls /var/lib/docker/volumes");
    assert_eq!(before, after, "the disk is the same");
    fleet.claw(&["chat", "joe", "and now?"]).ok().says("hello");
    laps.lap("and what is left after it");

    // turned off by hand
    let name = region.server("shared").name;
    region.handle.with(|cloud, now| cloud.poke(&Poke::PowerOff(name), now)).unwrap();
    let off = || docker(&["inspect", "-f", "{{.State.Running}}", &region.container("shared")]).unwrap() == "false";
    wait_until("the machine is off", off);
    plan(&fleet).says("off").says("server/shared");
    laps.lap("found off");
    // what is on it could not be seen before
    apply(&fleet).exits(4).says("✓ server/shared").says("held");
    laps.lap("turned on");
    converged(&fleet);
    fleet.claw(&["chat", "joe", "still?"]).ok().says("hello");

    // claw's login key is another one, on the machines and at the cloud
    let before = region.api("GET", "/v1/ssh_keys", "")["ssh_keys"][0]["public_key"].clone();
    fleet.claw(&["rotate", "ssh", "--now", "--yes"]).ok();
    laps.lap("rotate ssh");
    apply(&fleet).ok();
    converged(&fleet);
    let keys = region.api("GET", "/v1/ssh_keys", "");
    assert_eq!(keys["ssh_keys"].as_array().unwrap().len(), 1, "{keys}");
    assert_ne!(keys["ssh_keys"][0]["public_key"], before);
    assert!(!region.run("pete", "cat /root/.ssh/authorized_keys").contains(before.as_str().unwrap()));
    laps.lap("and the cloud's key");

    // a machine's host key is another one, and no file was touched
    let (before, text) = (region.host_key("pete"), fleet.read("fleet.toml"));
    fleet.claw(&["rotate", "host-key", "pete"]).ok().says("claw apply");
    assert!(region.server("pete").labels.contains_key(PIN_NEXT));
    fleet.claw(&["rotate", "host-key", "pete", "--finish"]).exits(1).says("nothing to finish");
    plan(&fleet).exits(2).says("host/pete");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(fleet.read("fleet.toml"), text);
    assert_ne!(region.host_key("pete"), before);
    has_a_key_of_its_own(&region, "pete");
    laps.lap("rotate host-key");

    // a machine that shows a key nobody knows is not talked to
    let other = "f=$(sshd -T | sed -n 's/^hostkey //p' | head -1); rm -f $f $f.pub; \
        ssh-keygen -q -t ed25519 -N '' -C '' -f $f; kill -HUP $(cat /run/sshd.pid); cut -d' ' -f1,2 $f.pub";
    let shown: PublicKey = region.run("shared", other).parse().unwrap();
    let pinned = region.server("shared").labels[PIN].clone();
    let ran = plan(&fleet).exits(3).says("hard stop").says(&shown.fingerprint());
    assert_ne!(pin_label(&shown), pinned);
    assert_eq!(ran.all().matches("SHA256:").count() % 2, 0, "both fingerprints: {}", ran.all());
    apply(&fleet).exits(3);
    fleet.claw(&["exec", "shared", "--", "true"]).exits(1).says("hard stop");
    // unless somebody read it on the console
    let name = region.server("shared").name;
    fleet.claw(&["adopt", "server", &name, "--as", "shared", "--host-key", &shown.to_string()]).ok();
    apply(&fleet).ok();
    converged(&fleet);
    laps.lap("another key");

    // and nothing is left
    fleet.claw(&["destroy", "--yes"]).exits(3).says("all data on the machine would be lost");
    assert_eq!(region.count("servers"), 2, "data goes only where that was said");
    fleet.claw(&["destroy", "--allow-destroy", "all", "--yes"]).ok();
    for what in ["servers", "primary_ips", "ssh_keys", "firewalls"] {
        assert_eq!(region.count(what), 0, "{what}");
    }
    let sets = region.api("GET", &format!("/v1/zones/{ZONE}/rrsets"), "");
    let kinds: Vec<&str> = sets["rrsets"].as_array().unwrap().iter().map(|set| set["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["NS", "SOA"], "the zone stays, empty");
    wait_until("the machines are gone", || region.containers().is_empty());
    laps.lap("destroy");
}

/// Asks a gateway through `claw tunnel` how it is.
fn through_a_tunnel(fleet: &Fleet) {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut command = fleet.command(&["tunnel", "pete"]);
    let mut tunnel = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(tunnel.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
    signal(&tunnel, "INT");
    assert!(tunnel.wait().unwrap().success());
}

#[test]
fn a_kill_anywhere_in_the_first_contact_leaves_what_the_next_apply_finishes() {
    if !regions() {
        return;
    }
    let region = Region::new("kill", "203.0.113.16/28");
    let fleet = fleet_in(&region, "hzkill", "[hosts.left]\non = \"hetzner\"\n\n[hosts.right]\non = \"hetzner\"\n");
    let mut kills = 0;
    // each run is given longer: instants of the making, of the first boot, of the hardening and of the key's change
    for tenths in (3..).step_by(4) {
        let mut command = fleet.command(&["apply", "--yes"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let end = Instant::now() + Duration::from_millis(tenths * 100);
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_some() {
            Ran::from(child.wait_with_output().unwrap()).ok();
            break;
        }
        signal(&child, "KILL");
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 30, "it gets there at last");
    }
    assert!(kills >= 5, "killed {kills} times");
    eprintln!("killed {kills} times");
    converged(&fleet);
    assert_eq!([region.count("servers"), region.count("primary_ips"), region.count("firewalls")], [2, 4, 1]);
    for host in ["left", "right"] {
        has_a_key_of_its_own(&region, host);
        fleet.claw(&["exec", host, "--", "true"]).ok();
    }
}

#[test]
fn a_machine_that_did_not_take_its_user_data_is_said_to_be_such() {
    if !regions() {
        return;
    }
    let region = Region::new("deaf", "203.0.113.32/28");
    let fleet = fleet_in(&region, "hzdeaf", "[hosts.left]\non = \"hetzner\"\n");
    region.ignore_user_data(true);
    let ran = apply(&fleet).exits(4).says("✓ server/left").says("hard stop").says("user data").says("cloud-init");
    assert!(region.server("left").labels.contains_key(BORN), "{}", ran.all());
    plan(&fleet).exits(3).says("user data");
    // written anew in the console, it does
    region.ignore_user_data(false);
    let name = region.server("left").name;
    region.handle.with(|cloud, now| cloud.poke(&Poke::Rebuild(name), now)).unwrap();
    wait_until("it boots with its user data", || {
        region.try_run("left", "test -e /var/lib/cloud/seed/nocloud/user-data && pgrep -x sshd").is_some()
    });
    apply(&fleet).ok();
    converged(&fleet);
    has_a_key_of_its_own(&region, "left");
}

#[test]
fn names_are_done_when_their_own_servers_say_so() {
    use std::sync::atomic::Ordering::Relaxed;
    let region = Region::bare("names");
    let records =
        |value: &str| format!("[[dns.\"{ZONE}\".records]]\nname = \"www\"\ntype = \"A\"\nvalues = [\"{value}\"]\n");
    let more = "[[dns.\"brabec.example\".records]]\nname = \"@\"\ntype = \"TXT\"\nvalues = [\"v=spf1 \\\"mx\\\" -all\"]\n\
        [[dns.\"brabec.example\".records]]\nname = \"@\"\ntype = \"MX\"\nvalues = [\"10 mail.brabec.example.\"]\n\
        [[dns.\"brabec.example\".records]]\nname = \"@\"\ntype = \"CAA\"\nvalues = [\"0 issue \\\"ca.example\\\"\"]\n\
        [[dns.\"brabec.example\".records]]\nname = \"_sip._tcp\"\ntype = \"SRV\"\nvalues = [\"0 5 5060 www.brabec.example.\"]\n\
        [[dns.\"brabec.example\".records]]\nname = \"web\"\ntype = \"CNAME\"\nvalues = [\"www.brabec.example.\"]\n\
        [[dns.\"brabec.example\".records]]\nname = \"www\"\ntype = \"AAAA\"\nvalues = [\"2001:db8::1\"]\n";
    let fleet = fleet_in(&region, "hznames", &format!("{}{more}", records("192.0.2.1")));
    apply(&fleet).ok();
    converged(&fleet);

    // one is behind, and is waited for
    region.names[1].behind_ms.store(2500, Relaxed);
    fleet.edit("192.0.2.1", "192.0.2.2");
    apply(&fleet).ok();
    assert_eq!(region.look_up("www", "A"), [Some(vec!["192.0.2.2".to_owned()]), Some(vec!["192.0.2.2".to_owned()])]);

    // one says nothing: that is told, and no failure
    region.names[1].silent.store(true, Relaxed);
    fleet.edit("192.0.2.2", "192.0.2.3");
    apply(&fleet).ok().says("could not be looked up everywhere").says("no answer");
    region.names[1].silent.store(false, Relaxed);
    region.names[1].behind_ms.store(0, Relaxed);

    // the registrar sends everybody elsewhere
    assert!(region.handle.with(|cloud, _| cloud.settings.delegated_elsewhere.insert(ZONE.to_owned())));
    fleet.edit("192.0.2.3", "192.0.2.4");
    apply(&fleet).ok().says("delegated to ns1.example.net (invalid)");
    converged(&fleet);
}
