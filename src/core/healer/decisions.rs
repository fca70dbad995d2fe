//! The decisions: what to do about a worker that is ill, and the few ways in which state is changed.

use super::track::{LOOK_AGAIN, Phase, SECOND_LOOK, Standing, Track};
use super::{Action, Healer, Look, Mode, Purpose, Timestamp};
use crate::core::coverage::{Resolution, Worker};
use crate::core::diagnosis::{Asked, Refusal, State};
use crate::core::event::{Event, Phase as EventPhase};
use crate::core::rules::{Case, GivenUp, History, Judgement, Verdict, down_parent};
use crate::core::units::{ActiveState, Detail, Inspection, LoadState, StopEvidence, UnitName};

const CANCELLED: &str = "its start was cancelled by somebody else";

/// Decisions.
impl Healer {
    pub(super) fn fell_ill(&mut self, now: Timestamp, name: &UnitName, suspected: Option<State>) {
        if self.mode == Mode::OnRequest {
            return;
        }
        match self.tracks.get_mut(name) {
            // Given up it was, and given up it stays unless a look shows that something has changed.
            Some(track) if track.given_up.is_some() => {
                self.make_due(name);
                self.consider(now, name);
            }
            Some(track) if track.restored => {
                track.restored = false;
                track.suspected = suspected;
                if std::mem::take(&mut track.attempt_open) {
                    track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
                }
                self.make_due(name);
                self.consider(now, name);
            }
            _ => self.begin(now, name, suspected, Asked::ByRule),
        }
    }

    /// Begins to heal: at once for the first attempt, after the backoff for later ones.
    pub(super) fn begin(&mut self, now: Timestamp, name: &UnitName, suspected: Option<State>, asked: Asked) {
        self.leave(name);
        if self.tracks.get(name).is_some_and(|track| track.phase == Phase::Cancelled) {
            self.emit(name, EventPhase::Failed, |event| CANCELLED.clone_into(&mut event.error));
        }
        let track = self.tracks.entry(name.clone()).or_insert_with(|| Track::new(now));
        if asked == Asked::ByPerson || track.phase == Phase::GaveUp {
            track.attempts = 0;
        }
        track.begins_anew();
        // Whatever ended it: what follows is no mere look.
        track.phase = Phase::Resting;
        track.suspected = suspected;
        track.asked = asked;
        track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
        self.make_due(name);
        self.consider(now, name);
    }

    /// Still ill, and an attempt is due, scheduled or held: does that stand?
    pub(super) fn reconsider_wait(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        let masked = self.units.get(name).is_some_and(|unit| unit.load == LoadState::Masked);
        let against = self.intent_against(name).or(masked.then_some(Refusal::Masked));
        match (&track.phase, against) {
            // A look tells what that stop was for.
            (Phase::Waiting { .. } | Phase::Held(_), _) if self.was_stopped_since(name) => self.make_due(name),
            (Phase::Held(refusal), Some(against)) if *refusal == against => {}
            (_, Some(against)) => self.hold(now, name, against),
            // Its timer tells when the manager is asked again.
            (Phase::Held(Refusal::JobPending | Refusal::Masked | Refusal::Declined(_)), None) if track.refused > 0 => {}
            (Phase::Held(refusal), None) if self.has_passed(name, refusal) => self.make_due(name),
            (Phase::Waiting { until }, None) if *until <= now => self.make_due(name),
            (_, None) => {}
        }
    }

    /// It is restarted again and again: that has an end once it has been up for long.
    pub(super) fn goes_on_looping(&mut self, now: Timestamp, name: &UnitName) {
        let Some((unit, track)) = self.units.get(name).zip(self.tracks.get(name)) else { return };
        match unit.standing() {
            Standing::Up if track.timer.is_none() => self.set_timer(name, Some(now + self.policy.reset_after)),
            Standing::Rising => self.set_timer(name, None),
            // systemd says that before each restart, for an instant. If it lasts, it has given up after all.
            Standing::Ill => self.set_timer(name, Some(now + SECOND_LOOK)),
            Standing::Up | Standing::Settling | Standing::Down | Standing::Unknown => {}
        }
    }

