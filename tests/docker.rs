//! claw on a real Docker engine, with the stand-in gateway: what is made, what a change costs, what comes back after it
//! failed, what is left alone. The real OpenClaw is the duty of `openclaw`, kills at every instant that of `chaos`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Fleet, Ran, Sweep, ask, chat, docker, have_image, inspect, parts, read_back, signal, standin_fleet, wait_until,
};

const SCRIPT: &str = ".ci/standin-image";

fn engine() -> bool {
    have_image("docker", "claw-test/standin:1", SCRIPT)
}

/// A fleet of one agent, `ann`, that is up.
fn one(id: &'static str) -> (Sweep, Fleet, String) {
    let (sweep, fleet) = (Sweep::new(id), standin_fleet(id, "[agents.ann]\n"));
    apply(&fleet).ok();
    (sweep, fleet, format!("claw.{id}.ann"))
}

fn apply(fleet: &Fleet) -> Ran {
    fleet.claw(&["apply", "--yes"])
}

fn plan(fleet: &Fleet) -> Ran {
    fleet.claw(&["plan", "--detailed-exitcode"])
}

/// Asserts that nothing is to do.
#[track_caller]
fn converged(fleet: &Fleet) {
    plan(fleet).ok().says("Nothing to do");
}

/// Which container it is, and since when it runs.
fn life(gateway: &str) -> (String, String) {
    (inspect(gateway, "{{.Id}}"), inspect(gateway, "{{.State.StartedAt}}"))
}

#[test]
fn two_agents_come_up_hardened_and_the_second_plan_is_empty() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdtwo");
    let fleet = standin_fleet("hdtwo", "[agents.ann]\n[agents.bob]\nenv = { TZ = \"Europe/Prague\" }\n");
    plan(&fleet).exits(2);
    assert_eq!(sweep.marked(), [""; 0], "a plan makes nothing");
    apply(&fleet).ok();
    converged(&fleet);
    apply(&fleet).ok().says("Nothing to do");
    assert_eq!(sweep.marked(), parts("hdtwo", &["ann", "bob"]));
    check_hardening("claw.hdtwo.bob", "claw.hdtwo.bob");
    assert!(chat("claw.hdtwo.bob", "hello").contains("hello"));

    fleet.edit("standin:1", "standin:2");
    apply(&fleet).ok();
    check_hardening("claw.hdtwo.bob", "claw.hdtwo.bob");
    assert_eq!(sweep.marked(), parts("hdtwo", &["ann", "bob"]));
}

/// Looks at everything that makes a gateway hard to leave, and at what its agent asked for.
#[track_caller]
fn check_hardening(gateway: &str, network: &str) {
    for (template, expected) in [
        ("{{.Config.User}}", "1000:1000"),
        ("{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.Privileged}}", "[ALL] [] false"),
        ("{{.HostConfig.SecurityOpt}}", "[no-new-privileges:true]"),
        ("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Init}}", "true true"),
        ("{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "512 134217728 1000000000"),
        ("{{.HostConfig.RestartPolicy.Name}}", "unless-stopped"),
        ("{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}}{{end}}{{end}}", "127.0.0.1"),
        ("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", network),
        (
            "{{range .Mounts}}{{.Destination}}={{.RW}} {{end}}{{range .HostConfig.Binds}}{{.}}{{end}}",
            "/claw/config=false /claw/secrets=false /home/node/.openclaw=true",
        ),
        ("{{index .Config.Labels \"claw.env\"}}", "TZ"),
    ] {
        let mut found: Vec<String> = inspect(gateway, template).split_whitespace().map(str::to_owned).collect();
        if template.contains(".Mounts") {
            found.sort();
        }
        assert_eq!(found.join(" "), expected, "{template} of {gateway}");
    }
    assert!(inspect(gateway, "{{.Config.Env}}").contains("TZ=Europe/Prague"), "its variables are there");
}

#[test]
fn changed_limits_and_variables_replace_the_container_and_keep_the_conversation() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hdlim");
    chat(&ann, "remember me");
    let before = inspect(&ann, "{{.Id}}");
    fleet.edit("[agents.ann]\n", "[agents.ann]\nenv = { TZ = \"UTC\" }\nresources.memory = \"192MiB\"\n");
    plan(&fleet).exits(2).says("replaced");
    apply(&fleet).ok();
    converged(&fleet);
    assert_ne!(inspect(&ann, "{{.Id}}"), before);
    assert_eq!(inspect(&ann, "{{.HostConfig.Memory}}"), (192 * 1024 * 1024).to_string());
    assert!(chat(&ann, "and now").contains("remember me"));
    assert_eq!(sweep.marked(), parts("hdlim", &["ann"]));
}

