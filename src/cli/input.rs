//! Flags of every command that reads sources, and the stages they share: from sources to stored tables, from stored
//! tables to views.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use tempfile::TempDir;

use super::cluster;
use super::console::{Console, Loudness};
use super::shown::Shown;
use super::{heard, interrupt, target};
use crate::error::{Exit, Usage};
use crate::glob::Glob;
use crate::intake::{self, Absences, Deliver, Note, Summary, Watch};
use crate::lake::{self, Lake, seen::Seen};
use crate::merge::Filter;
use crate::nomad::Address;
use crate::output::OutputFile;
use crate::presence::{self, Presence};
use crate::query::{self, By, Period, Plan, View, plan};
use crate::render;
use crate::source::{self, Input, Source, Watching};
use crate::store::Store;
use crate::store::growing::Growing;
use crate::tables::Table;
use crate::time;

/// Sources and how to read them.
#[derive(Debug, clap::Args)]
pub struct Reading {
    /// What to read; by default the live cluster of NOMAD_ADDR
    ///
    /// Files, directories, quoted globs, archives, - for stdin, the http://, https:// or unix:// address of a Nomad
    /// agent, or a lake (a directory, s3://, gs://, az://).
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Read only this namespace; * for all
    ///
    /// By default, a live cluster is queried for the namespace that NOMAD_NAMESPACE names, or all.
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
    /// Applies to documents that do not say so themselves.
    #[arg(long, value_name = "TIME")]
    pub observed_at: Option<time::Moment>,
    /// Treat documents as complete listings: a missing allocation is gone
    ///
    /// They list every allocation (of --namespace, if given). Lists of nodes and streams do not count as listings.
    #[arg(long)]
    pub full_listing: bool,
    /// Validate every byte; write nothing if any input is rejected
    #[arg(long)]
    pub strict: bool,
    /// Print only errors and rejected input
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// List every skipped file
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub cluster: cluster::Args,
    /// Follow the cluster by polling until interrupted, then write
    ///
    /// Lists with every change. Ends by Ctrl-C, SIGTERM or --for.
    #[arg(long, help_heading = "Live cluster", group = "going_on")]
    pub watch: bool,
    /// Follow Nomad's event stream instead of polling
    ///
    /// Also shows what comes and goes between two listings. Lists again after a possible gap.
    #[arg(long, help_heading = "Live cluster", group = "going_on")]
    pub stream: bool,
    /// With --watch or --stream, the minimum time between two updates
    #[arg(long, help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span, default_value = "5s",
        requires = "going_on")]
    pub min_interval: Duration,
    /// With --watch or --stream, end after this time
    #[arg(long = "for", help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span,
        requires = "going_on")]
    pub lasting: Option<Duration>,
}

/// Filters and groups, for commands that show the data.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub reading: Reading,
    /// Read only jobs whose ID matches this glob
    #[arg(long, value_name = "GLOB")]
    pub job: Option<String>,
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
    ///
    /// Some of region, namespace, job_id, task_group, task, job_version, job_type, node_id, node_name, node_class,
    /// datacenter.
    ///
    /// Shares and quantiles are recomputed from the tasks, never averaged. Applies to restarts, failure_summary,
    /// start_latency, start_phases and coverage_summary; the other views have a row per task, allocation or job.
    #[arg(long, value_name = "COLUMN,...", default_value_t, hide_default_value = true)]
    pub by: By,
}

/// What a command needs from its sources.
#[derive(Debug, Default)]
pub struct Needs {
    /// Stored tables to deliver, besides those that the views read.
    pub tables: BTreeSet<Table>,
    /// Views to compute, besides those that they read.
    pub views: Vec<&'static View>,
    /// How far back a lake is read, at least; `None` for all of it.
    pub lake_span: Option<i64>,
}

/// What was read, and its exit code.
#[derive(Debug)]
pub struct Gathered {
    pub summary: Summary,
    pub exit: Exit,
    /// Why the filters and the period select nothing, if so.
    pub nothing: Option<String>,
}

