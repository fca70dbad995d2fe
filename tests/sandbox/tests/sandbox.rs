//! The guarantees that the sandbox gives to tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use workerheal_sandbox::Sandbox;

const SOON: Duration = Duration::from_secs(20);
const WORKER: &str = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";

fn start() -> Sandbox {
    Sandbox::start().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn starts_with_a_manager_a_bus_and_nothing_of_the_host() {
    let begin = Instant::now();
    let sandbox = start();
    println!("started in {:?}", begin.elapsed());

    assert_eq!(sandbox.systemctl(&["is-system-running"]).unwrap(), "running");
    assert!(sandbox.runtime_dir().join("bus").exists());
    let list = sandbox.command("busctl").args(["--user", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("org.freedesktop.systemd1 "), "{list:?}");

    let services = sandbox.systemctl(&["list-units", "--all", "--type=service,timer", "--plain", "--no-legend"]);
    assert_eq!(services.unwrap().split_whitespace().next(), Some("dbus.service"));
    let environment = sandbox.systemctl(&["show-environment"]).unwrap();
    assert!(environment.contains(&format!("HOME={}", sandbox.home().display())), "{environment}");
    assert!(!environment.contains("XDG_CONFIG_HOME"), "{environment}");
}

#[test]
fn a_killed_unit_is_seen_to_fail() {
    let sandbox = start();
    sandbox.write_unit("worker.service", WORKER);
    sandbox.enable("worker.service");
    sandbox.start_unit("worker.service");
    let active = sandbox.timestamp_usec("worker.service", "ActiveEnterTimestampMonotonic");
    assert!(active > 0);

    let mut journal = sandbox.follow_journal();
    sandbox.kill("worker.service", "KILL");
    sandbox.wait_for_state("worker.service", "failed", SOON);
    assert_eq!(sandbox.show("worker.service", "Result"), "signal");
    assert!(sandbox.timestamp_usec("worker.service", "InactiveEnterTimestampMonotonic") > active);

    let entry = journal.wait_for("the failure", SOON, |entry| entry["UNIT_RESULT"] == "signal");
    assert_eq!(entry["USER_UNIT"], "worker.service");
}

#[test]
fn the_journal_says_which_unit_wrote_what() {
    let sandbox = start();
    // It continues to run: the unit of a process that is gone before journald looks cannot be known, and until systemd
    // has moved a process into its control group, journald assigns it to the manager.
    let script = r"while echo $HOME; printf 'two\033[1m parts\377\n'; printf '<3>last\n'; do sleep 0.2; done";
    sandbox.write_file("work.sh", script);
    sandbox.write_unit("job.service", "[Service]\nExecStart=sh %h/work.sh\n");
    sandbox.start_unit("job.service");
    let home = sandbox.home();
    let lines = [home.to_str().unwrap(), "two\u{1b}[1m parts\u{fffd}", "last"];
    let mut written = Vec::new();
    sandbox.wait_until("its output", SOON, || {
        written = sandbox.journal(&["_SYSTEMD_USER_UNIT=job.service"]);
        written.windows(3).any(|it| (0..3).all(|n| it[n]["MESSAGE"] == lines[n])).then_some(())
    });
    assert!(written.iter().all(|entry| (entry["PRIORITY"] == "3") == (entry["MESSAGE"] == "last")), "{written:?}");

    let id = sandbox.show("job.service", "InvocationID");
    assert!(!sandbox.journal(&[&format!("USER_INVOCATION_ID={id}")]).is_empty());
    sandbox.stop_unit("job.service");
    let stop = ["MESSAGE_ID=de5b426a63be47a7b6ac3eaac82e2f6f", "JOB_TYPE=stop", &format!("USER_INVOCATION_ID={id}")];
    assert_eq!(sandbox.journal(&stop).len(), 1);
}

#[test]
fn a_flood_of_lines_loses_none() {
    let sandbox = start();
    // More than journald's default limit, which grows with the free space, could let through.
    sandbox.write_unit("flood.service", "[Service]\nType=oneshot\nExecStart=seq 100000\n");
    sandbox.start_unit("flood.service");
    assert_eq!(sandbox.journal(&["SYSLOG_IDENTIFIER=seq", "MESSAGE=100000"]).len(), 1);
    let all = sandbox.command("journalctl").args(["--output=cat", "SYSLOG_IDENTIFIER=seq"]).output().unwrap();
    // While a journal is being rotated, journalctl can show a line twice.
    let all = String::from_utf8(all.stdout).unwrap();
    assert_eq!(all.lines().collect::<std::collections::HashSet<_>>().len(), 100_000);
}

#[test]
fn two_side_by_side_do_not_see_each_other() {
    let (one, two) = (start(), start());
    for sandbox in [&one, &two] {
        sandbox.write_unit("worker.service", WORKER);
        sandbox.daemon_reload();
    }
    one.start_unit("worker.service");
    assert_eq!(two.show("worker.service", "ActiveState"), "inactive");
    assert!(two.journal(&["USER_UNIT=worker.service"]).is_empty());
    assert_eq!(one.journal(&["USER_UNIT=worker.service", "JOB_TYPE=start", "JOB_RESULT=done"]).len(), 1);

    drop(two);
    assert_eq!(one.show("worker.service", "ActiveState"), "active");
}

#[test]
fn the_manager_survives_reexecution_and_the_loss_of_its_bus() {
    let sandbox = start();
    sandbox.write_unit("worker.service", WORKER);
    sandbox.start_unit("worker.service");
    let pid = sandbox.show("worker.service", "MainPID");

    sandbox.daemon_reexec();
    sandbox.wait_for_state("worker.service", "active", SOON);
    let bus = sandbox.show("dbus.service", "MainPID");
    sandbox.kill_bus();
    sandbox.wait_until("a new bus", SOON, || {
        let names = sandbox.command("busctl").args(["--user", "list"]).output().unwrap();
        (names.status.success() && sandbox.show("dbus.service", "MainPID") != bus).then_some(())
    });
    assert_eq!(sandbox.show("worker.service", "MainPID"), pid);
}

#[test]
fn a_wait_that_times_out_names_its_condition_and_shows_the_state() {
    let sandbox = start();
    sandbox.write_unit("worker.service", WORKER);
    sandbox.start_unit("worker.service");
    let wait = || sandbox.wait_for_state("worker.service", "failed", Duration::from_millis(50));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait)).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    for part in ["in vain for worker.service to be failed", "loaded active running", "Started worker.service"] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let error = sandbox.systemctl(&["start", "nothing.service"]).unwrap_err().to_string();
    assert!(error.contains("nothing.service not found"), "{error}");
}

