//! Says whether channels work with a token that changed, from what the gateway says of them (`channels.status`). Repeats
//! nothing a channel said: an address of Telegram's has the token in it.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::text::clean;
use serde_json::{Map, Value as Json};

use crate::config::reference_key;

/// A channel one of whose tokens changed: of one account, or of all that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concern {
    channel: String,
    account: Option<String>,
}

/// How an account of a channel stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is connected.
    Works,
    /// It is not connected, and why: it may still come.
    Waits(String),
    /// The other side refuses its token, with this HTTP status.
    Refused(u64),
}

/// The accounts that are concerned, each as people know it (`telegram`, or `telegram/work`).
pub type Links = BTreeMap<String, Link>;

/// Returns the channels that a configuration gives changed secrets to.
pub fn concerned(config: &Json, changed: &BTreeSet<String>) -> BTreeSet<Concern> {
    let channels = config["channels"].as_object().into_iter().flatten();
    let mut found = BTreeSet::new();
    for (channel, settings) in channels {
        let Some(settings) = settings.as_object() else { continue };
        let own: Map<String, Json> = settings
            .iter()
            .filter(|(key, _)| *key != "accounts")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if refers(&Json::Object(own), changed) {
            found.insert(Concern { channel: channel.clone(), account: None });
        }
        let accounts = settings.get("accounts").and_then(Json::as_object).into_iter().flatten();
        for (account, _) in accounts.filter(|(_, value)| refers(value, changed)) {
            found.insert(Concern { channel: channel.clone(), account: Some(account.clone()) });
        }
    }
    found
}

fn refers(value: &Json, changed: &BTreeSet<String>) -> bool {
    match value {
        Json::Object(map) => {
            reference_key(value).is_some_and(|key| changed.contains(key))
                || map.values().any(|one| refers(one, changed))
        }
        Json::Array(items) => items.iter().any(|one| refers(one, changed)),
        _ => false,
    }
}

/// Returns how the concerned accounts stand. One that is off, or that the gateway does not know, is not among them.
pub fn links(status: &Json, concerns: &BTreeSet<Concern>) -> Links {
    let mut links = Links::new();
    for concern in concerns {
        let accounts = status["channelAccounts"][&concern.channel].as_array().into_iter().flatten();
        for account in accounts.filter(|one| one["enabled"] != false && one["configured"] != false) {
            let id = account["accountId"].as_str().unwrap_or("default");
            if concern.account.as_deref().is_none_or(|wanted| wanted == id) {
                let channel = clean(&concern.channel, 40);
                let name = if id == "default" { channel } else { format!("{channel}/{}", clean(id, 40)) };
                links.insert(name, link(account));
            }
        }
    }
    links
}

fn link(account: &Json) -> Link {
    let probe = &account["probe"];
    match probe["status"].as_u64() {
        Some(status @ (401 | 403)) if probe["ok"] == false => return Link::Refused(status),
        _ => {}
    }
    if account["running"] != true {
        return Link::Waits("it does not run".to_owned());
    }
    if account["connected"] == false {
        return Link::Waits("it is not connected".to_owned());
    }
    if probe["ok"] == false { Link::Waits("it does not get through".to_owned()) } else { Link::Works }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(key: &str) -> Json {
        json!({ "source": "file", "provider": "claw", "id": format!("/{key}") })
    }

    #[test]
    fn channels_and_accounts_with_a_changed_token_are_concerned() {
        let config = json!({ "channels": {
            "telegram": { "botToken": reference("d.A"), "accounts": { "work": { "botToken": reference("d.B") } } },
            "slack": { "deep": [{ "appToken": reference("d.C") }] },
            "irc": { "password": "none" },
        } });
        let names = |changed: &[&str]| {
            let changed = changed.iter().map(|key| (*key).to_owned()).collect();
            let found = concerned(&config, &changed);
            found.into_iter().map(|one| (one.channel, one.account.unwrap_or_default())).collect::<Vec<_>>()
        };
        let pair = |channel: &str, account: &str| (channel.to_owned(), account.to_owned());
        assert_eq!(names(&["d.A"]), [pair("telegram", "")]);
        assert_eq!(names(&["d.B"]), [pair("telegram", "work")]);
        assert_eq!(names(&["d.C", "d.X"]), [pair("slack", "")]);
        assert_eq!(names(&["d.X"]), []);
    }

    #[test]
    fn an_account_works_when_it_is_connected_and_is_refused_when_the_other_side_says_so() {
        let concerns = BTreeSet::from([Concern { channel: "telegram".into(), account: None }]);
        let status = |account: Json| json!({ "channelAccounts": { "telegram": [account] } });
        let link = |account: Json| links(&status(account), &concerns).remove("telegram");
        let up = json!({ "accountId": "default", "running": true, "connected": true, "probe": { "ok": true } });
        assert_eq!(link(up), Some(Link::Works));
        let starting = json!({ "accountId": "default", "running": true, "connected": false, "probe": { "ok": true } });
        assert_eq!(link(starting), Some(Link::Waits("it is not connected".into())));
        let refused = json!({ "running": false, "probe": { "ok": false, "status": 401, "error": "bot1234:s3cret" } });
        assert_eq!(link(refused), Some(Link::Refused(401)));
        assert_eq!(link(json!({ "accountId": "default", "enabled": false, "running": false })), None);
        assert_eq!(links(&json!({}), &concerns), Links::new());
    }
}
