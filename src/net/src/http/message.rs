//! What is asked and what is answered.

use std::fmt;

use reqwest::header::HeaderMap;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or starts something.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request. Segments and values are given as they mean and are escaped when sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) json: Option<Vec<u8>>,
}

impl Request {
    /// Returns a request for the place that the segments name below the base address.
    pub fn new<S: Into<String>>(method: Method, segments: impl IntoIterator<Item = S>) -> Self {
        Self { method, segments: segments.into_iter().map(Into::into).collect(), query: Vec::new(), json: None }
    }

    /// Adds a query parameter; the same name may come several times.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Gives it a JSON body.
    pub fn json(mut self, body: Vec<u8>) -> Self {
        self.json = Some(body);
        self
    }

    /// Returns what it does.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns its path below the base address, unescaped, for people.
    pub fn path(&self) -> String {
        self.segments.iter().map(|segment| format!("/{segment}")).collect()
    }
}

/// One answer, read whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code; never one of a redirect.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    pub(crate) headers: HeaderMap,
}

impl Response {
    /// Returns a header's first value; `None` where it is missing or not plain text. Names are compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
