//! Keeps known secret values out of text: what was opened in this process, and how such values look when they are encoded.
//!
//! Only finds and replaces; who learns a value adds it, who writes passes its text through. A value that nobody opened is not
//! known here, nor is one shorter than [`MASKED_BYTES_MIN`].

mod forms;

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use secrecy::{ExposeSecret, SecretSlice};

/// The shortest value that is masked, in bytes: to hide every `1` would make all output unreadable, and hide nothing.
pub const MASKED_BYTES_MIN: usize = 6;
/// From how many bytes of a value's beginning on the rest is waited for: less is as likely nothing, and what was typed or
/// asked for would not come.
const HELD_BYTES_MIN: usize = 4;
/// How many first bytes are looked up before anything longer is compared.
const HEAD_BYTES: usize = 4;
/// What stands where text was cut (`text::clean`): before it the beginning of a value is masked as well.
const CUT: &str = "…";

/// The secret values that are known so far. Clones share them.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Values>>);

#[derive(Default)]
struct Values {
    /// Every form of every value, and what is shown instead.
    forms: BTreeMap<Form, Arc<str>>,
    heads: HashSet<[u8; HEAD_BYTES]>,
    longest: usize,
    /// Made when it is next needed after a value came.
    finder: Option<Finder>,
}

/// Finds all forms in one pass. The automaton holds copies of them that are not erased: it lives as long as the process.
struct Finder {
    automaton: AhoCorasick,
    shown: Vec<Arc<str>>,
}

/// Bytes that are erased when they go.
struct Form(SecretSlice<u8>);

impl Known {
    /// Makes a value known. `label` says what it is: "secret default/KEY".
    pub fn add(&self, label: &str, value: &str) {
        let mut values = self.values();
        let mut shown = None;
        for form in forms::of(value) {
            if form.len() < MASKED_BYTES_MIN || values.forms.contains_key(form.as_slice()) {
                continue;
            }
            if let Some(head) = form.first_chunk::<HEAD_BYTES>() {
                values.heads.insert(*head);
            }
            values.longest = values.longest.max(form.len());
            let shown = shown.get_or_insert_with(|| Arc::from(format!("({label})")));
            values.forms.insert(Form(form.into()), Arc::clone(shown));
            values.finder = None;
        }
    }

    /// Returns the text without any known value.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// Returns the bytes without any known value.
    #[must_use]
    pub fn mask_bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let mut values = self.values();
        if values.forms.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut found = values.find(bytes);
        found.extend(values.cut_off(bytes));
        let found = merged(found);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        replace(bytes, 0, &found, &mut out);
        Cow::Owned(out)
    }

    /// Returns what masks bytes that come in pieces.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream { known: self.clone(), held: Vec::new(), shown: 0 }
    }

    /// A thread that panicked in here left at worst a value out.
    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(..)")
    }
}

/// Where something is found, and what is shown instead.
type Found = (Range<usize>, Arc<str>);

impl Values {
    /// Returns every place of every form, overlapping ones too.
    fn find(&mut self, bytes: &[u8]) -> Vec<Found> {
        let forms = &self.forms;
        let finder = self.finder.get_or_insert_with(|| Finder {
            automaton: AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(forms.keys().map(Form::bytes))
                .expect("all secrets of a fleet are far below 2 GiB"),
            shown: forms.values().cloned().collect(),
        });
        let places = finder.automaton.find_overlapping_iter(bytes);
        places.map(|place| (place.range(), Arc::clone(&finder.shown[place.pattern().as_usize()]))).collect()
    }

    /// Returns where, at the end of the bytes, a form begins that may go on; their length where none does.
    fn begun(&self, bytes: &[u8]) -> usize {
        let first = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (first..bytes.len()).find(|at| self.begins(&bytes[*at..]).is_some()).unwrap_or(bytes.len())
    }

    /// Returns what is shown for a form that begins with these bytes and is longer.
    fn begins(&self, part: &[u8]) -> Option<&Arc<str>> {
        if part.first_chunk::<HEAD_BYTES>().is_some_and(|head| !self.heads.contains(head)) {
            return None;
        }
        let longer = (Bound::Excluded(part), Bound::Unbounded);
        let (form, shown) = self.forms.range::<[u8], _>(longer).next()?;
        form.bytes().starts_with(part).then_some(shown)
    }

    /// Returns the beginnings of values that text was cut after.
    fn cut_off(&self, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for (at, _) in bytes.windows(CUT.len()).enumerate().filter(|(_, part)| *part == CUT.as_bytes()) {
            let begun = self.begun(&bytes[..at]);
            if at - begun >= MASKED_BYTES_MIN
                && let Some(shown) = self.begins(&bytes[begun..at])
            {
                found.push((begun..at, Arc::clone(shown)));
            }
        }
        found
    }
}

/// Puts places in order, those that overlap together.
fn merged(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
    let mut merged: Vec<Found> = Vec::new();
    for (place, shown) in found {
        match merged.last_mut() {
            Some((last, _)) if place.start < last.end => last.end = last.end.max(place.end),
            _ => merged.push((place, shown)),
        }
    }
    merged
}

/// Adds the bytes from `from` on, with what is shown instead of the places.
fn replace(bytes: &[u8], from: usize, found: &[Found], out: &mut Vec<u8>) {
    let mut at = from;
    for (place, shown) in found {
        out.extend_from_slice(bytes.get(at..place.start).unwrap_or_default());
        out.extend_from_slice(shown.as_bytes());
        at = place.end.max(at);
    }
    out.extend_from_slice(bytes.get(at..).unwrap_or_default());
}

/// Masks bytes that come in pieces, cut anywhere. Holds back only what may be the beginning of a known value.
#[derive(Debug)]
pub struct Stream {
    known: Known,
    held: Vec<u8>,
    /// How many of the held bytes are shown already.
    shown: usize,
}

impl Stream {
    /// Returns what of the next piece may be written.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut values = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, mut kept) = if values.forms.is_empty() {
            (Vec::new(), self.held.len())
        } else {
            let found = merged(values.find(&self.held));
            (found, values.begun(&self.held))
        };
        // a value within which another one may have begun waits for it: both become one mask
        if let Some((place, _)) = found.iter().find(|(place, _)| place.contains(&kept)) {
            kept = place.start;
        }
        drop(values);
        let ready = found.partition_point(|(place, _)| place.end <= kept);
        let mut out = Vec::new();
        replace(&self.held[..kept], self.shown, &found[..ready], &mut out);
        self.held.drain(..kept);
        self.shown = self.shown.saturating_sub(kept);
        if self.held.len() < HELD_BYTES_MIN {
            out.extend_from_slice(&self.held[self.shown..]);
            self.shown = self.held.len();
        }
        out
    }

    /// Returns what is left when nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let found = merged(self.known.values().find_if_any(&held));
        let mut out = Vec::new();
        replace(&held, std::mem::take(&mut self.shown), &found, &mut out);
        out
    }
}

impl Values {
    fn find_if_any(&mut self, bytes: &[u8]) -> Vec<Found> {
        if self.forms.is_empty() { Vec::new() } else { self.find(bytes) }
    }
}

impl Form {
    fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl AsRef<[u8]> for Form {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Borrow<[u8]> for Form {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Form {}

impl PartialOrd for Form {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Form {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}

#[cfg(test)]
mod tests;
