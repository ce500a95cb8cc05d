//! `down`: takes labs down.

use netarium::lab::{Lab, LabError};
use serde::Serialize;

use super::Context;
use crate::args::Down;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, Form, GOOD};
use crate::report;

/// What became of a lab, for programs.
#[derive(Serialize)]
struct Result<'a> {
    lab: &'a str,
    outcome: Outcome,
    #[serde(flatten)]
    failure: Option<report::Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It is down now.
    Down,
    /// It was down before.
    Nothing,
    /// Something of it is left.
    Failed,
}

/// Takes one lab down, or all of them.
///
/// # Errors
/// If no lab is meant.
pub(crate) async fn down(context: &Context, arguments: Down) -> anyhow::Result<Ending> {
    let labs = if arguments.all {
        choose::all(&context.data)?
    } else {
        vec![choose::lab(&context.data, &arguments.lab, Otherwise::Nothing)?]
    };
    if labs.is_empty() {
        context.style.say("no lab is up: nothing to do");
    }
    let mut done = Vec::new();
    for lab in &labs {
        // The others are taken down even if this one cannot be.
        let result = take_down(lab, arguments.volumes).await;
        done.push(tell(context, lab, result));
    }
    if context.style.form == Form::Json {
        print::json(&done)?;
    }
    let failed = done.iter().any(|result| result.outcome == Outcome::Failed);
    Ok(if failed { Ending::Refused } else { Ending::Fine })
}

/// Takes a lab down. Says whether there was anything, volumes counted if they go too.
async fn take_down(lab: &Lab, with_volumes: bool) -> std::result::Result<bool, LabError> {
    let was_up = lab.down(&|_| ()).await?;
    let had_volumes = with_volumes && lab.remove_volumes(&|_| ()).await?;
    Ok(was_up || had_volumes)
}

fn tell<'a>(
    context: &Context,
    lab: &'a Lab,
    result: std::result::Result<bool, LabError>,
) -> Result<'a> {
    let name = lab.name();
    let (outcome, failure) = match result {
        Ok(true) => {
            context.style.say(format_args!("{GOOD}lab {name} is down{GOOD:#}"));
            (Outcome::Down, None)
        }
        Ok(false) => {
            context.style.say(format_args!("lab {name} is not up: nothing to do"));
            (Outcome::Nothing, None)
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            let told = report::Told::of(&error);
            if context.style.form == Form::Text {
                print::say(format_args!("lab {name}: {}", told.text()));
            }
            (Outcome::Failed, Some(told))
        }
    };
    Result { lab: name.as_str(), outcome, failure }
}
