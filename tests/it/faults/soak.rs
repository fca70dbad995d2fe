//! Faults of every kind, one after the other, for a given time: each failure is accounted for, and the daemon needs no
//! more memory, descriptors and threads at the end than at the beginning.
//!
//! Two minutes by default; `WORKERHEAL_SOAK` says how many seconds (`make soak`: an hour). The order of the faults comes
//! from a seed, which is printed, and which `WORKERHEAL_SEED` repeats.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{DAEMON, SOON, World, service_of};
use crate::faults::{STEADY, pid, shell};

const UNITS: [&str; 6] =
    ["lerd-queue-myapp", "lerd-vite-myapp", "lerd-a-myapp", "lerd-queue-shop", "lerd-vite-shop", "lerd-b-shop"];
/// Number of faults between two checks.
const FAULTS_PER_ROUND: usize = 12;
/// Number of rounds before resources are first measured: by then it has met every kind of fault.
const WARM_UP_ROUNDS: usize = 3;

/// The daemon's use of resources.
#[derive(Debug, Clone, Copy)]
struct Needs {
    kilobytes: u64,
    descriptors: usize,
    threads: usize,
}

#[track_caller]
fn needs(world: &World) -> Needs {
    let process = format!("/proc/{}", pid(world));
    let status = shell(world, &format!("cat {process}/status"));
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let count = |of: &str| shell(world, &format!("ls {process}/{of}")).lines().count();
    Needs {
        kilobytes: memory.trim().trim_end_matches(" kB").parse().expect("it is a number"),
        descriptors: count("fd"),
        threads: count("task"),
    }
}

/// The world under faults.
struct Soak<'a> {
    world: &'a World,
    random: fastrand::Rng,
    crashes: Vec<usize>,
    /// The last killed run of each unit: a second kill before the manager has noticed is no further failure.
    killed: Vec<String>,
    followers: Vec<UnixStream>,
}

impl Soak<'_> {
    fn is_up(&self, unit: &str) -> bool {
        self.world.show(&service_of(unit), "ActiveState") == "active"
    }

    fn crash(&mut self) {
        let at = self.random.usize(..UNITS.len());
        if self.is_up(UNITS[at]) {
            let run = self.world.show(&service_of(UNITS[at]), "InvocationID");
            self.world.crash(UNITS[at]);
            self.crashes[at] += usize::from(run != self.killed[at]);
            self.killed[at] = run;
        }
    }

    fn api(&self, path: &str, body: &str) {
        shell(
            self.world,
            &format!(
                "curl -s -m 10 -d '{body}' --unix-socket /run/user/0/workerheal/api.sock http://localhost{path} || true"
            ),
        );
    }

    /// Injects one fault, or performs an act of a person.
    fn fault(&mut self) {
        let world = self.world;
        match self.random.u8(..20) {
            0..8 => self.crash(),
            8 => self.api("/v1/pause", r#"{"targets":["myapp"]}"#),
            9 => self.api("/v1/resume", "{}"),
            10 => self.api("/v1/pause", r#"{"targets":["no such thing"]}"#),
            11 => world.registry("sites: [\n"),
            12 => world.sites(&["{name: myapp}", "{name: shop}"]),
            13 => world.daemon_reload(),
            14 => {
                world.control(&["reload", DAEMON]);
            }
            15 => world.daemon_reexec(),
            16 => {
                shell(world, "rm -rf /run/user/0/workerheal");
            }
            17 => {
                let socket = crate::api::http::socket(world);
                for _ in 0..50 {
                    let Ok(mut stream) = UnixStream::connect(&socket) else { return };
                    let _ = stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
                    self.followers.push(stream);
                }
            }
            18 => {
                // The next fault finds no free descriptors.
                let pid = pid(world);
                shell(world, &format!("prlimit --pid {pid} --nofile=3:1024"));
                self.crash();
                shell(world, &format!("prlimit --pid {pid} --nofile=1024:1024"));
            }
            _ => {
                let state = world.path(".local/state/workerheal");
                shell(world, &format!("cat /dev/zero >{state}/fill 2>/dev/null || true"));
                self.crash();
                shell(world, &format!("rm {state}/fill"));
            }
        }
    }

    /// Removes whatever keeps workers down, and waits until all are healthy.
    #[track_caller]
    fn settle(&mut self) {
        let world = self.world;
        self.followers.clear();
        world.sites(&["{name: myapp}", "{name: shop}"]);
        world.wait_until("the daemon to answer", SOON, || UnixStream::connect(crate::api::http::socket(world)).ok());
        world.wait_until("nothing to be paused", SOON, || {
            self.api("/v1/resume", "{}");
            world.run(&["status"]).out.lines().all(|line| !line.starts_with("Paused")).then_some(())
        });
        for unit in UNITS {
            world.wait_until(&format!("{unit} to be up"), SOON, || self.is_up(unit).then_some(()));
        }
        for (at, unit) in UNITS.into_iter().enumerate() {
            let ends = ["healed", "recovered", "failed"];
            world.wait_until(&format!("each failure of {unit} to be accounted for"), SOON, || {
                let reported = world.reported(unit).iter().filter(|phase| ends.contains(&phase.as_str())).count();
                (reported >= self.crashes[at]).then_some(())
            });
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_failure_under_faults_is_accounted_for_and_resources_do_not_grow() {
    let time = Duration::from_secs(number("WORKERHEAL_SOAK").unwrap_or(120));
    let seed = number("WORKERHEAL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("WORKERHEAL_SEED={seed}");
    let world = World::new();
    world.config(STEADY);
    let state = world.path(".local/state/workerheal");
    shell(&world, &format!("mkdir -p {state} && mount -t tmpfs -o size=256k,mode=700 none {state}"));
    world.workers(UNITS);
    world.start_daemon();
    let before = pid(&world);
    let mut soak = Soak {
        world: &world,
        random: fastrand::Rng::with_seed(seed),
        crashes: vec![0; UNITS.len()],
        killed: vec![String::new(); UNITS.len()],
        followers: Vec::new(),
    };
    let begin = Instant::now();
    let mut measured: Vec<Needs> = Vec::new();
    let mut rounds = 0;
    while begin.elapsed() < time || measured.len() < 2 {
        for _ in 0..FAULTS_PER_ROUND {
            soak.fault();
        }
        soak.settle();
        rounds += 1;
        assert_eq!(pid(&world), before, "it is another daemon than at the beginning");
        if rounds > WARM_UP_ROUNDS {
            measured.push(needs(&world));
        }
    }
    let (first, last) = (measured[0], measured[measured.len() - 1]);
    let crashes: usize = soak.crashes.iter().sum();
    println!("{rounds} rounds, {crashes} failures accounted for; at first {first:?}, at last {last:?}");
    assert!(last.kilobytes < first.kilobytes * 5 / 4 + 8 * 1024, "{measured:?}");
    // A check of a directory or a client may be under way.
    assert!(last.descriptors <= first.descriptors + 8, "{measured:?}");
    assert!(last.threads <= first.threads + 8, "{measured:?}");
}