#[test]
fn a_model_is_changed_hot_and_a_restart_setting_restarts_the_same_container() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdhot");
    let before = life(&ann);
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    plan(&fleet).exits(2).says("hot").says("agents.defaults.model.primary");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(life(&ann), before, "nothing restarted");
    assert!(chat(&ann, "who are you").contains("[model fake/fake-2]"), "the gateway runs with it");

    fleet.edit("[agents.ann]\n", "[agents.ann]\nsettings.bindings = []\n");
    plan(&fleet).exits(2).says("restart: some seconds");
    apply(&fleet).ok();
    converged(&fleet);
    let after = life(&ann);
    assert_eq!(after.0, before.0, "the same container");
    assert_ne!(after.1, before.1, "restarted");
}

#[test]
fn settings_the_image_refuses_change_nothing() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdref");
    let (before, config) = (life(&ann), read_back(&ann, "/claw/config/openclaw.json").unwrap().content);
    let good = fleet.read("fleet.toml");
    fleet.edit("[agents.ann]\n", "[agents.ann]\nsettings.nonsense = 1\n");
    apply(&fleet).exits(1).says("Unrecognized key").says("refuses it");
    assert_eq!(read_back(&ann, "/claw/config/openclaw.json").unwrap().content, config);
    assert_eq!(life(&ann), before);
    fleet.write("fleet.toml", &good);
    converged(&fleet);
}

#[test]
fn a_rotated_secret_reaches_the_running_gateway_in_a_private_file() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdsec");
    let before = life(&ann);
    fleet.secret("default/LLM_KEY", "sk-rotated");
    plan(&fleet).exits(2).says("default.LLM_KEY: changed");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(life(&ann), before, "nothing restarted");
    let file = read_back(&ann, "/claw/secrets/secrets.json").unwrap();
    assert_eq!((file.mode & 0o7777, file.uid, file.gid), (0o600, 1000, 1000));
    assert!(String::from_utf8_lossy(&file.content).contains("sk-rotated"));
    assert!(logs(&ann).contains("secrets reloaded"), "the gateway read it again:\n{}", logs(&ann));
    assert_eq!(ask(&ann, "models.authStatus")["payload"]["providers"][0]["status"], "ok");
    assert_eq!(ask(&ann, "status")["payload"]["degradedSecretOwners"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_gateway_that_goes_on_taking_its_old_token_gets_it_back() {
    if !engine() || !have_image("docker", "claw-test/standin:lenient", SCRIPT) {
        return;
    }
    let (_sweep, fleet, ann) = one("hdlen");
    let secrets = || read_back(&ann, "/claw/secrets/secrets.json").unwrap().content;
    fleet.edit("standin:1", "standin:lenient");
    apply(&fleet).ok();
    let before = secrets();
    fleet.claw(&["rotate", "token", "ann"]).ok();
    apply(&fleet).exits(4).says("refuse the token it had: it still takes it").says("taken back");
    assert_eq!(secrets(), before);
    assert!(chat(&ann, "hello").contains("hello"), "it answers to the token it had");

    fleet.edit("standin:lenient", "standin:1");
    apply(&fleet).ok();
    converged(&fleet);
    assert_ne!(secrets(), before);
}

#[test]
fn a_helper_that_a_killed_run_left_at_work_does_not_take_the_next_ones_files() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdleft");
    let label = |what: &str| format!("--label=claw.{what}");
    for step in ["secrets", "config"] {
        let (name, script) = (format!("{ann}.helper-{step}"), format!("while :; do rm -rf /claw/{step}/.stage; done"));
        let marks = [label("fleet=hdleft"), label("agent=ann"), label("role=helper")];
        let mut args = vec!["run", "-d", "--name", &name, "--user=0", "--volumes-from"];
        let anchor = format!("{ann}.anchor");
        args.push(&anchor);
        args.extend(marks.iter().map(String::as_str));
        args.extend(["claw-test/standin:1", "sh", "-c", &script]);
        docker(&args).unwrap();
    }
    fleet.secret("default/LLM_KEY", "sk-rotated");
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    apply(&fleet).ok();
    converged(&fleet);
}

fn logs(gateway: &str) -> String {
    let output = Command::new("docker").args(["logs", gateway]).stdin(Stdio::null()).output().unwrap();
    Ran::from(output).all()
}

#[test]
fn a_new_image_keeps_the_conversation_and_leaves_nothing_behind() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hdimg");
    chat(&ann, "remember me");
    fleet.edit("standin:1", "standin:2");
    plan(&fleet).exits(2).says("its state is kept");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(inspect(&ann, "{{.Config.Image}}"), "claw-test/standin:2");
    assert!(chat(&ann, "and now").contains("remember me"));
    assert_eq!(sweep.marked(), parts("hdimg", &["ann"]));
}

