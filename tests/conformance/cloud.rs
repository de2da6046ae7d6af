//! The simulated Hetzner Cloud as a bench, in process.

use claw_core::name::{Kind, ResourceId};
use claw_sim::World;
use claw_sim::hetzner::Poke;
use serde_json::{Value as Json, json};

use super::{Agent, Bench, Powers, Shown, Wish, conforms};
use crate::clouds::lab::{CloudLab, NONE};

#[test]
fn the_hetzner_cloud_conforms() {
    conforms(&mut Cloud { lab: CloudLab::new(NONE), squatter: Json::Null });
}

struct Cloud {
    lab: CloudLab,
    /// The number of the machine that stands in an agent's place.
    squatter: Json,
}

fn table(agent: &Agent) -> String {
    let Agent { id, table, is_large, has_name, zone } = agent;
    let size = if *is_large { "cpx32" } else { "cx23" };
    let domain = if *has_name { format!("domain = \"{id}.fleet.example\"\n") } else { String::new() };
    format!(
        "[agents.{table}]\nid = \"{id}\"\non = \"hetzner\"\nmodel = \"anthropic/sonnet\"\nversion = \"2026.9.6\"\n\
         secrets = [\"default\"]\nenv = {{ TZ = \"{zone}\" }}\n{domain}\
         host = {{ location = \"fsn1\", size = \"{size}\" }}\n"
    )
}

impl Cloud {
    fn allow(&mut self, names: &[&str]) {
        self.lab.allow(names);
    }

    fn world(&self) -> &World {
        &self.lab.lab.world
    }
}

impl Bench for Cloud {
    fn name(&self) -> &'static str {
        "Hetzner Cloud"
    }

    fn powers(&self) -> Powers {
        Powers { resizes: true, has_names: true, leaves: false }
    }

    fn says(&mut self, wish: &Wish) {
        let agents: String = wish.agents.iter().map(table).collect();
        self.lab.becomes(&format!("{NONE}[ssh]\nallow_from = [\"203.0.113.0/24\"]\n{agents}"));
    }

    fn plan(&mut self, may_go: &[&str]) -> Shown {
        self.allow(may_go);
        let plan = self.lab.plan();
        Shown {
            changes: plan.steps.iter().map(|step| format!("{} {}", step.action.word(), step.address)).collect(),
            held: plan.held.iter().map(|held| format!("{} {}", held.would, held.address)).collect(),
            unseen: plan.unseen.into_keys().collect(),
        }
    }

    fn apply(&mut self, may_go: &[&str]) -> Result<(), String> {
        self.allow(may_go);
        let failures = self.lab.apply().failures();
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    fn harm(&mut self, agent: &str) {
        self.lab.poke(&Poke::Detach("claw-k7f3q2-ssh".to_owned()));
        let gateway = ResourceId::new(Kind::Container, agent);
        claw_sim::Poke::Remove(gateway).apply(self.world()).unwrap();
    }

    fn squat(&mut self, agent: &str) {
        let place = json!({ "server_type": "cpx22", "image": "debian-12", "location": "fsn1" });
        let mut body = place.as_object().unwrap().clone();
        body.insert("name".to_owned(), format!("claw-k7f3q2-{agent}").into());
        self.squatter = self.lab.call("POST", "/v1/servers", &Json::Object(body))["server"]["id"].clone();
        self.lab.pass(60_000);
    }

    fn vacate(&mut self, _agent: &str) {
        self.lab.call("DELETE", &format!("/v1/servers/{}", self.squatter), &Json::Null);
        self.lab.pass(60_000);
    }

    fn ours(&mut self) -> Vec<String> {
        self.lab.marked()
    }

    fn others(&mut self) -> String {
        self.lab.foreign().into_iter().collect::<Vec<_>>().join("\n")
    }

    fn home(&mut self, agent: &str) -> String {
        self.lab.server(agent).id.to_string()
    }
}
