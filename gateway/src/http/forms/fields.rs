//! A form's fields, and the file behind them (RFC 7578).

use super::MALFORMED;
use super::file::FormFile;
use crate::http::failure::Failure;
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use s3s::Body;

/// The most bytes before the file: fields, their heads, and boundaries between them.
const MAX_FIELDS: usize = 64 * 1024;
/// The longest boundary (RFC 2046).
const MAX_BOUNDARY: usize = 70;

const TOO_LONG: Failure = super::bad(
    "MaxPostPreDataLengthExceeded",
    "The fields before the file have more than 65536 bytes.",
);

/// A form, read up to its file. What comes after the file is not read, as in S3.
pub(super) struct Form {
    /// Names in lower case and values, in their order.
    fields: Vec<(String, String)>,
    /// The file's name, without directories.
    pub(super) file_name: String,
    pub(super) file: FormFile,
}

/// The head of a part.
struct PartHead {
    name: String,
    file_name: Option<String>,
}

/// A body with what has been read of it.
pub(super) struct Source {
    pub(super) body: Body,
    pub(super) buffer: BytesMut,
}

impl Source {
    /// Reads on; whether there was more.
    pub(super) async fn more(&mut self) -> Result<bool, s3s::StdError> {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(true)
            }
            Some(Err(error)) => Err(error),
            None => Ok(false),
        }
    }

    /// Takes all before `end` out of the buffer, and `end` too, reading as much as it needs.
    async fn until(&mut self, end: &[u8], budget: &mut usize) -> Result<Bytes, Failure> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.buffer, end, searched) {
                *budget = budget.checked_sub(at + end.len()).ok_or(TOO_LONG)?;
                let found = self.buffer.split_to(at).freeze();
                self.buffer.advance(end.len());
                return Ok(found);
            }
            searched = self.buffer.len().saturating_sub(end.len() - 1);
            if searched > *budget {
                return Err(TOO_LONG);
            }
            if !self.more().await.map_err(|_| MALFORMED)? {
                return Err(MALFORMED);
            }
        }
    }
}

/// Where `what` begins in `bytes`, from `start` on.
pub(super) fn find(bytes: &[u8], what: &[u8], start: usize) -> Option<usize> {
    let first = *what.first()?;
    let mut at = start;
    while let Some(step) = bytes.get(at..)?.iter().position(|b| *b == first) {
        at += step;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
    None
}

impl Form {
    /// Reads a form up to its file.
    pub(super) async fn read(body: Body, boundary: &str) -> Result<Self, Failure> {
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
            return Err(MALFORMED);
        }
        let between = format!("\r\n--{boundary}").into_bytes();
        // The first boundary has no line before it to end.
        let mut source = Source { body, buffer: BytesMut::from(&b"\r\n"[..]) };
        let mut budget = MAX_FIELDS;
        let mut fields = Vec::new();
        source.until(&between, &mut budget).await?;
        loop {
            // A boundary ends its line; the last one has two dashes first, and no file came.
            if !source.until(b"\r\n", &mut budget).await?.iter().all(|b| b" \t".contains(b)) {
                return Err(super::bad(
                    "IncorrectNumberOfFilesInPostRequest",
                    "A POST form must have exactly one file, as its last field.",
                ));
            }
            let head = source.until(b"\r\n\r\n", &mut budget).await?;
            let head = PartHead::parse(&head).ok_or(MALFORMED)?;
            if head.name == "file" {
                let file_name = head.file_name.unwrap_or_default();
                let file = FormFile::new(source, between);
                return Ok(Self { fields, file_name, file });
            }
            let value = source.until(&between, &mut budget).await?;
            let value = String::from_utf8(value.to_vec()).map_err(|_| MALFORMED)?;
            fields.push((head.name, value));
        }
    }

    /// The value of a field. Of several with one name the first counts.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All fields, in their order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl PartHead {
    /// Reads `Content-Disposition: form-data; name="…"; filename="…"`.
    fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let line = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
        })?;
        let (kind, mut rest) = line.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let (mut name, mut file_name) = (None, None);
        while !rest.trim().is_empty() {
            let (parameter, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            match parameter.trim().to_ascii_lowercase().as_str() {
                "name" => name = Some(value.to_ascii_lowercase()),
                // Some browsers send the path on their machine.
                "filename" => file_name = value.rsplit(['/', '\\']).next().map(str::to_owned),
                _ => {}
            }
            rest = after.trim_start().strip_prefix(';').unwrap_or(after);
        }
        Some(Self { name: name?, file_name })
    }
}

