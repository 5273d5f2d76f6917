//! Trainers, pruners and somebody who pins work on one run at the same time. A script decides which
//! request of whom is served next, whose answer gets lost, and who is killed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use coffer_client::Digest;
use coffer_client::checkpoint::{
    CheckpointError, CheckpointId, Checkpoints, Entry, Manifest, Root, SaveId,
};
use coffer_client::place::Place;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};
use proptest::prelude::*;
use tokio::sync::oneshot;

use crate::hooked::{Fate, Hook, Hooked};
use crate::support::{small, stored};

/// Requests that wait to be served, and whose they are.
type Gate = Arc<Mutex<Vec<(usize, oneshot::Sender<Fate>)>>>;

fn place(inner: &Arc<InMemory>, gate: &Gate, actor: usize) -> Place {
    let gate = Arc::clone(gate);
    let hook: Hook = Arc::new(move |_, _, _| {
        let (release, released) = oneshot::channel();
        gate.lock().unwrap().push((actor, release));
        let fate = |_| Error::Generic { store: "gate", source: "closed".into() };
        released.map(move |released| released.map_err(fate)).boxed()
    });
    Place::new(Arc::new(Hooked::new(Arc::clone(inner), hook)), "memory://run")
}

/// What is known from outside.
#[derive(Default)]
struct Witness {
    /// The latest as it was last seen.
    latest: Option<Entry>,
    /// All that were the latest at some time.
    ever: BTreeSet<SaveId>,
    /// Those whose trainers were told that they're safe.
    told: Vec<SaveId>,
    /// Those whose pins were acknowledged.
    pinned: BTreeSet<CheckpointId>,
}

type Shared = Arc<Mutex<Witness>>;

