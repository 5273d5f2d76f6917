//! Tasks and time: one event after the other, and nothing else.
//!
//! Protocols are written as `async` functions that wait for simulated answers and timers only. An
//! event may fill an [`Inbox`] and wake its task; woken tasks are polled in the order of waking,
//! before the next event. A task belongs to a gateway: it stands still while its process is stalled,
//! and is gone when it crashes.

use crate::trace::Time;
use crate::world::World;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A task.
pub type TaskId = u64;
/// A gateway's position.
pub type GatewayIx = usize;
/// Something that happens at a time.
pub type Event = Box<dyn FnOnce(&mut World)>;
/// The world, as tasks share it. It is never borrowed across an `await`.
pub type Shared = Rc<RefCell<World>>;

type Body = Pin<Box<dyn Future<Output = ()>>>;

/// A task that is to begin.
pub struct Spawned {
    id: TaskId,
    owner: GatewayIx,
    body: Body,
}

/// What is to come.
#[derive(Default)]
pub struct Agenda {
    now: Time,
    count: u64,
    events: BTreeMap<(Time, u64), Event>,
    woken: VecDeque<TaskId>,
    spawned: Vec<Spawned>,
    tasks: u64,
}

impl Agenda {
    /// Now.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets `event` happen after a while.
    pub fn after(&mut self, delay: Time, event: impl FnOnce(&mut World) + 'static) {
        self.count += 1;
        self.events.insert((self.now + delay, self.count), Box::new(event));
    }

    /// Polls a task before the next event.
    pub fn wake(&mut self, task: TaskId) {
        self.woken.push_back(task);
    }

    fn pop(&mut self, until: Time) -> Option<Event> {
        let entry = self.events.first_entry().filter(|e| e.key().0 <= until)?;
        self.now = entry.key().0;
        Some(entry.remove())
    }
}

/// The tasks of a run.
#[derive(Default)]
pub struct Executor {
    tasks: BTreeMap<TaskId, (GatewayIx, Body)>,
}

impl Executor {
    /// Lets things happen until the time `until`, or until a promise is broken.
    pub fn run(&mut self, world: &Shared, until: Time) {
        self.settle(world);
        loop {
            if world.borrow().violation.is_some() {
                return;
            }
            let Some(event) = world.borrow_mut().agenda.pop(until) else { break };
            event(&mut world.borrow_mut());
            self.settle(world);
        }
        world.borrow_mut().agenda.now = until;
    }

    /// Polls what was woken, until nothing is.
    fn settle(&mut self, world: &Shared) {
        loop {
            let crashed = std::mem::take(&mut world.borrow_mut().crashed);
            if !crashed.is_empty() {
                // Their futures may hold the world: they are dropped while it is not borrowed.
                self.tasks.retain(|_, (owner, _)| !crashed.contains(owner));
                world.borrow_mut().agenda.spawned.retain(|s| !crashed.contains(&s.owner));
            }
            let spawned = std::mem::take(&mut world.borrow_mut().agenda.spawned);
            for new in spawned {
                self.tasks.insert(new.id, (new.owner, new.body));
                world.borrow_mut().agenda.wake(new.id);
            }
            let Some(task) = world.borrow_mut().agenda.woken.pop_front() else { return };
            let Some((owner, body)) = self.tasks.get_mut(&task) else { continue };
            let stalled = world.borrow().stalled_for(*owner);
            if let Some(stalled) = stalled {
                world.borrow_mut().agenda.after(stalled, move |w| w.agenda.wake(task));
                continue;
            }
            let mut context = Context::from_waker(Waker::noop());
            if body.as_mut().poll(&mut context).is_ready() {
                self.tasks.remove(&task);
            }
        }
    }

    /// Ends all tasks, so that nothing refers to the world any more.
    pub fn end(self, world: &Shared) {
        drop(self.tasks);
        let events = std::mem::take(&mut world.borrow_mut().agenda.events);
        let spawned = std::mem::take(&mut world.borrow_mut().agenda.spawned);
        drop((events, spawned));
    }
}

/// What a task sees of the world.
#[derive(Clone)]
pub struct Ctx {
    world: Shared,
    /// The task.
    pub task: TaskId,
    /// The gateway that it runs on.
    pub gateway: GatewayIx,
}

impl Ctx {
    /// Begins a task on a gateway.
    pub fn spawn<F: Future<Output = ()> + 'static>(
        world: &Shared,
        gateway: GatewayIx,
        body: impl FnOnce(Ctx) -> F,
    ) {
        let id = {
            let agenda = &mut world.borrow_mut().agenda;
            agenda.tasks += 1;
            agenda.tasks
        };
        let body = Box::pin(body(Self { world: world.clone(), task: id, gateway }));
        world.borrow_mut().agenda.spawned.push(Spawned { id, owner: gateway, body });
    }

    /// Begins another task on the same gateway.
    pub fn also<F: Future<Output = ()> + 'static>(&self, body: impl FnOnce(Ctx) -> F) {
        Self::spawn(&self.world, self.gateway, body);
    }

    /// Looks at the world, and changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.borrow_mut())
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.world.borrow().agenda.now
    }

    /// Waits.
    pub async fn sleep(&self, time: Time) {
        let nothing: Inbox<()> = Inbox::new(self);
        nothing.next(time).await;
    }
}

/// Where the answers to a task's questions arrive.
pub struct Inbox<T> {
    ctx: Ctx,
    queue: Rc<RefCell<VecDeque<T>>>,
}

impl<T: 'static> Inbox<T> {
    /// An empty one.
    pub fn new(ctx: &Ctx) -> Self {
        Self { ctx: ctx.clone(), queue: Rc::default() }
    }

    /// What puts an answer in.
    pub fn sender(&self) -> impl FnOnce(&mut World, T) + 'static + use<T> {
        let (queue, task) = (self.queue.clone(), self.ctx.task);
        move |world, answer| {
            queue.borrow_mut().push_back(answer);
            world.agenda.wake(task);
        }
    }

    /// The next answer, if one comes within `patience`.
    pub async fn next(&self, patience: Time) -> Option<T> {
        let task = self.ctx.task;
        let until = self.ctx.with(|w| {
            w.agenda.after(patience, move |w| w.agenda.wake(task));
            w.agenda.now + patience
        });
        std::future::poll_fn(|_| match self.queue.borrow_mut().pop_front() {
            Some(answer) => Poll::Ready(Some(answer)),
            None if self.ctx.now() >= until => Poll::Ready(None),
            None => Poll::Pending,
        })
        .await
    }
}
