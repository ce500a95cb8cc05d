//! A registry on the loopback address that takes images, and behaves as a test wants it to.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// How a registry behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Hangs up in the middle of a blob, so many times.
    Breaks(usize),
    /// Wants user and password with each request.
    Basic,
    /// Wants a token, and gives it for user and password.
    Bearer,
}

/// `anna:secret`, as it is sent.
const RIGHT: &str = "Basic YW5uYTpzZWNyZXQ=";
const TOKEN: &str = "Bearer the-token";

#[derive(Default)]
struct Content {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By tag, and by digest.
    manifests: BTreeMap<String, Vec<u8>>,
    broken: usize,
    /// How many blobs were sent.
    sent: usize,
}

pub(crate) struct Registry {
    pub(crate) address: String,
    content: Arc<Mutex<Content>>,
}

impl Registry {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let content = Arc::new(Mutex::new(Content::default()));
        let (shared, own) = (Arc::clone(&content), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, own) = (Arc::clone(&shared), own.clone());
                // Whoever hangs up is not the registry's concern.
                std::thread::spawn(move || serve(&stream, manner, &own, &shared).ok());
            }
        });
        Self { address, content }
    }

    /// How many blobs have been sent, whole.
    pub(crate) fn sent(&self) -> usize {
        self.content.lock().unwrap().sent
    }

    /// The digest of what a tag or digest names, if it is there.
    pub(crate) fn named(&self, tag: &str) -> Option<String> {
        self.content.lock().unwrap().manifests.get(tag).map(|it| digest(it))
    }

    /// How many blobs are there.
    pub(crate) fn blobs(&self) -> usize {
        self.content.lock().unwrap().blobs.len()
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

struct Request {
    method: String,
    path: String,
    length: usize,
    authorisation: String,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, length: 0, authorisation: String::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(request) };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => request.length = value.trim().parse().unwrap(),
            "authorization" => value.trim().clone_into(&mut request.authorisation),
            _ => {}
        }
    }
}

/// Answers one request, and closes the connection.
fn serve(
    stream: &TcpStream,
    manner: Manner,
    own: &str,
    content: &Mutex<Content>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Request { method, path, length, authorisation } = read_head(&mut reader)?;
    if path.starts_with("/token") {
        let (status, body): (_, &[u8]) = match authorisation == RIGHT {
            true => ("200 OK", br#"{"token": "the-token"}"#),
            false => ("401 Unauthorized", b"{}"),
        };
        return answer(stream, status, "", body);
    }
    let wanted = match manner {
        Manner::Basic => Some((RIGHT, "Basic realm=\"images\"".to_owned())),
        Manner::Bearer => {
            Some((TOKEN, format!("Bearer realm=\"http://{own}/token\",service=\"images\"")))
        }
        _ => None,
    };
    if let Some((_, challenge)) = wanted.filter(|(right, _)| authorisation != *right) {
        let head = format!("WWW-Authenticate: {challenge}\r\n");
        return answer(
            stream,
            "401 Unauthorized",
            &head,
            br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
        );
    }
    let last = path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_manifest = path.contains("/manifests/");
    match method.as_str() {
        "POST" => {
            let head = format!("Location: http://{own}/v2/some/image/blobs/uploads/1\r\n");
            answer(stream, "202 Accepted", &head, b"")
        }
        "PUT" => {
            let breaks = matches!(manner, Manner::Breaks(times) if !is_manifest && {
                let mut content = content.lock().unwrap();
                content.broken += 1;
                content.broken <= times
            });
            if breaks {
                reader.read_exact(&mut vec![0; length / 2])?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            take(&mut content.lock().unwrap(), &last, is_manifest, body);
            answer(stream, "201 Created", &format!("Location: http://{own}{path}\r\n"), b"")
        }
        method => give(stream, &content.lock().unwrap(), &path, method),
    }
}

/// What there is at `path`, or that it is there.
fn give(stream: &TcpStream, content: &Content, path: &str, method: &str) -> io::Result<()> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let found = if path.contains("/manifests/") { &content.manifests } else { &content.blobs };
    let found = found.get(last).cloned().or_else(|| (path == "/v2/").then(Vec::new));
    match found {
        Some(body) if method == "HEAD" => {
            let head = format!("Content-Length: {}\r\n", body.len());
            answer(stream, "200 OK", &head, b"")
        }
        Some(body) => answer(stream, "200 OK", "", &body),
        None => answer(stream, "404 Not Found", "", b"{}"),
    }
}

/// A blob, or what names some. A manifest is taken only if all is there that it names.
fn take(content: &mut Content, last: &str, is_manifest: bool, body: Vec<u8>) {
    let found = digest(&body);
    if !is_manifest {
        let named = last.split("digest=").nth(1).unwrap_or_default().replace("%3A", ":");
        assert_eq!(named, found, "a blob is what it is called");
        content.sent += 1;
        content.blobs.insert(found, body);
        return;
    }
    let text = String::from_utf8(body.clone()).unwrap();
    for (at, _) in text.match_indices("\"sha256:") {
        let named = &text[at + 1..at + 1 + "sha256:".len() + 64];
        let is_there = content.blobs.contains_key(named) || content.manifests.contains_key(named);
        assert!(is_there, "{named} is named before it is there");
    }
    content.manifests.insert(found, body.clone());
    content.manifests.insert(last.to_owned(), body);
}

fn answer(mut stream: &TcpStream, status: &str, head: &str, body: &[u8]) -> io::Result<()> {
    let length = match head.contains("Content-Length") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status}\r\n{head}{length}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What is still on its way would else be answered with a reset.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
