//! The thinking part of Netarium: from a lab file to a plan.
//!
//! ```text
//! lab.yaml ──parse──▶ Spec ──resolve──▶ Model ──desired──▶ Objects ──diff──▶ Steps
//! ```
//!
//! Nothing here touches the machine: no files, no clock, no randomness, no environment. The same
//! lab file gives the same plan, to the byte.

#![forbid(unsafe_code)]

pub mod address;
pub mod image;
pub mod name;
pub mod signal;
pub mod source;
pub mod user;

#[cfg(feature = "lab-file")]
pub mod problem;
#[cfg(feature = "lab-file")]
pub mod schema;
#[cfg(feature = "lab-file")]
pub mod spec;

#[cfg(feature = "lab-file")]
pub mod compose;
#[cfg(feature = "lab-file")]
pub mod export;
#[cfg(feature = "lab-file")]
pub mod generate;
#[cfg(feature = "lab-file")]
pub mod resolve;

pub mod firewall;
pub mod model;
pub mod storage;

pub mod desired;
pub mod engine_network;
pub mod feature;
pub mod ipsec;
pub mod nft;
pub mod object;
pub mod plan;
pub mod uplink;
pub mod wireguard;

pub mod control;
pub mod outcome;
pub mod verdict;
