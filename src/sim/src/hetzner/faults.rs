//! Bad luck of the API by seed: what goes wrong with a request depends on the seed, the request, and how often the same
//! request came before; not on what other connections do meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use super::body::{Request, Response};
use super::refusal::Refusal;
use super::{Cloud, mix};

/// What goes wrong, and how often. Rates are out of 1000 requests that it can happen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFaults {
    /// The same seed strikes the same requests.
    pub seed: u64,
    /// Answered with 500, 502 or 503, and nothing is done.
    pub before_permille: u64,
    /// Done, but answered with 504 or with a closed connection. Changes only.
    pub after_permille: u64,
    /// Not answered for `hang`, then the connection closes; every other one is done.
    pub hang_permille: u64,
    /// Answered with 429.
    pub limited_permille: u64,
    /// Answered with 423 `locked`. Changes of servers only.
    pub locked_permille: u64,
    /// A list as it was before the last change.
    pub stale_permille: u64,
    /// A list whose body ends in the middle.
    pub cut_permille: u64,
    /// A later page of a list, answered with 503.
    pub later_page_permille: u64,
    /// How long an answer is held back that never comes.
    pub hang: Duration,
}

impl CloudFaults {
    /// Returns a plan in which each misfortune strikes `permille` times out of 1000.
    pub fn new(seed: u64, permille: u64) -> Self {
        Self {
            seed,
            before_permille: permille,
            after_permille: permille,
            hang_permille: permille,
            limited_permille: permille,
            locked_permille: permille,
            stale_permille: permille,
            cut_permille: permille,
            later_page_permille: permille,
            hang: Duration::from_secs(2),
        }
    }

    /// Returns a plan in which nothing goes wrong; for setting single rates.
    pub fn none(seed: u64) -> Self {
        Self::new(seed, 0)
    }
}

/// How a request ends, as bytes on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole(Response),
    Cut(Response),
    Close,
    Hang(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Before,
    After,
    Hang,
    Limited,
    Locked,
    Stale,
    Cut,
    LaterPage,
}

/// A plan on its way: what came how often, and the project as it was before the last change.
#[derive(Debug)]
pub(super) struct Weather {
    plan: CloudFaults,
    seen: HashMap<String, u64>,
    earlier: Option<Box<Cloud>>,
}

impl Weather {
    pub fn new(plan: CloudFaults) -> Self {
        Self { plan, seen: HashMap::new(), earlier: None }
    }

    /// Has the project answer a request, or not.
    pub fn answer(&mut self, cloud: &mut Cloud, request: &Request, now_ms: u64) -> Outcome {
        let (fault, number) = self.strike(request);
        let snapshot = request.method != "GET" && self.plan.stale_permille > 0;
        let before = snapshot.then(|| Box::new(cloud.clone()));
        let outcome = self.happen(fault, number, cloud, request, now_ms);
        self.earlier = before.or(self.earlier.take());
        outcome
    }

    /// Returns what strikes a request, and a number for what is left to choose.
    fn strike(&mut self, request: &Request) -> (Option<Fault>, u64) {
        let key = format!("{} {} {:?}", request.method, request.path, request.query);
        let seen = self.seen.entry(key.clone()).or_insert(0);
        *seen += 1;
        let number = key.bytes().fold(mix(self.plan.seed ^ mix(*seen)), |hash, byte| mix(hash ^ u64::from(byte)));
        let found = self.possible(request).into_iter().enumerate().find(|(nth, (_, permille))| {
            let nth = u64::try_from(*nth).unwrap_or(0);
            mix(number.wrapping_add(nth)) % 1000 < *permille
        });
        (found.map(|(_, (fault, _))| fault), mix(number ^ 0x5EED))
    }

    fn possible(&self, request: &Request) -> [(Fault, u64); 8] {
        let plan = &self.plan;
        let change = request.method != "GET";
        let list = !change && request.path.matches('/').count() == 2 && request.path != "/v1/pricing";
        let later = list && request.first("page").is_some_and(|page| page != "1");
        let of_server = change && request.path.starts_with("/v1/servers/");
        let only = |is: bool, permille: u64| if is { permille } else { 0 };
        [
            (Fault::Before, plan.before_permille),
            (Fault::After, only(change, plan.after_permille)),
            (Fault::Hang, plan.hang_permille),
            (Fault::Limited, plan.limited_permille),
            (Fault::Locked, only(of_server, plan.locked_permille)),
            (Fault::Stale, only(list, plan.stale_permille)),
            (Fault::Cut, only(list, plan.cut_permille)),
            (Fault::LaterPage, only(later, plan.later_page_permille)),
        ]
    }

