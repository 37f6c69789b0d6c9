//! What every command that reads sources takes, and the stages that all of them begin with: sources to stored tables,
//! stored tables to views.

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

/// The sources, and how they are read: what every command that reads any takes.
#[derive(Debug, clap::Args)]
pub struct Reading {
    /// What to read: files, directories, quoted globs, archives, - for standard input, the http://, https:// or unix://
    /// address of a Nomad agent, or a lake (a directory, s3://, gs://, az://); without any, the live cluster of
    /// NOMAD_ADDR
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Only allocations of this namespace; * for all. A live cluster is asked for what NOMAD_NAMESPACE names, else all
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only allocations whose ID begins so
    #[arg(long, value_name = "ID", value_parser = cluster::prefix, default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// The region that all rows get, and that a live cluster is asked for; without it NOMAD_REGION. Of a lake, only rows
    /// of this region
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// When the documents were observed (RFC 3339), for those that do not say so themselves
    #[arg(long, value_name = "TIME")]
    pub observed_at: Option<time::Moment>,
    /// The documents list every allocation (of --namespace, if given), so that one which is missing has vanished; lists of
    /// nodes and streams do not count as such
    #[arg(long)]
    pub full_listing: bool,
    /// Validate every byte, and write nothing if any of it is wrong
    #[arg(long)]
    pub strict: bool,
    /// Say only what is wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Name every file that is passed over
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub cluster: cluster::Args,
    /// Go on with every change of the cluster until told to stop (Ctrl-C, SIGTERM), then write what was seen
    #[arg(long, help_heading = "Live cluster", group = "going_on")]
    pub watch: bool,
    /// The same by Nomad's event stream, which shows what comes and goes between two listings; lists anew wherever the
    /// stream may have missed something
    #[arg(long, help_heading = "Live cluster", group = "going_on")]
    pub stream: bool,
    /// With --watch or --stream, the time between two looks at the cluster at least
    #[arg(long, help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span, default_value = "5s",
        requires = "going_on")]
    pub min_interval: Duration,
    /// With --watch or --stream, end after so much time
    #[arg(long = "for", help_heading = "Live cluster", value_name = "TIME", value_parser = cluster::span,
        requires = "going_on")]
    pub lasting: Option<Duration>,
}

/// What of the sources counts, for commands that show it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub reading: Reading,
    /// Only jobs whose ID matches this glob
    #[arg(long, value_name = "GLOB")]
    pub job: Option<String>,
    /// Cut statistics to what came at or after this: a time such as 2026-11-23T18:28:01Z, a day such as 2026-11-23 (from
    /// midnight UTC), or 24h, 30m, 7d before the newest observation
    ///
    /// Stored tables, allocations, task_states and coverage are never cut.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<time::When>,
    /// Cut statistics to what came before this
    #[arg(long, value_name = "WHEN")]
    pub until: Option<time::When>,
    /// What a row of the statistics is about: some of region, namespace, job_id, task_group, task, job_version,
    /// job_type, node_id, node_name, node_class, datacenter
    ///
    /// Shares and quantiles are computed anew from the tasks, never averaged. Holds for restarts, failure_summary,
    /// start_latency, start_phases and coverage_summary; the other views name single tasks, allocations or jobs.
    #[arg(long, value_name = "COLUMN,...", default_value_t, hide_default_value = true)]
    pub by: By,
}

/// What a command needs of its sources.
#[derive(Debug, Default)]
pub struct Needs {
    /// Stored tables that are wanted themselves, besides those that the views read.
    pub tables: BTreeSet<Table>,
    /// Views that are wanted, besides those that they need.
    pub views: Vec<&'static View>,
    /// How far back a lake is looked at, at least; `None` for all of it.
    pub lake_span: Option<i64>,
}

/// What was taken in, and what it means for the exit code.
#[derive(Debug)]
pub struct Gathered {
    pub summary: Summary,
    pub exit: Exit,
    /// Why filters and period leave nothing to look at, if they do.
    pub nothing: Option<String>,
}

