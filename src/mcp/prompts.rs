//! Prompts: questions that a user picks from a list.

use rmcp::model::{ErrorData, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

/// The name of the only one.
const WHATS_WRONG: &str = "whats_wrong";
const TITLE: &str = "What is wrong with my workers?";
const DESCRIPTION: &str = "Finds out which workers are down, why, and what to do about it; changes nothing unasked.";

/// The text for the assistant; the placeholder is for the site or worker, or empty.
fn request(of: &str) -> String {
    format!(
        "What is wrong with my workers{of}? Look with workers_health. For each that is unhealthy, ask worker_explain \
         why it is not up, and read worker_logs for the cause; workers_events tells whether it happens again and \
         again. Several may have one cause, such as a database that is down.\n\n\
         Then tell me, shortest first: what is down and since when, the cause with the line of the log or the rule \
         that shows it, and what I can do, with the commands. Ask me before you heal, stop, pause or resume anything. \
         If all is well, say so in one sentence, with what is paused or was stopped on purpose."
    )
}

/// Every prompt.
pub(super) fn all() -> Vec<Prompt> {
    let target = PromptArgument::new("target")
        .with_title("Site or worker")
        .with_description("A site (myapp), SITE/WORKER (myapp/queue) or a unit; all workers if it is left out.")
        .with_required(false);
    vec![Prompt::new(WHATS_WRONG, Some(DESCRIPTION), Some(vec![target])).with_title(TITLE)]
}

/// The text of a prompt.
///
/// # Errors
///
/// If there is none of this name, or its argument is no text.
pub(super) fn get(name: &str, arguments: Option<&JsonObject>) -> Result<GetPromptResult, ErrorData> {
    if name != WHATS_WRONG {
        return Err(ErrorData::invalid_params(format!("there is no prompt {name:?}"), None));
    }
    let of = match arguments.and_then(|arguments| arguments.get("target")) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(target)) if target.trim().is_empty() => String::new(),
        Some(Value::String(target)) => format!(" of {}", target.trim()),
        Some(_) => return Err(ErrorData::invalid_params("`target` has to be a name, such as \"myapp\"", None)),
    };
    let message = PromptMessage::new_text(Role::User, request(&of));
    Ok(GetPromptResult::new(vec![message]).with_description(TITLE))
}