    fn happen(&mut self, fault: Option<Fault>, number: u64, cloud: &mut Cloud, request: &Request, now: u64) -> Outcome {
        let refuse = |cloud: &mut Cloud, refusal: Refusal| {
            cloud.settle(now);
            Outcome::Whole(cloud.refuse(refusal))
        };
        let Some(fault) = fault else { return Outcome::Whole(cloud.handle(request, now)) };
        match fault {
            Fault::Before => match number % 3 {
                0 => refuse(cloud, Refusal::new(500, "server_error", "unexpected server error")),
                1 => refuse(cloud, Refusal::new(503, "unavailable", "service is unavailable")),
                _ => Outcome::Whole(bad_gateway()),
            },
            Fault::After => {
                cloud.handle(request, now);
                match number % 2 {
                    0 => Outcome::Close,
                    _ => refuse(cloud, Refusal::new(504, "timeout", "request timed out")),
                }
            }
            Fault::Hang => {
                if number.is_multiple_of(2) {
                    cloud.handle(request, now);
                }
                Outcome::Hang(self.plan.hang)
            }
            Fault::Limited => {
                let Outcome::Whole(mut response) =
                    refuse(cloud, Refusal::new(429, "rate_limit_exceeded", "limit reached"))
                else {
                    return Outcome::Close;
                };
                for (name, value) in &mut response.headers {
                    match name.as_str() {
                        "RateLimit-Remaining" => "0".clone_into(value),
                        "RateLimit-Reset" => *value = (now / 1000 + 1).to_string(),
                        _ => {}
                    }
                }
                Outcome::Whole(response)
            }
            Fault::Locked => refuse(cloud, Refusal::locked("server")),
            Fault::Stale => match &self.earlier {
                Some(earlier) => Outcome::Whole(earlier.as_ref().clone().handle(request, now)),
                None => Outcome::Whole(cloud.handle(request, now)),
            },
            Fault::Cut => Outcome::Cut(cloud.handle(request, now)),
            Fault::LaterPage => refuse(cloud, Refusal::new(503, "unavailable", "service is unavailable")),
        }
    }
}

/// Returns what a proxy says when nothing is behind it: no JSON.
fn bad_gateway() -> Response {
    let body = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n";
    let kind = ("Content-Type".to_owned(), "text/html".to_owned());
    Response { status: 502, headers: vec![kind], body: body.to_vec() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// Asks the same questions under the same seed, in a given order.
    fn run(seed: u64, order: &[&str]) -> HashMap<String, Vec<String>> {
        let mut cloud = Cloud::new();
        cloud.settings.speed = 0.0;
        let mut weather = Weather::new(CloudFaults::new(seed, 150));
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for target in order {
            let request = Request::new("GET", target, "t", "");
            let word = match weather.answer(&mut cloud, &request, 1000) {
                Outcome::Whole(response) => response.status.to_string(),
                Outcome::Cut(_) => "cut".to_owned(),
                Outcome::Close => "close".to_owned(),
                Outcome::Hang(_) => "hang".to_owned(),
            };
            found.entry((*target).to_owned()).or_default().push(word);
        }
        found
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests_in_any_order() {
        let targets = ["/v1/servers", "/v1/zones", "/v1/locations/1"];
        let one: Vec<&str> = targets.iter().flat_map(|target| vec![*target; 40]).collect();
        let other: Vec<&str> = (0..40).flat_map(|_| targets).collect();
        let result = run(7, &one);
        assert_eq!(result, run(7, &other));
        assert_ne!(result, run(8, &one));
        let all: Vec<&String> = result.values().flatten().collect();
        for word in ["200", "500", "502", "503", "429", "cut", "hang"] {
            assert!(all.iter().any(|found| *found == word), "{word} happens: {all:?}");
        }
    }

    #[test]
    fn an_error_before_does_nothing_and_one_after_does_it() {
        let create = Request::new("POST", "/v1/placement_groups", "t", r#"{"name":"g","type":"spread"}"#);
        let list = Request::new("GET", "/v1/placement_groups", "t", "");
        for (plan, made) in [
            (CloudFaults { before_permille: 1000, ..CloudFaults::none(1) }, 0),
            (CloudFaults { after_permille: 1000, ..CloudFaults::none(1) }, 1),
        ] {
            let mut cloud = Cloud::new();
            let outcome = Weather::new(plan).answer(&mut cloud, &create, 1);
            assert!(!matches!(&outcome, Outcome::Whole(response) if response.status < 500), "{outcome:?}");
            let found = cloud.handle(&list, 2).json();
            assert_eq!(found["placement_groups"].as_array().unwrap().len(), made);
        }
    }

    #[test]
    fn a_stale_list_is_that_before_the_last_change() {
        let mut cloud = Cloud::new();
        let mut weather = Weather::new(CloudFaults { stale_permille: 1000, ..CloudFaults::none(1) });
        for name in ["a", "b"] {
            let body = format!(r#"{{"name":"{name}","type":"spread"}}"#);
            weather.answer(&mut cloud, &Request::new("POST", "/v1/placement_groups", "t", &body), 1);
        }
        let list = Request::new("GET", "/v1/placement_groups", "t", "");
        let Outcome::Whole(stale) = weather.answer(&mut cloud, &list, 2) else { panic!("no answer") };
        assert_eq!(stale.json()["placement_groups"].as_array().unwrap().len(), 1);
        assert_eq!(cloud.handle(&list, 3).json()["placement_groups"].as_array().unwrap().len(), 2);
    }
}
