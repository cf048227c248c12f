//! The files of the log: made full size and full of zeros before they are
//! used, so that a sync writes data and no metadata, and used again when their
//! entries are no longer needed. Knows nothing of what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use precentor_core::wire::log_writer::Step;
use precentor_core::wire::record::{HEADER_BYTES, SegmentHeader};
use precentor_core::wire::recover::Extent;

use super::OpenError;
use super::directory::{aside_path, set_aside, sync_directory, write_synced};

const SEGMENT: &str = "segment-";
/// A file of zeros, ready for use.
const SPARE_NEW: &str = "spare-new";
/// A file that was a segment, ready for use.
const SPARE_USED: &str = "spare-used-";
/// An empty file whose name tells the newest segment: if that file goes, its
/// absence is noticed.
const BEGUN: &str = "begun-";
/// A spare that is not full size yet.
const UNFINISHED: &str = "unfinished";
/// How many used files are kept for later.
const SPARES_MAX: usize = 2;
/// No segment file is larger, whoever made it.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How much is read at once when entries are read one after the other.
const READ_AHEAD_BYTES: u32 = 256 * 1024;

#[derive(Debug)]
pub(super) struct Segments {
    path: PathBuf,
    segment_bytes: u32,
    /// The file that is written: its number and handle.
    current: Option<(u64, File)>,
    /// A file that was read last.
    reader: Option<(u64, File)>,
    window: Window,
    used_spares: Vec<PathBuf>,
    /// The newest segment that was ever begun, as its witness says.
    begun: Option<u64>,
    /// Makes the next file while the current one fills.
    maker: Option<JoinHandle<io::Result<()>>>,
    /// Written, not synced.
    dirty: bool,
}

/// Bytes of a file as they were read.
#[derive(Debug, Default)]
struct Window {
    segment: u64,
    offset: u32,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&self, segment: u64, offset: u32, len: u32) -> Option<&[u8]> {
        if segment != self.segment {
            return None;
        }
        let start = offset.checked_sub(self.offset)? as usize;
        self.bytes.get(start..start + len as usize)
    }
}

