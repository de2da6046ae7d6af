//! Lists: whole, or an error. Never a short one that looks whole, because what is missing in it would be made again.
//!
//! The first page tells how many there are; all others are then asked for at once. Elements move between pages when
//! something is made or deleted meanwhile: a list that does not add up is read again.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::text::clean;
use claw_net::http::{Method, Request};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Client, operation};
use crate::error::ApiError;
use crate::limits::{PER_PAGE_MAX, RRSETS_PER_PAGE_MAX};
use crate::retry::Repeat;
use crate::wire::{Action, Firewall, Image, Labels, Location, PrimaryIp, Rrset, Server, ServerType, SshKey, Zone};

/// The most pages of a list: 10,000 elements, more than a project may hold.
const PAGES_MAX: u32 = 200;
/// Pages asked for at once.
const PAGES_IN_FLIGHT_MAX: usize = 24;
/// How often a list that does not add up is read in all.
const READINGS_MAX: u32 = 3;

/// Which elements of a list are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    parameters: Vec<(&'static str, String)>,
}

impl Filter {
    /// Returns the filter that lets all through.
    pub fn all() -> Self {
        Self::default()
    }

    /// Returns the filter for a label selector, such as `fleet=blue,role=host`.
    pub fn labelled(selector: &str) -> Self {
        Self::all().with("label_selector", selector)
    }

    /// Returns the filter for one name, exactly.
    pub fn named(name: &str) -> Self {
        Self::all().with("name", name)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.parameters.push((name, value.to_owned()));
        self
    }
}

/// A whole list.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What is there and could not be read: whoever needs to know that something is absent must look here, too.
    pub odd: Vec<Odd>,
}

/// An element that is not as the API's reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its number or text id, if it has one.
    pub id: Option<String>,
    /// Its name, if it has one; cleaned.
    pub name: Option<String>,
    /// Those of its labels that are text.
    pub labels: Labels,
    /// What does not fit.
    pub why: String,
}

/// What can be listed.
pub(crate) trait Listed: DeserializeOwned {
    /// The key of the list in the answer.
    const KEY: &'static str;
    /// Elements of a page.
    const PER_PAGE: Option<u32> = Some(PER_PAGE_MAX);
    /// Whether it can be sorted: by id, new elements come last and move nothing.
    const SORTED: bool = true;
}

impl Listed for SshKey {
    const KEY: &'static str = "ssh_keys";
}
impl Listed for Firewall {
    const KEY: &'static str = "firewalls";
}
impl Listed for PrimaryIp {
    const KEY: &'static str = "primary_ips";
}
impl Listed for Server {
    const KEY: &'static str = "servers";
}
impl Listed for Zone {
    const KEY: &'static str = "zones";
}
impl Listed for Rrset {
    const KEY: &'static str = "rrsets";
    const PER_PAGE: Option<u32> = Some(RRSETS_PER_PAGE_MAX);
}
impl Listed for Location {
    const KEY: &'static str = "locations";
}
impl Listed for Image {
    const KEY: &'static str = "images";
}
impl Listed for ServerType {
    const KEY: &'static str = "server_types";
    const SORTED: bool = false;
}
impl Listed for Action {
    const KEY: &'static str = "actions";
    const PER_PAGE: Option<u32> = None;
    const SORTED: bool = false;
}

/// One page as it came.
pub(crate) struct Page {
    pub(crate) elements: Vec<Value>,
    meta: Pagination,
}

/// Where a page lies. Everything may be `null`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Pagination {
    next_page: Option<u32>,
    last_page: Option<u32>,
    total_entries: Option<u64>,
}

#[derive(Deserialize)]
struct Meta {
    pagination: Option<Pagination>,
}

impl Client {
    /// Returns a whole list.
    ///
    /// # Errors
    /// That of the first page, or [`ApiError::Partial`] where a later page did not come or the list never added up.
    pub(crate) async fn list<T: Listed>(&self, path: &[&str], filter: &Filter) -> Result<List<T>, ApiError> {
        for _ in 0..READINGS_MAX {
            let pages = self.pages::<T>(path, filter).await?;
            if let Some(elements) = add_up(&pages) {
                return Ok(read(elements));
            }
        }
        Err(partial(path, format!("it changed while it was read, {READINGS_MAX} times in a row"), None))
    }

    /// Returns all pages, the first one first.
    async fn pages<T: Listed>(&self, path: &[&str], filter: &Filter) -> Result<Vec<Page>, ApiError> {
        let first = self.page::<T>(path, filter, 1).await?;
        let mut last = first.meta.last_page.unwrap_or(1);
        let mut pages = vec![first];
        loop {
            let begin = count(&pages) + 1;
            if last >= begin {
                within_limit(path, last)?;
                let wanted = stream::iter(begin..=last).map(|number| self.later_page::<T>(path, filter, number));
                // in order, because the last one tells whether there are more
                let mut coming = wanted.buffered(PAGES_IN_FLIGHT_MAX);
                while let Some(page) = coming.next().await {
                    pages.push(page?);
                }
            }
            let Some(next) = following::<T>(&pages) else { return Ok(pages) };
            last = next;
        }
    }

