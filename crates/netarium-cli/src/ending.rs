//! How the command ends, as its exit code says.

use std::process::ExitCode;

use netarium_core::control::Exit;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well.
    Fine,
    /// A check failed, or the lab is not healthy.
    Unhealthy,
    /// The command line or the lab file is wrong.
    Usage,
    /// The machine refused.
    Refused,
    /// As the program that was run in a node, in the way of shells.
    Program(Exit),
    /// There is no such program in the node.
    NoProgram,
    /// A signal ended it.
    Interrupted(i32),
}

impl Ending {
    fn code(self) -> u8 {
        let of_signal = |signal: i32| u8::try_from(128 + signal).unwrap_or(u8::MAX);
        match self {
            Self::Fine => 0,
            Self::Unhealthy => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NoProgram => 127,
            Self::Program(Exit::Code(code)) => u8::try_from(code).unwrap_or(u8::MAX),
            Self::Program(Exit::Signal(signal)) | Self::Interrupted(signal) => of_signal(signal),
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        ending.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ended_by_a_signal_is_told_as_shells_tell_it() {
        assert_eq!(Ending::Program(Exit::Signal(9)).code(), 137);
        assert_eq!(Ending::Program(Exit::Code(42)).code(), 42);
        assert_eq!(Ending::Interrupted(2).code(), 130);
    }
}
