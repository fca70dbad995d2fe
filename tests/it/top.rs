//! `workerheal top` on a real terminal (tmux), with the real daemon.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use crate::common::{DAEMON, Ran, SOON, WORKERHEAL, World};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";

/// A terminal with a shell in it.
struct Terminal<'a>(&'a World);

impl<'a> Terminal<'a> {
    /// With `workerheal top` on it.
    fn with_top(world: &'a World, columns: u16, rows: u16) -> Self {
        let terminal = Self::with_shell(world, columns, rows);
        terminal.run(&format!("{WORKERHEAL} top"));
        terminal
    }

    fn with_shell(world: &'a World, columns: u16, rows: u16) -> Self {
        let terminal = Self(world);
        world.write_file("tmux.conf", "set -g status off\n");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, "env PS1='ready> ' sh -i"]);
        terminal.wait_for("a prompt", |screen| screen.contains("ready>"));
        terminal
    }

    /// Types a command.
    #[track_caller]
    fn run(&self, command: &str) {
        self.tmux(&["send-keys", "-l", command]);
        self.keys(&["Enter"]);
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        let (socket, settings) = (self.0.path("tmux"), self.0.path("tmux.conf"));
        let mut command = self.0.command("tmux");
        let ran = Ran::of(command.args(["-S", &socket, "-f", &settings]).args(args));
        assert_eq!(ran.status, 0, "tmux {args:?}: {ran:?}");
        ran.out
    }

    #[track_caller]
    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The content of the screen.
    #[track_caller]
    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the content of the screen satisfies this.
    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let begin = std::time::Instant::now();
        while begin.elapsed() < SOON {
            screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
        }
        panic!("no {what} within {SOON:?}; on the screen is:\n{screen}");
    }

    /// Waits for a line with all these texts.
    #[track_caller]
    fn wait_for_line(&self, texts: &[&str]) -> String {
        self.wait_for(&format!("line with {texts:?}"), |screen| has_line(screen, texts))
    }

    /// Waits until the shell has the terminal back, with its earlier content.
    #[track_caller]
    fn wait_until_it_is_given_back(&self) {
        self.wait_for("prompt below the command", |screen| {
            screen.contains(" top") && screen.trim_end().ends_with("ready>")
        });
        let state = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"]);
        assert_eq!(state.trim(), "0 1 0", "the other screen, no cursor, or the mouse");
        self.run("stty -a | tr ' ' '\\n' | grep -xE -e '-?(icanon|echo|isig);?' | xargs echo settings");
        self.wait_for_line(&["settings isig icanon echo"]);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // Otherwise it ends with the sandbox.
        let socket = self.0.path("tmux");
        let _ = self.0.command("tmux").args(["-S", &socket, "kill-server"]).output();
    }
}

fn has_line(screen: &str, texts: &[&str]) -> bool {
    screen.lines().any(|line| texts.iter().all(|text| line.contains(text)))
}

fn mend(world: &World) {
    std::fs::remove_file(world.home().join("broken")).expect("it is there");
}

#[test]
fn a_worker_is_listed_explained_and_healed() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 80, 24);
    // On a busy machine, the first list may not have an uptime.
    terminal.wait_for_line(&["queue", "waiting", "1", "in 4m "]);
    terminal.wait_for_line(&["2 workers: 1 waiting, 1 up"]);
    terminal.wait_for_line(&["vite", "up", "<1m"]);
    terminal.wait_for_line(&["scheduled", "myapp/queue will be started again in 5m"]);
    // It is the first, and therefore selected.
    terminal.wait_for_line(&["── myapp/queue (lerd-queue-myapp)"]);
    terminal.wait_for_line(&["waiting (failed), tried once, again in 4m "]);

    terminal.keys(&["Enter"]);
    terminal.wait_for_line(&["myapp/queue has failed, and is tried again in"]);
    terminal.keys(&["Escape"]);
    terminal.wait_for_line(&["── events"]);

    terminal.keys(&["h"]);
    terminal.wait_for_line(&["✗ myapp/queue could not be healed: "]);
    mend(&world);
    terminal.keys(&["h"]);
    terminal.wait_for_line(&["✓ myapp/queue is up again, and has stayed up."]);
    terminal.wait_for_line(&["queue", "up", "<1m"]);
    terminal.wait_for_line(&["healed", "myapp/queue is up again"]);
    terminal.keys(&["H"]);
    terminal.wait_for_line(&["✓ No unhealthy workers."]);
}