    async fn later_page<T: Listed>(&self, path: &[&str], filter: &Filter, number: u32) -> Result<Page, ApiError> {
        let page = self.page::<T>(path, filter, number).await;
        page.map_err(|error| partial(path, format!("page {number} did not come"), Some(error)))
    }

    async fn page<T: Listed>(&self, path: &[&str], filter: &Filter, number: u32) -> Result<Page, ApiError> {
        let mut request = Request::new(Method::Get, path.iter().copied());
        for (name, value) in &filter.parameters {
            request = request.query(name, value);
        }
        if T::SORTED {
            request = request.query("sort", "id:asc");
        }
        if let Some(per_page) = T::PER_PAGE {
            request = request.query("page", number).query("per_page", per_page);
        }
        self.elements::<T>(&request).await
    }

    /// Returns the elements of one answer.
    pub(crate) async fn elements<T: Listed>(&self, request: &Request) -> Result<Page, ApiError> {
        let mut root: Value = self.call(request, Repeat::Read).await?;
        let Value::Array(elements) = take(&mut root, T::KEY) else {
            let why = format!("it holds no list `{}`", T::KEY);
            return Err(ApiError::Unreadable { operation: operation(request), why, may_have_happened: false });
        };
        let meta = serde_json::from_value::<Meta>(take(&mut root, "meta")).ok().and_then(|meta| meta.pagination);
        Ok(Page { elements, meta: meta.unwrap_or_default() })
    }
}

/// Takes a field out of an answer; `null` where there is none, or the answer is no object.
pub(crate) fn take(root: &mut Value, key: &str) -> Value {
    root.get_mut(key).map(Value::take).unwrap_or_default()
}

/// Returns the number of the page up to which there are more, if there are.
fn following<T: Listed>(pages: &[Page]) -> Option<u32> {
    let have = count(pages);
    let page = pages.last()?;
    let told = page.meta.last_page.max(page.meta.next_page);
    match told {
        Some(last) => (last > have).then_some(last),
        // nothing is told: a full page may have one behind it
        None => {
            let full = T::PER_PAGE.is_some_and(|per_page| page.elements.len() >= per_page as usize);
            let all = page
                .meta
                .total_entries
                .is_some_and(|total| pages.iter().map(|page| page.elements.len() as u64).sum::<u64>() >= total);
            (full && !all).then_some(have + 1)
        }
    }
}

fn count(pages: &[Page]) -> u32 {
    u32::try_from(pages.len()).unwrap_or(u32::MAX)
}

fn within_limit(path: &[&str], last: u32) -> Result<(), ApiError> {
    if last > PAGES_MAX {
        return Err(partial(path, format!("it has {last} pages, more than {PAGES_MAX}"), None));
    }
    Ok(())
}

/// Returns all elements, each once, or `None` where the pages do not make one list.
fn add_up(pages: &[Page]) -> Option<Vec<Value>> {
    let totals: BTreeSet<u64> = pages.iter().filter_map(|page| page.meta.total_entries).collect();
    if totals.len() > 1 {
        return None;
    }
    let mut seen = BTreeMap::new();
    let mut nameless = Vec::new();
    let mut twice = false;
    for element in pages.iter().flat_map(|page| &page.elements) {
        match &element["id"] {
            Value::Null => nameless.push(element.clone()),
            id => twice |= seen.insert(sort_key(id), element.clone()).is_some(),
        }
    }
    let found = (seen.len() + nameless.len()) as u64;
    let whole = match totals.first() {
        Some(total) => found >= *total,
        // without a total, an element that came twice is all that tells of one that was pushed out of view
        None => !twice,
    };
    whole.then(|| seen.into_values().chain(nameless).collect())
}

/// Orders numbers as numbers and anything else behind them, as text.
fn sort_key(id: &Value) -> (u64, String) {
    match id.as_u64() {
        Some(number) => (number, String::new()),
        None => (u64::MAX, id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
    }
}

/// Returns the elements as what they are; those that cannot be read are told apart.
pub(crate) fn read<T: DeserializeOwned>(elements: Vec<Value>) -> List<T> {
    let mut list = List { items: Vec::new(), odd: Vec::new() };
    for element in elements {
        match T::deserialize(&element) {
            Ok(item) => list.items.push(item),
            Err(error) => list.odd.push(odd(&element, &error)),
        }
    }
    list
}

fn odd(element: &Value, error: &serde_json::Error) -> Odd {
    let text = |value: &Value| match value {
        Value::String(text) => Some(clean(text, 100)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let labels = element["labels"].as_object().into_iter().flatten();
    Odd {
        id: text(&element["id"]),
        name: text(&element["name"]),
        labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        why: clean(&error.to_string(), 200),
    }
}

fn partial(path: &[&str], why: String, source: Option<ApiError>) -> ApiError {
    ApiError::Partial { list: format!("/{}", path.join("/")), why, source: source.map(Box::new) }
}

#[cfg(test)]
mod tests;
