//! Asks model providers whether they take keys that changed, before the gateway hears of them: a key that is refused is
//! never used. Asked from inside the agent's container, where the key lies anyway.

use std::collections::BTreeSet;

use claw_core::name::Kind;
use claw_core::provider::{ApplyError, WARNING};
use claw_core::value::Value;
use claw_openclaw::probe::{self, Probe, Verdict};

use super::{Job, config, source};
use crate::within::{self, Program};

/// The script gets along without a shell; whether there is Node has to be seen first, because engines of different ages
/// say in different ways that there is none.
const COMMAND: &str = "command -v node >/dev/null 2>&1 || exit 127; exec node --input-type=module -e \"$0\"";
/// How long the script may take to start and end beyond what it waits for a provider, in seconds.
const SPARE_SECONDS: u64 = 20;

/// Returns an error if a provider refuses a changed key. Where that cannot be told, that is no error.
pub async fn check(job: &Job<'_>, changed: &BTreeSet<String>) -> Result<(), ApplyError> {
    let probes = probes(job, changed);
    if probes.is_empty() {
        return Ok(());
    }
    (job.ctx.progress)("asking the model provider whether it takes the key");
    let input = probe::input(&probes);
    let program = Program {
        what: "ask the model provider",
        command: vec!["/bin/sh", "-c", COMMAND, probe::SCRIPT],
        input: input.as_bytes(),
        seconds: probe::SECONDS_MAX + SPARE_SECONDS,
    };
    // what keeps the question from being asked says nothing about the key
    let Ok(ended) = within::run(&job.agent, program).await else { return Ok(()) };
    let verdicts = probe::verdicts(&ended.output, probes.len());
    for (probe, verdict) in probes.iter().zip(verdicts) {
        weigh(job, probe, &verdict)?;
    }
    Ok(())
}

fn probes(job: &Job<'_>, changed: &BTreeSet<String>) -> Vec<Probe> {
    let container = job.ctx.resource(&job.step.address.sibling(Kind::Container));
    let variables = container.and_then(|resource| resource.fields.get("env"));
    let variables: Vec<&str> = match variables {
        Some(Value::Map(map)) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    probe::probes(&config(job), changed, variables)
}

fn weigh(job: &Job<'_>, probe: &Probe, verdict: &Verdict) -> Result<(), ApplyError> {
    let Probe { provider, key, url, .. } = probe;
    let (name, host) = (source(job, key), url.host_str().unwrap_or_default());
    match verdict {
        Verdict::Refused(status) => {
            let agent = job.agent.names.agent();
            let reason = format!(
                "give {agent} its secrets: the provider refuses the key {name}: HTTP {status} ({provider}, {host})"
            );
            Err(ApplyError::fatal(reason).help(format!("`claw secret set {name}` stores another; then apply again")))
        }
        Verdict::Unreached(why) => {
            (job.ctx.progress)(&format!("{WARNING}nobody could tell whether {host} takes the key {name}: {why}"));
            Ok(())
        }
        Verdict::Good | Verdict::Unclear => Ok(()),
    }
}
