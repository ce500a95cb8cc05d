//! Images as others make them: of the shell of this machine, and given by a registry of the test's own
//! or in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The file that says which registries are spoken to without TLS.
const SETTINGS: &str = "NETARIUM_REGISTRIES";

/// The registries that there are now.
static KNOWN: Mutex<Known> = Mutex::new(Known { plain: Vec::new(), mirrors: BTreeMap::new() });

/// Registries without TLS, and those that are asked before one of them.
#[derive(Serialize)]
struct Known {
    #[serde(rename = "plain-http")]
    plain: Vec<String>,
    mirrors: BTreeMap<String, Vec<String>>,
}

/// Where this process has its settings.
fn settings() -> PathBuf {
    std::env::temp_dir().join(format!("netarium-registries-{}.json", std::process::id()))
}

/// Has the library find the settings of this process: it begins once more, with their place in the
/// variable for that.
pub(crate) fn name_the_settings() {
    if std::env::var_os(SETTINGS).is_some_and(|named| named == settings()) {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "the test program starts itself")]
    let mut again = Command::new("/proc/self/exe");
    let error = again.args(std::env::args_os().skip(1)).env(SETTINGS, settings()).exec();
    panic!("cannot begin again: {error}");
}

/// Removes the settings, if there are any.
pub(crate) fn forget_the_settings() {
    fs::remove_file(settings()).ok();
}

fn write_settings(known: &Known) {
    let (path, new) = (settings(), settings().with_extension("new"));
    let text = serde_json::to_vec(known).unwrap();
    fs::File::create(&new).unwrap().write_all(&text).unwrap();
    fs::rename(new, path).unwrap();
}

