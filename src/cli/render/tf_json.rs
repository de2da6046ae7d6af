//! A plan in the shape of `terraform show -json`, for policy engines and bots that read that. What Terraform has no word for is
//! left out, but for held changes: those are its `deferred_changes`, and `complete` is false.

use claw_core::desired::Desired;
use claw_core::name::Address;
use claw_core::plan::{Action, Held, Plan, Step};
use claw_core::value::{Fields, Value};
use serde_json::{Map, Value as Json, json};

use super::plan::explain;

/// The version of the shape: minor versions add, major ones break.
const FORMAT: &str = "1.2";
/// The Terraform whose shape this is; readers compare it as a version.
const TERRAFORM: &str = "1.11.4";
/// Who is responsible for every resource.
pub const PROVIDER: &str = "claw";

/// Returns the plan. The same plan always gives the same text: there is no time in it.
pub fn draw(plan: &Plan, desired: &Desired) -> String {
    let done = plan.steps.iter().map(resource_change);
    let kept = plan.unchanged.iter().map(|address| no_op(address, fields_of(desired, address)));
    let changes: Vec<Json> = done.chain(kept).collect();
    let standing = plan.unchanged.iter().filter_map(|address| Some((address, fields_of(desired, address)?)));
    let planned = plan.steps.iter().filter_map(|step| Some((&step.address, step.action.after()?)));
    let prior = plan.steps.iter().filter_map(|step| Some((&step.address, before_of(&step.action)?)));
    let names = plan.steps.iter().map(|step| &step.address).filter(|address| desired.resources.contains_key(address));
    let configured: Vec<Json> = names.chain(&plan.unchanged).map(configuration).collect();
    let document = json!({
        "format_version": FORMAT,
        "terraform_version": TERRAFORM,
        "planned_values": values(planned.chain(standing.clone())),
        "resource_drift": [],
        "resource_changes": changes,
        "deferred_changes": plan.held.iter().map(|held| deferred(held, desired)).collect::<Vec<_>>(),
        "output_changes": {},
        "prior_state": {
            "format_version": "1.0", "terraform_version": TERRAFORM, "values": values(prior.chain(standing)),
        },
        "configuration": {
            "provider_config": { PROVIDER: { "name": PROVIDER, "full_name": PROVIDER } },
            "root_module": { "resources": configured },
        },
        "checks": [],
        "applyable": !plan.steps.is_empty(),
        "complete": plan.held.is_empty() && plan.unseen.is_empty(),
        "errored": false,
    });
    serde_json::to_string_pretty(&document).expect("a plan is plain data")
}

/// Returns what every resource has, wherever Terraform names one.
pub fn named(address: &Address) -> Map<String, Json> {
    let (name, key) = name_and_key(address);
    let kind = format!("claw_{}", address.id.kind);
    let index = Json::String(key);
    let mut map = Map::new();
    map.insert("address".to_owned(), format!("{kind}.{name}[{index}]").into());
    map.insert("mode".to_owned(), "managed".into());
    map.insert("type".to_owned(), kind.into());
    map.insert("name".to_owned(), name.into());
    map.insert("index".to_owned(), index);
    map.insert("provider_name".to_owned(), PROVIDER.into());
    map
}

/// Returns Terraform's name, which is an identifier, and its key: the place, and the whole name where the identifier had to differ.
fn name_and_key(address: &Address) -> (String, String) {
    let exact = &address.id.name;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let mut name: String = exact.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        name.insert(0, '_');
    }
    let key = if name == *exact { address.place.clone() } else { format!("{}/{exact}", address.place) };
    (name, key)
}

fn fields_of<'a>(desired: &'a Desired, address: &Address) -> Option<&'a Fields> {
    desired.resources.get(address).map(|resource| &resource.fields)
}

fn before_of(action: &Action) -> Option<&Fields> {
    match action {
        Action::Create { .. } => None,
        Action::Update { before, .. } | Action::Replace { before, .. } | Action::Delete { before } => Some(before),
    }
}

/// Returns the words Terraform has for an action.
pub fn actions(word: &str) -> &'static [&'static str] {
    match word {
        "create" => &["create"],
        "update" => &["update"],
        "replace" => &["delete", "create"],
        "delete" => &["delete"],
        _ => &["no-op"],
    }
}

fn resource_change(step: &Step) -> Json {
    let reason = match &step.action {
        Action::Replace { .. } => Some("replace_because_cannot_update"),
        Action::Delete { .. } => Some("delete_because_no_resource_config"),
        Action::Create { .. } | Action::Update { .. } => None,
    };
    let mut map = named(&step.address);
    map.insert("change".to_owned(), change(step.action.word(), before_of(&step.action), step.action.after()));
    if let Some(reason) = reason {
        map.insert("action_reason".to_owned(), reason.into());
    }
    Json::Object(map)
}

fn no_op(address: &Address, fields: Option<&Fields>) -> Json {
    let mut map = named(address);
    map.insert("change".to_owned(), change("no-op", fields, fields));
    Json::Object(map)
}

fn deferred(held: &Held, desired: &Desired) -> Json {
    let mut map = named(&held.address);
    let after = fields_of(desired, &held.address).filter(|_| held.would != "delete");
    map.insert("change".to_owned(), change(held.would, None, after));
    let (why, help) = explain(&held.reason, held.would, &held.address);
    json!({ "reason": why, "help": help, "resource_change": map })
}

