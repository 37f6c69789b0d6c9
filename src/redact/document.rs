//! Listings of allocations and nodes with pseudonyms, as JSON. They have only the fields that tables keep.

use std::fmt;
use std::io::{self, Read, Write};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{NameKind, Redactor};
use crate::decode::field::Field;
use crate::decode::fields::EventField;

/// The field of an allocation that names the key of its pseudonyms. The decoder reads this field, so that a lake can
/// distinguish redacted allocations from others, even if the document was cut or converted.
const KEY: &str = "AlloclogRedacted";

/// Fields that only full allocations have, and that tables do not keep. Their presence shows the decoder that an
/// allocation is full.
const FULL_ONLY: [&str; 9] = [
    "AllocModifyIndex",
    "AllocStates",
    "Metrics",
    "NetworkStatus",
    "Services",
    "SharedResources",
    "SignedIdentities",
    "SigningKeyID",
    "TaskResources",
];

type Object = Map<String, Value>;

impl Redactor {
    /// Rewrites a listing of allocations, or of nodes. Returns the problem that ended the listing early, if any. The
    /// part before the problem is written as a complete document.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn document(
        &self,
        input: impl Read,
        is_nodes: bool,
        out: &mut dyn Write,
    ) -> io::Result<Option<serde_json::Error>> {
        let mut reader = serde_json::Deserializer::from_reader(io::BufReader::new(input));
        let mut writer = Writer { redactor: self, is_nodes, out, failed: None };
        let mut problem = None;
        while problem.is_none() && reader.end().is_err() {
            problem = writer.deserialize(&mut reader).err();
        }
        match writer.failed {
            Some(error) => Err(error),
            None => Ok(problem),
        }
    }

    fn allocation(&self, fields: Object) -> Object {
        let own = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let (job, group) = (own("JobID"), own("TaskGroup"));
        let mut kept = Object::new();
        for (name, value) in fields {
            let value = match name.as_str() {
                "ID"
                | "EvalID"
                | "NodeID"
                | "DeploymentID"
                | "FollowupEvalID"
                | "PreviousAllocation"
                | "NextAllocation"
                | "PreemptedByAllocation" => self.id_of(value),
                "Name" => text(value, |text| self.allocation_name(text, job.as_deref(), group.as_deref())),
                "Namespace" => self.named(NameKind::Namespace, value),
                "JobID" => self.named(NameKind::Job, value),
                "TaskGroup" => self.named(NameKind::TaskGroup, value),
                "NodeName" => self.named(NameKind::Node, value),
                "DesiredDescription" | "ClientDescription" => text(value, |text| self.text(text)),
                "JobType" | "JobVersion" | "DesiredStatus" | "ClientStatus" | "CreateIndex" | "ModifyIndex"
                | "CreateTime" | "ModifyTime" => scalar(value),
                "Job" => only(value, &["Type", "Version"]),
                "DesiredTransition" => {
                    let flags =
                        ["Migrate", "Reschedule", "ForceReschedule", "NoShutdownDelay", "MigrateDisablePlacement"];
                    only(value, &flags)
                }
                "DeploymentStatus" => only(value, &["Healthy", "Timestamp", "Canary"]),
                "Resources" => only(value, &["CPU", "MemoryMB", "MemoryMaxMB", "DiskMB"]),
                "RescheduleTracker" => object(value, |name, value| (name == "Events").then(|| self.tracker(value))),
                "AllocatedResources" => object(value, |name, value| self.resources(name, value)),
                "TaskStates" => self.by_task(value, |value| object(value, |name, value| self.task_state(name, value))),
                full if FULL_ONLY.contains(&full) => Value::Null,
                _ => continue,
            };
            kept.insert(name, value);
        }
        kept.insert(KEY.to_owned(), self.key_name().into());
        kept
    }

    fn tracker(&self, events: Value) -> Value {
        array(events, |event| {
            object(event, |name, value| match name {
                "RescheduleTime" => Some(scalar(value)),
                "PrevAllocID" | "PrevNodeID" => Some(self.id_of(value)),
                _ => None,
            })
        })
    }

    fn resources(&self, name: &str, value: Value) -> Option<Value> {
        Some(match name {
            "Tasks" => self.by_task(value, |value| {
                object(value, |name, value| match name {
                    "Cpu" => Some(only(value, &["CpuShares"])),
                    "Memory" => Some(only(value, &["MemoryMB", "MemoryMaxMB"])),
                    _ => None,
                })
            }),
            "TaskLifecycles" => self.by_task(value, |value| only(value, &["Hook", "Sidecar"])),
            "Shared" => only(value, &["DiskMB"]),
            _ => return None,
        })
    }

    fn task_state(&self, name: &str, value: Value) -> Option<Value> {
        Some(match name {
            "State" | "Failed" | "Restarts" | "LastRestart" | "StartedAt" | "FinishedAt" => scalar(value),
            "Events" => array(value, |event| object(event, |name, value| self.event(name, value))),
            _ => return None,
        })
    }

    fn event(&self, name: &str, value: Value) -> Option<Value> {
        Some(match name {
            "Type" | "Time" | "FailsTask" | "ExitCode" | "Signal" | "StartDelay" | "KillTimeout" | "DiskLimit" => {
                scalar(value)
            }
            "DisplayMessage" | "Message" | "RestartReason" => text(value, |text| self.text(text)),
            "Details" => match value {
                Value::Object(entries) => {
                    let whole = Value::Object(entries.clone()).to_string();
                    Value::Object(self.detail_entries(entries, &whole))
                }
                _ => Value::Null,
            },
            legacy if EventField::from_name(legacy).is_some_and(|field| field.details_key().is_some()) => {
                text(value, |text| self.text(text))
            }
            _ => return None,
        })
    }

    fn node(&self, fields: Object) -> Object {
        let kept = fields.into_iter().filter_map(|(name, value)| {
            let value = match name.as_str() {
                "ID" => self.id_of(value),
                "Name" => self.named(NameKind::Node, value),
                "NodeClass" => self.named(NameKind::NodeClass, value),
                "NodePool" => self.named(NameKind::NodePool, value),
                "Datacenter" => self.named(NameKind::Datacenter, value),
                "Status" | "SchedulingEligibility" | "Drain" | "Version" | "ModifyIndex" => scalar(value),
                "DrainStrategy" => only(value, &[]),
                "Attributes" => only(value, &["nomad.version"]),
                _ => return None,
            };
            Some((name, value))
        });
        kept.collect()
    }

    fn id_of(&self, value: Value) -> Value {
        text(value, |text| self.id(text))
    }

    fn named(&self, kind: NameKind, value: Value) -> Value {
        text(value, |text| self.name(kind, text))
    }

    /// A map whose keys are task names.
    fn by_task(&self, value: Value, each: impl Fn(Value) -> Value) -> Value {
        match value {
            Value::Object(tasks) => {
                tasks.into_iter().map(|(task, value)| (self.name(NameKind::Task, &task), each(value))).collect()
            }
            _ => Value::Null,
        }
    }
}

