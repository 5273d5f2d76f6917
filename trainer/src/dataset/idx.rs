//! MNIST's idx files, read strictly and one record at a time.
//!
//! Layout, big endian: two zero bytes, the element type (8 = unsigned byte), the number of
//! dimensions, then each dimension as a 32-bit count, then the elements
//! (<http://yann.lecun.com/exdb/mnist/>).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{CLASSES, PIXELS, SIDE, Sample};

const UNSIGNED_BYTE: u8 = 0x08;

/// Why an idx file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    /// The file can't be opened or read, or its gzip stream is broken.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// The first four bytes aren't those of the wanted kind of idx file.
    #[error(
        "{file}: starts with {found:02x?} where an idx file of {wanted} starts with \
         [00, 00, 08, {dimensions:02x}]; is it the right file?"
    )]
    Magic {
        /// The file.
        file: String,
        /// What was wanted, "images" or "labels".
        wanted: &'static str,
        /// Its number of dimensions.
        dimensions: u8,
        /// The bytes found.
        found: [u8; 4],
    },
    /// The pictures have another size than MNIST's.
    #[error("{file}: pictures of {rows}x{columns} pixels, but only {SIDE}x{SIDE} is supported")]
    Size {
        /// The file.
        file: String,
        /// Rows per picture.
        rows: u32,
        /// Columns per picture.
        columns: u32,
    },
    /// The file ends before all records that its header announces.
    #[error("{file}: ends in record {record} of {count}; copy or download it again")]
    Truncated {
        /// The file.
        file: String,
        /// First record that isn't complete, counted from 0.
        record: u32,
        /// Records announced by the header.
        count: u32,
    },
    /// The file ends within its header.
    #[error("{file}: ends within its header; copy or download it again")]
    Header {
        /// The file.
        file: String,
    },
    /// The file goes on after the last record that its header announces.
    #[error("{file}: has more data than the {count} records that its header announces")]
    Trailing {
        /// The file.
        file: String,
        /// Records announced by the header.
        count: u32,
    },
    /// Two files that belong together differ in their number of records.
    #[error("{images} holds {pictures} pictures and {labels} {names} labels: not a pair")]
    Unpaired {
        /// The file of pictures.
        images: String,
        /// Its records.
        pictures: u32,
        /// The file of labels.
        labels: String,
        /// Its records.
        names: u32,
    },
    /// A label is no digit.
    #[error("{file}: record {record} is labelled {label}, and labels are below {CLASSES}")]
    Label {
        /// The file.
        file: String,
        /// The record, counted from 0.
        record: u32,
        /// The label found.
        label: u8,
    },
}

/// Reads the records of one idx file of unsigned bytes.
struct Records<R> {
    file: String,
    input: R,
    count: u32,
    read: u32,
}

impl<R: Read> Records<R> {
    /// Reads the header. Returns the records and the dimensions after the first.
    fn open<const N: usize>(
        file: String,
        mut input: R,
        wanted: &'static str,
    ) -> Result<(Self, [u32; N]), IdxError> {
        let dimensions = u8::try_from(N + 1).unwrap_or(u8::MAX);
        let found = word(&file, &mut input)?;
        if found != [0, 0, UNSIGNED_BYTE, dimensions] {
            return Err(IdxError::Magic { file, wanted, dimensions, found });
        }
        let count = u32::from_be_bytes(word(&file, &mut input)?);
        let mut shape = [0; N];
        for dimension in &mut shape {
            *dimension = u32::from_be_bytes(word(&file, &mut input)?);
        }
        Ok((Self { file, input, count, read: 0 }, shape))
    }

    /// Fills `record`, or returns false at the end of the file.
    fn next(&mut self, record: &mut [u8]) -> Result<bool, IdxError> {
        if self.read == self.count {
            return match self.input.read(&mut [0]) {
                Ok(0) => Ok(false),
                Ok(_) => Err(IdxError::Trailing { file: self.file.clone(), count: self.count }),
                Err(source) => Err(IdxError::Io { file: self.file.clone(), source }),
            };
        }
        self.input.read_exact(record).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => IdxError::Truncated {
                file: self.file.clone(),
                record: self.read,
                count: self.count,
            },
            _ => IdxError::Io { file: self.file.clone(), source },
        })?;
        self.read += 1;
        Ok(true)
    }
}

fn word(file: &str, input: &mut impl Read) -> Result<[u8; 4], IdxError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => IdxError::Header { file: file.to_owned() },
        _ => IdxError::Io { file: file.to_owned(), source },
    })?;
    Ok(bytes)
}

/// A pair of idx files, pictures and labels, as an iterator of samples.
///
/// Holds one sample at a time; ends after the first error.
pub struct Samples<R> {
    images: Records<R>,
    labels: Records<R>,
    done: bool,
}

impl Samples<Box<dyn Read + Send>> {
    /// Opens a pair of files, each plain or gzipped (told by its first bytes, not by its name).
    ///
    /// # Errors
    /// If a file can't be read, isn't the wanted kind of idx file, or the two aren't a pair.
    pub fn open(images: &Path, labels: &Path) -> Result<Self, IdxError> {
        Self::new(
            (images.display().to_string(), open(images)?),
            (labels.display().to_string(), open(labels)?),
        )
    }
}

