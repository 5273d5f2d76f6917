//! What is decided and recorded for a request: where shards go, what an object's manifest is, who
//! may ask for it.

use super::report::{Clock, Line, Unit};
use super::turns::{Effort, Rates, Turns};
use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use coffer_core::access::{Grant, Target, Verb};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, NodeId, ObjectKey, TokenId};
use coffer_core::layout::{CHUNK_LEN, ChunkShape};
use coffer_core::manifest::{Checksums, Chunk, Content, Manifest, Part};
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::random::OsRandom;
use coffer_core::seal::{Envelope, Key};
use coffer_gateway::auth::Tokens;
use std::hint::black_box;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const RATE: (Unit, Clock) = (Unit::Operations, Clock::Own);

/// A node of its own failure domain.
fn node(n: u16) -> NodeEntry {
    NodeEntry {
        id: node_id(n),
        name: format!("node-{n}"),
        address: String::new(),
        domain: String::new(),
        weight: 1.0,
        state: NodeState::Active,
    }
}

fn node_id(n: u16) -> NodeId {
    NodeId::from_bytes(u128::from(n).to_be_bytes())
}

pub(super) fn placement(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let code = Code::DEFAULT;
    let blob = BlobId::from_bytes([1; 16]);
    let mut lines = Vec::new();
    for nodes in [6, 60, 600] {
        let map = ClusterMap { version: 1, nodes: (0..nodes).map(node).collect() };
        let placed = map.place(blob, 0, code, code.n(), |_| true)?;
        ensure!(
            placed.iter().collect::<std::collections::BTreeSet<_>>().len() == code.n(),
            "two shards of a chunk are placed on one of {nodes} nodes"
        );
        let (mut chunk, mut number) = (0u32, 0u32);
        let mut turns = Turns::new(effort);
        let place = turns.add(1, || {
            chunk = chunk.wrapping_add(1);
            black_box(map.place(blob, chunk, code, code.n(), |_| true)?);
            Ok(())
        });
        let mut input = [0; 32];
        let hash = turns.add(1, || {
            for _ in 0..nodes {
                number = number.wrapping_add(1);
                input[..4].copy_from_slice(&number.to_le_bytes());
                black_box(blake3::hash(&input));
            }
            Ok(())
        });
        let taken = turns.take()?;
        let part = format!("a chunk placed among {nodes} nodes");
        lines.push(taken.line(part, RATE, place, ("a BLAKE3 of 32 bytes for each", hash)));
    }
    Ok(lines)
}

/// What a cluster of six nodes records of an object of 16 MiB.
fn example() -> anyhow::Result<Manifest> {
    let chunks = 4;
    let chunk = |rotated: u16| -> anyhow::Result<Chunk> {
        Ok(Chunk {
            shape: ChunkShape::new(CHUNK_LEN, Code::DEFAULT)?,
            placed: (0..6).map(|shard| Some((shard + rotated) % 6)).collect(),
            generations: Vec::new(),
        })
    };
    let content = Content::Sharded {
        nodes: (0..6).map(node_id).collect(),
        chunks: (0..chunks).map(chunk).collect::<anyhow::Result<_>>()?,
    };
    let part = Part {
        blob: BlobId::from_bytes([1; 16]),
        wrapped_key: vec![2; Key::LEN + Envelope::OVERHEAD],
        size: u64::from(chunks) * u64::from(CHUNK_LEN),
        md5: [3; 16],
        checksums: Checksums::new(),
        content,
    };
    part.check()?;
    Ok(Manifest { parts: vec![part] })
}

