//! `bench`: what a lab costs. The measuring is the library's.

use std::fmt::Display;

use netarium::bench::{
    Contender, bench_cold, bench_engines, bench_together, memory, thousand_nodes,
};
use serde::Serialize;

use super::Context;
use crate::args::{Bench, OnEngine};
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::{self, Form};

/// Measures, and prints a table.
///
/// # Errors
/// If the lab is up though it is to be brought up, or does not come up.
pub(crate) async fn bench(context: &Context, arguments: Bench) -> anyhow::Result<Ending> {
    let runs = arguments.runs;
    let progress = |number| match number {
        0 => context.style.say("making ready"),
        _ => context.style.say(format_args!("run {number} of {runs}")),
    };
    if arguments.memory {
        let word = choose::at_most_one(&arguments.labs)?;
        let lab = choose::lab(&context.data, word, Otherwise::OnlyLab)?;
        return show(context, &memory(&lab)?);
    }
    let on = OnEngine { engine: arguments.engines.iter().find_map(|it| it.engine()) };
    if arguments.engines.len() > 1 || arguments.engines.contains(&Contender::Compose) {
        let file = choose::file(&context.data, choose::at_most_one(&arguments.labs)?)?;
        let mut interrupts = Interrupts::listen()?;
        let mut signal = 0;
        let stop = async { signal = interrupts.next().await };
        let engines = &arguments.engines;
        let report = bench_engines(&file, &context.data, engines, runs, progress, stop).await?;
        return match report {
            Some(report) => show(context, &report),
            None => Ok(Ending::Interrupted(signal)),
        };
    }
    if let ([_, _, ..], false) = (arguments.labs.as_slice(), arguments.cold) {
        let file = |word: &String| choose::file_on(&context.data, Some(word.as_str()), on);
        let files = arguments.labs.iter().map(file);
        let files = files.collect::<anyhow::Result<Vec<_>>>()?;
        return show(context, &bench_together(&files, &context.data, runs, progress).await?);
    }
    let word = choose::at_most_one(&arguments.labs)?;
    let file = choose::file_on(&context.data, word, on)?;
    if arguments.cold {
        return show(context, &bench_cold(&file, &context.data).await?);
    }
    let report = netarium::bench::bench(&file, &context.data, runs, progress).await?;
    show(context, &report.with(thousand_nodes(runs)))
}

/// With `--json` the table goes beside the data: it is not measured twice for it.
fn show(context: &Context, figures: &(impl Display + Serialize)) -> anyhow::Result<Ending> {
    let table = figures.to_string();
    match context.style.form {
        Form::Json => {
            context.style.say(table.trim_end());
            print::json(figures)?;
        }
        Form::Text => print::line(table.trim_end())?,
    }
    Ok(Ending::Fine)
}
