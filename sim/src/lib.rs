//! A deterministic simulator of the cluster, in the manner of FoundationDB's and TigerBeetle's.
//!
//! One seed is one run: nodes, gateways and clients, messages and disks, faults and time all follow
//! from it, on one thread, without a clock. What decides is the real code of `coffer-core`: the
//! catalog's state machine, placement, sealing, erasure coding, manifests, the planner of repairs and
//! the judge of leftovers. What acts, in the gateway, is written again as small tasks that follow the
//! same protocols ([`actors`]).
//!
//! | module | what |
//! |---|---|
//! | [`executor`] | events, time, tasks |
//! | [`world`] | who there is, and the network between them |
//! | [`node`], [`kv`] | disks that crash, lie, rot and fill up |
//! | [`log`] | the replicated log: one order, and proposals that go wrong |
//! | [`actors`] | what gateways and clients do |
//! | [`faults`] | what goes wrong, within what must be survived |
//! | [`oracle`], [`check`] | what must hold |
//! | [`mutation`] | bugs that are planted to see them found |
//! | [`trace`] | what happened |

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod actors;
pub mod check;
pub mod executor;
pub mod faults;
pub mod kv;
pub mod log;
pub mod mutation;
pub mod node;
pub mod oracle;
pub mod rng;
pub mod trace;
pub mod world;

pub use mutation::Mutation;
pub use trace::{Invariant, Violation};
pub use world::Options;

use crate::executor::{Ctx, Executor, GatewayIx, Shared};
use crate::trace::Counts;
use crate::world::{MS, SECOND, World};
use coffer_core::catalog::Command;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::manifest::Manifest;
use coffer_core::placement::ClusterMap;
use std::cell::RefCell;
use std::rc::Rc;

/// Clients of each gateway.
const CLIENTS: usize = 2;
/// How long the cluster may take to become whole once faults have ceased, in rounds of a second.
const ROUNDS: u64 = 90;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The hash of all that happened: the same seed gives the same.
    pub hash: u64,
    /// Events that were traced.
    pub steps: u64,
    /// How often things happened.
    pub counts: Counts,
}

/// Runs a seed.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, options: Options) -> Result<Summary, Box<Violation>> {
    let world: Shared = Rc::new(RefCell::new(World::new(seed, options)));
    let mut executor = Executor::default();
    begin(&world, &mut executor);
    let end = world.borrow_mut().rng.range(12 * SECOND, 30 * SECOND);
    while go_on(&world, &mut executor, None) && world.borrow().agenda.now() < end {
        faults::strike(&mut world.borrow_mut());
        check::durable(&mut world.borrow_mut());
        restart_gateways(&world, 250);
    }
    if world.borrow().violation.is_none() {
        settle(&world, &mut executor);
    }
    executor.end(&world);
    let mut world = world.borrow_mut();
    match world.violation.take() {
        Some(violation) => Err(Box::new(violation)),
        None => Ok(Summary {
            hash: world.trace.hash(),
            steps: world.trace.steps(),
            counts: world.trace.counts().clone(),
        }),
    }
}

/// Lets time pass. `false`: a promise was broken.
fn go_on(world: &Shared, executor: &mut Executor, slice: Option<u64>) -> bool {
    let until = {
        let mut world = world.borrow_mut();
        let slice = slice.unwrap_or_else(|| world.rng.range(MS, 300 * MS));
        world.agenda.now() + slice
    };
    executor.run(world, until);
    world.borrow().violation.is_none()
}

fn begin(world: &Shared, executor: &mut Executor) {
    {
        let w = &mut *world.borrow_mut();
        w.log.leader = Some(0);
        w.gateways[0].acts_as_leader = true;
        w.faults = false;
        let nodes = w.nodes.values().map(|n| faults::entry(n, w.racks)).collect();
        let map = ClusterMap { version: 1, nodes };
        w.propose(0, Command::ChangeCluster { expected: 0, map }, Box::new(|_, _| {}));
        for (n, command) in (1..).zip(actors::client::make_buckets(w.code)) {
            w.agenda.after(n * 100 * MS, move |w| w.propose(0, command, Box::new(|_, _| {})));
        }
    }
    go_on(world, executor, Some(SECOND));
    world.borrow_mut().faults = true;
    let gateways = world.borrow().gateways.len();
    for gateway in 0..gateways {
        start_gateway(world, gateway);
    }
}

