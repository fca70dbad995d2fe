//! When something is asked for again.

use std::time::Duration;

use tokio::time::Instant;

/// The times of a question that is asked again and again, while it is of interest.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When it was last asked, when it is asked next, and whether its answer is still to come.
    asked: Option<Instant>,
    next: Option<Instant>,
    is_pending: bool,
}

impl Schedule {
    /// When the question is due.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Plans the next question: after this delay, and not within the interval after the last one. Nothing is planned
    /// before the answer has come.
    pub fn plan(&mut self, now: Instant, delay: Duration, interval: Duration) {
        if !self.is_pending {
            let soonest = self.asked.map_or(now + delay, |asked| (now + delay).max(asked + interval));
            self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
        }
    }

    /// The question is of no interest.
    pub fn cancel(&mut self) {
        self.next = None;
    }

    /// The question is asked now.
    pub fn ask(&mut self, now: Instant) {
        *self = Self { asked: Some(now), next: None, is_pending: true };
    }

    /// The answer has come.
    pub fn answered(&mut self) {
        self.is_pending = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_after_a_delay_and_again_after_an_interval() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (delay, interval) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut schedule = Schedule::default();
        schedule.plan(at(0), delay, interval);
        schedule.plan(at(1), delay, interval);
        assert_eq!(schedule.next(), Some(at(1)), "planning it again does not put it off");
        schedule.ask(at(1));
        schedule.plan(at(2), delay, interval);
        assert_eq!(schedule.next(), None, "the answer is still to come");
        schedule.answered();
        schedule.plan(at(3), delay, interval);
        assert_eq!(schedule.next(), Some(at(11)));
        schedule.plan(at(3), delay, Duration::from_secs(5));
        assert_eq!(schedule.next(), Some(at(6)), "it has become more urgent");
        schedule.cancel();
        assert_eq!(schedule.next(), None);
        schedule.plan(at(30), delay, interval);
        assert_eq!(schedule.next(), Some(at(31)));
    }
}
