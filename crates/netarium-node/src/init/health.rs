//! Whether a running service is well, as a value: when the program that tells it is due, and what
//! its answers mean.
//!
//! What the numbers mean is what container engines make of `HEALTHCHECK`, with one difference:
//! before the first success it is asked sooner and more often, since somebody waits for it. Those
//! early failures count no more often than one in an interval.

use std::time::Duration;

use netarium_core::model::Health;

/// The pause after the first failure of all; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The shortest pause between two runs: a check that ends at once is not all that a node does.
const SHORTEST: Duration = Duration::from_millis(1);

/// The health of one run of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    interval: Duration,
    timeout: Duration,
    retries: u32,
    verdict: Verdict,
    /// How many failures in a row have counted.
    failures: u32,
    /// The pause after the next failure before the first success, and the longest such.
    pause: [Duration; 2],
    /// Before the first success, failures before this moment do not count.
    counts_from: Duration,
    phase: Phase,
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Starting,
    /// It is well.
    Healthy,
    /// It is not; why.
    Unhealthy(String),
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Run the check, then say what came of it.
    Run,
    /// End the check that runs, then say what came of it.
    Kill,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Until it is run again.
    Pausing(Duration),
    /// It runs, and may until then.
    Running(Duration),
    /// It took too long and is being ended.
    Ending,
}

impl Watch {
    /// Of a service that has just been started.
    pub(crate) fn begin(now: Duration, health: &Health) -> Self {
        let time = |millis: u32| Duration::from_millis(millis.into());
        let interval = time(health.interval).max(SHORTEST);
        let longest = time(health.start_interval).min(interval).max(SHORTEST);
        Self {
            interval,
            timeout: time(health.timeout),
            retries: health.retries.max(1),
            verdict: Verdict::Starting,
            failures: 0,
            pause: [FIRST_PAUSE.min(longest), longest],
            counts_from: now + time(health.start_period).max(interval),
            phase: Phase::Pausing(now),
        }
    }

    /// What is known.
    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// When [`Watch::due`] has something to say.
    pub(crate) fn next(&self) -> Option<Duration> {
        match self.phase {
            Phase::Pausing(at) | Phase::Running(at) => Some(at),
            Phase::Ending => None,
        }
    }

