//! Why a request is refused, in the words and codes of the API. Knows no resource.

use std::fmt::Display;

use serde_json::{Value as Json, json};

/// A request that is answered with an error.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub details: Json,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Json::Null }
    }

    pub fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(422, code, message)
    }

    /// Returns the refusal of a field's value.
    pub fn invalid(field: &str, why: impl Into<String>) -> Self {
        let details = json!({ "fields": [{ "name": field, "messages": [why.into()] }] });
        Self { details, ..Self::new(422, "invalid_input", format!("invalid input in field '{field}'")) }
    }

    pub fn not_found(what: &str, id: impl Display) -> Self {
        Self::new(404, "not_found", format!("{what} with ID '{id}' not found"))
    }

    pub fn taken(field: &str, message: &str) -> Self {
        let details = json!({ "fields": [{ "name": field }] });
        Self { details, ..Self::new(409, "uniqueness_error", message) }
    }

    pub fn limit(name: &str, message: &str) -> Self {
        let details = json!({ "limits": [{ "name": name }] });
        Self { details, ..Self::new(403, "resource_limit_exceeded", message) }
    }

    pub fn protected(message: impl Into<String>) -> Self {
        Self::new(423, "protected", message)
    }

    pub fn locked(what: &str) -> Self {
        Self::new(423, "locked", format!("{what} is locked"))
    }

    pub fn running() -> Self {
        Self::unprocessable("server_not_stopped", "server must be powered off")
    }

    pub fn unsupported(what: &str) -> Self {
        Self::unprocessable("unsupported_error", format!("{what} is not simulated"))
    }

    /// Returns the body. Keys come in the order code, details, message, as they do on the wire.
    pub fn body(&self) -> Json {
        json!({ "error": { "code": self.code, "details": self.details, "message": self.message } })
    }
}
