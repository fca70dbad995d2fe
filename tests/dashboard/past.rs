//! What the page makes of past events: the figures of the last 24 hours.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::World;
use crate::page::Page;
use crate::{MAIL, QUEUE, break_down, repair, world};

/// The functions that decide what is shown, in the engine that runs them: `history`, a fixed `now`, `ago(minutes)`, and
/// `event(unit, phase, minutes ago, more)`.
struct Functions(Browser, #[expect(dead_code, reason = "it serves the functions")] Page);

impl Functions {
    fn load(world: &World) -> Self {
        let page = Page::start(world);
        let mut browser = Browser::start();
        browser.open(&page.url);
        browser.wait("document.querySelector('#figures')");
        Self(browser, page)
    }

    #[track_caller]
    fn run(&mut self, script: &str) -> Value {
        self.0.run(&format!(
            "import('/history.js').then((history) => {{ \
                const now = Date.UTC(2026, 0, 31, 12, 10), ago = (minutes) => now - minutes * 60_000; \
                const event = (unit, phase, minutes, more) => ({{ data: {{ unit, phase, ...more }}, at: ago(minutes) }}); \
                {script} }})"
        ))
    }

    /// The figures of these events and workers.
    #[track_caller]
    fn figures(&mut self, events: &str, workers: &str) -> Value {
        self.run(&format!(
            "const units = history.histories({events}); const workers = {workers}; \
             history.close(units, workers, now); return history.figures(units, workers, now);"
        ))
    }
}

#[test]
fn the_figures_are_those_of_the_last_24_hours() {
    let world = World::new();
    let mut functions = Functions::load(&world);
    assert_eq!(
        functions.figures("[]", "[]"),
        json!({"failures": 0, "healed": 0, "recovered": 0, "needYou": 0}),
        "no median where nothing has failed"
    );
    // Failed yesterday and healed today; failed and came back twice; down, with attempts to come; given up; started by
    // hand without having failed.
    let events = "[
        event('long', 'detected', 1500), event('twice', 'detected', 700), event('twice', 'starting', 700),
        event('twice', 'healed', 699, { downtime_ms: 14 }), event('long', 'healed', 600, { downtime_ms: 54_000_000 }),
        event('twice', 'detected', 300), event('twice', 'recovered', 299, { downtime_ms: 20 }),
        event('down', 'detected', 30), event('down', 'starting', 30), event('down', 'failed', 29),
        event('lost', 'detected', 20), event('lost', 'gave-up', 10),
        event('asked', 'starting', 5), event('asked', 'healed', 5, { downtime_ms: 3 }),
        event('', 'held', 4),
    ]";
    let workers = "[
        { unit: 'long', phase: 'up', healthy: true }, { unit: 'twice', phase: 'up', healthy: true },
        { unit: 'down', phase: 'waiting', state: 'failed', healthy: false },
        { unit: 'lost', phase: 'gave-up', state: 'failed', healthy: false },
        { unit: 'meant', phase: 'held', state: 'failed', healthy: false, on_purpose: true },
    ]";
    assert_eq!(
        functions.figures(events, workers),
        json!({"failures": 4, "healed": 2, "recovered": 1, "median": 20, "needYou": 1})
    );
    // Of an even number it is between the two in the middle.
    let events = "[14, 20].flatMap((time) => [event('twice', 'detected', 9), event('twice', 'healed', 8, { downtime_ms: time })])";
    assert_eq!(functions.figures(events, "[]")["median"], 17);
}

#[test]
fn the_strip_on_top_tells_what_failed_what_came_back_and_what_is_left_to_you() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    let figure = |name: &str| format!("document.querySelector('#figures [data-key={name}] dd').innerText");
    browser.wait(&format!("{} === '0'", figure("failures")));
    assert_eq!(browser.run(&figure("median")), "–");
    // Of the time before the daemon's start it knows nothing, and claims nothing.
    assert!(browser.text("#figures h2").starts_with("Since "), "{}", browser.text("#figures"));
    world.crash(MAIL);
    browser.wait(&format!("{} === '1' && {} === '1'", figure("failures"), figure("healed")));
    browser.wait(&format!("/^\\d+m?s$/.test({})", figure("median")));
    break_down(&world);
    browser.wait(&format!("{} === '3' && {} === '2'", figure("failures"), figure("need-you")));
    assert!(browser.text("#figures").contains("need you"));
    repair(&world);
    assert_eq!(world.run(&["heal", QUEUE]).status, 0);
    browser.wait(&format!("{} === '2' && {} === '1'", figure("healed"), figure("need-you")));
    assert_eq!(browser.complaints, [""; 0]);
}
