//! Field values and their difference. A secret is a value that shows its name only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value as Json};

use crate::name::Address;
use crate::provider::cloud;
use crate::secret::{Fingerprint, SecretSource};

/// The fields of a resource, by name.
pub type Fields = BTreeMap<String, Value>;

/// One field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// JSON's null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A text.
    Text(String),
    /// Values in an order that matters.
    List(Vec<Value>),
    /// Named values, shared: plans hold what is desired and observed without copying it.
    Map(Arc<BTreeMap<String, Value>>),
    /// A secret, known by name. Boxed: it is far larger than the other values, and every map would pay for it.
    Secret(Box<SecretValue>),
    /// A text that another resource has once it stands. Boxed for the same reason.
    After(Box<After>),
}

/// What another resource says of itself once it stands: an address, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Which resource.
    pub of: Address,
    /// Which of its facts.
    pub fact: &'static str,
}

/// A secret as plans know it.
#[derive(Clone, Debug)]
pub struct SecretValue {
    /// Where it comes from; `None` for one found on a machine.
    pub source: Option<SecretSource>,
    /// What its value is, as a keyed digest; `None` while nobody has looked.
    pub fingerprint: Option<Fingerprint>,
}

/// Two secrets are equal when their values are; where one was not looked at, nothing is equal to it.
impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint.is_some() && self.fingerprint == other.fingerprint
    }
}

impl Eq for SecretValue {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(flag),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(map) => Self::map(map.into_iter().map(|(key, value)| (key, value.into()))),
        }
    }
}

impl Value {
    /// Returns named values.
    pub fn map(pairs: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Map(Arc::new(pairs.into_iter().collect()))
    }

    /// Returns it as JSON, a secret as `{"secret": NAME}`.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Number(number) => Json::Number(number.clone()),
            Self::Text(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(map) => Json::Object(map.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()),
            Self::Secret(secret) => {
                let name = secret.source.as_ref().map_or_else(|| "in place".to_owned(), ToString::to_string);
                Json::Object([("secret".to_owned(), Json::String(name))].into_iter().collect())
            }
            Self::After(after) => {
                let named = [("known_after", after.of.to_string()), ("fact", after.fact.to_owned())];
                Json::Object(named.into_iter().map(|(key, text)| (key.to_owned(), Json::String(text))).collect())
            }
        }
    }

    /// Returns it with what `know` can say of other resources put in; where it cannot, it stays as it is.
    #[must_use]
    pub fn known(&self, know: &dyn Fn(&After) -> Option<String>) -> Self {
        match self {
            Self::After(after) => know(after).map_or_else(|| self.clone(), Self::Text),
            Self::List(items) => Self::List(items.iter().map(|item| item.known(know)).collect()),
            Self::Map(map) if map.values().any(|value| value.first_unknown().is_some()) => {
                Self::map(map.iter().map(|(key, value)| (key.clone(), value.known(know))))
            }
            other => other.clone(),
        }
    }

    /// Returns the first thing in it that is known only later.
    pub fn first_unknown(&self) -> Option<&After> {
        match self {
            Self::After(after) => Some(after),
            Self::List(items) => items.iter().find_map(Self::first_unknown),
            Self::Map(map) => map.values().find_map(Self::first_unknown),
            _ => None,
        }
    }

    /// Returns the text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// Anything: what a field holds is the provider's business. Secrets are `{"secret": NAME}`, what is known later is
/// `{"known_after": RESOURCE, "fact": FACT}`.
impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a JSON value; a secret is {\"secret\": NAME}, what is known only later {\"known_after\": RESOURCE, \"fact\": FACT}"
        })
    }
}

/// Reads what [`Value::to_json`] wrote, to be shown: a secret keeps its name and nothing else.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(Json::deserialize(deserializer)?).named())
    }
}

impl Value {
    /// Turns back into secrets and facts what stands for them in JSON.
    fn named(self) -> Self {
        match self {
            Self::List(items) => Self::List(items.into_iter().map(Self::named).collect()),
            Self::Map(map) => {
                let text = |key: &str| map.get(key).and_then(Self::as_text);
                match (map.len(), text("secret"), text("known_after"), text("fact")) {
                    (1, Some(name), ..) => {
                        Self::Secret(Box::new(SecretValue { source: SecretSource::read(name), fingerprint: None }))
                    }
                    (2, None, Some(of), Some(fact)) => match (of.parse(), Self::fact(fact)) {
                        (Ok(id), Some(fact)) => {
                            Self::After(Box::new(After { of: Address { id, place: String::new() }, fact }))
                        }
                        _ => Self::Map(map),
                    },
                    _ => Self::map(map.iter().map(|(key, value)| (key.clone(), value.clone().named()))),
                }
            }
            other => other,
        }
    }

