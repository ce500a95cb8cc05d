//! Manual pages, made from the command line's own description.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::args::Arguments;
use crate::ending::Ending;

/// Writes a page for each command into `folder`, which is made if it is not there.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(folder: &Path) -> anyhow::Result<Ending> {
    let failed = || format!("cannot write manual pages into {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    // Where the page is read there is no terminal whose width would count.
    clap_mangen::generate_to(Arguments::command(), folder).with_context(failed)?;
    Ok(Ending::Fine)
}
