//! One shard: a tar of `{key}.png` and `{key}.cls` pairs, the layout of WebDataset.
//!
//! Python reads it as it is: `webdataset.WebDataset(url).decode("l8").to_tuple("png", "cls")`.
//! The bytes depend on the samples alone: no times, no owners.

use std::io::{self, Read};
use std::path::Path;

use super::picture::{self, PictureError};
use super::{CLASSES, PIXELS, SIDE, Sample};

/// Why a shard can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The tar is damaged.
    #[error("broken tar: {0}")]
    Tar(#[from] io::Error),
    /// A picture is damaged or not of the right kind.
    #[error("sample {key}: {source}")]
    Picture {
        /// The sample's key.
        key: String,
        /// What is wrong with it.
        source: PictureError,
    },
    /// A label is no digit.
    #[error("sample {key}: its .cls holds {found:?}, wanted a number below {CLASSES}")]
    Label {
        /// The sample's key.
        key: String,
        /// What the file holds, cut short.
        found: String,
    },
    /// A sample lacks its picture or its label.
    #[error("sample {0}: needs one .png and one .cls, next to each other")]
    Incomplete(String),
    /// The shard doesn't hold as many samples as the index says.
    #[error("holds {found} samples where the index says {wanted}")]
    Count {
        /// Samples found.
        found: usize,
        /// Samples announced.
        wanted: usize,
    },
}

/// Builds a shard in memory.
pub struct ShardWriter {
    tar: tar::Builder<Vec<u8>>,
    samples: usize,
}

impl Default for ShardWriter {
    fn default() -> Self {
        Self { tar: tar::Builder::new(Vec::new()), samples: 0 }
    }
}

impl ShardWriter {
    /// Number of samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Adds a sample under `key`, which must not contain a dot.
    ///
    /// # Errors
    /// If the picture can't be encoded.
    pub fn push(&mut self, key: &str, sample: &Sample) -> Result<(), ShardError> {
        let side = u32::try_from(SIDE).unwrap_or(u32::MAX);
        let png = picture::encode_grey(sample.pixels.as_slice(), side, side)
            .map_err(|source| ShardError::Picture { key: key.to_owned(), source })?;
        self.append(&format!("{key}.png"), &png)?;
        self.append(&format!("{key}.cls"), sample.label.to_string().as_bytes())?;
        self.samples += 1;
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.tar.append_data(&mut header, name, content)
    }

    /// The shard's bytes.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn finish(self) -> Result<Vec<u8>, ShardError> {
        Ok(self.tar.into_inner()?)
    }
}

/// The samples of a shard, decoded: 785 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Pixels of all samples, [`PIXELS`] each.
    pub pixels: Vec<u8>,
    /// Labels of all samples.
    pub labels: Vec<u8>,
}

/// Decodes the tar `bytes`, which must hold exactly `wanted` samples. Files with extensions other
/// than `.png` and `.cls` are passed over.
///
/// # Errors
/// If the tar or a sample in it is damaged, or their number differs.
pub fn decode(bytes: &[u8], wanted: usize) -> Result<Decoded, ShardError> {
    let mut out = Decoded::default();
    let mut open: Option<Pending> = None;
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some((key, extension)) = split_name(&path) else { continue };
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if open.as_ref().is_some_and(|pending| pending.key != key) {
            close(open.take(), &mut out)?;
        }
        let pending = open.get_or_insert_with(|| Pending { key, ..Pending::default() });
        let slot = match extension.as_str() {
            "png" => &mut pending.png,
            "cls" => &mut pending.cls,
            _ => continue,
        };
        if slot.replace(content).is_some() {
            return Err(ShardError::Incomplete(pending.key.clone()));
        }
    }
    close(open, &mut out)?;
    let found = out.labels.len();
    if found != wanted {
        return Err(ShardError::Count { found, wanted });
    }
    Ok(out)
}

/// A sample whose files are being collected.
#[derive(Default)]
struct Pending {
    key: String,
    png: Option<Vec<u8>>,
    cls: Option<Vec<u8>>,
}

fn close(pending: Option<Pending>, out: &mut Decoded) -> Result<(), ShardError> {
    let Some(Pending { key, png, cls }) = pending else { return Ok(()) };
    let (Some(png), Some(cls)) = (png, cls) else { return Err(ShardError::Incomplete(key)) };
    let label = std::str::from_utf8(&cls).ok().and_then(|text| text.trim().parse::<u8>().ok());
    let Some(label) = label.filter(|label| *label < CLASSES) else {
        let found = String::from_utf8_lossy(cls.get(..16).unwrap_or(&cls)).into_owned();
        return Err(ShardError::Label { key, found });
    };
    let start = out.pixels.len();
    out.pixels.resize(start + PIXELS, 0);
    picture::decode_grey(&png, SIDE, out.pixels.get_mut(start..).unwrap_or_default())
        .map_err(|source| ShardError::Picture { key, source })?;
    out.labels.push(label);
    Ok(())
}

/// Splits a member's name at the first dot of its last segment, as WebDataset does.
fn split_name(path: &Path) -> Option<(String, String)> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let (stem, extension) = name.split_once('.')?;
    Some((folder.join(stem).display().to_string(), extension.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::synthetic;
    use proptest::prelude::*;

    fn shard(count: u32) -> Vec<u8> {
        let mut writer = ShardWriter::default();
        for at in 0..count {
            writer.push(&format!("{at:08}"), &synthetic::draw(1, at)).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn round_trip_and_same_bytes_each_time() {
        let bytes = shard(12);
        assert_eq!(bytes, shard(12));
        let back = decode(&bytes, 12).unwrap();
        for at in 0..12u32 {
            let (sample, i) = (synthetic::draw(1, at), usize::try_from(at).unwrap());
            assert_eq!(back.labels[i], sample.label);
            assert_eq!(&back.pixels[i * PIXELS..][..PIXELS], sample.pixels.as_slice());
        }
    }

    #[test]
    fn damage_is_named() {
        let bytes = shard(3);
        assert!(matches!(decode(&bytes, 4), Err(ShardError::Count { found: 3, wanted: 4 })));
        assert!(decode(&bytes[..700], 3).is_err(), "cut within the first picture");
        // The label's content is the third of the four 512-byte blocks after the picture's header.
        let at = bytes.windows(12).position(|w| w == b"00000001.cls").unwrap() + 512;
        let mut wrong = bytes.clone();
        wrong[at] = b'x';
        let error = decode(&wrong, 3).unwrap_err().to_string();
        assert!(error.contains("sample 00000001") && error.contains("\"x\""), "{error}");
    }

    #[test]
    fn a_sample_without_its_label_is_refused() {
        let mut writer = ShardWriter::default();
        writer.append("a.png", b"").unwrap();
        writer.append("b.cls", b"1").unwrap();
        let error = decode(&writer.finish().unwrap(), 1).unwrap_err();
        assert!(matches!(error, ShardError::Incomplete(key) if key == "a"));
    }

    proptest! {
        #[test]
        fn damaged_shards_never_panic_and_give_whole_samples_or_none(
            at: prop::sample::Index, byte: u8, cut: prop::sample::Index, noise: Vec<u8>,
        ) {
            let whole = shard(2);
            let mut changed = whole.clone();
            changed[at.index(whole.len())] = byte;
            for bytes in [&changed[..], &whole[..cut.index(whole.len())], &noise[..]] {
                if let Ok(read) = decode(bytes, 2) {
                    prop_assert_eq!((read.labels.len(), read.pixels.len()), (2, 2 * PIXELS));
                }
            }
        }
    }
}
