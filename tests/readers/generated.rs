//! Generated documents: every field with every kind of value, keys in any order, any white space and escapes.

mod json;

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use self::json::{Json, hand, written};
use super::{cases, property};

fn word(word: impl ToString) -> Json {
    Json::Word(word.to_string())
}

fn null() -> BoxedStrategy<Json> {
    Just(word("null")).boxed()
}

fn or_null(value: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop_oneof![9 => value, 1 => null()].boxed()
}

fn text() -> BoxedStrategy<Json> {
    let words =
        ["", "", "running", "Started", "Exit Code: 137, Exit Message: \"OOM Killed\"", "a\\b\n", "ünï😀", "\u{0}"];
    or_null(
        prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), any::<String>()]
            .prop_map(Json::Text)
            .boxed(),
    )
}

fn integer() -> BoxedStrategy<Json> {
    let written = ["0", "-0", "1e3", "1.0", "2.50e1", "12300e-2", "0e999999999999999999999", "1795458551898620217"];
    or_null(
        prop_oneof![
            prop::sample::select(written.to_vec()).prop_map(word),
            (0..1000i64).prop_map(word),
            any::<i64>().prop_map(word),
            (1_600_000_000_000_000_000..1_900_000_000_000_000_000i64).prop_map(word),
        ]
        .boxed(),
    )
}

fn boolean() -> BoxedStrategy<Json> {
    or_null(any::<bool>().prop_map(word).boxed())
}

fn moment() -> BoxedStrategy<Json> {
    let times = [
        "",
        "0001-01-01T00:00:00Z",
        "2026-11-23T18:29:16.28257174Z",
        "2026-11-23T23:59:16+05:30",
        "1970-01-01T00:00:00Z",
    ];
    or_null(prop::sample::select(times.to_vec()).prop_map(|time| Json::Text(time.into())).boxed())
}

fn anything() -> BoxedStrategy<Json> {
    let numbers = ["1.5", "1e400", "-1e-7", "9223372036854775808", "123456789012345678901234567890"];
    let leaf = prop_oneof![text(), integer(), boolean(), prop::sample::select(numbers.to_vec()).prop_map(word)];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = prop_oneof![any::<String>(), Just("ID".to_owned()), Just("Events".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::vec((key, inner), 0..5).prop_map(Json::Object),
        ]
    })
    .boxed()
}

