//! The real OpenClaw on a real engine, thinking with a stand-in model server in a container of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Fleet, Sweep, docker, have_image, read_back, wait_until};

pub const AGENTS: &str = r#"
[defaults.agent]
on = "docker"
image = "claw-test/openclaw:2026.9.5"
model = "fake/fake-1"
secrets = ["default"]
[defaults.agent.settings.models]
mode = "merge"
[defaults.agent.settings.models.providers.fake]
baseUrl = "http://fakellm:18990/v1"
api = "openai-completions"
apiKey = "secret:default/LLM_KEY"
models = [
  { id = "fake-1", name = "One", reasoning = false, input = ["text"], contextWindow = 128000, maxTokens = 4096, cost = { input = 3, output = 15, cacheRead = 0, cacheWrite = 0 } },
  { id = "fake-2", name = "Two", reasoning = false, input = ["text"], contextWindow = 128000, maxTokens = 4096, cost = { input = 3, output = 15, cacheRead = 0, cacheWrite = 0 } },
]

[agents.pete]
emoji = "🦊"
env = { TZ = "Europe/Prague" }
resources = { memory = "1792MiB", cpus = 2 }

[agents.ada]
emoji = "🔧"
"#;

pub const FIRST_KEY: &str = "canary-5f1c0a9e-first";
const SECOND_KEY: &str = "canary-77d2b3e4-second";

/// The model server: a container that is put on the agents' networks under the name `fakellm`.
struct Model(&'static str);

impl Model {
    /// Starts it on an agent's network.
    fn start(name: &'static str, network: &str) -> Self {
        Self::run(name, network, &["claw-test/model"])
    }

    /// Starts it with a Telegram beside it that knows these tokens.
    fn start_with_telegram(name: &'static str, network: &str, tokens: &[&str]) -> Self {
        let tokens = format!("TELEGRAM_TOKENS={}", tokens.join(","));
        let both = "node /telegram.mjs & exec node /server.mjs";
        Self::run(name, network, &["-e", &tokens, "claw-test/model", "sh", "-c", both])
    }

    fn run(name: &'static str, network: &str, what: &[&str]) -> Self {
        docker(&["rm", "-f", name]);
        let keys = format!("MODEL_KEYS={FIRST_KEY},{SECOND_KEY}");
        let place = ["--network", network, "--network-alias", "fakellm"];
        let run = [&["run", "-d", "--name", name, "-e", &keys], &place as &[&str], what].concat();
        docker(&run).expect("the model server starts");
        Self(name)
    }

    /// Asks Telegram for something.
    #[track_caller]
    fn telegram(&self, method: &str, path: &str) -> serde_json::Value {
        let script = format!(
            "fetch('http://127.0.0.1:18991{path}',{{method:'{method}'}}).then(r=>r.text()).then(t=>console.log(t))"
        );
        let said = docker(&["exec", self.0, "node", "-e", &script]).expect("Telegram answers");
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("not JSON: {said}"))
    }

    /// Writes to the agent over Telegram, and waits for what it answers with a token, the first being 1.
    #[track_caller]
    fn answers(&self, text: &str, token: u64) {
        self.telegram("POST", &format!("/control/say?text={text}"));
        let expected = format!("You said: {text}");
        let is_answer = |one: &serde_json::Value| {
            one["token"] == token && one["text"].as_str().is_some_and(|text| text.contains(&expected))
        };
        wait_until(&format!("`{text}` is answered with token {token}"), || {
            self.telegram("GET", "/control/sent").as_array().is_some_and(|sent| sent.iter().any(is_answer))
        });
    }

    /// Returns the addresses that asked with a key the server does not know.
    fn asked_with_a_wrong_key(&self) -> std::collections::BTreeSet<String> {
        let logs = docker(&["logs", self.0]).unwrap();
        let wrong = logs.lines().filter(|line| line.contains(" key 0:"));
        wrong.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    fn join(&self, network: &str) {
        docker(&["network", "connect", "--alias", "fakellm", network, self.0]).expect("the model server joins");
    }

    fn leave(&self, network: &str) {
        docker(&["network", "disconnect", "-f", network, self.0]);
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        docker(&["rm", "-f", self.0]);
    }
}

fn have_openclaw() -> bool {
    have_image("openclaw", "claw-test/openclaw:2026.9.6", ".ci/openclaw-images")
        && have_image("openclaw", "claw-test/model", ".ci/openclaw-images")
}

/// One agent's gateway, as its operator reaches it.
struct Gateway {
    container: String,
}

impl Gateway {
    fn new(fleet: &str, agent: &str) -> Self {
        Self { container: format!("claw.{fleet}.{agent}") }
    }

    fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.container]).unwrap()
    }

    fn token(&self) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let from = format!("{}.anchor:/claw/secrets/secrets.json", self.container);
        docker(&["cp", &from, &file.path().display().to_string()]).unwrap();
        let values: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        values["gateway_token"].as_str().unwrap().to_owned()
    }

    /// Asks and returns the HTTP status and the answer's text.
    fn ask(&self, token: &str, conversation: &str, text: &str) -> (u16, String) {
        let body = serde_json::json!({
            "model": "openclaw/default", "user": conversation, "messages": [{ "role": "user", "content": text }],
        });
        let (status, answer) = self.post(token, &body.to_string());
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        let content = json["choices"][0]["message"]["content"].as_str().map(str::to_owned);
        (status, content.unwrap_or(answer))
    }

    fn post(&self, token: &str, body: &str) -> (u16, String) {
        let port = docker(&["port", &self.container, "18789/tcp"]).unwrap();
        let mut stream = TcpStream::connect(port.lines().next().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
        let content = answer.split_once("\r\n\r\n").unwrap().1;
        let start = content.find('{').unwrap_or_default();
        let end = content.rfind('}').map_or(content.len(), |at| at + 1);
        (status, content[start..end].to_owned())
    }

    /// Asks, and asserts what the answer holds.
    #[track_caller]
    fn answers(&self, conversation: &str, text: &str, expected: &[&str]) {
        let (status, answer) = self.ask(&self.token(), conversation, text);
        assert_eq!(status, 200, "{answer}");
        for part in expected {
            assert!(answer.contains(part), "`{part}` is not in: {answer}");
        }
    }
}

