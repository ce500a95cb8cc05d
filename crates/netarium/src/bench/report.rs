//! Figures beside their bars, as a table for people and as plain data for programs.

use std::fmt;
use std::time::Duration;

use netarium_core::name::Name;
use serde::Serialize;

use super::Measured;
use super::engines::{Contender, Turn};
use super::memory::Memory;
use super::together::Together;

/// The lab that the bars are about.
const BARRED_LAB: &str = "site-to-site";

/// What each figure of that lab may be at most, in the figure's unit.
const BARS: [(&str, f64); 6] = [
    (WIRED, 150.0),
    (ALL_ANSWERS, 800.0),
    (DOWN, 200.0),
    (MEMORY, 60.0),
    (INIT, 1.0),
    (COLD, 45.0),
];

/// The labs that the bar of labs that come up together is about.
const TOGETHER: [&str; 3] = ["host-to-host", "ipv6-site-to-site", "site-to-site"];

/// How long it may take until all tunnels of those stand, in milliseconds.
const TOGETHER_BAR: f64 = 2000.0;

/// What it may take to read, resolve and plan a thousand nodes, in milliseconds.
pub(super) const THOUSAND_BAR: f64 = 100.0;

/// What the first answer with an engine may take at most of what it takes with another, in per cent.
const AGAINST: [(&str, &str, f64); 2] =
    [("native", "docker", 25.0), ("docker", "docker-compose", 100.0)];

const WIRED: &str = "nodes wired";
const STARTED: &str = "containers started";
const TUNNELS: &str = "tunnels stand";
const SETTLED: &str = "services ready, tunnels stand";
const ALL_ANSWERS: &str = "first answer through every tunnel";
const DOWN: &str = "down";
const MEMORY: &str = "memory all told, lab idle";
const INIT: &str = "private memory of one init";
const COLD: &str = "cold start, no image yet";

/// Figures of a lab.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was measured and on what machine, one line.
    pub title: String,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Where the memory of the last run was.
    pub memory: Option<Memory>,
}

/// One figure: what came out, run by run, and what should.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// What the numbers count.
    pub unit: Unit,
    /// The smallest.
    pub minimum: f64,
    /// The one in the middle, which the bar is about.
    pub median: f64,
    /// The largest.
    pub maximum: f64,
    /// What it may be at most.
    pub bar: Option<f64>,
    /// All of them, in the order of the runs.
    pub runs: Vec<f64>,
}

/// What the numbers of a figure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Thousandths of a second.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Hundredths of another figure.
    #[serde(rename = "%")]
    Percent,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
            Self::Percent => "%",
        })
    }
}

impl Figure {
    /// The figure of these runs, of which there is at least one.
    pub(super) fn of(what: &str, unit: Unit, bar: Option<f64>, runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        // The middle of an even number of runs is between two of them.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { what: what.to_owned(), unit, minimum: at(0), median, maximum: at(last), bar, runs }
    }

    /// By how much the median is over the bar, if it is.
    pub fn missed_by(&self) -> Option<f64> {
        self.bar.map(|bar| self.median - bar).filter(|over| *over > 0.0)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, minimum, median, maximum, .. } = self;
        write!(f, "{what:<44} {minimum:>8.1} {median:>8.1} {maximum:>8.1} {unit:<2}")?;
        match (self.bar, self.missed_by()) {
            (Some(bar), Some(over)) => write!(f, " {bar:>6} missed by {over:.1} {unit}"),
            (Some(bar), None) => write!(f, " {bar:>6} met"),
            (None, _) => write!(f, " {:>6}", "-"),
        }
    }
}

