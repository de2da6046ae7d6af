//! Many who wait, one who asks.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::stub::{Asked, Reply, action, bed};
use crate::timing::Timing;

fn running(id: u64) -> Action {
    serde_json::from_value(action(id, "running", 0)).unwrap()
}

fn answer(actions: Vec<Value>) -> Reply {
    Reply::json(200, json!({ "actions": actions }))
}

fn all(asked: &Asked, status: &str, progress: u32) -> Reply {
    answer(asked.ids().into_iter().map(|id| action(id, status, progress)).collect())
}

#[tokio::test]
async fn actions_are_asked_for_in_batches_of_25() {
    let bed = bed(|asked, _| all(asked, "success", 100)).await;
    let actions: Vec<Action> = (1..=60).map(running).collect();
    bed.client.wait(&actions).await.unwrap();
    let mut sizes: Vec<usize> = bed.asked().iter().map(|asked| asked.ids().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
    assert!(bed.lines().iter().all(|line| line == "GET /actions"));
}

#[tokio::test]
async fn nothing_is_asked_for_what_is_over() {
    let bed = bed(|_, _| answer(Vec::new())).await;
    let done = |status: &str| serde_json::from_value::<Action>(action(1, status, 100)).unwrap();
    bed.client.wait(&[done("success")]).await.unwrap();
    bed.client.wait(&[]).await.unwrap();
    assert!(matches!(bed.client.wait(&[done("error")]).await, Err(ApiError::ActionFailed { .. })));
    assert_eq!(bed.lines(), [""; 0]);
}

#[tokio::test]
async fn the_wait_grows_while_nothing_happens_and_shrinks_when_something_does() {
    let bed = bed(|asked, before| match before {
        0..=9 => all(asked, "running", 0),
        10 => all(asked, "running", 50),
        _ => all(asked, "success", 100),
    })
    .await;
    bed.client.wait(&[running(1)]).await.unwrap();
    let mut waits = bed.timing.waits_ms();
    // a wait that ends because somebody joined was begun all the same
    waits.dedup();
    assert_eq!(waits, [50, 750, 1_125, 1_687, 2_531, 3_796, 5_000, 500]);
}

#[tokio::test]
async fn all_who_wait_share_the_requests() {
    let bed = bed(|asked, before| all(asked, if before < 3 { "running" } else { "success" }, 0)).await;
    let waits = (1..=20).map(|id| {
        let client = bed.client.clone();
        async move { client.wait(&[running(id)]).await }
    });
    for outcome in join_all(waits).await {
        outcome.unwrap();
    }
    assert!(bed.lines().len() <= 6, "20 waiters, {} requests", bed.lines().len());
    assert!(bed.client.poller().table().is_empty());
}

#[tokio::test]
async fn a_newcomer_is_asked_for_at_once() {
    let bed = bed(|asked, _| {
        answer(asked.ids().into_iter().map(|id| action(id, if id == 2 { "success" } else { "running" }, 0)).collect())
    })
    .await;
    let first = bed.client.clone();
    let first = tokio::spawn(async move { first.wait(&[running(1)]).await });
    while bed.lines().len() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bed.client.wait(&[running(2)]).await.unwrap();
    let of_newcomer: Vec<Vec<u64>> = bed.asked().iter().map(Asked::ids).filter(|ids| ids.contains(&2)).collect();
    assert_eq!(of_newcomer.len(), 1);
    first.abort();
}

#[tokio::test]
async fn the_one_who_asks_may_go_away() {
    let done = Arc::new(AtomicBool::new(false));
    let told = done.clone();
    let bed =
        bed(move |asked, _| all(asked, if told.load(Ordering::Relaxed) { "success" } else { "running" }, 0)).await;
    let spawn = |id| {
        let client = bed.client.clone();
        tokio::spawn(async move { client.wait(&[running(id)]).await })
    };
    let first = spawn(1);
    while bed.lines().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = spawn(2);
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.abort();
    done.store(true, Ordering::Relaxed);
    second.await.unwrap().unwrap();
    assert!(bed.client.poller().table().is_empty());
    let asked = bed.lines().len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bed.lines().len(), asked, "nobody waits, nobody asks");
}

#[tokio::test]
async fn a_failed_action_says_why() {
    let bed = bed(|asked, _| {
        let mut failed = action(asked.ids()[0], "error", 100);
        failed["error"] = json!({ "code": "placement_error", "message": "no \u{1b}[31mroom" });
        answer(vec![failed])
    })
    .await;
    let error = bed.client.wait(&[running(9)]).await.unwrap_err();
    assert_eq!(error.to_string(), "finish create_server (action 9): no room (placement_error)");
    assert!(error.is(&Code::PlacementError) && error.may_have_happened());
}

#[tokio::test]
async fn a_forgotten_action_is_an_error_but_one_stale_answer_is_not() {
    let bed = bed(|asked, before| {
        let known = asked.ids().into_iter().filter(|id| *id != 1 && (*id != 2 || before != 1));
        answer(known.map(|id| action(id, "running", 0)).collect())
    })
    .await;
    let error = bed.client.wait(&[running(1), running(2)]).await.unwrap_err();
    assert!(matches!(error, ApiError::ActionMissing { id: 1, .. }), "{error:?}");
    assert_eq!(bed.lines().len(), 3);
}

#[tokio::test]
async fn a_broken_or_new_kind_of_answer_is_no_success() {
    let rounds = Arc::new(AtomicU32::new(0));
    let counted = rounds.clone();
    let bed = bed(move |asked, _| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => answer(vec![json!({ "id": 1, "status": 5 })]),
        1 => all(asked, "paused_by_moon", 0),
        _ => all(asked, "success", 100),
    })
    .await;
    bed.client.wait(&[running(1)]).await.unwrap();
    assert_eq!(rounds.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_action_has_its_time() {
    let bed = bed(|asked, _| all(asked, "running", 0)).await;
    let error = bed.client.wait_within(&[running(4)], 30).await.unwrap_err();
    assert!(matches!(error, ApiError::ActionTimedOut { id: 4, seconds: 30, .. }), "{error:?}");
    assert!(bed.timing.now().as_secs() < 40);
}

#[tokio::test]
async fn all_who_wait_hear_why_asking_failed() {
    let bed = bed(|_, _| Reply::error(401, "unauthorized").after(30)).await;
    let (one, other) = ([running(1)], [running(2)]);
    let (one, other) = tokio::join!(bed.client.wait(&one), bed.client.wait(&other));
    assert!(one.unwrap_err().is(&Code::Unauthorized) && other.unwrap_err().is(&Code::Unauthorized));
    assert_eq!(bed.lines().len(), 1);
}