    /// It was left alone, and is still down: look now and then if it still is the same.
    pub(super) fn stays_down(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if std::mem::take(&mut track.restored) || (track.run.is_none() && track.timer.is_none()) {
            self.set_timer(name, Some(now + LOOK_AGAIN));
            self.recheck(name);
        } else if track.timer.is_none() && !track.looks.is_open(Purpose::Recheck) {
            self.set_timer(name, Some(now + LOOK_AGAIN));
        }
    }

    /// Whether its stop was seen. A person who asks for it later means something newer.
    fn was_stopped_since(&self, name: &UnitName) -> bool {
        self.tracks.get(name).is_some_and(|track| track.asked == Asked::ByRule && !track.taken_along)
            && self.stop_seen(name)
    }

    /// Whether a stop on request was under way since the unit was last up.
    fn stop_seen(&self, name: &UnitName) -> bool {
        self.units.get(name).is_some_and(|unit| unit.stop_seen)
    }

    /// Whether the reason for holding is known to be gone, or only a close look can tell.
    fn has_passed(&self, name: &UnitName, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::StopMarker
            | Refusal::Paused(_)
            | Refusal::SitePaused(_)
            | Refusal::WorkerPaused(_)
            | Refusal::IdleSuspended(_) => true,
            Refusal::Masked => self.units.get(name).is_some_and(|unit| unit.load == LoadState::Loaded),
            // That it is ill already means that no job is under way.
            Refusal::JobPending | Refusal::Declined(_) | Refusal::Unreadable(_) => true,
            Refusal::ParentDown(parent) => match self.units.get(parent.name.as_str()) {
                Some(unit) => unit.active.is_up(),
                // Not among the units that are listed: look.
                None => self.looks_for_its_group(name, &parent.name),
            },
            Refusal::StateNotHealed(state) => self.policy.heals(*state),
            Refusal::Disabled | Refusal::StopUnknown(_) | Refusal::CrashLooping(_) | Refusal::DirectoryGone(_) => false,
        }
    }

    /// Takes the close look that precedes every attempt.
    pub(super) fn look(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_none_or(|track| track.phase != Phase::Due) {
            return;
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.looked_at = now;
        let Some(track) = self.tracks.get(name) else { return };
        let witnessed = self.units.get(name).is_some_and(|unit| unit.witnessed) && !track.look_closer;
        // Right after its failure nobody can have disabled it, and there is no time to ask.
        let fresh = self.units.get(name).is_some_and(|unit| unit.fresh) && witnessed && track.attempts == 0;
        let suspected = track.suspected;
        if let Some(unit) = self.units.get_mut(name) {
            unit.fresh = false;
        }
        self.enter(name, Phase::Looking);
        let detail = Detail {
            stop: !witnessed,
            file: !fresh || suspected == Some(State::ExpectedButStopped),
            restarts: suspected == Some(State::CrashLooping),
            times: false,
        };
        self.inspect(name, Purpose::Attempt, detail);
    }

    pub(super) fn looked(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        if self.frozen {
            // What was seen may be wrong already: look again when the doubt is over.
            return self.make_due(name);
        }
        let seen = match result {
            Ok(seen) => seen,
            Err(why) => return self.hold(now, name, Refusal::Unreadable(why)),
        };
        self.settle_resolution(name, &seen);
        let Some(case) = self.case(now, name, &seen) else {
            return self.shelve(name);
        };
        let (Judgement { state, verdict }, taken_along) = (case.judge(), case.was_taken_along());
        let (was_told, is_logged) = (case.was_told_to_stop(), seen.stop == Some(StopEvidence::Requested));
        let has_changed = case.has_changed_since_given_up();
        let in_doubt = verdict == Verdict::Start && case.may_have_been_stopped();
        let Some(track) = self.tracks.get_mut(name) else { return };
        if in_doubt {
            // What was signalled is not enough: the journal knows.
            track.look_closer = true;
            self.make_due(name);
            return;
        }
        track.look_closer = matches!(verdict, Verdict::Held(Refusal::StopUnknown(_)));
        if has_changed {
            (track.attempts, track.given_up) = (0, None);
        }
        track.taken_along = taken_along && track.asked == Asked::ByRule;
        track.oneshot = seen.oneshot;
        track.file = track.file.or(seen.file);
        track.definition = seen.file.map(|file| file.definition).or(track.definition);
        track.run = seen.run.clone().or(track.run.take());
        if state == Some(State::CrashLooping) {
            // Found by chance too, in an instant in which it counts as failed: that it is up the next is no recovery.
            track.suspected = state;
        }
        let held_by_parent = matches!(verdict, Verdict::Held(Refusal::ParentDown(_)));
        if !held_by_parent && let Some(parent) = track.waits_for.clone() {
            self.leave(name);
            if down_parent(&seen).is_none() {
                self.wake_group(now, &parent);
            }
        }
        if let Some(state) = state
            && !matches!(&verdict, Verdict::Stopped | Verdict::GivenUp)
            && !matches!(&verdict, Verdict::Held(refusal) if refusal.is_intent())
        {
            self.announce(name, state, &seen);
        }
        match verdict {
            Verdict::Well => self.found_well(now, name, &seen),
            Verdict::Stopped => {
                self.stopped(now, name, "");
                if let Some(track) = self.tracks.get_mut(name) {
                    track.stop_is_certain = was_told || is_logged;
                }
            }
            Verdict::Held(refusal) => self.hold(now, name, refusal),
            Verdict::GivenUp => self.enter(name, Phase::GaveUp),
            Verdict::Hopeless(why) => self.give_up(now, name, &why.to_string()),
            Verdict::Exhausted(_) => self.exhausted(now, name),
            Verdict::Wait(_) => self.schedule(now, name),
            Verdict::Start => self.attempt(name, Action::Start(name.clone())),
            Verdict::Restart => self.attempt(name, Action::Restart(name.clone())),
        }
    }

    /// All that a decision about the worker rests on; `None` if it is not covered.
    pub(super) fn case<'a>(&'a self, now: Timestamp, name: &'a UnitName, seen: &'a Inspection) -> Option<Case<'a>> {
        let worker = self.worker(name)?;
        let unit = self.units.get(name);
        let mut history = History {
            stop_seen: unit.is_some_and(|unit| unit.stop_seen),
            cleared_by_us: unit.is_some_and(|unit| unit.cleared_by_us),
            ..History::default()
        };
        if let Some(track) = self.tracks.get(name) {
            history = History {
                asked: track.asked,
                attempts: track.attempts,
                wait: track.not_before.from_now(now),
                at_failure: track.file.or(seen.file),
                given_up: track.given_up.as_ref(),
                job_done_before: unit.and_then(|unit| unit.job_done).map(|at| track.looked_at.from_now(at)),
                stays_stopped: track.was_stopped_in(seen),
                taken_along: track.taken_along,
                refuses: track.refuses.as_deref(),
                ..history
            };
        }
        Some(Case { orders: self.orders(), unit: name, worker, seen, history })
    }

    /// A look showed that nothing is wrong, or that something is under way.
    fn found_well(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection) {
        let suspected = self.tracks.get(name).and_then(|track| track.suspected);
        let is_down = self.units.get(name).is_some_and(|unit| unit.standing() == Standing::Down);
        match suspected {
            Some(State::CrashLooping) => self.no_loop(now, name),
            Some(State::ExpectedButStopped) if is_down => self.enter(name, Phase::Off),
            _ if seen.active.is_up() => self.recovered(now, name),
            // Its change of state is on its way to us, and decides.
            _ => self.wait_until(name, now + SECOND_LOOK),
        }
    }

    fn attempt(&mut self, name: &UnitName, call: Action) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.attempts += 1;
        track.told = None;
        track.scheduled = None;
        track.answered = false;
        if call == Action::Restart(name.clone()) {
            track.suspected = Some(State::Unreachable);
        } else if track.suspected == Some(State::Unreachable) {
            // It died before it could be restarted.
            track.suspected = None;
            track.refuses = None;
        }
        // The wish of a person is fulfilled with this; what they do next is newer.
        track.asked = Asked::ByRule;
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared_by_us = matches!(call, Action::Start(_));
            unit.refusals = 0;
        }
        self.enter(name, Phase::Starting);
        self.emit(name, EventPhase::Starting, |_| {});
        self.actions.push(call);
    }

    /// The manager would not have the start. It is asked again after a wait that grows as that between
    /// attempts does: what stands in the way need not be something that is seen to pass.
    pub(super) fn refused(&mut self, now: Timestamp, name: &UnitName, refusal: Refusal, error: String) {
        let is_masked = self.units.get(name).is_some_and(|unit| unit.load == LoadState::Masked);
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.attempts = track.attempts.saturating_sub(1);
        track.refused = track.refused.saturating_add(1);
        let wait = self.policy.backoff.wait(track.refused, self.random.f64());
        // A unit that it needs may be the masked one.
        let refusal = if refusal == Refusal::Masked && !is_masked { Refusal::Declined(error) } else { refusal };
        self.hold(now, name, refusal);
        self.set_timer(name, Some(now + wait));
        self.consider(now, name);
    }

    pub(super) fn attempt_failed(&mut self, now: Timestamp, name: &UnitName, error: String) {
        self.emit(name, EventPhase::Failed, |event| event.error.clone_from(&error));
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.last_failure = error;
        self.remember_file(name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        if self.policy.give_up_after.is_some_and(|limit| track.attempts >= limit) {
            self.exhausted(now, name);
        } else {
            track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
            self.schedule(now, name);
        }
        // It may be up again already: a restart by the manager, or by its user.
        self.consider(now, name);
    }

    pub(super) fn died_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            self.stopped(now, name, "");
        } else {
            self.attempt_failed(now, name, "died right after its start".to_owned());
        }
    }

    pub(super) fn ended_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        if self.stop_seen(name) {
            self.stopped(now, name, "");
        } else if track.oneshot {
            self.healed(now, name);
        } else if track.phase == Phase::Proving {
            // Unless that was its state before the start, told late.
            self.verify(now, name);
        }
    }

    /// It ended soon after its start, and without error.
    fn ended(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(|track| track.suspected == Some(State::ExpectedButStopped)) {
            self.attempt_failed(now, name, "ended without error right after its start".to_owned());
        } else {
            self.stopped(now, name, "it ended without error soon after its start");
            if let Some(track) = self.tracks.get_mut(name) {
                track.stop_is_certain = true;
            }
        }
    }

    /// Takes the close look that ends the proving time.
    pub(super) fn verify(&mut self, now: Timestamp, name: &UnitName) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.looked_at = now;
        }
        self.enter(name, Phase::Verifying);
        self.inspect(name, Purpose::Proof, Detail::default());
    }

    /// The answer to that look.
    pub(super) fn verified(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        let (Ok(unit), Some(track)) = (result, self.tracks.get(name)) else { return self.prove_on(now, name) };
        let since_start = track.looked_at.from_now(track.started_at);
        match unit.up_for.filter(|_| unit.active.is_up()) {
            Some(up_for) if up_for >= self.policy.stable_after => {
                if self.still_has_to_answer(name) {
                    self.prove_on(now, name);
                } else {
                    self.healed(now, name);
                }
            }
            Some(up_for) if up_for >= since_start => self.prove_on(now, name),
            Some(_) => self.attempt_failed(now, name, "died and was restarted right after its start".to_owned()),
            None if unit.active == ActiveState::Inactive && !unit.has_job => self.ended(now, name),
            // Its change of state is on its way to us, and decides.
            None => self.prove_on(now, name),
        }
    }

    fn prove_on(&mut self, now: Timestamp, name: &UnitName) {
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + SECOND_LOOK));
    }

    pub(super) fn healed(&mut self, now: Timestamp, name: &UnitName) {
        self.emit(name, EventPhase::Healed, |_| {});
        self.rest(now, name);
    }

    pub(super) fn recovered(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(Track::is_public) {
            self.emit(name, EventPhase::Recovered, |_| {});
        }
        self.rest(now, name);
    }

    /// Somebody cleared the failure of a worker. Mostly they start it next.
    pub(super) fn went_down(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            return self.stopped(now, name, "");
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.phase == Phase::Cleared && track.timer.is_some() {
            return;
        }
        self.enter(name, Phase::Cleared);
        self.set_timer(name, Some(now + SECOND_LOOK));
    }

    /// What took the place of our start has ended, and the worker is down.
    pub(super) fn was_cancelled(&mut self, now: Timestamp, name: &UnitName, failed: bool) {
        // The job that was seen is none of ours, and one that starts the unit would not have left it so.
        let stopped = self.units.get(name).is_some_and(|unit| unit.stop_possible);
        if !failed || stopped {
            self.stopped(now, name, "");
        } else {
            self.attempt_failed(now, name, CANCELLED.to_owned());
        }
    }

    pub(super) fn stopped(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        self.enter(name, Phase::Stopped);
        let Some(track) = self.tracks.get_mut(name) else { return };
        // Known before the stop, it may be of an earlier run.
        track.run = None;
        track.given_up = None;
        track.stop_is_certain = false;
        if self.mode == Mode::Automatic {
            self.set_timer(name, Some(now + LOOK_AGAIN));
            self.recheck(name);
        }
    }

    /// Nothing is left to heal, by somebody's doing.
    pub(super) fn dismiss(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(track) = self.tracks.get(name) else { return };
        if track.is_public() {
            self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        }
        self.rest(now, name);
    }

    /// The illness is over. Its history is kept until the worker has been up for `reset_after`.
    pub(super) fn rest(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.phase == Phase::GaveUp || track.given_up.is_some() {
            // Somebody took care of it where we could not: a new series of attempts may follow.
            track.attempts = 0;
        }
        self.leave(name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.ends();
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared_by_us = false;
        }
        self.enter(name, Phase::Resting);
        let Some(track) = self.tracks.get(name) else { return };
        if track.attempts == 0 {
            self.set_timer(name, None);
            self.tracks.remove(name);
        } else if self.units.get(name).is_some_and(|unit| unit.standing() == Standing::Up) {
            self.count_uptime(now, name);
        }
    }

    /// Up and not ill: at the beginning that may be an attempt of an earlier daemon's.
    pub(super) fn is_well(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if std::mem::take(&mut track.restored) {
            if track.attempt_open {
                return self.take_up(now, name);
            }
            // It may have been up for long already.
            track.ends();
            return self.inspect(name, Purpose::Uptime, Detail::default());
        }
        self.count_uptime(now, name);
    }

    fn count_uptime(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(|track| track.timer.is_none()) {
            self.set_timer(name, Some(now + self.policy.reset_after));
        }
    }

    fn exhausted(&mut self, now: Timestamp, name: &UnitName) {
        let attempts = self.tracks.get(name).map_or(0, |track| track.attempts);
        let attempts = format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" });
        self.give_up(now, name, &format!("{attempts} failed"));
    }

    pub(super) fn give_up(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let error = std::mem::take(&mut track.last_failure);
        track.given_up = Some(GivenUp { reason: reason.to_owned(), definition: track.definition, run: None });
        track.run = None;
        self.emit(name, EventPhase::GaveUp, |event| {
            reason.clone_into(&mut event.reason);
            event.error = error;
        });
        self.enter(name, Phase::GaveUp);
        if self.mode == Mode::Automatic {
            self.set_timer(name, Some(now + LOOK_AGAIN));
            self.recheck(name);
        }
    }

    pub(super) fn hold(&mut self, now: Timestamp, name: &UnitName, refusal: Refusal) {
        let one_of_many = if let Refusal::ParentDown(parent) = &refusal {
            self.join(now, name, parent)
        } else {
            self.leave(name);
            false
        };
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.told.as_ref().is_none_or(|told| !told.is_alike(&refusal)) {
            track.told = Some(refusal.clone());
            track.scheduled = None;
            let until = match &refusal {
                Refusal::Paused(pause) => pause.until.map(|until| until.from_now(now)),
                _ => None,
            };
            self.emit(name, EventPhase::Held, |event| {
                event.reason = refusal.to_string();
                event.one_of_many = one_of_many;
                event.retry_in = until;
            });
        }
        let takes_a_look = refusal.takes_a_look();
        self.enter(name, Phase::Held(refusal));
        if takes_a_look {
            self.set_timer(name, Some(now + LOOK_AGAIN));
        }
        self.remember_file(name);
    }

    fn schedule(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let (until, wait, next) = (track.not_before, track.not_before.from_now(now), track.attempts + 1);
        track.told = None;
        if track.scheduled.replace(until) != Some(until) {
            self.emit(name, EventPhase::Scheduled, |event| {
                event.attempt = Some(next);
                event.retry_in = Some(wait);
            });
        }
        self.wait_until(name, until);
    }

    fn announce(&mut self, name: &UnitName, state: State, seen: &Inspection) {
        if state == State::CrashLooping {
            return self.announce_loop(name, seen.restarts.map_or(0, |restarts| restarts.count));
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        let error = track.refuses.as_ref().filter(|_| state == State::Unreachable);
        let error = error.map(|place| format!("it refuses connections to {place}")).unwrap_or_default();
        if !std::mem::replace(&mut track.announced, true) {
            self.emit(name, EventPhase::Detected, |event| {
                event.attempt = None;
                event.error = error;
                state.as_str().clone_into(&mut event.reason);
            });
        }
    }
}

