//! A registry of one image on the loopback address, that behaves as a test wants it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// How a registry behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Breaks off in the middle of the large layer, twice.
    Breaks,
    /// The same, and it sends all of a blob whatever part is asked for.
    BreaksWithoutParts,
    /// Sends another layer than was asked for.
    Lies,
    /// Wants a token, and gives none without a password.
    Token,
    /// Wants a token, gives one to everybody, and has its blobs at another address.
    Redirects(String),
    /// Has no image.
    Empty,
    /// Has an image for other machines only.
    OtherMachines,
}

/// A registry that runs until the test ends.
pub(crate) struct Registry {
    address: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    blobs: AtomicUsize,
    authorised: AtomicUsize,
    broken: AtomicUsize,
    passwords: Mutex<Vec<String>>,
}

/// What the registry has.
struct Content {
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    large: String,
}

impl Registry {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counts = Arc::new(Counts::default());
        let content = Arc::new(content(&manner));
        let (shared, own) = (Arc::clone(&counts), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, counts) = (Arc::clone(&content), Arc::clone(&shared));
                let (manner, own) = (manner.clone(), own.clone());
                // Whoever hangs up in the middle is not the registry's concern.
                std::thread::spawn(move || serve(&stream, &manner, &own, &content, &counts).ok());
            }
        });
        Self { address, counts }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// How many blobs were asked for.
    pub(crate) fn blobs(&self) -> usize {
        self.counts.blobs.load(Ordering::SeqCst)
    }

    /// How many requests came with a token or password.
    pub(crate) fn authorised(&self) -> usize {
        self.counts.authorised.load(Ordering::SeqCst)
    }

    /// The passwords that were sent.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.counts.passwords.lock().unwrap().clone()
    }
}

/// What is in the large file: nothing that could be made smaller.
pub(crate) fn large() -> Vec<u8> {
    let mut sum = Sha256::digest(b"large").to_vec();
    let mut bytes = Vec::new();
    while bytes.len() < 1 << 20 {
        sum = Sha256::digest(&sum).to_vec();
        bytes.extend_from_slice(&sum);
    }
    bytes
}

fn layer(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(bytes.len()).unwrap());
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes).unwrap();
    builder.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn content(manner: &Manner) -> Content {
    let layers = [layer("large", &large()), layer("small", b"small")];
    let processor = match (manner, std::env::consts::ARCH) {
        (Manner::OtherMachines, _) => "s390x",
        (_, "aarch64") => "arm64",
        _ => "amd64",
    };
    let diff_ids: Vec<String> = layers.iter().map(|it| format!("{:?}", digest(it))).collect();
    let config = format!(
        r#"{{"os":"linux","architecture":"{processor}","config":{{"Cmd":["/bin/true"]}},
        "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let blob = |bytes: &[u8]| format!(r#"{{"digest":"{}","size":{}}}"#, digest(bytes), bytes.len());
    let told: Vec<String> = layers.iter().map(|it| blob(it)).collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        blob(config.as_bytes()),
        told.join(",")
    );
    let large = digest(&layers[0]);
    let mut blobs: BTreeMap<String, Vec<u8>> =
        layers.into_iter().map(|it| (digest(&it), it)).collect();
    blobs.insert(digest(config.as_bytes()), config.into_bytes());
    if *manner == Manner::Lies {
        let bytes = blobs.get_mut(&large).unwrap();
        *bytes.iter_mut().rev().nth(4096).unwrap() ^= 1;
    }
    Content { manifest: manifest.into_bytes(), blobs, large }
}

/// Answers one request, and closes the connection.
fn serve(
    mut stream: &TcpStream,
    manner: &Manner,
    own: &str,
    content: &Content,
    counts: &Counts,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = 0;
    let mut authorisation = String::new();
    for line in lines {
        let line = line?;
        let (name, value) = line.split_once(':').unwrap_or((line.as_str(), ""));
        match name.to_ascii_lowercase().as_str() {
            "" => break,
            "range" => from = value.trim()["bytes=".len()..].trim_end_matches('-').parse().unwrap(),
            "authorization" => value.trim().clone_into(&mut authorisation),
            _ => {}
        }
    }
    if !authorisation.is_empty() {
        counts.authorised.fetch_add(1, Ordering::SeqCst);
    }
    let wants_token = matches!(manner, Manner::Token | Manner::Redirects(_));
    if path.starts_with("/token") {
        if authorisation.starts_with("Basic ") {
            counts.passwords.lock().unwrap().push(authorisation);
        } else if *manner == Manner::Token {
            return answer(stream, "401 Unauthorized", "", b"no");
        }
        return answer(stream, "200 OK", "", br#"{"token": "the-token"}"#);
    }
    if wants_token && authorisation != "Bearer the-token" {
        let head =
            format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"s\"\r\n");
        return answer(stream, "401 Unauthorized", &head, b"{}");
    }
    if path == "/v2/" {
        return answer(stream, "200 OK", "", b"{}");
    }
    if path.contains("/manifests/") && *manner != Manner::Empty {
        return answer(stream, "200 OK", "", &content.manifest);
    }
    let Some(bytes) = path.rsplit('/').next().and_then(|name| content.blobs.get(name)) else {
        let text = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        return answer(stream, "404 Not Found", "", text);
    };
    counts.blobs.fetch_add(1, Ordering::SeqCst);
    if let Manner::Redirects(elsewhere) = manner {
        let head = format!("Location: http://{elsewhere}{path}\r\n");
        return answer(stream, "307 Temporary Redirect", &head, b"");
    }
    let knows_parts = *manner != Manner::BreaksWithoutParts;
    let part = if knows_parts { &bytes[from..] } else { bytes };
    let status = if knows_parts { "206 Partial Content" } else { "200 OK" };
    let breaks = matches!(manner, Manner::Breaks | Manner::BreaksWithoutParts);
    let is_large = path.ends_with(&content.large);
    if breaks && is_large && counts.broken.fetch_add(1, Ordering::SeqCst) < 2 {
        let length = part.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&part[..part.len() / 2])?;
        return stream.shutdown(std::net::Shutdown::Both);
    }
    answer(stream, status, "", part)
}

fn answer(mut stream: &TcpStream, status: &str, head: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What is still on its way would else be answered with a reset.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
