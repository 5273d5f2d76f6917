//! Downloads public files, of which size and hash are known: from the first of some mirrors that has
//! them, going on where an attempt was cut off.

mod http;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::{StatusCode, Uri};
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::{Digest, Error};

pub use http::HttpProblem;

/// How long to wait for the next byte.
const STALL: Duration = Duration::from_secs(30);
/// How the name of a file ends that isn't whole.
const PARTIAL: &str = ".part";

/// A file that is to be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicFile {
    /// Its name, at the mirrors as here.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: Digest,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No mirror has given it.
    #[error("can't download {name}: {}", told(tried))]
    Mirrors {
        /// The file's name.
        name: String,
        /// Each address that was tried, with what went wrong.
        tried: Vec<(String, Problem)>,
    },
    /// An address that is none.
    #[error(
        "`{0}` is not the address of a folder: write http://HOST/FOLDER or https://HOST/FOLDER"
    )]
    Address(String),
    /// Another process is at it.
    #[error("{} is being downloaded by another process: wait for it, or end it", .0.display())]
    Busy(PathBuf),
    /// The file can't be written.
    #[error(transparent)]
    File(#[from] Error),
}

/// What went wrong at one mirror.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpProblem),
    /// It has another file of that name.
    #[error("it has another file: {0}")]
    Other(String),
}

fn told(tried: &[(String, Problem)]) -> String {
    let lines: Vec<_> = tried.iter().map(|(address, why)| format!("{address}: {why}")).collect();
    if lines.is_empty() { "no mirror is named".to_owned() } else { lines.join("; ") }
}

/// Has `file` in `directory`: if it's there, it's checked; else it's downloaded from the first of
/// `mirrors` (addresses of folders) that has it. `progress` hears how many bytes are there. Returns
/// whether anything was downloaded.
///
/// A file appears under its name only when it's whole, right and safely on the disk.
///
/// # Errors
/// If no mirror gives it, or it can't be written.
pub async fn download(
    file: &PublicFile,
    mirrors: &[String],
    directory: &Path,
    mut progress: impl FnMut(u64),
) -> Result<bool, DownloadError> {
    let path = directory.join(&file.name);
    if is_right(&path, file)? {
        progress(file.bytes);
        return Ok(false);
    }
    let addresses = mirrors.iter().map(|mirror| address(mirror, &file.name));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(directory).map_err(Error::file("make the folder", directory))?;
    let mut part = Part::open(directory.join(format!("{}{PARTIAL}", file.name)))?;
    let mut tried = Vec::new();
    for address in addresses {
        match from_mirror(file, &address, &mut part, &mut progress).await? {
            Ok(()) => {
                part.become_whole(&path)?;
                return Ok(true);
            }
            Err(problem) => tried.push((address.to_string(), problem)),
        }
    }
    Err(DownloadError::Mirrors { name: file.name.clone(), tried })
}

fn address(mirror: &str, name: &str) -> Result<Uri, DownloadError> {
    let address: Option<Uri> = format!("{}/{name}", mirror.trim_end_matches('/')).parse().ok();
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    address.filter(known).ok_or_else(|| DownloadError::Address(mirror.to_owned()))
}

/// Whether the file is there and right.
fn is_right(path: &Path, wanted: &PublicFile) -> Result<bool, Error> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        opened => {
            let hash = opened.and_then(|mut file| digest(&mut file));
            Ok(hash.map_err(Error::file("read", path))? == wanted.blake3)
        }
    }
}

fn digest(file: &mut File) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        };
    }
}

/// Goes on with the file at one mirror as long as that gets further.
async fn from_mirror(
    file: &PublicFile,
    address: &Uri,
    part: &mut Part,
    progress: &mut impl FnMut(u64),
) -> Result<Result<(), Problem>, DownloadError> {
    loop {
        let before = part.len(file.bytes)?;
        let problem = match go_on(file, address, part, before, progress).await? {
            Ok(()) if part.digest()? == file.blake3 => return Ok(Ok(())),
            Ok(()) => {
                // Nothing of it can be trusted.
                part.cut(0)?;
                return Ok(Err(Problem::Other("its content has another hash".to_owned())));
            }
            Err(problem) => problem,
        };
        if !matches!(problem, Problem::Http(HttpProblem::Broken(_) | HttpProblem::Stalled(_)))
            || part.len(file.bytes)? <= before
        {
            return Ok(Err(problem));
        }
    }
}

/// Appends what is missing.
async fn go_on(
    file: &PublicFile,
    address: &Uri,
    part: &mut Part,
    from: u64,
    progress: &mut impl FnMut(u64),
) -> Result<Result<(), Problem>, DownloadError> {
    if from == file.bytes {
        return Ok(Ok(()));
    }
    let answer = match http::get(address, from, STALL).await {
        Ok(answer) => answer,
        Err(problem) => return Ok(Err(problem.into())),
    };
    let mut length = from;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if http::starts_at(&answer, from) => {}
        StatusCode::OK => {
            part.cut(0)?;
            length = 0;
        }
        status => return Ok(Err(HttpProblem::Status(status).into())),
    }
    let mut body = answer.into_body();
    loop {
        let data: Bytes = match tokio::time::timeout(STALL, body.frame()).await {
            Err(_) => return Ok(Err(HttpProblem::Stalled(STALL).into())),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Ok(Err(HttpProblem::Broken(error.to_string()).into()));
            }
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        length += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if length > file.bytes {
            part.cut(0)?;
            let text = format!("it is longer than {} bytes", file.bytes);
            return Ok(Err(Problem::Other(text)));
        }
        part.append(&data)?;
        progress(length);
    }
    if length < file.bytes {
        let text = format!("it ended after {length} of {} bytes", file.bytes);
        return Ok(Err(HttpProblem::Broken(text).into()));
    }
    Ok(Ok(()))
}

/// A file that isn't whole, and that no other process writes to.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, DownloadError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::file("write", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, file }),
            Err(TryLockError::WouldBlock) => Err(DownloadError::Busy(path)),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", path)(error).into()),
        }
    }

    /// How far it is; more than `whole` is of no use, and cut off.
    fn len(&mut self, whole: u64) -> Result<u64, Error> {
        let length = self.file.metadata().map_err(Error::file("look at", &self.path))?.len();
        if length > whole {
            self.cut(0)?;
            return Ok(0);
        }
        Ok(length)
    }

    fn cut(&mut self, length: u64) -> Result<(), Error> {
        self.file.set_len(length).map_err(Error::file("cut", &self.path))
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        let written = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(data));
        written.map_err(Error::file("write", &self.path))
    }

    fn digest(&mut self) -> Result<Digest, Error> {
        digest(&mut self.file).map_err(Error::file("read", &self.path))
    }

    fn become_whole(self, path: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::file("write", &self.path))?;
        std::fs::rename(&self.path, path).map_err(Error::file("write", path))
    }
}
