//! Errors as people read them: what was tried, why it failed, what to do. Mistakes in a lab file
//! are shown with the lines at fault.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use netarium::check::CheckError;
use netarium::export::ExportError;
use netarium::image::ImageError;
use netarium::image::outgoing::OutgoingError;
use netarium::lab::LabError;
use netarium::lab_file::{LabFile, LabFileError, TextFile};
use netarium::session::SessionError;
use netarium_core::desired::Subject;
use netarium_core::problem::{Place, Problem};
use serde::Serialize;

use crate::choose::ChooseError;
use crate::commands::check::JunitError;
use crate::commands::generate::NotGenerated;
use crate::ending::Ending;
use crate::print::{self, BAD, Form, HEAD, Style};

/// How many mistakes are shown with their lines; nobody reads on.
const MOST_SHOWN: usize = 50;

/// The longest line of a lab file that is shown, in bytes.
const LONGEST_LINE: usize = 4096;

/// An error, for programs.
#[derive(Serialize)]
pub(crate) struct Told {
    error: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// The mistakes of a lab file, for programs.
#[derive(Serialize)]
struct Mistakes<'a> {
    file: &'a str,
    /// The other files, if there are several: places tell their numbers, from 1.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [&'a str],
    problems: &'a [Problem],
}

/// What of a lab this machine cannot run, each with its place in the lab file.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Unable {
    error: LabError,
    causes: Vec<String>,
}

/// An error of the lab that `file` describes. What the machine lacks is said with the place in the
/// file that needs it.
pub(crate) fn of_lab(error: LabError, file: &LabFile) -> anyhow::Error {
    let cause = |subject: &Subject, words: &dyn Display| match file.place_of(subject) {
        Some((path, place)) => {
            format!("{}:{}:{}: {words}", shown_path(&path), place.line, place.column)
        }
        None => format!("{}: {words}", shown_path(&file.path)),
    };
    let causes = match &error {
        LabError::Refused(refusals) => {
            refusals.iter().map(|refusal| cause(&refusal.subject, refusal)).collect()
        }
        LabError::Limits(limits) => {
            limits.iter().map(|it| cause(&it.subject.clone().into(), &it.message)).collect()
        }
        LabError::Unmet { node, other, failure } => {
            vec![cause(&Subject::After(node.clone(), other.clone()), failure)]
        }
        _ => return error.into(),
    };
    Unable { error, causes }.into()
}

/// Shows why the command failed, and says how it ends.
pub(crate) fn error(error: &anyhow::Error, style: Style) -> Ending {
    if is_broken_pipe(error) {
        return Ending::Fine;
    }
    let shown = match (error.downcast_ref(), style.form) {
        (Some(LabFileError::Problems { files, problems }), Form::Json) => {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let file = paths.first().copied().unwrap_or_default();
            print::json(&Mistakes { file, files: &paths[1.min(paths.len())..], problems })
        }
        (Some(LabFileError::Problems { files, problems }), Form::Text) => {
            print::say(render(files, problems));
            Ok(())
        }
        (_, Form::Json) => print::json(&Told::of(error)),
        (_, Form::Text) => {
            print::say(Told::of(error).text());
            Ok(())
        }
    };
    // The error counts, whether it can be shown or not.
    shown.map_or_else(|_| ending(error), |()| ending(error))
}

/// The reader of our output has gone, as `head` does when it has enough: no error at all.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn ending(error: &anyhow::Error) -> Ending {
    if matches!(error.downcast_ref(), Some(CheckError::Killed(_))) {
        return Ending::Unhealthy;
    }
    let of_usage = error.is::<ChooseError>() || error.is::<LabFileError>();
    let of_usage = of_usage || error.is::<NotGenerated>();
    if of_usage || error.is::<CheckError>() || error.is::<JunitError>() {
        return Ending::Usage;
    }
    if let Some(ExportError::Folder(error)) = error.downcast_ref()
        && error.hint().is_some()
    {
        return Ending::Usage;
    }
    if let Some(OutgoingError::Platform { .. }) = error.downcast_ref() {
        return Ending::Usage;
    }
    match (error.downcast_ref::<SessionError>(), error.downcast_ref::<ImageError>()) {
        (
            Some(
                SessionError::NotUp(_)
                | SessionError::NoSuchNode { .. }
                | SessionError::NoSuchService { .. },
            ),
            _,
        ) => Ending::Usage,
        (_, Some(ImageError::Missing { .. } | ImageError::Ambiguous { .. })) => Ending::Usage,
        _ => match error.downcast_ref::<LabError>() {
            Some(LabError::NotUp(_)) => Ending::Usage,
            _ => Ending::Refused,
        },
    }
}

