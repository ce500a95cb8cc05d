//! Firewalls of nodes: the text goes to nft(8), which is the host's, in the node's network
//! namespace.
//!
//! nft does not show a table in the words in which it was made. So what it shows right after is kept
//! in the node's folder, and compared with what it shows later: a table that was changed by hand
//! is found, whatever it was made from. What named sets hold is not compared, since traffic fills
//! some of them.

use std::fs;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

use netarium_core::nft::{REMOVAL, TABLE};
use rustix::fs::{MemfdFlags, memfd_create};

use super::node::RunningNode;
use super::worker::write_bytes;
use crate::linux::program::{Program, ProgramError};

/// The program.
pub(crate) const NFT: &str = "nft";

/// Why a firewall was not made or taken away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirewallError {
    #[error("cannot enter the node's network namespace")]
    Enter(#[source] io::Error),
    #[error("cannot pass the rules on")]
    Pass(#[source] io::Error),
    #[error("the rules are not taken")]
    Nft(#[from] ProgramError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

type Result<T> = std::result::Result<T, FirewallError>;

/// Puts the table in place of the one that is there, in one transaction.
///
/// # Errors
/// If nft does not take it: then nothing has changed.
pub(crate) fn load(node: &RunningNode, text: &str) -> Result<()> {
    read(node, text)?;
    let listing = list(node)?;
    let path = node.folder.firewall();
    write_bytes(&path, listing.as_bytes()).map_err(|source| FirewallError::Write { path, source })
}

/// Takes the table away, if it is there.
///
/// # Errors
/// If nft cannot.
pub(crate) fn unload(node: &RunningNode) -> Result<()> {
    read(node, REMOVAL)
}

/// How the table is.
pub(crate) enum Found {
    /// As it was made.
    Unchanged,
    /// Otherwise: so nft shows it.
    Changed(String),
    /// Not at all.
    Gone,
}

/// Looks at the table.
pub(crate) fn look(node: &RunningNode) -> Found {
    // nft fails if there is no such table.
    let Ok(listing) = list(node) else { return Found::Gone };
    match fs::read(node.folder.firewall()) {
        Ok(made) if made == listing.as_bytes() => Found::Unchanged,
        _ => Found::Changed(listing),
    }
}

fn read(node: &RunningNode, text: &str) -> Result<()> {
    let input = in_memory(text).map_err(FirewallError::Pass)?;
    run(node, Program::new(NFT).args(["-f", "-"]).stdin(input)).map(|_| ())
}

fn list(node: &RunningNode) -> Result<String> {
    let list = Program::new(NFT).args(["--stateless", "--terse", "list", "table"]).args(TABLE);
    run(node, list)
}

/// A program that is started on a thread in the namespace is in it too.
fn run(node: &RunningNode, program: Program) -> Result<String> {
    let ended = node.namespace.enter(|| program.run_now()).map_err(FirewallError::Enter)?;
    Ok(String::from_utf8_lossy(&ended?.stdout).into_owned())
}

/// A file without a name, read from its beginning.
fn in_memory(text: &str) -> io::Result<fs::File> {
    let mut file = fs::File::from(memfd_create(NFT, MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
