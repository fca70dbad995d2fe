//! The laws: what must never happen, and what must happen in the end.
//!
//! Judged by the truth, which only the simulation knows, as far as the healer could know it. Each law names the rule
//! that it comes from.

use std::time::Duration;

use workerheal_core::diagnosis::Unrecoverable;
use workerheal_core::event::{Event, Phase};
use workerheal_core::policy::Policy;

use crate::scenario::{NAMES, SECOND, UNITS};

/// Maximum number of starts of one unit in a quarter of an hour: a flapping worker is given up or waited for, and a
/// refused start is not repeated at once.
const MAX_STARTS_PER_QUARTER_HOUR: u32 = 300;

/// Maximum delay until the healer knows of a failure, even if its signal was lost.
const MAX_DETECTION_TIME: Duration = Duration::from_secs(10);

/// Maximum delay until a stuck worker is reported.
const MAX_STUCK_REPORT_TIME: Duration = Duration::from_secs(180);

/// A breach of a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub law: &'static str,
    pub how: String,
}

impl Breach {
    /// Adds the name of the unit.
    pub fn of(self, unit: usize) -> Self {
        Self { how: format!("{}: {}", NAMES[unit], self.how), ..self }
    }
}

/// What was true of a unit when the healer inspected it to decide about a start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub stopped_by_person: bool,
    pub masked: bool,
    pub disabled_while_down: bool,
    pub foreign_job: bool,
    pub parent_down: bool,
    pub partner_up: bool,
    /// It has failed, and its author excluded it from restarts.
    pub left_to_others: bool,
    pub socket_failed: bool,
    pub directory_gone: bool,
    pub down: bool,
}

/// What people want, as far as the healer knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownIntent {
    pub paused: bool,
    pub covered: bool,
}

/// What the laws record about a unit.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub seen: Option<Seen>,
    /// Its uptime at the last inspection that was to prove it.
    pub proof: Option<Duration>,
    /// A start was requested and has not ended.
    pub starting: bool,
    attempt_open: bool,
    /// An earlier daemon may have begun an attempt.
    attempt_maybe_open: bool,
    attempts: u32,
    /// It was down because a unit that it needs was, when its last attempt began, and that attempt healed it: such an
    /// attempt does not count.
    along: bool,
    healed_along: bool,
    last_start: Option<Duration>,
    /// Starts in the current quarter of an hour, and its number.
    in_quarter: (u64, u32),
    /// How often something has happened that resets the attempts and permits another give-up.
    pub forgiven: u32,
    forgiven_at_start: u32,
    forgiven_at_give_up: u32,
    /// The resets when it was last given up: only a later one ends that.
    forgiven_when_given_up: u32,
    /// How often a person has started it, and how often they had when the last attempt began.
    cared: u32,
    cared_at_start: u32,
    /// The last count may not have been saved, or may be restored differently.
    pub uncertain: bool,
    pub gave_up: bool,
    given_up_for: String,
    /// Since when it could have been healed without interruption.
    pub healable_since: Option<Duration>,
    /// Since when it could have been healed, without interruption, while the healer considers it healthy.
    unfound_since: Option<Duration>,
    /// Since when it has been stuck without interruption, and when an event was last reported for it.
    stuck_since: Option<Duration>,
    reported_at: Duration,
    /// The last event reported it as stuck. If it gets stuck again, that is not reported again.
    reported_stuck: bool,
    /// Refusals of its health probe in a row.
    pub refusals: u32,
}

/// All records.
#[derive(Debug, Default)]
pub struct Laws {
    pub units: [Record; UNITS],
    /// The healer knows that its knowledge is uncertain.
    pub frozen: bool,
    /// The clock was changed: waits may be shorter.
    pub clock_turned: bool,
    pub under_way: usize,
}

fn broken(law: &'static str, how: impl Into<String>) -> Result<(), Breach> {
    Err(Breach { law, how: how.into() })
}

impl Record {
    /// Whether it was given up last because its unit file could not be used.
    fn is_given_up_for_its_file(&self) -> bool {
        let of_its_file = [Unrecoverable::NotFound, Unrecoverable::BadSetting, Unrecoverable::Unreadable];
        of_its_file.iter().any(|why| why.to_string() == self.given_up_for)
    }
}