impl Told {
    /// The error with its causes.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut told = Self {
            error: error.to_string(),
            causes: error.chain().skip(1).map(ToString::to_string).collect(),
            hint: hint(error),
        };
        match error.downcast_ref::<LabError>() {
            // These carry causes that are no errors themselves.
            Some(LabError::Step(failure)) => {
                told.error.clone_from(&failure.what);
                told.causes.clone_from(&failure.causes);
            }
            Some(LabError::Refused(refusals)) => {
                told.causes = refusals.iter().map(ToString::to_string).collect();
            }
            _ => {}
        }
        if let Some(unable) = error.downcast_ref::<Unable>() {
            told.causes.clone_from(&unable.causes);
        }
        told
    }

    /// Three sorts of lines, one below the other.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{BAD}{HEAD}error:{HEAD:#} {}", indented(&self.error));
        for cause in &self.causes {
            text.push_str(&format!("\n  {HEAD}cause:{HEAD:#} {}", indented(cause)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n  {HEAD}hint:{HEAD:#} {}", indented(hint)));
        }
        text
    }
}

/// Further lines of a text stand below its first.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n         ")
}

fn hint(error: &anyhow::Error) -> Option<String> {
    let of_lab = || error.downcast_ref::<LabError>().and_then(LabError::hint);
    let of_image = || error.downcast_ref::<ImageError>().and_then(ImageError::hint);
    let of_outgoing = || error.downcast_ref::<OutgoingError>().and_then(OutgoingError::hint);
    let of_session = || error.downcast_ref::<SessionError>().and_then(SessionError::hint);
    let of_export = || error.downcast_ref::<ExportError>().and_then(ExportError::hint);
    let of_choice = || error.downcast_ref::<ChooseError>().map(|error| error.hint.clone());
    let of_check = || error.downcast_ref::<CheckError>().and_then(CheckError::hint);
    let of_junit = || error.downcast_ref::<JunitError>().and_then(JunitError::hint);
    let of_unable = || error.downcast_ref::<Unable>().and_then(|it| it.error.hint());
    of_check()
        .or_else(of_junit)
        .or_else(of_unable)
        .or_else(of_lab)
        .or_else(of_image)
        .or_else(of_outgoing)
        .or_else(of_session)
        .or_else(of_export)
        .or_else(of_choice)
}

/// The path as it is shortest to read: from the current folder if it is below that.
pub(crate) fn shown_path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

/// Shows what people should know of a lab file, and nothing fails for.
pub(crate) fn warnings(file: &LabFile, style: Style) {
    if file.warnings.is_empty() || style.form == Form::Json {
        return;
    }
    let parts = rendered(&file.texts(), &file.warnings, Level::WARNING);
    style.say(parts.join("\n\n"));
}

/// All mistakes with their lines, and how many there are.
fn render(files: &[TextFile], problems: &[Problem]) -> String {
    let mut parts = rendered(files, problems, Level::ERROR);
    let mistakes = print::count(problems.len(), "mistake");
    let path = files.first().map_or_else(String::new, |file| shown_path(Path::new(&file.path)));
    parts.push(format!("{BAD}{HEAD}error:{HEAD:#} {mistakes} in {path}; nothing was made"));
    parts.join("\n\n")
}

