//! System calls that an image build need not or cannot do, answered with success by a seccomp
//! filter.
//!
//! Flushing to disk costs seconds and is done once, when the build is finished. Where there is a
//! single id, files cannot be given to other users and processes cannot become other users, yet
//! dpkg insists: everything belongs to root then. Device files cannot be made in a user namespace;
//! nodes get theirs from the engine.
//!
//! Source: seccomp(2), SECCOMP_RET_ERRNO with an errno of 0.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::linux::idmap::IdMap;

/// Calls that flush files to disk.
const FLUSH: &[libc::c_long] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_msync,
    libc::SYS_sync_file_range,
];

/// Calls that change the owner of a file or the user of a process.
const OWNERS: &[libc::c_long] = &[
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

/// Those that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_OWNERS: &[libc::c_long] = &[libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const OLD_OWNERS: &[libc::c_long] = &[];

/// Calls that make a file, with the place of its mode among their arguments.
#[cfg(target_arch = "x86_64")]
const MAKE: &[(libc::c_long, u8)] = &[(libc::SYS_mknod, 1), (libc::SYS_mknodat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const MAKE: &[(libc::c_long, u8)] = &[(libc::SYS_mknodat, 2)];

/// The calls that cannot succeed where there is a single id.
pub(crate) fn owner_calls() -> impl Iterator<Item = libc::c_long> {
    OWNERS.iter().chain(OLD_OWNERS).copied()
}

/// Puts this process and all that it starts under the filter of a build with the ids of `map`.
///
/// # Errors
/// If the kernel has no seccomp filters.
pub(crate) fn emulate_root(map: &IdMap) -> Result<(), seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(FLUSH.iter().map(|call| (*call, Vec::new())));
    if map.is_single() {
        rules.extend(owner_calls().map(|call| (call, Vec::new())));
        for (call, place) in MAKE {
            rules.insert(
                *call,
                vec![is_device(*place, libc::S_IFCHR)?, is_device(*place, libc::S_IFBLK)?],
            );
        }
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

fn is_device(place: u8, kind: libc::mode_t) -> Result<SeccompRule, seccompiler::Error> {
    let kinds = u64::from(libc::S_IFMT);
    let operator = SeccompCmpOp::MaskedEq(kinds);
    let condition =
        SeccompCondition::new(place, SeccompCmpArgLen::Dword, operator, u64::from(kind))?;
    Ok(SeccompRule::new(vec![condition])?)
}