impl Laws {
    /// The healer starts or restarts a unit.
    pub fn start(
        &mut self,
        now: Duration,
        unit: usize,
        restart: bool,
        known: KnownIntent,
        policy: &Policy,
    ) -> Result<(), Breach> {
        let record = &mut self.units[unit];
        let quarter = now.as_secs() / 900;
        let (last, count) = record.in_quarter;
        record.in_quarter = (quarter, if last == quarter { count + 1 } else { 1 });
        if record.in_quarter.1 > MAX_STARTS_PER_QUARTER_HOUR {
            return broken("no storm of starts", format!("{MAX_STARTS_PER_QUARTER_HOUR} in a quarter of an hour"));
        }
        if record.starting {
            return broken("one start at a time", "it is being started already");
        }
        if self.frozen {
            return broken("nothing is decided in doubt", "the manager reloads or is away");
        }
        if !known.covered {
            return broken("only covered workers are touched", "it is none");
        }
        if known.paused {
            return broken("intent wins", "its site, it itself or everything is paused");
        }
        let Some(seen) = record.seen.take() else {
            return broken("an inspection before each start", "it was not inspected");
        };
        let against = [
            (seen.stopped_by_person, "a person stopped it"),
            (seen.masked, "it is masked"),
            (seen.disabled_while_down, "it was disabled while it was down"),
            (seen.foreign_job, "a job of another client is pending"),
            (seen.parent_down, "a unit that it needs is down"),
            (seen.partner_up, "a unit that it conflicts with is up"),
            (seen.left_to_others, "its unit leaves that to others"),
            (seen.directory_gone && !restart, "its directory is gone"),
            (!seen.down && !restart, "it is not down"),
        ];
        if let Some((_, why)) = against.into_iter().find(|(against, _)| *against) {
            return broken("intent wins", why);
        }
        if restart && !seen.socket_failed && record.refusals < 3 {
            return broken("three refusals in a row", format!("it refused {} times", record.refusals));
        }
        record.starting = true;
        self.under_way += 1;
        if self.under_way > policy.max_concurrent {
            return broken("no more at once than allowed", format!("{} starts", self.under_way));
        }
        Ok(())
    }

    /// The start has ended, and the healer knows.
    pub fn start_ended(&mut self, unit: usize) {
        if std::mem::take(&mut self.units[unit].starting) {
            self.under_way -= 1;
        }
    }

    /// The daemon is gone, together with its pending requests.
    pub fn daemon_gone(&mut self) {
        self.under_way = 0;
        self.frozen = true;
        for record in &mut self.units {
            record.starting = false;
            record.attempt_maybe_open = true;
            record.attempt_open = false;
            record.seen = None;
            record.proof = None;
            record.healable_since = None;
            record.refusals = 0;
        }
    }

    /// The machine was booted: others have started everything, and the clock has another origin.
    pub fn booted(&mut self) {
        for record in &mut self.units {
            record.forgiven += 1;
        }
    }

    /// The start was refused because of another unit or for lack of a permission, so it does not count as an attempt. One
    /// that was not reported did not count before.
    pub fn no_attempt(&mut self, unit: usize) {
        let record = &mut self.units[unit];
        record.attempts = record.attempts.saturating_sub(u32::from(record.attempt_open));
        record.last_start = None;
    }

    /// The healer emits an event.
    pub fn event(
        &mut self,
        now: Duration,
        unit: usize,
        event: &Event,
        oneshot: bool,
        along: bool,
        policy: &Policy,
    ) -> Result<(), Breach> {
        let clock_turned = self.clock_turned;
        let record = &mut self.units[unit];
        record.reported_at = now;
        record.reported_stuck = event.reason == "stuck" || event.reason.starts_with("it has been st");
        match event.phase {
            Phase::Starting => {
                if record.attempt_open {
                    return broken("events in order", "an attempt begins before the last has ended");
                }
                record.attempt_open = true;
                record.attempt_maybe_open = false;
                record.gave_up = false;
                let attempt = event.attempt.unwrap_or(0);
                let next = record.attempts + 1;
                let known = attempt == next || (record.uncertain && attempt >= 1 && attempt <= next + 1);
                let known = known || (record.healed_along && attempt == record.attempts);
                (record.along, record.healed_along) = (along, false);
                if !(known || (attempt == 1 && record.forgiven > record.forgiven_at_start)) {
                    return broken("attempts are remembered", format!("attempt {attempt} follows {}", record.attempts));
                }
                if policy.give_up_after.is_some_and(|limit| attempt > limit) {
                    return broken("no more starts than the policy allows", format!("attempt {attempt}"));
                }
                // Half of the backoff, as the jitter is small and a failure follows its start.
                let least = policy.backoff.wait(attempt.saturating_sub(1), 0.0);
                if let Some(last) = record.last_start.filter(|_| attempt > 1 && !clock_turned && !record.uncertain)
                    && now < last + least
                {
                    return broken("backoff", format!("attempt {attempt} comes {:?} after the last", now - last));
                }
                record.attempts = attempt;
                record.forgiven_at_start = record.forgiven;
                record.cared_at_start = record.cared;
                record.uncertain = false;
                record.last_start = Some(now);
            }
            Phase::Healed => {
                let maybe_open = std::mem::take(&mut record.attempt_maybe_open);
                if !std::mem::take(&mut record.attempt_open) && !maybe_open {
                    return broken("events in order", "it is healed, but no attempt was begun");
                }
                record.healed_along = record.along;
                let proof = record.proof.take().unwrap_or_default();
                if !oneshot && proof < policy.stable_after {
                    return broken("healed means proven", format!("it had been up for {proof:?}"));
                }
            }
            Phase::Failed => {
                let maybe_open = std::mem::take(&mut record.attempt_maybe_open);
                if !std::mem::take(&mut record.attempt_open) && !maybe_open {
                    return broken("events in order", "an attempt fails that was not begun");
                }
            }
            Phase::GaveUp => {
                if record.attempt_open {
                    return broken("events in order", "given up in the middle of an attempt");
                }
                record.forgiven_when_given_up = record.forgiven;
                // The first give-up may be followed by another for a different reason, found out only then.
                let is_news = std::mem::replace(&mut record.given_up_for, event.reason.clone()) != event.reason;
                if std::mem::replace(&mut record.gave_up, true)
                    && !is_news
                    && std::mem::replace(&mut record.forgiven_at_give_up, record.forgiven) == record.forgiven
                {
                    return broken("one loud event", "it is given up a second time");
                }
            }
            Phase::Stopped | Phase::Recovered => {
                record.attempt_open = false;
                // A worker that has proven itself, or was stopped, starts anew after it was given up.
                record.forgiven += u32::from(std::mem::take(&mut record.gave_up));
            }
            Phase::Held | Phase::Scheduled => {
                if record.attempt_open {
                    return broken("events in order", format!("{} in the middle of an attempt", event.phase.as_str()));
                }
            }
            Phase::Detected | Phase::Done => {}
        }
        Ok(())
    }

