//! Starts the stage that builds or removes an image, and follows it. Everything that happens to
//! the image's files happens there, in `workshop`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use netarium_core::image::Platform;
use netarium_core::model::Recipe;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::image::error::hint_of_cause;
use crate::image::progress::Progress;
use crate::image::workshop::{Answer, Request, Work};
use crate::image::{ImageError, ImageEvent, platforms};
use crate::linux::binfmt;
use crate::linux::program::{Program, ProgramError};
use crate::linux::stage::{Running, Stage, StageError};

/// Builds an image for `platform` into the store in `folder`. `lock` is the image's, held by the caller; the
/// stage has a share in it until it is finished and clean, whatever becomes of the caller.
pub(crate) async fn build(
    folder: &Path,
    recipe: &Recipe,
    platform: &Platform,
    lock: &File,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<(), ImageError> {
    check(recipe, platform)?;
    let began = Instant::now();
    report(ImageEvent::Started { packages: recipe.packages.len() });
    let work = Work::Build(recipe.clone(), platform.clone());
    let digest = platforms::address(recipe, platform);
    let request = Request { folder: folder.to_owned(), digest, work };
    let bytes = run(recipe.name.as_str(), request, lock, report).await?;
    report(ImageEvent::Done { seconds: began.elapsed().as_secs_f64(), bytes });
    Ok(())
}

/// Removes an image from the store in `folder`. `lock` is the image's, held by the caller.
pub(crate) async fn remove(folder: &Path, digest: &str, lock: &File) -> Result<(), ImageError> {
    let request =
        Request { folder: folder.to_owned(), digest: digest.to_owned(), work: Work::Remove };
    run(digest, request, lock, &|_| ()).await.map(drop)
}

/// Sees that no word of a recipe can be taken for an option, a file or a list, and that there is what
/// builds it.
fn check(recipe: &Recipe, platform: &Platform) -> Result<(), ImageError> {
    let image = recipe.name.to_string();
    let fits = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~=".contains(&b))
    };
    let words = std::iter::once(&recipe.suite).chain(&recipe.packages);
    if let Some(word) = words.into_iter().find(|word| !fits(word)) {
        return Err(ImageError::Word { image, word: word.clone() });
    }
    if !Program::is_there("mmdebstrap") {
        let source = ProgramError::Missing { name: "mmdebstrap".to_owned() };
        return Err(ImageError::Program { image, source });
    }
    if *platform != platforms::here() {
        binfmt::emulator(&platform.architecture)
            .map_err(|source| ImageError::Foreign { image, source })?;
    }
    Ok(())
}

async fn run(
    image: &str,
    request: Request,
    lock: &File,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<u64, ImageError> {
    let failed = |source| ImageError::Stage { image: image.to_owned(), source };
    let mut stage =
        Running::start(Stage::Image, &request, &[lock.as_fd()], Stdio::piped()).map_err(failed)?;
    let output = stage.process.stderr.take();
    let mut progress = Progress::new();
    let (answer, followed) = tokio::join!(stage.answer(), follow(output, &mut progress, report));
    let answer = answer.map_err(failed)?;
    followed.map_err(|error| failed(StageError::Talk(error)))?;
    stage.process.wait().await.map_err(|error| failed(StageError::Talk(error)))?;
    let (lines, cause) = progress.failure();
    match answer {
        Some(Answer::Done { bytes }) => Ok(bytes),
        Some(Answer::Folder { path, errno }) => {
            Err(ImageError::Folder { path, source: std::io::Error::from_raw_os_error(errno) })
        }
        Some(Answer::Namespace { text, hint }) => Err(ImageError::Build {
            image: image.to_owned(),
            folder: request.folder,
            lines: vec![text],
            hint,
        }),
        Some(Answer::Unpacked { .. } | Answer::Layer { .. }) => {
            Err(failed(StageError::Silent { stderr: String::new() }))
        }
        Some(Answer::Refused) => Err(ImageError::Build {
            image: image.to_owned(),
            hint: hint_of_cause(cause, &request.folder),
            folder: request.folder,
            lines,
        }),
        None => Err(failed(StageError::Silent { stderr: lines.join("\n") })),
    }
}

/// Reads what the build says until nobody is left who could say something.
async fn follow(
    output: Option<impl AsyncRead + Unpin>,
    progress: &mut Progress,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> std::io::Result<()> {
    let Some(output) = output else { return Ok(()) };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await? > 0 {
        if let Some(event) = progress.line(&String::from_utf8_lossy(&line)) {
            report(event);
        }
        line.clear();
    }
    Ok(())
}
