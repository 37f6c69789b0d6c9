//! Outages of a cluster: reporting and back-off.

use std::mem;
use std::time::{Duration, Instant};

use crate::nomad::Fault;

/// The first pause before a retry; it doubles with each further retry.
pub const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// If the same kind of fault recurs after a reported outage, and the cluster has answered for less than this time,
/// the new outage counts as repeated.
const LASTING: Duration = Duration::from_secs(60);
/// A repeated outage is reported only after it has lasted this long.
const UNREPORTED: Duration = Duration::from_secs(10);

/// The state of the connection to a cluster: one warning per outage, and one message at its end.
#[derive(Debug, Default)]
pub struct Outage {
    /// When the outage began; `None` without one.
    began: Option<Instant>,
    /// Whether this outage was reported.
    is_reported: bool,
    /// The fault that was reported last, and when the last outage ended. That time is `None` while the reported outage
    /// lasts.
    before: Option<(Fault, Option<Instant>)>,
    pause: Option<Duration>,
}

impl Outage {
    /// Records a fault. Returns true if it must be reported.
    pub fn begin(&mut self, fault: &Fault, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        if self.is_reported {
            return false;
        }
        let is_repeated = self.before.as_ref().is_some_and(|(before, over)| {
            mem::discriminant(before) == mem::discriminant(fault)
                && over.is_some_and(|over| began.duration_since(over) < LASTING)
        });
        if is_repeated && now.duration_since(began) < UNREPORTED {
            return false;
        }
        self.is_reported = true;
        self.before = Some((fault.clone(), None));
        true
    }

    /// Records an answer. Returns the duration of the outage, if it was reported.
    pub fn end(&mut self, now: Instant) -> Option<Duration> {
        self.pause = None;
        let began = self.began.take()?;
        if let Some((_, over)) = &mut self.before {
            *over = Some(now);
        }
        mem::take(&mut self.is_reported).then(|| now.duration_since(began))
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.pause.map_or(PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_once_and_its_end_once() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (refused, silent) = (Fault::Refused("a".into()), Fault::Timeout(PAUSE));
        assert_eq!(outage.end(at(0)), None);
        assert!(outage.begin(&refused, at(1)));
        assert!(!outage.begin(&silent, at(2)) && !outage.begin(&refused, at(3)));
        assert_eq!(outage.end(at(5)), Some(Duration::from_secs(4)));
        assert_eq!(outage.end(at(6)), None);
        // Another outage soon after is reported if its fault differs, or if it lasts.
        assert!(!outage.begin(&refused, at(20)));
        assert_eq!(outage.end(at(21)), None);
        assert!(!outage.begin(&refused, at(30)) && outage.begin(&refused, at(41)));
        assert_eq!(outage.end(at(45)), Some(Duration::from_secs(15)));
        assert!(outage.begin(&silent, at(50)));
        assert_eq!(outage.end(at(51)), Some(PAUSE));
        assert!(outage.begin(&silent, at(112)));
    }

    #[test]
    fn pauses_double_until_the_cluster_answers() {
        let mut outage = Outage::default();
        let pauses: Vec<u64> = (0..8).map(|_| outage.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        outage.end(Instant::now());
        assert_eq!(outage.pause(), PAUSE);
    }
}