    /// The unit has come up, or a person has started it or cleared its failure: each ends a give-up.
    pub fn end_give_up(&mut self, unit: usize) {
        let record = &mut self.units[unit];
        record.forgiven += u32::from(record.gave_up);
        record.cared += 1;
    }

    /// Only proven uptime, a person's start, heal or resume, or changed files end a give-up; of one for the file, that the
    /// file can be used (`has_usable_file`), even if it already could when that was told. `is_given_up`: as in the saved
    /// state.
    pub fn give_up_stands(&self, unit: usize, is_given_up: bool, has_usable_file: bool) -> Result<(), Breach> {
        let record = &self.units[unit];
        if has_usable_file && record.is_given_up_for_its_file() {
            return Ok(());
        }
        let is_forgiven =
            record.forgiven > record.forgiven_when_given_up || record.cared > record.cared_at_start || record.uncertain;
        if record.gave_up && !is_forgiven && !is_given_up {
            return broken("a give-up stands", "it is given up no longer, and nothing has changed");
        }
        Ok(())
    }

    /// Whether the healer considers a failed worker healthy for longer than until the second list after the failure.
    pub fn found(&mut self, now: Duration, unit: usize, is_unfound: bool) -> Result<(), Breach> {
        let record = &mut self.units[unit];
        if !is_unfound {
            record.unfound_since = None;
            return Ok(());
        }
        let since = *record.unfound_since.get_or_insert(now);
        if now > since + MAX_DETECTION_TIME {
            return broken(
                "a failure is found by the next list",
                format!("it is taken for well for {:?}", now - since),
            );
        }
        Ok(())
    }

    /// Whether a worker is stuck and that was not reported. `since`: when it became so.
    pub fn stuck(&mut self, now: Duration, unit: usize, since: Option<Duration>) -> Result<(), Breach> {
        let record = &mut self.units[unit];
        let Some(since) = since else {
            record.stuck_since = None;
            return Ok(());
        };
        let seen = *record.stuck_since.get_or_insert(now);
        if now > seen + MAX_STUCK_REPORT_TIME && record.reported_at < since && !record.reported_stuck && !record.gave_up
        {
            return broken("a stuck worker is reported", format!("it is stuck for {:?}", now - since));
        }
        Ok(())
    }

    /// Whether a worker that could be healed has been forgotten.
    pub fn healable(&mut self, now: Duration, unit: usize, healable: bool, policy: &Policy) -> Result<(), Breach> {
        let record = &mut self.units[unit];
        // What can be healed has a file that can be used, whatever was wrong with that when it was given up.
        if !healable || record.starting || (record.gave_up && !record.is_given_up_for_its_file()) {
            record.healable_since = None;
            return Ok(());
        }
        let since = *record.healable_since.get_or_insert(now);
        let longest = policy.backoff.wait(u32::MAX, 1.0) + policy.timeout + 120 * SECOND;
        if now > since + longest {
            return broken("no failed worker is forgotten", format!("nothing was done for {:?}", now - since));
        }
        Ok(())
    }
}
