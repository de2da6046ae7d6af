//! Times how an agent's secrets are opened and compared: `cargo bench --bench secrets`. A thousand agents share five
//! profiles of twenty keys and refer to every one. Each size runs in a process of its own, so that peak memory is that size's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::compile::{Surroundings, compile};
use claw_core::desired::Desired;
use claw_core::fleet::{SourceFile, load};
use claw_core::mask::Known;
use claw_core::provider::{Rulebook, Rules};
use claw_docker::DockerRules;
use claw_vault::{Changes, Identities, Identity, Vault};

const SIZES: [usize; 3] = [10, 100, 1_000];
const PROFILES: usize = 5;
const KEYS: usize = 20;
const TODAY: &str = "2026-11-21";

fn main() {
    let asked = std::env::args().filter_map(|word| word.parse::<usize>().ok()).next();
    if let Some(agents) = asked {
        measure(agents);
        return;
    }
    println!("agents  values  references  open all ms  compare all ms  peak MiB before  peak MiB after");
    let own = std::env::current_exe().expect("this program has a path");
    for agents in SIZES {
        let output = Command::new(&own).arg(agents.to_string()).output().expect("it runs again");
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn measure(agents: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let identity: Identities = Identity::generate(TODAY).0.into();
    let open = || Vault::open(folder.path(), "bench1", Some(identity.clone()), &Known::default()).expect("a vault");
    fill(&open(), &identity);
    let mut desired = compiled(agents);
    let vault = open();
    let before = peak_mebibytes();
    // every value once, as a run does that looks at all of them
    let opening = timed(|| {
        for (profile, key) in names() {
            vault.get(&profile, &key).expect("it opens");
        }
    });
    let comparing = timed(|| {
        let failed = desired.resolve(&vault);
        assert!(failed.is_empty(), "{failed:?}");
    });
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let mebibytes = |peak: Option<u64>| peak.map_or_else(|| "?".to_owned(), |peak| peak.to_string());
    println!(
        "{agents:>6}  {:>6}  {:>10}  {:>11.1}  {:>14.1}  {:>15}  {:>14}",
        PROFILES * KEYS,
        agents * PROFILES * KEYS,
        ms(opening),
        ms(comparing),
        mebibytes(before),
        mebibytes(peak_mebibytes()),
    );
}

fn names() -> impl Iterator<Item = (String, String)> {
    let name = |profile, key| match (profile, key) {
        // the model's own, which every agent needs
        (0, 0) => "ANTHROPIC_API_KEY".to_owned(),
        _ => format!("KEY_{profile}_{key}"),
    };
    (0..PROFILES).flat_map(move |profile| (0..KEYS).map(move |key| (format!("p{profile}"), name(profile, key))))
}

fn fill(vault: &Vault, identity: &Identities) {
    let to = identity.recipients();
    vault.init(&to, TODAY).expect("a fleet key");
    for number in 0..PROFILES {
        let profile = format!("p{number}");
        let own = names().filter(|(of, _)| *of == profile);
        let set = own.map(|(_, key)| (key.clone(), format!("value of {key}, as long as most").into())).collect();
        let snapshot = vault.snapshot(&profile).expect("no profile yet");
        let changes = Changes { set, remove: Vec::new() };
        vault.change(&snapshot, &changes, &to, None, TODAY).expect("it is written");
    }
}

fn compiled(agents: usize) -> Desired {
    let profiles: Vec<String> = (0..PROFILES).map(|number| format!("\"p{number}\"")).collect();
    let mut text = format!(
        "[fleet]\nname = \"bench\"\nid = \"bench1\"\n[providers.docker]\n[defaults.agent]\non = \"docker\"\n\
         version = \"2026.9.6\"\nmodel = \"anthropic/claude-sonnet-5\"\nsecrets = [{}]\n\
         [defaults.agent.settings.bench]\n",
        profiles.join(", ")
    );
    for (profile, key) in names() {
        let _ = writeln!(text, "{key} = \"secret:{profile}/{key}\"");
    }
    for number in 0..agents {
        let _ = writeln!(text, "[agents.a{number}]");
    }
    let fleet = load(&[SourceFile { path: "fleet.toml".into(), text }]).0.expect("the fleet is valid");
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (profile, key) in names() {
        known.entry(profile).or_default().push(key);
    }
    let rules: Rulebook = BTreeMap::from([("docker".to_owned(), Arc::new(DockerRules) as Arc<dyn Rules>)]);
    let surroundings = Surroundings { profiles: known, ..Surroundings::default() };
    compile(&fleet, &surroundings, &rules).expect("the fleet makes sense").0
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Peak memory of this process; known on Linux.
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
