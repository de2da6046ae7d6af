//! Lists against a stub that pages: whole, or an error.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::error::Code;
use crate::stub::{Asked, Reply, bed, ssh_key};

/// A page of keys with these ids, of so many in all.
fn page(asked: &Asked, ids: impl IntoIterator<Item = u64>, last: u32, total: u64) -> Reply {
    let number = asked.page();
    let next = (number < last).then_some(number + 1);
    let keys: Vec<Value> = ids.into_iter().map(ssh_key).collect();
    Reply::json(
        200,
        json!({ "ssh_keys": keys, "meta": { "pagination": {
        "page": number, "per_page": 50, "previous_page": null, "next_page": next, "last_page": last, "total_entries": total,
    } } }),
    )
}

/// The page of `total` keys that was asked for.
fn of(asked: &Asked, total: u64) -> Reply {
    let begin = u64::from(asked.page() - 1) * 50 + 1;
    page(asked, begin..=(begin + 49).min(total), u32::try_from(total.div_ceil(50)).unwrap(), total)
}

fn ids(list: &List<SshKey>) -> Vec<u64> {
    list.items.iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn all_pages_are_asked_for_at_once_when_the_first_says_how_many() {
    let bed = bed(|asked, _| if asked.page() == 1 { of(asked, 420) } else { of(asked, 420).after(200) }).await;
    let begun = Instant::now();
    let list = bed.client.ssh_keys(&Filter::labelled("fleet=blue,role in (a)")).await.unwrap();
    assert_eq!(ids(&list), (1..=420).collect::<Vec<u64>>());
    assert_eq!(list.odd, []);
    assert!(begun.elapsed().as_millis() < 1_200, "8 pages of 200 ms at once: {:?}", begun.elapsed());
    let asked = bed.asked();
    assert_eq!(asked.len(), 9);
    let mut pages: Vec<u32> = asked.iter().map(Asked::page).collect();
    pages.sort_unstable();
    assert_eq!(pages, (1..=9).collect::<Vec<u32>>());
    for one in asked {
        assert_eq!(one.one("per_page"), Some("50"));
        assert_eq!(one.one("sort"), Some("id:asc"));
        assert!(one.one("label_selector").unwrap().starts_with("fleet=blue,"));
    }
}

#[tokio::test]
async fn record_sets_come_a_hundred_a_page() {
    let bed = bed(|_, _| Reply::json(200, json!({ "rrsets": [] }))).await;
    bed.client.rrsets("example.com", &Filter::all()).await.unwrap();
    assert_eq!(bed.lines(), ["GET /zones/example.com/rrsets"]);
    assert_eq!(bed.asked()[0].one("per_page"), Some("100"));
}

#[tokio::test]
async fn null_pagination_is_followed_until_a_page_is_not_full() {
    let bed = bed(|asked, _| {
        let ids = if asked.page() == 3 { 101..=120 } else { of_fifty(asked.page()) };
        let keys: Vec<Value> = ids.map(ssh_key).collect();
        let pagination = json!({ "page": asked.page(), "next_page": null, "last_page": null, "total_entries": null });
        Reply::json(200, json!({ "ssh_keys": keys, "meta": { "pagination": pagination } }))
    })
    .await;
    assert_eq!(bed.client.ssh_keys(&Filter::all()).await.unwrap().items.len(), 120);
}

fn of_fifty(page: u32) -> std::ops::RangeInclusive<u64> {
    let begin = u64::from(page - 1) * 50 + 1;
    begin..=begin + 49
}

#[tokio::test]
async fn next_page_alone_is_followed() {
    let bed = bed(|asked, _| {
        let number = asked.page();
        let next = (number < 3).then_some(number + 1);
        let pagination = json!({ "next_page": next, "last_page": null });
        Reply::json(200, json!({ "ssh_keys": [ssh_key(u64::from(number))], "meta": { "pagination": pagination } }))
    })
    .await;
    assert_eq!(ids(&bed.client.ssh_keys(&Filter::all()).await.unwrap()), [1, 2, 3]);
}

#[tokio::test]
async fn a_page_that_fails_makes_the_list_partial() {
    let bed = bed(|asked, _| if asked.page() == 3 { Reply::error(403, "forbidden") } else { of(asked, 200) }).await;
    let error = bed.client.ssh_keys(&Filter::all()).await.unwrap_err();
    assert_eq!(error.to_string(), "list /ssh_keys whole: page 3 did not come");
    assert!(matches!(&error, ApiError::Partial { source: Some(_), .. }));
    assert!(error.is(&Code::Forbidden));
}

#[tokio::test]
async fn a_page_that_is_cut_off_makes_the_list_partial() {
    let bed = bed(|asked, _| if asked.page() == 2 { of(asked, 100).cut() } else { of(asked, 100) }).await;
    let error = bed.client.ssh_keys(&Filter::all()).await.unwrap_err();
    assert!(matches!(&error, ApiError::Partial { source: Some(_), .. }), "{error:?}");
    assert_eq!(bed.lines().len(), 7, "the page was asked for six times");
}

#[tokio::test]
async fn the_first_page_failing_is_its_own_error() {
    let bed = bed(|_, _| Reply::error(401, "unauthorized")).await;
    assert!(matches!(bed.client.ssh_keys(&Filter::all()).await, Err(ApiError::Refused(_))));
}

#[tokio::test]
async fn a_list_that_does_not_add_up_is_read_again_and_never_passed_as_whole() {
    // an element was deleted between the pages: the one that moved forward is missing
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let moved = bed(move |asked, _| match (counted.fetch_add(1, Ordering::Relaxed), asked.page()) {
        (0, _) => page(asked, 1..=50, 2, 100),
        (1, _) => page(asked, 52..=100, 2, 99),
        (_, 1) => page(asked, 2..=51, 2, 99),
        _ => page(asked, 52..=100, 2, 99),
    })
    .await;
    assert_eq!(ids(&moved.client.ssh_keys(&Filter::all()).await.unwrap()), (2..=100).collect::<Vec<u64>>());
    assert_eq!(calls.load(Ordering::Relaxed), 4);

    let short = bed(|asked, _| page(asked, [1, 2], 1, 3)).await;
    let error = short.client.ssh_keys(&Filter::all()).await.unwrap_err();
    assert!(matches!(error, ApiError::Partial { source: None, .. }), "{error:?}");
    assert_eq!(short.lines().len(), 3);
}

#[tokio::test]
async fn an_element_on_two_pages_is_one() {
    let bed = bed(|asked, _| match asked.page() {
        1 => page(asked, 1..=50, 2, 60),
        _ => page(asked, 50..=60, 2, 60),
    })
    .await;
    assert_eq!(bed.client.ssh_keys(&Filter::all()).await.unwrap().items.len(), 60);
}

#[tokio::test]
async fn an_element_that_cannot_be_read_is_told_and_the_others_are_kept() {
    let bed = bed(|_, _| {
        let nameless = json!({ "id": 2, "name": 7, "labels": { "fleet": "blue", "odd": 1 } });
        Reply::json(
            200,
            json!({ "ssh_keys": [ssh_key(1), nameless, "what", ssh_key(3)], "meta": { "pagination": {
            "page": 1, "last_page": 1, "next_page": null, "total_entries": 4 } } }),
        )
    })
    .await;
    let list = bed.client.ssh_keys(&Filter::all()).await.unwrap();
    assert_eq!(ids(&list), [1, 3]);
    assert_eq!(list.odd.len(), 2);
    assert_eq!((list.odd[0].id.as_deref(), list.odd[0].name.as_deref()), (Some("2"), Some("7")));
    assert_eq!(list.odd[0].labels, Labels::from([("fleet".to_owned(), "blue".to_owned())]));
    assert!(list.odd[0].why.contains("invalid type"), "{}", list.odd[0].why);
}

#[tokio::test]
async fn an_endless_list_ends() {
    let told = bed(|asked, _| page(asked, [1], 100_000, 1)).await;
    assert!(matches!(told.client.ssh_keys(&Filter::all()).await, Err(ApiError::Partial { .. })));
    assert_eq!(told.lines().len(), 1);
}

#[tokio::test]
async fn an_answer_without_the_list_is_no_empty_list() {
    for body in [json!({}), json!({ "ssh_keys": null }), json!({ "ssh_keys": {} }), json!([]), json!({ "servers": [] })]
    {
        let bed = bed(move |_, _| Reply::json(200, body.clone())).await;
        let answer = bed.client.ssh_keys(&Filter::all()).await;
        assert!(matches!(answer, Err(ApiError::Unreadable { .. })), "{answer:?}");
    }
}
