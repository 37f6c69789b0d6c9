//! Documents: what a request, a command or a subscription would have put into a file at some moment.

use crate::simulator::cluster::{Allocation, Cluster};
use crate::simulator::json::{Json, Print, object};
use crate::simulator::moment::{rfc3339, stamp, through_float};
use crate::simulator::shapes::Shaper;
use crate::simulator::style::{Layout, Objects, Style};
use crate::simulator::version::{Source, Version};
use crate::simulator::{MINUTE, SECOND};

/// A version of an allocation that a document shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Numbers in `Cluster::allocations` and its `versions`.
    pub allocation: usize,
    pub version: usize,
    /// Whether its task states are there, with their counters.
    pub tasks: bool,
    pub counters: bool,
    /// Whether its times went through a float.
    pub floats: bool,
    /// Whether the whole document looks as if they had: what `times_rounded` says. Known once the document is whole
    /// (see [`Document::shown`]).
    pub marked: bool,
}

/// A file and what of the cluster it shows.
#[derive(Debug, Clone)]
pub struct Document {
    /// A file name with the UTC second of the moment in it.
    pub name: String,
    pub bytes: Vec<u8>,
    /// When it was taken.
    pub at: i64,
    /// In the order of the document, not yet marked.
    pub shown: Vec<Shown>,
    /// Where each of these is whole: the number of bytes up to its end. In a stream, to the end of its line.
    pub ends: Vec<usize>,
}

impl Document {
    /// The same cut off after so many bytes: it shows what was whole by then.
    pub fn cut(&self, at: usize) -> Self {
        let at = at.min(self.bytes.len());
        let whole = self.ends.iter().filter(|end| **end <= at).count();
        Self {
            name: self.name.clone(),
            bytes: self.bytes[..at].to_vec(),
            at: self.at,
            shown: self.shown[..whole].to_vec(),
            ends: self.ends[..whole].to_vec(),
        }
    }

    /// What it shows, marked by the rule of the data model: four or more times of events that all equal their own
    /// shortest print as a float, and not all of them whole microseconds, as those of a coarse clock are.
    pub fn marked(&self, cluster: &Cluster) -> Vec<Shown> {
        let times: Vec<i64> = self.shown.iter().flat_map(|shown| event_times(*shown, cluster)).collect();
        let marked = times.len() >= 4
            && times.iter().any(|ns| ns % 1_000 != 0)
            && times.iter().all(|ns| through_float(*ns) == *ns);
        self.shown.iter().map(|shown| Shown { marked, ..*shown }).collect()
    }

    /// The newest time in it, of allocations and their events.
    pub fn newest(&self, cluster: &Cluster) -> Option<i64> {
        let times = self.shown.iter().flat_map(|shown| {
            let allocation = &cluster.allocations[shown.allocation];
            let of_version = [allocation.versions[shown.version].at, allocation.created];
            let of_version = of_version.map(|ns| if shown.floats { through_float(ns) } else { ns });
            event_times(*shown, cluster).into_iter().chain(of_version)
        });
        times.max()
    }
}

/// The times of the events in an allocation's windows as they are written.
fn event_times(shown: Shown, cluster: &Cluster) -> Vec<i64> {
    let allocation = &cluster.allocations[shown.allocation];
    let steps = allocation.versions[shown.version].steps.iter().flatten().zip(&allocation.lives);
    let windows = steps.filter_map(|(step, life)| Some(&life.events[life.steps[(*step)?].window()]));
    let times = windows.flatten().map(|lived| lived.event.time).filter(|_| shown.tasks);
    times.map(|ns| if shown.floats { through_float(ns) } else { ns }).collect()
}

/// Where the debug command of which age put its listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleLayout {
    /// `interval/0000/allocations.json`, one a line.
    Interval,
    /// `nomad/0000/allocations.json` of before, an array.
    Nomad,
}

impl Cluster {
    /// The list of allocations at a moment of the servers' clock.
    pub fn listing(&self, at: i64, style: &Style) -> Vec<u8> {
        self.document(at, style).bytes
    }