#[test]
fn killing_a_command_kills_its_program() {
    let sandbox = start();
    let mut child =
        sandbox.command("sh").args(["-c", "echo $$; exec sleep infinity"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let runs = || sandbox.command("kill").args(["-0", pid.trim()]).output().unwrap().status.success();
    assert!(runs());

    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.wait_until("its end", SOON, || (!runs()).then_some(()));
}

#[test]
fn dropped_it_leaves_nothing() {
    let sandbox = start();
    // A worker that ignores the end of its parent and uses every controller.
    let limits = "MemoryMax=1G\nTasksMax=100\nCPUWeight=50\nIOWeight=50\n";
    sandbox.write_unit("worker.service", &format!("{WORKER}[Service]\nKillMode=none\n{limits}"));
    sandbox.start_unit("worker.service");
    let child = sandbox.command("sleep").arg("infinity").spawn();
    let traces = Traces::of(sandbox.home(), &sandbox.runtime_dir());
    assert!(!traces.found().is_empty());

    drop(sandbox);
    assert_eq!(traces.found(), [""; 0]);
    child.unwrap().wait().unwrap();
}

#[test]
fn killing_its_owner_leaves_nothing() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "owner_for_another_test", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains("sandbox at ")).unwrap();
    let (_, paths) = line.split_once("sandbox at ").unwrap();
    let (home, runtime_dir) = paths.split_once(' ').unwrap();
    let traces = Traces::of(Path::new(home), Path::new(runtime_dir));
    assert!(!traces.found().is_empty());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let begin = Instant::now();
    while !traces.found().is_empty() {
        assert!(begin.elapsed() < SOON, "still there: {:?}", traces.found());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "is the process that `killing_its_owner_leaves_nothing` kills"]
fn owner_for_another_test() {
    let sandbox = start();
    println!("sandbox at {} {}", sandbox.home().display(), sandbox.runtime_dir().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let outside = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/outside.sh");
    let output = Command::new("/bin/sh").arg(outside).env("PATH", "/nowhere").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(error.trim(), "`unshare` is missing (Debian package util-linux); run tests/sandbox/install-packages.sh");
}

/// Traces of a sandbox on the host.
struct Traces {
    dir: PathBuf,
    pid_namespace: PathBuf,
}

impl Traces {
    fn of(home: &Path, runtime_dir: &Path) -> Self {
        let init: PathBuf = runtime_dir.components().take(3).collect(); // "/proc/PID"
        let pid_namespace = fs::read_link(init.join("ns/pid")).unwrap();
        Self { dir: home.parent().unwrap().into(), pid_namespace }
    }

    fn found(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let process = entry.unwrap().path();
            (fs::read_link(process.join("ns/pid")).ok()? == self.pid_namespace).then_some(process)
        });
        let name = self.dir.file_name().unwrap();
        let find = Command::new("find").arg("/sys/fs/cgroup").arg("-name").arg(name).output().unwrap();
        let cgroups = String::from_utf8(find.stdout).unwrap();
        let mut found: Vec<_> = processes.map(|path| path.display().to_string()).collect();
        found.extend(cgroups.lines().map(str::to_owned));
        found.extend(self.dir.exists().then(|| self.dir.display().to_string()));
        found
    }
}
