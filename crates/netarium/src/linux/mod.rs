//! What the Linux kernel and programs of the machine do for us: the only home of `unsafe`.
//!
//! Reading order: [`program`] starts programs, [`stage`] starts our own program again as a process
//! of one thread, [`idmap`] says whose ids a lab has, [`userns`] makes a namespace with them, [`emulation`] lets a build
//! believe that it is root.

pub(crate) mod emulation;
pub(crate) mod idmap;
pub(crate) mod program;
pub(crate) mod stage;
pub(crate) mod userns;