/// Problems with their lines, as many as people read.
fn rendered(files: &[TextFile], problems: &[Problem], level: Level<'static>) -> Vec<String> {
    let renderer = Renderer::styled();
    let each = |problem: &Problem| {
        let file = files.get(problem.place.map_or(0, |place| place.file));
        let path = file.map_or_else(String::new, |file| shown_path(Path::new(&file.path)));
        let source = file.and_then(|file| std::str::from_utf8(&file.text).ok());
        renderer.render(&[group(&path, source, problem, level.clone())])
    };
    let mut parts: Vec<String> = problems.iter().take(MOST_SHOWN).map(each).collect();
    if problems.len() > MOST_SHOWN {
        parts.push(format!("and {} more", problems.len() - MOST_SHOWN));
    }
    parts
}

fn group<'a>(
    path: &'a str,
    source: Option<&'a str>,
    problem: &'a Problem,
    level: Level<'static>,
) -> Group<'a> {
    let title = level.primary_title(problem.message.as_str());
    let group = match (problem.place, source.and_then(|source| window(source, problem))) {
        (Some(place), Some(window)) => title.element(snippet(path, &window, place, problem)),
        (Some(place), None) => {
            title.element(Origin::path(path).line(place.line).char_column(place.column))
        }
        (None, _) => title.element(Origin::path(path)),
    };
    let is_said =
        |hint: &str| problem.note.as_ref().is_some_and(|note| note.message.starts_with(hint));
    match &problem.hint {
        Some(hint) if !is_said(hint) => {
            group.element(Level::HELP.with_name("hint").message(hint.as_str()))
        }
        _ => group,
    }
}

/// The part of a file that a problem is about: whole lines.
struct Window<'a> {
    text: &'a str,
    start: usize,
    line: usize,
}

fn snippet<'a>(
    path: &'a str,
    window: &Window<'a>,
    place: Place,
    problem: &'a Problem,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let inside = |place: Place| -> Range<usize> { span(window, place) };
    let snippet = Snippet::source(window.text)
        .path(path)
        .line_start(window.line)
        .annotation(AnnotationKind::Primary.span(inside(place)));
    match problem.note.as_ref().filter(|note| note.place.file == place.file) {
        Some(note) => snippet.annotation(
            AnnotationKind::Context.span(inside(note.place)).label(note.message.as_str()),
        ),
        None => snippet,
    }
}

/// A place in a window: on one line, and where it is empty the character that it is before.
fn span(window: &Window<'_>, place: Place) -> Range<usize> {
    let start = place.start.saturating_sub(window.start).min(window.text.len());
    let end = place.end.saturating_sub(window.start).clamp(start, window.text.len());
    let line_end = window.text[start..].find('\n').map_or(window.text.len(), |at| start + at);
    start..end.min(line_end)
}

