//! Completions for shells, made from the command line's own description.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::ending::Ending;

/// Prints the completions for `shell`.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn print(shell: Shell) -> anyhow::Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "netarium", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Ending::Fine)
}
