//! Reads pieces of a saved snapshot's image. Goes through its file once for the
//! places of the chunks, not for each piece; what it hands out was checked. Knows
//! nothing of who asks, nor which snapshot counts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use precentor_core::ids::{ClusterId, LogIndex};
use precentor_core::message::Piece;
use precentor_core::wire::snapshot::{
    ChunkHead, SNAPSHOT_FOOTER_BYTES, SNAPSHOT_HEADER_BYTES_MAX, read_footer, read_snapshot_header,
};

use super::snapshots::snapshot_path;

/// Reads saved snapshots of one directory.
#[derive(Debug)]
pub struct SnapshotReader {
    cluster: ClusterId,
    directory: PathBuf,
    /// The file that was read last: the next piece is likely to be of it.
    open: Option<OpenSnapshot>,
}

#[derive(Debug)]
struct OpenSnapshot {
    index: LogIndex,
    file: File,
    chunks: Vec<Chunk>,
    image_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// Where it begins in the image.
    offset: u64,
    /// Where it begins in the file.
    place: u64,
    head: ChunkHead,
}

impl SnapshotReader {
    pub(super) fn new(cluster: ClusterId, directory: &Path) -> SnapshotReader {
        SnapshotReader {
            cluster,
            directory: directory.to_owned(),
            open: None,
        }
    }

    /// The image's bytes from `offset` on, at most `bytes_max`.
    ///
    /// # Errors
    /// If there is no such snapshot, it is damaged, or ends before `offset`.
    pub fn read(&mut self, index: LogIndex, offset: u64, bytes_max: u64) -> io::Result<Piece> {
        let open = match self.open.take() {
            Some(open) if open.index == index => open,
            Some(_) | None => {
                let path = snapshot_path(&self.directory, index);
                OpenSnapshot::open(&path, self.cluster, index)?
            }
        };
        let piece = open.read(offset, bytes_max)?;
        // At the end nobody is likely to come back: a file that is gone
        // otherwise must not keep its space for long.
        if !piece.last {
            self.open = Some(open);
        }
        Ok(piece)
    }
}

fn damaged(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl OpenSnapshot {
    fn open(path: &Path, cluster: ClusterId, index: LogIndex) -> io::Result<OpenSnapshot> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut head = vec![0; file_bytes.min(SNAPSHOT_HEADER_BYTES_MAX) as usize];
        file.read_exact_at(&mut head, 0)?;
        let (header, header_bytes) =
            read_snapshot_header(&head).map_err(|error| damaged(error.to_string()))?;
        if header.cluster != cluster || header.meta.index != index {
            return Err(damaged("it is another snapshot than its name says".into()));
        }
        let footer_at = file_bytes
            .checked_sub(SNAPSHOT_FOOTER_BYTES)
            .ok_or_else(|| damaged("it has no footer".into()))?;
        let mut footer = [0; SNAPSHOT_FOOTER_BYTES as usize];
        file.read_exact_at(&mut footer, footer_at)?;
        let (mut chunks, mut place, mut image_bytes) = (Vec::new(), header_bytes, 0);
        while place < footer_at {
            let mut head = [0; ChunkHead::BYTES as usize];
            file.read_exact_at(&mut head, place)?;
            let head = ChunkHead::read(&head)
                .ok_or_else(|| damaged(format!("there is no chunk at byte {place}")))?;
            place += ChunkHead::BYTES;
            chunks.push(Chunk {
                offset: image_bytes,
                place,
                head,
            });
            place += u64::from(head.chunk_bytes);
            image_bytes += u64::from(head.chunk_bytes);
        }
        let whole = read_footer(&footer).is_some_and(|(total, _)| total == image_bytes);
        if place != footer_at || !whole {
            return Err(damaged("its footer does not fit what is before it".into()));
        }
        Ok(OpenSnapshot {
            index,
            file,
            chunks,
            image_bytes,
        })
    }

    fn read(&self, offset: u64, bytes_max: u64) -> io::Result<Piece> {
        if offset > self.image_bytes {
            let text = format!("its image has {} bytes, not {offset}", self.image_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let end = self.image_bytes.min(offset.saturating_add(bytes_max));
        let mut bytes = Vec::with_capacity((end - offset) as usize);
        let first = self
            .chunks
            .partition_point(|chunk| chunk.offset + u64::from(chunk.head.chunk_bytes) <= offset);
        for chunk in &self.chunks[first..] {
            let (from, to) = (offset.max(chunk.offset), end);
            if from >= to {
                break;
            }
            let mut whole = vec![0; chunk.head.chunk_bytes as usize];
            self.file.read_exact_at(&mut whole, chunk.place)?;
            if !chunk.head.fits(&whole) {
                let place = chunk.place;
                return Err(damaged(format!("the chunk at byte {place} is damaged")));
            }
            let (from, to) = (from - chunk.offset, to - chunk.offset);
            let to = to.min(whole.len() as u64);
            bytes.extend_from_slice(&whole[from as usize..to as usize]);
        }
        Ok(Piece {
            last: end == self.image_bytes,
            bytes: bytes.into(),
        })
    }
}
