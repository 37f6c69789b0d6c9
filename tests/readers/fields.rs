//! Every field is stored under its name. A value of a wrong type in any field is refused, with the path of the field.

use alloclog::decode::document::ItemContent;
use alloclog::decode::record::{
    AllocatedResources, Allocation, DeploymentStatus, DesiredTransition, Lifecycle, Node, RescheduleEvent, Resources,
    TaskEvent, TaskResources, TaskState,
};

use super::closing;
use super::property::{Outcome, Told, read};

/// An allocation with a different value in each field.
const ALLOCATION: &str = r#"{"ID":"id","EvalID":"eval","Name":"name","Namespace":"namespace","NodeID":"node","NodeName":"node name",
"JobID":"job","JobType":"service","JobVersion":1,"Job":{"Type":"batch","Version":2,"ID":{"x":[]}},"TaskGroup":"group",
"DeploymentID":"deployment","DesiredStatus":"run","DesiredDescription":"wanted","ClientStatus":"running",
"ClientDescription":"is","DesiredTransition":{"Migrate":true,"Reschedule":false,"ForceReschedule":null,
"NoShutdownDelay":true,"MigrateDisablePlacement":false},"DeploymentStatus":{"Healthy":true,
"Timestamp":"1970-01-01T00:00:03Z","Canary":false,"ModifyIndex":9},"FollowupEvalID":"followup",
"PreviousAllocation":"previous","NextAllocation":"next","RescheduleTracker":{"Events":[{"RescheduleTime":4,
"PrevAllocID":"before","PrevNodeID":"there","Delay":5}],"LastReschedule":"ok"},"PreemptedAllocations":["x"],
"PreemptedByAllocation":"preempter","AlloclogRedacted":"00000000000000a1","CreateIndex":6,"ModifyIndex":7,"CreateTime":8,"ModifyTime":9,
"AllocatedResources":{"Tasks":{"web":{"Cpu":{"CpuShares":10},"Memory":{"MemoryMB":11,"MemoryMaxMB":12}}},
"TaskLifecycles":{"web":null,"side":{"Hook":"prestart","Sidecar":true}},"Shared":{"DiskMB":13}},
"Resources":{"CPU":14,"MemoryMB":15,"MemoryMaxMB":16,"DiskMB":17},"Metrics":{},"TaskStates":{"web":{"State":"",
"Failed":true,"Restarts":18,"LastRestart":"1970-01-01T00:00:19Z","StartedAt":"1970-01-01T00:00:20Z",
"FinishedAt":"0001-01-01T00:00:00Z","TaskHandle":null,"Paused":"","Events":[{"Type":"Terminated","Time":21,
"Message":"message","DisplayMessage":"shown","Details":{"b":"2","a":null},"FailsTask":true,"RestartReason":"reason",
"ExitCode":22,"Signal":23,"StartDelay":24,"KillTimeout":25,"DiskLimit":26,"SetupError":"setup","DriverError":"driver",
"DriverMessage":"image","KillError":"kill","KillReason":"why","DownloadError":"download",
"ValidationError":"validation","FailedSibling":"sibling","VaultError":"vault","TaskSignal":"hup",
"TaskSignalReason":"template","GenericSource":"generic","DiskSize":0}]}}}"#;