impl Report {
    pub(super) fn of(lab: &Name, runs: &[Measured]) -> Self {
        let mut figures = Vec::new();
        let mut add = |what: &str, unit, values: Vec<f64>| {
            if !values.is_empty() {
                figures.push(Figure::of(what, unit, bar(lab, what), values));
            }
        };
        let times = |pick: &dyn Fn(&Measured) -> Option<Duration>| {
            runs.iter().filter_map(pick).map(|it| it.as_secs_f64() * 1e3).collect()
        };
        let ms = Unit::Milliseconds;
        add(WIRED, ms, times(&|run| run.up.wired));
        add(TUNNELS, ms, times(&|run| run.up.tunnels));
        add(SETTLED, ms, times(&|run| Some(run.up.settled)));
        let asked = runs.first().map_or(&[][..], |run| run.up.answers.as_slice());
        for (index, (name, _)) in asked.iter().enumerate() {
            let what = format!("first answer: {name}");
            add(&what, ms, times(&|run| run.up.answers.get(index).map(|(_, took)| *took)));
        }
        add(ALL_ANSWERS, ms, times(&|run| run.up.answers.iter().map(|(_, took)| *took).max()));
        add(DOWN, ms, times(&|run| Some(run.down)));
        let sizes = |pick: &dyn Fn(&Memory) -> u64| {
            runs.iter().map(|run| megabytes(pick(&run.memory))).collect()
        };
        add(MEMORY, Unit::Megabytes, sizes(&|memory| memory.bytes));
        add(INIT, Unit::Megabytes, sizes(&|memory| memory.init_private));
        let title = format!(
            "{lab}: {} runs, each up and down a process of its own, image cached; {}",
            runs.len(),
            machine()
        );
        Self { title, figures, memory: runs.last().map(|run| run.memory.clone()) }
    }

    pub(super) fn of_cold(lab: &Name, took: Duration) -> Self {
        let figure = Figure::of(COLD, Unit::Seconds, bar(lab, COLD), vec![took.as_secs_f64()]);
        let title = format!("{lab}: cold start; {}", machine());
        Self { title, figures: vec![figure], memory: None }
    }

    pub(super) fn of_together(labs: &[&Name], runs: &[Together]) -> Self {
        let mut names: Vec<&str> = labs.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let times = |what: &str, bar, pick: &dyn Fn(&Together) -> Option<Duration>| {
            let values = runs.iter().filter_map(pick).map(|it| it.as_secs_f64() * 1e3);
            Figure::of(what, Unit::Milliseconds, bar, values.collect())
        };
        let bar = (names == TOGETHER).then_some(TOGETHER_BAR);
        let memory = runs.iter().map(|run| megabytes(run.memory)).collect();
        let mut figures = vec![
            times("all nodes wired", None, &|run| Some(run.wired)),
            times("all tunnels stand", bar, &|run| run.tunnels),
            times("all services ready, all tunnels stand", None, &|run| Some(run.settled)),
            times("all down", None, &|run| Some(run.down)),
            Figure::of("memory all told, labs idle", Unit::Megabytes, None, memory),
        ];
        // Labs without tunnels have no such figure.
        figures.retain(|figure| !figure.runs.is_empty());
        let title = format!(
            "{} at the same time: {} runs, images cached; {}",
            names.join(", "),
            runs.len(),
            machine()
        );
        Self { title, figures, memory: None }
    }

    pub(super) fn of_engines(lab: &Name, measured: &[(Contender, Vec<Turn>)]) -> Self {
        let mut figures = Vec::new();
        let ms = |took: Duration| took.as_secs_f64() * 1e3;
        for (contender, turns) in measured {
            let mut add = |what: &str, pick: &dyn Fn(&Turn) -> Option<Duration>| {
                let values: Vec<f64> = turns.iter().filter_map(pick).map(ms).collect();
                if !values.is_empty() {
                    let what = format!("{contender}: {what}");
                    figures.push(Figure::of(&what, Unit::Milliseconds, None, values));
                }
            };
            let wired = if contender.engine().is_some() { WIRED } else { STARTED };
            add(wired, &|turn| turn.wired);
            add(TUNNELS, &|turn| turn.tunnels);
            add("first answer", &|turn| Some(turn.answered));
            add(DOWN, &|turn| Some(turn.down));
        }
        let called = |name: &str| measured.iter().find(|(it, _)| it.to_string() == name);
        for (one, other, most) in AGAINST {
            let (Some((_, ones)), Some((_, others))) = (called(one), called(other)) else {
                continue;
            };
            let pairs = ones.iter().zip(others);
            let ratio =
                |(one, other): (&Turn, &Turn)| 100.0 * ms(one.answered) / ms(other.answered);
            let what = format!("first answer, {one} against {other}");
            let bar = (lab.as_str() == BARRED_LAB).then_some(most);
            figures.push(Figure::of(&what, Unit::Percent, bar, pairs.map(ratio).collect()));
        }
        let runs = measured.first().map_or(0, |(_, turns)| turns.len());
        let title = format!("{lab}: {runs} runs by turns, images cached; {}", machine());
        Self { title, figures, memory: None }
    }

