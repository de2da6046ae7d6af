//! A hundred seeds of bad luck over the life of a fleet: whatever the cloud does meanwhile, once it is calm nothing is there
//! twice, nothing is left over, nothing of others was touched, and a list that was not whole deleted nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use claw_sim::hetzner::CloudFaults;

use super::lab::{Applied, CloudLab, Ending, NONE};
use super::story::STORY;

/// How many lives are told.
const SEEDS: u64 = 100;
/// How often claw is run in bad weather before it is calm, in each chapter.
const STORMS: u64 = 2;
/// How many lives are told at once.
const WORKERS: usize = 4;
/// After this many breaches the test ends: they tend to be the same.
const BREACHES_MAX: usize = 5;

/// What the lives came to.
#[derive(Default)]
struct Tally {
    next: u64,
    applies: usize,
    requests: usize,
    struck: usize,
    partial: usize,
    breaches: Vec<String>,
}

#[test]
fn through_a_hundred_seeds_of_bad_luck_nothing_is_there_twice_left_over_or_taken_from_others() {
    let begun = Instant::now();
    let only = std::env::var("CLAW_CHAOS_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    let tally = Mutex::new(Tally { next: only.unwrap_or(0), ..Tally::default() });
    let last = only.unwrap_or(SEEDS - 1);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| while work(&tally, last) {});
        }
    });
    let Tally { applies, requests, struck, partial, breaches, .. } = tally.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs();
    let line = format!(
        "seeds of bad luck: {applies} applies, {struck} of {requests} requests struck, {partial} with a list that was not whole, in {seconds} s\n"
    );
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(breaches.is_empty(), "{}", breaches.join("\n\n"));
    assert!(only.is_some() || (struck > 1000 && partial > 10), "the weather was too good: {line}");
}

/// Tells the next life. Returns whether there may be another.
fn work(tally: &Mutex<Tally>, last: u64) -> bool {
    let seed = {
        let mut tally = tally.lock().unwrap();
        if tally.next > last || tally.breaches.len() >= BREACHES_MAX {
            return false;
        }
        tally.next += 1;
        tally.next - 1
    };
    let mut found = Tally::default();
    live(seed, &mut found);
    let mut tally = tally.lock().unwrap();
    tally.applies += found.applies;
    tally.requests += found.requests;
    tally.struck += found.struck;
    tally.partial += found.partial;
    tally.breaches.extend(found.breaches.into_iter().map(|breach| format!("seed {seed}, {breach}")));
    true
}

fn live(seed: u64, tally: &mut Tally) {
    let mut lab = CloudLab::new(NONE);
    let others = lab.foreign();
    for (at, chapter) in STORY.iter().enumerate() {
        chapter.begin(&mut lab);
        for storm in 0..STORMS {
            let nth = seed * 100 + at as u64 * 10 + storm;
            let mut weather = CloudFaults::new(nth, 20 + nth % 41);
            weather.hang = Duration::from_millis(3);
            let applied = lab.apply_with(Some(weather), Ending::Natural);
            tally.applies += 1;
            let lines = || applied.looks.iter().chain(&applied.deeds);
            tally.requests += lines().count();
            tally.struck += lines().filter(|line| [0, 423, 429].contains(&line.status) || line.status >= 500).count();
            tally.partial += usize::from(!not_whole(&applied).is_empty());
            tally.breaches.extend(deleted_unseen(&applied).map(|breach| format!("{}: {breach}", chapter.name)));
        }
        let mut breaches: Vec<String> = lab.converge().err().into_iter().collect();
        breaches.extend(lab.breaches());
        breaches.extend(lab.touched(&others));
        if !breaches.is_empty() {
            tally.breaches.extend(breaches.into_iter().map(|breach| format!("{}: {breach}", chapter.name)));
            return;
        }
    }
}

/// Returns the lists that were looked at and did not come whole, by what is in them.
fn not_whole(applied: &Applied) -> BTreeSet<String> {
    let lists = applied.looks.iter().filter(|line| !line.target.contains("name="));
    let last: BTreeMap<&str, u16> = lists.map(|line| (line.target.as_str(), line.status)).collect();
    last.into_iter().filter(|(_, status)| *status != 200).map(|(target, _)| collection(target)).collect()
}

/// Returns what was deleted though its list was not whole.
fn deleted_unseen(applied: &Applied) -> Option<String> {
    let not_whole = not_whole(applied);
    let unseen = |target: &str| {
        let found = collection(target);
        not_whole.contains(&found) || (found.starts_with("zones") && not_whole.contains("zones"))
    };
    let mut deletes = applied.deeds.iter().filter(|line| line.method == "DELETE");
    let delete = deletes.find(|line| unseen(&line.target))?;
    Some(format!("{} after lists that were not whole: {not_whole:?}", delete.target))
}

/// Returns the collection that a path lies in: `servers`, `zones/fleet.example/rrsets`.
fn collection(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match parts.as_slice() {
        ["zones", zone, "rrsets", ..] => format!("zones/{zone}/rrsets"),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}
