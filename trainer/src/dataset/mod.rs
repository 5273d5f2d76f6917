//! Labelled 28x28 grey pictures of digits: read from MNIST's files or drawn, and packed into
//! WebDataset shards. The shards and their index are the client library's (`coffer_client::dataset`).

pub mod digit;
pub mod idx;
pub mod mnist;
pub mod pack;
pub mod picture;
pub mod source;
pub mod synthetic;

use std::fmt;

use coffer_client::dataset::SplitName;

/// Width and height of a picture in pixels.
pub const SIDE: usize = 28;
/// Pixels of a picture; one byte each, 0 is background and 255 is ink, row by row.
pub const PIXELS: usize = SIDE * SIDE;
/// Number of classes; labels are below it.
pub const CLASSES: u8 = 10;

/// One labelled picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// [`PIXELS`] bytes, row by row.
    pub pixels: Box<[u8; PIXELS]>,
    /// The digit, 0 to 9.
    pub label: u8,
}

/// The part of a dataset that a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Samples to learn from.
    Train,
    /// Samples to judge by; never learned from.
    Test,
}

impl Split {
    /// Both splits, in the order in which they're packed.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];
}

impl Split {
    /// Its name in the index.
    pub fn name(self) -> SplitName {
        match self {
            Self::Train => SplitName::train(),
            Self::Test => SplitName::test(),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
