//! What happens while a lab comes up or an image is built, as it happens: a bar on a terminal, a
//! line for each thing that matters elsewhere, or JSON lines.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use netarium::event::Event;
use netarium::image::ImageEvent;
use serde::Serialize;

use super::layers::Layers;
use super::{Form, Style, Talk, WARN, bytes, json_line, say, span};

/// How often a bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// How much of a build passes before it is told again where there is no bar, in parts of the whole.
const TOLD_EVERY: u64 = 10;

/// Shows events, and keeps the time.
pub(crate) struct Progress {
    began: Instant,
    style: Style,
    bar: Option<ProgressBar>,
    layers: Layers,
    seen: Mutex<Seen>,
}

/// What there is to know of the events so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// How many steps there are to do, once that is known. From then on something may have changed.
    pub(crate) planned: Option<usize>,
    /// How long images took to be ready. The other times, but that of the end, do without it.
    pub(crate) images: Option<Duration>,
    /// When all nodes were wired.
    pub(crate) wired: Option<Duration>,
    /// When the last tunnel stood.
    pub(crate) tunnels: Option<Duration>,
    /// When all was over.
    pub(crate) settled: Option<Duration>,
    /// The tenth of a build that was told last.
    tenth: Option<u64>,
}

#[derive(Serialize)]
struct Line<T> {
    /// Milliseconds since the command began.
    millis: f64,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Happened<'a> {
    event: &'a Event,
}

impl Progress {
    /// The time begins now.
    pub(crate) fn begin(style: Style) -> Self {
        let shows_bar = style.form == Form::Text
            && style.talk == Talk::Normal
            && std::io::stderr().is_terminal();
        let bar = shows_bar.then(|| {
            let bar = ProgressBar::new(0).with_style(plain());
            bar.enable_steady_tick(TICK);
            bar
        });
        let layers = Layers::default();
        Self { began: Instant::now(), style, bar, layers, seen: Mutex::default() }
    }

    /// Shows an event.
    pub(crate) fn event(&self, event: &Event) {
        let now = self.began.elapsed();
        self.remember(event, now);
        if self.style.form == Form::Json {
            // Nobody reads it any more: the lab comes up all the same.
            self.json(&Happened { event }).ok();
        } else if let Some(bar) = &self.bar {
            self.draw(bar, event);
        } else if let Some(text) = self.text(event) {
            self.style.say(self.timed(now, &text));
        }
    }

