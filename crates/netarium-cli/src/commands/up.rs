//! `up`: brings a lab up, or to what its file says now, and undoes that if it is interrupted.

use std::sync::OnceLock;

use netarium::event::Event;
use netarium::lab::{AfterFailure, Lab, Pull, State, UpOptions};
use netarium::lab_file::LabFile;
use netarium_core::model::Model;
use netarium_core::plan::Step;
use serde::Serialize;

use super::Context;
use crate::args::{self, Up};
use crate::choose;
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::progress::{Progress, Seen};
use crate::print::{BAD, DIM, Form, GOOD, HEAD, count, span, steps};
use crate::report;

/// The most steps of a change that are told one by one.
const MOST_TOLD: usize = 20;

/// What `up` came to, for programs.
#[derive(Serialize)]
struct Summary<'a> {
    lab: &'a str,
    outcome: Outcome,
    nodes: usize,
    segments: usize,
    tunnels: usize,
    steps: usize,
}

/// What `up` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The lab was not up.
    Created,
    /// It was, and was not as it should be.
    Changed,
    /// It was, and healthy.
    Nothing,
}

/// The last line of JSON of an `up` that ended well.
#[derive(Serialize)]
struct Ended<'a> {
    summary: Summary<'a>,
}

/// The last line of JSON of an `up` that did not.
#[derive(Serialize)]
struct Failed {
    failure: report::Told,
}

/// What a lab was before it was changed.
enum Before {
    /// Not up: undoing is taking it down.
    Nothing,
    /// Up from this file: undoing is bringing it back to that.
    Lab(Box<LabFile>),
}

/// Brings a lab up.
///
/// # Errors
/// If no lab is meant, its file has mistakes, or the machine refuses.
pub(crate) async fn up(context: &Context, arguments: Up) -> anyhow::Result<Ending> {
    let word = arguments.lab.lab.as_deref();
    let file = choose::file_on(&context.data, &arguments.lab, arguments.on)?;
    report::warnings(&file, context.style);
    let lab = Lab::named(&context.data, &file.model.lab);
    let mut interrupts = Interrupts::listen()?;
    // Looked up when it is known what to do: until then another process may have changed the lab.
    let before = OnceLock::new();
    let after_failure = if arguments.keep { AfterFailure::Keep } else { AfterFailure::Undo };
    let options =
        UpOptions { after_failure, patience: arguments.timeout, pull: arguments.pull.into() };
    let progress = Progress::begin(context.style);
    let report = |event| {
        if let Event::Planned { .. } = event {
            before.get_or_init(|| Before::of(&lab));
        }
        progress.event(&event);
    };
    let done = tokio::select! {
        biased;
        signal = interrupts.next() => Err(signal),
        done = lab.up(&file, options, &report) => Ok(done),
    };
    match done {
        Ok(Ok(steps)) => {
            let outcome = outcome(before.get(), &steps);
            tell(context, &file.model, word, (outcome, &steps), &progress)?;
            Ok(Ending::Fine)
        }
        Ok(Err(error)) => {
            let seen = progress.end();
            let error = report::of_lab(error, &file);
            let ending = match context.style.form {
                Form::Text => report::error(&error, context.style),
                Form::Json => {
                    progress.json(&Failed { failure: report::Told::of(&error) })?;
                    Ending::Refused
                }
            };
            tell_what_is_left(context, &lab, options.after_failure, seen);
            Ok(ending)
        }
        Err(signal) => {
            let before = before.into_inner();
            let undo = Undo { lab: &lab, before, options };
            undo.after(signal, &progress, &mut interrupts).await
        }
    }
}

impl From<args::Pull> for Pull {
    fn from(typed: args::Pull) -> Self {
        match typed {
            args::Pull::Missing => Self::Missing,
            args::Pull::Always => Self::Always,
            args::Pull::Never => Self::Never,
        }
    }
}

impl Before {
    fn of(lab: &Lab) -> Self {
        match (lab.state(), lab.file()) {
            (State::Up, Ok(file)) => Self::Lab(Box::new(file)),
            _ => Self::Nothing,
        }
    }
}

fn outcome(before: Option<&Before>, steps: &[Step]) -> Outcome {
    match before {
        _ if steps.is_empty() => Outcome::Nothing,
        Some(Before::Lab(_)) => Outcome::Changed,
        _ => Outcome::Created,
    }
}

/// What there is to do after an interruption.
struct Undo<'a> {
    lab: &'a Lab,
    /// Nothing as long as nothing was changed.
    before: Option<Before>,
    options: UpOptions,
}

impl Undo<'_> {
    /// Undoes what was made so far; at another signal, ends at once.
    async fn after(
        &self,
        signal: i32,
        progress: &Progress,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<Ending> {
        let name = self.lab.name();
        let was_changed = progress.seen().planned.is_some_and(|steps| steps > 0);
        let Some(before) = self.before.as_ref().filter(|_| was_changed) else {
            progress.say("interrupted: nothing was made");
            return Ok(Ending::Interrupted(signal));
        };
        match (before, self.options.after_failure) {
            (_, AfterFailure::Keep) => {
                progress.say(&format!(
                    "interrupted: what was made of lab {name} is kept; `netarium up` completes it, \
                     `netarium down {name}` takes it down"
                ));
                return Ok(Ending::Interrupted(signal));
            }
            (Before::Nothing, _) => progress
                .say(&format!("interrupted: taking lab {name} down; once more to end at once")),
            (Before::Lab(_), _) => progress.say(&format!(
                "interrupted: bringing lab {name} back to what it was; once more to end at once"
            )),
        }
        tokio::select! {
            biased;
            signal = interrupts.next() => {
                progress.say(&format!(
                    "interrupted again: lab {name} is half made; `netarium down {name}` takes it down"
                ));
                Ok(Ending::Interrupted(signal))
            }
            undone = self.undo(before) => {
                undone?;
                progress.say("undone");
                Ok(Ending::Interrupted(signal))
            }
        }
    }

    async fn undo(&self, before: &Before) -> anyhow::Result<()> {
        // Whatever it was made from is there.
        let options = UpOptions { pull: Pull::Missing, ..self.options };
        match before {
            Before::Nothing => self.lab.down(&|_| ()).await.map(drop)?,
            Before::Lab(file) => self.lab.up(file, options, &|_| ()).await.map(drop)?,
        }
        Ok(())
    }
}