fn text(value: Value, replaced: impl FnOnce(&str) -> String) -> Value {
    value.as_str().map_or(Value::Null, |text| replaced(text).into())
}

/// A number, a flag, or a word of Nomad; null for an object or an array.
fn scalar(value: Value) -> Value {
    if value.is_object() || value.is_array() { Value::Null } else { value }
}

fn array(value: Value, each: impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(each).collect(),
        _ => Value::Null,
    }
}

fn object(value: Value, each: impl Fn(&str, Value) -> Option<Value>) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter_map(|(name, value)| each(&name, value).map(|value| (name, value))).collect()
        }
        _ => Value::Null,
    }
}

/// An object reduced to these fields. A field whose value is an object or an array becomes null.
fn only(value: Value, names: &[&str]) -> Value {
    object(value, |name, value| names.contains(&name).then(|| scalar(value)))
}

/// Writes each allocation or node as soon as it is read.
struct Writer<'w> {
    redactor: &'w Redactor,
    is_nodes: bool,
    out: &'w mut dyn Write,
    failed: Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for &mut Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allocations or nodes")
    }

    /// A list.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut before = "[";
        let read = loop {
            match elements.next_element::<Object>() {
                Ok(Some(fields)) => {
                    self.element(before, fields, "").map_err(A::Error::custom)?;
                    before = ",";
                }
                end => break end.map(drop),
            }
        };
        // The elements before a problem form a complete list.
        let end = if before == "[" { "[]\n" } else { "]\n" };
        self.write(end).map_err(A::Error::custom)?;
        read
    }

    /// One allocation.
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error> {
        let fields = Object::deserialize(MapAccessDeserializer::new(fields))?;
        self.element("", fields, "\n").map_err(A::Error::custom)
    }

    /// `null` is an empty list.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write("null\n").map_err(E::custom)
    }
}

impl Writer<'_> {
    fn element(&mut self, before: &str, fields: Object, after: &str) -> io::Result<()> {
        let kept = if self.is_nodes { self.redactor.node(fields) } else { self.redactor.allocation(fields) };
        self.write(&format!("{before}{}{after}", Value::Object(kept)))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes()).inspect_err(|error| self.failed = Some(error.kind().into()))
    }
}
