//! A command for `on_event` that shows a desktop notification for each worker that was given up.
//!
//! The daemon runs it for each worker that was healed or given up, with the event as JSON on standard input:
//!
//! ```yaml
//! on_event: [/usr/local/bin/notifier]
//! ```

use std::process::Command;

use workerheal::{Event, Phase};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event: Event = serde_json::from_reader(std::io::stdin())?;
    if event.phase == Phase::GaveUp {
        Command::new("notify-send").args(["--urgency=critical", "workerheal", &event.to_string()]).status()?;
    }
    Ok(())
}
