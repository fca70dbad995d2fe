//! People and faults: what happens to the machine, when, and for how long.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::healer::Fact;
use workerheal_core::pauses::{Pause, Target};
use workerheal_core::registry::{self, Registry};

use crate::laws::{Breach, Told};
use crate::model::File;
use crate::scenario::{FIRST_HELPER, FIRST_WORKER, HOUR, Kind, MINUTE, NAMES, PROBED, Plan, SECOND, UNITS, interval};
use crate::world::{Message, World};

/// The sites, and the workers of each: the unit and its name in the registry.
const SITES: [(&str, &[(usize, &str)]); 3] = [
    ("alpha", &[(2, "queue"), (3, "mail")]),
    ("beta", &[(4, "queue"), (5, "vite"), (6, "cron")]),
    ("gamma", &[(7, "one"), (8, "two")]),
];

/// Something that people want becomes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Registry,
    Marker,
}

/// What ends, or becomes known, later.
#[derive(Debug, Clone, Copy)]
enum Later {
    Tell(Intent),
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
    Helper(usize, bool),
    Boot,
    Everything,
}

/// What the registry says of a site.
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
    told: Wants,
    pub marker: bool,
    /// What is paused by command, and until when.
    pauses: Vec<(Target, Duration)>,
    pub noisy_until: Duration,
    pub slow_until: Duration,
    pub journal_gone_until: Duration,
    pub silent_until: Duration,
    /// A person requests a heal in the next moment in which a worker is inspected, or its start has been cancelled.
    pub heals_in_between: bool,
    /// A person stops the next worker whose start is asked for, before or right after the manager hears of that.
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
            told: wants,
            marker: false,
            pauses: Vec::new(),
            noisy_until: Duration::ZERO,
            slow_until: Duration::ZERO,
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

    /// The workers of those sites of which the registry says something else than the healer has been told.
    pub fn workers_of_edited_sites(&self) -> impl Iterator<Item = usize> {
        let sites = SITES.into_iter().zip(self.told.sites.into_iter().zip(self.now.sites));
        let edited = sites.filter(|(_, (told, now))| told != now);
        edited.flat_map(|((_, workers), _)| workers.iter().map(|(unit, _)| *unit))
    }

    /// The healer has read all files as they are now.
    pub fn everything_is_told(&mut self) {
        self.told = self.now;
    }

    /// The healer has read a file as it is now.
    pub fn is_told(&mut self, intent: Intent) {
        match intent {
            Intent::Registry => self.told.sites = self.now.sites,
            Intent::Marker => self.told.marker = self.now.marker,
        }
    }

    /// Whether no fault is going on that excuses a delay.
    pub fn is_quiet(&self, now: Duration) -> bool {
        [self.noisy_until, self.slow_until, self.journal_gone_until].into_iter().all(|until| now >= until)
    }

    /// What was to end later because the machine was not well has ended with a boot.
    pub fn is_booted(&mut self, now: Duration) {
        self.later.retain(|(_, later)| !matches!(later, Later::Bus | Later::NoDaemon(_) | Later::Daemon | Later::Boot));
        (self.noisy_until, self.slow_until) = (now, now);
    }

    /// What people want of a unit, as far as the healer has been told.
    pub fn told(&self, unit: usize, now: Duration) -> Told {
        let by_command = self.pauses.iter().any(|(target, until)| now < *until && includes(target, unit));
        let mut told =
            Told { paused: self.told.marker || by_command, covered: (FIRST_WORKER..FIRST_HELPER).contains(&unit) };
        for ((_, workers), site) in SITES.iter().zip(&self.told.sites) {
            if workers.iter().any(|(worker, _)| *worker == unit) {
                told.covered &= site.registered;
                told.paused |= site.paused || site.paused_workers[unit] || site.asleep[unit];
            }
        }
        told
    }

    /// Whether the healer takes the unit for a worker.
    pub fn covers(&self, unit: usize) -> bool {
        self.told(unit, Duration::ZERO).covered
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
            // Often one thing leads to another.
            let wait = match self.chance.u8(..10) {
                0..2 => Duration::from_millis(self.chance.u64(1..50)),
                2..4 => Duration::from_millis(self.chance.u64(50..20_000)),
                _ => interval(&mut self.chance, HOUR),
            };
            self.spontaneous = now + wait;
        }
        self.next = self.later.iter().map(|(at, _)| *at).chain([self.spontaneous]).min().unwrap_or(self.spontaneous);
    }

    /// How long it takes until a changed file is noticed.
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

