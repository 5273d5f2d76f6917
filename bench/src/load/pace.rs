//! When operations are to begin.

use crate::data::Dice;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How operations follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each worker begins one when its last one has ended (a closed loop): the server sets the pace.
    Closed,
    /// So many begin each second, whether or not others have ended (an open loop): the users do.
    Open {
        /// Operations per second.
        rate: f64,
        /// How they are spaced.
        spacing: Spacing,
    },
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// At random, independent of each other, as from many users.
    Poisson,
    /// Evenly.
    Even,
}

/// The moments at which operations are to begin, from 0 on.
#[derive(Debug, Clone)]
pub struct Arrivals {
    mean: f64,
    spacing: Spacing,
    dice: Dice,
    /// In seconds.
    next: f64,
    count: u64,
}

impl Arrivals {
    /// Arrivals at `rate` per second, which is above 0.
    pub fn new(rate: f64, spacing: Spacing, seed: u64) -> Self {
        Self { mean: 1.0 / rate, spacing, dice: Dice::new(seed), next: 0.0, count: 0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = match self.spacing {
            Spacing::Poisson => {
                self.next += self.dice.exponential(self.mean);
                self.next
            }
            // Not summed up, so that errors do not add up either.
            Spacing::Even => {
                #[expect(clippy::cast_precision_loss, reason = "less than 2^53")]
                let at = self.count as f64 * self.mean;
                self.count += 1;
                at
            }
        };
        Duration::try_from_secs_f64(at).ok()
    }
}

/// Sends each arrival when its time has come, counted from `start`, until the receiver is gone. On a
/// thread of its own: a runtime's timers are only as good as a millisecond.
///
/// # Errors
/// If no thread can be started.
pub fn pacer(
    arrivals: impl Iterator<Item = Duration> + Send + 'static,
    start: Instant,
) -> std::io::Result<UnboundedReceiver<Duration>> {
    let (sender, receiver) = unbounded_channel();
    std::thread::Builder::new().name("pacer".into()).spawn(move || {
        for at in arrivals {
            // In steps, so that the thread notices when nobody listens any more.
            while let Some(wait) = (start + at).checked_duration_since(Instant::now()) {
                if sender.is_closed() {
                    return;
                }
                std::thread::sleep(wait.min(Duration::from_millis(200)));
            }
            if sender.send(at).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_do_not_drift() {
        let at = Arrivals::new(3.0, Spacing::Even, 0).nth(3_000_000).unwrap();
        assert_eq!(at, Duration::from_secs(1_000_000));
    }

    #[test]
    fn poisson_arrivals_keep_their_rate_and_vary() {
        let arrivals: Vec<_> = Arrivals::new(100.0, Spacing::Poisson, 9).take(20_000).collect();
        assert!(arrivals.is_sorted());
        let rate = 20_000.0 / arrivals[19_999].as_secs_f64();
        assert!((97.0..103.0).contains(&rate), "{rate}");
        // The gaps of a Poisson process vary as much as their mean.
        let gaps: Vec<f64> = arrivals.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / 19_999.0;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 19_999.0).sqrt();
        assert!((0.95..1.05).contains(&(deviation / mean)), "{deviation} {mean}");
    }

    #[tokio::test]
    async fn the_pacer_sends_in_order_and_not_before_time() {
        let start = Instant::now();
        let mut arrivals = pacer(Arrivals::new(200.0, Spacing::Even, 0), start).unwrap();
        for count in 0..10 {
            let at = arrivals.recv().await.unwrap();
            assert_eq!(at, Duration::from_millis(5 * count));
            assert!(start.elapsed() >= at);
        }
    }
}
