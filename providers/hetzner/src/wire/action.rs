//! Actions: what the API does after it has answered.

use serde::Deserialize;

use super::open;

open! {
    /// How an action stands.
    ActionStatus {
        Running = "running",
        Success = "success",
        Error = "error",
    }
}

/// Something that goes on after the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Action {
    /// Its number.
    pub id: u64,
    /// What is done, such as `create_server`.
    #[serde(default)]
    pub command: String,
    /// How it stands. One that is newer than this program counts as running.
    pub status: ActionStatus,
    /// From 0 to 100.
    #[serde(default, deserialize_with = "super::or_default")]
    pub progress: u32,
    /// Why it failed.
    pub error: Option<ActionFault>,
    /// What it is about.
    #[serde(default, deserialize_with = "super::or_default")]
    pub resources: Vec<ActionResource>,
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ActionFault {
    /// A code as in errors of the API.
    #[serde(default)]
    pub code: String,
    /// The vendor's words.
    #[serde(default)]
    pub message: String,
}

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ActionResource {
    /// Its number; record sets have none.
    pub id: Option<u64>,
    /// Such as `server`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}