impl World {
    /// A person acts, or an earlier act ends.
    pub fn act(&mut self) -> Result<(), Breach> {
        let now = self.now;
        if let Some(at) = self.people.later.iter().position(|(at, _)| *at <= now) {
            let (_, later) = self.people.later.swap_remove(at);
            self.note(|| format!("LATER {later:?}"));
            self.end(later)?;
        } else {
            let kinds: Vec<Kind> = self.plan.kinds().collect();
            // All are drawn from, so that a kind that is left out takes nothing else with it.
            let kind = Kind::ALL[self.people.chance.usize(..Kind::ALL.len())];
            if kinds.contains(&kind) {
                self.begin(kind)?;
            }
        }
        self.people.plan_next(now);
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "it is a list")]
    fn begin(&mut self, kind: Kind) -> Result<(), Breach> {
        let now = self.now;
        let unit = self.people.worker();
        let time = self.people.a_while();
        self.note(|| format!("PEOPLE {kind:?} {} {time:?}", NAMES[unit]));
        match kind {
            Kind::Stop => self.manager.person_stops(unit),
            Kind::Start => {
                self.laws.somebody_cared(unit);
                self.manager.person_starts(unit);
            }
            Kind::Restart => {
                self.laws.somebody_cared(unit);
                self.manager.person_restarts(unit);
            }
            Kind::ResetFailed => {
                let is_watched = self.alive && self.connected && self.people.is_quiet(now);
                self.manager.person_resets(unit, is_watched);
            }
            Kind::Kill => self.manager.kill(unit),
            Kind::Mask => {
                // That changes its file, twice.
                self.laws.units[unit].forgiven += 1;
                self.manager.mask(unit, true);
                self.people.after(time, now, Later::Unmask(unit));
            }
            Kind::Disable => {
                self.manager.enable(unit, false);
                self.people.after(time, now, Later::Enable(unit));
            }
            Kind::Edit => {
                self.manager.edit(unit, None);
                self.laws.units[unit].forgiven += 1;
            }
            Kind::BreakFile => {
                let file = if self.people.chance.bool() { File::Bad } else { File::Missing };
                self.manager.edit(unit, Some(file));
                self.laws.units[unit].forgiven += 1;
                self.people.after(time, now, Later::Mend(unit));
            }
            Kind::Reload => self.manager.reload(),
            Kind::PauseSite => {
                let site = self.people.chance.usize(..3);
                self.people.now.sites[site].paused = true;
                self.people.after(time, now, Later::Site(site));
                self.registry_is_written();
            }
            Kind::PauseWorker => {
                self.people.now.sites.iter_mut().for_each(|site| site.paused_workers[unit] = true);
                self.people.after(time, now, Later::Worker(unit));
                self.registry_is_written();
            }
            Kind::Sleep => {
                self.people.now.sites.iter_mut().for_each(|site| site.asleep[unit] = true);
                self.people.after(time, now, Later::Wake(unit));
                self.registry_is_written();
            }
            Kind::Unregister => {
                let site = self.people.chance.usize(..3);
                self.people.now.sites[site].registered = false;
                self.people.after(time, now, Later::Register(site));
                self.registry_is_written();
            }
            Kind::Marker => {
                (self.people.marker, self.people.now.marker) = (true, true);
                self.people.after(time, now, Later::Unmark);
                let wait = self.people.reading_time();
                self.people.after(wait, now, Later::Tell(Intent::Marker));
            }
            Kind::Pause if self.alive => {
                let target = match self.people.chance.u8(..3) {
                    0 => Target::Everything,
                    1 => Target::Site(SITES[self.people.chance.usize(..3)].0.to_owned()),
                    _ => Target::Unit(self.names[unit].clone()),
                };
                let limited = self.people.chance.bool();
                let until = if limited { now + time } else { Duration::MAX };
                self.people.pauses.retain(|(other, _)| *other != target);
                self.people.pauses.push((target.clone(), until));
                if !limited {
                    self.people.after(time, now, Later::Resume(unit));
                }
                self.observe(Fact::Pause(vec![target], limited.then_some(time)))?;
            }
            Kind::Heal => self.heal_by_hand(unit)?,
            Kind::Pause => {}
            Kind::BadTimes => {
                let unit = if self.people.chance.u8(..8) == 0 { 0 } else { unit };
                // Long enough to be given up, most times.
                self.manager.lives.bad_until[unit] = now + time.min(15 * MINUTE);
                self.manager.kill(unit);
            }
            Kind::Silence => self.people.silent_until = now + time,
            Kind::DirectoryGone => {
                self.manager.lose_directory(unit, true);
                self.people.after(time, now, Later::Directory(unit));
            }
            Kind::Container => {
                let parent = self.people.chance.usize(..2);
                if self.people.chance.bool() {
                    self.manager.kill(parent);
                } else {
                    self.manager.person_stops(parent);
                }
                self.people.after(time, now, Later::Container(parent));
            }
            Kind::LostSignals | Kind::LateSignals | Kind::TwiceSignals => self.people.noisy_until = now + time,
            Kind::LostBus if self.connected => {
                self.lose_bus()?;
                self.people.after(time, now, Later::Bus);
            }
            Kind::SlowManager => self.people.slow_until = now + time.min(10 * MINUTE),
            Kind::DaemonRestart if self.alive => {
                let killed = self.people.chance.bool();
                self.end_daemon(killed)?;
                let away = time.min(10 * MINUTE).max(Duration::from_millis(100));
                self.people.after(away, now, Later::Daemon);
            }
            Kind::ClockJump => {
                self.turned += self.people.chance.i64(-7_200..7_200);
            }
            Kind::LostBus | Kind::DaemonRestart => {}
            Kind::NoJournal => self.people.journal_gone_until = now + time,
            Kind::Helper => {
                let helper = self.people.chance.usize(FIRST_HELPER..UNITS);
                let starts = self.manager.is_down(helper);
                self.end(Later::Helper(helper, starts))?;
                self.people.after(time, now, Later::Helper(helper, !starts));
            }
            Kind::RestartParent => {
                let parent = [0, 1, FIRST_HELPER, FIRST_HELPER + 1][self.people.chance.usize(..4)];
                if self.people.chance.bool() {
                    self.manager.person_restarts(parent);
                } else {
                    self.manager.person_stops(parent);
                    self.people.after(time.min(5 * SECOND), now, Later::Container(parent));
                }
            }
            Kind::StopRightAfter => {
                // Of what has just come back with what it needs.
                if let [parent, .., child] = self.manager.family_of([0, 1][self.people.chance.usize(..2)])[..] {
                    self.manager.person_restarts(parent);
                    let wait = Duration::from_millis(self.people.chance.u64(100..3_000));
                    self.people.after(wait, now, Later::Stop(child));
                }
            }
            Kind::StopWhileDown => {
                // It dies again and again, and then it is stopped, or what it is a part of or needs.
                self.manager.lives.bad_until[unit] = now + time.clamp(10 * SECOND, 15 * MINUTE);
                self.manager.kill(unit);
                let wait = Duration::from_millis(self.people.chance.u64(500..20_000));
                let above = self.manager.above(unit);
                let chosen = above.get(self.people.chance.usize(..=above.len())).copied().unwrap_or(unit);
                self.people.after(wait, now, Later::Stop(chosen));
                if self.people.chance.bool() && self.alive {
                    // And no daemon sees it.
                    let leaves = wait.mul_f64(self.people.chance.f64());
                    self.people.after(leaves, now, Later::NoDaemon(3 * wait));
                }
                if chosen != unit {
                    self.people.after(wait + time, now, Later::Container(chosen));
                }
            }
            Kind::StopMany => {
                let parent = [0, 1, FIRST_HELPER, unit][self.people.chance.usize(..4)];
                let family = self.manager.family_of(parent);
                self.manager.person_stops_many(&family);
                if parent != unit {
                    self.people.after(time, now, Later::Container(parent));
                }
            }
            Kind::KillFamily => {
                let parent = [0, 1, FIRST_HELPER, FIRST_HELPER][self.people.chance.usize(..4)];
                for unit in self.manager.family_of(parent) {
                    self.manager.kill(unit);
                }
                self.people.after(time, now, Later::Container(parent));
            }
            Kind::TryRestart => {
                self.laws.somebody_cared(unit);
                self.manager.person_tries_restart(unit);
            }
            Kind::ReloadUnit => self.manager.person_reloads(unit),
            Kind::Isolate if self.manager.is_frozen() => {}
            Kind::Isolate => {
                if self.manager.person_isolates(FIRST_HELPER) {
                    if self.alive && self.connected {
                        self.send(Message::Tell(Fact::Frozen));
                        self.send(Message::List);
                    }
                    self.people.after(time, now, Later::Everything);
                }
            }
            Kind::Shutdown if self.manager.is_frozen() => {}
            Kind::Shutdown => {
                self.manager.shut_down();
                if self.alive && self.connected {
                    self.send(Message::Tell(Fact::Frozen));
                }
                self.people.after(time.min(10 * MINUTE), now, Later::Boot);
            }
            Kind::HealNow => {
                self.people.heals_in_between = self.people.chance.bool();
                if let Some(unit) = self.manager.starts_under_way().first().copied() {
                    self.heal_by_hand(unit)?;
                }
            }
            Kind::StopNow => self.people.stops_in_between = true,
            Kind::Connect => self.manager.connect(FIRST_HELPER),
        }
        Ok(())
    }

    fn heal_by_hand(&mut self, unit: usize) -> Result<(), Breach> {
        if !(self.alive && self.connected) {
            return Ok(());
        }
        self.manager.person_wants_it_healed(unit);
        self.laws.units[unit].forgiven += 1;
        if let Some(seen) = &mut self.laws.units[unit].seen {
            (seen.stopped_by_user, seen.disabled_while_down) = (false, false);
        }
        self.observe(Fact::Heal(vec![self.names[unit].clone()]))
    }

    /// What lasts for a moment only, people do not meet by chance.
    pub fn heal_in_between(&mut self) -> Result<(), Breach> {
        if !self.people.heals_in_between {
            return Ok(());
        }
        let lasts_a_moment =
            |unit: &usize| matches!(self.healer.phase_of(&self.names[*unit]), Some("verifying" | "cancelled"));
        let Some(unit) = (FIRST_WORKER..FIRST_HELPER).find(lasts_a_moment) else { return Ok(()) };
        self.people.heals_in_between = false;
        self.heal_by_hand(unit)
    }

    pub fn stop_in_between(&mut self, unit: usize) {
        if std::mem::take(&mut self.people.stops_in_between) {
            let soon = Duration::from_micros(self.people.chance.u64(0..3_000));
            self.people.after(soon, self.now, Later::Stop(unit));
            self.people.plan_next(self.now);
        }
    }

    fn end(&mut self, later: Later) -> Result<(), Breach> {
        match later {
            Later::Tell(intent) => {
                if self.alive {
                    self.tell(intent)?;
                }
            }
            Later::Unmask(unit) => {
                self.laws.units[unit].forgiven += 1;
                self.manager.mask(unit, false);
            }
            Later::Enable(unit) => self.manager.enable(unit, true),
            Later::Mend(unit) => {
                self.manager.edit(unit, None);
                self.laws.units[unit].forgiven += 1;
            }
            Later::Directory(unit) => self.manager.lose_directory(unit, false),
            Later::Site(site) => {
                self.people.now.sites[site].paused = false;
                self.registry_is_written();
            }
            Later::Worker(unit) => {
                self.people.now.sites.iter_mut().for_each(|site| site.paused_workers[unit] = false);
                self.registry_is_written();
            }
            Later::Wake(unit) => {
                self.people.now.sites.iter_mut().for_each(|site| site.asleep[unit] = false);
                self.registry_is_written();
            }
            Later::Register(site) => {
                self.people.now.sites[site].registered = true;
                self.registry_is_written();
            }
            Later::Unmark => {
                (self.people.marker, self.people.now.marker) = (false, false);
                let wait = self.people.reading_time();
                self.people.after(wait, self.now, Later::Tell(Intent::Marker));
            }
            Later::Resume(unit) if self.alive => {
                self.people.pauses.clear();
                self.laws.units.iter_mut().for_each(|record| record.forgiven += 1);
                let _ = unit;
                self.observe(Fact::Resume(vec![Target::Everything]))?;
            }
            Later::Resume(unit) => self.people.after(MINUTE, self.now, Later::Resume(unit)),
            Later::Bus => self.find_bus(),
            Later::NoDaemon(away) if self.alive => {
                self.end_daemon(false)?;
                self.people.after(away, self.now, Later::Daemon);
            }
            Later::NoDaemon(_) => {}
            Later::Daemon => {
                self.daemon_is_back()?;
            }
            Later::Container(parent) => self.manager.person_starts(parent),
            Later::Stop(unit) => self.manager.person_stops(unit),
            Later::Helper(helper, starts) => {
                if starts {
                    self.manager.person_starts(helper);
                } else {
                    self.manager.person_stops(helper);
                }
            }
            Later::Boot => self.boot()?,
            Later::Everything => {
                for unit in 0..UNITS {
                    if self.manager.is_wanted(unit) {
                        self.manager.person_starts(unit);
                    }
                }
            }
        }
        Ok(())
    }

    /// A daemon begins after another has ended: what that one was told is remembered.
    pub fn daemon_is_back(&mut self) -> Result<(), Breach> {
        let turned = self.turned_since_written() != 0;
        self.laws.clock_turned = turned;
        self.start_daemon()?;
        let kept = self.healer.saved_state().pauses;
        let forgotten =
            self.people.pauses.iter().find(|(target, until)| {
                *until > self.now + SECOND && !kept.iter().any(|pause| pause.target == *target)
            });
        if let Some((target, _)) = forgotten
            && !turned
            && !self.laws.units.iter().any(|record| record.uncertain)
        {
            let how = format!("nothing is known of the pause of {target}");
            return Err(Breach { law: "pauses survive a restart", how });
        }
        // A turned clock may have made them shorter, and a killed daemon may not have written the last.
        let until = |pause: &Pause| pause.until.map_or(Duration::MAX, |at| self.now + at.since_origin());
        self.people.pauses = kept.iter().map(|pause| (pause.target.clone(), until(&pause))).collect();
        Ok(())
    }

    fn registry_is_written(&mut self) {
        self.people.write_registry();
        let wait = self.people.reading_time();
        self.people.after(wait, self.now, Later::Tell(Intent::Registry));
    }
}

/// The worker with a probe is one of those that are asked about.
const _: () = assert!(PROBED < UNITS && PROBED >= FIRST_WORKER);
