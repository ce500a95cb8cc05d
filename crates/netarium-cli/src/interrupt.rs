//! The signals by which people and systems ask a command to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is listened to: Ctrl-C, the end of the system or the time limit of a script, the end of
/// the terminal.
const KINDS: [SignalKind; 3] =
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];

/// Wishes that the command stop. From its making on, the signals no longer end the process.
pub(crate) struct Interrupts([Signal; 3]);

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub(crate) fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hangup] = KINDS;
        Ok(Self([signal(interrupt)?, signal(terminate)?, signal(hangup)?]))
    }

    /// Waits for the next one, and says its number.
    pub(crate) async fn next(&mut self) -> i32 {
        let [interrupt, terminate, hangup] = &mut self.0;
        let kind = tokio::select! {
            _ = interrupt.recv() => KINDS[0],
            _ = terminate.recv() => KINDS[1],
            _ = hangup.recv() => KINDS[2],
        };
        kind.as_raw_value()
    }
}
