//! What holds for every fleet, every world and every misfortune (DESIGN §10), tried on random ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::Ordering;

use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Observed, Owner, State};
use claw_core::plan::{Plan, Reason};
use claw_engine::event::EventKind;
use claw_engine::observe::Providers;
use claw_sim::{Faults, Poke};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use crate::lab::{CANARY, Doomed, Lab, Outcome, TODAY, always_cut};

const NAMES: [&str; 6] = ["ada", "bob", "cleo", "dan", "eve", "fay"];
const PLACES: [&str; 2] = ["attic", "docker"];

/// One random agent, as its table says it.
#[derive(Clone, Debug)]
struct Agent {
    name: &'static str,
    place: &'static str,
    version: &'static str,
    model: &'static str,
    lines: Vec<&'static str>,
}

/// A random fleet file, as its agents in the order they are written.
type Agents = Vec<Agent>;

fn agent(name: &'static str) -> impl Strategy<Value = Agent> {
    let lines = vec![
        "env = { TZ = \"Europe/Prague\" }",
        "resources.memory = \"1GiB\"",
        "resources.cpus = 0.5",
        "workspace = \"workspaces/w\"",
        "settings.browser.enabled = true",
        "settings.channels.chat.botToken = \"secret:default/BOT\"",
        "emoji = \"🤖\"",
        "purpose = \"many things\"",
        "suspend.until = 2026-01-01",
    ];
    let count = lines.len();
    (
        select(&PLACES[..]),
        select(&["2026.9.6", "2026.10.1"][..]),
        select(&["sonnet", "opus"][..]),
        subsequence(lines, 0..=count),
    )
        .prop_map(move |(place, version, model, lines)| Agent { name, place, version, model, lines })
}