fn tell_what_is_left(context: &Context, lab: &Lab, after: AfterFailure, seen: Seen) {
    let (name, logs) = (lab.name(), lab.failed_logs());
    if seen.planned.is_none() {
        return;
    }
    if after == AfterFailure::Keep {
        context.style.say(format_args!(
            "what was made of lab {name} is kept: look with `netarium status {name}`, end it with \
             `netarium down {name}`"
        ));
    } else if logs.is_dir() {
        context.style.say(format_args!("the logs of its services are in {}", logs.display()));
    }
}

/// Tells what there is now, and what one may do next.
fn tell(
    context: &Context,
    model: &Model,
    word: Option<&str>,
    (outcome, done): (Outcome, &[Step]),
    progress: &Progress,
) -> anyhow::Result<()> {
    let seen = progress.end();
    if context.style.form == Form::Json {
        let summary = Summary {
            lab: model.lab.as_str(),
            outcome,
            nodes: model.nodes.len(),
            segments: model.segments.len(),
            tunnels: model.tunnels.len(),
            steps: done.len(),
        };
        return Ok(progress.json(&Ended { summary })?);
    }
    let name = &model.lab;
    match outcome {
        Outcome::Nothing => context.style.say(format_args!("lab {name} is up: nothing to do")),
        Outcome::Changed => {
            context.style.say(changed(done));
            let total = seen.settled.unwrap_or_default();
            context.style.say(format_args!("{GOOD}lab {name} is changed{GOOD:#}: {}", span(total)));
        }
        Outcome::Created => {
            context.style.say(format_args!("{GOOD}lab {name} is up{GOOD:#}: {}", parts(model)));
            context.style.say(seen.times());
            context.style.say(next_commands(model, word));
        }
    }
    Ok(())
}

/// `9 nodes, 6 segments, 2 tunnels`; of tunnels only if there are any.
pub(super) fn parts(model: &Model) -> String {
    let mut parts = vec![count(model.nodes.len(), "node"), count(model.segments.len(), "segment")];
    if !model.tunnels.is_empty() {
        parts.push(count(model.tunnels.len(), "tunnel"));
    }
    parts.join(", ")
}

fn changed(done: &[Step]) -> String {
    if done.len() <= MOST_TOLD {
        return steps::grouped(done);
    }
    let sort = |wanted: fn(&Step) -> bool, sign, paint: anstyle::Style| {
        let ids: Vec<_> = done.iter().filter(|it| wanted(it)).map(|it| it.object().id()).collect();
        let kinds = steps::kinds(&ids);
        (!ids.is_empty()).then(|| format!("{paint}{sign}{paint:#} {kinds}"))
    };
    let sorts = [
        sort(|step| matches!(step, Step::Remove(_)), '-', BAD),
        sort(|step| matches!(step, Step::Create(_)), '+', GOOD),
        sort(|step| matches!(step, Step::Replace(_)), '~', crate::print::WARN),
    ];
    sorts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A few commands that work with this lab as they stand.
fn next_commands(model: &Model, word: Option<&str>) -> String {
    let name = &model.lab;
    let (lab, option) = match word {
        None => (String::new(), String::new()),
        Some(_) => (format!(" {name}"), format!(" -l {name}")),
    };
    let mut commands = vec![format!("netarium ps{lab}")];
    if !model.checks.is_empty() {
        commands.push(format!("netarium check{lab}"));
    }
    // A node at the edge says more than a router in the middle.
    if let Some((node, _)) = model.nodes.iter().min_by_key(|(_, node)| node.interfaces.len()) {
        commands.push(format!("netarium shell{option} {node}"));
    }
    commands.push(format!("netarium down{lab}"));
    let lines = commands.iter().map(|command| format!("  {HEAD}{command}{HEAD:#}"));
    format!("{DIM}next:{DIM:#}\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let text = "name: hello\nimage: host\nsegments: {lan: 10.0.0.0/24}\nnodes:\n  \
                    alice: {interfaces: {lan: 10.0.0.1}}\nchecks: [{from: alice, ping: 10.0.0.1}]\n";
        netarium_core::resolve::load(text.as_bytes(), "lab").unwrap()
    }

    #[test]
    fn the_next_commands_name_the_lab_only_if_it_was_named() {
        let shown = |word| anstream::adapter::strip_str(&next_commands(&model(), word)).to_string();
        assert_eq!(
            shown(None),
            "next:\n  netarium ps\n  netarium check\n  netarium shell alice\n  netarium down"
        );
        assert!(shown(Some("labs/hello")).contains("netarium shell -l hello alice"));
        assert!(shown(Some("labs/hello")).contains("netarium check hello"));
    }

    #[test]
    fn a_lab_without_tunnels_does_not_count_them() {
        assert_eq!(parts(&model()), "1 node, 1 segment");
    }
}