impl Segments {
    pub(super) fn open(path: PathBuf, segment_bytes: u32) -> Result<Segments, OpenError> {
        let (mut used_spares, mut begun) = (Vec::new(), None);
        for entry in fs::read_dir(&path).map_err(|error| OpenError::io(&path, error))? {
            let entry = entry.map_err(|error| OpenError::io(&path, error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(SPARE_USED) {
                used_spares.push(entry.path());
            }
            let number = name.strip_prefix(BEGUN).map(str::parse::<u64>);
            begun = begun.max(number.and_then(Result::ok));
        }
        Ok(Segments {
            path,
            segment_bytes,
            current: None,
            reader: None,
            window: Window::default(),
            used_spares,
            begun,
            maker: None,
            dirty: false,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{SEGMENT}{number:016}"))
    }

    /// The numbers of all segments, ascending.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, OpenError> {
        let failed = |error| OpenError::io(&self.path, error);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(SEGMENT));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads a whole file for recovery.
    pub(super) fn read_whole(&self, number: u64, bytes: &mut Vec<u8>) -> Result<(), OpenError> {
        let path = self.segment_path(number);
        let read = || {
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            if len > FILE_BYTES_MAX {
                let text = format!("{len} bytes; no segment has more than {FILE_BYTES_MAX}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            bytes.resize(len as usize, 0);
            file.read_exact_at(bytes, 0)
        };
        let mut read = read;
        read().map_err(|error| OpenError::io(&path, error))
    }

    pub(super) fn read_at(&self, number: u64, offset: u32, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        File::open(self.segment_path(number))?.read_exact_at(&mut bytes, u64::from(offset))?;
        Ok(bytes)
    }

    /// A record with its header. Reads ahead: the next one is often asked for next.
    pub(super) fn read_record(
        &mut self,
        number: u64,
        offset: u32,
        body_bytes: u32,
    ) -> io::Result<&[u8]> {
        let len = HEADER_BYTES + body_bytes;
        if self.window.get(number, offset, len).is_none() {
            self.read_ahead(number, offset, len)?;
        }
        self.window
            .get(number, offset, len)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read_ahead(&mut self, number: u64, offset: u32, len: u32) -> io::Result<()> {
        let reader = match self.reader.take() {
            Some((open, file)) if open == number => file,
            Some(_) | None => File::open(self.segment_path(number))?,
        };
        let window = &mut self.window;
        *window = Window {
            segment: number,
            offset,
            bytes: std::mem::take(&mut window.bytes),
        };
        window.bytes.resize(len.max(READ_AHEAD_BYTES) as usize, 0);
        let mut filled = 0;
        while filled < window.bytes.len() {
            let at = u64::from(offset) + filled as u64;
            match reader.read_at(&mut window.bytes[filled..], at) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        window.bytes.truncate(filled);
        self.reader = Some((number, reader));
        Ok(())
    }

    /// Writes again what was read but may never have reached the disk.
    pub(super) fn rewrite(&mut self, extents: &[Extent]) -> io::Result<()> {
        for extent in extents {
            // An extent is whole blocks; a file whose end was cut off may end within one.
            let len = fs::metadata(self.segment_path(extent.segment))?.len();
            let left = len.saturating_sub(u64::from(extent.offset));
            let count = u64::from(extent.bytes).min(left) as u32;
            let bytes = self.read_at(extent.segment, extent.offset, count)?;
            let file = OpenOptions::new()
                .write(true)
                .open(self.segment_path(extent.segment))?;
            file.write_all_at(&bytes, u64::from(extent.offset))?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Opens the segment that is written next.
    pub(super) fn go_on(&mut self, number: u64) -> io::Result<()> {
        if self
            .current
            .as_ref()
            .is_some_and(|(open, _)| *open == number)
        {
            return Ok(());
        }
        let path = self.segment_path(number);
        if path.exists() {
            self.current = Some((number, OpenOptions::new().write(true).open(path)?));
        }
        Ok(())
    }

    pub(super) fn perform(&mut self, steps: &[Step]) -> io::Result<()> {
        for step in steps {
            match step {
                Step::Begin { segment, header } => self.begin(*segment, header)?,
                Step::Write {
                    segment,
                    offset,
                    bytes,
                } => self.write(*segment, *offset, bytes)?,
            }
        }
        self.sync()
    }

    fn write(&mut self, number: u64, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let Some((_, file)) = self.current.as_ref().filter(|(open, _)| *open == number) else {
            return Err(io::Error::other(format!(
                "segment {number} is not the one being written"
            )));
        };
        file.write_all_at(bytes, u64::from(offset))?;
        self.dirty = true;
        // What was read ahead may be what was written just now.
        if self.window.segment == number {
            self.window.bytes.clear();
        }
        if offset > self.segment_bytes / 2 {
            self.make_ahead();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.dirty
            && let Some((_, file)) = &self.current
        {
            file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }

    fn begin(&mut self, number: u64, header: &SegmentHeader) -> io::Result<()> {
        self.sync()?;
        let (spare, recycled) = self.take_spare()?;
        let file = OpenOptions::new().write(true).open(&spare)?;
        let header = SegmentHeader {
            recycled,
            ..*header
        };
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        // Only now: a file with a segment's name always has a good header.
        fs::rename(&spare, self.segment_path(number))?;
        sync_directory(&self.path)?;
        self.current = Some((number, file));
        self.witness(number)
    }

    /// Remembers, outside of the file, that there is one.
    fn witness(&mut self, number: u64) -> io::Result<()> {
        let path = |number| self.path.join(format!("{BEGUN}{number:016}"));
        File::create(path(number))?;
        sync_directory(&self.path)?;
        if let Some(before) = self
            .begun
            .replace(number)
            .filter(|before| *before != number)
        {
            // If this is not durable, two witnesses are left: the newer one counts.
            fs::remove_file(path(before))?;
        }
        Ok(())
    }

    /// The newest segment that was ever begun, if it is gone.
    pub(super) fn missing_newest(&self, newest: u64) -> Option<u64> {
        self.begun.filter(|begun| *begun > newest)
    }

    fn take_spare(&mut self) -> io::Result<(PathBuf, bool)> {
        self.wait_for_maker()?;
        while let Some(spare) = self.used_spares.pop() {
            // One of another size is from a run with another setting.
            if fs::metadata(&spare)?.len() == u64::from(self.segment_bytes) {
                return Ok((spare, true));
            }
            fs::remove_file(&spare)?;
        }
        let spare = self.path.join(SPARE_NEW);
        let fits = fs::metadata(&spare).is_ok_and(|m| m.len() == u64::from(self.segment_bytes));
        if !fits {
            make_spare(&self.path, self.segment_bytes)?;
        }
        Ok((spare, false))
    }

    /// Has the next file made by another thread: it takes too long to wait for it.
    fn make_ahead(&mut self) {
        let ready = !self.used_spares.is_empty() || self.path.join(SPARE_NEW).exists();
        if ready || self.maker.is_some() {
            return;
        }
        let (path, bytes) = (self.path.clone(), self.segment_bytes);
        let maker = std::thread::Builder::new().name("segment maker".to_owned());
        // Without a thread, the file is made when it is needed.
        self.maker = maker.spawn(move || make_spare(&path, bytes)).ok();
    }

    fn wait_for_maker(&mut self) -> io::Result<()> {
        match self.maker.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other(
                "the thread that makes segment files panicked",
            )),
        }
    }

    /// Gives up all segments before `needed`, the lowest first, so that a crash
    /// in between leaves no gap.
    pub(super) fn recycle_before(&mut self, needed: u64) -> io::Result<()> {
        let numbers = self.numbers().map_err(io::Error::other)?;
        for number in numbers.into_iter().filter(|number| *number < needed) {
            let path = self.segment_path(number);
            if self.used_spares.len() < SPARES_MAX {
                let spare = self.path.join(format!("{SPARE_USED}{number:016}"));
                fs::rename(&path, &spare)?;
                self.used_spares.push(spare);
            } else {
                fs::remove_file(&path)?;
            }
            sync_directory(&self.path)?;
        }
        // The handle may be of a file that is another segment now.
        self.reader = None;
        self.window.bytes.clear();
        Ok(())
    }

    /// From here on every write fails, as on a bad disk.
    #[cfg(test)]
    pub(super) fn break_writes(&mut self) {
        if let Some((number, file)) = &mut self.current {
            let path = self.path.join(format!("{SEGMENT}{number:016}"));
            *file = File::open(path).expect("the current segment is there");
        }
    }

    /// From here on every write seems to work, and its sync fails: the null
    /// device takes bytes and cannot be synced.
    #[cfg(test)]
    pub(super) fn break_syncs(&mut self) {
        if let Some((_, file)) = &mut self.current {
            let null = OpenOptions::new().write(true).open("/dev/null");
            *file = null.expect("there is a null device");
        }
    }

    /// Keeps files that are damaged, or of no use behind damage, under other names.
    pub(super) fn set_aside(&self, numbers: &[u64], by: u64) -> io::Result<Vec<PathBuf>> {
        let paths = numbers.iter().map(|number| self.segment_path(*number));
        let kept = paths
            .map(|path| set_aside(&path, by))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        if !kept.is_empty() {
            sync_directory(&self.path)?;
        }
        Ok(kept)
    }

    /// Keeps a copy of a file whose beginning is still needed.
    pub(super) fn keep_copy(&self, number: u64, by: u64) -> io::Result<PathBuf> {
        let path = self.segment_path(number);
        let copy = aside_path(&path, by);
        write_synced(&copy, &fs::read(&path)?)?;
        sync_directory(&self.path)?;
        Ok(copy)
    }

    /// Removes files that hold nothing that counts.
    pub(super) fn remove(&self, numbers: &[u64]) -> io::Result<()> {
        for number in numbers {
            fs::remove_file(self.segment_path(*number))?;
        }
        if !numbers.is_empty() {
            sync_directory(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // The directory must not be given up while a thread still writes in
        // it. If it failed, the file has no name that counts.
        if let Some(maker) = self.maker.take() {
            let _ = maker.join();
        }
    }
}

/// Makes a file of zeros that are on the disk: allocating alone would leave
/// metadata to be written with the first data.
fn make_spare(directory: &Path, segment_bytes: u32) -> io::Result<()> {
    let unfinished = directory.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    let zeros = vec![0; 256 * 1024];
    let mut left = segment_bytes as usize;
    while left > 0 {
        let next = left.min(zeros.len());
        file.write_all(&zeros[..next])?;
        left -= next;
    }
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(SPARE_NEW))?;
    sync_directory(directory)
}
