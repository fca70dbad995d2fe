//! A timer that ticks regularly and wakes the process once for each tick.
//!
//! The timers of tokio do not: they are kept in a wheel, and a wait of three seconds wakes the process up to three
//! times, to move the timer to a finer level of the wheel. On Linux a timer of the kernel (timerfd_create(2)) takes its
//! place.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The timer. The first tick comes at once; ticks that are missed are made up for by one.
#[derive(Debug)]
pub(super) struct Ticker {
    period: Duration,
    timer: Timer,
}

#[derive(Debug)]
enum Timer {
    #[cfg(target_os = "linux")]
    Kernel(kernel::Timer),
    Tokio(Interval),
}

impl Ticker {
    pub fn new(period: Duration) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = kernel::Timer::new(period) {
            return Self { period, timer: Timer::Kernel(timer) };
        }
        Self { period, timer: in_runtime(period) }
    }

    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick. None is lost if this is dropped.
    pub async fn tick(&mut self) {
        match &mut self.timer {
            #[cfg(target_os = "linux")]
            Timer::Kernel(timer) => {
                if timer.tick().await.is_err() {
                    self.timer = in_runtime(self.period);
                }
            }
            Timer::Tokio(interval) => {
                interval.tick().await;
            }
        }
    }
}

fn in_runtime(period: Duration) -> Timer {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Timer::Tokio(interval)
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub fn new(period: Duration) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            let interval = Timespec::try_from(period).map_err(io::Error::other)?;
            // Zero would disarm it.
            let first = Timespec { tv_sec: 0, tv_nsec: 1 };
            let schedule = Itimerspec { it_interval: interval, it_value: first };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &schedule)?;
            #[expect(deprecated, reason = "its successor is unsafe, for types that may close their descriptor early")]
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        pub async fn tick(&self) -> io::Result<()> {
            // How often it has ticked since the last time.
            let mut count = [0; size_of::<u64>()];
            let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut count)?);
            self.0.async_io(Interest::READABLE, read).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_ticks_at_once_and_then_after_each_period() {
        const PERIOD: Duration = Duration::from_millis(30);
        // However late the test goes on, no tick comes early: each time is taken before what it is compared with.
        let begin = Instant::now();
        let mut ticker = Ticker::new(PERIOD);
        for ticks in 0..4 {
            ticker.tick().await;
            assert!(begin.elapsed() >= PERIOD * ticks, "{ticks}");
        }
        // Ticks that were missed count as one.
        std::thread::sleep(PERIOD * 3);
        let waited = Instant::now();
        ticker.tick().await;
        ticker.tick().await;
        ticker.tick().await;
        assert!(waited.elapsed() >= PERIOD, "{:?}", waited.elapsed());
    }
}