/// The lines from the first to the last that the problem is about. Nothing where they are too long
/// to be read, or the places do not fit the text.
fn window<'a>(source: &'a str, problem: &Problem) -> Option<Window<'a>> {
    let place = problem.place?;
    let note = problem.note.as_ref().map(|note| note.place);
    // What is in another file cannot be shown beside it.
    let note = note.filter(|note| note.file == place.file).unwrap_or(place);
    let (first, last) = if place.start <= note.start { (place, note) } else { (note, place) };
    let start = source.get(..first.start)?.rfind('\n').map_or(0, |at| at + 1);
    let end = source.get(last.start..)?.find('\n').map_or(source.len(), |at| last.start + at);
    let text = source.get(start..end)?;
    let is_readable = text.lines().all(|line| line.len() <= LONGEST_LINE);
    is_readable.then_some(Window { text, start, line: first.line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> TextFile {
        TextFile { path: "lab.yaml".to_owned(), text: text.to_vec() }
    }

    fn rendered(text: &str) -> String {
        let problems = netarium_core::resolve::load(text.as_bytes(), "lab").unwrap_err();
        let rendered = render(&[file(text.as_bytes())], &problems);
        anstream::adapter::strip_str(&rendered).to_string()
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_what_to_do() {
        assert_eq!(
            rendered(
                "segments: {lan: 10.0.0.0/24}\nnodes:\n  alice: {interfaces: {lam: 10.0.0.1}}\n"
            ),
            "error: unknown segment lam\n\
             \x20--> lab.yaml:3:24\n\
             \x20 |\n\
             3 |   alice: {interfaces: {lam: 10.0.0.1}}\n\
             \x20 |                        ^^^\n\
             \x20 |\n\
             \x20 = hint: did you mean lan?\n\n\
             error: 1 mistake in lab.yaml; nothing was made"
        );
    }

    #[test]
    fn what_else_has_to_do_with_a_mistake_is_shown_too() {
        let text = "segments: {lan: 10.0.0.0/24}\nnodes:\n  alice: {interfaces: {lan: 10.0.0.1}}\n  \
                    bob: {interfaces: {lan: 10.0.0.1}}\n";
        let rendered = rendered(text);
        assert!(rendered.contains("3 |   alice"), "{rendered}");
        assert!(rendered.contains("4 |   bob"), "{rendered}");
    }

    #[test]
    fn a_mistake_of_the_whole_file_is_shown_without_lines() {
        let rendered = rendered("");
        assert!(rendered.starts_with("error: the file is empty\n"), "{rendered}");
        assert!(rendered.contains("hint: the smallest lab"), "{rendered}");
    }

    #[test]
    fn a_file_that_is_no_text_has_a_place_all_the_same() {
        let bytes = b"nodes:\n  a: \xff\n";
        let problems = netarium_core::resolve::load(bytes, "lab").unwrap_err();
        let rendered = render(&[file(bytes)], &problems);
        let rendered = anstream::adapter::strip_str(&rendered).to_string();
        assert!(rendered.contains("--> lab.yaml:2:6"), "{rendered}");
    }

    #[test]
    fn of_a_thousand_mistakes_the_first_are_shown_and_all_are_counted() {
        let mut text = "nodes:\n".to_owned();
        for number in 0..1000 {
            text.push_str(&format!("  n{number}: {{imagee: x}}\n"));
        }
        let rendered = rendered(&text);
        assert_eq!(rendered.matches("-->").count(), MOST_SHOWN);
        assert!(rendered.contains("and 950 more"));
        assert!(rendered.ends_with("error: 1000 mistakes in lab.yaml; nothing was made"));
    }

    #[test]
    fn an_error_has_its_causes_and_a_hint_below_it() {
        let failure = netarium::failure::Failure {
            what: "cannot add 10.1.0.2/16 to eth0 of gateway-a".to_owned(),
            causes: vec!["File exists (os error 17)".to_owned()],
            hint: Some("look for it".to_owned()),
        };
        let error = anyhow::Error::new(LabError::Step(failure));
        assert_eq!(
            anstream::adapter::strip_str(&Told::of(&error).text()).to_string(),
            "error: cannot add 10.1.0.2/16 to eth0 of gateway-a\n  \
             cause: File exists (os error 17)\n  hint: look for it"
        );
        assert_eq!(ending(&error), Ending::Refused);
    }

    #[test]
    fn what_the_machine_lacks_is_said_with_the_line_that_needs_it() {
        use netarium_core::desired::Refusal;
        use netarium_core::feature::Feature;
        let text = b"image: host\nsegments: {lan: 10.0.0.0/24}\nnodes:\n  a: {interfaces: {lan: 10.0.0.1}}\n";
        let file = LabFile::of_text(Path::new("/lab.yaml"), text.to_vec(), "lab").unwrap();
        let name = |word| netarium_core::name::Name::new(word).unwrap();
        let refusal = |subject| Refusal { subject, missing: vec![Feature::Ipv6], why: None };
        let refused = [Subject::Node(name("a")), Subject::Segment(name("lan"))].map(refusal);
        let error = of_lab(LabError::Refused(refused.to_vec()), &file);
        assert_eq!(ending(&error), Ending::Refused);
        assert_eq!(
            anstream::adapter::strip_str(&Told::of(&error).text()).to_string(),
            "error: this machine cannot run the lab\n  \
             cause: /lab.yaml:4:3: node a needs IPv6, which this kernel lacks\n  \
             cause: /lab.yaml:2:12: segment lan needs IPv6, which this kernel lacks\n  \
             hint: `netarium doctor` tells what this machine has and lacks"
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&error));
    }
}
