//! Documents: what a request, a command or a subscription would have written at some time.

use crate::simulator::cluster::{Allocation, Cluster};
use crate::simulator::json::{Json, Print, object};
use crate::simulator::moment::{rfc3339, stamp, through_float};
use crate::simulator::node_json;
use crate::simulator::shapes::Shaper;
use crate::simulator::style::{Encoder, Layout, Objects, Style};
use crate::simulator::version::{Source, Version};
use crate::simulator::{MINUTE, SECOND};

/// The form in which a document shows an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// An entry of a list.
    Stub,
    /// The whole allocation with its job.
    Full,
    /// An event's payload, which lacks the job.
    Streamed,
    /// A payload taken out of its event.
    Payload,
}

/// A version of an allocation that a document shows, and the parts of it that the document contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The number of the allocation in `Cluster::allocations`.
    pub allocation: usize,
    /// The number of the version in the `versions` of the allocation.
    pub version: usize,
    pub form: Form,
    /// Whether the version has task states.
    pub tasks: bool,
    /// Whether the task states have counters.
    pub counters: bool,
    /// Whether the times passed through a float.
    pub floats: bool,
    /// Whether the document looks as if its times passed through a float. This is the value of `times_rounded`. It is
    /// known once the document is complete (see [`Document::marked`]).
    pub marked: bool,
    /// Whether the version has resources.
    pub resources: bool,
    /// Whether the resources have the hooks of the tasks.
    pub hooks: bool,
    /// Whether the version has the desired transition.
    pub transition: bool,
    /// Whether the version has fields of a future Nomad.
    pub future: bool,
}

/// A file and what it shows of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The file name, with the UTC second if `is_named`.
    pub name: String,
    pub is_named: bool,
    pub bytes: Vec<u8>,
    /// When the document was taken.
    pub at: i64,
    /// The versions that the document shows, in its order.
    pub shown: Vec<Shown>,
    /// For each version in `shown`, the number of bytes up to its end; in a stream, up to the end of its frame.
    pub ends: Vec<usize>,
    /// The nodes that the document shows: the number of each node, and the number of bytes up to its end.
    pub nodes: Vec<(usize, usize)>,
    /// The namespace of which the document lists all allocations.
    pub listing: Option<&'static str>,
    /// The time given by the user.
    pub flag: Option<i64>,
    /// True for files of a bundle that are not read for allocations or nodes.
    pub is_aside: bool,
}

impl Document {
    /// The document truncated after some bytes. It shows the versions that were complete by then.
    pub fn cut(&self, at: usize) -> Self {
        let at = at.min(self.bytes.len());
        let whole = self.ends.iter().filter(|end| **end <= at).count();
        Self {
            bytes: self.bytes[..at].to_vec(),
            shown: self.shown[..whole].to_vec(),
            ends: self.ends[..whole].to_vec(),
            nodes: self.nodes.iter().filter(|(_, end)| *end <= at).copied().collect(),
            ..self.clone()
        }
    }

    /// The document under a name without a time.
    pub fn unnamed(&self) -> Self {
        let ending = self.name.rsplit('.').next().unwrap_or_default();
        Self { name: format!("allocations.{ending}"), is_named: false, ..self.clone() }
    }

    /// The versions that the document shows, with `marked` set by the rule of the data model. They are marked if the
    /// document has four or more event times, each of them equals its shortest float form, and not all of them are
    /// whole microseconds. (The times of a coarse clock may all be whole microseconds.)
    pub fn marked(&self, cluster: &Cluster) -> Vec<Shown> {
        let times: Vec<i64> = self.shown.iter().flat_map(|shown| shown.event_times(cluster)).collect();
        let marked = times.len() >= 4
            && times.iter().any(|ns| ns % 1_000 != 0)
            && times.iter().all(|ns| through_float(*ns) == *ns);
        self.shown.iter().map(|shown| Shown { marked, ..*shown }).collect()
    }
}

impl Shown {
    /// The times of the events that the version shows, as the document writes them.
    pub fn event_times(&self, cluster: &Cluster) -> Vec<i64> {
        let allocation = &cluster.allocations[self.allocation];
        let steps = allocation.versions[self.version].steps.iter().flatten().zip(&allocation.lives);
        let windows = steps.filter_map(|(step, life)| Some(&life.events[life.steps[(*step)?].window()]));
        let times = windows.flatten().map(|lived| lived.event.time).filter(|_| self.tasks);
        times.map(|ns| self.time(ns)).collect()
    }

    /// A time as the document writes it.
    pub fn time(&self, ns: i64) -> i64 {
        if self.floats { through_float(ns) } else { ns }
    }
}

/// Where a version of the debug command stores its listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleLayout {
    /// `interval/0000/allocations.json`, with one allocation per line.
    Interval,
    /// The older `nomad/0000/allocations.json`, an array.
    Nomad,
}

