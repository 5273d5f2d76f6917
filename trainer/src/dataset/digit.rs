//! A digit as a sample of a shard: `{key}.png` and `{key}.cls`.
//!
//! Python reads it as it is: `webdataset.WebDataset(url).decode("l8").to_tuple("png", "cls")`.

use bytes::Bytes;
use coffer_client::dataset::index::Meta;
use coffer_client::dataset::pack::files::{CLASS, CLASSES as CLASS_NAMES};
use coffer_client::dataset::{self as packed, Decode};
use serde_json::{Value, json};

use super::picture::{self, PictureError};
use super::{CLASSES, PIXELS, SIDE, Sample};

/// The field that holds the picture.
const PICTURE: &str = "png";
/// The entry of the index's `meta` that holds the side length of the pictures.
const SIDE_LENGTH: &str = "side";

/// Why a sample is no digit.
#[derive(Debug, thiserror::Error)]
pub enum DigitError {
    /// The picture is damaged or not of the right kind.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A label is no digit.
    #[error("its .cls holds {found:?}, wanted a number below {CLASSES}")]
    Label {
        /// What the field holds, cut short.
        found: String,
    },
    /// It lacks its picture or its label.
    #[error("it has no .{0}")]
    Incomplete(&'static str),
}

/// Makes digits of samples. Fields other than the picture and the label are passed over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Digits;

impl Decode for Digits {
    type Item = Sample;

    fn decode(
        &self,
        sample: packed::Sample,
    ) -> Result<Sample, Box<dyn std::error::Error + Send + Sync>> {
        Ok(decode(&sample)?)
    }
}

fn decode(sample: &packed::Sample) -> Result<Sample, DigitError> {
    let field = |name| sample.fields.get(name).ok_or(DigitError::Incomplete(name));
    let (png, cls) = (field(PICTURE)?, field(CLASS)?);
    let label = std::str::from_utf8(cls).ok().and_then(|text| text.trim().parse::<u8>().ok());
    let Some(label) = label.filter(|label| *label < CLASSES) else {
        let found = String::from_utf8_lossy(cls.get(..16).unwrap_or(cls)).into_owned();
        return Err(DigitError::Label { found });
    };
    let mut pixels = Box::new([0; PIXELS]);
    picture::decode_grey(png, SIDE, pixels.as_mut_slice())?;
    Ok(Sample { pixels, label })
}

/// The sample of a shard that holds a digit.
///
/// # Errors
/// If the picture can't be encoded.
pub fn encode(key: String, digit: &Sample) -> Result<packed::Sample, PictureError> {
    let side = u32::try_from(SIDE).unwrap_or(u32::MAX);
    let png = picture::encode_grey(digit.pixels.as_slice(), side, side)?;
    let label = digit.label.to_string();
    let fields = [(PICTURE, Bytes::from(png)), (CLASS, Bytes::from(label))];
    Ok(packed::Sample { key, fields: fields.map(|(name, of)| (name.to_owned(), of)).into() })
}

/// What the index of a dataset of digits says of them.
pub fn meta() -> Meta {
    let names: Vec<String> = (0..CLASSES).map(|digit| digit.to_string()).collect();
    [(SIDE_LENGTH, json!(SIDE)), (CLASS_NAMES, json!(names))]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Tells from its index why a dataset is none of digits, if it isn't.
pub fn unfit(meta: &Meta) -> Option<String> {
    let wanted = self::meta();
    let of = |meta: &Meta, name: &str| meta.get(name).cloned().unwrap_or(Value::Null);
    let differs = |name: &&&str| of(meta, name) != of(&wanted, name);
    let name = [SIDE_LENGTH, CLASS_NAMES].iter().find(differs)?;
    Some(format!("its {name} is {}, wanted {}", of(meta, name), of(&wanted, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::synthetic;
    use proptest::prelude::*;

    #[test]
    fn round_trip() {
        for at in 0..12 {
            let digit = synthetic::draw(1, at);
            let sample = encode(format!("{at:08}"), &digit).unwrap();
            assert_eq!(decode(&sample).unwrap(), digit);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let sample = encode("1".to_owned(), &synthetic::draw(1, 1)).unwrap();
        let without = |name: &str| {
            let mut less = sample.clone();
            less.fields.remove(name);
            decode(&less).unwrap_err().to_string()
        };
        assert!(without("png").contains("no .png") && without("cls").contains("no .cls"));
        for label in ["x", "10", "-1", "", "999999999999999999999"] {
            let mut wrong = sample.clone();
            wrong.fields.insert("cls".to_owned(), label.to_owned().into());
            let error = decode(&wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("{:?}", &label[..label.len().min(16)])), "{error}");
        }
    }

    #[test]
    fn other_datasets_are_told_from_digits() {
        assert_eq!(unfit(&meta()), None);
        let mut larger = meta();
        larger.insert("side".to_owned(), json!(32));
        assert_eq!(unfit(&larger).unwrap(), "its side is 32, wanted 28");
        assert!(unfit(&Meta::new()).unwrap().contains("side is null"));
    }

    proptest! {
        #[test]
        fn damaged_digits_never_panic(at: prop::sample::Index, byte: u8, noise: Vec<u8>) {
            let mut sample = encode("1".to_owned(), &synthetic::draw(1, 1)).unwrap();
            let mut png = sample.fields["png"].to_vec();
            let place = at.index(png.len());
            png[place] = byte;
            for content in [png, noise] {
                sample.fields.insert("png".to_owned(), content.into());
                let _ = decode(&sample);
            }
        }
    }
}
