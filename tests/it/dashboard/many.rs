//! The page with many workers: lines, collapsed by site, that can be searched and filtered.

use serde_json::json;

use crate::common::World;
use crate::dashboard::axe;
use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{break_down, repair, world};

/// 43 workers: 41 of the site `shop`, and two of `myapp` that can be broken.
fn many() -> (World, Page, Browser) {
    let world = world();
    let units: [String; 40] = std::array::from_fn(|number| format!("lerd-w{number:02}-shop"));
    world.workers(units.each_ref().map(String::as_str));
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelector('[aria-label=shop] .count')?.innerText === '41 workers, all up'");
    (world, page, browser)
}

const CARDS: &str = "document.querySelectorAll('.card').length";

#[test]
fn many_workers_are_lines_that_can_be_searched() {
    let (world, _page, mut browser) = many();
    browser.click("#fold-all");
    browser.wait(&format!("{CARDS} === 43"));
    let height = browser.run("document.querySelector('#sites').offsetHeight");
    assert!(height.as_f64().is_some_and(|height| height < 2500.0), "{height}");
    break_down(&world);
    assert_eq!(world.run(&["pause", "shop/w03"]).status, 0);
    browser.wait("document.querySelectorAll('.card[data-tone=bad]').length === 2");
    browser.wait("document.querySelectorAll('#notices .notice').length === 1");
    axe::load(&mut browser);
    for (width, device) in [(360, "phone"), (1280, "wide")] {
        browser.size(width, 900);
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            axe::check(&mut browser, &format!("a list in {scheme}, {device}"));
            browser.picture(&format!("many-{scheme}-{device}"));
        }
    }
    browser.key("/");
    browser.wait("document.activeElement.id === 'search'");
    browser.call("Input.insertText", json!({"text": "shop w1"}));
    browser.wait(&format!("{CARDS} === 10"));
    assert_eq!(browser.text("#found"), "10 of 43");
    browser.call("Input.insertText", json!({"text": "x"}));
    browser.wait("document.querySelector('#no-workers').innerText === 'No worker matches.'");
    browser.key("Escape");
    browser.wait(&format!("{CARDS} === 43"));
    assert_eq!(browser.text("#found"), "");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn sites_begin_collapsed_and_failures_are_shown() {
    let (world, _page, mut browser) = many();
    assert_eq!(browser.run(CARDS), 0);
    break_down(&world);
    browser.wait("document.querySelector('[aria-label=myapp] .count').innerText === '2 of 2 failing'");
    browser.wait(&format!("{CARDS} === 2"));
    // Only failed workers, and only the others.
    browser.click("#states [data-key=failing]");
    browser.wait("document.querySelector('#found').innerText === '2 of 43'");
    browser.click("#states [data-key=up]");
    browser.wait(&format!("{CARDS} === 41"));
    browser.click("#states [data-key=all]");
    browser.wait(&format!("{CARDS} === 2"));
    // A group that was opened automatically does not close; one that the user closes stays closed.
    repair(&world);
    assert_eq!(world.run(&["heal"]).status, 0);
    browser.wait("document.querySelector('[aria-label=myapp] .count').innerText === '2 workers, all up'");
    assert_eq!(browser.run(CARDS), 2);
    browser.click("[aria-label=myapp] [data-act=fold]");
    browser.wait(&format!("{CARDS} === 0"));
    break_down(&world);
    browser.wait("document.querySelector('[aria-label=myapp] .count').innerText === '2 of 2 failing'");
    assert_eq!(browser.run(CARDS), 0);
    browser.click("[aria-label=shop] [data-act=fold]");
    browser.wait(&format!("{CARDS} === 41"));
    assert_eq!(browser.run("document.querySelector('[aria-label=shop] [data-act=fold]').ariaExpanded"), "true");
    assert_eq!(browser.complaints, [""; 0]);
}
