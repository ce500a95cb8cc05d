//! `check`: finds out whether a running lab does what its file demands, and tells each result as
//! it comes.

mod board;
mod junit;

use netarium::check::{CheckResult, Selection};
use serde::Serialize;

pub(crate) use self::junit::JunitError;

use self::board::Board;
use self::junit::Junit;
use super::Context;
use crate::args::Check;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, BAD, Form, GOOD, count};

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
/// If the lab is not up, has no check of a name that was given, or there is no place for the
/// report.
pub(crate) async fn check(context: &Context, arguments: Check) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, arguments.lab.lab.as_deref(), Otherwise::OnlyLab)?;
    let model = lab.file()?.model;
    let selection = match arguments.only.is_empty() {
        true => Selection::All,
        false => Selection::Matching(arguments.only),
    };
    let chosen = netarium::check::choose(&model.checks, &selection)?;
    let junit = arguments.junit.as_deref().map(Junit::begin).transpose()?;
    let board = Board::new(&chosen, context.style.talk);
    let report = |result: &CheckResult| {
        if context.style.form == Form::Text {
            for line in board.lines(result) {
                // If nobody reads the results, the exit code still tells.
                print::line(line).ok();
            }
        }
    };
    let results = netarium::check::check(&lab, &model, &selection, &report).await?;
    let failed = results.iter().filter(|result| !result.passed).count();
    if let Some(junit) = junit {
        junit.finish(lab.name().as_str(), &results)?;
    }
    match context.style.form {
        Form::Json => {
            let lab = lab.name().as_str();
            print::json(&Told { lab, passed: failed == 0, checks: &results })?;
        }
        Form::Text => context.style.say(tally(&results, failed)),
    }
    Ok(if failed == 0 { Ending::Fine } else { Ending::Unhealthy })
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