    /// Writes a line of JSON that says when it was written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn json(&self, what: &impl Serialize) -> std::io::Result<()> {
        let millis = (self.began.elapsed().as_secs_f64() * 1e5).round() / 1e2;
        json_line(&Line { millis, what })
    }

    /// Tells something that is no event.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => self.style.say(text),
        }
    }

    /// Takes the bar away, and says what was seen.
    pub(crate) fn end(&self) -> Seen {
        self.layers.end();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.seen()
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, event: &Event, now: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let images = seen.images.unwrap_or_default();
        match event {
            Event::Planned { steps } => seen.planned = Some(*steps),
            Event::Image { event: ImageEvent::Done { .. } | ImageEvent::Pulled { .. }, .. } => {
                seen.images = Some(now);
            }
            Event::Wired => seen.wired = Some(now.saturating_sub(images)),
            Event::Tunnel { .. } => seen.tunnels = Some(now.saturating_sub(images)),
            Event::Settled => seen.settled = Some(now),
            _ => {}
        }
    }

    fn timed(&self, now: Duration, text: &str) -> String {
        match self.style.talk {
            Talk::Verbose => format!("{:>8}  {text}", span(now)),
            _ => text.to_owned(),
        }
    }

    /// Moves the bar. What should stay to be read is written above it.
    fn draw(&self, bar: &ProgressBar, event: &Event) {
        match event {
            Event::Step { text, done, total } => {
                measure(bar, number(*done), number(*total));
                bar.set_message(text.clone());
            }
            Event::Image { name, event: ImageEvent::Step { text, done, total } } => {
                measure(bar, *done, *total);
                bar.set_message(format!("image {name}: {text}"));
            }
            Event::Image { event: ImageEvent::Layer { number, digest, done, total }, .. } => {
                self.layers.came(bar, *number, digest, (*done, *total));
            }
            Event::Image { event: ImageEvent::LayerDone { number }, .. } => {
                self.layers.done(*number)
            }
            Event::Wired => bar.set_message("nodes are wired; waiting for services and tunnels"),
            Event::Planned { .. } | Event::Settled | Event::Tunnel { .. } => {}
            other => {
                if let Some(text) = self.text(other) {
                    bar.suspend(|| say(text));
                }
            }
        }
    }

    /// The line that tells an event, if it is worth one.
    fn text(&self, event: &Event) -> Option<String> {
        let is_verbose = self.style.talk == Talk::Verbose;
        Some(match event {
            Event::Waiting => "waiting: another process changes this lab".to_owned(),
            Event::Sweeping => "removing what is left of a lab that was killed".to_owned(),
            Event::Image { name, event } => self.image(name, event)?,
            Event::Building { image } => format!("having Docker build {image}"),
            Event::Giving { image } => format!("giving image {image} to the engine"),
            Event::Note(note) => format!("{WARN}note:{WARN:#} {note}"),
            Event::Warning(text) => format!("{WARN}warning:{WARN:#} {text}"),
            Event::Step { text, .. } if is_verbose => text.clone(),
            Event::Planned { steps } if is_verbose => super::count(*steps, "step"),
            Event::Wired if is_verbose => "wired".to_owned(),
            Event::Tunnel { name, algorithms, .. } if is_verbose => {
                format!("tunnel {name} stands: {algorithms}")
            }
            Event::Settled if is_verbose => "settled".to_owned(),
            Event::Undoing => "undoing what was made".to_owned(),
            _ => return None,
        })
    }

    fn image(&self, name: &str, event: &ImageEvent) -> Option<String> {
        Some(match event {
            ImageEvent::Waiting => {
                format!("waiting: another process works on image {name}")
            }
            ImageEvent::Started { packages } => {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).tenth = None;
                format!("building image {name} from {}", super::count(*packages, "package"))
            }
            ImageEvent::Packing { platform } => {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).tenth = None;
                format!("packing image {name} for {platform}")
            }
            ImageEvent::Step { text, done, total } => {
                let tenth = done * TOLD_EVERY / total.max(&1);
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if self.style.talk < Talk::Verbose && seen.tenth >= Some(tenth) {
                    return None;
                }
                seen.tenth = Some(tenth);
                format!("image {name}: {:>3} % {text}", done * 100 / total.max(&1))
            }
            ImageEvent::Pulling { layers: 0, .. } => return None,
            ImageEvent::Pulling { layers, bytes: size } => {
                format!("pulling {name}: {}, {}", super::count(*layers, "layer"), bytes(*size))
            }
            ImageEvent::Layer { digest, done, total, .. } if self.style.talk == Talk::Verbose => {
                format!("layer {digest}: {:>3} %", done * 100 / total.max(&1))
            }
            ImageEvent::Retrying { digest, reason } => {
                format!("{WARN}warning:{WARN:#} layer {digest}: {reason}; trying again")
            }
            ImageEvent::Pulled { seconds, bytes: size, lost } => {
                let mut text = match size {
                    0 => format!("image {name} is there already"),
                    size => format!("image {name} is pulled: {seconds:.1} s, {}", bytes(*size)),
                };
                for it in lost {
                    text.push_str(&format!("\n{WARN}note:{WARN:#} {it}"));
                }
                text
            }
            ImageEvent::Pushed { sent: 0, .. } => {
                format!("image {name} is there already: nothing is sent but its name")
            }
            ImageEvent::Pushed { sent, there } => {
                let there = match there {
                    0 => String::new(),
                    there => format!(", {} was there", bytes(*there)),
                };
                format!("image {name} is sent: {}{there}", bytes(*sent))
            }
            ImageEvent::Done { seconds, bytes: size } => {
                format!("image {name} is built: {seconds:.1} s, {}", bytes(*size))
            }
            _ => return None,
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Seen {
    /// `wired 80 ms, tunnels 410 ms, total 450 ms`, as far as there is something to tell.
    pub(crate) fn times(&self) -> String {
        let times = [
            ("images", self.images),
            ("wired", self.wired),
            ("tunnels", self.tunnels),
            ("total", self.settled),
        ];
        let told = times.iter().filter_map(|(word, time)| Some((word, (*time)?)));
        told.map(|(word, time)| format!("{word} {}", span(time))).collect::<Vec<_>>().join(", ")
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Gives the bar a length as soon as there is one.
fn measure(bar: &ProgressBar, done: u64, total: u64) {
    if bar.length() != Some(total) {
        bar.set_length(total);
        bar.set_style(measured());
    }
    bar.set_position(done);
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is sound")
}

fn measured() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {bar:24} {percent:>3} % {wide_msg:.dim}")
        .expect("the template is sound")
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(talk: Talk) -> Progress {
        let style = Style { form: Form::Text, talk };
        Progress::begin(style)
    }

    #[test]
    fn a_build_is_told_ten_times_at_most_where_there_is_no_bar() {
        let progress = progress(Talk::Normal);
        let step = |done| ImageEvent::Step { text: "unpacking".to_owned(), done, total: 1000 };
        let told = (0..1000).filter(|done| progress.image("base", &step(*done)).is_some()).count();
        assert_eq!(told, 10);
    }

    #[test]
    fn the_templates_of_bars_are_sound() {
        plain();
        measured();
    }

    #[test]
    fn times_are_told_as_far_as_they_are_known() {
        let millis = |number| Some(Duration::from_millis(number));
        let mut seen = Seen { wired: millis(80), settled: millis(450), ..Seen::default() };
        assert_eq!(seen.times(), "wired 80 ms, total 450 ms");
        seen.tunnels = millis(410);
        assert_eq!(seen.times(), "wired 80 ms, tunnels 410 ms, total 450 ms");
    }

    #[test]
    fn a_plan_is_remembered_even_if_nothing_is_shown() {
        let progress = progress(Talk::Quiet);
        progress.event(&Event::Planned { steps: 3 });
        assert_eq!(progress.end().planned, Some(3));
    }
}