/// The few ways in which state is changed.
impl Healer {
    pub(super) fn inspect(&mut self, name: &UnitName, purpose: Purpose, detail: Detail) {
        self.ticket = self.ticket.wrapping_add(1);
        let look = Look { purpose, ticket: self.ticket };
        if let Some(track) = self.tracks.get_mut(name) {
            track.looks.open(look);
        }
        self.actions.push(Action::Inspect { unit: name.clone(), look, detail });
    }

    /// Has a look taken at the unit's files, unless it is known what they were like at the failure.
    fn remember_file(&mut self, name: &UnitName) {
        let known =
            self.tracks.get(name).is_none_or(|track| track.file.is_some() || track.looks.is_open(Purpose::Memory));
        if !known && self.mode == Mode::Automatic {
            self.inspect(name, Purpose::Memory, Detail { file: true, ..Detail::default() });
        }
    }

    /// The answer to that look.
    pub(super) fn remembered(&mut self, name: &UnitName, result: Result<Inspection, String>) {
        let (Some(track), Ok(seen)) = (self.tracks.get_mut(name), result) else { return };
        track.file = track.file.or(seen.file);
        track.definition = track.definition.or(seen.file.map(|file| file.definition));
        self.remembers_otherwise = true;
    }

    pub(super) fn enter(&mut self, name: &UnitName, phase: Phase) {
        self.set_timer(name, None);
        self.remembers_otherwise = true;
        if !matches!(phase, Phase::Due | Phase::Looking)
            && let Some(unit) = self.units.get_mut(name)
        {
            unit.fresh = false;
        }
        if let Some(track) = self.tracks.get_mut(name) {
            self.in_flight -= usize::from(track.phase.takes_a_slot());
            self.in_flight += usize::from(phase.takes_a_slot());
            track.phase = phase;
        }
    }

