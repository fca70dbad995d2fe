//! Past events on the page: the figures of the last 24 hours, and a bar for each worker.

use serde_json::Value;

use crate::common::World;
use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{MAIL, QUEUE, VITE, break_down, repair, world};

/// The page's functions, run in a browser: `history`, a fixed `now`, `ago(minutes)`, and `event(unit, phase, minutes
/// ago, more)`.
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

    /// The 48 half hours of a worker, a letter each: `.` no failure, `d` down for less than half of it, `D` for more,
    /// `s` stopped, `?` unknown; then the minutes of downtime, and the minutes that are known.
    #[track_caller]
    fn bar(&mut self, events: &str, worker: &str, since: u32, gaps: &str) -> String {
        let bar = self.run(&format!(
            "const units = history.histories({events}); const worker = {{ unit: 'w', healthy: true, phase: 'up', {worker} }}; \
             history.close(units, [worker], now); \
             const {{ marks, down, known }} = \
                 history.bar(units.get('w'), worker, {{ since: ago({since}), gaps: {gaps}, now }}); \
             const letters = {{ up: '.', stopped: 's', unknown: '?' }}; \
             return `${{marks.map((mark) => letters[mark] ?? (mark.down < 0.5 ? 'd' : 'D')).join('')}} \
                 ${{Math.round(down / 60_000)}}/${{known / 60_000}}`"
        ));
        bar.as_str().expect("it is text").to_owned()
    }
}

#[test]
fn a_bar_shows_downtime_and_marks_unknown_times() {
    let world = World::new();
    let mut functions = Functions::load(&world);
    // It is ten minutes past twelve: the last mark is incomplete, and the first one began 23 h 40 min ago.
    let (unknown, up) = (|marks: usize| "?".repeat(marks), |marks: usize| ".".repeat(marks));
    assert_eq!(functions.bar("[]", "", 3000, "[]"), format!("{} 0/1420", up(48)));
    assert_eq!(functions.bar("[]", "", 100, "[]"), format!("{}{} 0/100", unknown(44), up(4)), "the daemon is younger");
    assert_eq!(functions.bar("[]", "", 1, "[]"), format!("{}. 0/1", unknown(47)), "how it is now is known");
    let up_since = "up_since: new Date(ago(1000)).toISOString()";
    assert_eq!(
        functions.bar("[]", up_since, 100, "[]"),
        format!("{}{} 0/1000", unknown(14), up(34)),
        "the service manager knows that it has been up since before"
    );
    let gap = "[[ago(250), ago(130)]]";
    assert_eq!(functions.bar("[]", "", 700, gap), format!("{}{}????{} 0/580", unknown(24), up(15), up(5)));
    assert_eq!(functions.bar("[]", up_since, 700, gap), format!("{}{} 0/1000", unknown(14), up(34)));

    let healed = "[event('w', 'detected', 200), event('w', 'healed', 140, { downtime_ms: 3_600_000 })]";
    assert_eq!(functions.bar(healed, "", 600, "[]"), format!("{}{}dDD..... 60/600", unknown(27), up(13)));
    let short = "[event('w', 'detected', 200), event('w', 'healed', 140, { downtime_ms: 60_000 })]";
    assert_eq!(
        functions.bar(short, "", 600, "[]"),
        format!("{}{}d{} 1/600", unknown(27), up(13), up(7)),
        "the rest of the time it was up, and had to stay so"
    );
    let for_a_moment = "[event('w', 'detected', 15), event('w', 'healed', 15, { downtime_ms: 12 })]";
    assert_eq!(functions.bar(for_a_moment, "", 600, "[]"), format!("{}{}d. 0/600", unknown(27), up(19)));
    let before_the_daemon = "[event('w', 'healed', 600, { downtime_ms: 3_600_000 })]";
    assert_eq!(functions.bar(before_the_daemon, "", 600, "[]"), format!("{}DDd{} 60/660", unknown(25), up(20)));

    let failing = "phase: 'gave-up', state: 'failed', healthy: false";
    let lost = "[event('w', 'detected', 200), event('w', 'gave-up', 190)]";
    assert_eq!(functions.bar(lost, failing, 600, "[]"), format!("{}{}dDDDDDDD 200/600", unknown(27), up(13)));
    assert_eq!(
        functions.bar("[event('w', 'detected', 300)]", failing, 600, "[[ago(250), ago(150)]]"),
        format!("{}{}DD???DDDDDD 200/500", unknown(27), up(10)),
        "what it did without a daemon is not known"
    );
    let stopped = "[event('w', 'detected', 300), event('w', 'stopped', 200)]";
    assert_eq!(
        functions.bar(stopped, "phase: 'stopped'", 600, "[]"),
        format!("{}{}DDDDsssssss 100/600", unknown(27), up(10))
    );
    let started_again = "[event('w', 'stopped', 300), event('w', 'detected', 200, { reason: 'expected-but-stopped' }), \
          event('w', 'starting', 200), event('w', 'healed', 199, { downtime_ms: 3 })]";
    assert_eq!(
        functions.bar(started_again, "", 600, "[]"),
        format!("{}{}ssss{} 0/600", unknown(27), up(10), up(7)),
        "a start that was asked for is no failure"
    );
    assert_eq!(functions.bar("[]", "phase: 'stopped'", 600, "[]"), format!("{} 0/0", unknown(48)), "nor since when");
}

#[test]
fn the_figures_count_failures_recoveries_and_open_problems() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    let figure = |name: &str| format!("document.querySelector('#figures [data-key={name}] dd').innerText");
    browser.wait(&format!("{} === '0'", figure("failures")));
    assert_eq!(browser.run(&figure("median")), "–");
    // The time before the daemon's start is unknown.
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
    // The bars have descriptions: with a failure, without one, and for a day that is not fully known.
    let bar = |unit: &str| format!("document.querySelector('[data-unit={unit}] .bar title').textContent");
    browser.wait(&format!("/^Down for .* that are known, in 1 failure$/.test({})", bar(MAIL)));
    browser.wait(&format!("/^Down for .* that are known, in 1 failure$/.test({})", bar(VITE)));
    browser.wait(&format!("document.querySelector('[data-unit={VITE}] .bar path.down')"));
    browser.wait(&format!("document.querySelector('[data-unit={VITE}] .bar path.unknown')"));
    assert_eq!(browser.complaints, [""; 0]);
}
