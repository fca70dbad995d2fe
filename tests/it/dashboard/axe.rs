//! Accessibility of the page, as axe-core checks it, and screenshots.

use std::path::Path;

use serde_json::json;

use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{VITE, break_down, world};

const AXE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/axe-core-4.14.1.min.js");
const PHONE_WIDTH: u32 = 360;

/// Loads axe into the page.
#[track_caller]
pub fn load(browser: &mut Browser) {
    assert!(Path::new(AXE).exists(), "{AXE} is missing; `make test` fetches it (tests/it/dashboard/fetch-axe.sh)");
    let axe = std::fs::read_to_string(AXE).expect("it is text");
    browser.run(&format!("{axe};0"));
}

/// Asserts that axe finds nothing, and that nothing is wider than the window.
#[track_caller]
pub fn check(browser: &mut Browser, what: &str) {
    let overflow = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow, 0, "{what} scrolls sideways");
    let script = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations.map(\
        ({id, nodes}) => `${id}: ${nodes.map(({html, failureSummary}) => html + ' ' + failureSummary).join('; ')}`))";
    assert_eq!(browser.run(script), json!([]), "{what}");
}

#[test]
fn the_page_is_accessible_in_light_and_dark_and_on_a_phone() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelectorAll('.card').length === 3");
    load(&mut browser);
    check(&mut browser, "all well");
    break_down(&world);
    let paused = world.run(&["pause", "shop", "--for", "30m"]);
    assert_eq!(paused.status, 0, "{paused:?}");
    browser.wait("document.querySelectorAll('#failing li').length === 2");
    browser.wait("document.querySelectorAll('#notices .notice').length === 1");
    browser.run("document.querySelector('details').open = true");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (width, device) in [(1280, "wide"), (PHONE_WIDTH, "phone")] {
            browser.size(width, 800);
            browser.wait("Math.abs(document.querySelector('#timeline svg').getAttribute('width') - document.querySelector('#timeline').clientWidth) < 2");
            let name = format!("failing-{scheme}-{device}");
            check(&mut browser, &name);
            browser.picture(&name);
            browser.click(&format!("[data-unit={VITE}] [data-act=explain]"));
            browser.wait("document.querySelectorAll('#explain .chain li').length > 2");
            check(&mut browser, &format!("{name}, explained"));
            browser.picture(&format!("explain-{scheme}-{device}"));
            browser.key("Escape");
            browser.wait("!document.querySelector('#explain').open");
            browser.click(&format!("[data-unit={VITE}] [data-act=pause]"));
            browser.wait("document.querySelector('#pause').open");
            check(&mut browser, &format!("{name}, about to be paused"));
            browser.picture(&format!("pause-{scheme}-{device}"));
            browser.key("Escape");
            browser.wait("!document.querySelector('#pause').open");
            browser.click(&format!("[data-unit={VITE}] [data-act=stop]"));
            browser.wait("document.querySelector('#stop').open");
            check(&mut browser, &format!("{name}, about to be stopped"));
            browser.key("Escape");
            browser.wait("!document.querySelector('#stop').open");
        }
    }
    assert_eq!(browser.complaints, [""; 0]);
}
