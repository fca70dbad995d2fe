//! The acts of people and the faults, and how each ends.

use std::time::Duration;

use workerheal_core::healer::Fact;
use workerheal_core::pauses::{Pause, Target};

use super::{Intent, Later, SITES};
use crate::laws::Breach;
use crate::model::File;
use crate::scenario::{FIRST_HELPER, FIRST_WORKER, Kind, MINUTE, NAMES, SECOND, UNITS};
use crate::world::{Message, World};

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
            // A random number is drawn for every kind, so that leaving out one does not change the others.
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
                self.laws.end_give_up(unit);
                self.manager.person_starts(unit);
            }
            Kind::Restart => {
                self.laws.end_give_up(unit);
                self.manager.person_restarts(unit);
            }
            Kind::ResetFailed => {
                let is_watched = self.alive && self.connected && self.people.is_quiet(now);
                self.manager.person_resets(unit, is_watched);
            }
            Kind::Kill => self.manager.kill(unit),
            Kind::Mask => {
                // This changes its file, twice.
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
                self.people.after(wait, now, Later::Read(Intent::Marker));
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
                // Usually long enough to be given up.
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
                self.disconnect()?;
                self.people.after(time, now, Later::Bus);
            }
            // Not an act of its own, so that all other lives stay as they are.
            Kind::SlowManager if time.subsec_nanos().is_multiple_of(4) => {
                self.people.forbidden_until = now + time.min(10 * MINUTE);
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
                // For a unit that has just come back with a unit that it requires.
                if let [parent, .., child] = self.manager.family_of([0, 1][self.people.chance.usize(..2)])[..] {
                    self.manager.person_restarts(parent);
                    let wait = Duration::from_millis(self.people.chance.u64(100..3_000));
                    self.people.after(wait, now, Later::Stop(child));
                }
            }
            Kind::StopWhileDown => {
                // It dies repeatedly, and then it, its group or a unit that it requires is stopped.
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
                // The processes of one control group die in any order, within a few milliseconds.
                let dies_last = self.people.chance.bool();
                for unit in self.manager.family_of(parent).into_iter().filter(|it| !dies_last || *it != parent) {
                    self.manager.kill(unit);
                }
                if dies_last {
                    let wait = Duration::from_micros(self.people.chance.u64(100..20_000));
                    self.people.after(wait, now, Later::Kill(parent));
                }
                self.people.after(time, now, Later::Container(parent));
            }
            Kind::TryRestart => {
                self.laws.end_give_up(unit);
                self.manager.person_tries_restart(unit);
            }
            Kind::ReloadUnit => self.manager.person_reloads(unit),
            Kind::Isolate if self.manager.is_frozen() => {}
            Kind::Isolate => {
                if self.manager.person_isolates(FIRST_HELPER) {
                    if self.alive && self.connected {
                        self.send(Message::Fact(Fact::Frozen));
                        self.send(Message::List { all: true });
                    }
                    self.people.after(time, now, Later::Everything);
                }
            }
            Kind::Shutdown if self.manager.is_frozen() => {}
            Kind::Shutdown => {
                self.manager.shut_down();
                if self.alive && self.connected {
                    self.send(Message::Fact(Fact::Frozen));
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
            (seen.stopped_by_person, seen.disabled_while_down) = (false, false);
        }
        self.observe(Fact::Heal(vec![self.names[unit].clone()]))
    }

    /// Heals during phases that are too short to be hit by chance.
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
            Later::Read(intent) => {
                if self.alive {
                    self.read_file(intent)?;
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
                self.people.after(wait, self.now, Later::Read(Intent::Marker));
            }
            Later::Resume(unit) if self.alive => {
                self.people.pauses.clear();
                self.laws.units.iter_mut().for_each(|record| record.forgiven += 1);
                let _ = unit;
                self.observe(Fact::Resume(vec![Target::Everything]))?;
            }
            Later::Resume(unit) => self.people.after(MINUTE, self.now, Later::Resume(unit)),
            Later::Bus => self.reconnect(),
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
            Later::Kill(unit) => self.manager.kill(unit),
            Later::Helper(helper, starts) => {
                // The job of a target may isolate it: until that is known, and the units are listed, decisions are
                // suspended.
                let is_in_doubt = self.alive && self.connected && self.manager.is_target(helper);
                if is_in_doubt {
                    self.send(Message::Fact(Fact::Frozen));
                }
                if starts {
                    self.manager.person_starts(helper);
                } else {
                    self.manager.person_stops(helper);
                }
                if is_in_doubt {
                    self.send(Message::List { all: true });
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

    /// Starts a daemon after another has ended, and checks that the pauses have survived.
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
        // A changed clock may have made them shorter, and a killed daemon may not have saved the last one.
        let until = |pause: &Pause| pause.until.map_or(Duration::MAX, |at| self.now + at.since_origin());
        self.people.pauses = kept.iter().map(|pause| (pause.target.clone(), until(&pause))).collect();
        Ok(())
    }

    fn registry_is_written(&mut self) {
        self.people.write_registry();
        let wait = self.people.reading_time();
        self.people.after(wait, self.now, Later::Read(Intent::Registry));
    }
}
