//! Flags of every command that reads sources.

use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use super::cluster;
use super::console::Verbosity;
use super::help;
use crate::error::Usage;
use crate::glob::Glob;
use crate::intake::{self, Absences};
use crate::merge::Filter;
use crate::nomad::Address;
use crate::pipeline::{Pipeline, Source, Sources};
use crate::query::dialect::Dialect;
use crate::query::{GroupBy, Method, Period, VIEWS};
use crate::render::Format;
use crate::report::Again;
use crate::source::{self, Watching};
use crate::time;

/// The help of `--by`, with the columns that can make up a group and the views that have groups.
fn by_help() -> String {
    let grouped = VIEWS.iter().filter(|view| view.is_grouped()).map(|view| view.name);
    format!(
        "Group statistics by these columns\n\nAny of {}.\n\nShares and quantiles are recomputed from the tasks, never \
         averaged. Applies to {}; the other views have a row per task, allocation or job.",
        GroupBy::COLUMNS.join(", "),
        grouped.collect::<Vec<_>>().join(", ")
    )
}

/// The parser of `--by`, which names the columns for completion.
fn by_parser() -> impl TypedValueParser<Value = GroupBy> {
    help::completed(StringValueParser::new().try_map(|text| text.parse::<GroupBy>()), GroupBy::COLUMNS)
}

/// Sources and how to read them.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// What to read; by default the live cluster of NOMAD_ADDR
    ///
    /// Files, directories, quoted globs, archives, - for stdin, the http://, https:// or unix:// address of a Nomad
    /// agent, or a lake (a directory, s3://, gs://, az://).
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Read only this namespace; * for all
    ///
    /// By default, a live cluster is queried for the namespace in NOMAD_NAMESPACE, or for all if it is not set.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Read only allocations whose ID starts with this
    #[arg(long, value_name = "ID", value_parser = cluster::prefix, default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// Region of all rows, and region to query [NOMAD_REGION]
    ///
    /// From a lake, read only rows of this region.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// When the documents were observed (RFC 3339)
    ///
    /// Takes precedence over the times of files and documents.
    #[arg(long, help_heading = "Input", value_name = "TIME")]
    pub observed_at: Option<time::Moment>,
    /// Treat documents as complete listings: a missing allocation is gone
    ///
    /// Each document then counts as a list of every allocation (of --namespace, if given). Lists of nodes and streams
    /// do not count as listings.
    #[arg(long, help_heading = "Input")]
    pub full_listing: bool,
    /// Validate every byte; write nothing if any input is rejected
    #[arg(long, help_heading = "Input")]
    pub strict: bool,
    /// Print only errors and rejected input
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// List every skipped file
    #[arg(short, long)]
    pub verbose: bool,
    /// Follow the cluster by polling until interrupted, then write
    ///
    /// Lists again after each change. Ends by Ctrl-C, SIGTERM or --for.
    #[arg(long, help_heading = "Live cluster", group = "follow")]
    pub watch: bool,
    /// Follow Nomad's event stream instead of polling
    ///
    /// Also shows changes that are over before the next listing. Lists again after a possible gap.
    #[arg(long, help_heading = "Live cluster", group = "follow")]
    pub stream: bool,
    /// With --watch or --stream, the minimum time between two updates
    #[arg(long, help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span, default_value = "5s",
        requires = "follow")]
    pub min_interval: Duration,
    /// With --watch or --stream, end after this time
    #[arg(long = "for", help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span,
        requires = "follow")]
    pub lasting: Option<Duration>,
    #[command(flatten)]
    pub cluster: cluster::Args,
}

/// Filters and groups, for commands that show the data.
#[derive(Debug, clap::Args)]
pub struct StatisticsArgs {
    /// Restrict statistics to this time and later
    ///
    /// A time such as 2026-11-23T18:28:01Z, a day such as 2026-11-23 (from midnight UTC), or 24h, 30m, 7d before the
    /// newest observation. Stored tables, allocations, task_states and coverage are never restricted.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<time::When>,
    /// Restrict statistics to before this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<time::When>,
    /// Group statistics by these columns
    #[arg(long, value_name = "COLUMN,...", default_value_t, hide_default_value = true, long_help = by_help(),
        value_parser = by_parser(), hide_possible_values = true)]
    pub by: GroupBy,
    /// Read only jobs whose ID matches this glob
    #[arg(long, value_name = "GLOB")]
    pub job: Option<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Compute all views from their SQL, to compare them with the native functions
    #[arg(long = "views", value_name = "native|sql", env = "ALLOCLOG_VIEWS", default_value = "native", hide = true)]
    pub method: Method,
}