#[test]
fn one_key_heals_all_unhealthy_workers() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 100, 30);
    terminal.wait_for_line(&["queue", "waiting"]);
    mend(&world);
    terminal.keys(&["H"]);
    terminal.wait_for_line(&["Heal 1 unhealthy worker now"]);
    terminal.keys(&["y"]);
    terminal.wait_for_line(&["✓ myapp/queue is up again, and has stayed up."]);
    world.wait_for_state("lerd-queue-myapp.service", "active", SOON);
}

#[test]
fn a_worker_is_stopped_after_confirmation_and_stays_stopped() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["▸ myapp/queue", "◐ waiting"]);
    terminal.keys(&["Down", "s"]);
    terminal.wait_for_line(&["Stop shop/vite? It stays stopped"]);
    terminal.keys(&["n"]);
    terminal.wait_for("list without the question", |screen| !screen.contains("It stays stopped"));
    world.wait_for_state("lerd-vite-shop.service", "active", SOON);
    terminal.keys(&["s", "y"]);
    terminal.wait_for_line(&["✓ Stopped shop/vite; it stays stopped until you start it (h)."]);
    terminal.wait_for_line(&["shop/vite", "○ stopped", "you stopped it"]);
    world.wait_for_state("lerd-vite-shop.service", "inactive", SOON);
    terminal.keys(&["h"]);
    terminal.wait_for_line(&["shop/vite", "● up"]);
}

#[test]
fn trouble_is_listed_first_and_intended_states_are_not_highlighted() {
    let world = World::with_a_waiting_worker(VITE, QUEUE);
    let terminal = Terminal::with_top(&world, 160, 50);
    // It belongs to the second site.
    let screen = terminal.wait_for_line(&["▸ shop/vite", "◐ waiting", "again in 4m "]);
    let at = |name: &str| screen.lines().position(|line| line.contains(name)).expect("it is there");
    assert!(at("shop/vite") < at("myapp/queue"), "{screen}");
    assert_eq!(world.run(&["pause", "shop"]).status, 0);
    terminal.wait_for_line(&["shop/vite", "○ held", "you paused the site shop  "]);
}

#[test]
fn a_worker_and_a_site_are_paused_and_resumed() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["queue", "waiting"]);
    terminal.keys(&["p"]);
    terminal.wait_for_line(&["Pause healing"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for_line(&["✓ You paused myapp/queue until you resume it."]);
    terminal.wait_for_line(&["queue", "○ held", "you paused"]);
    terminal.keys(&["r"]);
    terminal.wait_for_line(&["✓ You resumed myapp/queue."]);
    terminal.wait_for_line(&["queue", "waiting", "in 4m "]);

    terminal.keys(&["Down"]);
    terminal.wait_for_line(&["▸", "vite"]);
    terminal.keys(&["p", "Tab", "Down", "Enter"]);
    terminal.wait_for_line(&["✓ You paused the site shop for 15m."]);
    terminal.keys(&["o"]);
    terminal.wait_for_line(&["shop  1 worker  paused for another 15m"]);
    assert_eq!(world.run(&["status", "--json"]).json()[1]["reason"], "you paused the site shop");
    terminal.keys(&["r"]);
    terminal.wait_for_line(&["✓ You resumed the site shop."]);
    terminal.keys(&["r"]);
    terminal.wait_for_line(&["✗ shop/vite is not paused."]);

    // Changes by other clients are visible too.
    assert_eq!(world.run(&["pause"]).status, 0);
    terminal.wait_for_line(&["You paused everything: nothing is healed until you resume it."]);
}

#[test]
fn a_click_selects_a_worker_and_shows_its_usage() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 80, 24);
    let screen = terminal.wait_for_line(&["▸ myapp/queue"]);
    let row = screen.lines().position(|line| line.contains("shop/vite")).expect("it is there") + 1;
    // A click as a terminal reports it: the button, the column and the row, from 1.
    terminal.tmux(&["send-keys", "-l", &format!("\x1b[<0;5;{row}M")]);
    terminal.wait_for_line(&["▸ shop/vite"]);
    terminal.wait_for_line(&[&format!("PID {}", world.show("lerd-vite-shop.service", "MainPID"))]);
    terminal.tmux(&["send-keys", "-l", &format!("\x1b[<64;5;{row}M")]);
    terminal.wait_for_line(&["▸ myapp/queue"]);
    terminal.keys(&["f"]);
    terminal.wait_for("list without what is up", |screen| {
        has_line(screen, &["only unhealthy"]) && !has_line(screen, &["vite", "up"])
    });
}