    /// What is to be done, once.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Deed> {
        match self.phase {
            Phase::Pausing(at) if at <= now => {
                self.phase = Phase::Running(now + self.timeout);
                Some(Deed::Run)
            }
            Phase::Running(at) if at <= now => {
                self.phase = Phase::Ending;
                Some(Deed::Kill)
            }
            _ => None,
        }
    }

    /// Takes note of what came of the check: nothing, or why the service is not well.
    pub(crate) fn heard(&mut self, now: Duration, fault: Option<String>) {
        let late = matches!(self.phase, Phase::Ending);
        let fault = match fault {
            Some(_) if late => Some(format!("its check took more than {:?}", self.timeout)),
            fault => fault,
        };
        let pause = match fault {
            None => {
                self.failures = 0;
                self.verdict = Verdict::Healthy;
                self.interval
            }
            Some(fault) => {
                self.failed(now, fault);
                match self.verdict {
                    Verdict::Starting => self.early_pause(),
                    _ => self.interval,
                }
            }
        };
        self.phase = Phase::Pausing(now + pause);
    }

    fn failed(&mut self, now: Duration, fault: String) {
        if self.verdict == Verdict::Starting {
            if now < self.counts_from {
                return;
            }
            self.counts_from = now + self.interval;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.retries {
            let times = match self.failures {
                1 => String::new(),
                times => format!(", {times} times in a row"),
            };
            self.verdict = Verdict::Unhealthy(format!("{fault}{times}"));
        }
    }

    fn early_pause(&mut self) -> Duration {
        let [pause, longest] = self.pause;
        self.pause = [(pause * 2).min(longest), longest];
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn health() -> Health {
        Health { interval: 1_000, timeout: 500, retries: 2, ..Health::of(vec!["ask".to_owned()]) }
    }

    fn fault() -> Option<String> {
        Some("ended with status 1".to_owned())
    }

    /// Runs the check when it is due, and says what came of it at once.
    fn run(watch: &mut Watch, fault: Option<String>) -> Duration {
        let now = watch.next().unwrap();
        assert_eq!(watch.due(now), Some(Deed::Run));
        watch.heard(now, fault);
        now
    }

    #[test]
    fn the_first_success_makes_it_healthy_at_once_and_then_it_is_asked_each_interval() {
        let mut watch = Watch::begin(ms(7), &health());
        assert_eq!(watch.verdict(), &Verdict::Starting);
        assert_eq!(run(&mut watch, None), ms(7));
        assert_eq!(watch.verdict(), &Verdict::Healthy);
        assert_eq!(run(&mut watch, None), ms(1_007));
    }

    #[test]
    fn early_failures_are_followed_by_growing_pauses_and_count_once_in_an_interval() {
        let mut watch = Watch::begin(ms(0), &health());
        let times: Vec<_> = (0..8).map(|_| run(&mut watch, fault()).as_millis()).collect();
        assert_eq!(times, [0, 25, 75, 175, 375, 775, 1575, 2575]);
        assert_eq!(watch.failures, 2, "that after 1575 ms and that after 2575 ms");
        let unhealthy = "ended with status 1, 2 times in a row".to_owned();
        assert_eq!(watch.verdict(), &Verdict::Unhealthy(unhealthy));
        assert_eq!(run(&mut watch, None), ms(3_575));
        assert_eq!(watch.verdict(), &Verdict::Healthy);
    }

    #[test]
    fn failures_do_not_count_in_the_start_period_until_one_run_has_succeeded() {
        let health = Health { start_period: 60_000, retries: 1, ..health() };
        let mut watch = Watch::begin(ms(0), &health);
        while run(&mut watch, fault()) < ms(50_000) {}
        assert_eq!(watch.verdict(), &Verdict::Starting);
        run(&mut watch, None);
        run(&mut watch, fault());
        assert_eq!(watch.verdict(), &Verdict::Unhealthy("ended with status 1".to_owned()));
    }

    #[test]
    fn a_success_between_two_failures_begins_the_count_anew() {
        let mut watch = Watch::begin(ms(0), &health());
        for fault in [None, fault(), None, fault()] {
            run(&mut watch, fault);
        }
        assert_eq!(watch.verdict(), &Verdict::Healthy);
    }

    #[test]
    fn a_check_that_takes_too_long_is_ended_once_and_counts_as_failed() {
        let mut watch = Watch::begin(ms(0), &Health { retries: 1, ..health() });
        run(&mut watch, None);
        assert_eq!(watch.due(ms(1_000)), Some(Deed::Run));
        assert_eq!(watch.next(), Some(ms(1_500)));
        assert_eq!(watch.due(ms(1_499)), None);
        assert_eq!(watch.due(ms(1_500)), Some(Deed::Kill));
        assert_eq!((watch.due(ms(1_600)), watch.next()), (None, None));
        watch.heard(ms(1_600), Some("was ended by signal 9".to_owned()));
        let unhealthy = "its check took more than 500ms".to_owned();
        assert_eq!(watch.verdict(), &Verdict::Unhealthy(unhealthy));
        assert_eq!(watch.next(), Some(ms(2_600)));
    }

    #[test]
    fn a_longer_start_interval_than_the_interval_makes_no_difference() {
        let health = Health { interval: 10, start_interval: 5_000, ..health() };
        let mut watch = Watch::begin(ms(0), &health);
        let times: Vec<_> = (0..3).map(|_| run(&mut watch, fault()).as_millis()).collect();
        assert_eq!(times, [0, 10, 20]);
    }
}
