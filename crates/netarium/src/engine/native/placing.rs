//! Files that a lab file puts into a node: owners looked up there, contents taken from the lab's
//! folder.

use std::fs;
use std::io;

use netarium_core::model::Content;
use netarium_core::object;
use netarium_core::source::Digest;
use netarium_core::user::User;

use super::files::{Ids, NodeRoot};
use crate::folder::LabFolder;
use crate::lab_source;

/// How a file is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was not there.
    Create,
    /// It was, and is to be another.
    Replace,
}

/// Puts a file or folder into a node. In a lab with `ids` of one, everything is root's.
///
/// # Errors
/// If the node does not know the owner, or the disk is full.
pub(crate) fn place(
    root: &NodeRoot,
    lab: &LabFolder,
    file: &object::File,
    ids: u32,
    way: Way,
) -> io::Result<()> {
    let owner = file.owner.as_ref().filter(|_| ids > 1);
    let owner = owner.map(|user| find(root, user)).transpose()?;
    let bytes;
    let content = match &file.content {
        Content::Folder if way == Way::Create => {
            return root.make_folder(&file.path, file.mode, owner);
        }
        Content::Folder => return root.change_folder(&file.path, file.mode, owner),
        Content::Text(text) => text.as_bytes(),
        Content::Stored(digest) => {
            bytes = fs::read(lab_source::content(&lab.sources(), digest))?;
            bytes.as_slice()
        }
    };
    root.write_for(&file.path, file.mode, owner, content)
}

/// Takes a file or folder away.
///
/// # Errors
/// If the folder that it is in cannot be written.
pub(crate) fn take_away(root: &NodeRoot, file: &object::File) -> io::Result<()> {
    match file.content {
        Content::Folder => root.remove_folder(&file.path),
        _ => root.remove(&file.path),
    }
}

/// The file as it is now, in the words of the one on record where they still fit; `None` if it is
/// gone.
pub(crate) fn look(root: &NodeRoot, recorded: &object::File, ids: u32) -> Option<object::File> {
    if recorded.content == Content::Folder {
        return root.has_folder(&recorded.path).then(|| recorded.clone());
    }
    let found = root.look(&recorded.path).ok()??;
    let content = match &recorded.content {
        Content::Stored(_) => Content::Stored(Digest::of(&found.content)),
        _ => Content::from(String::from_utf8_lossy(&found.content).into_owned()),
    };
    let wanted = match recorded.owner.as_ref().filter(|_| ids > 1) {
        Some(user) => find(root, user).ok(),
        None => Some(Ids { uid: 0, gid: 0 }),
    };
    let owner = if wanted == Some(found.owner) {
        recorded.owner.clone()
    } else {
        let Ids { uid, gid } = found.owner;
        Some(User { name: uid.to_string(), group: Some(gid.to_string()) })
    };
    Some(object::File { mode: found.mode, content, owner, ..recorded.clone() })
}

/// Looks a user up in the node's own files.
fn find(root: &NodeRoot, user: &User) -> io::Result<Ids> {
    let text = |path| -> io::Result<String> {
        let found = root.read(path)?.map(|(_, bytes)| bytes).unwrap_or_default();
        Ok(String::from_utf8_lossy(&found).into_owned())
    };
    let account = user.find(&text("/etc/passwd")?, &text("/etc/group")?);
    let account = account.map_err(|error| io::Error::other(format!("{error} in this node")))?;
    Ok(Ids { uid: account.uid, gid: account.gid })
}