#[test]
fn a_fleet_of_real_agents_lives_through_all_its_changes() {
    if !have_openclaw() {
        return;
    }
    let sweep = Sweep::new("realoc");
    let fleet = Fleet::new("realoc", AGENTS);
    fleet.secret("default/LLM_KEY", FIRST_KEY);
    fleet.claw(&["secret", "allow", "default/LLM_KEY", "fakellm"]).exits(0);
    let said = std::cell::RefCell::new(String::new());
    let claw = |args: &[&str], code: i32| {
        let begun = Instant::now();
        let ran = fleet.claw(args);
        println!("$ claw {}  ({:.1} s)\n{}", args.join(" "), begun.elapsed().as_secs_f64(), ran.all());
        said.borrow_mut().push_str(&ran.all());
        ran.exits(code)
    };
    let (pete, ada) = (Gateway::new("realoc", "pete"), Gateway::new("realoc", "ada"));

    // two agents from nothing, each with an identity of its own
    claw(&["apply", "--yes"], 0);
    claw(&["plan", "--detailed-exitcode"], 0).says("Nothing to do");
    let networks = ["claw.realoc.pete", "claw.realoc.ada"];
    let model = Model::start("claw-test-model-realoc", networks[0]);
    model.join(networks[1]);
    pete.answers("talk", "my colour is green", &["I am pete", "fake-1", "key 1", "my colour is green"]);
    ada.answers("talk", "hello", &["I am ada", "fake-1"]);
    claw(&["status"], 0).says("healthy").says("2026.9.5");

    // a model is changed in the running gateway
    let started = pete.inspect("{{.Id}} {{.State.StartedAt}}");
    fleet.edit("model = \"fake/fake-1\"", "model = \"fake/fake-2\"");
    claw(&["apply", "--yes"], 0).says("hot");
    claw(&["plan", "--detailed-exitcode"], 0);
    assert_eq!(pete.inspect("{{.Id}} {{.State.StartedAt}}"), started, "nothing restarted");
    pete.answers("talk", "and now", &["fake-2"]);

    // a secret and a gateway token are changed in the running gateway
    let old_token = pete.token();
    fleet.secret("default/LLM_KEY", SECOND_KEY);
    let reserved = fleet.read("secrets/claw.toml");
    let bumped = if reserved.contains("[generations]") {
        reserved.replace("[generations]", "[generations]\ngateway_token.pete = 2")
    } else {
        format!("{reserved}\n[generations]\ngateway_token.pete = 2\n")
    };
    fleet.write("secrets/claw.toml", &bumped);
    claw(&["apply", "--yes"], 0).says("no restart");
    claw(&["plan", "--detailed-exitcode"], 0);
    assert_eq!(pete.inspect("{{.Id}} {{.State.StartedAt}}"), started, "nothing restarted");
    assert_ne!(pete.token(), old_token);
    assert_eq!(pete.ask(&old_token, "talk", "hello").0, 401, "the old token is refused");
    pete.answers("talk", "with a new key", &["key 2"]);

    // agents cannot reach each other
    let address = ada.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let script = format!(
        "fetch('http://{address}:18789/healthz',{{signal:AbortSignal.timeout(4000)}}).then(()=>process.exit(0),()=>process.exit(9))"
    );
    assert_eq!(docker(&["exec", &pete.container, "node", "-e", &script]), None, "pete does not reach ada");
    let own = script.replace(&address, "127.0.0.1");
    assert!(docker(&["exec", &pete.container, "node", "-e", &own]).is_some(), "pete reaches itself");

    // a new version replaces the container; the conversation, the environment and the limits stay
    fleet.edit("claw-test/openclaw:2026.9.5", "claw-test/openclaw:2026.9.6");
    claw(&["apply", "--yes"], 0).says("replaced");
    claw(&["plan", "--detailed-exitcode"], 0);
    pete.answers("talk", "recall", &["my colour is green"]);
    assert!(pete.inspect("{{.Config.Env}}").contains("TZ=Europe/Prague"));
    assert_eq!(pete.inspect("{{.HostConfig.Memory}}"), (1792 * 1024 * 1024).to_string());
    assert_eq!(pete.inspect("{{.Config.Image}}"), "claw-test/openclaw:2026.9.6");

    // a container killed by hand is drift, and is mended
    docker(&["kill", &ada.container]).unwrap();
    claw(&["drift"], 2).says("container/ada");
    claw(&["apply", "--yes"], 0);
    ada.answers("talk", "again", &["I am ada"]);

    // a broken image is taken back, with the state and the configuration
    fleet.edit("claw-test/openclaw:2026.9.6", "claw-test/openclaw:broken");
    fleet.edit("model = \"fake/fake-2\"", "model = \"fake/fake-1\"");
    claw(&["apply", "--yes", "--target", "pete"], 4).says("taken back");
    assert_eq!(pete.inspect("{{.Config.Image}}"), "claw-test/openclaw:2026.9.6");
    pete.answers("talk", "recall", &["fake-2", "my colour is green"]);
    assert!(sweep.marked().iter().all(|name| !name.contains("aside") && !name.contains("previous")));
    fleet.edit("claw-test/openclaw:broken", "claw-test/openclaw:2026.9.6");
    claw(&["apply", "--yes"], 0);
    claw(&["plan", "--detailed-exitcode"], 0);

    // the secret is nowhere but in the agent's secret file
    let mut seen = said.take();
    for container in docker(&["ps", "-aq", "--filter", "label=claw.fleet=realoc"]).unwrap().split_whitespace() {
        seen += &docker(&["inspect", container]).unwrap();
        seen += &docker(&["logs", container]).unwrap_or_default();
    }
    for name in sweep.marked() {
        seen += &docker(&["volume", "inspect", &name]).unwrap_or_default();
        seen += &docker(&["network", "inspect", &name]).unwrap_or_default();
    }
    seen +=
        &docker(&["exec", &pete.container, "sh", "-c", "cat /proc/*/cmdline; cat /proc/*/environ"]).unwrap_or_default();
    let search =
        format!("grep -rlF -e {FIRST_KEY} -e {SECOND_KEY} / --exclude-dir=proc --exclude-dir=sys 2>/dev/null; true");
    let places = docker(&["exec", &pete.container, "sh", "-c", &search]).unwrap();
    assert_eq!(places, "/claw/secrets/secrets.json", "the secret lies in one file");
    for canary in [FIRST_KEY, SECOND_KEY, &old_token, &pete.token()] {
        assert!(!seen.contains(canary), "a secret is shown");
        let repository = std::process::Command::new("grep").args(["-rlF", canary]).arg(fleet.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&repository.stdout), "", "a secret lies in the repository");
    }

    // nothing stays behind
    claw(&["destroy", "--yes"], 3).says("--allow-destroy");
    networks.iter().for_each(|network| model.leave(network));
    claw(&["destroy", "--yes", "--allow-destroy", "pete", "--allow-destroy", "ada"], 0);
    assert_eq!(sweep.marked(), Vec::<String>::new());
}

