//! `doctor`: what this machine has and lacks.

use netarium::doctor::{Finding, State, examine};

use super::Context;
use crate::ending::Ending;
use crate::print::table::{Cell, Table};
use crate::print::{self, BAD, DIM, Form, GOOD, WARN};

/// Tells what this machine has and lacks, and what to do about it.
///
/// # Errors
/// If it cannot be written.
pub(crate) async fn doctor(context: &Context) -> anyhow::Result<Ending> {
    let findings = examine(&context.data).await;
    match context.style.form {
        Form::Json => print::json(&findings)?,
        Form::Text => print::line(table(&findings).render(0))?,
    }
    let lacks = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if lacks { Ending::Unhealthy } else { Ending::Fine })
}

fn table(findings: &[Finding]) -> Table<3> {
    let mut table = Table::plain();
    let plain = anstyle::Style::new();
    for finding in findings {
        let (sign, paint) = match &finding.state {
            State::Present => ("ok", GOOD),
            State::Fallback(_) => ("else", WARN),
            State::Missing => ("missing", BAD),
            State::Warning => ("warning", WARN),
            State::Absent => ("-", DIM),
        };
        let mut lines: Vec<_> = finding.detail.lines().map(|it| (it.to_owned(), plain)).collect();
        if let State::Fallback(instead) = &finding.state {
            lines.push((format!("instead: {instead}"), plain));
        }
        let hints = finding.hint.iter().flat_map(|hint| hint.lines());
        lines.extend(hints.map(|line| (line.to_owned(), DIM)));
        let cells = [Cell::painted(sign, paint), Cell::new(&*finding.name), Cell::of_lines(lines)];
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_its_hint_below_it() {
        let finding: Finding = serde_json::from_str(
            r#"{"name":"dummy","state":"fallback","fallback":"a veth pair",
                "detail":"not supported","hint":"modprobe dummy"}"#,
        )
        .unwrap();
        assert_eq!(
            anstream::adapter::strip_str(&table(&[finding]).render(0)).to_string(),
            "else  dummy  not supported\n             instead: a veth pair\n             \
             modprobe dummy"
        );
    }
}
