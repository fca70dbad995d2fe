//! People and faults: the events that happen to the machine, when, and for how long.

mod acts;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::pauses::Target;
use workerheal_core::registry::{self, Registry};

use crate::laws::KnownIntent;
use crate::scenario::{FIRST_HELPER, FIRST_WORKER, HOUR, MINUTE, NAMES, PROBED, Plan, SECOND, UNITS, interval};

/// The sites, and the workers of each: the unit and its name in the registry.
const SITES: [(&str, &[(usize, &str)]); 3] = [
    ("alpha", &[(2, "queue"), (3, "mail")]),
    ("beta", &[(4, "queue"), (5, "vite"), (6, "cron")]),
    ("gamma", &[(7, "one"), (8, "two")]),
];

/// An intent of people that the healer learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Registry,
    Marker,
}

/// An event in the future.
#[derive(Debug, Clone, Copy)]
enum Later {
    Read(Intent),
    Unmask(usize),
    Enable(usize),
    Mend(usize),
    Directory(usize),
    Site(usize),
    Worker(usize),
    Wake(usize),
    Register(usize),
    Unmark,
    Resume(usize),
    Bus,
    NoDaemon(Duration),
    Daemon,
    Container(usize),
    Stop(usize),
    Kill(usize),
    Helper(usize, bool),
    Boot,
    Everything,
}

