//! Other operations on the page: pausing and explaining, by mouse and keyboard; and a daemon that ends and comes back.

use crate::common::{DAEMON, LIVES, Ran, SOON, World};
use crate::dashboard::axe;
use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{MAIL, QUEUE, VITE, break_down, repair, world};

/// A page that shows all three workers, and would lose `window.same` if it were reloaded.
fn shown(world: &World) -> (Page, Browser) {
    let page = Page::start(world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelectorAll('.card').length === 3");
    browser.run("window.same = true");
    (page, browser)
}

#[track_caller]
fn unharmed(browser: &mut Browser) {
    assert_eq!(browser.run("window.same"), true, "it was loaded anew");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_worker_a_site_and_everything_can_be_paused_and_resumed() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    let paused = || world.run(&["status"]).out.lines().filter(|it| it.starts_with("Paused ")).collect::<String>();

    browser.click(&format!("[data-unit={QUEUE}] [data-act=pause]"));
    browser.click("#pause [data-for='30m']");
    browser.wait("document.querySelector('#notices').innerText.includes('You paused myapp/queue for another 30m.')");
    assert!(paused().starts_with("Paused myapp/queue until "), "{}", paused());
    browser.click(&format!("[data-unit={QUEUE}] [data-act=pause]"));
    browser.wait("document.querySelector('#notices').children.length === 0");
    assert_eq!(paused(), "");

    browser.click("[aria-label='Pause site shop']");
    browser.click("#pause [data-for='1h']");
    browser.wait("document.querySelector('#notices').innerText.includes('You paused the site shop for another 1h.')");
    assert!(paused().starts_with("Paused the site shop until "), "{}", paused());
    browser.click("#notices [aria-label='Resume shop']");
    browser.wait("document.querySelector('#notices').children.length === 0");

    browser.click("#pause-all");
    browser.click("#pause [data-for='']");
    browser.wait("document.querySelector('#notices').innerText.includes('You paused everything until you resume it.')");
    browser.wait("document.title === 'Paused – workerheal'");
    assert_eq!(paused(), "Paused everything until you resume it");
    // Failed workers now stay down, and are not highlighted.
    world.crash_for_good([MAIL]);
    browser.wait(&format!("document.querySelector('[data-unit={MAIL}] .word').innerText === 'held (failed)'"));
    assert_eq!(browser.text("#banner"), "");
    browser.click("[aria-label='Resume everything']");
    browser.wait(&format!("document.querySelector('[data-unit={MAIL}] .word').innerText === 'up'"));
    assert_eq!(paused(), "");
    unharmed(&mut browser);
}

#[test]
fn a_rejected_configuration_is_shown_until_it_is_valid_again() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    world.config("heal:\n  backof: {}\n");
    browser.wait("document.querySelector('#notices .bad')?.innerText.includes('The configuration cannot be used')");
    assert!(browser.text("#notices").contains("did you mean `backoff`"));
    browser.picture("configuration-rejected-light");
    world.config("refresh: 100ms\n");
    browser.wait("document.querySelector('#notices').children.length === 0");
    unharmed(&mut browser);
}

#[test]
fn a_worker_is_stopped_after_confirmation_and_stays_stopped() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    browser.click(&format!("[data-unit={MAIL}] [data-act=stop]"));
    browser.wait("document.querySelector('#stop-title').innerText === 'Stop shop/mail?'");
    browser.picture("stop-light");
    browser.click("#stop-no");
    browser.wait("!document.querySelector('#stop').open");
    world.wait_for_state(&format!("{MAIL}.service"), "active", SOON);
    browser.click(&format!("[data-unit={MAIL}] [data-act=stop]"));
    browser.click("#stop-yes");
    browser.wait("!document.querySelector('#stop').open");
    browser.wait(&format!("document.querySelector('[data-unit={MAIL}] .word').innerText === 'stopped'"));
    world.wait_for_state(&format!("{MAIL}.service"), "inactive", SOON);
    browser.click(&format!("[data-unit={MAIL}] [data-act=heal]"));
    browser.wait(&format!("document.querySelector('[data-unit={MAIL}] .word').innerText === 'up'"));
    unharmed(&mut browser);
}

