//! What can go wrong between claw and the API, how it is met, and what a person does about it.
//!
//! All text that comes from the API is cleaned here, once, so that nobody shows it raw.

mod apply;
mod refusal;

pub use refusal::{Code, Field, Refusal};

use claw_core::text::{chain, clean};
use claw_net::http::HttpError;

/// The longest error that is shown, in letters.
const SHOWN_LETTERS_MAX: usize = 1_000;

/// Why a call did not do what it should. Cheap enough to clone: all who wait for one poll hear its error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The API answered, and said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No whole answer came.
    #[error("{operation}")]
    NoAnswer {
        /// `POST /servers`.
        operation: String,
        /// In which phase.
        source: HttpError,
        /// The call was a change, and the API may have done it.
        may_have_happened: bool,
    },
    /// The answer is not what the API's reference promises.
    #[error("{operation}: read the answer: {why}")]
    Unreadable {
        /// `POST /servers`.
        operation: String,
        /// What does not fit.
        why: String,
        /// The call was a change, and the API has probably done it.
        may_have_happened: bool,
    },
    /// A list of which only a part could be had. What is missing in it may well exist.
    #[error("list {list} whole: {why}")]
    Partial {
        /// Its path.
        list: String,
        /// What is missing.
        why: String,
        /// Why a page did not come.
        source: Option<Box<ApiError>>,
    },
    /// The API accepted a change and failed at it later.
    #[error("finish {command} (action {id}): {message} ({code})")]
    ActionFailed {
        /// The action's number.
        id: u64,
        /// What was done.
        command: String,
        /// Why it failed.
        code: Code,
        /// The vendor's words.
        message: String,
    },
    /// An action did not end in time. It may still end.
    #[error("finish {command} (action {id}) within {seconds} s")]
    ActionTimedOut {
        /// The action's number.
        id: u64,
        /// What is done.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// The API does not tell of an action that it began.
    #[error("find {command} (action {id}) again")]
    ActionMissing {
        /// The action's number.
        id: u64,
        /// What is done.
        command: String,
    },
}

impl ApiError {
    /// Returns whether a change was asked for that may have been done in spite of the error: look before asking again.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.may_have_happened,
            Self::NoAnswer { may_have_happened, .. } | Self::Unreadable { may_have_happened, .. } => *may_have_happened,
            Self::Partial { .. } => false,
            Self::ActionFailed { .. } | Self::ActionTimedOut { .. } | Self::ActionMissing { .. } => true,
        }
    }

    /// Returns the code of the API's error, if it was one.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::ActionFailed { code, .. } => Some(code),
            Self::Partial { source, .. } => source.as_ref()?.code(),
            _ => None,
        }
    }

    /// Returns whether it is the API's error with that code.
    pub fn is(&self, code: &Code) -> bool {
        self.code() == Some(code)
    }

    /// Returns its text with all causes, fit to be shown: a certificate's or a proxy's words may be among them.
    pub fn shown(&self) -> String {
        clean(&chain(self), SHOWN_LETTERS_MAX)
    }

    /// Remembers that an earlier try of the same call may have done it.
    pub(crate) fn after_doubt(mut self, doubt: bool) -> Self {
        match &mut self {
            Self::Refused(refusal) => refusal.may_have_happened |= doubt,
            Self::NoAnswer { may_have_happened, .. } | Self::Unreadable { may_have_happened, .. } => {
                *may_have_happened |= doubt;
            }
            _ => {}
        }
        self
    }
}
