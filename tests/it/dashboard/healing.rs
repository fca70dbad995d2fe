//! A worker fails, and is healed on the page.

use serde_json::json;

use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{break_down, repair, world};

#[test]
fn a_failure_appears_and_is_healed_without_a_reload() {
    let world = world();
    // The heal takes long enough to be visible on a busy machine.
    world.config("refresh: 100ms\nheal: {stable_after: 2s, give_up_after: 3, backoff: {initial: 50ms}}\n");
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelectorAll('.card[data-tone=good]').length === 3");
    assert_eq!(browser.run("location.href"), format!("http://{}/", page.host));
    assert_eq!(browser.text("#banner"), "");
    assert_eq!(browser.run("document.title"), "workerheal");
    let icon = browser.run("document.querySelector('#icon').href");
    browser.run("window.same = true");
    browser.picture("well-light");

    break_down(&world);
    browser.wait("document.querySelector('#banner-title').textContent === '2 workers are failing'");
    browser.wait("document.querySelectorAll('.card[data-tone=bad]').length === 2");
    // A tab in the background shows it by its title and another icon.
    browser.wait("document.title === '(2) failing – workerheal'");
    assert_ne!(browser.run("document.querySelector('#icon').href"), icon);
    browser.picture("failing-light");
    repair(&world);
    browser.click("#heal");
    browser.wait("document.querySelectorAll('#progress li[data-step=starting]').length > 0");
    browser.picture("healing-light");
    browser.wait("document.querySelectorAll('#progress li[data-step=healed]').length === 2");
    browser.wait("document.querySelector('#banner-title').textContent === 'Healed 2 workers.'");
    browser.wait("document.querySelectorAll('.card[data-tone=good]').length === 3");
    browser.picture("healed-light");
    assert_eq!(browser.text("#heal"), "");
    assert_eq!(browser.run("[document.title, document.querySelector('#icon').href]"), json!(["workerheal", icon]));
    browser.click("#dismiss");
    browser.wait("document.querySelector('#banner').hidden");
    assert_eq!(browser.run("window.same"), true);
    assert_eq!(browser.complaints, [""; 0]);
}