impl SourceArgs {
    /// The sources of the SOURCE arguments. An event stream gives one document of frames per `frames_every`.
    ///
    /// # Errors
    /// When a source is invalid, or a flag does not apply to it.
    pub fn sources(&self, frames_every: Duration) -> anyhow::Result<Sources> {
        let source = |text: &String| self.parse(text, frames_every);
        let mut sources = self.sources.iter().map(source).collect::<anyhow::Result<Vec<_>>>()?;
        if sources.is_empty() {
            sources.push(self.cluster(self.cluster.default_address()?, frames_every)?);
        }
        let is_live = sources.iter().any(Source::is_cluster);
        if let Some(flag) = self.cluster.unused_live_flag().filter(|_| !is_live) {
            return Err(Usage(format!("{flag} applies to a live cluster, and no SOURCE is one")).into());
        }
        if let Some(flag) = self.follow_flag().filter(|_| !is_live || sources.len() > 1) {
            return Err(Usage(format!("{flag} needs exactly one SOURCE, a live cluster")).into());
        }
        if let Some(flag) = self.follow_flag().filter(|_| self.observed_at.is_some() || self.full_listing) {
            return Err(Usage(format!("--observed-at and --full-listing cannot be used with {flag}")).into());
        }
        if self.full_listing && sources.iter().all(Source::is_cluster) {
            let word = "--full-listing is for documents; a live cluster shows which of its listings are full";
            return Err(Usage(word.into()).into());
        }
        if self.stream && self.cluster.is_filtered() {
            return Err(Usage("--filter cannot be used with --stream; use --watch".into()).into());
        }
        Ok(Sources::list(sources)?)
    }

    /// The given flag that follows the cluster until interrupted, if any.
    pub fn follow_flag(&self) -> Option<&'static str> {
        let flags = [("--watch", self.watch), ("--stream", self.stream)];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The region of new rows.
    pub fn region(&self) -> String {
        self.region.clone().or_else(|| cluster::variable("NOMAD_REGION")).unwrap_or_default()
    }

    /// The verbosity.
    pub fn verbosity(&self) -> Verbosity {
        Verbosity::from_flags(self.quiet, self.verbose)
    }

    /// Intake options without a job filter.
    pub fn intake_options(&self) -> intake::IntakeOptions {
        intake::IntakeOptions {
            source: self.documents(),
            region: self.region(),
            filter: self.filter(None),
            strict: self.strict,
            absences: Absences::AtTheEnd,
            known_files: None,
        }
    }

    /// What the flags state about all documents.
    fn documents(&self) -> source::SourceOptions {
        let full_listing = self.full_listing.then(|| self.namespace.clone().unwrap_or_else(|| "*".into()));
        source::SourceOptions { observed_at: self.observed_at.map(|m| m.0), full_listing }
    }

    fn filter(&self, job: Option<Glob>) -> Filter {
        Filter {
            namespace: self.namespace.clone(),
            job,
            allocation: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
        }
    }

    fn parse(&self, text: &str, frames_every: Duration) -> anyhow::Result<Source> {
        if !Address::has_scheme(text) {
            return Ok(Source::parse(text));
        }
        self.cluster(Address::parse(text).map_err(|problem| Usage(format!("SOURCE: {problem}")))?, frames_every)
    }

    fn cluster(&self, address: Address, frames_every: Duration) -> anyhow::Result<Source> {
        let ask = self.cluster.ask(self.namespace.as_deref(), &self.prefix);
        let mut cluster = self.cluster.cluster(address, &self.region(), ask, self.follow_flag().is_some())?;
        let watching = Watching { min_interval: self.min_interval, frames_every, by_stream: self.stream };
        cluster.watching = self.follow_flag().map(|_| watching);
        if let Some(lasting) = self.lasting {
            let stop = cluster.client.stop().clone();
            thread::spawn(move || {
                thread::sleep(lasting);
                stop.cancel();
            });
        }
        Ok(Source::Documents(cluster::source(cluster)))
    }
}

