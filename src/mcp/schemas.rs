//! JSON schemas of the tools' results. The tests validate results with a client.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::render::author;
use crate::client::log::Author;
use crate::core::diagnosis::State;
use crate::core::event::Phase;
use crate::core::explain::Mark;
use crate::core::report::Stage;

/// A schema as an object.
pub(super) fn object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

pub(super) fn health() -> Value {
    answer(&json!({ "workers": array("Sorted by site, then worker.", &worker()) }), &["workers"])
}

pub(super) fn heal() -> Value {
    let failure = answer(
        &json!({
            "worker": worker(),
            "error": text("Why, as one line, with the last line that the worker logged."),
        }),
        &["worker", "error"],
    );
    let not_healed = answer(&json!({ "worker": worker(), "reason": text("Why.") }), &["worker", "reason"]);
    answer(
        &json!({
            "summary": text("The outcome in one line, such as \"Healed 1 worker(s), 1 failed.\""),
            "healed": array("Up again, and proven to stay. `state` is what was wrong before.", &worker()),
            "failed": array("Not up.", &failure),
            "would_heal": array("With `dry_run`: what would be started.", &worker()),
            "left_alone": array("Not healed, as a start would not help, or as the configuration excludes their \
                                 state.", &not_healed),
            "paused": array("Not healed, as healing is paused.", &not_healed),
        }),
        &["summary", "healed", "failed"],
    )
}

pub(super) fn list() -> Value {
    let mut one = worker();
    let more = object(json!({
        "healthy": flag("Whether nothing is wrong with it. A worker that was stopped counts as healthy."),
        "on_purpose": flag("It is meant not to be healed: leave it so. Left out if not."),
        "phase": { "enum": Stage::ALL, "description": "What is being done about it. up: it works; down, stopped: down as it should be; held: not healed, see `reason`; waiting: tried again in `retry_in_ms`; gave-up: needs you to fix the cause." },
        "attempts": number("Attempts so far."),
        "retry_in_ms": number("Milliseconds until the next attempt, or until the pause that holds it ends."),
        "reason": text("Why it is not healed, is down, or would not be healed if it failed now."),
        "since": time("When its last event was."),
        "up_since": time("When it came up."),
    }));
    if let Value::Object(properties) = &mut one["properties"] {
        properties.extend(more);
    }
    one["required"] = json!(["site", "worker", "unit", "healthy", "phase", "attempts"]);
    answer(&json!({ "workers": array("Sorted by site, then worker.", &one) }), &["workers"])
}

pub(super) fn events() -> Value {
    let event = answer(
        &json!({
            "phase": { "enum": Phase::ALL, "description": "What happened." },
            "time": time("When."),
            "site": text("The worker's site."),
            "unit": text("Its unit; left out for what is about all."),
            "error": text("What went wrong."),
            "reason": text("Why, or what the worker waits for."),
            "attempt": number("Number of the attempt, from 1."),
            "retry_in_ms": number("Milliseconds until the next attempt."),
            "downtime_ms": number("For how long it was down, in milliseconds."),
        }),
        &["phase"],
    );
    answer(
        &json!({
            "events": array("The oldest first.", &event),
            "left_out": number("So many earlier events are left out."),
        }),
        &["events"],
    )
}

pub(super) fn stop() -> Value {
    let mut one = worker();
    if let Value::Object(properties) = &mut one["properties"] {
        properties.retain(|name, _| !matches!(name.as_str(), "state" | "last_error"));
    }
    one["required"] = json!(["site", "worker", "unit"]);
    let failure = answer(&json!({ "worker": one, "error": text("Why, as one line.") }), &["worker", "error"]);
    answer(
        &json!({
            "stopped": array("Down, and not healed until they are started.", &one),
            "failed": array("Still up.", &failure),
        }),
        &["stopped", "failed"],
    )
}

pub(super) fn explain() -> Value {
    let rule = answer(
        &json!({
            "mark": {
                "enum": [Mark::Finding, Mark::Passes, Mark::Decides, Mark::Objects],
                "description": "finding: what was found; passes: speaks for healing; decides: the reason why it \
                                is not healed now; objects: would be a reason too.",
            },
            "says": text("The rule's judgement in words."),
            "evidence": text("What that is known from; may be empty."),
        }),
        &["mark", "says", "evidence"],
    );
    let mut one = worker();
    one["properties"]["state"] = json!({
        "enum": State::ALL.map(Some).into_iter().chain([None]).collect::<Vec<_>>(),
        "description": "What is wrong with it; null if nothing is.",
    });
    let more = object(json!({
        "summary": text("The answer in one sentence."),
        "chain": array("What was found, then each rule that has something to say, the weightiest first.", &rule),
        "change": array("What would change the answer: steps to be taken in this order; \"or ..\" where there is a choice.", &text("A step.")),
        "log": text("The command that shows its log."),
        "last_words": text("The last line that it has logged."),
        "text": text("All of it as a text."),
    }));
    if let Value::Object(properties) = &mut one["properties"] {
        properties.remove("last_error");
        properties.extend(more);
    }
    one["required"] = json!(["site", "worker", "unit", "state", "summary", "chain", "change", "log", "text"]);
    answer(&json!({ "workers": array("The workers that were named.", &one) }), &["workers"])
}

pub(super) fn pauses() -> Value {
    let pause = answer(
        &json!({
            "kind": { "enum": ["everything", "site", "unit"], "description": "What is paused." },
            "name": text("Which site, or which unit; left out for everything."),
            "ends_in_ms": { "type": "integer", "minimum": 0, "description": "Milliseconds until it ends by itself; left out if it lasts until it is resumed." },
        }),
        &["kind"],
    );
    answer(&json!({ "pauses": array("All pauses in force now, the widest first.", &pause) }), &["pauses"])
}

pub(super) fn logs() -> Value {
    let authors = [Author::Worker, Author::Manager, Author::Workerheal].map(author);
    let line = answer(
        &json!({
            "time": { "type": "string", "format": "date-time", "description": "When it was written (RFC 3339, UTC); left out if that is not known." },
            "from": { "enum": authors, "description": "Who wrote it." },
            "text": text("The line, at most 1000 characters and then \"…\"."),
        }),
        &["from", "text"],
    );
    answer(
        &json!({
            "unit": text("Whose log."),
            "lines": array("The oldest first; empty if it has logged nothing.", &line),
            "left_out": { "type": "integer", "minimum": 1, "description": "So many of the lines asked for, the oldest, are left out because all together are too long." },
        }),
        &["unit", "lines"],
    )
}

fn worker() -> Value {
    answer(
        &json!({
            "site": text("The site it belongs to; empty for one that belongs to none."),
            "worker": text("What it does there, such as \"queue\"."),
            "worktree": text("The git worktree that it serves; left out for the main checkout's."),
            "unit": text("Its unit, by which every tool can be told about it."),
            "state": {
                "enum": State::ALL,
                "description": "failed: down after an error; start-limit-hit: the service manager refused yet \
                                another restart; expected-but-stopped: enabled, but ended without error; \
                                unreachable: up, but refuses its health probe; crash-looping: restarted by the \
                                service manager again and again (not healed); orphaned: its working directory is \
                                gone (not healed); stuck: starting or stopping for too long (not healed).",
            },
            "last_error": text("The last line that it has logged; left out if there is none."),
        }),
        &["site", "worker", "unit", "state"],
    )
}

fn answer(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn array(description: &str, items: &Value) -> Value {
    json!({ "type": "array", "description": description, "items": items })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn number(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": format!("{description} RFC 3339, UTC.") })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}