fn change(word: &str, before: Option<&Fields>, after: Option<&Fields>) -> Json {
    json!({
        "actions": actions(word),
        "before": before.map(plain),
        "after": after.map(plain),
        "after_unknown": after.map_or_else(|| json!({}), |fields| mask(fields, is_unknown)),
        "before_sensitive": before.map_or(Json::Bool(false), |fields| mask(fields, is_secret)),
        "after_sensitive": after.map_or(Json::Bool(false), |fields| mask(fields, is_secret)),
    })
}

fn values<'a>(all: impl Iterator<Item = (&'a Address, &'a Fields)>) -> Json {
    let one = |(address, fields): (&Address, &Fields)| {
        let mut map = named(address);
        map.insert("schema_version".to_owned(), 0.into());
        map.insert("values".to_owned(), plain(fields));
        map.insert("sensitive_values".to_owned(), mask(fields, is_secret));
        Json::Object(map)
    };
    json!({ "root_module": { "resources": all.map(one).collect::<Vec<_>>() } })
}

fn configuration(address: &Address) -> Json {
    let mut map = named(address);
    map.remove("index");
    map.remove("provider_name");
    map.insert("provider_config_key".to_owned(), PROVIDER.into());
    map.insert("expressions".to_owned(), json!({}));
    map.insert("schema_version".to_owned(), 0.into());
    Json::Object(map)
}

fn is_secret(value: &Value) -> bool {
    matches!(value, Value::Secret(_))
}

fn is_unknown(value: &Value) -> bool {
    matches!(value, Value::After(_))
}

/// Returns the fields as Terraform has them: no secret, and no place for what is known only later.
fn plain(fields: &Fields) -> Json {
    let known = fields.iter().filter(|(_, value)| !is_unknown(value));
    Json::Object(known.map(|(key, value)| (key.clone(), plain_value(value))).collect())
}

fn plain_value(value: &Value) -> Json {
    match value {
        Value::Map(map) => plain(map),
        Value::List(items) => Json::Array(items.iter().map(plain_value).collect()),
        Value::Secret(_) | Value::After(_) => Json::Null,
        other => other.to_json(),
    }
}

/// Returns which leaves are of a sort, in the fields' own shape: maps name only those, lists have an item for each.
fn mask(fields: &Fields, is: fn(&Value) -> bool) -> Json {
    let marked = fields.iter().map(|(key, value)| (key.clone(), mask_value(value, is)));
    Json::Object(marked.filter(|(_, mark)| *mark != Json::Bool(false)).collect())
}

fn mask_value(value: &Value, is: fn(&Value) -> bool) -> Json {
    match value {
        value if is(value) => Json::Bool(true),
        Value::Map(map) => mask(map, is),
        Value::List(items) => Json::Array(items.iter().map(|item| mask_value(item, is)).collect()),
        _ => Json::Bool(false),
    }
}

#[cfg(test)]
mod tests {
    use claw_core::name::{Kind, ResourceId};
    use claw_core::plan::Effect;
    use claw_core::secret::{Fingerprint, SecretSource};
    use claw_core::value::{After, SecretValue};

    use super::*;

    fn at(kind: Kind, name: &str) -> Address {
        Address { id: ResourceId::new(kind, name), place: "hetzner".to_owned() }
    }

    #[test]
    fn secrets_are_masks_without_values_and_later_values_are_unknown() {
        let secret = Value::Secret(Box::new(SecretValue {
            source: Some(SecretSource::GatewayToken("pete".into())),
            fingerprint: Some(Fingerprint([7; 32])),
        }));
        let later = Value::After(Box::new(After { of: at(Kind::Address, "pete"), fact: "ipv4" }));
        let after: Fields = [
            ("token".to_owned(), secret.clone()),
            ("ip".to_owned(), later.clone()),
            ("list".to_owned(), Value::List(vec!["a".into(), secret, later])),
            ("plain".to_owned(), "x".into()),
        ]
        .into();
        let change = change("create", None, Some(&after));
        assert_eq!(
            change,
            json!({
                "actions": ["create"], "before": null,
                "after": { "token": null, "list": ["a", null, null], "plain": "x" },
                "after_unknown": { "ip": true, "list": [false, false, true] },
                "before_sensitive": false,
                "after_sensitive": { "token": true, "list": [false, true, false] },
            })
        );
        assert!(!change.to_string().contains("pete"), "not even the secret's name");
    }

    #[test]
    fn every_action_has_terraforms_words() {
        let step = |action: Action| Step {
            address: at(Kind::Server, "pete"),
            action,
            effect: Effect::None,
            needs: Vec::new(),
            wave: None,
            cost: None,
        };
        let (before, after, changes) = (Fields::new(), Fields::new(), Vec::new());
        let replace = Action::Replace { before: before.clone(), after, changes };
        let said = resource_change(&step(replace));
        assert_eq!(said["change"]["actions"], json!(["delete", "create"]));
        assert_eq!(said["address"], "claw_server.pete[\"hetzner\"]");
        let said = resource_change(&step(Action::Delete { before }));
        assert_eq!(said["change"]["actions"], json!(["delete"]));
        assert_eq!(said["change"]["after"], Json::Null);
        assert_eq!(no_op(&at(Kind::Host, "h"), None)["change"]["actions"], json!(["no-op"]));
    }

    #[test]
    fn names_become_identifiers_and_stay_apart() {
        let address = |name: &str| named(&at(Kind::Dns, name))["address"].clone();
        assert_eq!(address("a.example.org:A"), "claw_dns.a_example_org_A[\"hetzner/a.example.org:A\"]");
        assert_ne!(address("a.b"), address("a_b"));
        assert_eq!(address("x\"]\n"), "claw_dns.x___[\"hetzner/x\\\"]\\n\"]");
    }
}
