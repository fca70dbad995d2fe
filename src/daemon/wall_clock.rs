//! Converts times of the healer's clock to the wall clock, such that a pause ends at the same time however often it is
//! asked for.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use crate::core::time::Timestamp;
use crate::files::state_file::Clocks;

/// Differences up to this are those of reading two clocks, and of the correction by NTP.
const TOLERANCE: Duration = Duration::from_millis(500);

/// One reading of both clocks, kept until the wall clock is set.
#[derive(Debug)]
pub(super) struct WallClock(Cell<Clocks>);

impl WallClock {
    pub fn new(reading: Clocks) -> Self {
        Self(Cell::new(reading))
    }

    /// The time at `at`, given a current reading.
    pub fn at(&self, at: Timestamp, current: Clocks) -> SystemTime {
        let expected = time_at(self.0.get(), current.now);
        let apart = expected.duration_since(current.wall).unwrap_or_else(|earlier| earlier.duration());
        if apart > TOLERANCE {
            self.0.set(current);
        }
        time_at(self.0.get(), at)
    }
}

fn time_at(Clocks { now, wall }: Clocks, at: Timestamp) -> SystemTime {
    let time = if at >= now { wall.checked_add(at.from_now(now)) } else { wall.checked_sub(now.from_now(at)) };
    time.unwrap_or(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: SystemTime = SystemTime::UNIX_EPOCH;

    fn reading(now: u64, wall: u64) -> Clocks {
        let now = Timestamp::from_origin(Duration::from_millis(now));
        Clocks { now, wall: WALL + Duration::from_millis(wall) }
    }

    #[test]
    fn a_time_stays_the_same_until_the_wall_clock_is_set() {
        let clock = WallClock::new(reading(1000, 50_000));
        let end = Timestamp::from_origin(Duration::from_millis(61_999));
        let time = WALL + Duration::from_millis(110_999);
        for jitter in [0, 3, 400] {
            assert_eq!(clock.at(end, reading(2000, 51_000 + jitter)), time);
            assert_eq!(clock.at(end, reading(2000 + jitter, 51_000)), time);
        }
        assert_eq!(clock.at(end, reading(3000, 3_652_000)), time + Duration::from_secs(3600));
        assert_eq!(clock.at(end, reading(4000, 53_000)), time, "it was set back");
        assert_eq!(clock.at(Timestamp::default(), reading(4000, 53_000)), WALL + Duration::from_secs(49));
    }
}
