//! Whether a changed name leads where it shall: its zone's own name servers are asked until they say so.
//!
//! All of them, because the world's resolvers ask any: one that stays behind sends a share of all visitors to the old place.
//! One that says nothing is not one that says something wrong: a firewall in between is no fault of the name.

use std::collections::BTreeSet;
use std::time::Duration;

use claw_core::provider::{ApplyError, WARNING};
use claw_core::text::clean;
use claw_core::value::{Fields, Value};
use claw_net::dns::Said;

use super::Job;
use crate::timing::Timing;
use crate::wire::{DelegationStatus, Zone};

/// How long servers may take until they say what was written. The vendor's are seconds behind its API.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The wait before the second look; each further one doubles it.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_LONGEST: Duration = Duration::from_secs(8);
/// How often a server that says nothing is asked before nobody waits for it any more.
const SILENT_LOOKS_MAX: u32 = 2;

/// Returns once all servers of a zone that answer say what the fields ask for.
pub async fn until_served(job: &Job<'_>, zone: &str, kind: &str, after: &Fields) -> Result<(), ApplyError> {
    let Some(zone) = job.project.zone(zone).await? else { return Ok(()) };
    let name = job.name().rsplit_once(':').map_or(job.name(), |(name, _)| name);
    let delegation = zone.authoritative_nameservers.as_ref();
    let servers = delegation.map_or(&[][..], |delegation| &delegation.assigned);
    let asked = || job.names.ask(servers, name, kind);
    watch(asked, job.project.client.timing(), (name, &values(after)), &|text| job.say(text)).await?;
    if let Some(warning) = astray(&zone) {
        job.say(&warning);
    }
    Ok(())
}

/// Asks until what is said is what is wanted of a name.
async fn watch<F: Future<Output = Vec<Said>>>(
    ask: impl Fn() -> F,
    timing: &dyn Timing,
    (name, wanted): (&str, &BTreeSet<String>),
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), ApplyError> {
    let (begun, mut pause, mut silent) = (timing.now(), LOOK_FIRST, 0);
    loop {
        match judge(&ask().await, wanted) {
            Outcome::Served => return Ok(()),
            Outcome::Silent(who) if silent + 1 >= SILENT_LOOKS_MAX => {
                say(&format!("{WARNING}{name} could not be looked up everywhere: {who}"));
                return Ok(());
            }
            Outcome::Wrong(who) if timing.now().saturating_sub(begun) >= WAIT_MAX => {
                let seconds = WAIT_MAX.as_secs();
                return Err(ApplyError::fatal(format!("see {name} served everywhere within {seconds} s: {who}")).help(
                    "the zone has it right, and its name servers should follow: ask the vendor why they do not",
                ));
            }
            Outcome::Silent(_) => silent += 1,
            Outcome::Wrong(_) => say("waiting until the zone's name servers have it"),
        }
        timing.sleep(pause).await;
        pause = (pause * 2).min(LOOK_LONGEST);
    }
}

/// What the servers of a zone say, all together.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All say what they shall, or nobody was asked.
    Served,
    /// Nobody says anything else, and somebody says nothing: who, and why.
    Silent(String),
    /// Somebody says something else: who, and what.
    Wrong(String),
}

fn judge(said: &[Said], wanted: &BTreeSet<String>) -> Outcome {
    let wrong = said.iter().filter_map(|one| {
        let values = one.values.as_ref().ok().filter(|values| *values != wanted)?;
        let shown: Vec<&str> = values.iter().map(String::as_str).collect();
        let shown = if shown.is_empty() { "that there is none".to_owned() } else { shown.join(", ") };
        Some(format!("{} says {}", one.server, clean(&shown, 200)))
    });
    let wrong: Vec<String> = wrong.collect();
    if !wrong.is_empty() {
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        return Outcome::Wrong(format!("{}, and it shall be {}", wrong.join("; "), clean(&wanted.join(", "), 200)));
    }
    let silent = said.iter().filter_map(|one| Some((&one.server, one.values.as_ref().err()?)));
    let silent: Vec<String> = silent.map(|(server, why)| format!("{server}: {}", clean(why, 120))).collect();
    if silent.is_empty() { Outcome::Served } else { Outcome::Silent(silent.join("; ")) }
}

fn values(fields: &Fields) -> BTreeSet<String> {
    match fields.get("values") {
        Some(Value::List(values)) => values.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
        _ => BTreeSet::new(),
    }
}

