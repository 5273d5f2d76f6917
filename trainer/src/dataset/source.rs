//! Where samples come from: MNIST's four files in a directory, or drawn digits.

use std::path::{Path, PathBuf};

use super::idx::{IdxError, Samples};
use super::{Sample, Split, synthetic};

/// Seed of the drawn digits: always the same set.
const SYNTHETIC_SEED: u64 = 0;

/// A source of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// MNIST's idx files, plain or gzipped, in this directory.
    Mnist(PathBuf),
    /// Drawn digits.
    Synthetic {
        /// Samples to learn from.
        train: u32,
        /// Samples to judge by.
        test: u32,
    },
}

/// Why a source gives no samples.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A directory that was named lacks one of MNIST's files.
    #[error(
        "{} lacks {stem}-ubyte (or {stem}-ubyte.gz): put MNIST's four files there, name another \
         directory, or use drawn digits with --synthetic",
        directory.display()
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// Start of the missing file's name.
        stem: &'static str,
    },
    /// A file is damaged.
    #[error(transparent)]
    Idx(#[from] IdxError),
}

/// An iterator over the samples of one split.
pub type SampleIter = Box<dyn Iterator<Item = Result<Sample, SourceError>> + Send>;

impl Source {
    /// The drawn set used where MNIST isn't at hand: a tenth of its size.
    pub const SYNTHETIC: Self = Self::Synthetic { train: 6_000, test: 1_000 };

    /// The first of `candidates` that holds all of MNIST's files.
    pub fn find(candidates: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        candidates.into_iter().find(|dir| mnist_files(dir).is_ok()).map(Self::Mnist)
    }

    /// The name that the dataset's index carries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mnist(_) => "mnist",
            Self::Synthetic { .. } => "synthetic",
        }
    }

    /// The samples of `split`, in their original order, read one at a time.
    ///
    /// # Errors
    /// If a file is missing or isn't what it should be.
    pub fn samples(&self, split: Split) -> Result<SampleIter, SourceError> {
        match self {
            Self::Mnist(directory) => {
                let [train_images, train_labels, test_images, test_labels] =
                    mnist_files(directory)?;
                let samples = match split {
                    Split::Train => Samples::open(&train_images, &train_labels)?,
                    Split::Test => Samples::open(&test_images, &test_labels)?,
                };
                Ok(Box::new(samples.map(|sample| sample.map_err(SourceError::from))))
            }
            Self::Synthetic { train, test } => {
                // The test samples follow those of the training set in the endless drawn series.
                let range = match split {
                    Split::Train => 0..*train,
                    Split::Test => *train..train.saturating_add(*test),
                };
                Ok(Box::new(range.map(|at| Ok(synthetic::draw(SYNTHETIC_SEED, at)))))
            }
        }
    }
}

/// Paths of the pictures and labels of the training set, then of the test set.
fn mnist_files(directory: &Path) -> Result<[PathBuf; 4], SourceError> {
    let file = |stem: &'static str, dotted: &str| {
        [stem, dotted]
            .iter()
            .flat_map(|stem| [format!("{stem}-ubyte"), format!("{stem}-ubyte.gz")])
            .map(|name| directory.join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| SourceError::Missing { directory: directory.to_owned(), stem })
    };
    Ok([
        file("train-images-idx3", "train-images.idx3")?,
        file("train-labels-idx1", "train-labels.idx1")?,
        file("t10k-images-idx3", "t10k-images.idx3")?,
        file("t10k-labels-idx1", "t10k-labels.idx1")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_only_with_all_four_files() {
        let dir = tempfile::tempdir().unwrap();
        let names =
            ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "t10k-images.idx3-ubyte"];
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), b"").unwrap());
        let here = || vec![PathBuf::from("/nonexistent"), dir.path().to_owned()];
        assert_eq!(Source::find(here()), None);
        let error = Source::Mnist(dir.path().to_owned()).samples(Split::Train).err().unwrap();
        assert!(error.to_string().contains("lacks t10k-labels-idx1-ubyte"), "{error}");
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), b"").unwrap();
        assert_eq!(Source::find(here()), Some(Source::Mnist(dir.path().to_owned())));
    }

    #[test]
    fn drawn_splits_do_not_overlap() {
        let source = Source::Synthetic { train: 20, test: 10 };
        let read = |split| -> Vec<Sample> {
            source.samples(split).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let (train, test) = (read(Split::Train), read(Split::Test));
        assert_eq!((train.len(), test.len()), (20, 10));
        assert!(test.iter().all(|sample| !train.contains(sample)));
    }
}
