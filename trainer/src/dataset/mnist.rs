//! MNIST's files, and where they are to be had.

use std::path::Path;

use coffer_client::dataset::download::{DownloadError, PublicFile, download};

/// Folders that have the files, in the order in which they're tried.
pub const MIRRORS: [&str; 2] = [
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
];

/// Name, size and BLAKE3 of the four files, as they were first published.
const FILES: [(&str, u64, &str); 4] = [
    (
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "03cd1185b8a516aa75a90ed79b65c17da9273d09bdd64806b00a095f370a30ad",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        28_881,
        "ba06df3fabdb8d46b3bdaae32a954573bd59cf398eb1d8a613e21c5fb2963293",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "d78b2fc87a9c0aeb5857643322bc5c31425e13c99046c2adf71838a491dbc3b9",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "e655c92ddbde0cb2a707579d07e4defe5760c5810d75bab38b9c3ba03a66d37f",
    ),
];

/// Why MNIST could not be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "{why}. Without a network, put MNIST's four files into a directory and name it by \
     --mnist-dir, or draw digits with --synthetic"
)]
pub struct MnistError {
    /// No `source`: it's told in full already.
    why: DownloadError,
}

impl From<DownloadError> for MnistError {
    fn from(why: DownloadError) -> Self {
        Self { why }
    }
}

/// The four files.
pub fn files() -> Vec<PublicFile> {
    let file = |(name, bytes, hash): &(&str, u64, &str)| {
        let (name, bytes, blake3) = ((*name).to_owned(), *bytes, hash.parse().ok()?);
        Some(PublicFile { name, bytes, blake3 })
    };
    FILES.iter().filter_map(file).collect()
}

/// Has `files` in `directory`: checks those that are there, and downloads the others from the
/// first of `mirrors` that has them. Returns how many were downloaded. `progress` hears how many
/// bytes of all are there.
///
/// # Errors
/// If a file can't be had or written. What is there stays, and the next attempt goes on with it.
pub async fn fetch(
    files: &[PublicFile],
    mirrors: &[String],
    directory: &Path,
    mut progress: impl FnMut(u64),
) -> Result<usize, MnistError> {
    let (mut before, mut downloaded) = (0, 0);
    for file in files {
        let new = download(file, mirrors, directory, |bytes| progress(before + bytes)).await?;
        downloaded += usize::from(new);
        before += file.bytes;
    }
    Ok(downloaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_files_are_those_that_are_read() {
        let names: Vec<String> = files().into_iter().map(|file| file.name).collect();
        assert_eq!(names.len(), 4);
        let dir = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), b"").unwrap());
        assert!(crate::dataset::source::Source::find([dir.path().to_owned()]).is_some());
    }

    #[tokio::test]
    async fn without_a_network_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mirrors = [format!("http://{nobody}/mnist")];
        let error = fetch(&files(), &mirrors, dir.path(), |_| ()).await.unwrap_err().to_string();
        for part in [&mirrors[0], "can't connect", "--mnist-dir", "--synthetic"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
