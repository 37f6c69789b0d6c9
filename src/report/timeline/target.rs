//! Finds the allocation or job that a user names.

use serde::Serialize;

use crate::error::Result;
use crate::query::{self, Row};
use crate::store::Store;
use crate::tables::beginning_of_id;

/// The subject of a timeline: an allocation or a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The region; empty without `--region`.
    pub region: String,
    /// The namespace.
    pub namespace: String,
    /// The job; null for an allocation whose job no source shows.
    pub job_id: Option<String>,
    /// The allocation; null if the target is the whole job.
    pub alloc_id: Option<String>,
    /// The IDs of the allocations.
    #[serde(skip)]
    allocations: Vec<String>,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetMatch {
    /// One allocation or job matches.
    One(Target),
    /// Several match. There is one line for each, which begins with its name.
    Several(Vec<String>),
    /// Nothing matches.
    Nothing,
}

impl Target {
    /// The SQL condition that a column contains the ID of one of the allocations.
    pub(super) fn has(&self, column: &str) -> String {
        let ids = self.allocations.iter().map(|id| literal(id)).collect::<Vec<_>>().join(", ");
        // An empty list is not valid SQL.
        let ids = if ids.is_empty() { "NULL" } else { &ids };
        format!("(region = {} AND {column} IN ({ids}))", literal(&self.region))
    }

    /// Allocations of a region, regardless of their jobs.
    pub(in crate::report) fn of_allocations(region: String, allocations: Vec<String>) -> Target {
        Target { region, namespace: String::new(), job_id: None, alloc_id: None, allocations }
    }

    /// The same region with other allocations.
    pub(super) fn with(&self, allocations: Vec<String>) -> Target {
        Target { allocations, ..self.clone() }
    }
}

/// Finds the allocation or job that a text names. The text is an allocation ID, a job ID, the ID of a parent job, or
/// the beginning of an allocation ID or job ID. A complete ID takes precedence over the beginning of another ID.
///
/// # Errors
/// When the store cannot be read.
pub fn find(store: &Store, name: &str) -> Result<TargetMatch> {
    let text = literal(name);
    let whole = [allocations(store, &format!("alloc_id = {text}"))?, jobs(store, &text, name)?].concat();
    if !whole.is_empty() {
        return choose(store, whole);
    }
    let mut begun = Vec::new();
    if let Some(digits) = beginning_of_id(name) {
        begun = allocations(store, &format!("STARTS_WITH(REPLACE(alloc_id, '-', ''), {})", literal(&digits)))?;
    }
    if !name.is_empty() {
        begun.extend(named(store, &format!("STARTS_WITH(job_id, {text})"), None)?);
    }
    choose(store, begun)
}

/// A match: an allocation with its row of `allocations`, or a job with the number of its allocations.
#[derive(Debug, Clone)]
enum Candidate {
    Allocation(Row),
    Job(Target),
}

fn allocations(store: &Store, condition: &str) -> Result<Vec<Candidate>> {
    let sql = format!(
        "SELECT region, namespace, job_id, alloc_id, node_id, node_name, client_status FROM allocations \
         WHERE {condition} ORDER BY alloc_id, region"
    );
    Ok(query::select(store, &sql)?.into_iter().map(Candidate::Allocation).collect())
}

/// The jobs with this ID. Each has its own allocations, and the allocations of its dispatched and periodic children.
fn jobs(store: &Store, text: &str, name: &str) -> Result<Vec<Candidate>> {
    let children = query::select(store, &format!("SELECT DISTINCT job_id FROM job_runs WHERE parent_job_id = {text}"))?;
    let ids = children.iter().filter_map(|row| row.text("job_id")).map(literal);
    let ids: Vec<String> = std::iter::once(text.to_owned()).chain(ids).collect();
    named(store, &format!("job_id IN ({})", ids.join(", ")), Some(name))
}

/// The jobs whose allocations match a condition. If `name` is given, all matching allocations of a region
/// and namespace are returned as one job with this name.
fn named(store: &Store, condition: &str, name: Option<&str>) -> Result<Vec<Candidate>> {
    let sql = format!(
        "SELECT region, namespace, job_id, alloc_id FROM allocations WHERE {condition} \
         ORDER BY region, namespace, job_id, alloc_id"
    );
    let mut jobs: Vec<Target> = Vec::new();
    for row in query::select(store, &sql)? {
        let own = |column: &str| row.text(column).unwrap_or_default().to_owned();
        let job_id = Some(name.map_or_else(|| own("job_id"), str::to_owned));
        let job = Target {
            region: own("region"),
            namespace: own("namespace"),
            job_id,
            alloc_id: None,
            allocations: vec![own("alloc_id")],
        };
        let is_same = |last: &&mut Target| {
            (&last.region, &last.namespace, &last.job_id) == (&job.region, &job.namespace, &job.job_id)
        };
        match jobs.last_mut().filter(is_same) {
            Some(last) => last.allocations.extend(job.allocations),
            None => jobs.push(job),
        }
    }
    Ok(jobs.into_iter().map(Candidate::Job).collect())
}

fn choose(store: &Store, mut candidates: Vec<Candidate>) -> Result<TargetMatch> {
    if candidates.len() > 1 {
        return Ok(TargetMatch::Several(candidates.iter().map(Candidate::line).collect()));
    }
    Ok(match candidates.pop() {
        None => TargetMatch::Nothing,
        Some(Candidate::Allocation(row)) => {
            let own = |column: &str| row.text(column).unwrap_or_default().to_owned();
            TargetMatch::One(Target {
                region: own("region"),
                namespace: own("namespace"),
                job_id: row.text("job_id").map(str::to_owned),
                alloc_id: Some(own("alloc_id")),
                allocations: vec![own("alloc_id")],
            })
        }
        // A job that was found by the beginning of its ID has only its own allocations. Add those of its children.
        Some(Candidate::Job(job)) => {
            let name = job.job_id.clone().unwrap_or_default();
            let whole = jobs(store, &literal(&name), &name)?.into_iter().find_map(|other| match other {
                Candidate::Job(other) => {
                    ((&other.region, &other.namespace) == (&job.region, &job.namespace)).then_some(other)
                }
                Candidate::Allocation(_) => None,
            });
            TargetMatch::One(whole.unwrap_or(job))
        }
    })
}

impl Candidate {
    /// The name of the candidate, and the facts that distinguish it from other candidates.
    fn line(&self) -> String {
        let flags = |region: &str, namespace: &str| {
            if region.is_empty() {
                format!("--namespace {namespace}")
            } else {
                format!("--region {region} --namespace {namespace}")
            }
        };
        match self {
            Candidate::Allocation(row) => {
                let own = |column: &str| row.text(column).unwrap_or("unknown");
                let node = row.text("node_name").unwrap_or_else(|| own("node_id"));
                let flags = flags(row.text("region").unwrap_or_default(), own("namespace"));
                let (job, status) = (own("job_id"), own("client_status"));
                format!("{}  {flags}: allocation of job {job} on node {node}, {status}", own("alloc_id"))
            }
            Candidate::Job(job) => {
                let name = job.job_id.as_deref().unwrap_or("unknown");
                let flags = flags(&job.region, &job.namespace);
                let allocations = crate::report::show::counted(job.allocations.len() as i64, "allocation");
                format!("{name}  {flags}: job with {allocations}")
            }
        }
    }
}

/// Quotes a text as an SQL literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