/// A value and what comes after it. Quotes are escaped as browsers do it, by `%22`, or by `\"`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in inner.char_indices() {
        match c {
            '"' if !escaped => return Some((value.replace("%22", "\""), &inner[at + 1..])),
            '\\' if !escaped && inner[at + 1..].starts_with('"') => {
                escaped = true;
                continue;
            }
            _ => value.push(c),
        }
        escaped = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// A body that arrives in pieces.
    fn arriving(bytes: &[u8], piece: usize) -> Body {
        let frames: Vec<_> = bytes
            .chunks(piece)
            .map(|c| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(c))))
            .collect();
        Body::http_body_unsync(StreamBody::new(stream::iter(frames)))
    }

    fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, value) in fields {
            let part = format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            text.extend_from_slice(part.as_bytes());
        }
        text.extend_from_slice(
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\f.txt\"\r\n\
              Content-Type: text/plain\r\n\r\n",
        );
        text.extend_from_slice(file);
        text.extend_from_slice(
            b"\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n--b--\r\n",
        );
        text
    }

    async fn read(text: &[u8], piece: usize) -> Result<(Vec<(String, String)>, Vec<u8>), Failure> {
        let form = Form::read(arriving(text, piece), "b").await?;
        let fields = form.fields.clone();
        assert_eq!(form.file_name, "f.txt");
        let body = form.file.into_body(Default::default(), Default::default());
        let file = BodyExt::collect(body).await.map_err(|_| MALFORMED)?;
        Ok((fields, file.to_bytes().to_vec()))
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_however_it_arrives(
            values in prop::collection::vec("[a-z\r\n-]{0,12}", 0..4),
            // Bytes that look like the beginning of a boundary.
            file in prop::collection::vec(prop::sample::select(&b"\r\n-bx"[..]), 0..200),
            piece in 1usize..50,
        ) {
            prop_assume!(!values.iter().any(|v| v.contains("\r\n--b")));
            prop_assume!(find(&file, b"\r\n--b", 0).is_none() && !file.starts_with(b"--b"));
            let fields: Vec<_> = values.iter().map(|v| ("Field", v.as_str())).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (got, bytes) = runtime.block_on(read(&form(&fields, &file), piece)).unwrap();
            let expected: Vec<_> = values.into_iter().map(|v| ("field".to_owned(), v)).collect();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(bytes, file);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, piece in 1usize..9) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let _ = Form::read(arriving(&bytes, piece), "b").await;
                let mut begun = b"--b\r\nContent-Disposition: form-data; ".to_vec();
                begun.extend_from_slice(&bytes);
                let _ = Form::read(arriving(&begun, piece), "b").await;
            });
        }
    }

    #[tokio::test]
    async fn forms_that_are_cut_or_too_long_are_refused() {
        let whole = form(&[("key", "k")], b"abc");
        let end = find(&whole, b"abc\r\n--b", 0).unwrap() + 8;
        for cut in 0..end {
            assert!(read(&whole[..cut], 7).await.is_err(), "cut at {cut}");
        }
        assert!(read(&whole[..end], 7).await.is_ok());
        let long = "x".repeat(MAX_FIELDS);
        assert_eq!(read(&form(&[("key", &long)], b""), 4096).await, Err(TOO_LONG));
        let no_file = b"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b--\r\n";
        let error = read(no_file, 5).await.unwrap_err();
        assert_eq!(error.1, "IncorrectNumberOfFilesInPostRequest");
    }

    #[test]
    fn names_are_taken_out_of_their_quotes() {
        for (head, name, file) in [
            ("Content-Disposition: form-data; name=\"Key\"", "key", None),
            ("content-disposition:form-data;name=key", "key", None),
            (
                "X: y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"b%22;c\"",
                "file",
                Some("a\"b\";c"),
            ),
            ("Content-Disposition: form-data; filename=\"../x\"; name=\"file\"", "file", Some("x")),
        ] {
            let parsed = PartHead::parse(head.as_bytes()).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.file_name.as_deref()), (name, file), "{head}");
        }
        for bad in [
            "",
            "Content-Disposition: attachment; name=\"x\"",
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; name=\"x",
            "Content-Disposition: form-data; x=y",
        ] {
            assert!(PartHead::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