async fn trainer(place: Place, witness: Shared) {
    for _ in 0..2 {
        let (mut saver, found) = Checkpoints::open(&place).resume().await.unwrap();
        assert!(found.iter().all(|found| found.loaded.parts.len() == 2));
        let from = found.map_or(0, |found| found.loaded.entry.id.0);
        for step in from + 1..from + 4 {
            match saver.save(&small(step), &|_| ()).await {
                Ok(saved) => witness.lock().unwrap().told.push(saved.entry.save),
                Err(CheckpointError::Raced { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn pruner(place: Place, every: u64) {
    let checkpoints = Checkpoints::open(&place);
    for _ in 0..3 {
        let choice = |root: &Root| {
            let goes = |id: &CheckpointId| id.0.is_multiple_of(every);
            root.checkpoints().iter().map(|entry| entry.id).filter(goes).collect()
        };
        match checkpoints.prune(&choice, Duration::ZERO).await {
            Ok(_) | Err(CheckpointError::NoRun(_)) => (),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn pinner(place: Place, witness: Shared) {
    let checkpoints = Checkpoints::open(&place);
    for _ in 0..2 {
        let Some(root) = checkpoints.root().await.unwrap() else { continue };
        match checkpoints.pin(root.checkpoints()[0].id, true).await {
            Ok(entry) => drop(witness.lock().unwrap().pinned.insert(entry.id)),
            Err(CheckpointError::Missing { .. }) => (),
            Err(error) => panic!("{error}"),
        }
    }
}

fn get(inner: &InMemory, name: &str) -> Option<Vec<u8>> {
    let got = inner.get(&Path::from(format!("checkpoints/{name}"))).now_or_never().unwrap();
    Some(got.ok()?.bytes().now_or_never().unwrap().unwrap().to_vec())
}

/// Everything that is listed is whole; the latest only ever moves to one that follows it.
fn check(inner: &InMemory, witness: &mut Witness) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let Some(root) = get(inner, "index.json") else {
        assert!(witness.latest.is_none(), "the root is gone");
        return needed;
    };
    needed.insert("checkpoints/index.json".to_owned());
    let root: Root = serde_json::from_slice(&root).unwrap();
    let mut manifests = Vec::new();
    for entry in root.checkpoints() {
        let name = format!("saves/{}/manifest.json", entry.save);
        let content = get(inner, &name).unwrap_or_else(|| panic!("{name} is gone"));
        assert_eq!(Digest::of(&content), entry.manifest);
        let manifest: Manifest = serde_json::from_slice(&content).unwrap();
        needed.insert(format!("checkpoints/{name}"));
        for chunk in manifest.parts.values().flat_map(|part| &part.chunks) {
            let name = format!("saves/{}/{}", chunk.save, chunk.blake3);
            let content = get(inner, &name).unwrap_or_else(|| panic!("{name} is gone"));
            assert_eq!(Digest::of(&content), chunk.blake3);
            needed.insert(format!("checkpoints/{name}"));
        }
        manifests.push(manifest);
    }
    let latest = root.latest();
    if witness.latest.as_ref().is_none_or(|before| before.save != latest.save) {
        let at = root.checkpoints().iter().position(|entry| entry.id == latest.id).unwrap();
        let parent = manifests[at].lineage.parent.map(|of| (of.checkpoint, of.manifest));
        match &witness.latest {
            Some(before) => assert_eq!(parent, Some((before.id, before.manifest))),
            // The first may have lacked nothing but the root, and been taken for one that lost it.
            None => {
                let first = parent.map(|(id, _)| root.get(id).expect("what it follows is listed"));
                witness.ever.extend(first.map(|first| first.save));
            }
        }
        witness.ever.insert(latest.save);
        witness.latest = Some(latest.clone());
    }
    for id in &witness.pinned {
        assert!(root.get(*id).is_some_and(|entry| entry.pinned), "{id} was pinned");
    }
    assert!(witness.told.iter().all(|save| witness.ever.contains(save)));
    needed
}

/// What happens next.
#[derive(Debug, Clone)]
struct Turn {
    /// Which of the requests that wait.
    choice: usize,
    event: Event,
}

#[derive(Debug, Clone)]
enum Event {
    Serve,
    LoseAnswer,
    Kill,
}

fn turn() -> impl Strategy<Value = Turn> {
    let event =
        prop_oneof![20 => Just(Event::Serve), 2 => Just(Event::LoseAnswer), 1 => Just(Event::Kill)];
    (any::<usize>(), event).prop_map(|(choice, event)| Turn { choice, event })
}

fn play(script: Vec<Turn>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let (inner, gate, witness) = (Arc::new(InMemory::new()), Gate::default(), Shared::default());
    let actor = |number: usize| -> BoxFuture<'static, ()> {
        let (place, witness) = (place(&inner, &gate, number), Arc::clone(&witness));
        match number {
            0 | 1 => trainer(place, witness).boxed(),
            2 => pruner(place, 1).boxed(),
            3 => pruner(place, 2).boxed(),
            _ => pinner(place, witness).boxed(),
        }
    };
    let mut actors: Vec<_> = (0..5).map(|number| Some(actor(number))).collect();
    let mut script = script.into_iter();
    loop {
        for slot in &mut actors {
            let context = &mut Context::from_waker(Waker::noop());
            if slot.as_mut().is_some_and(|actor| actor.as_mut().poll(context).is_ready()) {
                *slot = None;
            }
        }
        let needed = check(&inner, &mut witness.lock().unwrap());
        let waiting = gate.lock().unwrap().len();
        if waiting == 0 {
            assert!(actors.iter().all(Option::is_none), "somebody waits for nothing");
            settle(&inner, needed);
            return;
        }
        // When the script is over, all go on in turn to their ends.
        let Turn { choice, event } =
            script.next().unwrap_or(Turn { choice: 0, event: Event::Serve });
        let (number, release) = gate.lock().unwrap().remove(choice % waiting);
        match event {
            Event::Serve => drop(release.send(Fate::Answered)),
            Event::LoseAnswer => drop(release.send(Fate::AnswerLost)),
            Event::Kill => {
                actors[number] = Some(actor(number));
                gate.lock().unwrap().retain(|(whose, _)| *whose != number);
            }
        }
    }
}

/// One more prune leaves nothing but what is needed.
fn settle(inner: &Arc<InMemory>, needed: BTreeSet<String>) {
    let place = Place::new(Arc::clone(inner) as Arc<_>, "memory://run");
    let pruned =
        Checkpoints::open(&place).prune(&|_| BTreeSet::new(), Duration::ZERO).now_or_never();
    assert!(needed.is_empty() || pruned.unwrap().unwrap().removed.is_empty());
    if !needed.is_empty() {
        let left = stored(inner.as_ref()).now_or_never().unwrap();
        assert_eq!(left.into_keys().collect::<BTreeSet<_>>(), needed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_they_interleave_nothing_that_is_listed_is_torn(
        script in prop::collection::vec(turn(), 0..400),
    ) {
        play(script);
    }
}

/// Two trainers on one run: one goes on, the other is told.
#[tokio::test]
async fn of_two_trainers_one_is_told() {
    let (_, place) = crate::support::memory();
    let checkpoints = Checkpoints::open(&place);
    crate::support::save(&checkpoints, [1]).await;
    let (mut one, _) = checkpoints.resume().await.unwrap();
    let (mut other, _) = checkpoints.resume().await.unwrap();
    one.save(&small(2), &|_| ()).await.unwrap();
    let error = other.save(&small(2), &|_| ()).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Raced { .. }), "{error}");
    assert!(error.to_string().contains("it is at step-00000002 now"), "{error}");
    one.save(&small(3), &|_| ()).await.unwrap();
}

/// The answer to the root's write gets lost, and the client's second try meets its own result.
#[tokio::test]
async fn a_lost_answer_is_no_race() {
    let lose: Hook = Arc::new(|_, _, _| async { Ok(Fate::AnswerLost) }.boxed());
    let inner = Arc::new(InMemory::new());
    let place = Place::new(Arc::new(Hooked::new(inner, lose)), "memory://run");
    let checkpoints = Checkpoints::open(&place);
    crate::support::save(&checkpoints, 1..4).await;
    checkpoints.pin(CheckpointId(1), true).await.unwrap();
    let gone = checkpoints.prune(&|_| [CheckpointId(2)].into(), Duration::ZERO).await.unwrap();
    let ids: Vec<u64> = gone.removed.iter().map(|entry| entry.id.0).collect();
    let root = checkpoints.root().await.unwrap().unwrap();
    assert_eq!(root.checkpoints().iter().map(|entry| entry.id.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(ids, [2]);
}