    /// The same with what it shows.
    pub fn document(&self, at: i64, style: &Style) -> Document {
        let mut shown: Vec<(&Allocation, Shown)> = vec![];
        for (number, allocation) in self.allocations.iter().enumerate() {
            if let Some(version) = allocation.version_at(at)
                && style.shows(number, self.jobs[allocation.job].namespace)
            {
                shown.push((allocation, style.shown(number, version)));
            }
        }
        shown.sort_by(|(a, _), (b, _)| (a.create_index, &a.id).cmp(&(b.create_index, &b.id)));
        if style.layout == Layout::Pretty(4) {
            shown.reverse();
        }
        let mut shaper = Shaper::new(self, style);
        let objects = shown.iter().map(|(a, s)| match style.objects {
            Objects::Stub => shaper.stub(a, &a.versions[s.version]),
            Objects::Full => shaper.full(a, &a.versions[s.version], true, style.empties),
        });
        let objects: Vec<Json> = objects.collect();
        let (bytes, ends) = self.lay_out(&objects, style);
        let ending = if matches!(style.layout, Layout::Lines | Layout::Concatenated) { "ndjson" } else { "json" };
        let name = format!("{}.{ending}", stamp(at));
        Document { name, bytes, at, shown: shown.into_iter().map(|(_, s)| s).collect(), ends }
    }

    /// Puts objects together, and tells where each ends.
    fn lay_out(&self, objects: &[Json], style: &Style) -> (Vec<u8>, Vec<usize>) {
        let indent = match style.layout {
            Layout::Pretty(spaces) => Some(spaces),
            Layout::Allocs | Layout::PrettyConcatenated => Some(2),
            _ => None,
        };
        let print = Print { indent, escape_html: style.escape_html };
        let mut out = if style.bom { b"\xef\xbb\xbf".to_vec() } else { vec![] };
        let mut ends = vec![];
        let depth = match style.layout {
            Layout::Array | Layout::Pretty(_) => 1,
            Layout::Allocs => 2,
            _ => 0,
        };
        match style.layout {
            Layout::Allocs => out.extend(b"{\n  \"ACLPolicies\": [],\n  \"Allocs\": ["),
            _ if depth == 1 => out.push(b'['),
            _ => {}
        }
        for (i, value) in objects.iter().enumerate() {
            if i > 0 && depth > 0 {
                out.push(b',');
            }
            if depth > 0 {
                print.line(depth, &mut out);
            }
            print.value(value, depth, &mut out);
            ends.push(out.len());
            if matches!(style.layout, Layout::Lines | Layout::PrettyConcatenated) {
                out.push(b'\n');
            }
        }
        if depth > 0 {
            print.line(depth - 1, &mut out);
            out.push(b']');
        }
        if style.layout == Layout::Allocs {
            out.extend(b",\n  \"CSIPlugins\": [],\n  \"Evals\": [\n    {\n      \"ID\": \"an evaluation\"\n    }\n  ],\n  \"Nodes\": ");
            print.value(&self.node_objects(), 1, &mut out);
            out.extend(b",\n  \"SnapshotMeta\": [\n    {\n      \"Version\": 1\n    }\n  ]\n}\n");
        }
        (out, ends)
    }

    /// What `/v1/event/stream` sends from a moment (not included) to another: every version of every allocation once,
    /// and a heartbeat at the beginning and every half minute.
    pub fn frames(&self, from: i64, to: i64, style: &Style) -> Document {
        let print = Print { indent: None, escape_html: style.escape_html };
        let mut document = Document {
            name: format!("{}.stream.ndjson", stamp(to)),
            bytes: vec![],
            at: to,
            shown: vec![],
            ends: vec![],
        };
        let mut beat = from;
        for (index, frame) in self.stream(from, to, style) {
            let at = self.allocations[frame[0].0.allocation].versions[frame[0].0.version].at;
            while beat <= at {
                document.bytes.extend(b"{}\n");
                beat += 30 * SECOND;
            }
            let mut events: Vec<Json> = vec![];
            for (shown, event) in frame {
                document.shown.push(shown);
                if style.topics {
                    events.push(self.evaluation(shown, index));
                }
                events.push(event);
            }
            let frame = Json::Map(object([("Index", index.into()), ("Events", Json::List(events))]));
            print.value(&frame, 0, &mut document.bytes);
            document.ends.resize(document.shown.len(), document.bytes.len());
            document.bytes.push(b'\n');
        }
        document
    }