#[test]
fn a_card_shows_the_last_downtime_and_whole_lines_of_the_error() {
    let world = world();
    let long = "word ".repeat(60);
    let says = format!("test ! -e %h/loud && exec sleep infinity; echo {long} >&2; sleep 0.2; exit 1");
    world.worker(VITE, &format!("ExecStart=sh -c '{says}'"));
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    world.crash(QUEUE);
    browser.wait(&format!("/^healed in \\d+/.test(document.querySelector('[data-unit={QUEUE}] .healed').innerText)"));
    world.write_file("loud", "");
    world.crash(VITE);
    browser.wait(&format!("document.querySelector('[data-unit={VITE}] .word').innerText.startsWith('gave-up')"));
    let error = format!("document.querySelector('[data-unit={VITE}] .last-error')");
    browser.wait(&format!("{error}.innerText.includes('word word')"));
    browser.picture("long-error-light");
    let lines = browser.run(&format!("{error}.clientHeight / parseFloat(getComputedStyle({error}).lineHeight)"));
    let lines = lines.as_f64().expect("it is a number");
    assert!(lines > 1.0 && (lines - lines.round()).abs() < 0.1, "{lines} lines");
    unharmed(&mut browser);
}

#[test]
fn an_explanation_can_be_opened() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    break_down(&world);
    browser.wait("document.querySelectorAll('#failing li').length === 2");
    browser.click(&format!("[data-unit={QUEUE}] [data-act=explain]"));
    browser.wait("document.querySelectorAll('#explain .chain li').length > 2");
    let reported = browser.text("#explain");
    let explained = world.run(&["explain", QUEUE]).out;
    let answer = browser.text("#explain .answer");
    assert!(explained.contains(&answer) && answer.len() > 20, "{answer}\n{explained}");
    assert!(reported.contains("myapp/queue") && reported.contains("workerheal heal myapp/queue"), "{reported}");
    browser.key("Escape");
    browser.wait("!document.querySelector('#explain').open");
    // The focus returns.
    assert_eq!(browser.run("document.activeElement.ariaLabel"), "Explain myapp/queue");
    unharmed(&mut browser);
}

#[test]
fn the_log_of_a_worker_is_followed_until_its_dialog_is_closed() {
    let world = World::new();
    world.workers([QUEUE, MAIL]);
    world.worker(
        VITE,
        "ExecStart=sh -c 'echo \"<b>begun</b>\"; until test -e %h/more; do sleep 0.05; done; echo more; sleep infinity'",
    );
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    browser.click(&format!("[data-unit={VITE}] [data-act=explain]"));
    browser.wait("document.querySelector('#lines').innerText.includes('<b>begun</b>')");
    world.write_file("more", "");
    browser.wait("/\\d\\s*more$/.test(document.querySelector('#lines [data-by=worker]:last-child')?.innerText)");
    browser.picture("log-light");
    // No reader is left.
    let readers = || Ran::of(world.command("pgrep").args(["-c", "journalctl"])).out;
    world.wait_until("the reader alone", SOON, || (readers().trim() == "1").then_some(()));
    browser.key("Escape");
    world.wait_until("the end of the reader", SOON, || (readers().trim() == "0").then_some(()));
    // Only workers have a log here.
    let strange =
        "fetch('/api/workers/dbus.service/log', {headers: {'x-workerheal-token': localStorage.getItem('token')}})";
    assert_eq!(browser.run(&format!("{strange}.then((answer) => answer.status)")), 404);
    unharmed(&mut browser);
}