/// The state's schema: what an image migrates, and an older one refuses.
fn schema(gateway: &str) -> serde_json::Value {
    let file = read_back(gateway, "/home/node/.openclaw/state/standin.json").unwrap();
    serde_json::from_slice::<serde_json::Value>(&file.content).unwrap()["schema"].clone()
}

#[test]
fn a_broken_image_is_taken_back_with_state_and_configuration() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hdbrk");
    let good = fleet.read("fleet.toml");
    chat(&ann, "remember me");
    let config = read_back(&ann, "/claw/config/openclaw.json").unwrap().content;
    fleet.edit("standin:1", "standin:broken");
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    apply(&fleet).exits(4).says("this image is broken");
    assert_eq!(inspect(&ann, "{{.Config.Image}}"), "claw-test/standin:1");
    assert_eq!(schema(&ann), 1, "the state from before the migration");
    assert_eq!(read_back(&ann, "/claw/config/openclaw.json").unwrap().content, config);
    let reply = chat(&ann, "and now");
    assert!(reply.contains("remember me") && reply.contains("[model fake/fake-1]"), "{reply}");
    assert_eq!(sweep.marked(), parts("hdbrk", &["ann"]), "nothing is left over");
    plan(&fleet).exits(2).says("standin:broken").says("fake/fake-2");
    fleet.write("fleet.toml", &good);
    converged(&fleet);
}

#[test]
fn going_back_from_a_broken_image_does_not_bring_an_older_configuration_back() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdold");
    fleet.edit("standin:1", "standin:2");
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    apply(&fleet).ok();
    fleet.edit("standin:2", "standin:broken");
    apply(&fleet).exits(4);
    assert!(chat(&ann, "hello").contains("[model fake/fake-2]"), "the configuration from right before");
    fleet.edit("standin:broken", "standin:2");
    converged(&fleet);
}

#[test]
fn a_gateway_that_refuses_to_start_is_stopped_and_explained() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hd78");
    let fleet = standin_fleet("hd78", "[agents.ann]\n");
    fleet.edit("standin:1", "standin:exit78");
    apply(&fleet).exits(4).says("exit 78").says("bad config");
    let restarts = || inspect("claw.hd78.ann", "{{.RestartCount}} {{.State.Running}} {{.State.Restarting}}");
    let before = restarts();
    assert!(before.ends_with("false false"), "{before}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(restarts(), before, "it does not loop");
    fleet.claw(&["drift"]).exits(2).says("exit 78");
    fleet.edit("standin:exit78", "standin:1");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(sweep.marked(), parts("hd78", &["ann"]));
}

#[test]
fn a_missing_image_stops_its_agent_and_no_other() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdmis");
    let fleet = standin_fleet("hdmis", "[agents.ann]\n[agents.bob]\nimage = \"127.0.0.1:9/claw-test/none:1\"\n");
    let ran = apply(&fleet).exits(4).says("pull 127.0.0.1:9/claw-test/none:1");
    assert!(ran.all().contains("registry"), "it says what to do:\n{}", ran.all());
    assert!(chat("claw.hdmis.ann", "hello").contains("hello"), "the other agent is up");
    fleet.edit("127.0.0.1:9/claw-test/none:1", "claw-test/standin:1");
    apply(&fleet).ok();
    converged(&fleet);

    // one that runs goes on running, untouched
    let before = life("claw.hdmis.ann");
    fleet.edit(
        "image = \"claw-test/standin:1\"\nmodel = \"fake/fake-1\"",
        "image = \"127.0.0.1:9/none:1\"\nmodel = \"fake/fake-2\"",
    );
    apply(&fleet).exits(4).says("pull 127.0.0.1:9/none:1").says("config/bob updated");
    assert_eq!(life("claw.hdmis.ann"), before);
    assert!(chat("claw.hdmis.ann", "again").contains("[model fake/fake-1]"));
    assert_eq!(sweep.marked(), parts("hdmis", &["ann", "bob"]));
}

