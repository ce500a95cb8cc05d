//! `bench`: what a lab costs. The measuring is the library's.

use std::fmt::Display;

use netarium::bench::{bench_cold, memory, thousand_nodes};
use serde::Serialize;

use super::Context;
use crate::args::Bench;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, Form};

/// Measures, and prints a table.
///
/// # Errors
/// If the lab is up though it is to be brought up, or does not come up.
pub(crate) async fn bench(context: &Context, arguments: Bench) -> anyhow::Result<Ending> {
    let word = arguments.lab.lab.as_deref();
    if arguments.memory {
        let lab = choose::lab(&context.data, word, Otherwise::OnlyLab)?;
        return show(context, &memory(&lab)?);
    }
    let file = choose::file(&context.data, word)?;
    if arguments.cold {
        return show(context, &bench_cold(&file, &context.data).await?);
    }
    let runs = arguments.runs;
    let progress = |number| match number {
        0 => context.style.say("making ready"),
        _ => context.style.say(format_args!("run {number} of {runs}")),
    };
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
