//! A cache of small views that only other views read. A view stays until the last of its readers is computed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polars::prelude::DataFrame;

use super::Plan;

/// Maximum size of a cached view in bytes. For a smaller view, writing and reading a file would cost more than the
/// memory.
const FEW: usize = 64 << 20;

/// The cached views, by name.
#[derive(Debug)]
pub struct ViewCache {
    views: Mutex<BTreeMap<&'static str, CachedView>>,
}

/// A view in the cache. It is not itself a result.
#[derive(Debug)]
struct CachedView {
    /// The rows of the view. `None` before the view is computed, after its last reader is computed, or if it is too
    /// large.
    rows: Option<DataFrame>,
    /// The number of views that read this view and are not computed yet.
    readers: usize,
}

impl ViewCache {
    /// An empty cache for the views of these plans.
    pub fn for_plans(plans: &[Plan]) -> ViewCache {
        let readers = |name: &str| plans.iter().filter(|plan| plan.view.reads.contains(&name)).count();
        let unwanted = plans.iter().filter(|plan| !plan.is_wanted);
        let views = unwanted.map(|plan| (plan.view.name, CachedView { rows: None, readers: readers(plan.view.name) }));
        ViewCache { views: Mutex::new(views.collect()) }
    }

    /// Caches the rows of a view if it is small and not itself a result. Otherwise, returns the rows.
    pub fn keep(&self, name: &str, rows: DataFrame) -> Option<DataFrame> {
        match self.lock().get_mut(name).filter(|_| rows.estimated_size() <= FEW) {
            Some(view) => {
                view.rows = Some(rows);
                None
            }
            None => Some(rows),
        }
    }

    /// The rows of a cached view.
    pub fn rows(&self, name: &str) -> Option<DataFrame> {
        self.lock().get(name)?.rows.clone()
    }

    /// Records that a view is computed. Drops the views that no remaining view reads.
    pub fn computed(&self, plan: &Plan) {
        let mut views = self.lock();
        for name in plan.view.reads {
            if let Some(view) = views.get_mut(name) {
                view.readers -= 1;
                view.rows = view.rows.take().filter(|_| view.readers > 0);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, CachedView>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;
    use crate::error::Result;
    use crate::query::{GroupBy, plan, view};

    #[test]
    fn unrequested_results_are_kept_until_they_were_read() -> Result<()> {
        let wanted: Vec<_> = view("coverage").into_iter().chain(view("task_states")).collect();
        let plans = plan::needed(&wanted, &GroupBy::default());
        let kept = ViewCache::for_plans(&plans);
        let rows = df!("x" => [1i64])?;
        assert_eq!(kept.keep("coverage", rows.clone()), Some(rows.clone()));
        assert_eq!(kept.keep("event_counts", rows.clone()), None);
        for plan in &plans {
            let reads_it = plan.view.reads.contains(&"event_counts");
            assert!(!reads_it || kept.rows("event_counts") == Some(rows.clone()), "{}", plan.view.name);
            kept.computed(plan);
        }
        assert_eq!(kept.rows("event_counts"), None);
        Ok(())
    }
}