impl<R: Read> Samples<R> {
    /// Reads both headers; each file is its name (for messages) and its content.
    ///
    /// # Errors
    /// If a header is wrong or the two files aren't a pair.
    pub fn new(images: (String, R), labels: (String, R)) -> Result<Self, IdxError> {
        let (images, [rows, columns]) = Records::open(images.0, images.1, "images")?;
        let (labels, []) = Records::open(labels.0, labels.1, "labels")?;
        if [rows, columns].map(usize::try_from) != [Ok(SIDE), Ok(SIDE)] {
            return Err(IdxError::Size { file: images.file, rows, columns });
        }
        if images.count != labels.count {
            return Err(IdxError::Unpaired {
                images: images.file,
                pictures: images.count,
                labels: labels.file,
                names: labels.count,
            });
        }
        Ok(Self { images, labels, done: false })
    }

    fn read(&mut self) -> Result<Option<Sample>, IdxError> {
        let mut pixels = Box::new([0; PIXELS]);
        let mut label = [0];
        let (picture, name) =
            (self.images.next(pixels.as_mut_slice())?, self.labels.next(&mut label)?);
        if !(picture && name) {
            return Ok(None);
        }
        let [label] = label;
        if label >= CLASSES {
            let (file, record) = (self.labels.file.clone(), self.labels.read - 1);
            return Err(IdxError::Label { file, record, label });
        }
        Ok(Some(Sample { pixels, label }))
    }
}

impl<R: Read> Iterator for Samples<R> {
    type Item = Result<Sample, IdxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>, IdxError> {
    let io = |source| IdxError::Io { file: path.display().to_string(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let gzipped = io::BufRead::fill_buf(&mut file).map_err(io)?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn images(samples: &[Sample]) -> Vec<u8> {
        let mut out = vec![0, 0, 8, 3];
        out.extend(u32::try_from(samples.len()).unwrap().to_be_bytes());
        out.extend([0, 0, 0, 28, 0, 0, 0, 28]);
        samples.iter().for_each(|s| out.extend_from_slice(s.pixels.as_slice()));
        out
    }

    fn labels(samples: &[Sample]) -> Vec<u8> {
        let mut out = vec![0, 0, 8, 1];
        out.extend(u32::try_from(samples.len()).unwrap().to_be_bytes());
        out.extend(samples.iter().map(|s| s.label));
        out
    }

    fn read(images: &[u8], labels: &[u8]) -> Result<Vec<Sample>, IdxError> {
        Samples::new(("images".into(), images), ("labels".into(), labels))?.collect()
    }

    fn sample() -> impl Strategy<Value = Sample> {
        (any::<u8>(), 0..CLASSES).prop_map(|(ink, label)| {
            let mut pixels = Box::new([ink; PIXELS]);
            pixels[usize::from(label)] = !ink;
            Sample { pixels, label }
        })
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(samples in prop::collection::vec(sample(), 0..5)) {
            prop_assert_eq!(read(&images(&samples), &labels(&samples)).unwrap(), samples);
        }

        #[test]
        fn every_truncation_and_every_extra_byte_is_refused(
            samples in prop::collection::vec(sample(), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let (i, l) = (images(&samples), labels(&samples));
            prop_assert!(read(&i[..cut.index(i.len())], &l).is_err());
            prop_assert!(read(&i, &l[..cut.index(l.len())]).is_err());
            let longer = |v: &[u8]| [v, &[0]].concat();
            prop_assert!(matches!(read(&longer(&i), &l), Err(IdxError::Trailing { .. })), "images");
            prop_assert!(matches!(read(&i, &longer(&l)), Err(IdxError::Trailing { .. })), "labels");
        }

        #[test]
        fn never_panics(i in prop::collection::vec(any::<u8>(), 0..64),
                        l in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&i, &l);
            let header = [&[0, 0, 8, 3][..], &i].concat();
            let _ = read(&header, &[&[0, 0, 8, 1][..], &l].concat());
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let samples = [Sample { pixels: Box::new([7; PIXELS]), label: 3 }];
        let (good, names) = (images(&samples), labels(&samples));
        let text = |i: &[u8], l: &[u8]| read(i, l).unwrap_err().to_string();
        assert!(text(&names, &names).contains("images starts with [00, 00, 08, 03]"));
        assert!(text(&good[..100], &names).starts_with("images: ends in record 0 of 1"));
        assert!(text(&good[..5], &names).contains("within its header"));
        let mut tall = good.clone();
        tall[11] = 29;
        assert!(text(&tall, &names).contains("29x28"));
        let mut ten = names.clone();
        ten[8] = 10;
        assert!(text(&good, &ten).starts_with("labels: record 0 is labelled 10"));
        assert!(text(&good, &labels(&[])).contains("not a pair"));
    }

    #[test]
    fn gzip_is_told_by_content_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let samples = [Sample { pixels: Box::new([9; PIXELS]), label: 1 }];
        let (zipped, plain) = (dir.path().join("a"), dir.path().join("b.gz"));
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&images(&samples)).unwrap();
        let gz = gz.finish().unwrap();
        std::fs::write(&zipped, &gz).unwrap();
        std::fs::write(&plain, labels(&samples)).unwrap();
        let back: Result<Vec<_>, _> = Samples::open(&zipped, &plain).unwrap().collect();
        assert_eq!(back.unwrap(), samples);

        std::fs::write(&zipped, &gz[..gz.len() - 4]).unwrap();
        let error = Samples::open(&zipped, &plain).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("/a: "), "{error}");
    }
}