impl Cluster {
    /// The list of allocations at a time of the servers' clock, with what it shows.
    pub fn document(&self, at: i64, style: &Style) -> Document {
        let mut shown: Vec<(&Allocation, Shown)> = vec![];
        let form = if style.objects == Objects::Stub { Form::Stub } else { Form::Full };
        for (number, allocation) in self.allocations.iter().enumerate() {
            if let Some(version) = allocation.version_at(at)
                && style.shows(number, self.jobs[allocation.job].namespace)
            {
                shown.push((allocation, style.shown(number, version, form)));
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
        let (bytes, ends, nodes) = self.lay_out(&objects, style);
        let ending = if matches!(style.layout, Layout::Lines | Layout::Concatenated) { "ndjson" } else { "json" };
        let name = format!("{}.{ending}", stamp(at));
        let shown = shown.into_iter().map(|(_, s)| s).collect();
        Document { name, is_named: true, bytes, at, shown, ends, nodes, ..Document::default() }
    }

    /// Serializes objects in the layout of the style. Returns the bytes, and where each object and each node ends.
    #[allow(clippy::type_complexity)] // bytes, ends and nodes of a `Document`
    fn lay_out(&self, objects: &[Json], style: &Style) -> (Vec<u8>, Vec<usize>, Vec<(usize, usize)>) {
        let indent = match style.layout {
            Layout::Pretty(spaces) => Some(spaces),
            Layout::Allocs | Layout::PrettyConcatenated => Some(2),
            _ => None,
        };
        let print = Print { indent, escape_html: style.escape_html };
        let mut out = if style.bom { b"\xef\xbb\xbf".to_vec() } else { vec![] };
        let (mut ends, mut nodes) = (vec![], vec![]);
        match style.layout {
            Layout::Array | Layout::Pretty(_) => ends = list(&print, objects, 0, &mut out),
            Layout::Pages => {
                for page in objects.chunks(7) {
                    ends.extend(list(&print, page, 0, &mut out));
                    out.push(b'\n');
                }
            }
            Layout::Allocs => {
                out.extend(b"{\n  \"ACLPolicies\": [],\n  \"Allocs\": ");
                ends = list(&print, objects, 1, &mut out);
                out.extend(b",\n  \"CSIPlugins\": [],\n  \"Evals\": [\n    {\n      \"ID\": \"an evaluation\"\n    }\n  ],\n  \"Nodes\": ");
                let objects: Vec<Json> = self.nodes.iter().map(node_json::listed).collect();
                nodes = list(&print, &objects, 1, &mut out).into_iter().enumerate().collect();
                out.extend(b",\n  \"SnapshotMeta\": [\n    {\n      \"Version\": 1\n    }\n  ]\n}\n");
            }
            Layout::Lines | Layout::Concatenated | Layout::PrettyConcatenated => {
                for value in objects {
                    print.value(value, 0, &mut out);
                    ends.push(out.len());
                    if style.layout != Layout::Concatenated {
                        out.push(b'\n');
                    }
                }
            }
        }
        (out, ends, nodes)
    }

    /// The output of `/v1/event/stream` after `from` and up to `to`. It has every version of every allocation once, and
    /// a heartbeat at the start and every 30 seconds. There is one frame per line, unless the style formats frames
    /// differently, as `jq` does.
    pub fn frames(&self, from: i64, to: i64, style: &Style) -> Document {
        let mut objects: Vec<Json> = vec![];
        let (mut shown, mut nodes) = (vec![], vec![]);
        let mut beat = from;
        for (index, frame) in self.stream(from, to, style, Form::Streamed) {
            let at = self.allocations[frame[0].0.allocation].versions[frame[0].0.version].at;
            while beat <= at {
                objects.push(Json::Map(vec![]));
                beat += 30 * SECOND;
            }
            let mut events: Vec<Json> = vec![];
            for (one, payload) in frame {
                let allocation = &self.allocations[one.allocation];
                if style.topics {
                    events.push(self.evaluation(one, index));
                    events.push(self.node_event(allocation.node, index));
                    nodes.push((allocation.node, objects.len()));
                }
                events.push(self.event(allocation, &allocation.versions[one.version], payload));
                shown.push((one, objects.len()));
            }
            objects.push(Json::Map(object([("Index", index.into()), ("Events", Json::List(events))])));
        }
        self.streamed(to, &objects, shown, nodes, style, "stream")
    }

    /// The same events without frames, one per line, as written by tools that split the stream.
    pub fn bare_events(&self, from: i64, to: i64, style: &Style) -> Document {
        let (mut objects, mut shown) = (vec![], vec![]);
        for (one, payload) in self.stream(from, to, style, Form::Streamed).into_iter().flat_map(|(_, frame)| frame) {
            let allocation = &self.allocations[one.allocation];
            shown.push((one, objects.len()));
            objects.push(self.event(allocation, &allocation.versions[one.version], payload));
        }
        self.streamed(to, &objects, shown, vec![], style, "events")
    }

    /// Only the allocations of these events, as from `jq '.Events[].Payload.Allocation'`.
    pub fn payloads(&self, from: i64, to: i64, style: &Style) -> Document {
        let (mut objects, mut shown) = (vec![], vec![]);
        for (one, payload) in self.stream(from, to, style, Form::Payload).into_iter().flat_map(|(_, frame)| frame) {
            shown.push((one, objects.len()));
            objects.push(payload);
        }
        self.streamed(to, &objects, shown, vec![], style, "payloads")
    }

    /// A document of these objects. `shown` and `nodes` give, for each version and each node, the object that shows it.
    fn streamed(
        &self,
        to: i64,
        objects: &[Json],
        shown: Vec<(Shown, usize)>,
        nodes: Vec<(usize, usize)>,
        style: &Style,
        kind: &str,
    ) -> Document {
        let layout = if style.layout == Layout::Allocs { Layout::Lines } else { style.layout };
        let (bytes, ends, _) = self.lay_out(objects, &Style { layout, ..style.clone() });
        Document {
            name: format!("{}.{kind}.ndjson", stamp(to)),
            is_named: true,
            bytes,
            at: to,
            ends: shown.iter().map(|(_, number)| ends[*number]).collect(),
            shown: shown.into_iter().map(|(shown, _)| shown).collect(),
            nodes: nodes.into_iter().map(|(node, number)| (node, ends[number])).collect(),
            ..Document::default()
        }
    }

    /// The payloads of the allocation events of each Raft index, in order.
    fn stream(&self, from: i64, to: i64, style: &Style, form: Form) -> Vec<(i64, Vec<(Shown, Json)>)> {
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
            (style.shown(*number, *i, form), shaper.full(allocation, version, false, false))
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

    /// An event of another topic, from a subscription to all topics.
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

    /// The event of the topic `Node` that accompanies every client report.
    fn node_event(&self, number: usize, index: i64) -> Json {
        let payload = object([("Node", node_json::whole(&self.nodes[number]))]);
        Json::Map(object([
            ("Topic", "Node".into()),
            ("Type", "AllocationUpdated".into()),
            ("Key", (&self.nodes[number].id).into()),
            ("Namespace", "".into()),
            ("FilterKeys", Json::Null),
            ("Index", index.into()),
            ("Payload", Json::Map(payload)),
        ]))
    }

    /// The files of `nomad operator debug` with a listing at each of these times. Only the listings and the lists of
    /// nodes show parts of the cluster. `namespace` is the flag of the command: `None` lists `default`, and `Some("*")`
    /// lists all namespaces.
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
            is_aside: true,
            ..Document::default()
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
            let (bytes, ends) = self.nodes();
            let nodes = file(format!("{folder}/{i:04}/nodes.json"), *at, bytes);
            files.push(Document { nodes: ends.into_iter().enumerate().collect(), is_aside: false, ..nodes });
            files.push(file(
                format!("{folder}/{i:04}/jobs.json"),
                *at,
                b"[{\"ID\":\"web\",\"Name\":\"web\",\"Type\":\"service\"}]".to_vec(),
            ));
            let document = self.document(*at, &style);
            let name = format!("{root}/{folder}/{i:04}/allocations.json");
            let listing = Some(namespace.unwrap_or("default"));
            files.push(Document { name, is_named: false, listing, ..document });
        }
        let rounded = Style { floats: true, ..style };
        let events = self.bare_events(first - 10 * MINUTE, first, &rounded).bytes;
        files.push(file("cluster/eventstream.json".into(), first, events));
        files
    }

    /// The list of nodes, `GET /v1/nodes`, with the end of each.
    pub fn nodes(&self) -> (Vec<u8>, Vec<usize>) {
        let mut out = vec![];
        let objects: Vec<Json> = self.nodes.iter().map(node_json::listed).collect();
        let ends = list(&Print { indent: None, escape_html: false }, &objects, 0, &mut out);
        (out, ends)
    }
}

/// Prints a list at this depth, and records where each element ends.
fn list(print: &Print, objects: &[Json], depth: usize, out: &mut Vec<u8>) -> Vec<usize> {
    let mut ends = vec![];
    out.push(b'[');
    for (i, value) in objects.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        print.line(depth + 1, out);
        print.value(value, depth + 1, out);
        ends.push(out.len());
    }
    if !objects.is_empty() {
        print.line(depth, out);
    }
    out.push(b']');
    ends
}

impl Style {
    fn shown(&self, allocation: usize, version: usize, form: Form) -> Shown {
        let resources = form != Form::Stub || self.resources;
        let client = self.encoder == Encoder::GoClient;
        Shown {
            allocation,
            version,
            form,
            tasks: self.task_states,
            counters: self.counters,
            floats: self.floats,
            marked: false,
            resources,
            hooks: resources && !client,
            transition: form != Form::Stub || !client,
            future: self.future,
        }
    }
}