fn record() -> Allocation<'static> {
    let text = |text: &'static str| Some(text.into());
    let legacy = [
        ("setup_error", "setup"),
        ("driver_error", "driver"),
        ("driver_message", "image"),
        ("kill_error", "kill"),
        ("kill_reason", "why"),
        ("download_error", "download"),
        ("validation_error", "validation"),
        ("failed_sibling", "sibling"),
        ("vault_renewal_error", "vault"),
        ("task_signal", "hup"),
        ("task_signal_reason", "template"),
        ("generic_source", "generic"),
    ];
    let event = TaskEvent {
        kind: text("Terminated"),
        time: Some(21),
        message: text("message"),
        display_message: text("shown"),
        details: vec![("b".into(), "2".into()), ("a".into(), "".into())],
        fails_task: Some(true),
        restart_reason: text("reason"),
        exit_code: Some(22),
        signal: Some(23),
        start_delay: Some(24),
        kill_timeout: Some(25),
        disk_limit: Some(26),
        legacy: legacy.map(|(name, text)| (name, text.into())).into(),
    };
    let state = TaskState {
        task: "web".into(),
        state: text(""),
        failed: Some(true),
        restarts: Some(18),
        last_restart: Some(19_000_000_000),
        started_at: Some(20_000_000_000),
        finished_at: None,
        events: vec![event],
    };
    Allocation {
        id: text("id"),
        eval_id: text("eval"),
        name: text("name"),
        namespace: text("namespace"),
        node_id: text("node"),
        node_name: text("node name"),
        job_id: text("job"),
        job_type: text("service"),
        job_version: Some(1),
        task_group: text("group"),
        deployment_id: text("deployment"),
        desired_status: text("run"),
        desired_description: text("wanted"),
        client_status: text("running"),
        client_description: text("is"),
        desired_transition: DesiredTransition {
            migrate: Some(true),
            reschedule: Some(false),
            force_reschedule: None,
            no_shutdown_delay: Some(true),
            migrate_disable_placement: Some(false),
        },
        deployment_status: DeploymentStatus {
            healthy: Some(true),
            timestamp: Some(3_000_000_000),
            canary: Some(false),
        },
        followup_eval_id: text("followup"),
        previous_allocation: text("previous"),
        next_allocation: text("next"),
        reschedule_events: Some(vec![RescheduleEvent {
            reschedule_time: Some(4),
            prev_alloc_id: text("before"),
            prev_node_id: text("there"),
        }]),
        preempted_by_allocation: text("preempter"),
        create_index: Some(6),
        modify_index: Some(7),
        create_time: Some(8),
        modify_time: Some(9),
        allocated: Some(AllocatedResources {
            tasks: vec![TaskResources {
                task: "web".into(),
                cpu_shares: Some(10),
                memory_mb: Some(11),
                memory_max_mb: Some(12),
            }],
            lifecycles: vec![Lifecycle { task: "side".into(), hook: text("prestart"), sidecar: Some(true) }],
            disk_mb: Some(13),
        }),
        resources: Some(Resources { cpu: Some(14), memory_mb: Some(15), memory_max_mb: Some(16), disk_mb: Some(17) }),
        task_states: vec![state],
        redacted: text("00000000000000a1"),
        is_full: true,
    }
}

fn only<'o, 'a>(outcome: &'o Outcome<'a>) -> &'o ItemContent<'a> {
    assert_eq!((outcome.items.len(), outcome.faults.as_slice()), (1, [].as_slice()));
    &outcome.items[0].1
}

#[test]
fn every_field_is_stored_under_its_name() {
    for strict in [false, true] {
        let stub = read(ALLOCATION.as_bytes(), &[], strict);
        assert_eq!(only(&stub), &ItemContent::Allocation(Box::new(record())));
        let event = format!(r#"{{"Index":1,"Events":[{{"Payload":{{"Allocation":{ALLOCATION}}}}}]}}"#);
        assert_eq!(only(&read(event.as_bytes(), &[], strict)), &ItemContent::Streamed(Box::new(record())));
    }
}

/// The allocation with its details and legacy fields sorted; normally they are in document order.
fn sorted_inside<'a>(content: &ItemContent<'a>) -> Option<Box<Allocation<'a>>> {
    let ItemContent::Allocation(a) = content else { return None };
    let mut a = a.clone();
    for event in a.task_states.iter_mut().flat_map(|state| &mut state.events) {
        event.details.sort();
        event.legacy.sort();
    }
    Some(a)
}

/// The reader predicts the order of keys. An object with another order must give the same result.
#[test]
fn the_order_of_keys_changes_nothing() {
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(ALLOCATION).expect("an object");
    let sorted = serde_json::to_string(&value).expect("it can be written");
    let backwards: Vec<String> = value.iter().rev().map(|(key, value)| format!("{key:?}: {value}")).collect();
    let text = format!("[{ALLOCATION},{sorted},{{{}}},{ALLOCATION}]", backwards.join(" ,\n"));
    for strict in [false, true] {
        let outcome = read(text.as_bytes(), &[], strict);
        assert_eq!(outcome.items.len(), 4);
        let first = sorted_inside(&outcome.items[0].1);
        assert!(first.is_some() && outcome.items.iter().all(|(_, content)| sorted_inside(content) == first));
    }
}