    pub(super) fn make_due(&mut self, name: &UnitName) {
        self.enter(name, Phase::Due);
        self.queue.push_back(name.clone());
    }

    fn wait_until(&mut self, name: &UnitName, until: Timestamp) {
        self.enter(name, Phase::Waiting { until });
        self.set_timer(name, Some(until));
    }

    pub(super) fn set_timer(&mut self, name: &UnitName, at: Option<Timestamp>) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if let Some(before) = std::mem::replace(&mut track.timer, at) {
            self.timers.remove(&(before, name.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, name.clone()));
        }
    }

    pub(super) fn emit(&mut self, name: &UnitName, phase: EventPhase, fill: impl FnOnce(&mut Event)) {
        let mut event = Event::new(phase);
        if let Some(worker) = self.worker(name) {
            worker.site.clone_into(&mut event.site);
        }
        name.short().clone_into(&mut event.unit);
        if matches!(phase, EventPhase::Starting | EventPhase::Healed | EventPhase::Failed | EventPhase::GaveUp) {
            event.attempt = self.tracks.get(name).map(|track| track.attempts).filter(|attempts| *attempts > 0);
        }
        fill(&mut event);
        self.actions.push(Action::Emit(event));
    }

    pub(super) fn worker(&self, name: &UnitName) -> Option<&Worker> {
        match &self.units.get(name)?.resolution {
            Resolution::Worker(worker) => Some(worker),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        }
    }

    fn intent_against(&self, name: &UnitName) -> Option<Refusal> {
        match self.worker(name) {
            Some(worker) => self.orders().intent_against(name, worker),
            None => self.stop_marker.then_some(Refusal::StopMarker),
        }
    }

    /// Uses the look to tell apart what the name alone could not.
    pub(super) fn settle_resolution(&mut self, name: &UnitName, seen: &Inspection) {
        if let Some(unit) = self.units.get_mut(name)
            && unit.resolution == Resolution::NeedsDirectory
        {
            unit.resolution = self.coverage.resolve_in(&self.registry, name, seen.working_directory.as_deref());
        }
    }
}
