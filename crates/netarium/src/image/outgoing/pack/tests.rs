//! What comes out of packing, read with the `tar` crate.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("netarium-pack-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    fn pack(&self, compression: Compression) -> (Layer, Vec<u8>) {
        let mut bytes = Vec::new();
        let layer = pack(&self.0, Owners::Root, compression, &mut bytes, &mut |_| ()).unwrap();
        assert_eq!((&layer.digest, layer.size), (&digest_of(&bytes), bytes.len() as u64));
        (layer, bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// An entry as it is read: its kind, where a link leads, its text and its pax headers.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    kind: EntryType,
    link: Option<PathBuf>,
    text: String,
    pax: BTreeMap<String, String>,
}

fn read(gzip: &[u8]) -> BTreeMap<PathBuf, Known> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(gzip));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
        let pax = entry.pax_extensions().unwrap().into_iter().flatten().map(|it| {
            let it = it.unwrap();
            (it.key().unwrap().to_owned(), it.value().unwrap().to_owned())
        });
        let pax = pax.collect();
        let kind = entry.header().entry_type();
        let link = entry.link_name().unwrap().map(|link| link.into_owned());
        let path = entry.path().unwrap().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (path, Known { kind, link, text, pax })
    });
    entries.collect()
}

#[test]
fn files_links_and_folders_are_packed_as_they_are() {
    let folder = Folder::new("kinds");
    let first = folder.write("a/first", "text");
    fs::hard_link(&first, folder.0.join("a/second")).unwrap();
    symlink("../nowhere", folder.0.join("a/link")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.0.join("a/socket")).unwrap();
    let entries = read(&folder.pack(Compression::Gzip).1);
    let names: Vec<&str> = entries.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["a/", "a/first", "a/link", "a/second"]);
    let entry = |name: &str| &entries[Path::new(name)];
    assert_eq!(entry("a/").kind, EntryType::Directory);
    assert_eq!(
        (entry("a/first").kind, entry("a/first").text.as_str()),
        (EntryType::Regular, "text")
    );
    assert_eq!(entry("a/second").kind, EntryType::Link);
    assert_eq!(entry("a/second").link.as_deref(), Some(Path::new("a/first")));
    assert_eq!(entry("a/link").link.as_deref(), Some(Path::new("../nowhere")));
}

#[test]
fn long_names_and_those_that_are_not_ascii_are_whole() {
    let folder = Folder::new("names");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    folder.write(&long, "");
    folder.write("straße", "");
    symlink("t".repeat(300), folder.0.join("link")).unwrap();
    let entries = read(&folder.pack(Compression::Gzip).1);
    assert!(entries.contains_key(Path::new(&long)), "{entries:?}");
    assert!(entries.contains_key(Path::new("straße")), "{entries:?}");
    let link = entries[Path::new("link")].link.clone().unwrap();
    assert_eq!(link, PathBuf::from("t".repeat(300)));
}

#[test]
fn attributes_of_users_go_along() {
    let folder = Folder::new("attributes");
    let file = folder.write("file", "");
    let set = rustix::fs::setxattr(&file, "user.origin", b"here", rustix::fs::XattrFlags::empty());
    set.unwrap();
    let entries = read(&folder.pack(Compression::Gzip).1);
    assert_eq!(entries[Path::new("file")].pax["SCHILY.xattr.user.origin"], "here");
}

#[test]
fn the_same_files_give_the_same_bytes_wherever_and_whenever_they_are() {
    let [one, other] = ["one", "other"].map(|name| {
        let folder = Folder::new(name);
        // The order in which they are made is not that of their names.
        for file in if name == "one" { ["b", "a/c"] } else { ["a/c", "b"] } {
            let path = folder.write(file, file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let control = folder.write("var/lib/dpkg/info/b.md5sums", "");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        File::options().write(true).open(control).unwrap().set_modified(time).unwrap();
        folder
    });
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (layer, bytes) = one.pack(compression);
        assert_eq!((layer.clone(), bytes), other.pack(compression));
        assert_eq!(layer.newest, 1000);
    }
    let (gzip, zstd) = (one.pack(Compression::Gzip).0, one.pack(Compression::Zstd).0);
    assert_eq!(gzip.diff_id, zstd.diff_id);
    assert_ne!(gzip.digest, zstd.digest);
}

#[test]
fn a_file_that_cannot_be_read_is_named_once() {
    let error = pack(Path::new("/not/there"), Owners::Root, Compression::Gzip, vec![], &mut |_| ());
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "/not/there/: No such file or directory (os error 2)");
}
