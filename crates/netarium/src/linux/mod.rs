//! What the Linux kernel and programs of the machine do for us: the only home of `unsafe`.
//!
//! Reading order: [`program`] starts programs, [`stage`] starts our own program again as a process
//! of one thread, [`idmap`] says whose ids a lab has, [`userns`] makes a namespace with them for a
//! build, [`binfmt`] lets it run the programs of another processor. [`launch`] makes the containers of a lab, with [`clone`], [`mount`], [`capability`] and
//! [`seccomp`], and mounts what they share, in [`volume`], below [`confined`] folders;
//! [`namespace`] enters one; [`netlink`] wires it; [`process`] and [`packet`] find its
//! processes again and talk to them. [`tun`] makes the links of programs. [`features`] asks the
//! kernel what it can do, with [`security`]
//! for IPsec; [`cgroup`] keeps the limits of nodes.

pub(crate) mod binfmt;
pub(crate) mod capability;
pub(crate) mod cgroup;
pub(crate) mod clone;
pub(crate) mod confined;
pub(crate) mod emulation;
pub(crate) mod features;
pub(crate) mod idmap;
pub(crate) mod launch;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod packet;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod seccomp;
mod security;
pub(crate) mod stage;
pub(crate) mod tun;
pub(crate) mod userns;
pub(crate) mod volume;
