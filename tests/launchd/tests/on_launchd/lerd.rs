//! Jobs of Lerd as on a Mac: a worker runs a script, and only that contains its directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use workerheal_launchd::{KeepAlive, Spec};

use super::cases::{Kind, Stage};
use super::stage::{OnLaunchd, label, set_age};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";

/// How Lerd runs a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// On the Mac itself.
    Host,
    /// In the container that all sites share.
    Exec,
    /// In a container of its own, which Lerd starts with podman.
    Container,
}

/// Writes a worker's script and plist, in Lerd's order of keys.
fn write(stage: &OnLaunchd, unit: &str, directory: &str, mode: Mode) {
    let home = stage.launchd.home().display().to_string();
    let podman = format!("{home}/podman");
    // For a command in a container, or to list its processes.
    stage.write("podman", "#!/bin/sh\ncase \"$2\" in -w) cd \"$3\" || exit 126; exec sleep 1000;; esac\n");
    fs::set_permissions(stage.path("podman"), fs::Permissions::from_mode(0o755)).unwrap();
    let scripts = stage.path(".local/share/lerd/run/workers");
    let pid = scripts.join(format!("{unit}.pid")).display().to_string();
    let script = match mode {
        Mode::Host => format!(
            "#!/bin/sh\nexport PATH=\"/opt/homebrew/bin:/usr/bin:/bin:$PATH\"\ncd '{directory}' || exit 1\n\
             exec /bin/sh -c 'exec sleep 1000'\n"
        ),
        Mode::Exec | Mode::Container => format!(
            "#!/bin/sh\nif [ -f '{pid}' ] && kill -0 \"$(cat '{pid}' 2>/dev/null)\" 2>/dev/null; then\n  exit 0\nfi\n\
             {podman} exec lerd-php84-fpm sh -c 'cd '\\''/elsewhere'\\''' >/dev/null 2>&1 || true\n\
             exec {podman} exec -w '{directory}' lerd-php84-fpm php artisan queue:work\n"
        ),
    };
    let path = scripts.join(format!("{unit}.sh"));
    let arguments = match mode {
        Mode::Host | Mode::Exec => vec!["/bin/sh".to_owned(), path.display().to_string()],
        Mode::Container => {
            ["run", "-d", "--restart=always", "--name", unit, "--replace", "--workdir", directory, "image", "php"]
                .into_iter()
                .fold(vec![podman], |mut all, word| {
                    all.push(word.to_owned());
                    all
                })
        }
    };
    if mode != Mode::Container {
        stage.write(&format!(".local/share/lerd/run/workers/{unit}.sh"), &script);
        set_age(&path, Duration::from_secs(3600));
    }
    let log = Some(stage.path(&format!("Library/Logs/lerd/{unit}.log")));
    let spec = Spec {
        label: label(unit),
        program_arguments: arguments,
        run_at_load: mode != Mode::Container,
        keep_alive: (mode != Mode::Container).then_some(KeepAlive::Always(true)),
        standard_out_path: if mode == Mode::Container { Some(PathBuf::from("/dev/null")) } else { log.clone() },
        standard_error_path: log,
        ..Spec::default()
    };
    stage.write_plist(unit, &spec);
}

fn touched(stage: &OnLaunchd) -> Vec<String> {
    let verbs = ["bootout", "bootstrap", "kickstart", "enable"];
    stage.launchd.calls().into_iter().filter(|call| verbs.iter().any(|verb| call.starts_with(verb))).collect()
}