impl Gathered {
    /// Warns if nothing is selected; fails if there are conditions.
    ///
    /// # Errors
    /// When nothing is selected and there are conditions, which no row could violate.
    pub fn expect_something(&self, has_conditions: bool, console: &Console) -> anyhow::Result<()> {
        match &self.nothing {
            Some(why) if has_conditions => {
                bail!(
                    "{why}, so --fail-if cannot be evaluated; nothing was written (--allow-empty accepts an empty result)"
                )
            }
            Some(why) => {
                console.say_if(Loudness::Usual, &format!("warning: {why}"));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The target of a result, and the temporary directory of its store. Both are removed on interruption.
#[derive(Debug)]
pub enum Place {
    /// Stdout, computed in a temporary directory.
    Standard(TempDir),
    /// A pipe or a device, written to in place.
    Stream(PathBuf, TempDir),
    /// A file.
    File(OutputFile),
}

impl Place {
    /// Creates the temporary file or directory for a result.
    ///
    /// # Errors
    /// When the target cannot be written.
    pub fn begin(file: Option<&Path>) -> anyhow::Result<Place> {
        interrupt::undisturbed(|unfinished| {
            let directory = || tempfile::tempdir().context("cannot create a temporary directory");
            let place = match file {
                None => Place::Standard(directory()?),
                Some(path) if target::is_stream(path) => Place::Stream(path.to_owned(), directory()?),
                Some(path) => Place::File(OutputFile::begin(path)?),
            };
            *unfinished = Some(place.directory().to_owned());
            Ok(place)
        })
    }

    /// The store of the result.
    pub fn store(&self) -> Store {
        Store::at(self.directory())
    }

    /// Writes the result and moves it to its target.
    ///
    /// # Errors
    /// When `write` fails, or the target cannot be written.
    pub fn finish(self, write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Place::Standard(_) => {
                let mut out = heard::stdout();
                write(&mut out)?;
                Ok(out.flush()?)
            }
            Place::Stream(path, _) => {
                let cannot = || format!("cannot write {}", path.display());
                let mut out = File::options().write(true).open(&path).with_context(cannot)?;
                write(&mut out).with_context(cannot)
            }
            Place::File(file) => {
                write(&mut file.create()?)?;
                interrupt::undisturbed(|unfinished| {
                    *unfinished = None;
                    file.commit()
                })
            }
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Place::Standard(directory) | Place::Stream(_, directory) => directory.path(),
            Place::File(file) => file.temporary(),
        }
    }
}

impl Reading {
    /// The inputs that the sources name.
    ///
    /// # Errors
    /// When a source cannot be resolved.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.inputs_with(self.min_interval)
    }

    /// Like [`Reading::inputs`], with one document of event-stream frames per `frames_every`.
    ///
    /// # Errors
    /// As [`Reading::inputs`].
    pub fn inputs_with(&self, frames_every: Duration) -> anyhow::Result<Vec<Input>> {
        let source = |text: &String| self.source(text, frames_every);
        let mut sources = self.sources.iter().map(source).collect::<anyhow::Result<Vec<_>>>()?;
        if sources.is_empty() {
            sources.push(self.live(self.cluster.usual_address()?, frames_every)?);
        }
        let is_live = sources.iter().any(|source| matches!(source, Source::Cluster(_)));
        if let Some(flag) = self.cluster.idle_flag().filter(|_| !is_live) {
            return Err(Usage(format!("{flag} applies to a live cluster, and no SOURCE is one")).into());
        }
        if let Some(flag) = self.going_on().filter(|_| !is_live || sources.len() > 1) {
            return Err(Usage(format!("{flag} needs exactly one SOURCE, a live cluster")).into());
        }
        if let Some(flag) = self.going_on().filter(|_| self.observed_at.is_some() || self.full_listing) {
            return Err(Usage(format!("--observed-at and --full-listing cannot be used with {flag}")).into());
        }
        if self.full_listing && sources.iter().all(|source| matches!(source, Source::Cluster(_))) {
            let word = "--full-listing is for documents; a live cluster shows which of its listings are full";
            return Err(Usage(word.into()).into());
        }
        if self.stream && self.cluster.is_filtered() {
            return Err(Usage("--filter cannot be used with --stream; use --watch".into()).into());
        }
        Ok(source::list(&sources).map_err(Usage)?)
    }

    /// The lakes among the sources.
    pub fn lakes(&self) -> Vec<&str> {
        let is_lake = |text: &&String| matches!(Source::parse(text), Source::Lake(_));
        self.sources.iter().filter(is_lake).map(String::as_str).collect()
    }

    /// The flag given that follows the cluster until interrupted.
    pub fn going_on(&self) -> Option<&'static str> {
        let flags = [("--watch", self.watch), ("--stream", self.stream)];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The region of new rows.
    pub fn label(&self) -> String {
        self.region.clone().or_else(|| cluster::variable("NOMAD_REGION")).unwrap_or_default()
    }

    /// The verbosity.
    pub fn loudness(&self) -> Loudness {
        Loudness::of(self.quiet, self.verbose)
    }

    /// Intake options; `job` filters jobs.
    pub fn options(&self, job: Option<Glob>) -> intake::Options {
        let full_listing = self.full_listing.then(|| self.namespace.clone().unwrap_or_else(|| "*".into()));
        intake::Options {
            source: source::Options { observed_at: self.observed_at.map(|m| m.0), full_listing },
            region: self.label(),
            filter: self.filter(job),
            strict: self.strict,
            absences: Absences::AtTheEnd,
        }
    }

    /// The filter on allocations.
    fn filter(&self, job: Option<Glob>) -> Filter {
        Filter {
            namespace: self.namespace.clone(),
            job,
            allocation: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
        }
    }

    /// Parses one SOURCE.
    fn source(&self, text: &str, frames_every: Duration) -> anyhow::Result<Source> {
        if !Address::is_meant(text) {
            return Ok(Source::parse(text));
        }
        self.live(Address::parse(text).map_err(|problem| Usage(format!("SOURCE: {problem}")))?, frames_every)
    }

    fn live(&self, address: Address, frames_every: Duration) -> anyhow::Result<Source> {
        let ask = self.cluster.ask(self.namespace.as_deref(), &self.prefix);
        let mut cluster = self.cluster.cluster(address, &self.label(), ask, self.going_on().is_some())?;
        let watching = Watching { min_interval: self.min_interval, frames_every, by_stream: self.stream };
        cluster.watching = self.going_on().map(|_| watching);
        if let Some(lasting) = self.lasting {
            let stop = cluster.client.stop().clone();
            thread::spawn(move || {
                thread::sleep(lasting);
                stop.set();
            });
        }
        Ok(cluster::source(cluster))
    }

    /// The first source without allocations: all of them together, or one that may hold several files. A stream without
    /// events is a valid source if another one has allocations.
    pub fn without_allocations(&self, inputs: &[Input], summary: &Summary) -> Option<String> {
        let has_listings = |number: usize| summary.listings_by_source.contains_key(&number);
        let mut numbered = self.sources.iter().enumerate();
        if summary.documents > 0 || !self.lakes().is_empty() {
            let any = !summary.listings_by_source.is_empty() || !self.lakes().is_empty();
            let is_answer = |number: usize| has_listings(number) || (any && summary.quiet_sources.contains(&number));
            let empty = numbered.find(|(number, text)| !is_answer(*number) && Source::parse(text).holds_many());
            return empty.map(|(_, text)| text.clone());
        }
        // An address as typed may hold a password; the name of its input does not.
        let first = numbered.next().map(|(_, text)| text).filter(|text| !Address::is_meant(text));
        first.cloned().or_else(|| inputs.first().map(|input| input.name.clone()))
    }
}

impl Args {
    /// The inputs that the sources name.
    ///
    /// # Errors
    /// When a source cannot be resolved.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.reading.inputs()
    }

    /// The verbosity.
    pub fn loudness(&self) -> Loudness {
        self.reading.loudness()
    }

    /// Fills the store with the required tables and views, and prints a summary. `show` is called with the store as it
    /// is then, repeatedly while more documents arrive.
    ///
    /// # Errors
    /// When a source has no allocations, the store cannot be written, a view cannot be computed, or with `--strict` any
    /// input is rejected.
    pub fn gather(
        &self,
        inputs: &[Input],
        needs: &Needs,
        store: &Store,
        console: &Console,
        show: Option<&mut Show<'_>>,
    ) -> anyhow::Result<Gathered> {
        cluster::announce(inputs, console);
        let mut views = plan::needed(&needs.views, &self.by)?;
        // The summary prints the number of lost restarts.
        views.iter_mut().filter(|plan| plan.view.name == "coverage").for_each(|plan| plan.is_wanted = true);
        let mut tables = plan::tables(&views);
        tables.extend(&needs.tables);
        tables.insert(Table::Snapshots); // spans count back from its newest observation
        if self.counts_allocations() {
            tables.insert(Table::AllocationHistory); // needed to decide whether the filters match anything
        }
        if self.reading.going_on().is_some() {
            console.done(); // the total is unknown
        }
        self.check_lakes()?;
        let result = match show {
            None => self.take_in(inputs, needs.lake_span, store, tables, console),
            Some(show) => self.take_in_and_show(inputs, store, tables, &views, console, show),
        };
        if result.is_ok() && !views.is_empty() {
            console.stage("computing views");
            query::run(store, &views, self.period())?;
        }
        console.done();
        console.tell_passed_over();
        let summary = result?;
        if self.reading.strict && summary.rejected > 0 {
            bail!("input was rejected and --strict is set; nothing was written");
        }
        if let Some(source) = self.reading.without_allocations(inputs, &summary) {
            bail!("{source}: no allocations found; nothing was written");
        }
        if !inputs.is_empty() {
            let has_coverage = views.iter().any(|plan| plan.view.name == "coverage");
            let lost = has_coverage.then(|| lost_restarts(store)).transpose()?;
            tell_summary(&summary, self.is_filtered(), lost, console);
        }
        self.warn_of_idle_flags(&views, console);
        let nothing = self.selects_nothing(store)?;
        let exit = if summary.rejected > 0 { Exit::Rejected } else { Exit::Done };
        Ok(Gathered { summary, exit, nothing })
    }

    /// Reads the sources into the store's tables: lakes first.
    fn take_in(
        &self,
        inputs: &[Input],
        lake_span: Option<i64>,
        store: &Store,
        tables: BTreeSet<Table>,
        console: &Console,
    ) -> anyhow::Result<Summary> {
        let wanted: Vec<Table> = tables.iter().copied().collect();
        let mut writer = store.writer(tables)?;
        let watch = Watch { read: &|bytes| console.read(bytes), note: &|note| console.note(note) };
        let mut options = self.reading.options(self.job()?);
        let lakes = self.reading.lakes();
        // Absences in listings read together with a lake depend on the lake's rows.
        let mut presence = (!lakes.is_empty() && !inputs.is_empty()).then(Presence::default);
        if presence.is_some() {
            options.absences = Absences::Left;
        }
        // Two sources may hold the same row; each single source is deduplicated.
        let mut seen = (!lakes.is_empty() && lakes.len() + inputs.len() > 1).then(Seen::default);
        let mut deliver = |table: Table, batch: RecordBatch| {
            let batch = match &mut seen {
                Some(seen) => unseen(seen, table, &batch)?,
                None => batch,
            };
            writer.add(table, batch)
        };
        let mut of_lakes = Summary::default();
        for text in lakes {
            let mut deliver = |table: Table, batch: RecordBatch| {
                presence.as_mut().map_or(Ok(()), |presence| presence.take(table, &batch))?;
                deliver(table, batch)
            };
            self.take_lake(text, &wanted, lake_span, &mut of_lakes, console, &mut deliver)?;
        }
        let taken = if inputs.is_empty() {
            Ok(Summary::default())
        } else {
            intake::run(inputs, &options, &watch, &mut deliver)
        };
        if let (Some(presence), Ok(summary)) = (&mut presence, &taken) {
            let rows = presence.add(&options.region, &summary.shown, false);
            let batches = presence::batches(&options.region, &rows)?;
            batches.into_iter().try_for_each(|(table, batch)| deliver(table, batch))?;
        }
        // An error of the writer is the cause of later ones: report it first.
        writer.finish().context("cannot write the tables")?;
        let mut summary = taken?;
        summary.documents += of_lakes.documents;
        Ok(summary)
    }

    /// Reads a live cluster into the store's tables, and shows them while more documents arrive.
    fn take_in_and_show(
        &self,
        inputs: &[Input],
        store: &Store,
        tables: BTreeSet<Table>,
        views: &[Plan],
        console: &Console,
        show: &mut Show<'_>,
    ) -> anyhow::Result<Summary> {
        let shown = Shown::new(Growing::new(store, tables));
        let rejected = AtomicU64::new(0);
        let note = |note: Note| {
            rejected.fetch_add(u64::from(matches!(note, Note::Rejected(_))), Ordering::Relaxed);
            console.note(note);
        };
        let watch = Watch { read: &|bytes| console.read(bytes), note: &note };
        let options = intake::Options { absences: Absences::ByDocument, ..self.reading.options(self.job()?) };
        let mut refresh = |documents: u64| {
            query::run(store, views, self.period())?;
            let rejected = rejected.load(Ordering::Relaxed);
            show(store, &Summary { documents, rejected, ..Summary::default() })
        };
        let (taken, refreshed) = thread::scope(|scope| {
            let refreshing = scope.spawn(|| shown.refresh(self.reading.min_interval, &mut refresh));
            let taken = intake::run(inputs, &options, &watch, &mut |table, batch| shown.add(table, batch));
            shown.end();
            (taken, refreshing.join())
        });
        // An error of the refresh loop is the cause of later ones: report it first.
        refreshed.map_err(|_| anyhow!("the refresh thread panicked; this is a bug in alloclog"))??;
        shown.finish()?;
        Ok(taken?)
    }

    /// Reads the wanted rows of a lake.
    fn take_lake(
        &self,
        text: &str,
        tables: &[Table],
        span: Option<i64>,
        summary: &mut Summary,
        console: &Console,
        deliver: &mut Deliver<'_>,
    ) -> anyhow::Result<()> {
        let lake = Lake::open(text)?;
        let wanted =
            lake::read::Wanted { region: self.reading.region.clone(), filter: self.filter()?, span, since: self.since };
        let found = lake::read::rows(&lake, tables, &wanted, deliver)?;
        summary.documents += found.rows.get(Table::Snapshots.name()).copied().unwrap_or_default();
        let events = found.rows.get(Table::TaskEvents.name()).copied().unwrap_or_default();
        let since = found
            .since
            .map_or("all of it".to_owned(), |ns| format!("allocations seen since {}", time::to_rfc3339_seconds(ns)));
        let line = format!(
            "lake {}: {since}: {}, from {} of {}",
            lake.objects,
            plural(events, "task event"),
            found.files.0,
            plural(found.files.1 as u64, "file"),
        );
        console.say_if(Loudness::Usual, &line);
        Ok(())
    }

    /// Refuses flags that apply to documents only, if all sources are lakes.
    fn check_lakes(&self) -> anyhow::Result<()> {
        let reading = &self.reading;
        let has_lakes_only = !reading.sources.is_empty() && reading.lakes().len() == reading.sources.len();
        if has_lakes_only && (reading.observed_at.is_some() || reading.full_listing || reading.strict) {
            let word = "--observed-at, --full-listing and --strict apply to documents, and every SOURCE is a lake";
            return Err(Usage(word.into()).into());
        }
        Ok(())
    }

    /// The period of the statistics.
    pub fn period(&self) -> Period {
        Period { since: self.since, until: self.until }
    }

    /// The filter on allocations.
    ///
    /// # Errors
    /// When `--job` is not a glob.
    pub fn filter(&self) -> anyhow::Result<Filter> {
        Ok(self.reading.filter(self.job()?))
    }

    fn job(&self) -> anyhow::Result<Option<Glob>> {
        let job =
            self.job.as_deref().map(|glob| Glob::new(glob).map_err(|problem| Usage(format!("--job {glob} {problem}"))));
        Ok(job.transpose()?)
    }

    /// Warns of flags that have no effect on the requested results.
    fn warn_of_idle_flags(&self, views: &[Plan], console: &Console) {
        let has_period = self.since.is_some() || self.until.is_some();
        if has_period && !views.iter().any(|plan| plan.view.name == "period") {
            let word =
                "warning: --since and --until have no effect: they restrict statistics only, and none is requested";
            console.say_if(Loudness::Usual, word);
        }
        if self.by != By::default() && !views.iter().any(|plan| plan.view.is_grouped()) {
            let grouped = query::VIEWS.iter().filter(|view| view.is_grouped()).map(|view| view.name);
            let grouped = grouped.collect::<Vec<_>>().join(", ");
            let word = format!("warning: --by has no effect: it groups {grouped} only, and none is requested");
            console.say_if(Loudness::Usual, &word);
        }
    }
}

/// The rows that no earlier source delivered.
fn unseen(seen: &mut Seen, table: Table, batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let mut is_new = Vec::with_capacity(batch.num_rows());
    for row in table.identities(batch)? {
        is_new.push(!seen.meet(table, row, 0));
        seen.add(table, row, None, 0);
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(is_new))?)
}

