//! Times `compile` and `plan` on growing fleets: `cargo bench --bench plan`. Each size runs in a process of its own, so
//! that peak memory is that size's. Prints a table; asserts nothing about time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::compile::{Surroundings, compile};
use claw_core::desired::Desired;
use claw_core::fleet::{Fleet, SourceFile, load};
use claw_core::observed::{Actual, Observation, Observed, Report, State};
use claw_core::plan::{Inputs, Policy, plan};
use claw_core::provider::{Rulebook, Rules};
use claw_core::value::{Fields, Value};
use claw_docker::DockerRules;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// How often each size is timed; the middle time counts.
const ROUNDS: usize = 5;

fn main() {
    let asked = std::env::args().filter_map(|word| word.parse::<usize>().ok()).next();
    if let Some(agents) = asked {
        measure(agents);
        return;
    }
    println!("agents  resources  compile ms  plan ms (all new)  plan ms (no change)  peak MiB  us/resource");
    let own = std::env::current_exe().expect("this program has a path");
    for agents in SIZES {
        let output = Command::new(&own).arg(agents.to_string()).output().expect("it runs again");
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn measure(agents: usize) {
    let text = fleet_text(agents);
    let fleet = load(&[SourceFile { path: "fleet.toml".into(), text }]).0.expect("the fleet is valid");
    let rules: Rulebook = BTreeMap::from([("docker".to_owned(), Arc::new(DockerRules) as Arc<dyn Rules>)]);
    let surroundings = surroundings();
    let (compile_time, desired) = timed(|| compiled(&fleet, &surroundings, &rules));
    let nothing = Observed::default();
    let everything = as_wanted(&desired);
    let (unresolved, policy) = (BTreeMap::new(), Policy::default());
    let inputs =
        |observed| Inputs { desired: &desired, unresolved: &unresolved, observed, rules: &rules, policy: &policy };
    let (new_time, new) = timed(|| plan(inputs(&nothing)));
    let (same_time, same) = timed(|| plan(inputs(&everything)));
    assert_eq!(new.steps.len(), desired.resources.len());
    // secrets were not looked at, so they alone cannot be called unchanged
    assert_eq!(same.steps.len(), agents);
    let resources = desired.resources.len();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{agents:>6}  {resources:>9}  {:>10.1}  {:>17.1}  {:>19.1}  {:>8}  {:>11.2}",
        ms(compile_time),
        ms(new_time),
        ms(same_time),
        peak_mebibytes().map_or_else(|| "?".to_owned(), |peak| peak.to_string()),
        (compile_time + new_time).as_secs_f64() * 1e6 / resources as f64,
    );
}

/// A fleet in which every agent has a workspace, settings, an environment and a secret: seven resources each.
fn fleet_text(agents: usize) -> String {
    let mut text = "[fleet]\nname = \"bench\"\nid = \"bench1\"\n[providers.docker]\n\
        [defaults.agent]\non = \"docker\"\nversion = \"2026.9.6\"\nmodel = \"anthropic/claude-sonnet-5\"\n\
        secrets = [\"default\"]\nworkspace = \"w\"\n"
        .to_owned();
    for number in 0..agents {
        let _ = writeln!(
            text,
            "[agents.a{number}]\npurpose = \"number {number}\"\nenv = {{ TZ = \"UTC\", N = \"{number}\" }}"
        );
    }
    text
}

fn surroundings() -> Surroundings {
    let file: Arc<[u8]> = Arc::from(b"# Soul\n".as_slice());
    Surroundings {
        profiles: BTreeMap::from([("default".to_owned(), vec!["ANTHROPIC_API_KEY".to_owned()])]),
        workspaces: BTreeMap::from([("w".to_owned(), BTreeMap::from([("SOUL.md".to_owned(), file)]))]),
        ..Surroundings::default()
    }
}

fn compiled(fleet: &Fleet, surroundings: &Surroundings, rules: &Rulebook) -> Desired {
    compile(fleet, surroundings, rules).expect("the fleet makes sense").0
}

fn as_wanted(desired: &Desired) -> Observed {
    let observations = desired.resources.iter().map(|(address, resource)| Observation {
        address: address.clone(),
        state: State::Present(Actual { fields: copied(&resource.fields), ..Actual::default() }),
    });
    Observed::fold(vec![Report { place: "docker".into(), observations: observations.collect(), ..Report::default() }])
}

/// A copy that shares nothing, as one read from an engine.
fn copied(fields: &Fields) -> Fields {
    let copy = |value: &Value| match value {
        Value::Secret(secret) => Value::Secret(secret.clone()),
        plain => Value::from(plain.to_json()),
    };
    fields.iter().map(|(key, value)| (key.clone(), copy(value))).collect()
}

fn timed<T>(work: impl Fn() -> T) -> (Duration, T) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        drop(last.take());
        let begun = Instant::now();
        last = Some(work());
        times.push(begun.elapsed());
    }
    times.sort();
    (times[ROUNDS / 2], last.expect("at least one round"))
}

/// Peak memory of this process; known on Linux.
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
