//! The programs of others that a lab cannot be brought up without: looked for before anything is
//! made.

use netarium_core::desired::Desired;
use netarium_core::name::Name;
use netarium_core::object::{Id, Object, Port};

use super::{LabError, Result};
use crate::engine::native::firewall::NFT;
use crate::engine::native::pasta::PASTA;
use crate::linux::program::{Program, ProgramError};

/// Lets pass what this machine has the programs for.
///
/// # Errors
/// If one is missing.
pub(super) fn check(desired: Desired) -> Result<Desired> {
    let has_firewall = desired.objects.iter().any(|(id, _)| matches!(id, Id::Firewall(_)));
    if has_firewall && !Program::is_there(NFT) {
        return Err(LabError::Program(ProgramError::Missing { name: NFT.to_owned() }));
    }
    let mut needed = [PASTA, NFT].into_iter().filter(|_| desired.objects.contains(&Id::Uplink));
    match needed.find(|name| !Program::is_there(name)) {
        Some(name) => Err(LabError::WayOut {
            nodes: nodes_with_a_way(&desired),
            source: ProgramError::Missing { name: name.to_owned() },
        }),
        None => Ok(desired),
    }
}

/// The nodes with a way out or in.
fn nodes_with_a_way(desired: &Desired) -> Vec<Name> {
    let interfaces = desired.objects.iter().filter_map(|(_, object)| match object {
        Object::Interface(it) if it.port == Port::Isolated => Some(it.node.clone()),
        _ => None,
    });
    interfaces.collect()
}
