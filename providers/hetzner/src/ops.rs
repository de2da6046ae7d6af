//! The calls, by resource. Each says whether it may be repeated; what it began is an [`Action`] for [`Client::wait`].

mod catalog;
mod dns;
mod firewalls;
mod keys;
mod primary_ips;
mod servers;

pub use catalog::ImageFilter;
pub use dns::NewRrset;
pub use firewalls::NewFirewall;
pub use keys::NewSshKey;
pub use primary_ips::NewPrimaryIp;
pub use servers::{NewServer, PublicNet};

use claw_net::http::{Method, Request};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{Client, json, operation};
use crate::error::{ApiError, Code};
use crate::pages::take;
use crate::retry::Repeat;
use crate::wire::{Action, Labels};

/// Something new, and what still goes on for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Created<T> {
    /// It, as it was when the API answered.
    pub what: T,
    /// To wait for.
    pub actions: Vec<Action>,
}

/// A change of what every resource has. What is `None` stays; labels are replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Update<'a> {
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The new labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
}

/// What an answer may hold beside the resource.
#[derive(Deserialize)]
struct Begun {
    action: Option<Action>,
    actions: Option<Vec<Action>>,
    next_actions: Option<Vec<Action>>,
}

impl Begun {
    fn all(self) -> Vec<Action> {
        let lists = [self.actions, self.next_actions];
        self.action.into_iter().chain(lists.into_iter().flatten().flatten()).collect()
    }
}

impl Client {
    /// Creates something. Never repeated where it may have been done: the caller looks for it by its mark.
    async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        key: &str,
        body: &impl Serialize,
    ) -> Result<Created<T>, ApiError> {
        let request = Request::new(Method::Post, path.iter().copied()).json(json(body));
        let mut root: Value = self.call(&request, Repeat::Once).await?;
        let what = take(&mut root, key);
        let what = T::deserialize(&what).map_err(|error| unreadable(&request, &error))?;
        let begun = Begun::deserialize(&root).map_err(|error| unreadable(&request, &error))?;
        Ok(Created { what, actions: begun.all() })
    }

    /// Changes something and returns it as it is then.
    async fn put<T: DeserializeOwned>(&self, path: &[&str], key: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let request = Request::new(Method::Put, path.iter().copied()).json(json(body));
        let mut root: Value = self.call(&request, Repeat::Same).await?;
        T::deserialize(&take(&mut root, key)).map_err(|error| unreadable(&request, &error))
    }

    /// Starts something and returns what goes on.
    async fn begin(&self, path: &[&str], body: Option<Value>, repeat: Repeat) -> Result<Vec<Action>, ApiError> {
        let request = Request::new(Method::Post, path.iter().copied());
        let request = match body {
            Some(body) => request.json(json(&body)),
            None => request,
        };
        let begun: Begun = self.call(&request, repeat).await?;
        Ok(begun.all())
    }

    /// Deletes something and returns what goes on; what is gone already is deleted.
    async fn delete(&self, path: &[&str]) -> Result<Vec<Action>, ApiError> {
        let request = Request::new(Method::Delete, path.iter().copied());
        let answer = match self.answer(&request, Repeat::Same).await {
            Ok(answer) => answer,
            Err(error) if error.is(&Code::NotFound) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if answer.body.is_empty() {
            return Ok(Vec::new());
        }
        let begun: Result<Begun, _> = serde_json::from_slice(&answer.body);
        begun.map(Begun::all).map_err(|error| unreadable(&request, &error))
    }

    /// Returns one resource, `None` where there is none.
    async fn one<T: DeserializeOwned>(&self, path: &[&str], key: &str) -> Result<Option<T>, ApiError> {
        let request = Request::new(Method::Get, path.iter().copied());
        let mut root: Value = match self.call(&request, Repeat::Read).await {
            Ok(root) => root,
            Err(error) if error.is(&Code::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        T::deserialize(&take(&mut root, key)).map(Some).map_err(|error| unreadable(&request, &error))
    }
}

fn unreadable(request: &Request, error: &serde_json::Error) -> ApiError {
    ApiError::Unreadable {
        operation: operation(request),
        why: claw_core::text::clean(&error.to_string(), 200),
        may_have_happened: request.method() != Method::Get,
    }
}

#[cfg(test)]
mod tests;