#[test]
fn a_worker_whose_directory_is_gone_is_orphaned_whatever_launchd_does_with_it() {
    for mode in [Mode::Host, Mode::Exec] {
        let stage = OnLaunchd::new();
        stage.workers(&[OTHER]);
        stage.touch("Sites/it's/file");
        let directory = stage.path("Sites/it's").display().to_string();
        write(&stage, QUEUE, &directory.replace('\'', if mode == Mode::Host { "'\"'\"'" } else { "'\\''" }), mode);
        stage.start(QUEUE);
        assert!(stage.is_up(QUEUE));
        stage.remove("Sites/it's");
        stage.crash(QUEUE);
        stage.wait_until("launchd to try in vain", || (stage.launchd.runs(&label(QUEUE)) > Some(2)).then_some(()));
        assert_eq!(stage.detect()[0]["state"], "orphaned", "{mode:?}");
        stage.start_daemon();
        let held = stage.wait("held", QUEUE);
        assert!(held.reason.contains("Sites/it's is gone"), "{held:?}");
        stage.prove_alive_with(OTHER);
        assert_eq!(touched(&stage).iter().filter(|call| call.contains(QUEUE)).count(), 0, "{mode:?}");
    }
}

#[test]
fn a_worktree_is_recognized_by_the_directory_in_the_script() {
    let stage = OnLaunchd::new();
    stage.touch("Sites/myapp/file");
    stage.touch("trees/myapp/login/file");
    stage.touch("Sites/login/file");
    let site = stage.path("Sites/myapp").display().to_string();
    let other = stage.path("Sites/login").display().to_string();
    // By its name alone it would be the worker `vite-myapp` of the site `login`.
    stage.sites(&[&format!("{{name: myapp, path: {site}}}"), &format!("{{name: login, path: {other}}}")]);
    let unit = "lerd-vite-myapp-login";
    write(&stage, unit, &stage.path("trees/myapp/login").display().to_string(), Mode::Host);
    stage.launchd.ways(|ways| ways.pends_respawns = Some("inefficient"));
    stage.start(unit);
    stage.crash(unit);
    stage.wait_for_down(&[unit]);
    let listed = stage.detect();
    assert_eq!((&listed[0]["site"], &listed[0]["worker"]), (&"myapp".into(), &"vite".into()), "{listed}");
}

#[test]
fn podman_containers_are_left_to_podman() {
    let stage = OnLaunchd::new();
    stage.workers(&[OTHER]);
    write(&stage, QUEUE, "/srv/myapp", Mode::Container);
    stage.start(QUEUE);
    assert_eq!(stage.launchd.runs(&label(QUEUE)), Some(0), "Lerd has podman run it");
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    // It was tried through launchd, and podman refused.
    stage.write("podman", "#!/bin/sh\nexit 125\n");
    stage.launchd.control(&["kickstart", &stage.target(QUEUE)]);
    stage.wait_for_down(&[QUEUE]);
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    assert_eq!((stage.detect(), stage.reported(QUEUE)), (serde_json::json!([]), vec![]));
    let output = stage.command(&["explain", QUEUE]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("podman runs it, not launchd") && said.contains("podman start lerd-queue-myapp"), "{said}");
}

#[test]
fn while_lerd_brings_a_worker_back_itself_it_is_left_to_lerd() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.wait_for_list();
    // Lerd writes the plist again, boots the job out, and loads it.
    stage.spec(QUEUE, Kind::Lives).write(&stage.plist(QUEUE));
    stage.crash(QUEUE);
    stage.wait("starting", QUEUE);
    stage.wait_for_list();
    assert_eq!(touched(&stage), [""; 0], "both were at it");
    stage.launchd.control(&["bootout", &stage.target(QUEUE)]);
    stage.wait_for_list();
    stage.launchd.control(&["bootstrap", &stage.launchd.domain(), &stage.plist(QUEUE).display().to_string()]);
    stage.wait("healed", QUEUE);
    assert_eq!((touched(&stage), stage.launchd.runs(&label(QUEUE))), (vec![], Some(1)));
}

#[test]
fn a_worker_that_lerd_loads_anew_does_not_count_as_stopped() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.wait_for_list();
    stage.spec(QUEUE, Kind::Lives).write(&stage.plist(QUEUE));
    stage.launchd.control(&["bootout", &stage.target(QUEUE)]);
    stage.wait_for_list();
    stage.launchd.control(&["bootstrap", &stage.launchd.domain(), &stage.plist(QUEUE).display().to_string()]);
    stage.prove_alive_with(OTHER);
    assert_eq!(stage.reported(QUEUE), [""; 0]);
}
