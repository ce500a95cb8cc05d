//! Results as JUnit XML, which CI systems read: a suite for each group, a case for each check.
//!
//! The file appears whole or not at all: it is written under another name, which is there before
//! the first check is made, and then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netarium::check::CheckResult;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::NotRun;

/// A report that is to be written.
pub(super) struct Junit {
    path: PathBuf,
    fresh: PathBuf,
    file: File,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JunitError {
    /// There is no place for it.
    #[error("cannot write the report {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not text.
    #[error("cannot put the results into XML")]
    Serialize(#[source] quick_junit::SerializeError),
}

impl JunitError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Write { path, source } if source.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty())?;
                Some(format!("there is no folder {}: make it first", folder.display()))
            }
            _ => None,
        }
    }
}

impl Junit {
    /// Makes a place for the report.
    ///
    /// # Errors
    /// If there can be no such file.
    pub(super) fn begin(path: &Path) -> Result<Self, JunitError> {
        let error = |source| JunitError::Write { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| error(io::ErrorKind::IsADirectory.into()))?;
        if path.is_dir() {
            return Err(error(io::ErrorKind::IsADirectory.into()));
        }
        let mut fresh = std::ffi::OsString::from(".");
        fresh.push(name);
        fresh.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(fresh);
        let file = File::create(&fresh).map_err(error)?;
        Ok(Self { path: path.to_owned(), fresh, file })
    }

    /// Writes the report.
    ///
    /// # Errors
    /// If the disk is full, for example. What was there before is there still.
    pub(super) fn finish(
        self,
        lab: &str,
        results: &[CheckResult],
        not_run: &[NotRun],
    ) -> Result<(), JunitError> {
        let error = |source| JunitError::Write { path: self.path.clone(), source };
        let text = report(lab, results, not_run).to_string().map_err(JunitError::Serialize)?;
        let mut writer = BufWriter::new(&self.file);
        writer.write_all(text.as_bytes()).and_then(|()| writer.flush()).map_err(error)?;
        drop(writer);
        fs::rename(&self.fresh, &self.path).map_err(error)
    }
}

impl Drop for Junit {
    fn drop(&mut self) {
        // After a success it is not there any more.
        fs::remove_file(&self.fresh).ok();
    }
}

/// The results of the lab as a report.
fn report(lab: &str, results: &[CheckResult], not_run: &[NotRun]) -> Report {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    for result in results {
        suite(&mut suites, result.group.as_deref()).add(case(lab, result), time_of(result));
    }
    for NotRun { name, group, why } in not_run {
        let mut status = TestCaseStatus::skipped();
        status.set_message(*why);
        let mut case = TestCase::new(name, status);
        case.set_classname(class(lab, group.as_deref()));
        suite(&mut suites, group.as_deref()).add(case, Duration::ZERO);
    }
    let mut report = Report::new(lab);
    report.set_time(suites.iter().map(|suite| suite.time).sum());
    for Suite { group, cases, time } in suites {
        let mut suite = TestSuite::new(group.unwrap_or(lab));
        suite.set_time(time).add_test_cases(cases);
        report.add_test_suite(suite);
    }
    report
}

/// Checks of one group.
struct Suite<'a> {
    group: Option<&'a str>,
    cases: Vec<TestCase>,
    time: Duration,
}

impl Suite<'_> {
    fn add(&mut self, case: TestCase, time: Duration) {
        self.cases.push(case);
        self.time += time;
    }
}

/// The suite of a group, made if it is not there yet.
fn suite<'s, 'a>(suites: &'s mut Vec<Suite<'a>>, group: Option<&'a str>) -> &'s mut Suite<'a> {
    let place = suites.iter().position(|suite| suite.group == group).unwrap_or_else(|| {
        suites.push(Suite { group, cases: Vec::new(), time: Duration::ZERO });
        suites.len() - 1
    });
    &mut suites[place]
}

fn class(lab: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("{lab}.{group}"),
        None => lab.to_owned(),
    }
}

fn case(lab: &str, result: &CheckResult) -> TestCase {
    let CheckResult { expected, seen, .. } = result;
    let mut status = TestCaseStatus::success();
    if !result.passed {
        let mut text = format!("expected: {expected}\nseen: {seen}\n");
        result.samples.iter().for_each(|sample| text.push_str(&format!("  {sample}\n")));
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("check").set_message(seen).set_description(text);
    }
    let mut case = TestCase::new(&result.name, status);
    case.set_classname(class(lab, result.group.as_deref())).set_time(time_of(result));
    if !result.logs.is_empty() {
        case.set_system_out(logs(result));
    }
    case
}

/// What services wrote last.
fn logs(result: &CheckResult) -> String {
    let mut text = String::new();
    for log in &result.logs {
        text.push_str(&format!("{} {}:\n", log.node, log.service));
        log.lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

fn time_of(result: &CheckResult) -> Duration {
    Duration::from_secs_f64(result.millis.max(0.0) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Vec<CheckResult> {
        let lab = "
name: one
segments: {lan: 10.0.0.0/24}
nodes: {a: {interfaces: {lan: 10.0.0.1}}}
checks:
  - {from: a, ping: a, name: plain}
  - {from: a, ping: a, name: \"a <b> & \\\"c\\\"\", group: odd names}
  - {from: a, ping: a, name: last}
";
        let model = netarium_core::resolve::load(lab.as_bytes(), "one").unwrap();
        let mut results: Vec<_> = model.checks.iter().map(CheckResult::passed).collect();
        for result in &mut results {
            result.millis = 12.5;
        }
        results[1].passed = false;
        results[1].seen = "no ]]> \u{1b}[2J answer".to_owned();
        results
    }

    #[test]
    fn a_report_has_a_suite_for_each_group_and_a_case_for_each_check() {
        let group = Some("odd names".to_owned());
        let not_run = [NotRun { name: "later".to_owned(), group, why: "not now" }];
        let text = report("lab", &results(), &not_run).to_string().unwrap();
        let wanted = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="lab" tests="4" skipped="1" failures="1" errors="0" time="0.037">
    <testsuite name="lab" tests="2" skipped="0" errors="0" failures="0" time="0.025">
        <testcase name="plain" classname="lab" time="0.013"/>
        <testcase name="last" classname="lab" time="0.013"/>
    </testsuite>
    <testsuite name="odd names" tests="2" skipped="1" errors="0" failures="1" time="0.013">
        <testcase name="a &lt;b&gt; &amp; &quot;c&quot;" classname="lab.odd names" time="0.013">
            <failure message="no ]]&gt;  answer" type="check">expected: 10.0.0.1 answers
seen: no ]]&gt;  answer
</failure>
        </testcase>
        <testcase name="later" classname="lab.odd names">
            <skipped message="not now"/>
        </testcase>
    </testsuite>
</testsuites>
"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_report_is_whole_or_not_there() {
        let folder = std::env::temp_dir().join(format!("netarium-junit-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("report.xml");
        drop(Junit::begin(&path).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        Junit::begin(&path).unwrap().finish("lab", &results(), &[]).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("</testsuites>\n"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let missing = Junit::begin(&folder.join("missing/report.xml")).err().unwrap();
        assert!(missing.hint().unwrap().contains("missing: make it first"));
        assert!(Junit::begin(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
