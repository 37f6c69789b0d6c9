//! Views that only other views read: kept in memory, if they are small, until the last of these is computed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polars::prelude::DataFrame;

use super::Plan;

/// So many bytes of a view are few: writing them to a file and reading them again costs more than they do.
const FEW: usize = 64 << 20;

/// The views that are kept, by name.
#[derive(Debug)]
pub struct Kept {
    views: Mutex<BTreeMap<&'static str, View>>,
}

/// A view that nobody asked for.
#[derive(Debug)]
struct View {
    /// Its rows, once they are computed and if they are few.
    rows: Option<DataFrame>,
    /// How many of the views that read it are still to be computed.
    readers: usize,
}

impl Kept {
    /// None yet of what these plans compute.
    pub fn of(plans: &[Plan]) -> Kept {
        let readers = |name: &str| plans.iter().filter(|plan| plan.reads.contains(name)).count();
        let unwanted = plans.iter().filter(|plan| !plan.is_wanted);
        let views = unwanted.map(|plan| (plan.view.name, View { rows: None, readers: readers(plan.view.name) }));
        Kept { views: Mutex::new(views.collect()) }
    }

    /// Keeps the rows of a view if nobody asked for it and they are few; gives them back otherwise.
    pub fn keep(&self, name: &str, rows: DataFrame) -> Option<DataFrame> {
        match self.lock().get_mut(name).filter(|_| rows.estimated_size() <= FEW) {
            Some(view) => {
                view.rows = Some(rows);
                None
            }
            None => Some(rows),
        }
    }

    /// The rows of a view that is kept.
    pub fn rows(&self, name: &str) -> Option<DataFrame> {
        self.lock().get(name)?.rows.clone()
    }

    /// Lets go what only this view still needed.
    pub fn computed(&self, plan: &Plan) {
        let mut views = self.lock();
        for name in &plan.reads {
            if let Some(view) = views.get_mut(name.as_str()) {
                view.readers -= 1;
                view.rows = view.rows.take().filter(|_| view.readers > 0);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, View>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;
    use crate::query::{By, plan, view};

    #[test]
    fn what_nobody_asked_for_is_kept_until_it_was_read() -> anyhow::Result<()> {
        let wanted: Vec<_> = view("coverage").into_iter().chain(view("task_states")).collect();
        let plans = plan::needed(&wanted, &By::default())?;
        let kept = Kept::of(&plans);
        let rows = df!("x" => [1i64])?;
        assert_eq!(kept.keep("coverage", rows.clone()), Some(rows.clone()));
        assert_eq!(kept.keep("event_counts", rows.clone()), None);
        for plan in &plans {
            let reads_it = plan.reads.contains("event_counts");
            assert!(!reads_it || kept.rows("event_counts") == Some(rows.clone()), "{}", plan.view.name);
            kept.computed(plan);
        }
        assert_eq!(kept.rows("event_counts"), None);
        Ok(())
    }
}
