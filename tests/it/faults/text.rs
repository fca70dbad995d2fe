//! Text from outside that would control a terminal or mislead its reader.

use crate::common::{SOON, World};
use crate::faults::{OTHER, QUEUE};

/// Characters that must be removed: escape sequences, other control characters, direction overrides, characters without
/// width, and unusual line separators.
fn harm(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    if let Some(c) = text.chars().find(|c| harm(*c)) {
        panic!("{what} has {c:?} in it: {text:?}");
    }
}

const EVIL: &str = "a\u{1b}]0;owned\u{7}b\u{1b}[2Jc\u{9b}31md\u{202e}e\u{200b}f\u{2028}g";

#[test]
fn terminal_sequences_in_text_from_outside_are_removed() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, give_up_after: 1, backoff: {initial: 50ms}}\n");
    world.workers([OTHER]);
    // A worker whose directory is gone, and one whose last line is harmful.
    let directory = world.path("dir").replace("/dir", &format!("/{EVIL}"));
    std::fs::create_dir(&directory).expect("any name will do");
    world.worker(QUEUE, &format!("WorkingDirectory={directory}\nExecStart=sleep infinity"));
    world.write_file("line", &format!("{EVIL}\n"));
    world.write_worker("lerd-bad-myapp", "ExecStart=sh -c 'cat %h/line; exit 1'");
    world.control(&["enable", "lerd-bad-myapp"]);
    let _ = world.systemctl(&["start", "lerd-bad-myapp"]);
    std::fs::remove_dir(&directory).expect("it is there");
    world.crash(QUEUE);
    world.start_daemon();
    for (phase, unit) in [("held", QUEUE), ("gave-up", "lerd-bad-myapp")] {
        world.wait_for_journal(phase, SOON, |entry| {
            entry["WORKERHEAL_PHASE"] == phase && entry["WORKERHEAL_UNIT"] == unit
        });
    }
    let explained = world.run(&["explain", QUEUE]);
    assert!(explained.out.contains("abcde"), "{explained:?}");
    for unit in [QUEUE, "lerd-bad-myapp"] {
        for entry in world.journal(&[&format!("WORKERHEAL_UNIT={unit}")]) {
            for field in ["MESSAGE", "WORKERHEAL_ERROR", "WORKERHEAL_REASON"] {
                assert_harmless(field, entry[field].as_str().unwrap_or_default());
            }
        }
    }
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["detect"],
        &["detect", "--json"],
        &["explain", QUEUE],
        &["explain", "lerd-bad-myapp"],
        &["events"],
        &["events", "--json"],
        &["heal"],
        &["heal", "--events"],
    ] {
        for stopped in [false, true] {
            if stopped && matches!(args[0], "status" | "events") {
                continue;
            }
            if stopped {
                world.stop_unit(crate::common::DAEMON);
            } else {
                world.start_unit(crate::common::DAEMON);
            }
            let ran = world.run(args);
            assert_harmless(&format!("{args:?}"), &ran.out);
            assert_harmless(&format!("{args:?}"), &ran.err);
        }
    }
    world.start_unit(crate::common::DAEMON);
    for path in ["/v1/workers", "/v1/unhealthy", &format!("/v1/workers/{QUEUE}/explain")] {
        let json = crate::api::http::get(&world, path).json();
        let mut strings = vec![&json];
        while let Some(value) = strings.pop() {
            match value {
                serde_json::Value::String(text) => assert_harmless(path, text),
                serde_json::Value::Array(items) => strings.extend(items),
                serde_json::Value::Object(fields) => strings.extend(fields.values()),
                _ => {}
            }
        }
    }
}