const WRONG_KEY: &str = "canary-0bad0bad-wrong";

/// A secret file as it lies there: which file it is, since when, and what is in it.
fn secret_file(gateway: &Gateway) -> (String, Vec<u8>) {
    let file = "/claw/secrets/secrets.json";
    let stat = docker(&["exec", &gateway.container, "stat", "-c", "%i %y", file]).unwrap();
    (stat, read_back(&gateway.container, file).unwrap().content)
}

#[test]
fn a_key_its_provider_refuses_reaches_one_agent_and_is_taken_back() {
    if !have_openclaw() {
        return;
    }
    let _sweep = Sweep::new("realkey");
    let agents = AGENTS.replace("claw-test/openclaw:2026.9.5", "claw-test/openclaw:2026.9.6");
    let fleet = Fleet::new("realkey", &format!("{agents}[agents.eve]\n"));
    fleet.secret("default/LLM_KEY", FIRST_KEY);
    fleet.claw(&["secret", "allow", "default/LLM_KEY", "fakellm"]).ok();
    fleet.claw(&["apply", "--yes"]).ok();
    let model = Model::start("claw-test-model-realkey", "claw.realkey.pete");
    model.join("claw.realkey.ada");
    model.join("claw.realkey.eve");
    let gateways = ["pete", "ada", "eve"].map(|agent| Gateway::new("realkey", agent));
    let life = |gateway: &Gateway| gateway.inspect("{{.Id}} {{.State.StartedAt}}");
    let (before, lives) = (gateways.each_ref().map(secret_file), gateways.each_ref().map(life));

    // the wrong key is found out before any gateway hears of it
    fleet.secret("default/LLM_KEY", WRONG_KEY);
    let ran = fleet.claw(&["apply", "--yes"]).exits(4).says("taken back");
    let ran = ran.says("the provider refuses the key default/LLM_KEY: HTTP 401").says("fakellm");
    assert!(!ran.all().contains(WRONG_KEY));
    let after = gateways.each_ref().map(secret_file);
    let touched = after.iter().zip(&before).filter(|(after, before)| after.0 != before.0).count();
    let asked = model.asked_with_a_wrong_key();
    for ((gateway, after), before) in gateways.iter().zip(&after).zip(&before) {
        assert_eq!(after.1, before.1, "{} has the key before", gateway.container);
    }
    assert_eq!(gateways.each_ref().map(life), lives, "nothing restarted");
    assert_eq!(asked.len(), touched, "each that got the wrong key was found out: {asked:?}");
    assert_eq!(touched, 1, "the others never saw the wrong key");
    ran.says("the rollout stopped");
    gateways.iter().for_each(|gateway| gateway.answers("talk", "hello", &["key 1"]));
    fleet.claw(&["plan", "--detailed-exitcode"]).exits(2);

    // a good key reaches all of them
    fleet.secret("default/LLM_KEY", SECOND_KEY);
    let ran = fleet.claw(&["apply", "--yes"]).ok();
    assert!(!ran.all().contains("warning"), "{}", ran.all());
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    gateways.iter().for_each(|gateway| gateway.answers("talk", "again", &["key 2"]));
    assert_eq!(gateways.each_ref().map(life), lives, "nothing restarted");

    // where the provider cannot be reached, that is said, and the key is delivered
    drop(model);
    fleet.secret("default/LLM_KEY", FIRST_KEY);
    fleet.claw(&["apply", "--yes"]).ok().says("nobody could tell whether fakellm takes the key default/LLM_KEY");
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
}