impl Gathered {
    /// Warns if there is nothing to look at; with conditions on it, fails.
    ///
    /// # Errors
    /// When nothing is selected and there are conditions, which would all seem to be met by it.
    pub fn expect_something(&self, has_conditions: bool, console: &Console) -> anyhow::Result<()> {
        match &self.nothing {
            Some(why) if has_conditions => {
                bail!(
                    "{why}, so --fail-if has nothing to judge; nothing was written (--allow-empty: that is an answer)"
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

/// Where a result for reading goes, and the store in which it is computed. Both go if the program is told to stop.
#[derive(Debug)]
pub enum Place {
    /// Standard output, computed in a directory for temporary files.
    Standard(TempDir),
    /// A pipe or a device, which is written to as it is.
    Stream(PathBuf, TempDir),
    /// A file.
    File(OutputFile),
}

impl Place {
    /// Begins a result in a file, or for standard output.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn begin(file: Option<&Path>) -> anyhow::Result<Place> {
        interrupt::undisturbed(|unfinished| {
            let directory = || tempfile::tempdir().context("no temporary directory can be made");
            let place = match file {
                None => Place::Standard(directory()?),
                Some(path) if target::is_stream(path) => Place::Stream(path.to_owned(), directory()?),
                Some(path) => Place::File(OutputFile::begin(path)?),
            };
            *unfinished = Some(place.directory().to_owned());
            Ok(place)
        })
    }

    /// The store in which it is computed.
    pub fn store(&self) -> Store {
        Store::at(self.directory())
    }

    /// Writes the result, and puts it in its place.
    ///
    /// # Errors
    /// When `write` fails, or the place cannot be written.
    pub fn finish(self, write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Place::Standard(_) => {
                let mut out = heard::stdout();
                write(&mut out)?;
                Ok(out.flush()?)
            }
            Place::Stream(path, _) => {
                let cannot = || format!("{} cannot be written", path.display());
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
    /// The files that the sources mean.
    ///
    /// # Errors
    /// When a source is none that can be read.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.inputs_with(self.min_interval)
    }

    /// The same; frames of an event stream make a document so often.
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
            return Err(Usage(format!("{flag} is for a live cluster, and no SOURCE is one")).into());
        }
        if let Some(flag) = self.going_on().filter(|_| !is_live || sources.len() > 1) {
            return Err(Usage(format!("{flag} takes one live cluster and no other SOURCE")).into());
        }
        if self.stream && self.cluster.is_filtered() {
            return Err(Usage("an event stream knows no --filter: --watch does".into()).into());
        }
        Ok(source::list(&sources).map_err(Usage)?)
    }

    /// The lakes among the sources.
    pub fn lakes(&self) -> Vec<&str> {
        let is_lake = |text: &&String| matches!(Source::parse(text), Source::Lake(_));
        self.sources.iter().filter(is_lake).map(String::as_str).collect()
    }

    /// The flag that says to go on until told to stop.
    pub fn going_on(&self) -> Option<&'static str> {
        let flags = [("--watch", self.watch), ("--stream", self.stream)];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The region that new rows get.
    pub fn label(&self) -> String {
        self.region.clone().or_else(|| cluster::variable("NOMAD_REGION")).unwrap_or_default()
    }

    /// How much is said.
    pub fn loudness(&self) -> Loudness {
        Loudness::of(self.quiet, self.verbose)
    }

    /// How the sources are taken in; `job` says which jobs count.
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

    /// Which allocations count.
    fn filter(&self, job: Option<Glob>) -> Filter {
        Filter {
            namespace: self.namespace.clone(),
            job,
            allocation: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
        }
    }

    /// The source that a text means.
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

    /// The first source in which nothing holds allocations: all of them together, or one that may hold many files. A
    /// stream in which nothing happened is an answer beside others.
    pub fn without_allocations(&self, inputs: &[Input], summary: &Summary) -> Option<String> {
        let has_listings = |number: usize| summary.listings_by_source.contains_key(&number);
        let mut numbered = self.sources.iter().enumerate();
        if summary.documents > 0 || !self.lakes().is_empty() {
            let any = !summary.listings_by_source.is_empty() || !self.lakes().is_empty();
            let is_answer = |number: usize| has_listings(number) || (any && summary.quiet_sources.contains(&number));
            let empty = numbered.find(|(number, text)| !is_answer(*number) && Source::parse(text).holds_many());
            return empty.map(|(_, text)| text.clone());
        }
        // An address may hold a password as it was written; its input is named without.
        let first = numbered.next().map(|(_, text)| text).filter(|text| !Address::is_meant(text));
        first.cloned().or_else(|| inputs.first().map(|input| input.name.clone()))
    }
}

impl Args {
    /// The files that the sources mean.
    ///
    /// # Errors
    /// When a source is none that can be read.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.reading.inputs()
    }

    /// How much is said.
    pub fn loudness(&self) -> Loudness {
        self.reading.loudness()
    }

    /// Fills the store with the tables and views that are needed, and says what was done. `show` is shown the store
    /// with what there is by then, again and again while more comes.
    ///
    /// # Errors
    /// When a source holds nothing, the store cannot be written, a view cannot be computed, or with `--strict`
    /// anything is wrong.
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
        // The summary says how many restarts were lost.
        views.iter_mut().filter(|plan| plan.view.name == "coverage").for_each(|plan| plan.is_wanted = true);
        let mut tables = plan::tables(&views);
        tables.extend(&needs.tables);
        tables.insert(Table::Snapshots); // its newest observation is what spans count from
        if self.counts_allocations() {
            tables.insert(Table::AllocationHistory); // says whether the filters match anything
        }
        if self.reading.going_on().is_some() {
            console.done(); // how far it is has no meaning
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
            bail!("nothing was written, since --strict lets nothing be rejected");
        }
        if let Some(source) = self.reading.without_allocations(inputs, &summary) {
            bail!("{source}: nothing there holds allocations; nothing was written");
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
        // What listings lack that are read beside a lake depends on the lake's rows, too.
        let mut presence = (!lakes.is_empty() && !inputs.is_empty()).then(Presence::default);
        if presence.is_some() {
            options.absences = Absences::Left;
        }
        // Two sources may hold the same row; each of them alone holds it once.
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
        // What stopped the writing is the reason for whatever came after it.
        writer.finish().context("the tables cannot be written")?;
        let mut summary = taken?;
        summary.documents += of_lakes.documents;
        Ok(summary)
    }

    /// Reads a live cluster into the store's tables, and shows them while more comes.
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
        // What stopped the showing is the reason for whatever came after it.
        refreshed.map_err(|_| anyhow!("the thread that shows has died; this is a bug of alloclog"))??;
        shown.finish()?;
        Ok(taken?)
    }

    /// Reads what is wanted of a lake.
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

    /// Refuses flags that say of documents what a lake's rows say themselves.
    fn check_lakes(&self) -> anyhow::Result<()> {
        let reading = &self.reading;
        let has_lakes_only = !reading.sources.is_empty() && reading.lakes().len() == reading.sources.len();
        if has_lakes_only && (reading.observed_at.is_some() || reading.full_listing || reading.strict) {
            let word = "--observed-at, --full-listing and --strict are about documents, and the only SOURCE is a lake";
            return Err(Usage(word.into()).into());
        }
        Ok(())
    }

    /// The time that statistics look at.
    pub fn period(&self) -> Period {
        Period { since: self.since, until: self.until }
    }

    /// Which allocations count.
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

    /// Says which flags have no effect on what is computed, so that nobody takes the numbers for others.
    fn warn_of_idle_flags(&self, views: &[Plan], console: &Console) {
        let has_period = self.since.is_some() || self.until.is_some();
        if has_period && !views.iter().any(|plan| plan.view.name == "period") {
            let word = "warning: --since and --until cut statistics only; none is asked for";
            console.say_if(Loudness::Usual, word);
        }
        if self.by != By::default() && !views.iter().any(|plan| plan.view.is_grouped()) {
            let word = format!("warning: --by changes {} only; none is asked for", query::GROUPED.join(", "));
            console.say_if(Loudness::Usual, &word);
        }
    }
}

/// The rows that no source before has shown.
fn unseen(seen: &mut Seen, table: Table, batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let mut is_new = Vec::with_capacity(batch.num_rows());
    for row in table.identities(batch)? {
        is_new.push(!seen.meet(table, row, 0));
        seen.add(table, row, None, 0);
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(is_new))?)
}

/// Gets a store with all that was taken in so far, and what is known of that.
pub type Show<'s> = dyn FnMut(&Store, &Summary) -> anyhow::Result<()> + Send + 's;

/// The restarts whose events were lost by the store's coverage, and the tasks for which that is not known.
pub fn lost_restarts(store: &Store) -> anyhow::Result<(i64, u64)> {
    let lost = render::int64s(store, "coverage", "lost_restarts")?;
    let unknown = lost.iter().filter(|n| n.is_none()).count() as u64;
    Ok((lost.iter().flatten().sum(), unknown))
}

/// Says what was taken in of documents.
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
        console.say_if(Loudness::Verbose, &format!("fields that this version does not know: {}", named.join(", ")));
    }
}

pub fn plural(n: u64, noun: &str) -> String {
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}{ending}") }
}
