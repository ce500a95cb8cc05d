//! Whom a probe asks at a port: what the arguments of `tcp` and `udp` say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::arguments::{Arguments, UsageError};
use super::token::Token;

/// An address with a port, the mark that what is sent there bears, and how long to wait for it.
pub(super) struct Target {
    pub to: SocketAddr,
    pub token: Option<Token>,
    pub timeout: Duration,
}

impl Target {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are wrong.
    pub(super) fn from_arguments(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let address: IpAddr = arguments.next_value("address")?;
        let port: u16 = arguments.next_value("port")?;
        let token = arguments.token()?;
        let timeout = arguments.timeout()?;
        arguments.end()?;
        Ok(Self { to: (address, port).into(), token, timeout })
    }
}
