//! Results as people read them: each as it comes or, where there are groups, each group as soon as
//! it is complete, in the order of the lab file.

use std::sync::Mutex;
use std::time::Duration;

use netarium::check::CheckResult;
use netarium_core::model::Check;

use crate::print::{BAD, DIM, GOOD, HEAD, Talk, span};

/// The heading of checks without a group, where others have one.
const OTHER: &str = "other checks";

/// What was told so far, and what waits for its group.
pub(super) struct Board {
    talk: Talk,
    groups: Mutex<Vec<Group>>,
}

/// Checks that are shown together.
struct Group {
    /// Its name; none for those without.
    name: Option<String>,
    /// How many are still to come.
    open: usize,
    lines: Vec<String>,
}

impl Board {
    /// A board for these checks.
    pub(super) fn new(checks: &[&Check], talk: Talk) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        if checks.iter().any(|check| check.group.is_some()) {
            for check in checks {
                match groups.iter_mut().find(|group| group.name == check.group) {
                    Some(group) => group.open += 1,
                    None => {
                        let name = check.group.clone();
                        groups.push(Group { name, open: 1, lines: Vec::new() });
                    }
                }
            }
            // Those without a group come last.
            groups.sort_by_key(|group| group.name.is_none());
        }
        Self { talk, groups: Mutex::new(groups) }
    }

    /// What there is to tell now that this result has come.
    pub(super) fn lines(&self, result: &CheckResult) -> Vec<String> {
        let told = describe(result, self.talk);
        let mut groups = self.groups.lock().expect("nobody panics with it");
        let Some(group) = groups.iter_mut().find(|group| group.name == result.group) else {
            return vec![told];
        };
        group.lines.push(told);
        group.open = group.open.saturating_sub(1);
        let mut lines = Vec::new();
        while groups.first().is_some_and(|group| group.open == 0) {
            let group = groups.remove(0);
            let name = group.name.as_deref().unwrap_or(OTHER);
            lines.push(format!("{HEAD}{name}{HEAD:#}"));
            lines.extend(group.lines);
        }
        lines
    }
}

/// One line if it passed. If it failed, what was wanted, what was seen and what services wrote last
/// stand below it.
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
        for log in &result.logs {
            let (node, service) = (&log.node, &log.service);
            text.push_str(&format!("\n      {HEAD}{node} {service}:{HEAD:#}"));
            for line in &log.lines {
                text.push_str(&format!("\n        {DIM}{line}{DIM:#}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks of a lab, and what is told when their results come in another order.
    fn told(checks: &str, order: &[usize]) -> Vec<Vec<String>> {
        let lab = format!(
            "name: one\nsegments: {{lan: 10.0.0.0/24}}\n\
             nodes: {{a: {{interfaces: {{lan: 10.0.0.1}}}}}}\nchecks: [{checks}]\n"
        );
        let model = netarium_core::resolve::load(lab.as_bytes(), "one").unwrap();
        let checks: Vec<&Check> = model.checks.iter().collect();
        let board = Board::new(&checks, Talk::Normal);
        let plain = |text: String| {
            let text = anstream::adapter::strip_str(&text).to_string();
            text.split_whitespace().last().unwrap_or_default().to_owned()
        };
        let result = |place: &usize| {
            let lines = board.lines(&CheckResult::passed(checks[*place]));
            lines.into_iter().map(plain).collect()
        };
        order.iter().map(result).collect()
    }

    #[test]
    fn without_groups_each_result_is_told_as_it_comes() {
        let checks = "{from: a, ping: a, name: one}, {from: a, ping: a, name: two}";
        assert_eq!(told(checks, &[1, 0]), [["two"], ["one"]]);
    }

    #[test]
    fn groups_are_told_whole_and_in_the_order_of_the_file() {
        let checks = "{from: a, ping: a, name: n0}, \
                      {from: a, ping: a, name: n1, group: left}, \
                      {from: a, ping: a, name: n2, group: right}, \
                      {from: a, ping: a, name: n3, group: left}";
        let told = told(checks, &[2, 1, 0, 3]);
        assert_eq!(told[..3], [Vec::<String>::new(), vec![], vec![]]);
        assert_eq!(told[3], ["left", "n1", "n3", "right", "n2", "checks", "n0"]);
    }
}