    /// The same with one more figure.
    #[must_use]
    pub fn with(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        let head = ["minimum", "median", "maximum", "bar"];
        writeln!(f, "{:<44} {:>8} {:>8} {:>8}    {:>6}", "", head[0], head[1], head[2], head[3])?;
        self.figures.iter().try_for_each(|figure| writeln!(f, "{figure}"))?;
        match &self.memory {
            Some(memory) => write!(f, "\n{memory}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = megabytes(self.bytes);
        writeln!(f, "memory (proportional set size): {total:.1} MB, {} processes", self.processes)?;
        for program in &self.programs {
            let size = megabytes(program.bytes);
            writeln!(f, "  {:<20} {:>3} × {size:>8.1} MB", program.name, program.processes)?;
        }
        if !self.engine.is_empty() {
            writeln!(f, "beside it, what the engine has for this and all its containers:")?;
        }
        for program in &self.engine {
            let size = megabytes(program.bytes);
            writeln!(f, "  {:<20} {:>3} × {size:>8.1} MB", program.name, program.processes)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "no lab has 2^53 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bar(lab: &Name, what: &str) -> Option<f64> {
    let bar = BARS.iter().find(|(name, _)| lab.as_str() == BARRED_LAB && *name == what);
    bar.map(|(_, bar)| *bar)
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = rustix::system::uname();
    let build =
        if cfg!(debug_assertions) { "a debug build, which is slow" } else { "release build" };
    let kernel = kernel.release().to_string_lossy();
    format!("{processors} processors, kernel {kernel}, {build}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_is_between_two() {
        let figure = Figure::of("it", Unit::Milliseconds, Some(2.0), vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((figure.minimum, figure.median, figure.maximum), (1.0, 2.5, 4.0));
        assert_eq!(figure.missed_by(), Some(0.5));
        assert!(figure.to_string().ends_with("missed by 0.5 ms"), "{figure}");
    }

    #[test]
    fn an_engine_is_compared_with_the_next_run_by_run() {
        let turn = |millis| {
            let answered = Duration::from_millis(millis);
            Turn { wired: None, tunnels: None, answered, down: Duration::ZERO }
        };
        let [native, docker, compose] = Contender::ALL;
        let measured = [
            (native, vec![turn(100), turn(400)]),
            (docker, vec![turn(1000), turn(1000)]),
            (compose, vec![turn(800), turn(2000)]),
        ];
        let report = Report::of_engines(&Name::new(BARRED_LAB).unwrap(), &measured);
        let [.., first, last] = report.figures.as_slice() else { panic!("{report}") };
        assert_eq!(first.what, "first answer, native against docker");
        assert_eq!((first.runs.as_slice(), first.bar), ([10.0, 40.0].as_slice(), Some(25.0)));
        assert_eq!(last.what, "first answer, docker against docker-compose");
        assert_eq!((last.runs.as_slice(), last.bar), ([125.0, 50.0].as_slice(), Some(100.0)));
    }

    #[test]
    fn bars_are_those_of_one_lab() {
        assert_eq!(bar(&Name::new(BARRED_LAB).unwrap(), DOWN), Some(200.0));
        assert_eq!(bar(&Name::new("another").unwrap(), DOWN), None);
    }
}