/// The registry's entry for a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Site {
    registered: bool,
    paused: bool,
    /// By unit.
    paused_workers: [bool; UNITS],
    asleep: [bool; UNITS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wants {
    sites: [Site; 3],
    marker: bool,
}

pub struct People {
    chance: Rng,
    /// When a person acts next.
    pub next: Duration,
    spontaneous: Duration,
    later: Vec<(Duration, Later)>,
    now: Wants,
    known: Wants,
    pub marker: bool,
    /// Pauses by command, with their ends.
    pauses: Vec<(Target, Duration)>,
    pub noisy_until: Duration,
    pub slow_until: Duration,
    /// Until then the daemon may not start anything.
    pub forbidden_until: Duration,
    pub journal_gone_until: Duration,
    pub silent_until: Duration,
    /// A person requests a heal in the next moment in which a worker is inspected, or its start has been cancelled.
    pub heals_in_between: bool,
    /// A person stops the next worker that the healer starts, before or right after the manager receives the start.
    pub stops_in_between: bool,
    registry: Arc<Registry>,
}

impl People {
    pub fn new(plan: Plan) -> Self {
        let site = Site { registered: true, paused: false, paused_workers: [false; UNITS], asleep: [false; UNITS] };
        let wants = Wants { sites: [site; 3], marker: false };
        let mut people = Self {
            chance: plan.chance(3),
            next: MINUTE,
            spontaneous: MINUTE,
            later: Vec::new(),
            now: wants,
            known: wants,
            marker: false,
            pauses: Vec::new(),
            noisy_until: Duration::ZERO,
            slow_until: Duration::ZERO,
            forbidden_until: Duration::ZERO,
            journal_gone_until: Duration::ZERO,
            silent_until: Duration::ZERO,
            heals_in_between: false,
            stops_in_between: false,
            registry: Arc::new(Registry::default()),
        };
        people.write_registry();
        people
    }

    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The workers of the sites whose entries have changed since the healer read them.
    pub fn workers_of_edited_sites(&self) -> impl Iterator<Item = usize> {
        let sites = SITES.into_iter().zip(self.known.sites.into_iter().zip(self.now.sites));
        let edited = sites.filter(|(_, (known, now))| known != now);
        edited.flat_map(|((_, workers), _)| workers.iter().map(|(unit, _)| *unit))
    }

    /// The healer has read the current content of all files.
    pub fn all_files_are_read(&mut self) {
        self.known = self.now;
    }

    /// The healer has read the current content of a file.
    pub fn file_is_read(&mut self, intent: Intent) {
        match intent {
            Intent::Registry => self.known.sites = self.now.sites,
            Intent::Marker => self.known.marker = self.now.marker,
        }
    }

    /// Whether no fault is under way that excuses a delay.
    pub fn is_quiet(&self, now: Duration) -> bool {
        let faults = [self.noisy_until, self.slow_until, self.forbidden_until, self.journal_gone_until];
        faults.into_iter().all(|until| now >= until)
    }

    /// Faults end with a boot.
    pub fn is_booted(&mut self, now: Duration) {
        self.later.retain(|(_, later)| !matches!(later, Later::Bus | Later::NoDaemon(_) | Later::Daemon | Later::Boot));
        (self.noisy_until, self.slow_until, self.forbidden_until) = (now, now, now);
    }

    /// What people want for a unit, as far as the healer knows.
    pub fn known_intent(&self, unit: usize, now: Duration) -> KnownIntent {
        let by_command = self.pauses.iter().any(|(target, until)| now < *until && includes(target, unit));
        let mut known = KnownIntent {
            paused: self.known.marker || by_command,
            covered: (FIRST_WORKER..FIRST_HELPER).contains(&unit),
        };
        for ((_, workers), site) in SITES.iter().zip(&self.known.sites) {
            if workers.iter().any(|(worker, _)| *worker == unit) {
                known.covered &= site.registered;
                known.paused |= site.paused || site.paused_workers[unit] || site.asleep[unit];
            }
        }
        known
    }

    /// Whether the healer covers the unit.
    pub fn covers(&self, unit: usize) -> bool {
        self.known_intent(unit, Duration::ZERO).covered
    }

    fn write_registry(&mut self) {
        let registered = SITES.into_iter().zip(self.now.sites).filter(|(_, site)| site.registered);
        let sites = registered.map(|((name, workers), site)| {
            let chosen = |by_unit: &[bool; UNITS]| {
                workers.iter().filter(|(unit, _)| by_unit[*unit]).map(|(_, name)| (*name).to_owned()).collect()
            };
            registry::Site {
                paused: site.paused,
                paused_workers: chosen(&site.paused_workers),
                idle_suspended_workers: chosen(&site.asleep),
                ..registry::Site::new(name, format!("/srv/{name}"))
            }
        });
        self.registry = Arc::new(sites.collect());
    }

    fn after(&mut self, wait: Duration, now: Duration, later: Later) {
        self.later.push((now + wait, later));
    }

    fn plan_next(&mut self, now: Duration) {
        if self.spontaneous <= now {
            // Acts often come in quick succession.
            let wait = match self.chance.u8(..10) {
                0..2 => Duration::from_millis(self.chance.u64(1..50)),
                2..4 => Duration::from_millis(self.chance.u64(50..20_000)),
                _ => interval(&mut self.chance, HOUR),
            };
            self.spontaneous = now + wait;
        }
        self.next = self.later.iter().map(|(at, _)| *at).chain([self.spontaneous]).min().unwrap_or(self.spontaneous);
    }

    /// The delay until a changed file is noticed.
    fn reading_time(&mut self) -> Duration {
        Duration::from_millis(self.chance.u64(60..3_000))
    }

    fn worker(&mut self) -> usize {
        self.chance.usize(FIRST_WORKER..FIRST_HELPER)
    }

    fn a_while(&mut self) -> Duration {
        let mean = [5 * SECOND, 10 * MINUTE, 2 * HOUR][self.chance.usize(..3)];
        interval(&mut self.chance, mean)
    }
}

fn includes(target: &Target, unit: usize) -> bool {
    match target {
        Target::Everything => true,
        Target::Site(site) => {
            SITES.into_iter().any(|(name, workers)| name == site && workers.iter().any(|(worker, _)| *worker == unit))
        }
        Target::Unit(name) => name.short() == NAMES[unit],
    }
}

/// The unit with a probe is a worker.
const _: () = assert!(PROBED < UNITS && PROBED >= FIRST_WORKER);