#[test]
fn a_wide_list_shows_the_usage_of_each_worker() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 170, 40);
    terminal.wait_for_line(&["TRIES", "PID", "MEM", "CPU", "UP FOR, OR WHY"]);
    // The other one is selected, as it is the first.
    terminal.wait_for_line(&["▸ myapp/queue", "◐ waiting"]);
    let pid = || world.show("lerd-vite-shop.service", "MainPID");
    terminal.wait_for_line(&["  shop/vite", "● up", &format!(" {} ", pid()), "<1m"]);
    world.control(&["restart", VITE]);
    terminal.wait_for_line(&["  shop/vite", "● up", &format!(" {} ", pid())]);
    terminal.tmux(&["resize-window", "-x", "159", "-y", "40"]);
    terminal.wait_for("list without the columns", |screen| screen.contains("shop/vite") && !screen.contains("MEM"));
}

#[test]
fn workers_are_filtered_and_sorted_and_the_screen_can_be_resized() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["queue", "waiting"]);
    terminal.keys(&["/", "v", "i", "t"]);
    terminal.wait_for("list without the queue", |screen| !screen.contains("waiting  ") && screen.contains("vite"));
    terminal.wait_for_line(&["filter: vit"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for_line(&["2 workers", "filter: vit"]);
    terminal.keys(&["Escape"]);
    terminal.wait_for_line(&["queue", "waiting"]);
    terminal.keys(&["o"]);
    terminal.wait_for_line(&["by site"]);
    // The selection does not change.
    terminal.wait_for_line(&["▸   vite", "up"]);

    terminal.tmux(&["resize-window", "-x", "200", "-y", "60"]);
    let screen = terminal.wait_for_line(&["── why, as of"]);
    assert!(screen.lines().all(|line| line.chars().count() <= 200), "{screen}");
    assert_eq!(screen.lines().count(), 60, "{screen}");
    terminal.tmux(&["resize-window", "-x", "30", "-y", "8"]);
    terminal.wait_for_line(&["30x8 is too small"]);
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    terminal.wait_for_line(&["vite", "up"]);
    terminal.keys(&["?"]);
    terminal.wait_for_line(&["── help"]);
}

#[test]
fn the_log_of_a_worker_is_followed() {
    let world = World::new();
    world.worker(
        QUEUE,
        "ExecStart=sh -c 'echo begun; until test -e %h/more; do sleep 0.05; done; echo more; sleep infinity'",
    );
    world.start_daemon();
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["queue", "up"]);
    terminal.keys(&["l"]);
    terminal.wait_for_line(&["── log of lerd-queue-myapp"]);
    terminal.wait_for_line(&["begun"]);
    world.write_file("more", "");
    terminal.wait_for_line(&["  more"]);
    let readers = || Ran::of(world.command("pgrep").args(["-c", "journalctl"])).out;
    terminal.keys(&["l"]);
    terminal.wait_for_line(&["── events"]);
    world.wait_until("the end of the reader", SOON, || (readers().trim() == "0").then_some(()));
}

#[test]
fn a_lost_daemon_is_shown_and_reconnected_to() {
    let world = World::new();
    world.workers([QUEUE]);
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["No daemon answers at /run/user/0/workerheal/api.sock; start it with `systemctl"]);
    world.start_daemon();
    terminal.wait_for_line(&["queue", "up"]);

    world.stop_unit(DAEMON);
    let screen = terminal.wait_for_line(&["The daemon has not answered since "]);
    assert!(has_line(&screen, &["queue", "up"]), "what was known stays: {screen}");
    terminal.keys(&["h"]);
    terminal.wait_for_line(&["✗ That needs the daemon, which does not answer."]);
    let mut events = world.start_daemon();
    terminal.wait_for_line(&["✓ The daemon answers again."]);
    terminal.wait_for("list without the banner", |screen| !screen.contains("has not answered"));
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    terminal.wait_for_line(&["healed", "myapp/queue is up again"]);
}