/// A layer that is being written.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// The shell, and what it cannot run without. `mark` makes it another layer than all others.
    pub(crate) fn of_the_shell(mark: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test asks what a program needs")]
        let needs = Command::new("ldd").arg("/bin/sh").output().unwrap();
        let needs = String::from_utf8(needs.stdout).unwrap();
        let paths = needs.split_whitespace().filter(|word| word.starts_with('/'));
        let layer = paths.fold(Self::new().host("/bin/sh"), Self::host);
        let users = "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n";
        let mark = format!("{mark} {}\n", std::process::id());
        layer.file("etc/passwd", users, 0o644).file("mark", mark, 0o644).folder("tmp", 0o1777)
    }

    fn host(self, path: &str) -> Self {
        self.file(path.trim_start_matches('/'), fs::read(path).unwrap(), 0o755)
    }

    fn add(mut self, path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8], to: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len().try_into().unwrap());
        let user = if path.starts_with("app") { 1000 } else { 0 };
        header.set_uid(user);
        header.set_gid(user);
        if to.is_empty() {
            self.0.append_data(&mut header, path, bytes).unwrap();
        } else {
            self.0.append_link(&mut header, path, to).unwrap();
        }
        self
    }

    pub(crate) fn file(self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Self {
        self.add(path, tar::EntryType::Regular, mode, bytes.as_ref(), "")
    }

    pub(crate) fn folder(self, path: &str, mode: u32) -> Self {
        self.add(path, tar::EntryType::Directory, mode, &[], "")
    }

    pub(crate) fn hard_link(self, path: &str, to: &str) -> Self {
        self.add(path, tar::EntryType::Link, 0o644, &[], to)
    }

    pub(crate) fn link(self, path: &str, to: &str) -> Self {
        self.add(path, tar::EntryType::Symlink, 0o777, &[], to)
    }

    pub(crate) fn device(self, path: &str) -> Self {
        self.add(path, tar::EntryType::Char, 0o666, &[], "")
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An image: its configuration, and its layers as they are and as they are sent.
#[derive(Clone)]
pub(crate) struct Made {
    config: Vec<u8>,
    plain: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Made {
    /// An image of these layers for this machine, that is run as `config` says.
    pub(crate) fn new(layers: Vec<Layer>, config: &Value) -> Self {
        let processor = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        Self::of_processor(processor, layers, config)
    }

    pub(crate) fn of_processor(processor: &str, layers: Vec<Layer>, config: &Value) -> Self {
        let plain: Vec<Vec<u8>> = layers.into_iter().map(Layer::finish).collect();
        let diff_ids: Vec<String> = plain.iter().map(|it| digest(it)).collect();
        let config = json!({
            "os": "linux", "architecture": processor, "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let sent = plain.iter().enumerate().map(|(number, layer)| packed(number, layer)).collect();
        Self { config: config.to_string().into_bytes(), plain, sent }
    }

    fn manifest(&self) -> Vec<u8> {
        let layers: Vec<Value> = self.sent.iter().map(|it| descriptor(it)).collect();
        let manifest =
            json!({"schemaVersion": 2, "config": descriptor(&self.config), "layers": layers});
        manifest.to_string().into_bytes()
    }

    /// Everything that a digest leads to, by that.
    fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let all = self.sent.iter().cloned().chain([self.config.clone(), self.manifest()]);
        all.map(|it| (digest(&it), it)).collect()
    }

    /// The image as an OCI layout in a file.
    pub(crate) fn oci_archive(&self) -> Vec<u8> {
        let mut entry = descriptor(&self.manifest());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let layer = Layer::new()
            .file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#, 0o644)
            .file("index.json", index, 0o644);
        let name = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
        let blobs = self.blobs().into_iter();
        blobs.fold(layer, |layer, (digest, it)| layer.file(&name(&digest), it, 0o644)).finish()
    }

    /// The image as `docker save` writes it.
    pub(crate) fn docker_archive(&self, name: &str) -> Vec<u8> {
        let names: Vec<String> =
            (0..self.plain.len()).map(|it| format!("{it}/layer.tar")).collect();
        let saved = json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
        let archive = Layer::new().file("manifest.json", saved.to_string(), 0o644).file(
            "config.json",
            &self.config,
            0o644,
        );
        let layers = names.iter().zip(&self.plain);
        layers.fold(archive, |archive, (name, it)| archive.file(name, it, 0o644)).finish()
    }
}

/// Others compress in more ways than one.
fn packed(number: usize, layer: &[u8]) -> Vec<u8> {
    match number % 3 {
        0 => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(layer).unwrap();
            packed.finish().unwrap()
        }
        1 => zstd::encode_all(layer, 1).unwrap(),
        _ => layer.to_vec(),
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn descriptor(bytes: &[u8]) -> Value {
    json!({"digest": digest(bytes), "size": bytes.len()})
}

/// What a registry has.
#[derive(Default)]
struct Content {
    /// Manifests by their names and tags.
    names: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
    is_away: bool,
}

/// A registry on the loopback address.
pub(crate) struct Registry {
    address: String,
    content: Arc<Mutex<Content>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let content = Arc::new(Mutex::new(Content::default()));
        let shared = Arc::clone(&content);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().unwrap().is_away {
                    return;
                }
                let shared = Arc::clone(&shared);
                // Whoever hangs up is not the registry's concern.
                std::thread::spawn(move || serve(&stream, &shared).ok());
            }
        });
        let mut known = KNOWN.lock().unwrap();
        known.plain.push(address.clone());
        write_settings(&known);
        Self { address, content }
    }

    /// Gives an image a name, that another one may have had; the answer is the name with the registry.
    pub(crate) fn put(&self, name: &str, image: &Made) -> String {
        let mut content = self.content.lock().unwrap();
        content.names.insert(name.replace(':', "/manifests/"), image.manifest());
        content.blobs.extend(image.blobs());
        format!("{}/{name}", self.address)
    }

    /// From now on another one is asked before it.
    pub(crate) fn has_mirror(&self, mirror: &Self) {
        let mut known = KNOWN.lock().unwrap();
        known.mirrors.insert(self.address.clone(), vec![mirror.address.clone()]);
        write_settings(&known);
    }

    /// What has been asked for, without what only says hello.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.content.lock().unwrap().asked.clone()
    }

    /// Ends it: from now on nobody listens there.
    pub(crate) fn leave(&self) {
        self.content.lock().unwrap().is_away = true;
        // It waits for somebody.
        TcpStream::connect(&self.address).unwrap();
        crate::lab::wait_until("nobody listens", || TcpStream::connect(&self.address).is_err());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if !self.content.lock().unwrap().is_away {
            self.leave();
        }
    }
}

/// Answers one request.
fn serve(mut stream: &TcpStream, content: &Mutex<Content>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches("/v2/");
    let found = {
        let mut content = content.lock().unwrap();
        if !path.is_empty() {
            content.asked.push(path.to_owned());
        }
        let digest = path.rsplit('/').next().unwrap_or_default();
        let found = content.names.get(path).or_else(|| content.blobs.get(digest));
        found.cloned().or_else(|| path.is_empty().then(|| b"{}".to_vec()))
    };
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.to_vec()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What is still on its way would else be answered with a reset.
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// Writes a file, so that whoever reads it sees the old one or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::File::create(&new).unwrap().write_all(bytes).unwrap();
    fs::rename(new, path).unwrap();
}
