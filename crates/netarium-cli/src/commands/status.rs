//! `status` and `plan`: how a lab differs from what it should be.

use netarium::lab::{Lab, Plan, State, Status};
use netarium_core::object::Id;
use netarium_core::plan::Step;
use serde::Serialize;

use super::Context;
use crate::args::{OneLab, Plan as PlanOf};
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::steps::{self, node_of};
use crate::print::table::{Cell, Table};
use crate::print::{self, BAD, Form, GOOD, WARN};
use crate::report;

/// How a lab is, for programs.
#[derive(Serialize)]
struct Told<'a> {
    lab: &'a str,
    healthy: bool,
    #[serde(flatten)]
    status: &'a Status,
}

/// What is to be done, for programs.
#[derive(Serialize)]
struct ToldPlan<'a> {
    lab: &'a str,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// Tells whether a lab is healthy.
///
/// # Errors
/// If no lab is meant, or it cannot be seen how it is.
pub(crate) async fn status(context: &Context, asked: &OneLab) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, asked, Otherwise::OnlyLab)?;
    let status = lab.status().await?;
    let healthy = is_healthy(&status);
    match context.style.form {
        Form::Json => {
            print::json(&Told { lab: lab.name().as_str(), healthy, status: &status })?;
        }
        Form::Text => {
            print::line(describe(&lab, &status))?;
            if status.state == State::Up && has_new_file(&lab) {
                context.style.say(format_args!(
                    "{WARN}note:{WARN:#} its file was changed since; `netarium plan {}` shows what \
                     that means",
                    lab.name()
                ));
            }
        }
    }
    Ok(if healthy { Ending::Fine } else { Ending::Unhealthy })
}

/// Whether the lab runs and nothing in it differs.
pub(super) fn is_healthy(status: &Status) -> bool {
    status.state == State::Up && status.steps.is_empty() && status.findings.is_empty()
}

/// Whether the file that the lab came from says something else now.
fn has_new_file(lab: &Lab) -> bool {
    lab.file().is_ok_and(|copy| copy.is_outdated())
}

fn describe(lab: &Lab, status: &Status) -> String {
    let name = lab.name();
    match status.state {
        State::Down => format!("lab {name} is {BAD}not up{BAD:#}"),
        State::Killed => format!(
            "lab {name} was {BAD}killed{BAD:#}: its keeper has ended, and all of it with that; \
             `netarium up {name}` brings it up again"
        ),
        State::Up if is_healthy(status) => format!("lab {name} is up and {GOOD}healthy{GOOD:#}"),
        State::Up => {
            // What is only not ready, or unhealthy, is not made anew.
            let advice = match status.steps.is_empty() {
                true => String::new(),
                false => format!("; `netarium up {name}` repairs it"),
            };
            let table = differences(status).render(2);
            format!("lab {name} is up and {BAD}not healthy{BAD:#}{advice}\n{table}")
        }
    }
}

/// What differs, each with its reason. Of a node that is gone, what was in it is not told.
fn differences(status: &Status) -> Table<3> {
    let mut table = Table::plain();
    for (id, reason) in &status.findings {
        table.row([id.to_string().into(), Cell::painted("wrong", BAD), reason.as_str().into()]);
    }
    let is_found = |id: &Id| status.findings.iter().any(|(found, _)| found == id);
    let is_missing = |id: &Id| {
        status.steps.iter().any(|it| matches!(it, Step::Create(_)) && it.object().id() == *id)
    };
    for step in &status.steps {
        let id = step.object().id();
        let node_is_missing = node_of(&id).is_some_and(|node| {
            let node = Id::Node(node.clone());
            node != id && is_missing(&node)
        });
        if is_found(&id) || node_is_missing {
            continue;
        }
        let state = match step {
            Step::Create(_) => Cell::painted("missing", BAD),
            Step::Replace(_) => Cell::painted("different", WARN),
            // It goes because it comes anew; that it is to come tells it already.
            Step::Remove(_) if is_missing(&id) => continue,
            Step::Remove(_) => Cell::painted("unexpected", WARN),
        };
        table.row([id.to_string().into(), state, Cell::default()]);
    }
    table
}

/// Shows what `up` would do.
///
/// # Errors
/// If no lab is meant, its file has mistakes, or it cannot be seen how the lab is.
pub(crate) async fn plan(context: &Context, arguments: &PlanOf) -> anyhow::Result<Ending> {
    let file = choose::file_on(&context.data, &arguments.lab, arguments.on)?;
    report::warnings(&file, context.style);
    let name = &file.model.lab;
    let plan = Lab::named(&context.data, name).plan(&file.model).await;
    let plan = plan.map_err(|error| report::of_lab(error, &file))?;
    if context.style.form == Form::Json {
        print::json(&ToldPlan { lab: name.as_str(), plan: &plan })?;
        return Ok(Ending::Fine);
    }
    for note in &plan.notes {
        context.style.say(format_args!("{WARN}note:{WARN:#} {note}"));
    }
    for image in &plan.builds {
        let what = "would be built by Docker first; what it runs is known only then";
        context.style.say(format_args!("{WARN}note:{WARN:#} image {image} {what}"));
    }
    for image in &plan.pulls {
        let what = "would be pulled first; what it runs is known only then";
        context.style.say(format_args!("{WARN}note:{WARN:#} image {image} {what}"));
    }
    if plan.steps.is_empty() {
        context.style.say(format_args!("lab {name} is up and healthy: nothing to do"));
    } else {
        print::line(steps::grouped(&plan.steps))?;
        context.style.say(format_args!("lab {name}: {}", steps::tally(&plan.steps)));
    }
    Ok(Ending::Fine)
}

#[cfg(test)]
mod tests {
    use netarium_core::name::Name;
    use netarium_core::object::{Object, Objects};
    use netarium_core::plan::diff;

    use super::*;

    fn objects() -> Objects {
        let text = "image: host\nsegments: {lan: {prefix: 10.0.0.0/24, driver: bridge}}\nnodes:\n  \
                    alice: {interfaces: {lan: 10.0.0.1}}\n  bob: {interfaces: {lan: 10.0.0.2}}\n";
        steps::tests::objects(text)
    }

    fn shown(observed: &Objects, findings: Vec<(Id, String)>) -> String {
        let status = Status { state: State::Up, steps: diff(&objects(), observed), findings };
        anstream::adapter::strip_str(&differences(&status).render(0)).to_string()
    }

    #[test]
    fn of_a_node_that_is_gone_only_the_node_is_told() {
        let mut observed = objects();
        let bob = Name::new("bob").unwrap();
        let gone: Vec<_> = observed
            .iter()
            .map(|(id, _)| id.clone())
            .filter(|id| node_of(id) == Some(&bob))
            .collect();
        gone.iter().for_each(|id| drop(observed.remove(id)));
        let reason = "its first process has ended".to_owned();
        assert_eq!(
            shown(&observed, vec![(Id::Node(bob), reason)]),
            "node bob  wrong  its first process has ended"
        );
    }

    #[test]
    fn an_address_that_somebody_removed_is_missing() {
        let mut observed = objects();
        let is_address = |object: &Object| matches!(object, Object::Address(_));
        let address = observed.iter().find(|(_, object)| is_address(object)).unwrap().0.clone();
        observed.remove(&address);
        assert!(shown(&observed, vec![]).contains("address alice:eth0 10.0.0.1  missing"));
    }
}