/// Returns what to tell of a zone to whose servers nobody is sent.
fn astray(zone: &Zone) -> Option<String> {
    let delegation = zone.authoritative_nameservers.as_ref()?;
    let status = delegation.delegation_status.as_ref()?;
    if matches!(status, DelegationStatus::Valid | DelegationStatus::Unknown) {
        return None;
    }
    let bare = |names: &[String]| -> String {
        let names = names.iter().map(|name| clean(name.trim_end_matches('.'), 80));
        names.collect::<Vec<_>>().join(", ")
    };
    let (assigned, now) = (bare(&delegation.assigned), bare(&delegation.delegated));
    let now = if now.is_empty() { "nobody".to_owned() } else { now };
    let name = clean(&zone.name, 80);
    Some(format!("{WARNING}{name} is delegated to {now} ({status}): have its registrar name {assigned}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::stub::FakeTiming;

    fn said(server: &str, values: Result<&[&str], &str>) -> Said {
        let values = values.map(|list| list.iter().map(|text| (*text).to_owned()).collect());
        Said { server: server.to_owned(), values: values.map_err(str::to_owned) }
    }

    #[test]
    fn one_wrong_server_is_named_and_one_that_is_silent_is_not_wrong() {
        let wanted = BTreeSet::from(["192.0.2.1".to_owned()]);
        let (good, old) = (said("a", Ok(&["192.0.2.1"])), said("b", Ok(&["192.0.2.9"])));
        let (none, silent) = (said("c", Ok(&[])), said("d", Err("no answer")));
        assert_eq!(judge(&[], &wanted), Outcome::Served);
        assert_eq!(judge(std::slice::from_ref(&good), &wanted), Outcome::Served);
        assert_eq!(judge(&[good.clone(), silent.clone()], &wanted), Outcome::Silent("d: no answer".to_owned()));
        let all = judge(&[good, old, none, silent], &wanted);
        let expect = "b says 192.0.2.9; c says that there is none, and it shall be 192.0.2.1";
        assert_eq!(all, Outcome::Wrong(expect.to_owned()));
    }

    /// Returns how watching ends where the n-th look hears the n-th of these, and all further ones the last; and what was
    /// told.
    async fn watched(looks: &[Said]) -> (Result<(), String>, Vec<String>) {
        let (timing, told, look) = (FakeTiming::default(), Mutex::default(), Mutex::new(0));
        let ask = || async {
            let mut look = look.lock().expect("one at a time");
            *look += 1;
            vec![looks[looks.len().min(*look) - 1].clone()]
        };
        let say = |text: &str| {
            told.lock()
                .map(|mut told: std::sync::MutexGuard<'_, Vec<String>>| told.push(text.to_owned()))
                .expect("one at a time")
        };
        let wanted = BTreeSet::from(["192.0.2.1".to_owned()]);
        let ended = watch(ask, &timing, ("www.example.org", &wanted), &say).await;
        (ended.map_err(|error| error.reason), told.into_inner().expect("nobody else"))
    }

    #[tokio::test]
    async fn a_server_behind_is_waited_for_as_long_as_is_usual_and_then_named() {
        let (good, old) = (said("a", Ok(&["192.0.2.1"])), said("a", Ok(&["192.0.2.9"])));
        let silent = said("a", Err("no answer"));
        assert_eq!(watched(std::slice::from_ref(&good)).await, (Ok(()), Vec::new()));
        let (ended, told) = watched(&[old.clone(), old.clone(), silent.clone(), good]).await;
        assert!(ended.is_ok() && told.len() == 2, "silence is waited for, too: {told:?}");
        let (ended, told) = watched(&[old]).await;
        let why = ended.expect_err("it never follows");
        assert!(why.contains("within 60 s: a says 192.0.2.9, and it shall be 192.0.2.1") && told.len() > 5, "{why}");
        let (ended, told) = watched(&[silent]).await;
        assert_eq!(ended, Ok(()));
        assert!(told[0].starts_with(WARNING) && told.len() == 1, "{told:?}");
    }

    #[test]
    fn a_zone_to_whose_servers_nobody_is_sent_is_warned_of() {
        let zone = |status: &str| -> Zone {
            let text = serde_json::json!({
                "id": 1, "name": "example.org", "mode": "primary", "labels": {}, "authoritative_nameservers": {
                    "assigned": ["ns1.example.net."], "delegated": null, "delegation_status": status,
                },
            });
            serde_json::from_value(text).expect("a zone")
        };
        assert_eq!(astray(&zone("valid")), None);
        let said = astray(&zone("unregistered")).expect("a warning");
        assert!(said.contains("delegated to nobody (unregistered)") && said.contains("ns1.example.net"), "{said}");
    }
}
