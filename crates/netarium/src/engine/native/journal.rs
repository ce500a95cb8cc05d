//! The record of the steps that were done, so that what the kernel cannot tell is known after a
//! crash.
//!
//! One line of JSON a step, written after the step. A last line that was cut off by a crash is not
//! counted: its step will be found undone, and done again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use netarium_core::object::Objects;
use netarium_core::plan::{self, Step};

/// A journal to be written to.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opens the journal at `path`, or begins it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?))
    }

    /// Adds a step that was done.
    ///
    /// # Errors
    /// If the disk is full, for example.
    pub(crate) fn add(&mut self, step: &Step) -> io::Result<()> {
        let mut line = serde_json::to_vec(step)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// What is there according to the journal at `path`; nothing if there is none.
///
/// # Errors
/// If it cannot be read, or a line other than the last is no step.
pub(crate) fn replay(path: &Path) -> io::Result<Objects> {
    let mut objects = Objects::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(objects),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.last() == Some(&b'\n') {
            plan::record(&mut objects, &serde_json::from_slice(&line)?);
        }
        line.clear();
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use netarium_core::name::Name;
    use netarium_core::object::{Id, Lab, Object};

    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        let folder = std::env::temp_dir().join(format!("netarium-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("journal");
        let lab = Object::Lab(Lab { name: Name::new("lab").unwrap() });
        Journal::open(&path).unwrap().add(&Step::Create(lab)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"crea").unwrap();
        let objects = replay(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(objects.contains(&Id::Lab));
        assert_eq!(objects.len(), 1);
    }
}
