//! Firewalls of nodes: the text goes to nft(8), which is the host's, in the node's network
//! namespace. Those of several nodes are put there side by side: nft mostly waits for the kernel.
//!
//! Whether somebody has changed a table since is told by the generation of the namespace's nftables,
//! which is kept in the node's folder. Where it has moved on, somebody may also have changed a table
//! of his own. nft does not show a table in the words in which it was made; so what it shows in the
//! node is compared with what it shows of the same text in a namespace made for that. What
//! named sets hold is not compared, since traffic fills some of them.

use std::fs;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

use netarium_core::nft::{self, Table};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::node::RunningNode;
use super::worker::write_record;
use crate::linux::namespace::{self, NetworkNamespace};
use crate::linux::netlink::nftables_generation;
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
    #[error("cannot find out the generation of the node's nftables")]
    Generation(#[source] io::Error),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

type Result<T> = std::result::Result<T, FirewallError>;

/// Puts each node's table in place of the one that is there, in one transaction a node. Answers in
/// the order of the nodes; where nft does not take a text, nothing has changed.
pub(crate) fn load(tables: &[(&RunningNode, &str)]) -> Vec<Result<()>> {
    std::thread::scope(|scope| {
        let loading: Vec<_> = tables
            .iter()
            .map(|&(node, text)| scope.spawn(move || load_one(&Place::of(node), text)))
            .collect();
        let loaded = loading.into_iter().map(|it| it.join());
        loaded.map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Where a table is: a network namespace, and the file for what is kept about the table.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a NetworkNamespace,
    pub(crate) record: PathBuf,
}

impl<'a> Place<'a> {
    fn of(node: &'a RunningNode) -> Self {
        Self { namespace: &node.namespace, record: node.folder.firewall() }
    }
}

/// What is kept about a table that was made.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Made {
    table: Table,
    /// The generation of the namespace's nftables right after.
    generation: u32,
}

impl Made {
    fn recorded(place: &Place<'_>) -> Option<Self> {
        serde_json::from_slice(&fs::read(&place.record).ok()?).ok()
    }
}

/// Puts a table in place of the one that is there, in one transaction.
///
/// # Errors
/// If nft does not take it: then nothing has changed.
pub(crate) fn load_one(place: &Place<'_>, text: &str) -> Result<()> {
    let table = Made::recorded(place).map_or(Table::First, |made| made.table.other());
    let program = reading(&nft::placement(table, text))?;
    let generation = place.namespace.enter(|| {
        program.run_now()?;
        nftables_generation().map_err(FirewallError::Generation)
    });
    let generation = generation.map_err(FirewallError::Enter)??;
    write_record(&place.record, &Made { table, generation })
        .map_err(|source| FirewallError::Write { path: place.record.clone(), source })
}

/// Takes the table away, if it is there.
///
/// # Errors
/// If nft cannot.
pub(crate) fn unload(node: &RunningNode) -> Result<()> {
    unload_one(&Place::of(node))
}

/// Takes a table away, if it is there.
///
/// # Errors
/// If nft cannot.
pub(crate) fn unload_one(place: &Place<'_>) -> Result<()> {
    let program = reading(&nft::removal())?;
    place.namespace.enter(|| program.run_now()).map_err(FirewallError::Enter)??;
    Ok(())
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

/// Looks at the table of a node that was made from `text`.
pub(crate) fn look(node: &RunningNode, text: &str) -> Found {
    look_at(&Place::of(node), text)
}

/// Looks at the table that was made from `text`.
pub(crate) fn look_at(place: &Place<'_>, text: &str) -> Found {
    let Some(made) = Made::recorded(place) else { return Found::Gone };
    let generation = place.namespace.enter(|| nftables_generation().ok()).ok().flatten();
    if generation == Some(made.generation) {
        return Found::Unchanged;
    }
    let listed = place.namespace.enter(|| listing(made.table).run_now());
    // nft fails if there is no such table.
    let Ok(Ok(listed)) = listed else { return Found::Gone };
    match show_anew(made.table, text) {
        Ok(anew) if anew == listed.stdout => Found::Unchanged,
        _ => Found::Changed(String::from_utf8_lossy(&listed.stdout).into_owned()),
    }
}

/// What nft shows of a table that has just been made from `text`.
fn show_anew(table: Table, text: &str) -> Result<Vec<u8>> {
    let program = reading(&nft::placement(table, text))?;
    let shown = namespace::in_new_network(|| {
        program.run_now()?;
        listing(table).run_now()
    });
    Ok(shown.map_err(FirewallError::Enter)??.stdout)
}

fn reading(text: &str) -> Result<Program> {
    let input = in_memory(text).map_err(FirewallError::Pass)?;
    Ok(Program::new(NFT).args(["-f", "-"]).stdin(input))
}

fn listing(table: Table) -> Program {
    Program::new(NFT).args(["--stateless", "--terse", "list", "table"]).args(table.words())
}

/// A file without a name, read from its beginning.
fn in_memory(text: &str) -> io::Result<fs::File> {
    let mut file = fs::File::from(memfd_create(NFT, MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