impl StatisticsArgs {
    /// The sources of the SOURCE arguments.
    ///
    /// # Errors
    /// As [`SourceArgs::sources`].
    pub fn sources(&self) -> anyhow::Result<Sources> {
        self.source.sources(self.source.min_interval)
    }

    /// The verbosity.
    pub fn verbosity(&self) -> Verbosity {
        self.source.verbosity()
    }

    /// The pipeline over these sources, without any table or view.
    ///
    /// # Errors
    /// When `--job` is malformed, or flags for documents are given with lakes only.
    pub fn pipeline(&self, sources: Sources) -> anyhow::Result<Pipeline> {
        let source = &self.source;
        if sources.are_lakes() && (source.observed_at.is_some() || source.full_listing || source.strict) {
            let word = "--observed-at, --full-listing and --strict apply to documents, and every SOURCE is a lake";
            return Err(Usage(word.into()).into());
        }
        let job =
            self.job.as_deref().map(|glob| Glob::new(glob).map_err(|problem| Usage(format!("--job {glob} {problem}"))));
        Ok(Pipeline {
            sources,
            by: self.by.clone(),
            period: self.period(),
            method: self.method,
            filter: source.filter(job.transpose()?),
            documents: source.documents(),
            region: source.region(),
            lake_region: source.region.clone(),
            strict: source.strict,
            ..Pipeline::default()
        })
    }

    /// The period of the statistics.
    pub fn period(&self) -> Period {
        Period { since: self.since, until: self.until }
    }

    /// The arguments that read the same input again. The word SOURCE replaces stdin, which cannot be read again. It
    /// also replaces an address that may contain a password; after `--address`, the word URL replaces such an address.
    pub fn again(&self) -> Again {
        let source = &self.source;
        let filters = [
            ("--region", source.region.clone()),
            ("--namespace", source.namespace.clone()),
            ("--job", self.job.clone()),
            ("--prefix", Some(source.prefix.clone()).filter(|prefix| !prefix.is_empty())),
            ("--since", self.since.map(|when| when.argument())),
            ("--until", self.until.map(|when| when.argument())),
            (
                "--address",
                source
                    .cluster
                    .address
                    .as_ref()
                    .map(|text| if text.contains('@') { "URL".into() } else { text.clone() }),
            ),
        ];
        let name = |text: &String| if text == "-" || text.contains('@') { "SOURCE".to_owned() } else { text.clone() };
        Again {
            filters: filters.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect(),
            sources: source.sources.iter().map(name).collect(),
        }
    }

    /// The given filters, as flags.
    pub fn filter_flags(&self) -> String {
        let flags = [
            self.source.region.as_ref().map(|region| format!("--region {region}")),
            self.source.namespace.as_ref().map(|namespace| format!("--namespace {namespace}")),
            self.job.as_ref().map(|job| format!("--job {job}")),
            Some(&self.source.prefix).filter(|prefix| !prefix.is_empty()).map(|prefix| format!("--prefix {prefix}")),
        ];
        flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Format] {
        &Format::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Format::Parquet => ("parquet", "Apache Parquet with zstd"),
            Format::Csv => ("csv", "CSV with a header line"),
            Format::Ndjson => ("ndjson", "One JSON object per line"),
            Format::Arrow => ("arrow", "Arrow IPC file"),
            Format::Json => ("json", "A JSON array of objects"),
            Format::Markdown => ("markdown", "A Markdown table"),
            Format::Table => ("table", "A table for a terminal, with long texts truncated"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for Dialect {
    fn value_variants<'a>() -> &'a [Dialect] {
        &Dialect::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Dialect::Duckdb => ("duckdb", "DuckDB with its delta extension; views are tables, see --refresh"),
            Dialect::Spark => ("spark", "Spark with Delta Lake; views are tables, see --refresh"),
            Dialect::Trino => ("trino", "Trino with a Delta Lake catalog; views are tables, see --refresh"),
            Dialect::Clickhouse => ("clickhouse", "ClickHouse; views are tables that it recomputes every hour"),
            Dialect::Bigquery => ("bigquery", "BigQuery; views are tables, see --refresh"),
            Dialect::Snowflake => ("snowflake", "Snowflake; views are tables, see --refresh"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}
