//! Single calls: what is tried again, what is not, and what a person is told.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use claw_core::provider::{ApplyError, Class};
use serde_json::json;

use super::*;
use crate::error::Code;
use crate::ops::{NewSshKey, Update};
use crate::stub::{Asked, Bed, Reply, TOKEN, bed, ssh_key};
use crate::wire::Labels;

fn new_key(labels: &Labels) -> NewSshKey<'_> {
    NewSshKey { name: "control", public_key: "ssh-ed25519 AAAA", labels }
}

async fn create(bed: &Bed) -> Result<crate::wire::SshKey, ApiError> {
    bed.client.create_ssh_key(&new_key(&Labels::new())).await
}

fn made() -> Reply {
    Reply::json(201, json!({ "ssh_key": ssh_key(7) }))
}

/// A name and how to answer.
type Case = (&'static str, fn() -> Reply);

/// Answers the first request so and all others well.
fn first(reply: impl Fn() -> Reply + Send + Sync + 'static) -> impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static {
    move |asked, before| match (before, asked.method.as_str()) {
        (0, _) => reply(),
        (_, "DELETE") => Reply::text(204, ""),
        (_, "GET") => Reply::json(200, json!({ "ssh_keys": [] })),
        (_, "PUT") => Reply::json(200, json!({ "ssh_key": ssh_key(7) })),
        _ => made(),
    }
}

#[tokio::test]
async fn a_create_is_repeated_only_where_it_certainly_was_not_done() {
    for code in ["conflict", "locked", "rate_limit_exceeded"] {
        let bed = bed(first(move || Reply::error(423, code))).await;
        assert_eq!(create(&bed).await.unwrap().id, 7, "{code}");
        assert_eq!(bed.lines(), ["POST /ssh_keys", "POST /ssh_keys"], "{code}");
        assert_eq!(bed.timing.waits_ms(), [1_000], "{code}");
    }
    let doubtful: [Case; 4] = [
        ("bad gateway", || Reply::text(502, "<html>bad gateway</html>")),
        ("timeout", || Reply::error(504, "timeout")),
        ("server error", || Reply::error(500, "server_error")),
        ("cut off", || made().cut()),
    ];
    for (name, reply) in doubtful {
        let bed = bed(first(reply)).await;
        let error = create(&bed).await.unwrap_err();
        assert_eq!(bed.lines().len(), 1, "{name} is not repeated");
        assert!(error.may_have_happened(), "{name}: {error:?}");
        assert!(ApplyError::from(error).changed, "{name}");
    }
    let bed = bed(first(|| Reply::error(422, "invalid_input"))).await;
    assert!(!create(&bed).await.unwrap_err().may_have_happened());
    assert_eq!(bed.lines().len(), 1);
}

#[tokio::test]
async fn a_change_that_can_be_done_twice_is_repeated_in_doubt() {
    let bed = bed(first(|| Reply::text(502, "no json"))).await;
    bed.client.update_ssh_key(7, &Update { name: Some("b"), labels: None }).await.unwrap();
    assert_eq!(bed.lines(), ["PUT /ssh_keys/7", "PUT /ssh_keys/7"]);
    assert_eq!(bed.asked()[0].body, json!({ "name": "b" }));
    assert!(
        matches!(&bed.events.lock().unwrap()[0], Event::Retrying { operation, .. } if operation == "PUT /ssh_keys/7")
    );
}

#[tokio::test]
async fn doubt_of_an_earlier_try_stays() {
    let bed = bed(|_, before| if before == 0 { Reply::text(504, "") } else { Reply::error(403, "forbidden") }).await;
    let error = bed.client.update_ssh_key(7, &Update::default()).await.unwrap_err();
    assert!(error.is(&Code::Forbidden) && error.may_have_happened());
}

#[tokio::test]
async fn five_repeats_are_enough() {
    let bed = bed(|_, _| Reply::error(409, "conflict")).await;
    let error = bed.client.check().await.unwrap_err();
    assert!(error.is(&Code::Conflict));
    assert_eq!(bed.lines().len(), 6);
    assert_eq!(bed.timing.waits_ms(), [1_000, 2_000, 4_000, 8_000, 16_000]);
}

#[tokio::test]
async fn a_second_delete_finds_nothing_and_is_content() {
    let bed =
        bed(|_, before| if before == 0 { Reply::text(204, "").cut() } else { Reply::error(404, "not_found") }).await;
    bed.client.delete_ssh_key(7).await.unwrap();
    bed.client.delete_ssh_key(7).await.unwrap();
    let wrong_address = crate::stub::bed(|_, _| {
        Reply::json(404, json!({ "error": { "code": "not_found", "message": "api route not found" } }))
    });
    let error = wrong_address.await.client.delete_ssh_key(7).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::Other("api_route_not_found".into())));
    let proxy = crate::stub::bed(|_, _| Reply::text(404, "<html>not here</html>")).await;
    proxy.client.delete_ssh_key(7).await.unwrap_err();
}

#[tokio::test]
async fn everybody_pauses_before_the_limit_is_used_up() {
    let bed = bed(|_, before| {
        let remaining = if before == 0 { 5 } else { 30 };
        Reply::json(200, json!({ "ssh_keys": [] }))
            .header("RateLimit-Limit", 3600)
            .header("RateLimit-Remaining", remaining)
            .header("RateLimit-Reset", 1_800_003_000_u64)
    })
    .await;
    bed.client.check().await.unwrap();
    assert_eq!(*bed.events.lock().unwrap(), [Event::Paused { seconds: 49, remaining: 5 }]);
    let (one, other) = tokio::join!(bed.client.check(), bed.client.check());
    one.unwrap();
    other.unwrap();
    let waits: Vec<u64> = bed.timing.waits().iter().map(std::time::Duration::as_secs).collect();
    assert_eq!(waits, [49, 49], "both waited for the same moment");
    bed.client.check().await.unwrap();
    assert_eq!(bed.timing.waits().len(), 2, "it goes on without a pause");
}