fn agents(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Agents> {
    subsequence(NAMES.to_vec(), count).prop_flat_map(|names| names.into_iter().map(agent).collect::<Vec<_>>())
}

fn text(agents: &[Agent]) -> String {
    let mut text = "[providers.attic]\nkind = \"docker\"\n".to_owned();
    for Agent { name, place, version, model, lines } in agents {
        let head = format!(
            "on = \"{place}\"\nversion = \"{version}\"\nmodel = \"anthropic/{model}\"\nsecrets = [\"default\"]"
        );
        writeln!(text, "[agents.{name}]\n{head}\n{}", lines.join("\n")).unwrap();
    }
    text
}

/// What somebody did to the world: to which thing, and what.
#[derive(Clone, Debug)]
struct Deed {
    thing: Index,
    what: u8,
}

/// A world: what was applied before, how far that came, what was done to it since, and what is foreign in it.
#[derive(Clone, Debug)]
struct Past {
    agents: Agents,
    cut_off: Option<usize>,
    deeds: Vec<Deed>,
    foreign: Vec<(&'static str, Kind)>,
}

fn past() -> impl Strategy<Value = Past> {
    let deed = (any::<Index>(), 0..4_u8).prop_map(|(thing, what)| Deed { thing, what });
    let foreign = (select(&NAMES[..]), select(&Kind::ALL[..]));
    let parts = (
        agents(0..=6),
        prop::option::of(0..40_usize),
        prop::collection::vec(deed, 0..5),
        prop::collection::vec(foreign, 0..3),
    );
    parts.prop_map(|(agents, cut_off, deeds, foreign)| Past { agents, cut_off, deeds, foreign })
}

/// Returns a lab whose world has that past, with the fleet of `now`. Everything a person may allow is allowed.
fn lab(past: &Past, now: &[Agent]) -> Lab {
    let mut lab = Lab::new(&text(&past.agents));
    for place in PLACES {
        lab.poke(Poke::Up(place.to_owned()));
    }
    let (engines, end) = Doomed::wrap(lab.engines(), 0, past.cut_off.map(|last| (last, true)));
    lab.run_until(&lab.plan(), &engines, 8, &end);
    for Deed { thing, what } in &past.deeds {
        let things: Vec<ResourceId> = lab.look().states.into_keys().map(|address| address.id).collect();
        if things.is_empty() {
            continue;
        }
        let id = thing.get(&things).clone();
        match what {
            0 => lab.poke(Poke::Remove(id)),
            1 => lab.poke(Poke::Set(id, "image".to_owned(), "example/odd:1".into())),
            2 => lab.poke(Poke::Set(id, "agents.defaults.model.primary".to_owned(), 7.into())),
            _ => lab.poke(Poke::Set(id, "unfinished".to_owned(), "half".into())),
        };
    }
    for (name, kind) in &past.foreign {
        lab.poke(Poke::Foreign(ResourceId::new(*kind, *name)));
    }
    lab.becomes(&text(now));
    lab.policy.guard_deletes = false;
    lab.policy.allow_destroy = NAMES.iter().map(|name| (*name).to_owned()).collect();
    lab
}

fn without_foreign(past: &Past) -> Past {
    Past { foreign: Vec::new(), ..past.clone() }
}

/// Returns the foreign things of a world, as they stand.
fn foreign(observed: &Observed) -> BTreeMap<Address, State> {
    let is_foreign = |state: &State| matches!(state, State::Present(actual) if actual.owner == Owner::Foreign);
    observed.states.clone().into_iter().filter(|(_, state)| is_foreign(state)).collect()
}

fn unlucky(lab: &Lab, seed: u64, permille: u64) -> Providers {
    lab.engines_with(|at| {
        let mut faults = Faults::new(seed + at as u64, permille);
        faults.cut_permille = 0;
        faults
    })
}

/// Returns what a run did against the rules: a step begun before its needs, begun twice, or begun after a need failed;
/// a step that never ended; too many at once.
fn breaches(plan: &Plan, outcome: &Outcome, at_once: usize) -> Vec<String> {
    let needs: BTreeMap<&Address, &[Address]> =
        plan.steps.iter().map(|step| (&step.address, &step.needs[..])).collect();
    let (mut begun, mut done, mut failed, mut skipped) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut breaches = Vec::new();
    for event in &outcome.events {
        match event {
            EventKind::StepStarted { address, .. } => {
                if !begun.insert(address.clone()) {
                    breaches.push(format!("{address} began twice"));
                }
                for need in needs[address] {
                    if !done.contains(need) {
                        breaches.push(format!("{address} began before {need} was done"));
                    }
                }
                if begun.len() - done.len() - failed.len() > at_once {
                    breaches.push(format!("{address} was one too many at once"));
                }
            }
            EventKind::StepDone { address, .. } => _ = done.insert(address.clone()),
            EventKind::StepFailed { address, .. } => _ = failed.insert(address.clone()),
            EventKind::StepSkipped { address, .. } => _ = skipped.insert(address.clone()),
            _ => {}
        }
    }
    if outcome.summary.is_some() {
        for step in &plan.steps {
            let address = &step.address;
            let ends = [&done, &failed, &skipped].iter().filter(|set| set.contains(address)).count();
            if ends != 1 {
                breaches.push(format!("{address} ended {ends} times"));
            }
            let rests_on_failure = step.needs.iter().any(|need| failed.contains(need) || skipped.contains(need));
            // a rollout that failed stops whoever comes later in it
            let may_be_stopped = step.wave.is_some() && (!failed.is_empty() || rests_on_failure);
            let is_skipped = skipped.contains(address);
            if (rests_on_failure && !is_skipped) || (is_skipped && !rests_on_failure && !may_be_stopped) {
                breaches.push(format!("{address} was skipped without a reason, or not skipped with one"));
            }
        }
    }
    breaches
}

fn bytes(plan: &Plan) -> String {
    serde_json::to_string(plan).unwrap()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn after_an_apply_there_is_nothing_left_to_do_and_nothing_too_many(past in past(), now in agents(0..=6)) {
        let lab = lab(&without_foreign(&past), &now);
        let plan = lab.plan();
        prop_assert_eq!(&plan.held, &[]);
        let outcome = lab.run(&plan, &lab.engines(), 8);
        prop_assert_eq!(breaches(&plan, &outcome, 8), Vec::<String>::new());
        prop_assert_eq!(outcome.summary.map(|summary| summary.done), Some(plan.steps.len()));
        let again = lab.plan();
        prop_assert!(again.is_empty(), "{}", crate::lab::text(&again));
        prop_assert_eq!(lab.world.count(), lab.desired.resources.len());
    }

    #[test]
    fn with_the_usual_limits_applying_comes_to_rest_and_loses_no_data(past in past(), now in agents(0..=6)) {
        let mut lab = lab(&past, &now);
        lab.policy = claw_core::plan::Policy { today: TODAY.to_owned(), ..Default::default() };
        let volumes = |observed: Observed| -> BTreeSet<Address> {
            observed.states.into_keys().filter(|address| address.id.kind.holds_data()).collect()
        };
        let before = volumes(lab.look());
        for _ in 0..3 {
            lab.run(&lab.plan(), &lab.engines(), 8);
        }
        let rest = lab.plan();
        prop_assert!(rest.steps.is_empty(), "{}", crate::lab::text(&rest));
        prop_assert!(volumes(lab.look()).is_superset(&before));
    }

    #[test]
    fn equal_inputs_give_equal_bytes_in_whatever_order_they_come(
        past in past(),
        (now, shuffled) in agents(1..=6).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let mut lab = lab(&past, &now);
        let first = bytes(&lab.plan());
        prop_assert_eq!(&first, &bytes(&lab.plan()));
        lab.becomes(&text(&shuffled));
        prop_assert_eq!(&first, &bytes(&lab.plan()));
        prop_assert!(!first.contains(CANARY) && !format!("{:?}", lab.plan()).contains(CANARY), "a secret in a plan");
    }

    #[test]
    fn the_world_comes_out_the_same_however_many_steps_run_at_once(past in past(), now in agents(1..=6), seed in any::<u64>()) {
        let worlds = [1, 8].map(|at_once| {
            let lab = lab(&past, &now);
            let (engines, end) = Doomed::wrap(lab.engines(), seed, None);
            let plan = lab.plan();
            let outcome = lab.run_until(&plan, &engines, at_once, &end);
            assert_eq!(breaches(&plan, &outcome, at_once), Vec::<String>::new(), "seed {seed}");
            lab.look()
        });
        prop_assert_eq!(&worlds[0], &worlds[1], "seed {}", seed);
    }

    #[test]
    fn bad_luck_breaks_no_order_and_the_next_applies_mend_it(
        past in past(), now in agents(1..=6), seed in any::<u32>(), permille in 0..600_u64,
    ) {
        let lab = lab(&without_foreign(&past), &now);
        let seed = u64::from(seed);
        let plan = lab.plan();
        let (engines, end) = Doomed::wrap(unlucky(&lab, seed, permille), seed, None);
        let outcome = lab.run_until(&plan, &engines, 8, &end);
        prop_assert_eq!(breaches(&plan, &outcome, 8), Vec::<String>::new(), "seed {}", seed);
        let shown = format!("{:?}\n{}", outcome.events, outcome.journal);
        prop_assert!(!shown.contains(CANARY), "a secret in an event, seed {}", seed);
        lab.apply();
        prop_assert!(lab.plan().is_empty(), "seed {}", seed);
        prop_assert_eq!(lab.world.count(), lab.desired.resources.len(), "seed {}", seed);
    }

    #[test]
    fn a_run_killed_at_any_change_is_finished_by_the_next(
        past in past(), now in agents(1..=6), last in 0..45_usize, takes_effect: bool, at_once in 1..9_usize, seed in any::<u32>(),
    ) {
        let lab = lab(&without_foreign(&past), &now);
        let plan = lab.plan();
        let (engines, end) = Doomed::wrap(lab.engines(), seed.into(), Some((last, takes_effect)));
        let outcome = lab.run_until(&plan, &engines, at_once, &end);
        prop_assert_eq!(outcome.summary.is_none(), last < plan.steps.len(), "the world ends at its change");
        prop_assert_eq!(breaches(&plan, &outcome, at_once), Vec::<String>::new(), "seed {}", seed);
        // whoever reads the journal of a killed run finds every change that was begun
        let announced = outcome.journal.matches("\"step_started\"").count();
        prop_assert!(announced > last.min(plan.steps.len().saturating_sub(1)) || plan.steps.is_empty());
        lab.apply();
        let again = lab.plan();
        prop_assert!(again.is_empty(), "seed {}: {}", seed, crate::lab::text(&again));
        prop_assert_eq!(lab.world.count(), lab.desired.resources.len(), "seed {}", seed);
    }

    #[test]
    fn nothing_without_our_mark_is_ever_planned_for_or_changed(past in past(), now in agents(0..=6), seed in any::<u32>()) {
        let lab = lab(&past, &now);
        let before = foreign(&lab.look());
        for round in 0..2 {
            let plan = lab.plan();
            let touched: Vec<_> = plan.steps.iter().filter(|step| before.contains_key(&step.address)).collect();
            prop_assert!(touched.is_empty(), "round {}: {:?}", round, touched);
            let outcome = lab.run(&plan, &unlucky(&lab, seed.into(), 100), 8);
            let failed: Vec<_> = outcome.events.iter().filter(|event| matches!(event, EventKind::StepFailed { reason, .. } if reason.contains("mark"))).collect();
            prop_assert!(failed.is_empty(), "{:?}", failed);
        }
        prop_assert_eq!(before, foreign(&lab.look()), "seed {}", seed);
    }

    #[test]
    fn a_list_that_was_cut_short_or_failed_deletes_and_makes_nothing(
        past in past(), now in agents(0..=6), seed in any::<u64>(), down in subsequence(PLACES.to_vec(), 0..=2),
    ) {
        let lab = lab(&past, &now);
        let count = lab.world.count();
        for place in &down {
            lab.poke(Poke::Down((*place).to_owned()));
        }
        let plan = lab.plan_against(&lab.look_with(&lab.engines_with(|at| always_cut(seed.wrapping_add(at as u64)))));
        prop_assert_eq!(plan.unseen.len(), PLACES.len());
        let odd: Vec<_> = plan.steps.iter().filter(|step| step.action.word() != "update" && step.action.word() != "replace").collect();
        prop_assert!(odd.is_empty(), "seed {}: {:?}", seed, odd);
        prop_assert!(plan.steps.iter().all(|step| !down.contains(&step.address.place.as_str())));
        lab.run(&plan, &lab.engines(), 8);
        prop_assert_eq!(lab.world.count(), count, "seed {}", seed);
    }

    #[test]
    fn deletes_stay_under_the_guard_unless_it_is_off(past in past(), now in agents(0..=6), percent in 0..=100_u32) {
        let mut lab = lab(&past, &now);
        lab.policy.delete_max_percent = percent;
        lab.policy.guard_deletes = true;
        let observed = lab.look();
        let plan = lab.plan_against(&observed);
        for kind in Kind::ALL {
            let ours = |state: &State| matches!(state, State::Present(actual) if actual.owner == Owner::Ours);
            let there = observed.states.iter().filter(|(address, state)| address.id.kind == kind && ours(state)).count();
            let going = plan.steps.iter().filter(|step| step.address.id.kind == kind && step.action.is_delete()).count();
            let allowed = f64::max(1.0, (there as f64 * f64::from(percent) / 100.0).floor());
            prop_assert!(going as f64 <= allowed, "{} of {} {}s go at {} %", going, there, kind, percent);
        }
        lab.policy.guard_deletes = false;
        let limited = lab.plan().held.into_iter().find(|held| matches!(held.reason, Reason::DeleteMax { .. }));
        prop_assert_eq!(limited, None);
    }

    #[test]
    fn every_orphan_and_every_difference_is_in_the_plan_as_a_step_or_held(past in past(), now in agents(0..=6)) {
        let lab = lab(&past, &now);
        let plan = lab.plan();
        let steps = plan.steps.iter().map(|step| &step.address);
        let all: Vec<&Address> = steps.chain(plan.held.iter().map(|held| &held.address)).chain(&plan.unchanged).collect();
        let unique: BTreeSet<&Address> = all.iter().copied().collect();
        prop_assert_eq!(all.len(), unique.len(), "something is told twice");
        let observed = lab.look();
        let orphans = observed.orphans(&lab.desired).map(|(address, _)| address);
        let expected: BTreeSet<&Address> = lab.desired.resources.keys().chain(orphans).collect();
        prop_assert_eq!(unique, expected);
    }
}

/// The lab's own engines wait in different orders; were they all alike, the properties above would prove less.
#[test]
fn steps_of_the_lab_really_overlap() {
    let lab = Lab::new(&text(
        &NAMES[..2]
            .iter()
            .map(|name| Agent { name, place: "docker", version: "1", model: "m", lines: Vec::new() })
            .collect::<Vec<_>>(),
    ));
    let (engines, end) = Doomed::wrap(lab.engines(), 7, None);
    let outcome = lab.run_until(&lab.plan(), &engines, 8, &end);
    let mut running = std::sync::atomic::AtomicUsize::new(0);
    let mut most = 0;
    for event in &outcome.events {
        match event {
            EventKind::StepStarted { .. } => most = most.max(running.fetch_add(1, Ordering::SeqCst) + 1),
            EventKind::StepDone { .. } => _ = running.fetch_sub(1, Ordering::SeqCst),
            _ => {}
        }
    }
    assert_eq!((most, *running.get_mut()), (4, 0));
}
