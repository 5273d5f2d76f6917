//! What is in a safetensors file, told from its header alone.
//!
//! Such a file is the length of the header (8 bytes, little-endian), the header (JSON: name, dtype,
//! shape and place of each tensor), and the tensors' bytes without a gap
//! (<https://huggingface.co/docs/safetensors>). The `safetensors` crate judges the header; what is
//! here does so without having the tensors.

use std::collections::BTreeMap;
use std::ops::Range;

pub use safetensors::Dtype;
use safetensors::tensor::Metadata;

/// How the names of such files end.
pub const EXTENSION: &str = ".safetensors";
/// Bytes before the header.
pub const LENGTH_BYTES: u64 = 8;
/// The longest header: that of the format's own implementations.
const HEADER_LIMIT: u64 = 100_000_000;

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Elements in each dimension; none for a scalar.
    pub shape: Vec<usize>,
    /// Where in the file its bytes are.
    pub place: Range<u64>,
}

/// A file's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What its writer added, by name.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the order of their bytes.
    pub tensors: Vec<Tensor>,
}

/// Why a file is no safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// There is less than a header.
    #[error("a file of {0} bytes is too short for safetensors")]
    Short(u64),
    /// The header would be longer than the file, or than any header.
    #[error("a header of {header} bytes in a file of {file} bytes can't be right")]
    Length {
        /// Bytes that the header is said to have.
        header: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// The header isn't what it must be.
    #[error("the header isn't safetensors': {0}")]
    Json(#[from] serde_json::Error),
    /// The tensors don't fill the file.
    #[error("the tensors end at byte {end} of {file}")]
    Extent {
        /// Where the last one ends.
        end: u64,
        /// Bytes of the file.
        file: u64,
    },
}

/// Where the header of a file of `file_bytes` is, if it begins with `length`.
///
/// # Errors
/// If there can't be a header of this length.
pub fn header_place(length: [u8; 8], file_bytes: u64) -> Result<Range<u64>, HeaderError> {
    let room = file_bytes.checked_sub(LENGTH_BYTES).ok_or(HeaderError::Short(file_bytes))?;
    let header = u64::from_le_bytes(length);
    if header > room.min(HEADER_LIMIT) {
        return Err(HeaderError::Length { header, file: file_bytes });
    }
    Ok(LENGTH_BYTES..LENGTH_BYTES + header)
}

impl Header {
    /// Reads the header `json` of a file of `file_bytes`.
    ///
    /// # Errors
    /// If it is no header, or not that of a file of this length: the tensors must follow each other
    /// without a gap and end with it.
    pub fn parse(json: &[u8], file_bytes: u64) -> Result<Self, HeaderError> {
        let parsed: Metadata = serde_json::from_slice(json)?;
        let start = LENGTH_BYTES.saturating_add(length(json.len()));
        let end = start.saturating_add(length(parsed.data_len()));
        if end != file_bytes {
            return Err(HeaderError::Extent { end, file: file_bytes });
        }
        let tensors = parsed.offset_keys().into_iter().filter_map(|name| {
            let info = parsed.info(&name)?;
            let (from, to) = (length(info.data_offsets.0), length(info.data_offsets.1));
            let place = start + from..start + to;
            Some(Tensor { dtype: info.dtype, shape: info.shape.clone(), place, name })
        });
        let metadata = parsed.metadata().iter().flatten();
        let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { metadata, tensors: tensors.collect() })
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The greatest difference between elements at the same place of two tensors of `dtype`, if their
/// bytes are floating-point numbers that this knows to read.
///
/// Elements with the same bits don't differ; else, what isn't a number differs by infinity from
/// anything. Of byte strings of unequal length the rest isn't looked at.
pub fn greatest_difference(dtype: Dtype, a: &[u8], b: &[u8]) -> Option<f64> {
    match dtype {
        Dtype::F64 => Some(greatest(a, b, f64::from_le_bytes)),
        Dtype::F32 => Some(greatest(a, b, |bytes| f32::from_le_bytes(bytes).into())),
        Dtype::F16 => Some(greatest(a, b, |bytes| half(u16::from_le_bytes(bytes)))),
        Dtype::BF16 => Some(greatest(a, b, |[low, high]: [u8; 2]| {
            // The upper half of a 32-bit float.
            f32::from_le_bytes([0, 0, low, high]).into()
        })),
        _ => None,
    }
}

fn greatest<const N: usize>(a: &[u8], b: &[u8], number: impl Fn([u8; N]) -> f64) -> f64 {
    let pairs = a.as_chunks::<N>().0.iter().zip(b.as_chunks::<N>().0);
    pairs
        .filter(|(x, y)| x != y)
        .map(|(x, y)| (number(*x) - number(*y)).abs())
        .map(|difference| if difference.is_nan() { f64::INFINITY } else { difference })
        .fold(0.0, f64::max)
}

/// The value of an IEEE 754 half: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
    use std::collections::HashMap;

    const DTYPES: [Dtype; 6] =
        [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::I64, Dtype::U8];

    /// A file's tensors: name, dtype, shape.
    fn described() -> impl Strategy<Value = BTreeMap<String, (Dtype, Vec<usize>)>> {
        let shape = prop::collection::vec(0..5_usize, 0..4);
        prop::collection::btree_map(".{1,8}", (prop::sample::select(&DTYPES), shape), 0..6)
    }

    /// The file that the format's own implementation makes of them, filled with counting bytes.
    fn file(
        tensors: &BTreeMap<String, (Dtype, Vec<usize>)>,
        metadata: Option<HashMap<String, String>>,
    ) -> Vec<u8> {
        let length = |(dtype, shape): &(Dtype, Vec<usize>)| {
            shape.iter().product::<usize>() * dtype.bitsize() / 8
        };
        let data: Vec<Vec<u8>> = tensors
            .values()
            .enumerate()
            .map(|(at, tensor)| (0..length(tensor)).map(|byte| (at * 50 + byte) as u8).collect())
            .collect();
        let views = tensors.iter().zip(&data).map(|((name, (dtype, shape)), data)| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize(views, metadata).unwrap()
    }

    fn read(file: &[u8]) -> Result<Header, HeaderError> {
        let bytes = file.len() as u64;
        let length = file.first_chunk().ok_or(HeaderError::Short(bytes))?;
        let place = header_place(*length, bytes)?;
        Header::parse(&file[place.start as usize..place.end as usize], bytes)
    }

    proptest! {
        #[test]
        fn it_tells_what_the_whole_file_would(tensors in described(), note in ".{0,5}") {
            let metadata = HashMap::from([("note".to_owned(), note.clone())]);
            let file = file(&tensors, Some(metadata));
            let header = read(&file).unwrap();
            prop_assert_eq!(&header.metadata, &BTreeMap::from([("note".to_owned(), note)]));
            prop_assert_eq!(header.tensors.len(), tensors.len());
            let whole = safetensors::SafeTensors::deserialize(&file).unwrap();
            for tensor in &header.tensors {
                let view = whole.tensor(&tensor.name).unwrap();
                prop_assert_eq!(view.dtype(), tensor.dtype);
                prop_assert_eq!(view.shape(), &tensor.shape);
                let bytes = &file[tensor.place.start as usize..tensor.place.end as usize];
                prop_assert_eq!(view.data(), bytes);
            }
            prop_assert!(header.tensors.is_sorted_by_key(|tensor| tensor.place.start));
        }

        #[test]
        fn a_file_that_is_cut_or_longer_is_refused(
            tensors in described(), cut: prop::sample::Index, more in 1..9_usize,
        ) {
            let mut file = file(&tensors, None);
            prop_assert!(read(&file[..cut.index(file.len())]).is_err());
            file.resize(file.len() + more, 0);
            let longer = matches!(read(&file), Err(HeaderError::Extent { .. }));
            prop_assert!(longer);
        }

        #[test]
        fn flipped_and_arbitrary_bytes_never_panic(
            tensors in described(), flips: Vec<(prop::sample::Index, u8)>, noise: Vec<u8>,
            length: u64, bytes: u64,
        ) {
            let mut file = file(&tensors, None);
            for (at, bits) in flips {
                let at = at.index(file.len());
                file[at] ^= bits;
            }
            // Whatever it tells lies within the file.
            if let Ok(header) = read(&file) {
                let end = file.len() as u64;
                prop_assert!(header.tensors.iter().all(|tensor| tensor.place.end <= end));
            }
            let _ = read(&noise);
            let _ = Header::parse(&noise, bytes);
            if let Ok(place) = header_place(length.to_le_bytes(), bytes) {
                prop_assert!(place.end <= bytes);
            }
        }

        #[test]
        fn differences_are_those_of_the_numbers(pairs: Vec<(f32, f32)>) {
            let expected = pairs.iter().filter(|(a, b)| a.to_bits() != b.to_bits()).fold(
                0.0,
                |most, (a, b)| {
                    let difference = (f64::from(*a) - f64::from(*b)).abs();
                    f64::max(most, if difference.is_nan() { f64::INFINITY } else { difference })
                },
            );
            let bytes = |of: fn(&(f32, f32)) -> f32| -> Vec<u8> {
                pairs.iter().flat_map(|pair| of(pair).to_le_bytes()).collect()
            };
            let (a, b) = (bytes(|pair| pair.0), bytes(|pair| pair.1));
            prop_assert_eq!(greatest_difference(Dtype::F32, &a, &b), Some(expected));
        }
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#,
            r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            r#"{"w":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#,
            r#"{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
            r#"{"w":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}"#,
        ] {
            let error = Header::parse(json.as_bytes(), 8 + json.len() as u64 + 4).unwrap_err();
            assert!(matches!(error, HeaderError::Json(_)), "{json}: {error}");
        }
        assert!(matches!(header_place([0; 8], 7), Err(HeaderError::Short(7))));
        assert!(header_place(8_u64.to_le_bytes(), 15).is_err());
        assert!(header_place((HEADER_LIMIT + 1).to_le_bytes(), u64::MAX).is_err());
    }

    #[test]
    fn halves_and_brain_floats_are_read() {
        // Bits and values from the tables of IEEE 754 binary16 and of bfloat16.
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2_f64.powi(-24)),
            (0x0400, 2_f64.powi(-14)),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7c01).is_nan());
        let pair =
            |a: u16, b: u16, dtype| greatest_difference(dtype, &a.to_le_bytes(), &b.to_le_bytes());
        assert_eq!(pair(0x3f80, 0xc000, Dtype::BF16), Some(3.0));
        assert_eq!(pair(0x3c00, 0xc000, Dtype::F16), Some(3.0));
        assert_eq!(pair(0x7c01, 0x3c00, Dtype::F16), Some(f64::INFINITY));
        assert_eq!(pair(0x7c01, 0x7c01, Dtype::F16), Some(0.0));
        assert_eq!(pair(1, 2, Dtype::I16), None);
    }
}
