//! `POST /v1/chat/completions`: no model answers; the reply repeats who was asked and all that was ever said, so that
//! a test sees the identity, the model and whether the state survived.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::http::{Request, Response};
use crate::log;

/// Returns the reply to one chat request of an authorised peer.
pub(crate) fn answer(gateway: &Gateway, request: &Request) -> Response {
    let Ok(asked) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse("the body is not JSON");
    };
    let model = asked["model"].as_str().unwrap_or("openclaw");
    let Some(message) = newest_user_message(&asked) else {
        return refuse("Missing user message in `messages`.");
    };
    let who = {
        let active = gateway.active();
        if !names_an_agent(model, |id| active.config.has_agent(id)) {
            return refuse("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
        }
        let provider = active.config.model().split('/').next().unwrap_or_default();
        if active.secrets.degraded().any(|key| key.provider == provider) {
            return Response::error(500, "internal error", "api_error");
        }
        format!("{} [model {}]", active.config.agent_name(), active.config.model())
    };
    let (count, said) = match gateway.store().remember(message) {
        Ok(messages) => (messages.len(), messages.join(" | ")),
        Err(error) => {
            log::warn(&format!("state not written: {error}"));
            return Response::error(500, "internal error", "api_error");
        }
    };
    log::info(&format!("chat turn {count} answered"));
    reply(&format!("chatcmpl_{count}"), model, &format!("{who}: you said: {said}"), asked["stream"] == true)
}

fn refuse(message: &str) -> Response {
    Response::error(400, message, "invalid_request_error")
}

fn reply(id: &str, model: &str, content: &str, is_stream: bool) -> Response {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    if !is_stream {
        let message = json!({"role": "assistant", "content": content});
        return Response::json(
            200,
            &json!({
                "id": id, "object": "chat.completion", "model": model, "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }),
        );
    }
    let chunk = |delta: Value, finish_reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
        json!({"id": id, "object": "chat.completion.chunk", "model": model, "choices": [choice]}).to_string()
    };
    Response::events(&[
        chunk(json!({"role": "assistant", "content": content}), Value::Null),
        chunk(json!({}), "stop".into()),
        "[DONE]".to_owned(),
    ])
}

fn names_an_agent(model: &str, exists: impl Fn(&str) -> bool) -> bool {
    match model.split_once('/') {
        None => model == "openclaw",
        Some(("openclaw", agent)) => agent == "default" || exists(agent),
        Some(_) => false,
    }
}

/// Returns the text of the last message of the role `user`, written as a text or as parts.
fn newest_user_message(asked: &Value) -> Option<String> {
    let newest = asked["messages"].as_array()?.iter().rev().find(|message| message["role"] == "user")?;
    match &newest["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{names_an_agent, newest_user_message};

    #[test]
    fn newest_user_message_is_taken_from_texts_and_parts() {
        let asked = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": [{"type": "text", "text": "c"}]}]});
        assert_eq!(newest_user_message(&asked).as_deref(), Some("c"));
        assert_eq!(newest_user_message(&json!({"messages": []})), None);
    }

    #[test]
    fn model_names_an_existing_agent_or_is_refused() {
        for (model, expected) in [
            ("openclaw", true),
            ("openclaw/default", true),
            ("openclaw/main", true),
            ("openclaw/eve", false),
            ("gpt", false),
        ] {
            assert_eq!(names_an_agent(model, |id| id == "main"), expected, "for {model}");
        }
    }
}
