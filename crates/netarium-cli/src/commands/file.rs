//! `validate`, `inspect` and `schema`: about lab files, and what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use netarium::lab::{Lab, State, Status};
use netarium_core::model::Model;
use netarium_core::name::Name;
use netarium_core::problem::Problem;
use serde::Serialize;

use super::{Context, up};
use crate::args::OneLab;
use crate::choose;
use crate::ending::Ending;
use crate::print::{self, Form, GOOD};
use crate::report::{self, shown_path};

/// A lab file without mistakes, for programs.
#[derive(Serialize)]
struct Valid<'a> {
    file: &'a Path,
    lab: &'a str,
    problems: [(); 0],
    warnings: &'a [Problem],
}

/// All that is known of a lab.
#[derive(Serialize)]
struct Known<'a> {
    file: &'a Path,
    state: State,
    model: &'a Model,
    status: Option<Status>,
    /// The folders of the volumes that there are, also while the lab is not up.
    volumes: BTreeMap<Name, PathBuf>,
}

/// Looks for mistakes in a lab file.
///
/// # Errors
/// If there are any.
pub(crate) fn validate(context: &Context, asked: &OneLab) -> anyhow::Result<Ending> {
    let file = choose::file(&context.data, asked)?;
    report::warnings(&file, context.style);
    let (model, path) = (&file.model, &file.path);
    match context.style.form {
        Form::Json => {
            print::json(&Valid {
                file: path,
                lab: model.lab.as_str(),
                problems: [],
                warnings: &file.warnings,
            })?;
        }
        Form::Text => {
            for image in model.builds.keys() {
                context.style.say(format_args!("image {image} would be built by Docker"));
            }
            context.style.say(format_args!(
                "{}: {GOOD}no mistakes{GOOD:#}; lab {} has {}",
                shown_path(path),
                model.lab,
                up::parts(model)
            ));
        }
    }
    Ok(Ending::Fine)
}

/// Prints all that is known of a lab: what its file means and, if it is up, how it is.
///
/// # Errors
/// If no lab is meant, its file has mistakes, or it cannot be seen how the lab is.
pub(crate) async fn inspect(context: &Context, asked: &OneLab) -> anyhow::Result<Ending> {
    let file = choose::file(&context.data, asked)?;
    report::warnings(&file, context.style);
    let lab = Lab::named(&context.data, &file.model.lab);
    let state = lab.state();
    let status = match state {
        State::Down => None,
        State::Up | State::Killed => Some(lab.status().await?),
    };
    let volumes = lab.volumes()?;
    print::json(&Known { file: &file.path, state, model: &file.model, status, volumes })?;
    Ok(Ending::Fine)
}

/// Prints the JSON Schema of the lab file.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn schema() -> anyhow::Result<Ending> {
    print::json(&netarium_core::schema::schema())?;
    Ok(Ending::Fine)
}
