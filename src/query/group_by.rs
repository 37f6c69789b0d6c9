//! The columns of a group, selected by `--by`.

use std::fmt;
use std::str::FromStr;

use super::view;
use crate::error::{Result, Usage};
use crate::tables::column::Described;

/// The group columns in the SQL of a statistic. The SQL contains exactly this text, so that the program can replace the
/// text by the columns of `--by`. Unchanged, the file runs on any engine.
pub const GROUP: &str = "region, namespace, job_id, task_group, task";

/// The columns of a group: at least one, each from [`GroupBy::COLUMNS`], without repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBy(Vec<&'static str>);

impl Default for GroupBy {
    fn default() -> GroupBy {
        GroupBy(GroupBy::COLUMNS[..5].to_vec())
    }
}

impl FromStr for GroupBy {
    type Err = Usage;

    fn from_str(text: &str) -> Result<GroupBy, Usage> {
        let mut columns = Vec::new();
        for name in text.split(',').map(str::trim) {
            let Some(column) = GroupBy::COLUMNS.into_iter().find(|column| *column == name) else {
                return Err(Usage(format!(
                    "cannot group by {name:?}; the columns are {}",
                    GroupBy::COLUMNS.join(", ")
                )));
            };
            if columns.contains(&column) {
                return Err(Usage(format!("{name} is repeated")));
            }
            columns.push(column);
        }
        Ok(GroupBy(columns))
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl GroupBy {
    /// The columns that a user may group by. Every per-task view has these columns.
    pub const COLUMNS: [&str; 11] = [
        "region",
        "namespace",
        "job_id",
        "task_group",
        "task",
        "job_version",
        "job_type",
        "node_id",
        "node_name",
        "node_class",
        "datacenter",
    ];

    /// The columns of the group, in the given order.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// The SQL of a statistic, with these group columns.
    pub(super) fn edit(&self, sql: &str) -> String {
        sql.replace(GROUP, &self.0.join(", "))
    }

    /// The columns of a statistic, with these group columns.
    ///
    /// # Errors
    /// When the header of `task_states` cannot be parsed. That header documents all group columns.
    pub(super) fn describe(&self, usual: Vec<Described>) -> Result<Vec<Described>> {
        let known = view("task_states").map(|view| view.head()).transpose()?.map_or_else(Vec::new, |head| head.columns);
        let mut columns: Vec<Described> = Vec::new();
        for name in &self.0 {
            let own = usual.iter().chain(&known).find(|column| column.name == *name);
            columns.extend(own.cloned());
        }
        columns.extend(usual.into_iter().filter(|column| !GroupBy::COLUMNS[..5].contains(&column.name.as_str())));
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_columns_and_refuses_others() {
        let by = |text: &str| text.parse::<GroupBy>().map(|by| by.to_string());
        assert_eq!(by("job_id, node_class"), Ok("job_id,node_class".to_owned()));
        assert_eq!(by(&GroupBy::default().to_string()), Ok("region,namespace,job_id,task_group,task".to_owned()));
        assert!(by("").is_err() && by("alloc_id").is_err() && by("task,task").is_err());
    }
}
