//! The programs of others that a lab cannot be brought up without: looked for before anything is
//! made.

use netarium_core::desired::Desired;
use netarium_core::object::Id;

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
    let has_uplink = desired.objects.contains(&Id::Uplink);
    for (is_needed, name) in [(has_uplink, PASTA), (has_uplink, NFT)] {
        if is_needed && !Program::is_there(name) {
            return Err(LabError::WayOut(ProgramError::Missing { name: name.to_owned() }));
        }
    }
    Ok(desired)
}
