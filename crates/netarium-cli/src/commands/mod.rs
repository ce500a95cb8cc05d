//! The commands, one file for each group: each chooses its lab, calls the library once or twice,
//! and prints what comes of it.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod file;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod outgoing;
pub(crate) mod pki;
pub(crate) mod status;
pub(crate) mod up;

use netarium::folder::DataFolder;

use crate::print::Style;

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the labs and images of this user are.
    pub(crate) data: DataFolder,
    /// How results are shown.
    pub(crate) style: Style,
}

impl Context {
    /// The context of the user who runs this process.
    pub(crate) fn new(style: Style) -> Self {
        Self { data: DataFolder::of_owner(), style }
    }
}