/// An object with some of these fields in any order, sometimes with an unknown field.
fn object(fields: Vec<(&'static str, BoxedStrategy<Json>)>) -> BoxedStrategy<Json> {
    let member = |(name, value): (&'static str, BoxedStrategy<Json>)| {
        prop::option::weighted(0.75, value.prop_map(move |value| (name.to_owned(), value))).boxed()
    };
    let known: Vec<_> = fields.into_iter().map(member).collect();
    let unknown_key = prop_oneof!["[A-Z][a-z]{1,3}X", any::<String>()];
    let unknown = prop::option::weighted(0.2, (unknown_key, anything()));
    (known, unknown, any::<bool>())
        .prop_map(|(known, unknown, _)| known.into_iter().flatten().chain(unknown).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|members| Json::Object(without_repeats(members)))
        .boxed()
}

fn without_repeats(members: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut kept: Vec<(String, Json)> = Vec::new();
    for member in members {
        if kept.iter().all(|(key, _)| *key != member.0) {
            kept.push(member);
        }
    }
    kept
}

/// An object whose keys are data.
fn map(key: BoxedStrategy<String>, value: BoxedStrategy<Json>, most: usize) -> BoxedStrategy<Json> {
    or_null(
        prop::collection::vec((key, value), 0..=most)
            .prop_map(|members| Json::Object(without_repeats(members)))
            .boxed(),
    )
}

fn array(element: BoxedStrategy<Json>, most: usize) -> BoxedStrategy<Json> {
    or_null(prop::collection::vec(element, 0..=most).prop_map(Json::Array).boxed())
}

fn task() -> BoxedStrategy<String> {
    prop_oneof![Just("web".to_owned()), Just("side car".to_owned()), any::<String>()].boxed()
}

fn event() -> BoxedStrategy<Json> {
    let keys = ["exit_code", "signal", "oom_killed", "message", "start_delay", ""];
    let detail = prop_oneof![prop::sample::select(keys.to_vec()).prop_map(str::to_owned), any::<String>()].boxed();
    object(vec![
        ("Type", text()),
        ("Time", integer()),
        ("Message", text()),
        ("DisplayMessage", text()),
        ("Details", map(detail, text(), 4)),
        ("FailsTask", boolean()),
        ("RestartReason", text()),
        ("SetupError", text()),
        ("DriverError", text()),
        ("ExitCode", integer()),
        ("Signal", integer()),
        ("KillTimeout", integer()),
        ("KillError", text()),
        ("KillReason", text()),
        ("StartDelay", integer()),
        ("DownloadError", text()),
        ("ValidationError", text()),
        ("DiskLimit", integer()),
        ("DiskSize", anything()),
        ("FailedSibling", text()),
        ("VaultError", text()),
        ("TaskSignalReason", text()),
        ("TaskSignal", text()),
        ("DriverMessage", text()),
        ("GenericSource", text()),
    ])
}

fn task_state() -> BoxedStrategy<Json> {
    or_null(object(vec![
        ("State", text()),
        ("Failed", boolean()),
        ("Restarts", integer()),
        ("LastRestart", moment()),
        ("StartedAt", moment()),
        ("FinishedAt", moment()),
        ("Events", array(event(), 3)),
        ("TaskHandle", anything()),
        ("Paused", anything()),
    ]))
}

fn resources() -> BoxedStrategy<Json> {
    let cpu = or_null(object(vec![("CpuShares", integer()), ("ReservedCores", anything())]));
    let memory = or_null(object(vec![("MemoryMB", integer()), ("MemoryMaxMB", integer())]));
    let of_task = or_null(object(vec![("Cpu", cpu), ("Memory", memory), ("Networks", anything())]));
    let lifecycle = or_null(object(vec![("Hook", text()), ("Sidecar", boolean())]));
    or_null(object(vec![
        ("Tasks", map(task(), of_task, 2)),
        ("TaskLifecycles", map(task(), lifecycle, 2)),
        ("Shared", or_null(object(vec![("DiskMB", integer()), ("Ports", anything())]))),
    ]))
}

fn allocation() -> BoxedStrategy<Json> {
    let transition = object(vec![
        ("Migrate", boolean()),
        ("Reschedule", boolean()),
        ("ForceReschedule", boolean()),
        ("NoShutdownDelay", boolean()),
        ("MigrateDisablePlacement", boolean()),
    ]);
    let deployment = object(vec![
        ("Healthy", boolean()),
        ("Timestamp", moment()),
        ("Canary", boolean()),
        ("ModifyIndex", anything()),
    ]);
    let reschedule = object(vec![
        ("RescheduleTime", integer()),
        ("PrevAllocID", text()),
        ("PrevNodeID", text()),
        ("Delay", anything()),
    ]);
    let tracker = object(vec![("Events", array(or_null(reschedule), 3)), ("LastReschedule", anything())]);
    let job = object(vec![("Type", text()), ("Version", integer()), ("Meta", anything()), ("TaskGroups", anything())]);
    let legacy = object(vec![
        ("CPU", integer()),
        ("MemoryMB", integer()),
        ("MemoryMaxMB", integer()),
        ("DiskMB", integer()),
        ("Networks", anything()),
    ]);
    object(vec![
        ("ID", text()),
        ("EvalID", text()),
        ("Name", text()),
        ("Namespace", text()),
        ("NodeID", text()),
        ("NodeName", text()),
        ("JobID", text()),
        ("JobType", text()),
        ("JobVersion", integer()),
        ("Job", or_null(job)),
        ("TaskGroup", text()),
        ("DeploymentID", text()),
        ("DesiredStatus", text()),
        ("DesiredDescription", text()),
        ("ClientStatus", text()),
        ("ClientDescription", text()),
        ("DesiredTransition", or_null(transition)),
        ("DeploymentStatus", or_null(deployment)),
        ("FollowupEvalID", text()),
        ("PreviousAllocation", text()),
        ("NextAllocation", text()),
        ("RescheduleTracker", or_null(tracker)),
        ("PreemptedAllocations", anything()),
        ("PreemptedByAllocation", text()),
        ("CreateIndex", integer()),
        ("ModifyIndex", integer()),
        ("CreateTime", integer()),
        ("ModifyTime", integer()),
        ("AllocatedResources", resources()),
        ("Resources", or_null(legacy)),
        ("TaskStates", map(task(), task_state(), 2)),
        ("Metrics", anything()),
        ("AllocModifyIndex", anything()),
    ])
}

fn node() -> BoxedStrategy<Json> {
    let attribute = prop_oneof![Just("nomad.version".to_owned()), any::<String>()].boxed();
    object(vec![
        ("ID", text()),
        ("Name", text()),
        ("NodeClass", text()),
        ("NodePool", text()),
        ("Datacenter", text()),
        ("Status", text()),
        ("SchedulingEligibility", text()),
        ("Drain", boolean()),
        ("DrainStrategy", anything()),
        ("Version", text()),
        ("Attributes", map(attribute, text(), 3)),
        ("ModifyIndex", integer()),
    ])
}

/// An object with one member.
fn member(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

/// An element of an array, or the value of a line.
fn element() -> BoxedStrategy<Json> {
    let payload = prop_oneof![
        allocation().prop_map(|a| member("Allocation", a)),
        node().prop_map(|n| member("Node", n)),
        anything().prop_map(|job| member("Job", job)),
    ];
    let bare = or_null(object(vec![("Topic", text()), ("Payload", or_null(payload.boxed())), ("Index", integer())]));
    let frame = object(vec![("Index", integer()), ("Events", array(bare.clone(), 3))]);
    prop_oneof![
        12 => allocation(),
        2 => node(),
        2 => frame,
        1 => bare,
        1 => Just(Json::Object(Vec::new())),
        1 => text().prop_map(|said| member("Error", said)),
        1 => anything(),
    ]
    .boxed()
}

/// The consecutive values of a document.
fn document() -> BoxedStrategy<Vec<Json>> {
    let elements = || prop::collection::vec(element(), 0..4);
    let dump = object(vec![
        ("ACLTokens", anything()),
        ("Allocs", array(allocation(), 3)),
        ("Nodes", array(node(), 2)),
        ("Jobs", anything()),
    ]);
    prop_oneof![
        4 => elements().prop_map(|all| vec![Json::Array(all)]),
        2 => elements(),
        1 => (elements(), elements()).prop_map(|(a, b)| vec![Json::Array(a), Json::Array(b)]),
        1 => (elements(), elements()).prop_map(|(a, b)| vec![Json::Array(vec![Json::Array(a), Json::Array(b)])]),
        1 => dump.prop_map(|dump| vec![dump]),
    ]
    .boxed()
}

/// A change of one value of a document. The document stays valid JSON.
#[derive(Debug, Clone)]
enum Change {
    Replace(Json),
    /// A member or an element is repeated.
    Repeat,
    /// The key of a member is changed.
    Rename(String),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => anything().prop_map(Change::Replace),
        1 => Just(Change::Repeat),
        1 => prop_oneof![Just("ID".to_owned()), Just("Type".to_owned()), Just("Allocs".to_owned()), any::<String>()].prop_map(Change::Rename),
    ]
}

fn size(value: &Json) -> usize {
    1 + match value {
        Json::Array(elements) => elements.iter().map(size).sum(),
        Json::Object(members) => members.iter().map(|(_, value)| size(value)).sum::<usize>(),
        _ => 0,
    }
}

/// Applies `change` to the `n`th value, counted from the outside in. Returns `None` if it was applied, otherwise how
/// many values are still to be counted.
fn alter(value: &mut Json, n: usize, change: &Change) -> Option<usize> {
    if n == 0 {
        match (value, change) {
            (value, Change::Replace(other)) => *value = other.clone(),
            (Json::Array(elements), Change::Repeat) => elements.extend(elements.first().cloned()),
            (Json::Object(members), Change::Repeat) => members.extend(members.first().cloned()),
            (Json::Object(members), Change::Rename(name)) => {
                if let Some(member) = members.first_mut() {
                    member.0.clone_from(name);
                }
            }
            _ => {}
        }
        return None;
    }
    let mut left = n - 1;
    let inner: Vec<&mut Json> = match value {
        Json::Array(elements) => elements.iter_mut().collect(),
        Json::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    for inner in inner {
        left = alter(inner, left, change)?;
    }
    Some(left)
}

fn config(count: u32, seed: u64) -> Config {
    Config { cases: cases(count), failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    // serde_json checks that the text is JSON. This detects mistakes of the generator.
    prop_assert_eq!(property::validity(text.as_bytes()), Ok(()));
    property::check(text.as_bytes());
    Ok(())
}

#[test]
fn sound_documents_are_read_alike() {
    let result = TestRunner::new(config(1500, 2))
        .run(&(document(), hand()), |(values, hand)| check(&written(&values, hand, "\n")));
    assert!(result.is_ok(), "{}", result.err().map(|e| e.to_string()).unwrap_or_default());
}

#[test]
fn values_of_wrong_types_and_repeated_keys_are_refused_alike() {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4);
    let result = TestRunner::new(config(2500, 3)).run(&(document(), changes, hand()), |(mut values, changes, hand)| {
        for (which, change) in changes {
            let mut left = which.index(values.iter().map(size).sum::<usize>().max(1));
            for value in &mut values {
                match alter(value, left, &change) {
                    Some(more) => left = more,
                    None => break,
                }
            }
        }
        check(&written(&values, hand, "\n"))
    });
    assert!(result.is_ok(), "{}", result.err().map(|e| e.to_string()).unwrap_or_default());
}
