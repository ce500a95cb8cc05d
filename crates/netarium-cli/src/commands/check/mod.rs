//! `check`: finds out whether a running lab does what its file demands, and tells each result as
//! it comes.

mod board;
mod junit;

use netarium::check::{CheckResult, Selection};
use netarium_core::model::Disturbance;
use serde::Serialize;

pub(crate) use self::junit::JunitError;

use self::board::Board;
use self::junit::Junit;
use super::Context;
use crate::args::Check;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, BAD, DIM, Form, GOOD, HEAD, WARN, count};

/// The heading of those that disturb.
const DYNAMIC: &str = "dynamic checks";

/// All results, for programs.
#[derive(Serialize)]
struct Told<'a> {
    lab: &'a str,
    passed: bool,
    checks: &'a [CheckResult],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_run: &'a Vec<NotRun>,
}

/// A check that was not made.
#[derive(Serialize)]
struct NotRun {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    why: &'static str,
}

/// Makes the checks of a lab that is up.
///
/// # Errors
/// If the lab is not up, has no check of a name that was given, or there is no place for the
/// report.
pub(crate) async fn check(context: &Context, arguments: Check) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, &arguments.lab, Otherwise::OnlyLab)?;
    let file = lab.file()?;
    let selection = match arguments.only.is_empty() {
        true => Selection::All,
        false => Selection::Matching(arguments.only),
    };
    let chosen = netarium::check::choose(&file.model, &selection)?;
    let disturbances = netarium::check::choose_disturbances(&file.model, &selection)?;
    let junit = arguments.junit.as_deref().map(Junit::begin).transpose()?;
    let board = Board::new(&chosen, context.style.talk);
    let tell = |line: String| {
        if context.style.form == Form::Text {
            // If nobody reads the results, the exit code still tells.
            print::line(line).ok();
        }
    };
    let report = |result: &CheckResult| board.lines(result).into_iter().for_each(tell);
    let mut results = netarium::check::check(&lab, &file.model, &selection, &report).await?;
    let why = match (arguments.dynamic, results.iter().all(|result| result.passed)) {
        (true, true) => None,
        (true, false) => Some("the lab must be as it should be before it is disturbed"),
        (false, _) => Some("it disturbs the lab: --dynamic"),
    };
    if !disturbances.is_empty() {
        tell(format!("{HEAD}{DYNAMIC}{HEAD:#}"));
    }
    let not_run = why.map_or_else(Vec::new, |why| not_run(&disturbances, why));
    if why.is_none() {
        results.extend(netarium::check::disturb(&lab, &file, &selection, &report).await?);
    }
    for NotRun { name, why, .. } in &not_run {
        tell(format!("{WARN}skip{WARN:#}           {name} {DIM}({why}){DIM:#}"));
    }
    let failed = results.iter().filter(|result| !result.passed).count();
    if let Some(junit) = junit {
        junit.finish(lab.name().as_str(), &results, &not_run)?;
    }
    match context.style.form {
        Form::Json => {
            let (lab, passed) = (lab.name().as_str(), failed == 0);
            print::json(&Told { lab, passed, checks: &results, not_run: &not_run })?;
        }
        Form::Text => context.style.say(tally(&results, failed, not_run.len())),
    }
    Ok(if failed == 0 { Ending::Fine } else { Ending::Unhealthy })
}

fn not_run(disturbances: &[&Disturbance], why: &'static str) -> Vec<NotRun> {
    let of = |it: &&Disturbance| NotRun { name: it.name.clone(), group: it.group.clone(), why };
    disturbances.iter().map(of).collect()
}

fn tally(results: &[CheckResult], failed: usize, not_run: usize) -> String {
    let all = count(results.len(), "check");
    let rest = match not_run {
        0 => String::new(),
        number => format!(", {WARN}{number} not run{WARN:#}"),
    };
    match (results.len(), failed) {
        (0, _) if not_run == 0 => "the lab file has no checks".to_owned(),
        (_, 0) => format!("{GOOD}{all} passed{GOOD:#}{rest}"),
        _ => format!("{BAD}{failed} of {all} failed{BAD:#}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checks_at_all_are_told_plainly() {
        assert_eq!(tally(&[], 0, 0), "the lab file has no checks");
    }
}