#[test]
fn the_embedded_job_supplies_type_and_version_missing_in_the_stub() {
    let text = br#"{"ID":"a","ClientStatus":"x","Job":{"Type":"batch","Version":2}}"#;
    for strict in [false, true] {
        let outcome = read(text, &[], strict);
        let ItemContent::Allocation(a) = only(&outcome) else { unreachable!("it is an allocation") };
        assert_eq!((a.job_type.as_deref(), a.job_version, a.is_full), (Some("batch"), Some(2), true));
    }
}

#[test]
fn nodes_of_a_list_and_full_ones() {
    let node = |drain| Node {
        id: Some("id".into()),
        name: Some("name".into()),
        class: Some("class".into()),
        pool: Some("pool".into()),
        datacenter: Some("dc".into()),
        status: Some("ready".into()),
        eligibility: Some("eligible".into()),
        drain: Some(drain),
        version: Some("2.0.5".into()),
        modify_index: Some(1),
    };
    let common = r#""ID":"id","Name":"name","NodeClass":"class","NodePool":"pool","Datacenter":"dc","Status":"ready","SchedulingEligibility":"eligible","ModifyIndex":1"#;
    for (rest, drain) in [
        (r#""Drain":false,"Version":"2.0.5","Attributes":null"#, false),
        (r#""DrainStrategy":null,"Attributes":{"cpu.arch":"amd64","nomad.version":"2.0.5"}"#, false),
        (r#""DrainStrategy":{"Deadline":1},"Attributes":{"nomad.version":"2.0.5"}"#, true),
        (r#""Drain":true,"DrainStrategy":null,"Version":"2.0.5""#, true),
    ] {
        let text = format!("[{{{common},{rest}}}]");
        for strict in [false, true] {
            assert_eq!(only(&read(text.as_bytes(), &[], strict)), &ItemContent::Node(Box::new(node(drain))), "{rest}");
        }
    }
}

#[test]
fn unknown_fields_are_counted_by_place_and_name() {
    let text = br#"[{"ID":"a","New":{"ID":1},"ClientStatus":"x","TaskStates":{"t":{"New":[1],"New":2,"Events":[{"New":null},{"New":1,"O\u006cd\"":0}]}},
        "Job":{"New":1},"AllocatedResources":{"New":1},"DeploymentStatus":{"New":1},"RescheduleTracker":{"New":1,"Events":[{"New":1}]},"DesiredTransition":{"New":1}},
        {"ID":"b","New":"x","ClientStatus":"x"},{"ID":7,"Newest":1,"ClientStatus":"x"}]"#;
    for strict in [false, true] {
        let outcome = read(text, &[], strict);
        let unknown: Vec<(&str, u64)> = outcome.unknown.iter().map(|(name, times)| (name.as_str(), *times)).collect();
        // The unknown fields of a rejected allocation are not counted.
        let expected = [
            ("DeploymentStatus.New", 1),
            ("DesiredTransition.New", 1),
            ("New", 2),
            ("RescheduleTracker.Events.*.New", 1),
            ("RescheduleTracker.New", 1),
            ("TaskStates.*.Events.*.New", 2),
            ("TaskStates.*.Events.*.Old\"", 1),
            ("TaskStates.*.New", 2),
        ];
        assert_eq!((unknown.as_slice(), outcome.items.len()), (expected.as_slice(), 2));
    }
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    Text,
    Moment,
    Whole,
    Bool,
    Object,
    Array,
}

/// Every field that is read, by path, with the texts before and after its value.
fn fields() -> Vec<(String, Type, String, String)> {
    let mut fields = Vec::new();
    let mut add = |path: &str, before: &str, behind: &str, names: &[(&str, Type)]| {
        for (name, kind) in names {
            let before = format!(r#"{before}"{name}":"#);
            fields.push((format!("{path}.{name}"), *kind, before, behind.to_owned()));
        }
    };
    use Type::{Array, Bool, Moment, Object, Text, Whole};
    let texts = |names: &[&'static str]| names.iter().map(|name| (*name, Text)).collect::<Vec<_>>();
    // All other cases have an `ID` before the field. A key may occur only once, so the case of `ID` itself does not.
    add("", r#"{"ClientStatus":"x","#, "}", &[("ID", Text)]);
    let (start, end) = (r#"{"ID":"a","Status":"x","#, r#","TaskStates":{}}"#);
    add(
        "",
        start,
        end,
        &texts(&["EvalID", "Name", "Namespace", "NodeID", "NodeName", "JobID", "JobType", "TaskGroup"]),
    );
    add("", start, end, &texts(&["DeploymentID", "DesiredStatus", "DesiredDescription", "ClientStatus"]));
    add("", start, end, &texts(&["ClientDescription", "FollowupEvalID", "PreviousAllocation", "NextAllocation"]));
    add("", start, end, &[("PreemptedByAllocation", Text), ("JobVersion", Whole), ("CreateIndex", Whole)]);
    add("", start, end, &[("ModifyIndex", Whole), ("CreateTime", Whole), ("ModifyTime", Whole), ("Job", Object)]);
    add("", start, end, &[("DesiredTransition", Object), ("DeploymentStatus", Object), ("RescheduleTracker", Object)]);
    add("", start, end, &[("AllocatedResources", Object), ("Resources", Object)]);
    add("", r#"{"ID":"a","ClientStatus":"x","#, "}", &[("TaskStates", Object)]);
    let mut inner = |path: &str, open: &str, names: &[(&str, Type)]| {
        let close = closing(open);
        add(path, &format!(r#"{{"ID":"a","ClientStatus":"x",{open}"#), &format!("{close}}}"), names);
    };
    inner(".Job", r#""Job":{"#, &[("Type", Text), ("Version", Whole)]);
    let flags = ["Migrate", "Reschedule", "ForceReschedule", "NoShutdownDelay", "MigrateDisablePlacement"];
    inner(".DesiredTransition", r#""DesiredTransition":{"#, &flags.map(|name| (name, Bool)));
    let deployment = [("Healthy", Bool), ("Timestamp", Moment), ("Canary", Bool)];
    inner(".DeploymentStatus", r#""DeploymentStatus":{"#, &deployment);
    inner(".RescheduleTracker", r#""RescheduleTracker":{"#, &[("Events", Array)]);
    let reschedule = [("RescheduleTime", Whole), ("PrevAllocID", Text), ("PrevNodeID", Text)];
    inner(".RescheduleTracker.Events[0]", r#""RescheduleTracker":{"Events":[{"#, &reschedule);
    let resources = [("Tasks", Object), ("TaskLifecycles", Object), ("Shared", Object)];
    inner(".AllocatedResources", r#""AllocatedResources":{"#, &resources);
    inner(
        ".AllocatedResources.Tasks.t",
        r#""AllocatedResources":{"Tasks":{"t":{"#,
        &[("Cpu", Object), ("Memory", Object)],
    );
    inner(".AllocatedResources.Tasks", r#""AllocatedResources":{"Tasks":{"#, &[("t", Object)]);
    inner(".AllocatedResources.Tasks.t.Cpu", r#""AllocatedResources":{"Tasks":{"t":{"Cpu":{"#, &[("CpuShares", Whole)]);
    let memory = [("MemoryMB", Whole), ("MemoryMaxMB", Whole)];
    inner(".AllocatedResources.Tasks.t.Memory", r#""AllocatedResources":{"Tasks":{"t":{"Memory":{"#, &memory);
    inner(".AllocatedResources.TaskLifecycles", r#""AllocatedResources":{"TaskLifecycles":{"#, &[("t", Object)]);
    let lifecycle = [("Hook", Text), ("Sidecar", Bool)];
    inner(".AllocatedResources.TaskLifecycles.t", r#""AllocatedResources":{"TaskLifecycles":{"t":{"#, &lifecycle);
    inner(".AllocatedResources.Shared", r#""AllocatedResources":{"Shared":{"#, &[("DiskMB", Whole)]);
    let legacy = [("CPU", Whole), ("MemoryMB", Whole), ("MemoryMaxMB", Whole), ("DiskMB", Whole)];
    inner(".Resources", r#""Resources":{"#, &legacy);
    inner(".TaskStates", r#""TaskStates":{"#, &[("t", Object)]);
    let state = [
        ("State", Text),
        ("Failed", Bool),
        ("Restarts", Whole),
        ("LastRestart", Moment),
        ("StartedAt", Moment),
        ("FinishedAt", Moment),
        ("Events", Array),
    ];
    inner(".TaskStates.t", r#""TaskStates":{"t":{"#, &state);
    let event = r#""TaskStates":{"t":{"Events":[{"#;
    let path = ".TaskStates.t.Events[0]";
    inner(path, event, &texts(&["Type", "Message", "DisplayMessage", "RestartReason", "SetupError", "DriverError"]));
    inner(path, event, &texts(&["DriverMessage", "KillError", "KillReason", "DownloadError", "ValidationError"]));
    inner(path, event, &texts(&["FailedSibling", "VaultError", "TaskSignal", "TaskSignalReason", "GenericSource"]));
    let numbers = ["Time", "ExitCode", "Signal", "StartDelay", "KillTimeout", "DiskLimit"];
    inner(path, event, &numbers.map(|name| (name, Whole)));
    inner(path, event, &[("FailsTask", Bool), ("Details", Object)]);
    inner(".TaskStates.t.Events[0].Details", r#""TaskStates":{"t":{"Events":[{"Details":{"#, &[("d", Text)]);
    fields
}

#[test]
fn a_wrong_type_in_any_field_is_rejected_with_its_path() {
    let fields = fields();
    assert!(fields.len() > 90);
    for (path, kind, before, behind) in fields {
        let wanted = match kind {
            Type::Text | Type::Moment => "text",
            Type::Whole => "a number",
            Type::Bool => "true or false",
            Type::Object => "an object",
            Type::Array => "an array",
        };
        for (value, found) in [
            (r#""x""#, "text"),
            ("1.5", "a number"),
            ("9223372036854775808", "a number"),
            ("true", "true or false"),
            (r#"{"a":1}"#, "an object"),
            ("[]", "an array"),
            ("[null]", "an array"),
        ] {
            let what = match (kind, value) {
                (Type::Moment, r#""x""#) => "is not an RFC 3339 time".into(),
                (Type::Whole, "1.5") => "is not a whole number".into(),
                (Type::Whole, "9223372036854775808") => "does not fit a signed 64-bit integer".into(),
                _ if found == wanted => continue,
                _ => format!("is {found}, not {wanted}"),
            };
            for pad in ["", " ", "\n\t"] {
                let text = format!("[{{}},{before}{pad}{value}{pad}{behind}]");
                let reported = Told {
                    at: 4 + before.len() + pad.len(),
                    path: format!("[1]{path}"),
                    what: format!("{what}: this allocation is rejected"),
                };
                for strict in [false, true] {
                    let outcome = read(text.as_bytes(), &[], strict);
                    assert_eq!((outcome.faults, outcome.items.len()), (vec![reported.clone()], 0), "{text}");
                }
            }
        }
    }
}

/// Numbers out of range would make views fail or sums overflow.
#[test]
fn a_time_or_counter_out_of_range_is_refused_by_its_path() {
    let late = "is after the year 2261, the last complete one in 64-bit nanoseconds";
    let counter = "is not a possible number of restarts";
    let (times, moments) = (["CreateTime", "ModifyTime", "Time", "RescheduleTime"], ["Timestamp", "StartedAt"]);
    let mut tried = 0;
    for (path, _, before, behind) in fields() {
        let name = path.rsplit('.').next().unwrap_or_default();
        let (believed, refused, what): (&[&str], &[&str], _) = match name {
            "Restarts" => (&["0", "4294967295"], &["-1", "4294967296", "9223372036854775807"], counter),
            _ if times.contains(&name) => {
                (&["-1", "9214646399999999999"], &["9214646400000000000", "9223372036854775807"], late)
            }
            _ if moments.contains(&name) => (
                &[r#""2261-12-31T23:59:59.999999999Z""#],
                &[r#""2262-01-01T00:00:00Z""#, r#""9999-01-01T00:00:00Z""#],
                late,
            ),
            _ => continue,
        };
        tried += 1;
        for strict in [false, true] {
            for value in believed {
                let text = format!("[{before}{value}{behind}]");
                let outcome = read(text.as_bytes(), &[], strict);
                assert_eq!((outcome.faults.len(), outcome.items.len()), (0, 1), "{path} {value}");
            }
            for value in refused {
                let reported = Told {
                    at: 1 + before.len(),
                    path: format!("[0]{path}"),
                    what: format!("{what}: this allocation is rejected"),
                };
                let text = format!("[{before}{value}{behind}]");
                let outcome = read(text.as_bytes(), &[], strict);
                assert_eq!((outcome.faults, outcome.items.len()), (vec![reported], 0), "{path} {value}");
            }
        }
    }
    assert_eq!(tried, 1 + times.len() + moments.len());
}

#[test]
fn a_repeated_key_that_is_read_is_refused_by_its_path() {
    for (path, _, before, behind) in fields() {
        let name = path.rsplit('.').next().expect("a path has parts");
        let text = format!("[{before}null,\"{name}\":null{behind}]");
        let reported = Told {
            at: 1 + before.len() + 5 + name.len() + 3,
            path: format!("[0]{path}"),
            what: "belongs to a repeated key: this allocation is rejected".into(),
        };
        for strict in [false, true] {
            let outcome = read(text.as_bytes(), &[], strict);
            assert_eq!((outcome.faults, outcome.items.len()), (vec![reported.clone()], 0), "{text}");
        }
    }
}

#[test]
fn a_repeated_key_that_is_ignored_is_accepted() {
    let text = br#"{"ID":"a","ClientStatus":"x","Metrics":{"A":1,"A":2},"Metrics":null,"New":1,"New":2,"Job":{"Meta":1,"Meta":2},
        "TaskStates":{"t":{"Paused":1,"Paused":2,"Events":[{"DiskSize":1,"DiskSize":2}]}},"PreemptedAllocations":1,"PreemptedAllocations":2}"#;
    for strict in [false, true] {
        let outcome = read(text, &[], strict);
        assert_eq!((outcome.faults.len(), outcome.items.len(), outcome.unknown.get("New")), (0, 1, Some(&2)));
    }
}

#[test]
fn a_repeated_name_among_many_is_refused() {
    for count in [1, 2, 31, 32, 33, 500] {
        let names: Vec<String> = (0..count).map(|n| format!("\"t{n}\":null")).collect();
        for (place, before, behind) in [
            (".TaskStates", r#""TaskStates":{"#, "}"),
            (".AllocatedResources.Tasks", r#""AllocatedResources":{"Tasks":{"#, "}}"),
            (".AllocatedResources.TaskLifecycles", r#""AllocatedResources":{"TaskLifecycles":{"#, "}}"),
            (".TaskStates.a.Events[0].Details", r#""TaskStates":{"a":{"Events":[{"Details":{"#, "}}]}}"),
        ] {
            let once = format!(r#"[{{"ID":"a","ClientStatus":"x",{before}{}{behind}}}]"#, names.join(","));
            let twice = format!(
                r#"[{{"ID":"a","ClientStatus":"x",{before}{},"t{}":null{behind}}}]"#,
                names.join(","),
                count / 2
            );
            for strict in [false, true] {
                let outcome = read(once.as_bytes(), &[], strict);
                assert_eq!((outcome.faults.len(), outcome.items.len()), (0, 1), "{count} {place}");
                let outcome = read(twice.as_bytes(), &[], strict);
                assert_eq!(outcome.items.len(), 0, "{count} {place}");
                assert_eq!(outcome.faults[0].path, format!("[0]{place}.t{}", count / 2));
            }
        }
    }
}