fn start_gateway(world: &Shared, gateway: GatewayIx) {
    for _ in 0..CLIENTS {
        Ctx::spawn(world, gateway, actors::client::run);
    }
    Ctx::spawn(world, gateway, |ctx| worker(ctx, Duty::Collect));
    Ctx::spawn(world, gateway, |ctx| worker(ctx, Duty::Sweep));
    Ctx::spawn(world, gateway, |ctx| worker(ctx, Duty::Repair));
}

fn restart_gateways(world: &Shared, per_mille: u64) {
    let gateways = world.borrow().gateways.len();
    for gateway in 0..gateways {
        // What ran on it must be gone before it runs anew.
        let down = {
            let world = world.borrow();
            !world.gateways[gateway].up && !world.crashed.contains(&gateway)
        };
        if down && world.borrow_mut().rng.chance(per_mille) {
            {
                let mut world = world.borrow_mut();
                world.recover_catalog(gateway);
                world.gateways[gateway].up = true;
                world.note(None, format_args!("gateway {gateway} is back"));
            }
            start_gateway(world, gateway);
        }
    }
}

#[derive(Clone, Copy)]
enum Duty {
    Collect,
    Sweep,
    Repair,
}

/// A background worker, which acts while its gateway takes itself for the leader.
async fn worker(ctx: Ctx, duty: Duty) {
    let mut ahead = actors::sweep::Ahead::new();
    loop {
        let pause = ctx.with(|w| w.rng.range(100 * MS, 2 * SECOND));
        ctx.sleep(pause).await;
        if !ctx.acts_as_leader() {
            continue;
        }
        match duty {
            Duty::Collect => actors::gc::collect(&ctx).await,
            Duty::Sweep => actors::sweep::sweep(&ctx, &mut ahead).await,
            Duty::Repair => actors::repair::round(&ctx).await,
        }
    }
}

/// Faults cease; the cluster must become whole and clean, and everything must be readable.
fn settle(world: &Shared, executor: &mut Executor) {
    faults::cease(&mut world.borrow_mut());
    go_on(world, executor, Some(MS));
    restart_gateways(world, 1000);
    faults::cease(&mut world.borrow_mut());
    for _ in 0..ROUNDS {
        {
            let world = &mut *world.borrow_mut();
            faults::give_up_lost(world);
            for gateway in 0..world.gateways.len() {
                world.catch_up(gateway, world.log.len());
            }
        }
        if !go_on(world, executor, Some(SECOND)) {
            return;
        }
        check::durable(&mut world.borrow_mut());
        if check::unsettled(&world.borrow()).is_none() {
            break;
        }
    }
    let unsettled = check::unsettled(&world.borrow());
    if let Some((blob, detail)) = unsettled {
        return world.borrow_mut().violate(Invariant::Settles, blob, detail);
    }
    read_everything(world, executor);
}

fn read_everything(world: &Shared, executor: &mut Executor) {
    let done = Rc::new(RefCell::new(false));
    let told = done.clone();
    Ctx::spawn(world, 0, |ctx| async move {
        for (blob, part) in ctx.with(|w| w.oracle.live.clone()) {
            let owner = ctx.catalog().blob(blob);
            let Ok(Some(BlobOwner::Version { version, .. })) = owner else { continue };
            let manifest = Manifest { parts: vec![part] };
            if !actors::client::check_bytes(&ctx, version, &manifest).await {
                let what = format!("version {version} can't be read without any faults");
                ctx.with(|w| w.violate(Invariant::Durable, Some(blob), what));
            }
        }
        *told.borrow_mut() = true;
    });
    go_on(world, executor, Some(60 * SECOND));
    if !*done.borrow() {
        let what = "reading everything back does not end".to_owned();
        world.borrow_mut().violate(Invariant::Settles, None, what);
    }
}