/// As the catalog's store does it, without the store.
pub(super) fn manifest(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let (manifest, context) = (example()?, b"catalog manifests\0an object's version");
    let envelope = Envelope::new(Key::from_bytes([4; 32]));
    let encoded = postcard::to_stdvec(&manifest)?;
    let sealed = envelope.seal(context, &encoded, &OsRandom)?;
    let opened: Manifest = postcard::from_bytes(&envelope.open(context, &sealed)?)?;
    ensure!(opened == manifest, "a manifest is not what it was when it was sealed");

    let failed = "AES-256-GCM by itself failed";
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).ok().context(failed)?;
    let key = LessSafeKey::new(key);
    let mut block = encoded.clone();
    let mut turns = Turns::new(effort);
    let seal = turns.add(1, || {
        let bytes = postcard::to_stdvec(black_box(&manifest))?;
        black_box(envelope.seal(context, &bytes, &OsRandom)?);
        Ok(())
    });
    let open = turns.add(1, || {
        let bytes = envelope.open(context, black_box(&sealed))?;
        black_box(postcard::from_bytes::<Manifest>(&bytes)?);
        Ok(())
    });
    let encode = turns.add(1, || {
        black_box(postcard::to_stdvec(black_box(&manifest))?);
        Ok(())
    });
    let decode = turns.add(1, || {
        black_box(postcard::from_bytes::<Manifest>(black_box(&encoded))?);
        Ok(())
    });
    let gcm = turns.add(1, || {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(context), black_box(&mut block));
        drop(black_box(tag.ok().context(failed)?));
        Ok(())
    });
    let taken = turns.take()?;
    let line = |part, ours, bare| {
        let both = [bare, gcm].map(|work| taken.rates(work, Clock::Own));
        let limit = Rates::harmonic(&both);
        let name = "postcard and AES-256-GCM, one key for all";
        taken.rates(ours, Clock::Own).beside(part, RATE, (name, &limit))
    };
    Ok(vec![
        line("manifest of 16 MiB encoded, sealed", seal, encode),
        line("manifest of 16 MiB opened, decoded", open, decode),
    ])
}

pub(super) fn token(effort: Effort) -> anyhow::Result<Vec<Line>> {
    // More than are remembered, so that none of them is known when its turn comes again.
    const TOKENS: u16 = 1025;
    let tokens = Tokens::from_hex(&Tokens::new_key()).map_err(anyhow::Error::msg)?;
    let (bucket, key) = (BucketName::new("datasets")?, ObjectKey::new("mnist/train-0001.tar")?);
    let now = SystemTime::now();
    let expires = (now + Duration::from_secs(86_400)).duration_since(UNIX_EPOCH)?.as_secs();
    let grant = Grant {
        verbs: vec![Verb::Read, Verb::List],
        bucket: Some(bucket.clone()),
        prefix: Some("mnist/".into()),
        owned: false,
    };
    let issue = |n: u16| {
        let id = TokenId::from_bytes(u128::from(n).to_be_bytes());
        tokens.issue(id, "trainer", std::slice::from_ref(&grant), expires)
    };
    let many: Vec<String> = (0..TOKENS).map(issue).collect::<Result<_, _>>()?;
    let identity = tokens.verify(&many[0], now)?;
    let target = Target::Object(&bucket, &key);
    ensure!(identity.may(Verb::Read, target, None), "a token does not allow what it grants");
    ensure!(!identity.may(Verb::Write, target, None), "a token allows what it does not grant");

    // Another issuer, so that what is known to it is not pushed out.
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).ok().context("no Ed25519 key")?;
    let message = many[0].as_bytes();
    let signature = pair.sign(message);
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    let mut turn = many.iter().cycle();
    let mut turns = Turns::new(effort);
    let first = turns.add(1, || {
        let token = turn.next().context("no tokens")?;
        black_box(tokens.verify(black_box(token), now)?);
        Ok(())
    });
    let one_signature = turns.add(1, || {
        let verified = public.verify(black_box(message), signature.as_ref());
        verified.ok().context("a signature does not verify")
    });
    let taken = turns.take()?;
    let mut lines = vec![taken.line(
        "token seen for the first time",
        RATE,
        first,
        ("one Ed25519 verification", one_signature),
    )];

    let identity = tokens.verify(&many[0], now)?;
    let mut turns = Turns::new(effort);
    let known = turns.add(1, || {
        black_box(tokens.verify(black_box(&many[0]), now)?);
        Ok(())
    });
    let hash = turns.add(1, || {
        black_box(blake3::hash(black_box(message)));
        Ok(())
    });
    let checks = turns.add(1, || {
        ensure!(identity.may(Verb::Read, black_box(target), None), "a token has changed its mind");
        Ok(())
    });
    let taken = turns.take()?;
    lines.push(taken.line("token seen before", RATE, known, ("BLAKE3 of the token", hash)));
    lines.push(taken.line("a token's checks of a request", RATE, checks, ("BLAKE3 of it", hash)));
    Ok(lines)
}
