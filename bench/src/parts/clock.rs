//! Processor time of this thread and of all others of this process, in nanoseconds, from Linux'
//! /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A moment, by all clocks.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    at: Instant,
    here: Option<u64>,
    others: BTreeMap<String, u64>,
}

/// How long something took, by all clocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    /// By the clock on the wall.
    pub(super) wall: Duration,
    /// Processor time of this thread; none where the kernel does not tell.
    pub(super) here: Option<Duration>,
    /// Processor time of all other threads of this process.
    pub(super) elsewhere: Option<Duration>,
}

impl Moment {
    pub(super) fn now() -> Self {
        // The kernel brings a running thread's account up to date when it gives way.
        std::thread::yield_now();
        let own = fs::read_link("/proc/thread-self").ok();
        let own = own.as_deref().and_then(|link| link.file_name()?.to_str());
        let mut others: BTreeMap<String, u64> = fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| {
                let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
                Some((task.file_name().into_string().ok()?, nanoseconds(&spent)?))
            })
            .collect();
        let here = own.and_then(|own| others.remove(own));
        Self { at: Instant::now(), here, others }
    }

    /// What has passed since then. Threads that have ended meanwhile are left out: those of a
    /// server end when they were idle for long.
    pub(super) fn elapsed(&self) -> Span {
        let wall = self.at.elapsed();
        let now = Self::now();
        let spent = |(thread, ns): (&String, &u64)| {
            ns.saturating_sub(self.others.get(thread).copied().unwrap_or(0))
        };
        let here = self.here.zip(now.here);
        Span {
            wall,
            here: here.map(|(then, now)| Duration::from_nanos(now.saturating_sub(then))),
            elsewhere: here.map(|_| Duration::from_nanos(now.others.iter().map(spent).sum())),
        }
    }
}

/// The first number of a schedstat file: time on a processor.
fn nanoseconds(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn work(millis: u64) {
        let until = Moment::now();
        let begun = Instant::now();
        // By processor time: on a busy machine, other threads get their share of the clock's.
        while begun.elapsed() < Duration::from_secs(60)
            && until.elapsed().here.is_none_or(|spent| spent < Duration::from_millis(millis))
        {
            black_box((0..black_box(10_000u32)).sum::<u32>());
        }
    }

    #[test]
    fn work_is_charged_to_the_thread_that_does_it() {
        let begun = Moment::now();
        work(20);
        let own = begun.elapsed();
        let (Some(here), Some(_)) = (own.here, own.elsewhere) else { return };
        assert!(here >= Duration::from_millis(20), "{own:?}");

        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (done, finished) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            work(20);
            let _ = done.send(());
            // It must be there when the time is read.
            let _ = wait.recv();
        });
        let begun = Moment::now();
        finished.recv().unwrap();
        let apart = begun.elapsed();
        assert!(apart.elsewhere.unwrap() >= Duration::from_millis(10), "{apart:?}");
        drop(go);
        other.join().unwrap();
    }

    #[test]
    fn reads_the_first_number() {
        assert_eq!(nanoseconds("12 34 5\n"), Some(12));
        assert_eq!(nanoseconds(""), None);
    }
}
