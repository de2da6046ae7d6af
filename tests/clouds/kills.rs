//! Kills claw at every request and at every event of each chapter in the life of a fleet, and runs it anew: nothing may be
//! there twice, left over, or missing. `CLAW_CHAOS_STRIDE=1` takes every instant; without it some are left out.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Instant;

use super::lab::{CloudLab, Ending, NONE};
use super::story::{Chapter, STORY};

/// Every how-manieth instant is taken unless the environment says.
const STRIDE: usize = 6;
/// How many instants are tried at once.
const WORKERS: usize = 2;
/// After this many breaches a sweep ends: they tend to be the same.
const BREACHES_MAX: usize = 5;

#[test]
fn killed_anywhere_in_the_life_of_a_fleet_the_next_apply_finishes_it() {
    let begun = Instant::now();
    let mut lab = CloudLab::new(NONE);
    let others = lab.foreign();
    let mut told = Vec::new();
    let mut breaches = Vec::new();
    for chapter in &STORY {
        chapter.begin(&mut lab);
        let (instants, found) = sweep(&lab, chapter, &others);
        told.push(format!("{instants} in {}", chapter.name));
        breaches.extend(found);
        lab.apply().ok();
        lab.converged();
    }
    let line = format!("killed at instants: {} in {} s\n", told.join(", "), begun.elapsed().as_secs());
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(breaches.is_empty(), "{}", breaches.join("\n\n"));
}

/// Kills at the instants of one chapter. Returns how many there were, and what was wrong afterwards.
fn sweep(lab: &CloudLab, chapter: &Chapter, others: &BTreeSet<String>) -> (usize, Vec<String>) {
    let stride = std::env::var("CLAW_CHAOS_STRIDE").map_or(STRIDE, |text| text.parse().unwrap());
    let whole = lab.fork().apply().ok();
    let (requests, events) = (whole.deeds.len(), whole.outcome.events.len());
    let mut kills: Vec<Ending> = (1..=requests).flat_map(|at| [Ending::Before(at), Ending::After(at)]).collect();
    kills.extend((1..=events).map(Ending::Event));
    let kills: Vec<Ending> = kills.into_iter().step_by(stride).collect();
    let instants = kills.len();
    let todo = Mutex::new(kills.into_iter().map(|kill| (kill, lab.fork())).collect::<Vec<_>>());
    let breaches = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().unwrap().pop();
                    let Some((kill, lab)) = next else { return };
                    let found = mend(&lab, &kill, others);
                    let mut breaches = breaches.lock().unwrap();
                    breaches.extend(found.map(|breach| format!("{}, killed {kill:?}: {breach}", chapter.name)));
                    if breaches.len() >= BREACHES_MAX {
                        return;
                    }
                }
            });
        }
    });
    (instants, breaches.into_inner().unwrap())
}

/// Kills at one instant, and runs anew. Returns what is wrong then.
fn mend(lab: &CloudLab, kill: &Ending, others: &BTreeSet<String>) -> Option<String> {
    let killed = lab.apply_with(None, kill.clone());
    // steps of one run overlap anew each time: it may come to its end some requests earlier
    if let Some(summary) = killed.outcome.summary.filter(|summary| summary.failed > 0) {
        return Some(format!("it was not killed, and yet {summary:?}"));
    }
    let wrong = lab.converge().err().into_iter().chain(lab.breaches()).chain(lab.touched(others));
    wrong.reduce(|all, one| format!("{all}\n{one}"))
}