const BOT_TOKENS: [&str; 2] = ["1234:canary-first-3c1f", "1234:canary-second-8e2d"];
const TELEGRAM: &str = r#"
channels = ["telegram"]
[agents.pete.settings.channels.telegram]
apiRoot = "http://fakellm:18991"
dmPolicy = "allowlist"
allowFrom = ["4711"]
network = { dangerouslyAllowPrivateNetwork = true }
"#;

#[test]
fn an_agent_on_telegram_goes_on_with_its_new_token() {
    if !have_openclaw() {
        return;
    }
    let _sweep = Sweep::new("realtg");
    let (agents, _) = AGENTS.split_once("[agents.ada]").unwrap();
    let agents = agents.replace("claw-test/openclaw:2026.9.5", "claw-test/openclaw:2026.9.6");
    let fleet = Fleet::new("realtg", &format!("{agents}{TELEGRAM}"));
    fleet.secret("default/LLM_KEY", FIRST_KEY);
    fleet.secret("default/TELEGRAM_BOT_TOKEN", BOT_TOKENS[0]);
    for secret in ["default/LLM_KEY", "default/TELEGRAM_BOT_TOKEN"] {
        fleet.claw(&["secret", "allow", secret, "fakellm"]).ok();
    }
    fleet.claw(&["apply", "--yes"]).ok();
    let model = Model::start_with_telegram("claw-test-model-realtg", "claw.realtg.pete", &BOT_TOKENS);
    let pete = Gateway::new("realtg", "pete");
    fleet.claw(&["restart", "pete"]).ok(); // there was no Telegram when it came up
    model.answers("hello", 1);
    let started = pete.inspect("{{.Id}} {{.State.StartedAt}}");

    // a new token, while the one before is still good: the channel changes over without a restart
    model.telegram("POST", "/control/valid?tokens=1,2");
    fleet.secret("default/TELEGRAM_BOT_TOKEN", BOT_TOKENS[1]);
    let mut said = fleet.claw(&["apply", "--yes"]).ok().says("no restart").all();
    fleet.claw(&["plan", "--detailed-exitcode"]).ok().says("Nothing to do");
    assert_eq!(pete.inspect("{{.Id}} {{.State.StartedAt}}"), started, "nothing restarted");
    model.telegram("POST", "/control/valid?tokens=2");
    model.telegram("GET", "/control/asked"); // from here on
    model.answers("again", 2);
    let asked = model.telegram("GET", "/control/asked");
    assert_eq!((&asked["0"], &asked["1"]), (&0.into(), &0.into()), "only the new token is used: {asked}");
    assert!(asked["2"].as_u64() > Some(0), "{asked}");
    assert_eq!(model.telegram("GET", &format!("/bot{}/getMe", BOT_TOKENS[0]))["error_code"], 401);

    // a wrong token is taken back, and the channel works as before
    fleet.secret("default/TELEGRAM_BOT_TOKEN", WRONG_KEY);
    let ran = fleet.claw(&["apply", "--yes"]).exits(4).says("taken back");
    said += &ran.says("telegram worked before and does not now: its token is refused: HTTP 401").all();
    model.answers("still-there", 2);

    // a token that was revoked before the new one came: the channel was down, and comes up
    model.telegram("POST", "/control/valid?tokens=1");
    let refused = || model.telegram("GET", "/control/asked")["2"].as_u64() > Some(0);
    wait_until("the channel hears that its token is refused", refused);
    fleet.secret("default/TELEGRAM_BOT_TOKEN", BOT_TOKENS[0]);
    let ran = fleet.claw(&["apply", "--yes"]).ok();
    assert!(!ran.all().contains("does not work with its new token"), "{}", ran.all());
    said += &ran.all();
    model.answers("and-now", 1);
    fleet.claw(&["plan", "--detailed-exitcode"]).ok().says("Nothing to do");
    assert!(BOT_TOKENS.iter().chain(&[WRONG_KEY]).all(|token| !said.contains(token)), "a token is shown");
}
