//! Images that Docker has: asked of it through its socket, and put into a file to be read as what
//! `docker save` writes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netarium_core::model::Image;
use rustix::fs::{Mode, OFlags};

use super::archive::Archive;
use super::error::PullError;
use crate::image::store::Store;

/// Where Docker listens if nobody says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// How long Docker may say nothing: it packs an image before it sends it.
const SILENCE: Duration = Duration::from_secs(120);

/// The longest line of an answer's head, in bytes.
const LONGEST_LINE: usize = 16 << 10;

/// The most that is read of what Docker says of an image, in bytes.
const LARGEST_ANSWER: u64 = 4 << 20;

/// The most lines of a head.
const MOST_LINES: usize = 200;

/// If the image is one of Docker's, has Docker write it into a file without a name.
pub(super) async fn spool(store: &Store, image: &Image) -> Result<Option<Archive>, PullError> {
    let Image::DockerDaemon { name } = image else { return Ok(None) };
    let (name, folder) = (name.clone(), store.folder().to_owned());
    let spooled = tokio::task::spawn_blocking(move || save(&name, &folder)).await;
    let lost = |error: tokio::task::JoinError| fault(SOCKET, error, None);
    spooled.map_err(lost)?.map(Some)
}

/// The id of an image that Docker has: the digest of its configuration. Nothing if it does not say.
pub(super) async fn id(name: &str) -> Option<String> {
    let path = format!("/images/{}/json", escaped(name));
    let asked = tokio::task::spawn_blocking(move || {
        let (status, answer) = ask(&socket().ok()?, &path).ok()?;
        let mut text = Vec::new();
        answer.take(LARGEST_ANSWER).read_to_end(&mut text).ok()?;
        let said: serde_json::Value = serde_json::from_slice(&text).ok()?;
        said.get("Id").and_then(|id| id.as_str()).filter(|_| status == 200).map(str::to_owned)
    });
    asked.await.ok()?
}

fn save(name: &str, folder: &Path) -> Result<Archive, PullError> {
    let socket = socket()?;
    let shown = socket.display().to_string();
    let failed = |error: io::Error| fault(&shown, error, None);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::open(folder, flags, mode).map_err(|error| failed(error.into()))?;
    let mut file = File::from(file);
    let (status, mut answer) =
        ask(&socket, &format!("/images/{}/get", escaped(name))).map_err(|error| {
            let hint = "look whether Docker runs, and whether you may use its socket; DOCKER_HOST \
                        names another one";
            fault(&shown, error, Some(hint.to_owned()))
        })?;
    if status != 200 {
        let mut text = String::new();
        answer.take(4096).read_to_string(&mut text).map_err(failed)?;
        let text = message(&text);
        // Docker 20.10 says so with the status of a failure of its own.
        let is_missing = status == 404 || text.contains("reference does not exist");
        let hint = is_missing.then(|| "`docker image ls` shows what it has".to_owned());
        return Err(fault(&shown, text, hint));
    }
    io::copy(&mut answer, &mut file).map_err(failed)?;
    Archive::of_file(file.into(), PathBuf::from(format!("docker-daemon:{name}")))
}

/// Asks Docker for something. The answer is its status, and what comes after its head.
fn ask(socket: &Path, path: &str) -> io::Result<(u16, io::BufReader<UnixStream>)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SILENCE))?;
    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    let text = format!("GET {path} HTTP/1.0\r\nHost: docker\r\nUser-Agent: netarium\r\n\r\n");
    (&stream).write_all(text.as_bytes())?;
    let mut answer = io::BufReader::with_capacity(256 << 10, stream);
    let status = head(&mut answer)?;
    Ok((status, answer))
}

fn socket() -> Result<PathBuf, PullError> {
    let Some(host) = std::env::var_os("DOCKER_HOST").filter(|host| !host.is_empty()) else {
        return Ok(PathBuf::from(SOCKET));
    };
    let text = host.to_string_lossy().into_owned();
    let path = text.strip_prefix("unix://").map(PathBuf::from);
    let hint = "images are taken from Docker on this machine only: unix:///path/of/socket";
    path.ok_or_else(|| fault(&text, "DOCKER_HOST names no socket", Some(hint.to_owned())))
}

/// Reads the head of an answer; the answer is its status.
fn head(answer: &mut impl io::BufRead) -> io::Result<u16> {
    let mut status = None;
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        answer.by_ref().take(LONGEST_LINE as u64).read_until_newline(&mut line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            return status.ok_or_else(|| io::Error::other("it does not speak HTTP"));
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
            if !line.starts_with("HTTP/") || status.is_none() {
                return Err(io::Error::other("it does not speak HTTP"));
            }
        }
    }
    Err(io::Error::other("its answer has no end"))
}

/// Reads a line with its end.
trait ReadLine {
    fn read_until_newline(self, line: &mut Vec<u8>) -> io::Result<usize>;
}

impl<T: io::BufRead> ReadLine for io::Take<T> {
    fn read_until_newline(mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        io::BufRead::read_until(&mut self, b'\n', line)
    }
}

/// What Docker says is wrong, in its own words.
fn message(text: &str) -> String {
    let said: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = said.as_ref().and_then(|it| it.get("message")).and_then(|it| it.as_str());
    message.unwrap_or(text.trim()).to_owned()
}

/// The name in a path of a request (RFC 3986, section 2.1).
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let escape = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    name.bytes().map(escape).collect()
}

fn fault(socket: &str, text: impl ToString, hint: Option<String>) -> PullError {
    PullError::Daemon { socket: socket.to_owned(), text: text.to_string(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_ends_at_an_empty_line() {
        let mut answer: &[u8] = b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"no\"}";
        assert_eq!(head(&mut answer).unwrap(), 404);
        assert_eq!(message(std::str::from_utf8(answer).unwrap()), "no");
        for text in ["", "SSH-2.0\r\n\r\n", "HTTP/1.0 x\r\n\r\n"] {
            assert!(head(&mut text.as_bytes()).is_err(), "{text}");
        }
        let endless = format!("HTTP/1.0 200 OK\r\n{}", "A: b\r\n".repeat(1000));
        assert!(head(&mut endless.as_bytes()).is_err());
    }

    #[test]
    fn a_name_cannot_end_the_line_of_a_request() {
        assert_eq!(escaped("a/b:1"), "a/b:1");
        assert_eq!(escaped("a b\r\nX: y"), "a%20b%0D%0AX:%20y");
    }
}