    fn fact(name: &str) -> Option<&'static str> {
        [cloud::IPV4, cloud::IPV6].into_iter().find(|fact| *fact == name)
    }

    /// Adds bytes that differ wherever two values do, those of secrets included: their fingerprints stand for them.
    fn add_bytes(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Secret(secret) => {
                bytes.push(b's');
                if let Some(print) = secret.fingerprint {
                    bytes.extend(print.0);
                }
            }
            Self::List(items) => {
                bytes.extend(format!("l{}:", items.len()).bytes());
                items.iter().for_each(|item| item.add_bytes(bytes));
            }
            Self::Map(map) => add_map(map, bytes),
            plain => {
                let text = plain.to_json().to_string();
                bytes.extend(format!("v{}:", text.len()).bytes());
                bytes.extend(text.bytes());
            }
        }
    }
}

fn add_map(map: &Fields, bytes: &mut Vec<u8>) {
    bytes.extend(format!("m{}:", map.len()).bytes());
    for (key, value) in map {
        bytes.extend(format!("{}:{key}", key.len()).bytes());
        value.add_bytes(bytes);
    }
}

/// Returns bytes that differ wherever two sets of fields do. They hold fingerprints: to be digested, never shown.
pub fn bytes_of(fields: &Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    add_map(fields, &mut bytes);
    bytes
}

/// Returns the fields with what `know` can say of other resources put in.
pub fn known(fields: &Fields, know: &dyn Fn(&After) -> Option<String>) -> Fields {
    fields.iter().map(|(key, value)| (key.clone(), value.known(know))).collect()
}

/// One field that differs. The path runs through maps, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Where: `openclaw.agents.defaults.model`.
    pub path: String,
    /// What is there; `None` where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What shall be there; `None` where nothing shall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Returns what differs, in path order. Maps are compared key by key, everything else whole.
pub fn diff(before: &Fields, after: &Fields) -> Vec<Change> {
    let mut changes = Vec::new();
    diff_maps("", before, after, &mut changes);
    changes
}

fn diff_maps(path: &str, before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>, out: &mut Vec<Change>) {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let first = out.len();
    for key in keys {
        match (before.get(key), after.get(key)) {
            (Some(Value::Map(old)), Some(Value::Map(new))) if Arc::ptr_eq(old, new) => {}
            (Some(Value::Map(old)), Some(Value::Map(new))) => diff_maps(&join(path, key), old, new, out),
            (old, new) if old != new => {
                out.push(Change { path: join(path, key), before: old.cloned(), after: new.cloned() });
            }
            _ => {}
        }
    }
    out[first..].sort_by(|a, b| a.path.cmp(&b.path));
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: Json) -> Fields {
        match Value::from(json) {
            Value::Map(map) => map.as_ref().clone(),
            other => panic!("not a map: {other:?}"),
        }
    }

    #[test]
    fn differences_name_the_innermost_field() {
        let before = fields(json!({"a": {"b": 1, "c": 2}, "d": [1]}));
        let after = fields(json!({"a": {"b": 1, "c": 3}, "e": true}));
        let paths: Vec<_> = diff(&before, &after).into_iter().map(|change| change.path).collect();
        assert_eq!(paths, ["a.c", "d", "e"]);
    }

    #[test]
    fn a_secret_nobody_looked_at_equals_nothing() {
        let unseen = SecretValue { source: None, fingerprint: None };
        assert_ne!(unseen, unseen.clone());
        let seen = SecretValue { source: None, fingerprint: Some(Fingerprint([1; 32])) };
        assert_eq!(seen, seen.clone());
    }

    #[test]
    fn a_secret_prints_its_name_only() {
        let secret = Value::Secret(Box::new(SecretValue {
            source: Some(SecretSource::GatewayToken("pete".into())),
            fingerprint: Some(Fingerprint([7; 32])),
        }));
        assert_eq!(secret.to_json(), json!({"secret": "gateway token of pete"}));
        assert!(!format!("{secret:?}").contains('7'));
    }
}
