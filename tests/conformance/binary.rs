//! Real engines as benches, through the real binary: the local one, and one inside a machine that is reached by SSH.

use super::{Agent, Bench, Powers, Shown, Wish, conforms};
use crate::machine::{Machine, machines};
use crate::support::{Fleet, Sweep, docker, have_image, standin_fleet};

#[test]
fn a_local_docker_engine_conforms() {
    if !have_image("docker", "claw-test/standin:1", ".ci/standin-image") {
        return;
    }
    let id = "cfdocker";
    let (sweep, fleet) = (Sweep::new(id), standin_fleet(id, ""));
    let head = fleet.read("fleet.toml");
    conforms(&mut Engine { id, fleet, head, place: Place::Here, stranger: None });
    drop(sweep);
}

#[test]
fn a_host_that_is_reached_by_ssh_conforms() {
    if !machines() {
        return;
    }
    let id = "cfssh";
    let fleet = standin_fleet(id, "");
    let machine = Machine::start(id, "engine", &fleet);
    machine.load("claw-test/standin:1");
    let head = fleet.read("fleet.toml").replace("on = \"docker\"", "on = \"attic\"");
    conforms(&mut Engine { id, fleet, head, place: Place::On(machine), stranger: None });
}

/// An engine, and a fleet on it.
struct Engine {
    id: &'static str,
    fleet: Fleet,
    /// What the file says before it comes to hosts and agents.
    head: String,
    place: Place,
    /// The volume in an agent's place.
    stranger: Option<String>,
}

/// Where the engine is.
enum Place {
    Here,
    On(Machine),
}

impl Engine {
    /// Runs the engine's own command line, past claw.
    fn docker(&self, args: &[&str]) -> Option<String> {
        match &self.place {
            Place::Here => docker(args),
            Place::On(machine) => {
                let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
                machine.try_run(&format!("docker {}", words.join(" "))).map(|said| said.trim().to_owned())
            }
        }
    }

    fn gateway(&self, agent: &str) -> String {
        format!("claw.{}.{agent}", self.id)
    }

    fn list(&self, args: &[&str]) -> Vec<String> {
        let label = format!("label=claw.fleet={}", self.id);
        let said = self.docker(&[args, &["--filter", &label]].concat()).expect("the engine answers");
        said.split_whitespace().map(str::to_owned).collect()
    }
}

fn table(agent: &Agent) -> String {
    let Agent { id, table, is_large, zone, .. } = agent;
    let memory = if *is_large { "192MiB" } else { "128MiB" };
    format!("[agents.{table}]\nid = \"{id}\"\nenv = {{ TZ = \"{zone}\" }}\nresources.memory = \"{memory}\"\n")
}

impl Bench for Engine {
    fn name(&self) -> &'static str {
        match self.place {
            Place::Here => "Docker",
            Place::On(_) => "SSH host",
        }
    }

    fn powers(&self) -> Powers {
        Powers { resizes: true, has_names: false, leaves: matches!(self.place, Place::On(_)) }
    }

    fn says(&mut self, wish: &Wish) {
        let absent = if wish.is_leaving { "state = \"absent\"\n" } else { "" };
        let host = match &self.place {
            Place::Here => String::new(),
            Place::On(machine) => format!("{}{absent}", machine.table("attic")),
        };
        let agents: String = wish.agents.iter().map(table).collect();
        self.fleet.write("fleet.toml", &format!("{}{host}{agents}", self.head));
    }

    fn plan(&mut self, may_go: &[&str]) -> Shown {
        let mut args = vec!["plan", "--json"];
        args.extend(may_go.iter().flat_map(|name| ["--allow-destroy", name]));
        let plan = self.fleet.claw(&args).ok().json();
        let each = |list: &str, word: &str| {
            let things = plan[list].as_array().into_iter().flatten();
            let text = |field: &serde_json::Value| field.as_str().expect("a text").to_owned();
            things.map(|thing| format!("{} {}", text(&thing[word]), text(&thing["resource"]))).collect()
        };
        let unseen = plan["unseen"].as_object().into_iter().flatten().map(|(place, _)| place.clone());
        Shown { changes: each("steps", "action"), held: each("held", "would"), unseen: unseen.collect() }
    }

    fn apply(&mut self, may_go: &[&str]) -> Result<(), String> {
        let mut args = vec!["apply", "--yes"];
        args.extend(may_go.iter().flat_map(|name| ["--allow-destroy", name]));
        let ran = self.fleet.claw(&args);
        // 3 and 4 also say that something was held: only a step that failed is a failure here
        if [0, 3, 4].contains(&ran.code) && !ran.all().contains('✗') { Ok(()) } else { Err(ran.all()) }
    }

    fn harm(&mut self, agent: &str) {
        self.docker(&["rm", "-f", &self.gateway(agent)]).unwrap();
    }

    fn squat(&mut self, agent: &str) {
        let volume = format!("{}.state", self.gateway(agent));
        self.docker(&["volume", "create", &volume]).unwrap();
        self.stranger = Some(volume);
    }

    fn vacate(&mut self, _agent: &str) {
        let volume = self.stranger.take().unwrap();
        self.docker(&["volume", "rm", &volume]).unwrap();
    }

    fn ours(&mut self) -> Vec<String> {
        let mut names = self.list(&["ps", "-a", "--format", "{{.Names}}"]);
        names.extend(self.list(&["volume", "ls", "-q"]));
        names.extend(self.list(&["network", "ls", "--format", "{{.Name}}"]));
        if let Place::On(machine) = &self.place {
            // what claw put on a machine whose agents are gone goes when the machine is left
            let own = "ls -d /var/lib/claw /etc/ssh/sshd_config.d/10-claw.conf 2>/dev/null; true";
            names.extend(machine.run(own).split_whitespace().map(str::to_owned));
        }
        names.sort();
        names
    }

    fn others(&mut self) -> String {
        let volume = self.stranger.as_ref().map(|name| self.docker(&["volume", "inspect", name]).unwrap());
        volume.unwrap_or_default()
    }

    fn home(&mut self, agent: &str) -> String {
        let volume = format!("{}.state", self.gateway(agent));
        self.docker(&["volume", "inspect", "--format", "{{.CreatedAt}} {{.Mountpoint}}", &volume]).unwrap()
    }
}