#[test]
fn the_page_can_be_used_with_the_keyboard_alone() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    break_down(&world);
    browser.wait("document.querySelectorAll('#failing li').length === 2");
    repair(&world);
    let mut path = Vec::new();
    let mut reach = |browser: &mut Browser, name: &str| {
        for _ in 0..30 {
            browser.key("Tab");
            let at = browser.run("document.activeElement.ariaLabel ?? document.activeElement.innerText");
            let visible = browser.run("getComputedStyle(document.activeElement).outlineStyle !== 'none'");
            assert_eq!(visible, true, "the focus on {at} is not visible");
            path.push(at.clone());
            if at == name {
                return;
            }
        }
        panic!("the keyboard does not get to {name}: {path:?}");
    };
    reach(&mut browser, "Explain myapp/vite");
    browser.key("Enter");
    browser.wait("document.querySelectorAll('#explain .chain li').length > 2");
    browser.key("Escape");
    reach(&mut browser, "Pause site shop");
    browser.key("Enter");
    browser.wait("document.activeElement.innerText === '30 minutes'");
    browser.key("Tab");
    browser.key("Enter");
    browser.wait("document.querySelector('#notices').innerText.includes('You paused the site shop for another 1h.')");
    // One full round.
    browser.run("document.activeElement.blur()");
    browser.run("document.querySelector('#main').focus()");
    reach(&mut browser, "Heal all");
    browser.key("Enter");
    browser.wait("document.querySelector('#banner-title').innerText === 'Healed 2 workers.'");
    reach(&mut browser, "Close");
    browser.key("Enter");
    browser.wait("document.querySelector('#banner').hidden");
    unharmed(&mut browser);
}

#[test]
fn the_page_reconnects_to_a_restarted_daemon() {
    let world = world();
    world.start_daemon();
    let (_page, mut browser) = shown(&world);
    world.crash(QUEUE);
    browser.wait("document.querySelector('#log').innerText.includes('myapp/queue is up again')");
    world.stop_unit(DAEMON);
    browser.wait("!document.querySelector('#gone').hidden");
    let said = browser.text("#gone");
    assert!(said.contains("The daemon is gone") && said.contains("systemctl --user start workerheal"), "{said}");
    assert_eq!(browser.run("document.title"), "Daemon gone – workerheal");
    browser.picture("gone-light");
    // Changes in the meantime cause no event, and are visible after reconnecting.
    world.control(&["disable", "--now", MAIL]);
    world.start_unit(DAEMON);
    browser.wait("document.querySelector('#gone').hidden");
    browser.wait("document.title === 'workerheal'");
    browser.wait(&format!("document.querySelector('[data-unit={MAIL}] .word')?.innerText !== 'up'"));
    world.crash(QUEUE);
    browser.wait("document.querySelector('#log').innerText.split('myapp/queue is up again').length === 3");
    unharmed(&mut browser);
}

#[test]
fn an_empty_page_says_how_to_begin_and_shows_added_workers() {
    let world = World::new();
    world.registry("sites: []\n");
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelector('#nothing').checkVisibility()");
    let says = browser.text("#nothing");
    let config = world.path(".config/workerheal/config.yaml");
    assert!(says.contains(&format!("no units in {config}")) && says.contains("workerheal init"), "{says}");
    axe::load(&mut browser);
    for (width, device) in [(360, "phone"), (1280, "wide")] {
        browser.size(width, 800);
        axe::check(&mut browser, &format!("nothing to watch, {device}"));
        browser.picture(&format!("nothing-light-{device}"));
    }
    // Follows the shown instructions.
    world.worker("my-bot", LIVES);
    world.config("also_watch:\n  - \"my-bot.service\"\n");
    browser.wait("document.querySelector('[data-unit=my-bot] .word')?.innerText === 'up'");
    assert_eq!(browser.text("#nothing"), "");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_page_without_a_daemon_waits_for_one() {
    let world = world();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelector('#gone').innerText.includes('The daemon is gone')");
    world.start_daemon();
    browser.wait("document.querySelectorAll('.card').length === 3");
    browser.wait("document.querySelector('#gone').hidden");
}

#[test]
fn a_reload_a_second_tab_and_a_later_run_work() {
    let world = world();
    world.start_daemon();
    let (page, mut browser) = shown(&world);
    browser.call("Page.reload", serde_json::json!({}));
    browser.wait("window.same === undefined && document.querySelectorAll('.card').length === 3");
    browser.new_tab();
    browser.open(&format!("http://{}/", page.host));
    browser.wait("document.querySelectorAll('.card').length === 3");
    // A later run at the same address has other secrets: the old page says so, and the new address suffices.
    let host = page.host.clone();
    drop(page);
    browser.wait("document.querySelector('#gone').innerText.includes('The dashboard is gone')");
    let page = Page::at(&world, &host);
    browser.wait("document.querySelector('#gone').innerText.includes('This page is of an earlier dashboard')");
    browser.open(&page.url);
    browser.wait("document.querySelectorAll('.card').length === 3");
}
