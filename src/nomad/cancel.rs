//! Cancellation of requests to a cluster, and of the pauses between them.

use std::future::Future;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures::future::{Either, select};
use tokio_util::sync::CancellationToken;

/// How long a request or an answer that is under way may go on after the cancellation.
pub const GRACE: Duration = Duration::from_millis(100);

/// A shared, sticky cancellation flag.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(CancellationToken);

impl CancelToken {
    /// Sets the flag, and wakes all threads and tasks that wait for it.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Returns true if the flag is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Blocks the thread for this long, or until the flag is set.
    pub fn sleep(&self, time: Duration) {
        // Enable only the timer, because a runtime with only a timer opens no file.
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(clock) => {
                let _ = clock.block_on(async { tokio::time::timeout(time, self.0.cancelled()).await });
            }
            Err(_) => thread::sleep(time),
        }
    }

    /// Returns the result of `work`, or `None` if `work` is not done [`GRACE`] after the flag was set.
    pub(super) async fn unless_set<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            self.0.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        match select(pin!(work), pin!(stopped)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_set_flag_ends_a_sleep_at_once() {
        let stop = CancelToken::default();
        let other = stop.clone();
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| stop.sleep(Duration::from_secs(60)));
            other.cancel();
        });
        stop.sleep(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
