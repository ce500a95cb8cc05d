//! How long a probe still may wait.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netarium_core::outcome::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A moment until which something is waited for.
pub(crate) struct Deadline {
    began: Instant,
    length: Duration,
}

/// Whether something has come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TooLong,
}

impl Deadline {
    /// A deadline this long from now.
    pub(crate) fn new(length: Duration) -> Self {
        Self { began: Instant::now(), length }
    }

    /// How long ago it was set, in milliseconds, to the microsecond.
    pub(crate) fn millis(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
    }

    /// How long ago it was set.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What is said when nothing came.
    pub(crate) fn silent(&self) -> Outcome {
        Outcome::Silent { millis: self.millis() }
    }

    /// Waits until a descriptor is ready or the deadline has passed.
    pub(crate) fn wait(&self, descriptor: &impl AsFd, events: PollFlags) -> Waited {
        self.wait_until(descriptor, events, self.length)
    }

    /// Waits until a descriptor is ready, or so long has passed since the deadline was set.
    pub(crate) fn wait_until(
        &self,
        descriptor: &impl AsFd,
        events: PollFlags,
        until: Duration,
    ) -> Waited {
        let until = until.min(self.length);
        loop {
            let left = until.saturating_sub(self.elapsed());
            let timeout = Timespec::try_from(left).expect("deadlines are at most weeks");
            match poll(&mut [PollFd::new(descriptor, events)], Some(&timeout)) {
                Ok(count) if count > 0 => return Waited::Ready,
                _ if left.is_zero() => return Waited::TooLong,
                _ => {}
            }
        }
    }
}
