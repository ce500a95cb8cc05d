//! The native engine: containers and networks made by Netarium itself.

pub(crate) mod vici;
