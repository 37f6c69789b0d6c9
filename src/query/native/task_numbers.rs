//! Numbers tasks densely, so that rows are grouped by an integer instead of three texts.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use polars::prelude::{DataFrame, StringChunked};

use crate::error::{Result, bail};

/// Region, allocation ID and task name.
type TaskKey<'f> = (&'f str, &'f str, &'f str);

/// The columns that identify the task of a row.
#[derive(Debug)]
pub struct TaskKeys<'f> {
    region: &'f StringChunked,
    alloc_id: &'f StringChunked,
    task: &'f StringChunked,
}

impl<'f> TaskKeys<'f> {
    /// The names of the key columns.
    pub const COLUMNS: [&'static str; 3] = ["region", "alloc_id", "task"];

    /// The key columns of a frame.
    ///
    /// # Errors
    /// When a column is missing, or a key is null. Stored tables have no null keys.
    pub fn of(frame: &'f DataFrame) -> Result<TaskKeys<'f>> {
        let column = |name: &str| -> Result<&'f StringChunked> {
            let values = frame.column(name)?.str()?;
            if values.null_count() > 0 {
                bail!("a row has no {name}");
            }
            Ok(values)
        };
        let [region, alloc_id, task] = Self::COLUMNS;
        Ok(TaskKeys { region: column(region)?, alloc_id: column(alloc_id)?, task: column(task)? })
    }

    /// The key of a row.
    pub fn get(&self, row: usize) -> TaskKey<'f> {
        let text = |values: &'f StringChunked| values.get(row).unwrap_or_default();
        (text(self.region), text(self.alloc_id), text(self.task))
    }
}

/// The tasks of a frame, numbered in order of their first rows.
#[derive(Debug)]
pub struct TaskNumbers<'f> {
    keys: TaskKeys<'f>,
    /// The first row of each task.
    first_rows: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<'f> TaskNumbers<'f> {
    /// Numbers the tasks of a frame; also returns the number of each row.
    ///
    /// # Errors
    /// As [`TaskKeys::of`], and when the frame has 2^32 rows or more.
    pub fn of(frame: &'f DataFrame) -> Result<(TaskNumbers<'f>, Vec<u32>)> {
        let rows = u32::try_from(frame.height())?;
        let mut tasks = TaskNumbers {
            keys: TaskKeys::of(frame)?,
            first_rows: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        let mut of_rows: Vec<u32> = Vec::with_capacity(frame.height());
        for row in 0..rows {
            // Rows of one task are mostly neighbours.
            let same = row.checked_sub(1).filter(|before| tasks.key(*before) == tasks.key(row));
            let number = match same {
                Some(before) => of_rows[before as usize],
                None => tasks.insert(row),
            };
            of_rows.push(number);
        }
        Ok((tasks, of_rows))
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.first_rows.len()
    }

    /// The number of a task; `None` if the frame has no row of the task.
    pub fn find(&self, key: TaskKey<'_>) -> Option<u32> {
        let is_equal = |number: &u32| self.key(self.first_rows[*number as usize]) == key;
        self.numbers.find(self.hasher.hash_one(key), is_equal).copied()
    }

    /// All numbers, in the order of the keys.
    pub fn by_key(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..self.len() as u32).collect();
        numbers.sort_unstable_by_key(|number| self.key(self.first_rows[*number as usize]));
        numbers
    }

    /// The number of the task of a row. A task without a number gets the next one.
    fn insert(&mut self, row: u32) -> u32 {
        let key = self.key(row);
        if let Some(number) = self.find(key) {
            return number;
        }
        let number = self.first_rows.len() as u32;
        self.first_rows.push(row);
        let (keys, first_rows, hasher) = (&self.keys, &self.first_rows, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(keys.get(first_rows[*number as usize] as usize));
        self.numbers.insert_unique(hasher.hash_one(key), number, hash);
        number
    }

    fn key(&self, row: u32) -> TaskKey<'f> {
        self.keys.get(row as usize)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;

    #[test]
    fn tasks_are_numbered_in_order_of_their_first_rows() -> Result<()> {
        let frame = df!(
            "region" => ["eu", "eu", "", "eu", ""],
            "alloc_id" => ["b", "b", "b", "a", "b"],
            "task" => ["x", "x", "x", "x", "x"],
        )?;
        let (tasks, of_rows) = TaskNumbers::of(&frame)?;
        assert_eq!((tasks.len(), of_rows), (3, vec![0, 0, 1, 2, 1]));
        assert_eq!(tasks.by_key(), [1, 2, 0]);
        assert_eq!((tasks.find(("eu", "a", "x")), tasks.find(("", "a", "x"))), (Some(2), None));
        let keyless = df!("region" => [Some(""), None], "alloc_id" => ["a", "b"], "task" => ["x", "x"])?;
        assert_eq!(TaskNumbers::of(&keyless).unwrap_err().to_string(), "a row has no region");
        Ok(())
    }
}
