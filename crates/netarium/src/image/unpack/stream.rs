//! The stream of a layer: decompressed, hashed and counted on a thread of its own, while another
//! writes files.
//!
//! A layer is hostile: a few bytes can become any number of them, so there is an end to what is
//! read, and a nearer one to what must be kept in memory.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// How much is handed over at once, in bytes.
const PIECE: usize = 256 << 10;

/// How many pieces may wait to be written.
const WAITING: usize = 16;

/// How much the names and notes of one entry may take, in bytes.
const LONGEST_HEADER: u64 = 4 << 20;

/// What a stream begins with that is compressed (RFC 1952, RFC 8878).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What ends a stream that decompresses to more than it may.
pub(super) const TOO_MUCH: &str = "there is more in it than may be unpacked";

/// A stream that is being decompressed.
pub(super) struct Stream {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    read: usize,
    /// How much may be read before somebody says that more may be.
    allowance: Rc<Cell<u64>>,
    thread: JoinHandle<String>,
}

/// Says how much may be read of a stream.
#[derive(Clone)]
pub(super) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    /// The header of an entry comes next.
    pub(super) fn header(&self) {
        self.0.set(LONGEST_HEADER);
    }

    /// The content of an entry comes next.
    pub(super) fn content(&self) {
        self.0.set(u64::MAX);
    }
}

impl Stream {
    /// Decompresses `source`, whose form shows in its first bytes. More than `most` bytes of it are
    /// an error.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn open(source: impl Read + Send + 'static, most: u64) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("decompression".to_owned())
            .spawn(move || decompress(source, most, &sender))?;
        let allowance = Rc::new(Cell::new(u64::MAX));
        Ok(Self { pieces, piece: Vec::new(), read: 0, allowance, thread })
    }

    pub(super) fn allowance(&self) -> Allowance {
        Allowance(Rc::clone(&self.allowance))
    }

    /// Reads what is left; the answer is the digest of all of it, decompressed.
    ///
    /// # Errors
    /// If it cannot be read to its end.
    pub(super) fn finish(mut self) -> io::Result<String> {
        while self.next_piece()? {}
        self.thread.join().map_err(|_| io::Error::other("a thread has failed"))
    }

    fn next_piece(&mut self) -> io::Result<bool> {
        match self.pieces.recv() {
            Ok(piece) => {
                (self.piece, self.read) = (piece?, 0);
                Ok(true)
            }
            // The thread has come to the end.
            Err(_) => Ok(false),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() && !self.next_piece()? {
            return Ok(0);
        }
        let left = self.allowance.get();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("an entry has a name or notes without end"));
        }
        let count = most.min(self.piece.len() - self.read);
        buffer[..count].copy_from_slice(&self.piece[self.read..self.read + count]);
        self.read += count;
        if left != u64::MAX {
            self.allowance.set(left - u64::try_from(count).unwrap_or(left));
        }
        Ok(count)
    }
}

/// Sends all of the stream, piece by piece. The answer is its digest.
fn decompress(source: impl Read, most: u64, pieces: &SyncSender<io::Result<Vec<u8>>>) -> String {
    let mut sum = Sha256::new();
    let sent = send_all(source, most, &mut sum, pieces);
    if let Err(error) = sent {
        // Where nobody reads any more, nobody wants to know.
        pieces.send(Err(error)).ok();
    }
    format!("sha256:{}", hex(&sum.finalize()))
}

fn send_all(
    source: impl Read,
    most: u64,
    sum: &mut Sha256,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<()> {
    let mut source = source;
    let mut first = Vec::new();
    source.by_ref().take(4).read_to_end(&mut first)?;
    let mut source = BufReader::with_capacity(PIECE, io::Cursor::new(first.clone()).chain(source));
    let mut plain: Box<dyn Read + '_> = if first.starts_with(&GZIP) {
        Box::new(flate2::bufread::MultiGzDecoder::new(&mut source))
    } else if first.starts_with(&ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(&mut source)?)
    } else {
        Box::new(&mut source)
    };
    let mut left = most;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let piece_size = u64::try_from(PIECE).unwrap_or(u64::MAX);
        plain.by_ref().take(piece_size).read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        left = left
            .checked_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX))
            .ok_or_else(|| io::Error::other(TOO_MUCH))?;
        sum.update(&piece);
        if pieces.send(Ok(piece)).is_err() {
            break;
        }
    }
    drop(plain);
    // Whoever sends counts on all of it being taken.
    io::copy(&mut source, &mut io::sink()).map(drop)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: Vec<u8>, most: u64) -> io::Result<(Vec<u8>, String)> {
        let mut stream = Stream::open(io::Cursor::new(bytes), most)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok((all, stream.finish()?))
    }

    #[test]
    fn the_form_of_a_stream_shows_in_its_first_bytes() {
        let plain = b"what is in the layer".repeat(100_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&plain)));
        for packed in [gzip.finish().unwrap(), zstd, plain.clone()] {
            assert_eq!(read(packed, u64::MAX).unwrap(), (plain.clone(), digest.clone()));
        }
        assert_eq!(read(Vec::new(), 0).unwrap().0, b"");
    }

    #[test]
    fn a_bomb_ends_where_it_would_be_too_much() {
        let bomb = zstd::encode_all(io::repeat(0).take(100 << 20), 1).unwrap();
        assert!(bomb.len() < 100_000);
        assert_eq!(read(bomb, 50 << 20).unwrap_err().to_string(), TOO_MUCH);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 100_000]).unwrap();
        let mut packed = gzip.finish().unwrap();
        packed.truncate(packed.len() / 2);
        assert!(read(packed, u64::MAX).is_err());
    }
}