#[test]
fn a_taken_port_is_named_and_a_freed_one_heals() {
    if !engine() {
        return;
    }
    let _sweep = Sweep::new("hdport");
    // below the range the engine picks from
    let taken = (21_000..30_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let fleet = standin_fleet("hdport", &format!("[agents.ann]\nport = {port}\n"));
    apply(&fleet).exits(4).says("port").says("take another");
    drop(taken);
    plan(&fleet).exits(2);
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(docker(&["port", "claw.hdport.ann", "18789/tcp"]).unwrap(), format!("127.0.0.1:{port}"));
}

/// Things of somebody else that stand in a fleet's place; removed when the test ends.
struct Stranger(&'static str, String);

impl Stranger {
    fn new(kind: &'static str, name: &str, args: &[&str]) -> Self {
        let stranger = Self(kind, name.to_owned());
        stranger.remove();
        assert!(docker(&[&[kind, "create"], args].concat()).is_some(), "a foreign {kind} is made");
        stranger
    }

    fn id(&self) -> Option<String> {
        docker(&[self.0, "inspect", "--format", "{{json .}}", &self.1])
    }

    fn remove(&self) {
        docker(&[self.0, "rm", &self.1]);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.remove();
    }
}

#[test]
fn what_stands_in_our_place_without_our_mark_is_held_and_left_alone() {
    if !engine() {
        return;
    }
    let image = "claw-test/standin:1";
    for (id, kind, name, args) in [
        ("hdfor1", "container", "claw.hdfor1.ann", vec!["--name", "claw.hdfor1.ann", image, "true"]),
        ("hdfor2", "container", "claw.hdfor2.ann.anchor", vec!["--name", "claw.hdfor2.ann.anchor", image, "true"]),
        ("hdfor3", "volume", "claw.hdfor3.ann.state", vec!["claw.hdfor3.ann.state"]),
        ("hdfor4", "network", "claw.hdfor4.ann", vec!["claw.hdfor4.ann"]),
    ] {
        let (sweep, stranger) = (Sweep::new(id), Stranger::new(kind, name, &args));
        let (fleet, before) = (standin_fleet(id, "[agents.ann]\n"), stranger.id());
        assert!(before.is_some());
        plan(&fleet).exits(3).says("without this fleet's mark");
        apply(&fleet).exits(4);
        apply(&fleet).exits(3);
        fleet.claw(&["drift"]).exits(3).says("foreign");
        assert_eq!(stranger.id(), before, "the foreign {kind} is as it was");
        fleet.claw(&["destroy", "--yes", "--allow-destroy", "all"]);
        assert_eq!(stranger.id(), before, "the foreign {kind} is as it was after a destroy");
        assert_eq!(sweep.marked(), [""; 0], "all that was ours is gone");
        drop(stranger);
        apply(&fleet).ok();
        converged(&fleet);
    }
}

#[test]
fn whatever_is_removed_by_hand_comes_back() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hdheal");
    let anchor = format!("{ann}.anchor");
    let state = format!("{ann}.state");
    chat(&ann, "remember me");
    for removed in [
        vec![vec!["kill", &ann]],
        vec![vec!["rm", "-f", &ann]],
        vec![vec!["rm", "-f", &anchor]],
        vec![vec!["rm", "-f", &ann, &anchor], vec!["network", "rm", &ann]],
        vec![vec!["stop", "-t", "1", &ann], vec!["network", "rm", &ann]],
    ] {
        removed.iter().for_each(|args| assert!(docker(args).is_some(), "{args:?}"));
        fleet.claw(&["drift"]).exits(2);
        apply(&fleet).ok();
        converged(&fleet);
        assert!(chat(&ann, "still here").contains("remember me"), "after {removed:?}");
        assert_eq!(sweep.marked(), parts("hdheal", &["ann"]), "after {removed:?}");
    }
    docker(&["rm", "-f", &ann, &anchor]).unwrap();
    docker(&["volume", "rm", &state]).unwrap();
    fleet.claw(&["drift"]).exits(3).says("its data would be lost");
    apply(&fleet).exits(3).says("--allow-destroy ann");
    fleet.claw(&["apply", "--yes", "--allow-destroy", "ann"]).ok();
    converged(&fleet);
    assert!(!chat(&ann, "who are you").contains("remember me"), "its memory went with its volume");
    assert_eq!(sweep.marked(), parts("hdheal", &["ann"]));
}

#[test]
fn a_second_network_of_the_same_name_is_removed() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hdnet");
    create_network(&format!(r#"{{"Name":"{ann}","Labels":{{"claw.fleet":"hdnet","claw.agent":"ann"}}}}"#));
    assert_eq!(sweep.marked().len(), parts("hdnet", &["ann"]).len() + 1);
    let before = life(&ann);
    plan(&fleet).exits(2).says("copies");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(sweep.marked(), parts("hdnet", &["ann"]));
    assert_eq!(life(&ann), before, "the one in use stayed");
}

/// Creates a network without the check for its name that the docker command line asks for.
fn create_network(body: &str) {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let mut stream = UnixStream::connect(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock")).unwrap();
    let head = "POST /v1.41/networks/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("201 Created"), "{answer}");
}

#[test]
fn an_anchor_removed_together_with_changes_does_not_hide_them_from_the_gateway() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdanc");
    let before = life(&ann);
    docker(&["rm", "-f", &format!("{ann}.anchor")]).unwrap();
    fleet.secret("default/LLM_KEY", "sk-rotated");
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    apply(&fleet).ok();
    converged(&fleet);
    let told = logs(&ann).contains("secrets reloaded") || life(&ann).1 != before.1;
    assert!(told, "the gateway runs with the secret from before:\n{}", logs(&ann));
    assert!(chat(&ann, "hello").contains("[model fake/fake-2]"));
}

#[test]
fn a_configuration_edited_by_hand_is_shown_and_put_right() {
    if !engine() {
        return;
    }
    let (_sweep, fleet, ann) = one("hdedit");
    let file = read_back(&ann, "/claw/config/openclaw.json").unwrap().content;
    let edited = String::from_utf8(file).unwrap().replace("fake/fake-1", "fake/fake-9");
    fleet.write("edited/openclaw.json", &edited);
    let from = fleet.path().join("edited/openclaw.json");
    docker(&["cp", from.to_str().unwrap(), &format!("{ann}.anchor:/claw/config/openclaw.json")]).unwrap();
    fleet.claw(&["drift"]).exits(2).says("fake/fake-9");
    plan(&fleet).exits(2).says("fake/fake-9");
    apply(&fleet).ok();
    converged(&fleet);
    assert!(chat(&ann, "who are you").contains("[model fake/fake-1]"));
}

#[test]
fn a_container_removed_while_apply_waits_for_it_is_reported_and_comes_back() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdrace");
    let fleet = standin_fleet("hdrace", "[agents.ann]\nenv = { STANDIN_READY_MS = \"3000\" }\n");
    let run = piped(fleet.command(&["apply", "--yes"]));
    wait_until("the gateway runs", || is_running("claw.hdrace.ann"));
    docker(&["rm", "-f", "claw.hdrace.ann"]).unwrap();
    Ran::from(run.wait_with_output().unwrap()).exits(4).says("gone").says("apply again");
    apply(&fleet).ok();
    converged(&fleet);
    assert_eq!(sweep.marked(), parts("hdrace", &["ann"]));
}

fn piped(mut command: Command) -> std::process::Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_running(gateway: &str) -> bool {
    docker(&["inspect", "--format", "{{.State.Running}}", gateway]).as_deref() == Some("true")
}

#[test]
fn agents_cannot_reach_each_other() {
    if !engine() {
        return;
    }
    let _sweep = Sweep::new("hdwall");
    let fleet = standin_fleet("hdwall", "[agents.ann]\n[agents.bob]\n");
    apply(&fleet).ok();
    let (ann, bob) = ("claw.hdwall.ann", "claw.hdwall.bob");
    let address = |name: &str| inspect(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let asks = |from: &str, to: &str, port: &str| {
        let script = format!("printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {to} {port}");
        docker(&["exec", from, "sh", "-c", &script]).is_some_and(|answer| answer.contains("live"))
    };
    assert!(asks(ann, &address(ann), "18789"), "its own address answers");
    assert!(!asks(ann, &address(bob), "18789"), "the other's bridge does not");
    let bridge = inspect(ann, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}");
    let published = docker(&["port", bob, "18789/tcp"]).unwrap();
    let port = published.rsplit(':').next().unwrap();
    assert!(!asks(ann, &bridge, port), "nor the other's published port, through the host");
}

#[test]
fn destroying_needs_the_agents_name_and_then_leaves_nothing() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hddes");
    let before = (life(&ann), sweep.marked());
    fleet.claw(&["destroy", "--yes"]).exits(3).says("--allow-destroy ann");
    assert_eq!((life(&ann), sweep.marked()), before);
    fleet.claw(&["destroy", "--yes", "--allow-destroy", "ann"]).ok();
    assert_eq!(sweep.marked(), [""; 0]);
}

#[test]
fn an_agent_removed_from_the_file_is_held_until_its_data_may_go() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdrem");
    let fleet = standin_fleet("hdrem", "[agents.ann]\n[agents.bob]\n");
    apply(&fleet).ok();
    fleet.edit("[agents.bob]\n", "");
    plan(&fleet).exits(3).says("its data would be lost");
    apply(&fleet).exits(3).says("--allow-destroy bob");
    assert_eq!(sweep.marked(), parts("hdrem", &["ann", "bob"]));
    fleet.claw(&["drift"]).exits(3).says("orphan");
    let before = life("claw.hdrem.ann");
    fleet.claw(&["apply", "--yes", "--allow-destroy", "bob"]).ok();
    assert_eq!(sweep.marked(), parts("hdrem", &["ann"]));
    assert_eq!(life("claw.hdrem.ann"), before);
    converged(&fleet);
}

