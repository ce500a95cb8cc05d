//! `check`: finds out whether a running lab does what its file demands, and tells each result as
//! it comes.

use std::time::Duration;

use netarium::check::{CheckResult, Selection};
use serde::Serialize;

use super::Context;
use crate::args::Check;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, BAD, DIM, Form, GOOD, HEAD, Talk, count, span};

/// All results, for programs.
#[derive(Serialize)]
struct Told<'a> {
    lab: &'a str,
    passed: bool,
    checks: &'a [CheckResult],
}

/// Makes the checks of a lab that is up.
///
/// # Errors
/// If the lab is not up, or has no check of a name that was given.
pub(crate) async fn check(context: &Context, arguments: Check) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, arguments.lab.lab.as_deref(), Otherwise::OnlyLab)?;
    let model = lab.file()?.model;
    let selection = match arguments.only.is_empty() {
        true => Selection::All,
        false => Selection::Matching(arguments.only.into_iter().collect()),
    };
    let report = |result: &CheckResult| {
        if context.style.form == Form::Text {
            // If nobody reads the results, the exit code still tells.
            print::line(describe(result, context.style.talk)).ok();
        }
    };
    let results = netarium::check::check(&lab, &model, &selection, &report).await?;
    let failed = results.iter().filter(|result| !result.passed).count();
    match context.style.form {
        Form::Json => {
            let lab = lab.name().as_str();
            print::json(&Told { lab, passed: failed == 0, checks: &results })?;
        }
        Form::Text => context.style.say(tally(&results, failed)),
    }
    Ok(if failed == 0 { Ending::Fine } else { Ending::Unhealthy })
}

/// One line if it passed. If it failed, what was wanted and what was seen stand below it.
fn describe(result: &CheckResult, talk: Talk) -> String {
    let (word, paint) = if result.passed { ("pass", GOOD) } else { ("FAIL", BAD) };
    let time = span(Duration::from_secs_f64(result.millis.max(0.0) / 1e3));
    let mut text = format!("{paint}{word}{paint:#}  {DIM}{time:>7}{DIM:#}  {}", result.name);
    if !result.passed || talk == Talk::Verbose {
        text.push_str(&format!("\n      {HEAD}expected:{HEAD:#} {}", result.expected));
        text.push_str(&format!("\n      {HEAD}seen:{HEAD:#}     {}", result.seen));
        for sample in &result.samples {
            text.push_str(&format!("\n                {sample}"));
        }
    }
    text
}

fn tally(results: &[CheckResult], failed: usize) -> String {
    let all = count(results.len(), "check");
    match (results.len(), failed) {
        (0, _) => "the lab file has no checks".to_owned(),
        (_, 0) => format!("{GOOD}{all} passed{GOOD:#}"),
        _ => format!("{BAD}{failed} of {all} failed{BAD:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checks_at_all_are_told_plainly() {
        assert_eq!(tally(&[], 0), "the lab file has no checks");
    }
}
