//! Lets this user namespace run the programs of another processor, with qemu in user mode.
//!
//! The host may have told its kernel already (binfmt_misc); else this namespace tells the kernel for
//! itself, which Linux 6.7 and later allow, and the host's table stays as it is.
//!
//! Source: the kernel's documentation, admin-guide/binfmt-misc; the magic words are those of ELF(5).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

/// Where the kernel is told.
const TABLE: &str = "/proc/sys/fs/binfmt_misc";

/// The machine in the header of a program (`e_machine`) of those that qemu is asked for.
const MACHINES: [(&str, &str, u16); 2] = [("amd64", "x86_64", 62), ("arm64", "aarch64", 183)];

/// Where programs of the system are.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Why programs of another processor cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinfmtError {
    /// There is no emulator for it.
    #[error("programs for {0} cannot run here")]
    Unknown(String),
    /// The emulator is not installed.
    #[error("cannot find qemu-{0}-static")]
    Qemu(&'static str),
    /// The kernel takes none from a user namespace.
    #[error("cannot tell the kernel how to run programs for {architecture}: {source}")]
    Kernel {
        /// The processor.
        architecture: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl BinfmtError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "images are built for linux/amd64 and linux/arm64".to_owned(),
            Self::Qemu(_) => "apt install qemu-user-static".to_owned(),
            Self::Kernel { .. } => "a kernel before 6.7 is told by root, for the whole machine: \
                                    apt install qemu-user-static binfmt-support"
                .to_owned(),
        })
    }
}

/// The program that runs programs for `architecture`.
pub(crate) fn emulator(architecture: &str) -> Result<PathBuf, BinfmtError> {
    let (_, processor, _) = machine(architecture)?;
    let name = format!("qemu-{processor}-static");
    let found = PLACES.iter().map(|folder| Path::new(folder).join(&name)).find(|it| it.is_file());
    found.ok_or(BinfmtError::Qemu(processor))
}

/// Sees that programs for `architecture` run here.
///
/// # Errors
/// If there is no emulator, or the kernel does not take one from a user namespace.
pub(crate) fn emulate(architecture: &str) -> Result<(), BinfmtError> {
    if is_known(architecture)? {
        return Ok(());
    }
    let emulator = emulator(architecture)?;
    register(architecture, &emulator)
        .map_err(|source| BinfmtError::Kernel { architecture: architecture.to_owned(), source })
}

fn machine(architecture: &str) -> Result<(&'static str, &'static str, u16), BinfmtError> {
    let found = MACHINES.into_iter().find(|(name, ..)| *name == architecture);
    found.ok_or_else(|| BinfmtError::Unknown(architecture.to_owned()))
}

/// Whether the host has told the kernel, under the name that everybody uses. The emulator has to be
/// open already (flag F): the image does not have it.
fn is_known(architecture: &str) -> Result<bool, BinfmtError> {
    let (_, processor, _) = machine(architecture)?;
    let entry = fs::read_to_string(Path::new(TABLE).join(format!("qemu-{processor}")));
    Ok(entry.is_ok_and(|text| {
        let flags = text.lines().find_map(|line| line.strip_prefix("flags: "));
        text.starts_with("enabled\n") && flags.is_some_and(|flags| flags.contains('F'))
    }))
}

#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn register(architecture: &str, emulator: &Path) -> io::Result<()> {
    let (name, _, machine) = machine(architecture).map_err(io::Error::other)?;
    mount("netarium", TABLE, "binfmt_misc", MountFlags::empty(), None)?;
    let (magic, mask) = magic(machine);
    let line = format!(":netarium-{name}:M::{magic}:{mask}:{}:F", emulator.display());
    fs::write(Path::new(TABLE).join("register"), line)
}

/// By what a 64-bit little-endian program for a machine is known: the first 20 bytes of it, and which
/// bits of them count. The last bit of its type does not: programs at a fixed address are 2, others 3.
fn magic(machine: u16) -> (String, String) {
    let [low, high] = machine.to_le_bytes();
    let magic = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, low, high];
    let mut mask = [0xff; 20];
    // The system it is for is written differently by different compilers.
    mask[7] = 0;
    mask[16] = 0xfe;
    let words = |bytes: [u8; 20]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    (words(magic), words(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_machine() {
        let (magic, mask) = magic(183);
        assert_eq!(magic.len(), 80);
        assert!(magic.starts_with("\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01"), "{magic}");
        assert!(magic.ends_with("\\x02\\x00\\xb7\\x00"), "{magic}");
        assert!(mask.ends_with("\\xfe\\xff\\xff\\xff"), "{mask}");
    }

    #[test]
    fn a_processor_that_no_image_is_built_for_is_named() {
        let error = emulator("s390x").unwrap_err();
        assert_eq!(error.to_string(), "programs for s390x cannot run here");
        assert!(error.hint().is_some());
    }
}