#[test]
fn a_secret_is_nowhere_but_in_its_agents_secret_file() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdleak");
    let fleet = standin_fleet("hdleak", "[agents.ann]\n[agents.bob]\n");
    let canaries = ["sk-canary-5f1d7c-first", "sk-canary-5f1d7c-second"];
    let mut watch = Command::new("docker");
    watch.args(["events", "--filter", "label=claw.fleet=hdleak", "--format", "{{json .}}"]);
    let mut events = piped(watch);
    let (mut said, over) = (Vec::new(), AtomicBool::new(false));
    let arguments = std::thread::scope(|scope| {
        let seen = scope.spawn(|| processes_until(&over));
        for canary in canaries {
            fleet.secret("default/LLM_KEY", canary);
            for args in [
                &["plan", "--full"][..],
                &["plan", "--json"],
                &["apply", "--yes", "--json"],
                &["secret", "list"],
                &["show", "ann"],
                &["status", "--json"],
                &["drift", "--json"],
            ] {
                said.push((args.join(" "), fleet.claw(args).all()));
            }
        }
        fleet.edit("standin:1", "standin:broken");
        said.push(("a failed apply".to_owned(), apply(&fleet).exits(4).all()));
        over.store(true, Ordering::SeqCst);
        seen.join().unwrap()
    });
    events.kill().unwrap();
    let told = Ran::from(events.wait_with_output().unwrap()).all();
    assert!(told.contains("exec_create") && arguments.contains("apply"), "both were watched");
    said.extend([("the engine's events".to_owned(), told), ("arguments".to_owned(), arguments)]);
    for name in sweep.marked() {
        let all: String = ["container", "volume", "network"]
            .iter()
            .filter_map(|kind| docker(&[kind, "inspect", &name]))
            .chain([logs(&name)])
            .collect();
        said.push((name, all));
    }
    for agent in ["ann", "bob"] {
        let config = format!("claw.hdleak.{agent}.anchor:/claw/config");
        let output = Command::new("docker").args(["cp", &config, "-"]).output().unwrap();
        said.push((config, Ran::from(output).all()));
        let own = read_back(&format!("claw.hdleak.{agent}"), "/claw/secrets/secrets.json").unwrap();
        assert!(String::from_utf8_lossy(&own.content).contains(canaries[1]), "it is where it shall be");
    }
    files_below(fleet.path(), &mut said);
    assert!(said.iter().any(|(name, _)| name.ends_with(".jsonl")), "journals are among the files");
    let own = read_back("claw.hdleak.ann", "/claw/secrets/secrets.json").unwrap().content;
    let token = serde_json::from_slice::<serde_json::Value>(&own).unwrap()["gateway_token"].clone();
    for (place, text) in said {
        for secret in canaries.into_iter().chain([token.as_str().unwrap()]) {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
}

/// Returns every process's arguments, looked at again and again.
fn processes_until(over: &AtomicBool) -> String {
    let mut seen = std::collections::BTreeSet::new();
    while !over.load(Ordering::SeqCst) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            if let Ok(bytes) = std::fs::read(process.path().join("cmdline")) {
                seen.insert(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    seen.into_iter().collect::<Vec<_>>().join("\n")
}

fn files_below(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

#[test]
fn an_engine_that_does_not_answer_holds_everything_and_says_what_to_do() {
    if !engine() {
        return;
    }
    let (sweep, fleet, ann) = one("hddown");
    let before = (life(&ann), sweep.marked());
    let without = |args: &[&str]| {
        let mut command = fleet.command(args);
        Ran::from(command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap())
    };
    without(&["plan", "--detailed-exitcode"]).exits(3).says("does not answer").says("DOCKER_HOST");
    without(&["drift"]).exits(3);
    without(&["apply", "--yes"]).exits(3).says("not seen is not absent");
    without(&["destroy", "--yes", "--allow-destroy", "all"]).exits(3);
    assert_eq!((life(&ann), sweep.marked()), before);
}

#[test]
fn an_engine_that_is_too_old_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("old.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let fleet = standin_fleet("hdaged", "[agents.ann]\n");
    fleet.edit("[providers.docker]\n", &format!("[providers.docker]\nendpoint = \"unix://{}\"\n", socket.display()));
    plan(&fleet).exits(3).says("too old").says("19.03.15").says("20.10");
    apply(&fleet).exits(3);
}

#[test]
fn a_second_apply_is_turned_away_while_the_first_runs() {
    if !engine() {
        return;
    }
    let sweep = Sweep::new("hdlock");
    let fleet = standin_fleet("hdlock", "[agents.ann]\nenv = { STANDIN_READY_MS = \"3000\" }\n");
    let first = piped(fleet.command(&["apply", "--yes"]));
    wait_until("the gateway runs", || is_running("claw.hdlock.ann"));
    apply(&fleet).exits(5).says(&format!("pid {}", first.id()));
    fleet.claw(&["destroy", "--yes", "--allow-destroy", "all"]).exits(5);
    plan(&fleet).exits(2); // looking needs no lock
    Ran::from(first.wait_with_output().unwrap()).ok();
    assert_eq!(sweep.marked(), parts("hdlock", &["ann"]));
    converged(&fleet);
}

#[test]
fn a_signal_lets_what_runs_end_and_the_next_apply_does_the_rest() {
    if !engine() {
        return;
    }
    for (id, name) in [("hdterm", "TERM"), ("hdint", "INT")] {
        let sweep = Sweep::new(id);
        let slow = "env = { STANDIN_READY_MS = \"2000\" }\n";
        let fleet = standin_fleet(id, &format!("[agents.ann]\n{slow}[agents.bob]\n{slow}"));
        let run = piped(fleet.command(&["apply", "--yes", "--parallel", "1"]));
        let up = |agent: &str| is_running(&format!("claw.{id}.{agent}"));
        wait_until("a gateway runs", || up("ann") || up("bob"));
        signal(&run, name);
        Ran::from(run.wait_with_output().unwrap()).exits(4).says("stopping").says("stopped");
        assert_ne!(up("ann"), up("bob"), "{name}: what ran was finished, nothing new begun");
        apply(&fleet).ok();
        converged(&fleet);
        assert_eq!(sweep.marked(), parts(id, &["ann", "bob"]));
    }
}

#[test]
fn a_second_signal_and_a_kill_end_at_once_and_the_next_apply_does_the_rest() {
    if !engine() {
        return;
    }
    for (id, name, code) in [("hdtwice", "TERM", 4), ("hdkill", "KILL", -1)] {
        let sweep = Sweep::new(id);
        let fleet = standin_fleet(id, "[agents.ann]\nenv = { STANDIN_READY_MS = \"4000\" }\n");
        let run = piped(fleet.command(&["apply", "--yes"]));
        wait_until("the gateway runs", || is_running(&format!("claw.{id}.ann")));
        let begun = std::time::Instant::now();
        signal(&run, name);
        if name == "TERM" {
            std::thread::sleep(Duration::from_millis(300));
            signal(&run, name);
        }
        Ran::from(run.wait_with_output().unwrap()).exits(code);
        assert!(begun.elapsed() < Duration::from_secs(3), "it did not wait for the gateway");
        apply(&fleet).ok();
        converged(&fleet);
        assert_eq!(sweep.marked(), parts(id, &["ann"]));
    }
}
