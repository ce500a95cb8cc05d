//! `export`: labs as other programs take them. The writing is the library's.

use std::collections::BTreeSet;

use netarium::export::{self, Exported, Load};
use serde::Serialize;

use super::Context;
use crate::args::ExportCompose;
use crate::choose;
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::progress::Progress;
use crate::print::{self, Form, count};
use crate::report::{self, shown_path};

/// What was exported, for programs.
#[derive(Serialize)]
struct Told<'a> {
    folder: String,
    nodes: usize,
    /// As the Compose file calls them.
    images: Vec<&'a str>,
    notes: &'a BTreeSet<String>,
}

/// Writes a lab for Docker Compose.
///
/// # Errors
/// If no lab is meant, its file has mistakes, or the folder cannot be written.
pub(crate) async fn compose(
    context: &Context,
    ExportCompose { lab, output, load }: ExportCompose,
) -> anyhow::Result<Ending> {
    let file = choose::file(&context.data, &lab)?;
    report::warnings(&file, context.style);
    let output = output.unwrap_or_else(|| format!("{}-compose", file.model.lab).into());
    let load = if load { Load::Now } else { Load::Later };
    let mut interrupts = Interrupts::listen()?;
    let progress = Progress::begin(context.style);
    let report = |event| progress.event(&event);
    let exported = tokio::select! {
        biased;
        signal = interrupts.next() => {
            progress.end();
            return Ok(Ending::Interrupted(signal));
        }
        exported = export::compose(&file, &context.data, &output, load, &report) => exported,
    };
    progress.end();
    let exported = exported.map_err(|error| match error {
        export::ExportError::Lab(error) => report::of_lab(error, &file),
        error => error.into(),
    })?;
    tell(context, &exported, load)?;
    Ok(Ending::Fine)
}

fn tell(context: &Context, exported: &Exported, load: Load) -> anyhow::Result<()> {
    let folder = shown_path(&exported.folder);
    if context.style.form == Form::Json {
        let images = exported.images.keys().map(String::as_str).collect();
        let notes = &exported.notes;
        print::json(&Told { folder, nodes: exported.nodes, images, notes })?;
        return Ok(());
    }
    for note in &exported.notes {
        context.style.say(format_args!("note: {note}"));
    }
    if load == Load::Later {
        for image in exported.images.keys() {
            context.style.say(format_args!("note: --load gives Docker the image {image}"));
        }
    }
    print::line(format_args!("wrote {folder}, with {}", count(exported.nodes, "node")))?;
    context.style.say(format_args!("next: cd {folder} && docker-compose up --detach"));
    Ok(())
}
