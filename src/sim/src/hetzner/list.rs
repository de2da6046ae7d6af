//! Lists: filters, label selectors, sorting, pages. Knows no resource; each says how it is listed.

use serde_json::{Value as Json, json};

use super::Cloud;
use super::answer::Reply;
use super::body::Request;
use super::refusal::Refusal;
use super::selector::{Labels, Selector};

/// Entries per page where a request does not say.
const PER_PAGE: usize = 25;
/// The most a page holds.
const PER_PAGE_MAX: usize = 50;

/// What a field of an entry is, for sorting and filters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

/// Something that is listed.
pub(super) trait Listed {
    /// The fields it may be sorted by.
    const SORTS: &'static [&'static str];
    /// The fields that a query of the same name filters; several values are alternatives.
    const FILTERS: &'static [&'static str];
    /// The most a page holds.
    const PER_PAGE_MAX: usize = PER_PAGE_MAX;

    /// Returns a field of `SORTS` or `FILTERS`.
    fn value(&self, cloud: &Cloud, field: &str) -> Value;
    /// Returns its labels, if it can have any.
    fn labels(&self) -> Option<&Labels>;
    fn render(&self, cloud: &Cloud) -> Json;
}

impl Value {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Number(number) => text.parse() == Ok(*number),
            Self::Text(own) => own == text,
        }
    }
}

impl Cloud {
    /// Answers a list.
    pub(super) fn list<'a, T: Listed + 'a>(
        &self,
        request: &Request,
        key: &str,
        all: impl Iterator<Item = &'a T>,
    ) -> Result<Reply, Refusal> {
        let selector = Selector::parse(request.first("label_selector").unwrap_or_default())?;
        let selected = |entry: &&T| entry.labels().is_none_or(|labels| selector.selects(labels));
        let filtered = |entry: &&T| {
            T::FILTERS.iter().all(|field| {
                let wanted = request.all(field);
                wanted.is_empty() || wanted.iter().any(|text| entry.value(self, field).is(text))
            })
        };
        let mut entries: Vec<&T> = all.filter(selected).filter(filtered).collect();
        let orders = orders::<T>(request)?;
        entries.sort_by(|one, other| {
            let compare = |(field, down): &(&str, bool)| {
                let order = one.value(self, field).cmp(&other.value(self, field));
                if *down { order.reverse() } else { order }
            };
            orders.iter().map(compare).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        let page = Page::of::<T>(request, entries.len())?;
        let shown: Vec<Json> = page.cut(&entries).iter().map(|entry| entry.render(self)).collect();
        let mut reply = Reply::new(200, json!({ key: shown, "meta": page.meta() }));
        reply.link = page.link(request);
        Ok(reply)
    }
}

fn orders<T: Listed>(request: &Request) -> Result<Vec<(&str, bool)>, Refusal> {
    let one = |text: &'_ str| -> Result<(usize, bool), Refusal> {
        let (field, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let place = T::SORTS.iter().position(|known| *known == field);
        match (place, direction) {
            (Some(place), "asc") => Ok((place, false)),
            (Some(place), "desc") => Ok((place, true)),
            _ => Err(Refusal::invalid("sort", format!("cannot sort by `{text}`"))),
        }
    };
    let found: Result<Vec<(usize, bool)>, Refusal> = request.all("sort").into_iter().map(one).collect();
    Ok(found?.into_iter().map(|(place, down)| (T::SORTS[place], down)).collect())
}

/// One page of a list.
struct Page {
    page: usize,
    per_page: usize,
    total: usize,
}

impl Page {
    fn of<T: Listed>(request: &Request, total: usize) -> Result<Self, Refusal> {
        let number = |name: &str, usual: usize| match request.first(name).map(str::parse::<usize>) {
            None => Ok(usual),
            Some(Ok(number)) if number >= 1 => Ok(number),
            Some(_) => Err(Refusal::invalid(name, "must be a number from 1")),
        };
        let per_page = number("per_page", PER_PAGE)?.min(T::PER_PAGE_MAX);
        Ok(Self { page: number("page", 1)?, per_page, total })
    }

    fn cut<'a, T>(&self, entries: &'a [T]) -> &'a [T] {
        let start = (self.page - 1).saturating_mul(self.per_page).min(entries.len());
        let end = start.saturating_add(self.per_page).min(entries.len());
        &entries[start..end]
    }

    fn last(&self) -> usize {
        self.total.div_ceil(self.per_page).max(1)
    }

    fn next(&self) -> Option<usize> {
        (self.page < self.last()).then(|| self.page + 1)
    }

    fn previous(&self) -> Option<usize> {
        (self.page > 1).then(|| self.page - 1)
    }

    fn meta(&self) -> Json {
        json!({ "pagination": {
            "page": self.page, "per_page": self.per_page, "previous_page": self.previous(), "next_page": self.next(),
            "last_page": self.last(), "total_entries": self.total,
        } })
    }

    /// Returns the `Link` header. Its addresses begin with the path: a server does not know under which name it is seen.
    fn link(&self, request: &Request) -> Option<String> {
        let others = request.query.iter().filter(|(key, _)| key != "page");
        let others: String = others.map(|(key, value)| format!("&{}={}", encode(key), encode(value))).collect();
        let link = |page: usize, name: &str| format!("<{}?page={page}{others}>; rel=\"{name}\"", request.path);
        let links = [
            self.previous().map(|page| link(page, "prev")),
            self.next().map(|page| link(page, "next")),
            (self.page != self.last()).then(|| link(self.last(), "last")),
        ];
        let links: Vec<String> = links.into_iter().flatten().collect();
        (!links.is_empty()).then(|| links.join(", "))
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
