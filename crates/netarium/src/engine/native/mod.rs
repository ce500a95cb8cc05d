//! The native engine: a lab as containers of our own on this machine.
//!
//! Reading order: [`worker`] is the process inside a lab that does the work, [`apply`] does steps,
//! [`observe`] looks at what is there. Below them: [`node`], [`wiring`], [`files`], [`firewall`], [`control`] to a
//! node's first process, [`uplink`] and [`pasta`] for the way out, [`run`] for programs beside its services,
//! [`tunnels`] and [`vici`] to its daemon, [`wireguard`] to its interfaces, and the [`journal`].

pub(crate) mod apply;
pub(crate) mod certificates;
pub(crate) mod control;
pub(crate) mod disturb;
pub(crate) mod farewell;
pub(crate) mod files;
pub(crate) mod firewall;
mod group;
pub(crate) mod journal;
pub(crate) mod keeper;
pub(crate) mod look;
pub(crate) mod node;
pub(crate) mod observe;
pub(crate) mod pasta;
mod placing;
pub(crate) mod run;
pub(crate) mod sweep;
pub(crate) mod tunnels;
pub(crate) mod uplink;
pub(crate) mod vici;
pub(crate) mod volumes;
mod wireguard;
pub(crate) mod wiring;
pub(crate) mod worker;
