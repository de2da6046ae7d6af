//! The API's own errors, read from its answers.

use std::fmt;
use std::sync::Arc;

use claw_core::text::clean;
use claw_net::http::Response;
use serde::Deserialize;
use serde_json::Value;

use crate::wire::open;

/// The longest text of the API that is shown, in letters.
const SHOWN_LETTERS_MAX: usize = 300;
/// The most names of fields or limits that are shown.
const SHOWN_NAMES_MAX: usize = 10;

open! {
    /// Codes of errors (API reference, Errors and the tables of each operation).
    Code {
        Unauthorized = "unauthorized",
        TokenReadonly = "token_readonly",
        Forbidden = "forbidden",
        Maintenance = "maintenance",
        ResourceLimitExceeded = "resource_limit_exceeded",
        ResourceUnavailable = "resource_unavailable",
        PlacementError = "placement_error",
        NotFound = "not_found",
        UniquenessError = "uniqueness_error",
        Conflict = "conflict",
        InvalidInput = "invalid_input",
        JsonError = "json_error",
        ServiceError = "service_error",
        UnsupportedError = "unsupported_error",
        DeprecatedApiEndpoint = "deprecated_api_endpoint",
        Locked = "locked",
        Protected = "protected",
        RateLimitExceeded = "rate_limit_exceeded",
        ServerError = "server_error",
        BadGateway = "bad_gateway",
        Unavailable = "unavailable",
        Timeout = "timeout",
        ActionFailed = "action_failed",
        ServerNotStopped = "server_not_stopped",
        InvalidServerType = "invalid_server_type",
        ResourceInUse = "resource_in_use",
        MustBeUnassigned = "must_be_unassigned",
        FirewallAlreadyApplied = "firewall_already_applied",
        FirewallManagedByLabelSelector = "firewall_managed_by_label_selector",
        FirewallResourceNotFound = "firewall_resource_not_found",
        PrimaryIpAssigned = "primary_ip_assigned",
        PrimaryIpAlreadyAssigned = "primary_ip_already_assigned",
        IncorrectZoneMode = "incorrect_zone_mode",
    }
}

/// An answer in which the API says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `POST /servers`.
    pub operation: String,
    /// The status code.
    pub status: u16,
    /// The API's code; without one, made from the status.
    pub code: Code,
    /// The vendor's words, cleaned.
    pub message: String,
    /// Fields of the request it did not like.
    pub fields: Vec<Field>,
    /// Limits that are reached.
    pub limits: Vec<String>,
    /// Where the vendor explains it.
    pub announcement: Option<String>,
    /// What the vendor's support asks for.
    pub correlation: Option<String>,
    /// How long the API wants us to wait.
    pub retry_after_seconds: Option<u64>,
    /// Where the token comes from, for people.
    pub token_from: Arc<str>,
    /// The call was a change, and the API may have done it in spite of this answer.
    pub may_have_happened: bool,
}

impl std::error::Error for Refusal {}

/// A field of a request, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The vendor's words, cleaned.
    pub messages: Vec<String>,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.messages.is_empty() {
            write!(f, ": {}", self.messages.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.operation, self.message, self.code)?;
        let fields: Vec<String> = self.fields.iter().map(Field::to_string).collect();
        if !fields.is_empty() {
            write!(f, " [{}]", fields.join("; "))?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Said,
}

#[derive(Deserialize)]
struct Said {
    code: Option<String>,
    message: Option<String>,
    details: Option<Value>,
}

impl Refusal {
    /// Returns what an answer that is no success says.
    pub(crate) fn read(operation: &str, changes: bool, answer: &Response, token_from: &Arc<str>) -> Self {
        let said = serde_json::from_slice::<Envelope>(&answer.body).ok().map(|envelope| envelope.error);
        let message = said.as_ref().and_then(|said| said.message.as_deref());
        let code = match said.as_ref().and_then(|said| said.code.as_deref()) {
            // a wrong address must not look like a resource that is gone
            Some("not_found") if message.is_some_and(|text| text.contains("route not found")) => {
                Code::Other("api_route_not_found".into())
            }
            Some(code) => Code::from(code),
            None => of_status(answer.status),
        };
        let details = said.as_ref().and_then(|said| said.details.as_ref());
        let header = |name| answer.header(name).map(|text| clean(text, SHOWN_LETTERS_MAX));
        Self {
            operation: operation.to_owned(),
            status: answer.status,
            message: match message {
                Some(text) if !text.trim().is_empty() => clean(text, SHOWN_LETTERS_MAX),
                _ => format!("status {} without an explanation", answer.status),
            },
            fields: details.map(fields).unwrap_or_default(),
            limits: details.map(|details| names(&details["limits"])).unwrap_or_default(),
            announcement: details.and_then(|details| text(&details["announcement"])),
            correlation: header("x-correlation-id"),
            retry_after_seconds: header("retry-after").and_then(|text| text.parse().ok()),
            token_from: token_from.clone(),
            may_have_happened: changes && is_doubtful(answer.status),
            code,
        }
    }
}

/// Whether the API may have acted although it answered with that status: only its own failures leave it open.
fn is_doubtful(status: u16) -> bool {
    status >= 500
}

/// Returns the code of an answer that gives none: something between us and the API wrote it.
fn of_status(status: u16) -> Code {
    match status {
        401 => Code::Unauthorized,
        429 => Code::RateLimitExceeded,
        502 => Code::BadGateway,
        503 => Code::Unavailable,
        504 => Code::Timeout,
        // a 404 of a proxy says nothing about the resource
        status => Code::Other(format!("http_{status}")),
    }
}

fn fields(details: &Value) -> Vec<Field> {
    let list = details["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let messages = |field: &Value| -> Vec<String> {
        field["messages"].as_array().into_iter().flatten().filter_map(text).take(SHOWN_NAMES_MAX).collect()
    };
    let read = |field: &Value| Some(Field { name: text(&field["name"])?, messages: messages(field) });
    list.iter().filter_map(read).take(SHOWN_NAMES_MAX).collect()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|one| text(&one["name"])).take(SHOWN_NAMES_MAX).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| clean(text, SHOWN_LETTERS_MAX))
}