/// Called with a store of all rows so far and their summary.
pub type Show<'s> = dyn FnMut(&Store, &Summary) -> anyhow::Result<()> + Send + 's;

/// The lost restarts in the store's coverage, and the number of tasks for which that is unknown.
pub fn lost_restarts(store: &Store) -> anyhow::Result<(i64, u64)> {
    let lost = render::int64s(store, "coverage", "lost_restarts")?;
    let unknown = lost.iter().filter(|n| n.is_none()).count() as u64;
    Ok((lost.iter().flatten().sum(), unknown))
}

/// Prints what was read from documents.
pub fn tell_summary(summary: &Summary, is_filtered: bool, lost: Option<(i64, u64)>, console: &Console) {
    let lost = match lost {
        None => String::new(),
        Some((lost, 0)) => format!(", {} lost", plural(lost as u64, "restart")),
        Some((lost, unknown)) => {
            format!(", {} lost (not known for {})", plural(lost as u64, "restart"), plural(unknown, "task"))
        }
    };
    let repeated = summary.task_events - summary.new_task_events;
    let repeated =
        if is_filtered { format!("{repeated} repeated or filtered out") } else { format!("{repeated} repeated") };
    let line = format!(
        "{}, {}, {}: {} new, {repeated}{lost}, {} rejected",
        plural(summary.documents, "document"),
        plural(summary.allocations, "allocation"),
        plural(summary.task_events, "task event"),
        summary.new_task_events,
        summary.rejected,
    );
    console.say_if(Loudness::Usual, &line);
    if !summary.unknown_fields.is_empty() {
        let named: Vec<String> = summary.unknown_fields.iter().map(|(field, n)| format!("{field} ({n})")).collect();
        console.say_if(Loudness::Verbose, &format!("fields unknown to this version: {}", named.join(", ")));
    }
}

pub fn plural(n: u64, noun: &str) -> String {
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}{ending}") }
}