    /// The same events without their frames, one a line, as tools write them that take the stream apart.
    pub fn bare_events(&self, from: i64, to: i64, style: &Style) -> Document {
        let print = Print { indent: None, escape_html: style.escape_html };
        let mut document = Document {
            name: format!("{}.events.ndjson", stamp(to)),
            bytes: vec![],
            at: to,
            shown: vec![],
            ends: vec![],
        };
        for (shown, event) in self.stream(from, to, style).into_iter().flat_map(|(_, frame)| frame) {
            print.value(&event, 0, &mut document.bytes);
            document.shown.push(shown);
            document.ends.push(document.bytes.len());
            document.bytes.push(b'\n');
        }
        document
    }

    /// The allocation events of each Raft index, in order.
    fn stream(&self, from: i64, to: i64, style: &Style) -> Vec<(i64, Vec<(Shown, Json)>)> {
        let mut changes: Vec<(i64, usize, usize)> = vec![];
        for (number, allocation) in self.allocations.iter().enumerate() {
            for (i, version) in allocation.versions.iter().enumerate() {
                if version.at > from && version.at <= to && style.shows(number, self.jobs[allocation.job].namespace) {
                    changes.push((version.index, number, i));
                }
            }
        }
        changes.sort_unstable();
        let mut shaper = Shaper::new(self, style);
        let events = changes.iter().map(|(_, number, i)| {
            let allocation = &self.allocations[*number];
            let version = &allocation.versions[*i];
            let payload = shaper.full(allocation, version, false, false);
            (style.shown(*number, *i), self.event(allocation, version, payload))
        });
        let events: Vec<(Shown, Json)> = events.collect();
        let of_one_index = changes.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len);
        let mut events = events.into_iter();
        let lengths = of_one_index.collect::<Vec<_>>().into_iter();
        let indexes = changes.chunk_by(|a, b| a.0 == b.0).map(|chunk| chunk[0].0).collect::<Vec<_>>();
        indexes.into_iter().zip(lengths).map(|(index, len)| (index, events.by_ref().take(len).collect())).collect()
    }

    fn event(&self, allocation: &Allocation, version: &Version, payload: Json) -> Json {
        let job = &self.jobs[allocation.job];
        let kind = match version.source {
            Source::Client(_) => "AllocationUpdated",
            Source::Plan => "PlanResult",
            Source::Desire => "AllocationUpdateDesiredStatus",
        };
        let payload = [("Allocation", payload), ("Timeout", false.into()), ("TimeoutReason", "".into())];
        Json::Map(object([
            ("Topic", "Allocation".into()),
            ("Type", kind.into()),
            ("Key", (&allocation.id).into()),
            ("Namespace", job.namespace.into()),
            ("FilterKeys", Json::List(vec![(&job.id).into(), (&allocation.deployment).into()])),
            ("Index", version.index.into()),
            ("Payload", Json::Map(object(payload))),
        ]))
    }

    /// An event of another topic, as a subscription to all of them has between.
    fn evaluation(&self, shown: Shown, index: i64) -> Json {
        let allocation = &self.allocations[shown.allocation];
        let evaluation = [
            ("ID", (&allocation.eval).into()),
            ("JobID", (&self.jobs[allocation.job].id).into()),
            ("Status", "complete".into()),
        ];
        let payload = object([("Evaluation", Json::Map(object(evaluation)))]);
        Json::Map(object([
            ("Topic", "Evaluation".into()),
            ("Type", "EvaluationUpdated".into()),
            ("Key", (&allocation.eval).into()),
            ("Namespace", "default".into()),
            ("FilterKeys", Json::Null),
            ("Index", index.into()),
            ("Payload", Json::Map(payload)),
        ]))
    }

    /// The files of `nomad operator debug` with a listing at each of these moments; those without allocations show
    /// nothing. `namespace` is what the command was given: `None` lists `default`, `Some("*")` all.
    pub fn bundle(
        &self,
        moments: &[i64],
        layout: BundleLayout,
        namespace: Option<&'static str>,
        shuffle: u64,
    ) -> Vec<Document> {
        let first = moments.first().copied().unwrap_or_else(|| self.end());
        let root = format!("nomad-debug-{}-{}Z", &rfc3339(first, 0)[..10], &stamp(first)[9..15]);
        let file = |name: String, at: i64, bytes: Vec<u8>| Document {
            name: format!("{root}/{name}"),
            bytes,
            at,
            shown: vec![],
            ends: vec![],
        };
        let flag = |value: &str| {
            Json::Map(object([
                ("Name", "namespace".into()),
                ("Value", value.into()),
                ("DefValue", "".into()),
                ("Usage", "".into()),
            ]))
        };
        let given = Json::Map(namespace.map(|n| ("namespace".to_owned(), flag(n))).into_iter().collect());
        let formal = Json::Map(object([("namespace", flag(namespace.unwrap_or_default()))]));
        let flags = Json::Map(object([
            ("Name", "debug".into()),
            ("Parsed", true.into()),
            ("Actual", given.clone()),
            ("Formal", formal),
            ("Effective", given),
            ("Args", Json::List(vec![])),
        ]));
        let mut style = Style::debug(shuffle);
        style.namespace = Some(namespace.unwrap_or("default")).filter(|n| *n != "*");
        let (folder, listing) = match layout {
            BundleLayout::Interval => ("interval", Layout::Lines),
            BundleLayout::Nomad => ("nomad", Layout::Array),
        };
        style.layout = listing;
        let print = Print { indent: None, escape_html: true };
        let mut bytes = vec![];
        print.value(&flags, 0, &mut bytes);
        let mut files = vec![file("cluster/cli-flags.json".into(), first, bytes)];
        for (i, at) in moments.iter().enumerate() {
            let nodes = self.nodes();
            files.push(file(format!("{folder}/{i:04}/nodes.json"), *at, nodes));
            files.push(file(
                format!("{folder}/{i:04}/jobs.json"),
                *at,
                b"[{\"ID\":\"web\",\"Name\":\"web\",\"Type\":\"service\"}]".to_vec(),
            ));
            let document = self.document(*at, &style);
            files.push(Document { name: format!("{root}/{folder}/{i:04}/allocations.json"), ..document });
        }
        let rounded = Style { floats: true, ..style };
        let events = self.bare_events(first - 10 * MINUTE, first, &rounded).bytes;
        files.push(file("cluster/eventstream.json".into(), first, events));
        files
    }

    /// The list of nodes, `GET /v1/nodes`.
    pub fn nodes(&self) -> Vec<u8> {
        let mut out = vec![];
        Print { indent: None, escape_html: false }.value(&self.node_objects(), 0, &mut out);
        out
    }

    fn node_objects(&self) -> Json {
        let nodes = self.nodes.iter().map(|node| {
            let driver = object([
                ("Detected", true.into()),
                ("Healthy", true.into()),
                ("UpdateTime", "2026-11-23T18:27:55.9Z".into()),
            ]);
            Json::Map(object([
                ("Address", "127.0.0.1".into()),
                ("ID", (&node.id).into()),
                ("Attributes", Json::Map(object([("os.name", "debian".into())]))),
                ("Datacenter", node.datacenter.into()),
                ("Name", (&node.name).into()),
                ("NodePool", node.pool.into()),
                ("NodeClass", node.class.into()),
                ("Version", node.version.into()),
                ("Drain", false.into()),
                ("SchedulingEligibility", "eligible".into()),
                ("Status", "ready".into()),
                ("StatusDescription", "".into()),
                ("Drivers", Json::Map(object([("docker", Json::Map(driver))]))),
                ("HostVolumes", Json::Map(vec![])),
                ("LastDrain", Json::Null),
                ("CreateIndex", node.create_index.into()),
                ("ModifyIndex", (node.create_index + 5).into()),
            ]))
        });
        Json::List(nodes.collect())
    }
}

impl Style {
    fn shown(&self, allocation: usize, version: usize) -> Shown {
        let (tasks, counters, floats) = (self.task_states, self.counters, self.floats);
        Shown { allocation, version, tasks, counters, floats, marked: false }
    }
}
