//! Which system calls a node may make.
//!
//! Of several filters the strictest answer counts (seccomp(2)). One refuses numbers that are not
//! known here: the x32 variants on x86-64, and calls newer than this list, so that a new kernel
//! does not open a new door. Another refuses known calls that are about the machine and not about
//! the node, whatever capabilities the caller has.

use netarium_core::model::Nesting;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};
use serde_json::json;

use super::clone::ALL_NAMESPACES;
use super::emulation;

/// The filters, compiled once and used for every node that is alike.
pub(crate) struct Filters(Vec<BpfProgram>);

/// The last system call of Linux 6.13; the numbers are the same on all architectures from 424 on.
const LAST_KNOWN: u32 = 466;

/// A system call by its number, and by its name.
type Call = (libc::c_long, &'static str);

/// System calls, each named once.
macro_rules! calls {
    ($(libc::$name:ident,)*) => { &[$((libc::$name, stringify!($name)),)*] };
}

/// System calls that concern the whole machine: its kernel, clock, swap, modules, keys, tracing.
const REFUSED: &[Call] = calls![
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// System calls that make and enter namespaces and mounts: what containers are made with.
const OF_CONTAINERS: &[Call] = calls![
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[Call] = calls![
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[Call] = &[];

/// Makes the filters of nodes with so many ids. Where there is a single one, changing the owner of
/// a file or the user of a process cannot succeed; programs that insist (tcpdump gives its rights
/// up, for example) are told that it did, as an image build is.
///
/// # Errors
/// If this is not an architecture that the filter compiler knows.
pub(crate) fn filters(ids: u32, nesting: Nesting) -> Result<Filters, BackendError> {
    let mut refused: Vec<_> = REFUSED.iter().chain(REFUSED_HERE).collect();
    let mut partly = vec![(libc::SYS_ioctl, type_into_terminal()?)];
    if nesting == Nesting::Refused {
        refused.extend(OF_CONTAINERS);
        partly.push((libc::SYS_clone, new_namespace()?));
    }
    let refused = refused.into_iter().map(|(number, _)| (*number, vec![]));
    // The flags of clone3 are in memory, where a filter cannot look. Told that there is no such
    // call, C libraries fall back to clone.
    let unseen = [(libc::SYS_clone3, vec![])];
    let mut filters = vec![
        only_known(),
        filter(refused.chain(partly), libc::EPERM)?,
        filter(unseen.into_iter(), libc::ENOSYS)?,
    ];
    if ids == 1 {
        filters.push(filter(emulation::owner_calls().map(|number| (number, vec![])), 0)?);
    }
    Ok(Filters(filters))
}

/// The same for an engine that is told which system calls a container may make, as JSON in the form that
/// Docker has for it. Calls that are newer than the list are not known by name.
pub(crate) fn profile(nesting: Nesting) -> serde_json::Value {
    let mut refused: Vec<_> = REFUSED.iter().chain(REFUSED_HERE).collect();
    if nesting == Nesting::Refused {
        refused.extend(OF_CONTAINERS);
    }
    let name = |(_, name): &Call| name.trim_start_matches("SYS_").to_owned();
    let names: Vec<String> = refused.into_iter().map(name).collect();
    let refuse = "SCMP_ACT_ERRNO";
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| {
        let argument = json!({"index": 1, "value": request, "op": "SCMP_CMP_EQ"});
        json!({"names": ["ioctl"], "action": refuse, "errnoRet": libc::EPERM, "args": [argument]})
    });
    let calls = [
        json!({"names": names, "action": refuse, "errnoRet": libc::EPERM}),
        json!({"names": ["clone3"], "action": refuse, "errnoRet": libc::ENOSYS}),
    ];
    let calls: Vec<_> = calls.into_iter().chain(typing).collect();
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls})
}

impl Filters {
    /// Binds the calling thread, and all that it becomes, to the filters for ever.
    ///
    /// # Errors
    /// If the kernel has no seccomp filters.
    pub(crate) fn apply(&self) -> Result<(), seccompiler::Error> {
        self.0.iter().try_for_each(|program| apply_filter(program))
    }
}

fn filter(
    rules: impl Iterator<Item = (i64, Vec<SeccompRule>)>,
    errno: i32,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules.collect(), SeccompAction::Allow, answer, arch)?.try_into()
}

/// Answers `ENOSYS` to every number after [`LAST_KNOWN`]; the x32 variants have bit 30 set.
fn only_known() -> BpfProgram {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let [load, greater, answer] = [
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    ]
    .map(|code| u16::try_from(code).expect("BPF codes have 16 bits"));
    vec![
        instruction(load, 0, 0, 0),
        instruction(greater, 0, 1, LAST_KNOWN),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// clone(2) with any flag that makes a namespace.
fn new_namespace() -> Result<Vec<SeccompRule>, BackendError> {
    let mut flags = ALL_NAMESPACES.cast_unsigned();
    let mut rules = Vec::new();
    while flags != 0 {
        let flag = u64::from(flags & flags.wrapping_neg());
        flags &= flags - 1;
        rules.push(SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?])?);
    }
    Ok(rules)
}

/// ioctl(2) that types into a terminal, which a shell's user may be sitting at.
fn type_into_terminal() -> Result<Vec<SeccompRule>, BackendError> {
    [libc::TIOCSTI, libc::TIOCLINUX]
        .into_iter()
        .map(|request| {
            SeccompRule::new(vec![SeccompCondition::new(
                1,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Eq,
                request,
            )?])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_what_the_filters_refuse() {
        let profile = profile(Nesting::Allowed);
        let names = profile["syscalls"][0]["names"].as_array().unwrap();
        assert_eq!(names.len(), REFUSED.len() + REFUSED_HERE.len());
        assert!(names.contains(&json!("kexec_load")) && !names.contains(&json!("mount")));
    }

    #[test]
    fn the_filters_compile_on_this_machine() {
        for nesting in [Nesting::Refused, Nesting::Allowed] {
            assert_eq!(filters(65_536, nesting).unwrap().0.len(), 3);
            assert_eq!(filters(1, nesting).unwrap().0.len(), 4);
        }
    }
}