#[test]
fn a_rejected_configuration_is_shown_until_it_is_valid_again() {
    let world = World::new();
    world.config("refresh: 100ms\n");
    world.workers([QUEUE]);
    world.start_daemon();
    world.config("heal:\n  backof: {}\n");
    world.wait_until("the rejection", SOON, || {
        world.run(&["status"]).out.contains("The configuration cannot be used").then_some(())
    });
    let terminal = Terminal::with_top(&world, 80, 24);
    let screen = terminal.wait_for_line(&["The configuration cannot be used, an earlier one is:"]);
    assert!(screen.contains("did you mean `backoff`"), "{screen}");
    world.config("refresh: 100ms\n");
    terminal.wait_for("list without the banner", |screen| !screen.contains("cannot be used"));
}

#[test]
fn the_terminal_is_restored_however_top_ends() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    let terminal = Terminal::with_top(&world, 80, 24);
    terminal.wait_for_line(&["queue", "up"]);
    terminal.keys(&["q"]);
    terminal.wait_until_it_is_given_back();

    for signal in ["TERM", "HUP", "INT"] {
        terminal.run(&format!("{WORKERHEAL} top"));
        terminal.wait_for_line(&["queue", "up"]);
        let killed = Ran::of(world.command("pkill").args([&format!("-{signal}"), "-f", "workerheal top$"]));
        assert_eq!(killed.status, 0, "{killed:?}");
        terminal.wait_until_it_is_given_back();
    }

    terminal.run(&format!("{WORKERHEAL} top"));
    terminal.wait_for_line(&["queue", "up"]);
    terminal.keys(&["C-z"]);
    terminal.wait_until_it_is_given_back();
    terminal.run("fg");
    terminal.wait_for_line(&["queue", "up"]);
    terminal.keys(&["Down", "C-c"]);
    terminal.wait_until_it_is_given_back();
}

/// Set for this program when it runs again on a terminal.
const PANIC: &str = "PANIC_ON_THE_SCREEN";

#[test]
fn a_panic_restores_the_terminal_and_is_shown() {
    if std::env::var_os(PANIC).is_some() {
        let _screen = workerheal::top::Screen::take().expect("it is on a terminal");
        std::thread::spawn(|| panic!("something is broken")).join().expect_err("it has panicked");
        panic!("all is lost");
    }
    let world = World::new();
    let terminal = Terminal::with_shell(&world, 100, 30);
    let this = std::env::current_exe().expect("it has a path");
    let name = "top::a_panic_restores_the_terminal_and_is_shown";
    terminal.run(&format!("{PANIC}=1 RUST_BACKTRACE=0 {} --exact {name} --nocapture # top", this.display()));
    terminal.wait_for_line(&["something is broken"]);
    terminal.wait_for_line(&["all is lost"]);
    terminal.wait_until_it_is_given_back();
}

#[test]
fn top_requires_a_terminal() {
    let world = World::new();
    let ran = world.run(&["top"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(
        ran.err,
        "workerheal: top draws on a terminal, which standard output is not; `workerheal status` prints what it would show\n"
    );
    assert_eq!(ran.out, "");
}

#[test]
fn colours_are_used_only_where_wanted() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    let colours = |terminal: &Terminal<'_>| {
        terminal.wait_for_line(&["queue", "up"]);
        terminal.tmux(&["capture-pane", "-p", "-e"]).contains("38;5;2m")
    };
    let terminal = Terminal::with_top(&world, 80, 24);
    assert!(colours(&terminal));
    for command in [format!("NO_COLOR=1 {WORKERHEAL} top"), format!("{WORKERHEAL} top --color never")] {
        terminal.keys(&["q"]);
        terminal.wait_for("prompt", |screen| screen.trim_end().ends_with("ready>"));
        terminal.run(&command);
        assert!(!colours(&terminal), "{command}");
    }
}
