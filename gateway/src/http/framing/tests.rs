//! The framing against bodies that are cut anywhere, and against bytes that are none.

use super::*;
use proptest::prelude::*;

const SIGNATURE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is passed on of a body that comes in these pieces.
fn pass(chunks: &mut Chunks, pieces: &[&[u8]]) -> Result<Vec<Bytes>, Failure> {
    let mut out = VecDeque::new();
    for piece in pieces {
        chunks.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    chunks.end()?;
    Ok(out.into())
}

fn unsigned(body: &[u8]) -> Result<Vec<Bytes>, Failure> {
    pass(&mut Chunks::new(false, Some(5)), &[body])
}

#[test]
fn what_is_not_as_it_should_be_is_refused() {
    let table: [(&[u8], Result<(), Failure>); 18] = [
        (b"5\r\nhello\r\n0\r\n\r\n", Ok(())),
        (b"2\r\nhe\r\n00003\r\nllo\r\n0\r\na:b\r\n\r\n", Ok(())),
        (b"0\r\n\r\n", Ok(())),
        (b"", Err(SHORT)),
        (b"5\r\nhello\r\n", Err(SHORT)),
        (b"5\r\nhel", Err(SHORT)),
        (b"6\r\nhello!\r\n0\r\n\r\n", Err(LONG)),
        (b"ffffffffffffffff\r\nhello", Err(LONG)),
        (b"10000000000000005\r\nhello", Err(MALFORMED)),
        (b"5x\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
        (b"-5\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
        (b"+5\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
        (b"\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
        (b"5\nhello\n0\n\n", Err(MALFORMED)),
        (b"5\r\nhello0\r\n\r\n", Err(MALFORMED)),
        (b"5\r\nhello\n0\r\n\r\n", Err(MALFORMED)),
        (b"5;chunk-signature=00\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
        (b"5;ext=1\r\nhello\r\n0\r\n\r\n", Err(MALFORMED)),
    ];
    for (body, expected) in table {
        let got = unsigned(body).map(|_| ());
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(body));
    }
    let long = [b"0;".as_slice(), &[b'a'; 300]].concat();
    assert_eq!(unsigned(&long), Err(MALFORMED));
    let trailers = [b"0\r\nx:".as_slice(), &[b'a'; 20_000]].concat();
    assert_eq!(unsigned(&trailers), Err(TRAILERS));
}

#[test]
fn signed_chunks_pass_as_they_are_and_are_not_too_long() {
    let body =
        format!("5;chunk-signature={SIGNATURE}\r\nhello\r\n0;chunk-signature={SIGNATURE}\r\n\r\n");
    let passed = pass(&mut Chunks::new(true, None), &[body.as_bytes()]).unwrap();
    assert_eq!(passed.concat(), body.as_bytes());
    let long = format!("400001;chunk-signature={SIGNATURE}\r\n");
    for signed in [true, false] {
        let refused = pass(&mut Chunks::new(signed, None), &[long.as_bytes()]);
        assert_eq!(refused, Err(LONG_CHUNK));
    }
    let bare = pass(&mut Chunks::new(true, None), &[b"5\r\nhello\r\n0\r\n\r\n"]);
    assert_eq!(bare, Err(MALFORMED));
}

#[test]
fn a_long_chunk_goes_by_in_pieces() {
    let mut chunks = Chunks::new(false, None);
    let mut out = VecDeque::new();
    chunks.feed(Bytes::from_static(b"ffffffff\r\n"), &mut out).unwrap();
    for _ in 0..100 {
        chunks.feed(Bytes::from(vec![1; 1000]), &mut out).unwrap();
        let piece: Vec<Bytes> = out.drain(..).collect();
        assert_eq!((piece[0].as_ref(), piece[1].len()), (b"3e8\r\n".as_slice(), 1000));
    }
}

#[test]
fn framing_is_only_announced_by_requests_that_sign_it() {
    let request = |sha: &str, authorization: &str| {
        let mut request = Request::builder().header("x-amz-content-sha256", sha);
        if !authorization.is_empty() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        guard(request, &Fault::default()).map(|_| ()).err()
    };
    let framed = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    assert_eq!(request(framed, "AWS4-HMAC-SHA256 Credential=x"), None);
    assert_eq!(request(framed, "Bearer x"), Some(UNSIGNED));
    assert_eq!(request(framed, ""), Some(UNSIGNED));
    assert_eq!(request("UNSIGNED-PAYLOAD", ""), None);
}

/// Takes the framing off, as whoever comes next does.
fn decode(mut framed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut data = Vec::new();
    loop {
        let end = framed.windows(2).position(|w| w == b"\r\n").unwrap();
        let (size, _) = parse_line(&framed[..end + 2]).unwrap();
        framed = &framed[end + 2..];
        let size = usize::try_from(size).unwrap();
        if size == 0 {
            return (data, framed.to_vec());
        }
        data.extend_from_slice(&framed[..size]);
        framed = framed[size..].strip_prefix(b"\r\n").unwrap();
    }
}

proptest! {
    #[test]
    fn bytes_and_trailers_survive_wherever_the_body_is_cut(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
        signed: bool,
        cuts in prop::collection::vec(1..40usize, 1..20),
    ) {
        let extension = if signed { format!(";chunk-signature={SIGNATURE}") } else { String::new() };
        let mut body = Vec::new();
        for part in &parts {
            body.extend_from_slice(format!("{:x}{extension}\r\n", part.len()).as_bytes());
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0{extension}\r\nx:y\r\n\r\n").as_bytes());
        let mut rest = body.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let length = parts.concat().len() as u64;
        let passed = pass(&mut Chunks::new(signed, Some(length)), &pieces).unwrap().concat();
        let (data, trailers) = decode(&passed);
        prop_assert_eq!(data, parts.concat());
        prop_assert_eq!(trailers, b"x:y\r\n\r\n");
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_grow(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        signed: bool,
    ) {
        let mut chunks = Chunks::new(signed, None);
        let mut out = VecDeque::new();
        let mut fed = 0;
        for piece in pieces {
            fed += piece.len();
            if chunks.feed(piece.into(), &mut out).is_err() {
                break;
            }
        }
        let passed: usize = out.iter().map(Bytes::len).sum();
        // At most a line and a line break of their own for each piece.
        prop_assert!(passed <= fed + 20 * out.len());
    }
}
