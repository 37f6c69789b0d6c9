//! Runs views on several cores, in order. A view waits for the views that it reads. All views after a waiting view
//! wait, too. Otherwise, the largest views would run, and need their memory, at the same time.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;

use super::Plan;
use crate::error::{Error, Result};

/// Computes views in order, a limited number at a time, each after the views that it reads. Starts no further view
/// after a failure.
///
/// # Errors
/// The first error of `compute`.
pub fn run(plans: &[Plan], at_a_time: usize, compute: impl Fn(&Plan) -> Result<()> + Sync) -> Result<()> {
    let compute = &compute;
    let mut waiting: VecDeque<&Plan> = plans.iter().collect();
    let mut missing: BTreeSet<&str> = plans.iter().map(|plan| plan.view.name).collect();
    let (done, finished) = channel();
    thread::scope(|scope| {
        let mut running = 0;
        let mut result = Ok(());
        loop {
            let is_ready = |plan: &Plan| !plan.view.reads.iter().any(|name| missing.contains(name));
            while running < at_a_time && result.is_ok() {
                let Some(plan) = waiting.pop_front_if(|plan| is_ready(plan)) else { break };
                let done = done.clone();
                running += 1;
                scope.spawn(move || {
                    let computed = catch_unwind(AssertUnwindSafe(|| compute(plan)));
                    let died =
                        |_| Err(Error::new(format!("the engine panicked in view {}; this is a bug", plan.view.name)));
                    // Sending cannot fail, because the scheduler waits for results while any view runs.
                    let _ = done.send((plan.view.name, computed.unwrap_or_else(died)));
                });
            }
            if running == 0 {
                return result;
            }
            let (name, computed) = finished.recv()?;
            running -= 1;
            missing.remove(name);
            result = result.and(computed);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use crate::error::bail;

    use super::*;
    use crate::query::{GroupBy, VIEWS, plan};

    #[test]
    fn a_view_waits_for_the_views_it_reads() {
        let plans = plan::needed(&VIEWS.iter().collect::<Vec<_>>(), &GroupBy::default());
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.view.name).collect();
        for at_a_time in 1..4 {
            let done = Mutex::new(BTreeSet::new());
            let compute = |plan: &Plan| {
                let mut done = done.lock().unwrap();
                let reads = plan.view.reads.iter().filter(|name| names.contains(*name));
                assert!(reads.into_iter().all(|name| done.contains(name)), "{}", plan.view.name);
                done.insert(plan.view.name);
                Ok(())
            };
            run(&plans, at_a_time, compute).unwrap();
            assert_eq!(done.into_inner().unwrap(), names);
        }
    }

    #[test]
    fn after_a_failure_no_view_is_started() {
        let plans = plan::needed(&VIEWS.iter().collect::<Vec<_>>(), &GroupBy::default());
        let begun = Mutex::new(0);
        let compute = |_: &Plan| {
            *begun.lock().unwrap() += 1;
            bail!("no")
        };
        assert_eq!(run(&plans, 1, compute).unwrap_err().to_string(), "no");
        assert_eq!(*begun.lock().unwrap(), 1);
        let died = run(&plans, 2, |_| panic!("within the engine")).unwrap_err();
        assert!(died.to_string().contains("panicked in view"), "{died}");
    }
}
