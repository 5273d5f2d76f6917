//! Comparing tensors tells what comparing all their bytes would, and reads no chunk that both have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coffer_client::checkpoint::compare::{TensorChange, tensor};
use coffer_client::checkpoint::tensors::greatest_difference;
use coffer_client::checkpoint::{CHUNK, Checkpoints, Cut, Entry, Manifest, Selector};
use coffer_client::place::Place;
use futures::FutureExt;
use object_store::memory::InMemory;
use proptest::prelude::*;
use safetensors::Dtype;

use crate::hooked::{Fate, Hook, Hooked, Request};
use crate::support::{snapshot, tensors};

const PART: &str = "model.safetensors";

/// Elements of the tensors: they share chunks with each other, and one has chunks of its own.
const ELEMENTS: [(&str, usize); 4] = [("a", 100), ("b", 2_300_000), ("c", 700_000), ("d", 1)];

/// A file of these tensors, in which some elements are other ones; `name` is that of one more tensor,
/// so that the others are shifted by its length.
fn file(changed: &BTreeSet<(usize, usize)>, name: &str) -> Bytes {
    let contents = ELEMENTS.iter().enumerate().map(|(which, (_, count))| {
        let mut content = vec![0_u8; count * 4];
        for (at, bytes) in content.chunks_exact_mut(4).enumerate() {
            let value = f32::from(u16::try_from(at % 1000).unwrap());
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        for (_, at) in changed.range((which, 0)..(which + 1, 0)) {
            let at = at % count;
            content[at * 4..at * 4 + 4].copy_from_slice(&(at as f32 + 0.25).to_le_bytes());
        }
        content
    });
    let shapes: Vec<[usize; 1]> = ELEMENTS.iter().map(|(_, count)| [*count]).collect();
    let mut all: Vec<(&str, Dtype, &[usize], Vec<u8>)> = contents
        .zip(&ELEMENTS)
        .zip(&shapes)
        .map(|((content, (name, _)), shape)| (*name, Dtype::F32, &shape[..], content))
        .collect();
    all.push((name, Dtype::F32, &[0], Vec::new()));
    tensors(&all)
}

/// Saves the two files, and tells which chunks are read when their tensors are compared.
async fn compared(
    files: [Bytes; 2],
    how_much: bool,
) -> (Vec<(String, TensorChange)>, Vec<String>, [Manifest; 2]) {
    let inner = Arc::new(InMemory::new());
    let read: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&read);
    let hook: Hook = Arc::new(move |request, name, _| {
        if request == Request::Get {
            log.lock().unwrap().push(name.to_owned());
        }
        async { Ok(Fate::Answered) }.boxed()
    });
    let place = Place::new(Arc::new(Hooked::new(inner, hook)), "memory://run");
    let checkpoints = Checkpoints::open(&place);
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    for (step, file) in (1..).zip(files) {
        let mut snapshot = snapshot(step);
        snapshot.parts = [(PART.to_owned(), file)].into();
        saver.save(&Cut::of(snapshot), &|_| ()).await.unwrap();
    }
    let entries: [Entry; 2] = [
        checkpoints.find(Selector::Step(1)).await.unwrap(),
        checkpoints.find(Selector::Step(2)).await.unwrap(),
    ];
    let manifests = [
        checkpoints.manifest(&entries[0]).await.unwrap(),
        checkpoints.manifest(&entries[1]).await.unwrap(),
    ];
    let [mut a, mut b] =
        [0, 1].map(|side| checkpoints.reader(&manifests[side].parts[PART]).unwrap());
    let (in_a, in_b) = (a.tensors().await.unwrap(), b.tensors().await.unwrap());
    read.lock().unwrap().clear();
    let mut changes = Vec::new();
    for one in &in_a.tensors {
        let other = in_b.tensors.iter().find(|other| other.name == one.name);
        if let Some(other) = other {
            let change = tensor([&mut a, &mut b], one, other, how_much).await.unwrap();
            changes.push((one.name.clone(), change));
        }
    }
    let read = read.lock().unwrap().clone();
    (changes, read, manifests)
}

/// What is found by looking at all bytes.
fn by_hand(files: &[Bytes; 2], how_much: bool) -> Vec<(String, TensorChange)> {
    let [a, b] =
        [0, 1].map(|side: usize| safetensors::SafeTensors::deserialize(&files[side]).unwrap());
    let compare = |name: &str| {
        let (x, y) = (a.tensor(name).unwrap(), b.tensor(name).unwrap());
        let change = match (x.data() == y.data(), how_much) {
            (true, _) => TensorChange::Same,
            (false, false) => TensorChange::Changed(None),
            (false, true) => {
                TensorChange::Changed(greatest_difference(Dtype::F32, x.data(), y.data()))
            }
        };
        (name.to_owned(), change)
    };
    ["a", "b", "c", "d"].map(compare).into()
}

proptest! {
    // Each case hashes and compares twenty-four megabytes.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn it_is_as_if_all_bytes_were_compared(
        changed in prop::collection::btree_set((0..4_usize, 0..2_300_000_usize), 0..3),
        shifted: bool,
        how_much: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // A longer name makes a longer header: then nothing is cut at the same places.
        let name = if shifted { "a name that makes the header longer" } else { "e" };
        let files = [file(&BTreeSet::new(), "e"), file(&changed, name)];
        let (mut changes, read, manifests) =
            runtime.block_on(compared(files.clone(), how_much));
        changes.retain(|(name, _)| name != "e");
        changes.sort_by(|one, other| one.0.cmp(&other.0));
        prop_assert_eq!(changes, by_hand(&files, how_much));
        if !shifted {
            let hashes = |side: usize| -> BTreeSet<String> {
                let chunks = manifests[side].parts[PART].chunks.iter();
                chunks.map(|chunk| chunk.blake3.to_string()).collect()
            };
            let both: BTreeSet<_> = hashes(0).intersection(&hashes(1)).cloned().collect();
            let needless = read.iter().find(|name| both.iter().any(|hash| name.ends_with(hash)));
            prop_assert_eq!(needless, None);
        }
    }
}

#[tokio::test]
async fn a_chunk_of_its_own_tells_without_reading_that_a_tensor_differs() {
    let files = [file(&BTreeSet::new(), "e"), file(&[(1, 1_500_000)].into(), "e")];
    // Element 1,500,000 is in the second chunk, which lies all within the tensor.
    const { assert!(6_000_000 > CHUNK && 6_000_400 < 2 * CHUNK) };
    let (changes, read, _) = compared(files.clone(), false).await;
    assert_eq!(
        changes.iter().find(|(name, _)| name == "b").unwrap().1,
        TensorChange::Changed(None)
    );
    assert_eq!(read, Vec::<String>::new());
    let (_, read, _) = compared(files, true).await;
    assert_eq!(read.len(), 2, "{read:?}");
}
