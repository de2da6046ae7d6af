//! What a request carries: its query and the fields of its body, with refusals in the API's words.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::refusal::Refusal;
use super::selector::{Labels, check};

/// One request to the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// The path, with `/v1` at its beginning and without a query; not percent-decoded.
    pub path: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The token after `Bearer`, if there is one.
    pub bearer: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// One answer of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header names in their usual case, and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns a request of a target such as `/v1/servers?name=a&name=b`.
    pub fn new(method: &str, target: &str, bearer: &str, body: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = query.map(|(key, value)| (decode(key, true), decode(value, true))).collect();
        let bearer = (!bearer.is_empty()).then(|| bearer.to_owned());
        Self { method: method.to_owned(), path: path.to_owned(), query, bearer, body: body.as_bytes().to_vec() }
    }

    /// Returns all values of a query parameter, without empty ones.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.query.iter().filter(|(key, value)| key == name && !value.is_empty());
        values.map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Parses the body; an absent one has no fields.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(map)) => Ok(Fields(map)),
            _ => Err(Refusal::new(400, "json_error", "invalid JSON in request body")),
        }
    }
}

impl Response {
    /// Returns the body as JSON; null where there is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Undoes percent-encoding; in a query, `+` is a space.
pub(super) fn decode(text: &str, query: bool) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if query => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The fields of a JSON object. An explicit null is as good as absent.
#[derive(Clone, Debug)]
pub(super) struct Fields(Map<String, Json>);

/// How a client points at something: clients send a number, a number as text, or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference(pub String);

impl Reference {
    /// Returns it if it is a number.
    pub fn id(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl Fields {
    /// Returns the fields of an object within a list.
    pub fn within(json: &Json, field: &str) -> Result<Self, Refusal> {
        json.as_object().map(|map| Self(map.clone())).ok_or_else(|| Refusal::invalid(field, "not an object"))
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let wrong = || Refusal::invalid(name, "not a string");
        self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let wrong = || Refusal::invalid(name, "not a boolean");
        self.get(name).map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let read = |value: &Json| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let wrong = || Refusal::invalid(name, "not a number");
        self.get(name).map(|value| read(value).ok_or_else(wrong)).transpose()
    }

    pub fn list(&self, name: &str) -> Result<Option<&[Json]>, Refusal> {
        let wrong = || Refusal::invalid(name, "not a list");
        let list = |value: &'_ Json| value.is_array();
        match self.get(name) {
            Some(value) if !list(value) => Err(wrong()),
            found => Ok(found.and_then(Json::as_array).map(Vec::as_slice)),
        }
    }

    pub fn reference(&self, name: &str) -> Result<Option<Reference>, Refusal> {
        self.get(name).map(|value| reference(value, name)).transpose()
    }

    pub fn references(&self, name: &str) -> Result<Vec<Reference>, Refusal> {
        self.list(name)?.unwrap_or_default().iter().map(|value| reference(value, name)).collect()
    }

    pub fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let wrong = || Refusal::invalid(name, "not a list of strings");
        let list = self.list(name)?.unwrap_or_default().iter();
        list.map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    /// Returns the labels, checked.
    pub fn labels(&self) -> Result<Option<Labels>, Refusal> {
        let Some(value) = self.get("labels") else { return Ok(None) };
        let labels: BTreeMap<String, String> = serde_json::from_value(value.clone())
            .map_err(|_| Refusal::invalid("labels", "not an object of strings"))?;
        check(&labels)?;
        Ok(Some(labels))
    }
}

/// Makes an absent field a refusal.
pub(super) fn need<T>(value: Option<T>, name: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::invalid(name, "missing data for required field"))
}

fn reference(value: &Json, name: &str) -> Result<Reference, Refusal> {
    match value {
        Json::Number(number) => Ok(Reference(number.to_string())),
        Json::String(text) if !text.is_empty() => Ok(Reference(text.clone())),
        _ => Err(Refusal::invalid(name, "neither an id nor a name")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn targets_are_decoded() {
        let request =
            Request::new("GET", "/v1/servers?label_selector=a+in+%28b%2Cc%29&status=off&status=running", "t", "");
        assert_eq!(request.first("label_selector"), Some("a in (b,c)"));
        assert_eq!(request.all("status"), ["off", "running"]);
    }

    #[test]
    fn an_id_is_a_number_or_a_text() {
        let fields = Request::new("POST", "/", "", r#"{"a":7,"b":"7","c":"x","d":{}}"#).fields().unwrap();
        assert_eq!(fields.reference("a").unwrap().unwrap().id(), Some(7));
        assert_eq!(fields.reference("b").unwrap().unwrap().id(), Some(7));
        assert_eq!(fields.reference("c").unwrap().unwrap().id(), None);
        assert_eq!(fields.reference("d").unwrap_err().code, "invalid_input");
    }
}
