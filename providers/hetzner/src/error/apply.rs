//! From an error of the API to one of a step: its class, and what a person does about it.

use claw_core::provider::{ApplyError, Class};
use claw_net::http::HttpError;

use super::{ApiError, Code, Refusal};

impl From<ApiError> for ApplyError {
    /// Says that something changed where it may have.
    fn from(error: ApiError) -> Self {
        let mut made = Self::new(class(&error), error.shown());
        made.help = help(&error);
        made.changed = error.may_have_happened();
        made
    }
}

fn class(error: &ApiError) -> Class {
    match error {
        ApiError::Refused(refusal) => class_of(&refusal.code),
        ApiError::ActionFailed { code, .. } => class_of(code),
        ApiError::NoAnswer { source, .. } => match source {
            HttpError::Setup { .. } | HttpError::Tls { .. } => Class::Fatal,
            HttpError::Redirected { .. } | HttpError::TooLarge { .. } => Class::Fatal,
            _ => Class::Retry,
        },
        ApiError::Partial { source: Some(source), .. } => class(source),
        ApiError::Partial { source: None, .. } => Class::Retry,
        ApiError::ActionMissing { .. } => Class::Conflict,
        // it was waited for long enough
        ApiError::ActionTimedOut { .. } | ApiError::Unreadable { .. } => Class::Fatal,
    }
}

fn class_of(code: &Code) -> Class {
    match code {
        Code::Locked => Class::Busy,
        Code::Conflict | Code::UniquenessError => Class::Conflict,
        // another step of ours may be about to end that
        Code::ResourceInUse | Code::MustBeUnassigned | Code::ServerNotStopped => Class::Conflict,
        Code::RateLimitExceeded | Code::Maintenance | Code::Unavailable | Code::Timeout | Code::BadGateway => {
            Class::Retry
        }
        Code::ServerError | Code::ServiceError | Code::ActionFailed => Class::Retry,
        _ => Class::Fatal,
    }
}

fn help(error: &ApiError) -> Option<String> {
    match error {
        ApiError::Refused(refusal) => help_of(&refusal.code, Some(refusal)),
        ApiError::ActionFailed { code, .. } => help_of(code, None),
        ApiError::NoAnswer { may_have_happened: true, .. } => {
            Some("it may have been done all the same; apply again looks first and takes over what it finds".into())
        }
        ApiError::NoAnswer { .. } => None,
        ApiError::Partial { source: Some(source), .. } => help(source),
        ApiError::Partial { source: None, .. } => {
            Some("something else is changing this project; apply again when it is quiet".into())
        }
        ApiError::ActionTimedOut { .. } => {
            Some("it may still end; look at the project's activities in the console, then apply again".into())
        }
        ApiError::ActionMissing { .. } => Some("apply again: it looks at the resource itself".into()),
        ApiError::Unreadable { .. } => {
            Some("the API may have changed, or a proxy answers in its place; look for a newer claw".into())
        }
    }
}

fn help_of(code: &Code, refusal: Option<&Refusal>) -> Option<String> {
    let token = refusal.map_or("the project's token", |refusal| &refusal.token_from);
    let named = |names: Vec<String>| if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let text = match code {
        Code::Unauthorized => format!(
            "the API does not know the token from {token}: it is mistyped, deleted, or another project's; \
             make one under Security → API tokens in the console"
        ),
        Code::TokenReadonly => {
            format!("the token from {token} can only read; make one with read and write permission in the console")
        }
        Code::Forbidden => {
            format!("the token from {token} may not do that; check the project and its restrictions in the console")
        }
        Code::ResourceLimitExceeded => {
            let limits = named(refusal.map(|refusal| refusal.limits.clone()).unwrap_or_default());
            format!(
                "the project is at its limit{limits}; ask for a higher limit in the console, or delete what is not needed"
            )
        }
        Code::ResourceUnavailable => {
            "the vendor has none of these there now; choose another size or location, or apply again later".into()
        }
        Code::PlacementError => {
            "there is no room for it at that location now; choose another size or location, or apply again later".into()
        }
        Code::UniquenessError => {
            let fields = refusal.map(|refusal| refusal.fields.iter().map(|field| field.name.clone()).collect());
            let fields = named(fields.unwrap_or_default());
            format!(
                "something in the project has that already{fields}; apply again takes it over if it is the fleet's, else rename one"
            )
        }
        Code::InvalidInput | Code::JsonError => {
            "the API does not take these values; correct them in the fleet file".into()
        }
        Code::Protected => {
            "it is protected against this; take the protection off in the console if you are sure".into()
        }
        Code::Locked => "something else works on it; it ends by itself, apply again then".into(),
        Code::Conflict => "somebody else changed it meanwhile; apply again".into(),
        Code::RateLimitExceeded => {
            "the project has used up its requests (3600 an hour, all programs together); wait a minute, apply again"
                .into()
        }
        Code::Maintenance => "the vendor works on it; see status.hetzner.com, apply again later".into(),
        Code::Unavailable | Code::Timeout | Code::BadGateway | Code::ServerError | Code::ServiceError => {
            let id = refusal.and_then(|refusal| refusal.correlation.as_deref());
            let id = id.map(|id| format!(" (correlation id {id} for their support)")).unwrap_or_default();
            format!("the vendor has trouble; see status.hetzner.com, apply again later{id}")
        }
        Code::ActionFailed => "the vendor gave up on it; apply again, and see status.hetzner.com if it stays".into(),
        Code::DeprecatedApiEndpoint => {
            let place =
                refusal.and_then(|refusal| refusal.announcement.as_deref()).unwrap_or("docs.hetzner.cloud/changelog");
            format!("this claw is too old for the API ({place}); look for a newer one")
        }
        Code::NotFound => "it is gone; plan again".into(),
        Code::ServerNotStopped => "the server must be off for this; apply again".into(),
        Code::InvalidServerType => {
            "a server cannot become that size: same architecture and storage, and no smaller disk; replace it instead"
                .into()
        }
        Code::ResourceInUse | Code::MustBeUnassigned => "something still uses it; apply again once that is gone".into(),
        Code::IncorrectZoneMode => "the zone is a secondary one: its records are kept elsewhere".into(),
        Code::Other(code) if code == "api_route_not_found" => "check the API's address".into(),
        _ => return None,
    };
    Some(text)
}
