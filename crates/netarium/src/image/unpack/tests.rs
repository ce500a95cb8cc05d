//! Layers as they come, and as somebody would make them who wants to get out.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::lgetxattr;
use tar::{EntryType, Header};

use super::{Manner, UnpackError, Unpacked, settle, unpack};

/// A folder with a layer in it, and one beside it that nothing must touch.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("netarium-unpack-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("rootfs")).unwrap();
        fs::create_dir_all(path.join("lower")).unwrap();
        fs::create_dir_all(path.join("outside")).unwrap();
        Self(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join("rootfs").join(path)
    }

    fn unpack(&self, layer: Layer) -> Result<Unpacked, UnpackError> {
        let result = unpack(Cursor::new(layer.finish()), &self.0.join("rootfs"), manner());
        assert_eq!(fs::read_dir(self.0.join("outside")).unwrap().count(), 0, "it got out");
        result
    }

    fn refused(&self, layer: Layer) -> String {
        self.unpack(layer).unwrap_err().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// As for whoever runs the test: only root can give files away.
fn manner() -> Manner {
    let ids = if rustix::process::geteuid().is_root() { 65536 } else { 1 };
    Manner { is_lowest: false, ids }
}

/// A layer that is being made.
struct Layer(Vec<u8>);

impl Layer {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// An entry whose name and target are written as they are, whatever they say.
    fn entry(mut self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o4755 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        let full = self.0.len().next_multiple_of(512);
        self.0.resize(full, 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    /// What is noted about the next entry (pax(1)).
    fn note(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        self.entry(EntryType::XHeader, "notes", "", format!("{length}{rest}").as_bytes())
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn is_mark(path: &Path) -> bool {
    let found = fs::symlink_metadata(path).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    lgetxattr(path, "user.overlay.opaque", &mut value).is_ok_and(|length| value[..length] == *b"y")
}

#[test]
fn files_folders_and_links_come_with_their_permissions_and_times() {
    let folder = Folder::new("plain");
    let layer =
        Layer::new().folder("etc/").file("etc/a", "one").link("b", "etc/a").symlink("c", "/etc");
    let unpacked = folder.unpack(layer).unwrap();
    assert_eq!(fs::read_to_string(folder.at("b")).unwrap(), "one");
    let found = fs::metadata(folder.at("etc/a")).unwrap();
    assert_eq!((found.nlink(), found.permissions().mode() & 0o7777), (2, 0o4755));
    assert_eq!(found.mtime(), 1_000_000);
    let etc = fs::metadata(folder.at("etc")).unwrap();
    assert_eq!((etc.permissions().mode() & 0o7777, etc.mtime()), (0o750, 1_000_000));
    assert_eq!(fs::read_link(folder.at("c")).unwrap(), Path::new("/etc"));
    assert!(unpacked.undescribed.is_empty() && unpacked.links.is_empty());
    assert!(unpacked.diff_id.starts_with("sha256:"));
}

#[test]
fn names_that_lead_upwards_are_refused() {
    for name in ["../outside/a", "a/../../outside/a", "..", "./../outside/a"] {
        let folder = Folder::new("upwards");
        let told = folder.refused(Layer::new().file(name, "x"));
        assert!(told.ends_with("leads out of the image"), "{told}");
    }
}

#[test]
fn an_absolute_name_is_one_below_the_root_of_the_image() {
    let folder = Folder::new("absolute");
    let outside = folder.0.join("outside/a");
    let name = outside.to_str().unwrap().to_owned();
    folder.unpack(Layer::new().file(&name, "x")).unwrap();
    assert!(folder.at(name.trim_start_matches('/')).exists());
}

#[test]
fn a_link_that_leads_out_is_not_written_through() {
    let folder = Folder::new("through");
    let outside = folder.0.join("outside");
    let target = outside.to_str().unwrap();
    for target in [target, "../outside", "../../../../../../../../../../../../var/tmp"] {
        let layer = Layer::new().symlink("a", target).file("a/b", "x").symlink("c", target);
        // In the image the target is a folder or it is none; outside, nothing is made.
        folder.unpack(layer.file("c", "y")).unwrap();
        assert!(folder.at("a/b").exists());
        assert!(!Path::new("/var/tmp/b").exists());
        assert_eq!(fs::read_to_string(folder.at("c")).unwrap(), "y");
        fs::remove_dir_all(folder.at("")).unwrap();
        fs::create_dir(folder.at("")).unwrap();
    }
}

#[test]
fn what_was_a_folder_and_is_a_link_leads_where_the_link_does() {
    let folder = Folder::new("turned");
    let layer = Layer::new()
        .file("b/first", "b")
        .file("a/first", "a")
        .symlink("a", "b")
        .file("a/second", "through the link")
        .file("b/second", "again");
    folder.unpack(layer).unwrap();
    assert!(folder.at("a").is_symlink());
    assert_eq!(fs::read_to_string(folder.at("b/second")).unwrap(), "again");
    assert_eq!(fs::read_dir(folder.at("b")).unwrap().count(), 2);
}

#[test]
fn a_hard_link_does_not_lead_out() {
    let folder = Folder::new("hard");
    let secret = folder.0.join("secret");
    fs::File::create(&secret).unwrap();
    let told = folder.refused(Layer::new().link("a", "../secret"));
    assert!(told.ends_with("is a link that leads out of the image"), "{told}");
    let told = folder.refused(Layer::new().link("a", "/"));
    assert!(told.ends_with("is a link that leads out of the image"), "{told}");
    // By way of a symbolic link: it is looked for in the image, and left to the layers below.
    let layer = Layer::new().symlink("up", "..").link("b", "up/secret");
    assert_eq!(folder.unpack(layer).unwrap().links.len(), 1);
    assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1);
    let layer = Layer::new().link("d", secret.to_str().unwrap());
    assert_eq!(folder.unpack(layer).unwrap().links.len(), 1);
}

#[test]
fn devices_are_left_out_and_counted() {
    let folder = Folder::new("devices");
    let layer = Layer::new()
        .entry(EntryType::Char, "null", "", b"")
        .entry(EntryType::Block, "disk", "", b"")
        .entry(EntryType::Fifo, "pipe", "", b"");
    let unpacked = folder.unpack(layer).unwrap();
    assert_eq!(unpacked.lost.devices, 2);
    assert!(!folder.at("null").exists() && !folder.at("disk").exists());
    assert!(fs::symlink_metadata(folder.at("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn what_is_gone_is_marked_as_overlayfs_reads_it() {
    let folder = Folder::new("whiteout");
    let layer = Layer::new()
        .file("etc/.wh.passwd", "")
        .folder("var/")
        .file("var/.wh..wh..opq", "")
        .file("srv/a", "own")
        .file(".wh.srv", "")
        .file(".wh.opt", "")
        .file("opt/b", "own")
        .file(".wh..wh.plnk", "");
    folder.unpack(layer).unwrap();
    assert!(is_mark(&folder.at("etc/passwd")));
    // What the layer has itself stays, whichever comes first.
    for (path, own) in [("srv", "srv/a"), ("opt", "opt/b")] {
        assert!(is_opaque(&folder.at(path)), "{path}");
        assert_eq!(fs::read_to_string(folder.at(own)).unwrap(), "own");
    }
    assert!(is_opaque(&folder.at("var")));
    assert!(folder.unpack(Layer::new().file(".wh..wh..opq", "")).unwrap().hides_all);
}

#[test]
fn a_mark_without_a_name_is_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let folder = Folder::new("nameless");
        let told = folder.refused(Layer::new().file(name, ""));
        assert!(told.ends_with("hides what has no name"), "{told}");
    }
}

#[test]
fn of_two_entries_with_one_name_the_last_counts() {
    let folder = Folder::new("twice");
    let layer = Layer::new()
        .file("a", "one")
        .folder("a/")
        .file("a/b", "x")
        .file("c/d", "x")
        .file("c", "last")
        .symlink("e", "c")
        .file("e", "own");
    let unpacked = folder.unpack(layer).unwrap();
    assert_eq!(fs::read_to_string(folder.at("a/b")).unwrap(), "x");
    assert_eq!(fs::read_to_string(folder.at("c")).unwrap(), "last");
    assert_eq!(fs::read_to_string(folder.at("e")).unwrap(), "own");
    assert!(unpacked.undescribed.is_empty(), "{unpacked:?}");
}

#[test]
fn what_overlayfs_keeps_for_itself_is_not_set() {
    let folder = Folder::new("overlay");
    let layer = Layer::new()
        .note("SCHILY.xattr.user.overlay.redirect", "/etc")
        .folder("a/")
        .note("SCHILY.xattr.user.mark", "kept")
        .file("b", "x");
    let unpacked = folder.unpack(layer).unwrap();
    assert_eq!(unpacked.lost.attributes, 1);
    let mut value = [0; 16];
    assert!(lgetxattr(folder.at("a"), "user.overlay.redirect", &mut value).is_err());
    let length = lgetxattr(folder.at("b"), "user.mark", &mut value).unwrap();
    assert_eq!(&value[..length], b"kept");
}

#[test]
fn sizes_that_are_not_true_are_refused() {
    let folder = Folder::new("size");
    let mut header = Header::new_gnu();
    header.set_path("a").unwrap();
    header.set_size(1 << 40);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut layer = Layer::new();
    layer.0.extend_from_slice(header.as_bytes());
    let told = folder.refused(layer);
    assert!(told.contains("larger than it may be"), "{told}");
    let cut = Layer::new().file("b", &"x".repeat(10_000)).finish()[..4096].to_vec();
    assert!(unpack(Cursor::new(cut), &folder.0.join("rootfs"), manner()).is_err());
}

#[test]
fn a_name_without_end_is_not_kept_in_memory() {
    let folder = Folder::new("endless");
    let name = "x".repeat(8 << 20);
    let layer = Layer::new().entry(EntryType::GNULongName, "long", "", name.as_bytes());
    let told = folder.refused(layer.file("a", ""));
    assert!(told.contains("without end"), "{told}");
}

#[test]
fn what_is_no_tar_file_is_refused() {
    for bytes in
        [b"not a tar file at all".repeat(100), vec![0xff; 2048], b"\x1f\x8bnot gzip".to_vec()]
    {
        let folder = Folder::new("odd");
        assert!(unpack(Cursor::new(bytes), &folder.0.join("rootfs"), manner()).is_err());
    }
}

#[test]
fn what_a_layer_leaves_open_is_taken_from_those_below() {
    let folder = Folder::new("settle");
    let (own, lower) = (folder.0.join("rootfs"), folder.0.join("lower"));
    let below = Layer::new().folder("tmp/").file("tmp/low", "low");
    unpack(Cursor::new(below.finish()), &lower, manner()).unwrap();
    let unpacked =
        folder.unpack(Layer::new().file("tmp/new", "x").link("to-low", "tmp/low")).unwrap();
    settle(&own, std::slice::from_ref(&lower), &unpacked, manner()).unwrap();
    assert_eq!(fs::metadata(folder.at("tmp")).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_to_string(folder.at("to-low")).unwrap(), "low");
    let gone = Unpacked { links: vec![("x".into(), "nowhere".into())], ..Unpacked::default() };
    let told = settle(&own, &[lower], &gone, manner()).unwrap_err().to_string();
    assert!(told.contains("is in no layer"), "{told}");
}