#[tokio::test]
async fn a_refused_request_waits_as_long_as_asked() {
    let bed =
        bed(
            |_, before| {
                if before == 0 { Reply::error(429, "rate_limit_exceeded").header("Retry-After", 17) } else { made() }
            },
        )
        .await;
    create(&bed).await.unwrap();
    assert_eq!(bed.timing.waits_ms(), [17_000]);
    assert_eq!(bed.events.lock().unwrap().len(), 2, "the pause and the repeat are told");
}

#[tokio::test]
async fn what_the_network_does_is_told_by_name() {
    let cut = bed(|_, _| Reply::json(200, json!({ "ssh_keys": [] })).cut()).await;
    let error = cut.client.check().await.unwrap_err();
    assert_eq!(cut.lines().len(), 6, "reads are repeated");
    assert!(error.shown().contains("cut off"), "{}", error.shown());

    let large = bed(|_, _| Reply::text(200, &"x".repeat(300 * 1024))).await;
    let error = ApplyError::from(large.client.check().await.unwrap_err());
    assert!(error.reason.contains("larger than 262144 bytes"), "{}", error.reason);
    assert_eq!((large.lines().len(), error.class), (1, Class::Fatal));

    let elsewhere = bed(|_, _| Reply::text(302, "").header("Location", "https://example.com/")).await;
    let error = ApplyError::from(elsewhere.client.check().await.unwrap_err());
    assert!(error.reason.starts_with("GET /ssh_keys: follow a redirect (302)"), "{}", error.reason);

    let nonsense = bed(|_, _| Reply::text(200, "<html>log in to the hotel</html>")).await;
    let error = ApplyError::from(nonsense.client.check().await.unwrap_err());
    assert!(error.reason.starts_with("GET /ssh_keys: read the answer"), "{}", error.reason);
}

#[tokio::test]
async fn each_refusal_has_a_class_and_a_word_for_who_is_woken_by_it() {
    let table = [
        (401, "unauthorized", Class::Fatal, "env HCLOUD_TOKEN"),
        (401, "token_readonly", Class::Fatal, "read and write"),
        (403, "forbidden", Class::Fatal, "env HCLOUD_TOKEN"),
        (403, "resource_limit_exceeded", Class::Fatal, "higher limit in the console"),
        (403, "maintenance", Class::Retry, "status.hetzner.com"),
        (409, "uniqueness_error", Class::Conflict, "takes it over"),
        (409, "conflict", Class::Conflict, "somebody else"),
        (410, "deprecated_api_endpoint", Class::Fatal, "newer one"),
        (412, "resource_unavailable", Class::Fatal, "another size or location"),
        (422, "placement_error", Class::Fatal, "no room"),
        (422, "invalid_input", Class::Fatal, "fleet file"),
        (422, "service_error", Class::Retry, "status.hetzner.com"),
        (423, "locked", Class::Busy, "ends by itself"),
        (423, "protected", Class::Fatal, "protection off"),
        (429, "rate_limit_exceeded", Class::Retry, "3600 an hour"),
        (500, "server_error", Class::Retry, "correlation id ab12"),
    ];
    for (status, code, class, word) in table {
        let bed = bed(move |_, _| Reply::error(status, code).header("X-Correlation-Id", "ab12")).await;
        let error = ApplyError::from(create(&bed).await.unwrap_err());
        assert_eq!(error.class, class, "{code}");
        assert_eq!(error.reason, format!("POST /ssh_keys: no: {code} ({code})"), "cleaned of escape sequences");
        let help = error.help.unwrap();
        assert!(help.contains(word), "{code}: {help}");
    }
}

#[tokio::test]
async fn fields_and_limits_are_listed() {
    let refusal = |code: &'static str, details: serde_json::Value| {
        bed(move |_, _| Reply::json(422, json!({ "error": { "code": code, "message": "no", "details": details } })))
    };
    let fields =
        json!({ "fields": [{ "name": "server_type", "messages": ["unknown", "\u{1b}[1mbad"] }, { "name": "image" }] });
    let error = create(&refusal("invalid_input", fields).await).await.unwrap_err();
    assert_eq!(error.to_string(), "POST /ssh_keys: no (invalid_input) [server_type: unknown, bad; image]");
    let limits = json!({ "limits": [{ "name": "server_limit" }] });
    let error = ApplyError::from(create(&refusal("resource_limit_exceeded", limits).await).await.unwrap_err());
    assert!(error.help.unwrap().contains("limit (server_limit)"));
    for odd in [json!("text"), json!({ "fields": 3 }), json!([1])] {
        create(&refusal("invalid_input", odd).await).await.unwrap_err();
    }
}

#[tokio::test]
async fn the_token_is_in_no_error_and_no_debug_output() {
    let bed = bed(|_, _| Reply::error(401, "unauthorized")).await;
    let error = create(&bed).await.unwrap_err();
    let applied = ApplyError::from(error.clone());
    let events = bed.events.lock().unwrap().clone();
    for text in
        [format!("{:?}", bed.client), format!("{error} {error:?}"), format!("{applied:?}"), format!("{events:?}")]
    {
        assert!(!text.contains(TOKEN), "{text}");
    }
}
