//! Charts as SVG with presentation attributes, so that they need no style sheet.
//!
//! Each chart has a title and a description for screen readers, and the page has the numbers of the chart as a table.
//! Text takes the colour of the page. Patterns, shapes and words give the same information as colours.

use maud::{Markup, html};

use super::clipped;
use super::pictures::{Curve, Histogram};
use crate::render::text::one_line;
use crate::report::show::{count, span};
use crate::report::timeline::Slice;
use crate::time;

/// Width of a chart in its own units.
const WIDTH: f64 = 800.0;

/// Colours that most people, including the colour-blind, can distinguish in the light and the dark theme (Okabe and
/// Ito).
const COLOURS: [&str; 8] = ["#d55e00", "#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#009e73", "#b8a800", "#888888"];

/// The restart causes, in the order of their colours and patterns.
const CAUSES: [&str; 9] =
    ["failure", "clean_exit", "oom", "start_failure", "user", "change", "health", "unknown", "lost"];

/// Formats a number for an attribute, with one decimal digit at most, because further digits are not visible.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A chart with its title and description.
fn chart(id: &str, title: &str, description: &str, height: f64, body: &Markup) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label=(format!("{title}, picture")) {
            svg id=(id) viewBox=(format!("0 0 {WIDTH} {}", n(height))) width=(WIDTH) height=(n(height)) role="img"
                aria-label=(format!("{title}. {description}")) font-family="sans-serif" font-size="12" fill="currentColor" {
                (body)
            }
        }
    }
}

/// The patterns of the causes, once per page: a colour with lines or dots.
pub fn patterns() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" {
            defs {
                @for (i, _) in CAUSES.iter().enumerate() {
                    pattern id=(format!("p{i}")) width="6" height="6" patternUnits="userSpaceOnUse" {
                        rect width="6" height="6" fill=(if i == 8 { "none" } else { COLOURS[i % COLOURS.len()] }) {}
                        @match i {
                            1 => path d="M0 3H6" stroke="#fff" stroke-width="1.5" {},
                            2 => path d="M0 6L6 0" stroke="#fff" stroke-width="1.5" {},
                            3 => circle cx="3" cy="3" r="1.3" fill="#fff" {},
                            4 => path d="M3 0V6" stroke="#fff" stroke-width="1.5" {},
                            5 => path d="M0 0L6 6" stroke="#fff" stroke-width="1.5" {},
                            6 => path d="M0 3H6M3 0V6" stroke="#fff" stroke-width="1" {},
                            8 => path d="M0 6L6 0" stroke="#888" stroke-width="1" {},
                            _ => {},
                        }
                    }
                }
            }
        }
    }
}

fn cause_fill(cause: &str) -> String {
    let index = CAUSES.iter().position(|known| *known == cause).unwrap_or(7);
    format!("url(#p{index})")
}

/// Restarts over time, stacked by cause.
pub fn restarts(histogram: &Histogram) -> Markup {
    let (left, top, bottom, height) = (50.0, 30.0, 190.0, 225.0);
    let totals =
        (0..histogram.bins).map(|bin| histogram.causes.values().filter_map(|bins| bins.get(&bin)).sum::<i64>());
    let most = totals.max().unwrap_or(0).max(1);
    let step = (WIDTH - left - 10.0) / histogram.bins as f64;
    let y = |value: i64| bottom - (bottom - top) * value as f64 / most as f64;
    let mut below = vec![0_i64; usize::try_from(histogram.bins).unwrap_or(0)];
    let body = html! {
        (axis(left, bottom, WIDTH - 10.0, top))
        text x=(n(left - 6.0)) y=(n(top + 4.0)) text-anchor="end" { (count(Some(most))) }
        text x=(n(left - 6.0)) y=(n(bottom)) text-anchor="end" { "0" }
        @for cause in CAUSES {
            @for (bin, value) in histogram.causes.get(cause).into_iter().flatten() {
                @if let Some(under) = usize::try_from(*bin).ok().and_then(|bin| below.get_mut(bin)) {
                    @let base = *under;
                    ({ *under += value; "" })
                    rect x=(n(left + step * *bin as f64 + 0.5)) width=(n((step - 1.0).max(1.0))) y=(n(y(base + value)))
                        height=(n(y(base) - y(base + value))) fill=(cause_fill(cause)) stroke="currentColor"
                        stroke-width="0.5" {
                        title { (time::to_rfc3339_seconds(histogram.start_ns(*bin))) ": " (value) " " (cause.replace('_', " ")) }
                    }
                }
            }
        }
        text x=(n(left)) y=(n(bottom + 18.0)) { (time::to_rfc3339_seconds(histogram.start_ns(0))) }
        text x=(n(WIDTH - 10.0)) y=(n(bottom + 18.0)) text-anchor="end" { (time::to_rfc3339_seconds(histogram.start_ns(histogram.bins))) }
        (legend(left, &histogram.causes.keys().map(String::as_str).collect::<Vec<_>>()))
    };
    let sum: i64 = histogram.causes.values().flat_map(|bins| bins.values()).sum();
    let text = format!(
        "Bars of {}, from {} to {}; {} restarts, at most {most} in one bar. The tables below have the numbers of each bar and the total of each cause.",
        span(histogram.width_ns as f64 / 1e9),
        time::to_rfc3339_seconds(histogram.start_ns(0)),
        time::to_rfc3339_seconds(histogram.start_ns(histogram.bins)),
        count(Some(sum)),
    );
    chart("restarts-chart", "Restarts over time by cause", &text, height, &body)
}

/// The causes that occur, in the order of the stack.
pub fn causes(histogram: &Histogram) -> Vec<(&'static str, i64)> {
    let sum = |cause: &&'static str| Some((*cause, histogram.causes.get(*cause)?.values().sum::<i64>()));
    CAUSES.iter().filter_map(sum).collect()
}

fn legend(left: f64, causes: &[&str]) -> Markup {
    let known: Vec<&str> = CAUSES.into_iter().filter(|cause| causes.contains(cause)).collect();
    html! {
        @for (i, cause) in known.iter().enumerate() {
            @let x = left + 105.0 * i as f64;
            @let (x, y) = if i < 7 { (x, 4.0) } else { (x - 105.0 * 7.0, 212.0) };
            rect x=(n(x)) y=(n(y)) width="12" height="12" fill=(cause_fill(cause)) stroke="currentColor" stroke-width="0.5" {}
            text x=(n(x + 17.0)) y=(n(y + 10.0)) { (cause.replace('_', " ")) }
        }
    }
}

fn axis(left: f64, bottom: f64, right: f64, top: f64) -> Markup {
    html! {
        path d=(format!("M{} {}V{}H{}", n(left), n(top), n(bottom), n(right))) fill="none" stroke="currentColor" stroke-width="1" {}
    }
}

/// Horizontal bars. A row has a name, and a number for each series. All bars of a series have one scale.
pub fn bars(id: &str, title: &str, series: &[&str], rows: &[(String, Vec<i64>)]) -> Markup {
    let name = 190.0;
    let room = (WIDTH - name - 10.0) / series.len().max(1) as f64;
    let height = 24.0 * rows.len() as f64 + 26.0;
    let most = |i: usize| rows.iter().filter_map(|(_, values)| values.get(i)).max().copied().unwrap_or(0).max(1);
    let body = html! {
        @for (i, of) in series.iter().enumerate() {
            text x=(n(name + room * i as f64)) y="14" font-weight="bold" { (of) }
        }
        @for (row, (label, values)) in rows.iter().enumerate() {
            @let y = 24.0 + 24.0 * row as f64;
            text x=(n(name - 8.0)) y=(n(y + 13.0)) text-anchor="end" { (shortened(label, 26)) title { (one_line(label)) } }
            @for (i, value) in values.iter().enumerate() {
                @let wide = (room - 70.0) * *value as f64 / most(i) as f64;
                rect x=(n(name + room * i as f64)) y=(n(y + 2.0)) width=(n(wide)) height="15" fill=(COLOURS[(i + 1) % COLOURS.len()]) {}
                text x=(n(name + room * i as f64 + wide + 5.0)) y=(n(y + 13.0)) { (count(Some(*value))) }
            }
        }
    };
    let text = format!("One bar per row, {} rows; the table below has the numbers.", rows.len());
    chart(id, title, &text, height, &body)
}

/// Strips: for each group the share of tasks with a complete history.
pub fn strips(rows: &[(String, i64, i64)]) -> Markup {
    let (name, wide) = (250.0, 400.0);
    let height = 24.0 * rows.len() as f64 + 8.0;
    let body = html! {
        @for (i, (label, complete, tasks)) in rows.iter().enumerate() {
            @let y = 4.0 + 24.0 * i as f64;
            @let part = wide * *complete as f64 / (*tasks).max(1) as f64;
            text x=(n(name - 8.0)) y=(n(y + 13.0)) text-anchor="end" { (shortened(label, 36)) title { (one_line(label)) } }
            rect x=(n(name)) y=(n(y + 2.0)) width=(n(wide)) height="15" fill="url(#p8)" stroke="currentColor" stroke-width="0.5" {}
            rect x=(n(name)) y=(n(y + 2.0)) width=(n(part)) height="15" fill="#0072b2" {}
            text x=(n(name + wide + 6.0)) y=(n(y + 13.0)) { (count(Some(*complete))) " of " (count(Some(*tasks))) }
        }
    };
    let text = "Each strip is filled as far as the history of its tasks is complete; hatched where it is not.";
    chart("coverage-chart", "Complete histories by group", text, height, &body)
}

/// The curve of a measure: the share of tasks that have started, on a logarithmic axis of seconds.
pub fn curve(curve: &Curve, title: &str) -> Markup {
    let (left, top, bottom, right) = (50.0, 16.0, 190.0, WIDTH - 20.0);
    let times =
        curve.steps.iter().map(|step| step.seconds).chain(curve.censored.iter().copied()).filter(|at| *at > 0.0);
    let least = times.clone().fold(f64::INFINITY, f64::min).clamp(0.001, 1.0).log10().floor();
    let most = times.fold(1.0, f64::max).log10().ceil().max(least + 1.0);
    let x = |at: f64| left + (right - left) * (at.max(1e-9).log10().clamp(least, most) - least) / (most - least);
    let y = |share: f64| bottom - (bottom - top) * share;
    let sure = curve.sure_seconds.unwrap_or(f64::INFINITY);
    let mut line = format!("M{} {}", n(left), n(y(0.0)));
    let mut last = 0.0;
    for step in curve.known_steps() {
        line.push_str(&format!("H{}V{}", n(x(step.seconds)), n(y(step.started))));
        last = step.started;
    }
    line.push_str(&format!("H{}", n(x(sure.min(10f64.powf(most))))));
    let share_at =
        |at: f64| curve.steps.iter().take_while(|step| step.seconds <= at).last().map_or(0.0, |step| step.started);
    let decades = (least as i32)..=(most as i32);
    let body = html! {
        (axis(left, bottom, right, top))
        @for share in [0.0, 0.5, 0.95, 1.0] {
            text x=(n(left - 6.0)) y=(n(y(share) + if share == 0.95 { 9.0 } else { 3.0 })) text-anchor="end" { (format!("{:.0}%", share * 100.0)) }
            path d=(format!("M{} {}H{}", n(left), n(y(share)), n(right))) stroke="currentColor" stroke-width="0.3" {}
        }
        @for decade in decades {
            text x=(n(x(10f64.powi(decade)))) y=(n(bottom + 16.0)) text-anchor="middle" { (span(10f64.powi(decade))) }
        }
        path d=(line) fill="none" stroke="#0072b2" stroke-width="2" {}
        @for at in &curve.censored {
            @let (cx, cy) = (x(*at), y(share_at(*at)));
            path d=(format!("M{} {}v10", n(cx), n(cy - 5.0))) stroke="#d55e00" stroke-width="2" {
                title { "not started after " (span(*at)) }
            }
        }
        text x=(n(left)) y=(n(bottom + 32.0)) { "time since the origin, logarithmic; upright marks: tasks that wait or were stopped (censored)" }
    };
    let text = format!(
        "Share of {} tasks that had started by a time; {:.0}% at the end of the curve; {} censored; {} failed before they started and never will. The table below has the steps.",
        curve.tasks,
        last * 100.0,
        curve.all_censored,
        curve.failed
    );
    chart(&format!("curve-{}", curve.measure), title, &text, 230.0, &body)
}

/// A lane: the name of a task, and its slices.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The name.
    pub name: String,
    /// The slices of the task's life.
    pub slices: Vec<Slice>,
}

/// The attempts of tasks over time. The script zooms the inner picture; without the script, the whole time is
/// shown.
pub fn lanes(lanes: &[Lane]) -> Markup {
    let slices = || lanes.iter().flat_map(|lane| &lane.slices);
    let (Some(from), Some(until)) =
        (slices().map(|slice| slice.from_ns).min(), slices().map(|slice| slice.until_ns).max())
    else {
        return html! { p { "No attempt has a known time." } };
    };
    let (name, inner) = (230.0, WIDTH - 240.0);
    let height = 22.0 * lanes.len() as f64;
    let long = ((until - from) as f64).max(1.0);
    // The viewBox is 10,000 units wide. A slice that is too short to be seen is drawn wider.
    let x = |ns: i64| (ns - from) as f64 / long * 10_000.0;
    let body = html! {
        @for (i, lane) in lanes.iter().enumerate() {
            text x=(n(name - 8.0)) y=(n(22.0 * i as f64 + 15.0)) text-anchor="end" { (shortened(&lane.name, 34)) title { (clipped(&lane.name)) } }
        }
        svg id="lanes" class="lanes" x=(n(name)) y="0" width=(n(inner)) height=(n(height)) viewBox=(format!("0 0 10000 {}", n(height)))
            preserveAspectRatio="none" data-from=(from / 1_000_000) data-until=(until / 1_000_000) {
            @for (i, lane) in lanes.iter().enumerate() {
                @for slice in &lane.slices {
                    @let (from, until) = (x(slice.from_ns), x(slice.until_ns));
                    @let (fill, top, tall) = look(slice);
                    rect x=(n(from)) width=(n((until - from).max(8.0))) y=(n(22.0 * i as f64 + top)) height=(n(tall)) fill=(fill)
                        stroke="currentColor" stroke-dasharray=[dashes(slice.kind)] stroke-width="0.7" vector-effect="non-scaling-stroke" {
                        title { (one_line(&slice.label)) }
                    }
                }
            }
        }
        text id="lanes-from" x=(n(name)) y=(n(height + 16.0)) { (time::to_rfc3339_seconds(from)) }
        text id="lanes-until" x=(n(WIDTH - 10.0)) y=(n(height + 16.0)) text-anchor="end" { (time::to_rfc3339_seconds(until)) }
        @for (i, (kind, outcome, word)) in LEGEND.iter().enumerate() {
            @let (fill, top, tall) = shape(kind, *outcome);
            @let left = name + 95.0 * i as f64;
            rect x=(n(left)) y=(n(height + 24.0 + top)) width="16" height=(n(tall)) fill=(fill) stroke="currentColor" stroke-dasharray=[dashes(kind)] stroke-width="0.7" {}
            text x=(n(left + 21.0)) y=(n(height + 38.0)) { (word) }
        }
    };
    let text = format!(
        "{} tasks from {} to {}. The events of each task are listed below.",
        lanes.len(),
        time::to_rfc3339_seconds(from),
        time::to_rfc3339_seconds(until)
    );
    html! {
        p class="zoom" data-zoom="lanes" {}
        (chart("lanes-chart", "Attempts of tasks over time", &text, height + 46.0, &body))
    }
}

const LEGEND: [(&str, Option<&str>, &str); 6] = [
    ("run", Some("running"), "running"),
    ("run", Some("completed"), "ended well"),
    ("run", Some("failed"), "failed"),
    ("run", Some("unknown"), "unknown"),
    ("waiting", None, "waiting"),
    ("gap", None, "gap"),
];

fn dashes(kind: &str) -> Option<&'static str> {
    (kind == "gap").then_some("3 3")
}

fn look(slice: &Slice) -> (&'static str, f64, f64) {
    shape(slice.kind, slice.outcome.as_deref())
}

/// Fill, upper edge and height of a slice: a failed run is tall, waiting time is a line, and a gap is a dashed frame.
fn shape(kind: &str, outcome: Option<&str>) -> (&'static str, f64, f64) {
    match (kind, outcome) {
        ("gap", _) => ("none", 2.0, 18.0),
        ("waiting", _) => ("#b8a800", 9.0, 4.0),
        (_, Some("failed")) => ("#d55e00", 2.0, 18.0),
        (_, Some("running")) => ("#009e73", 5.0, 12.0),
        (_, Some("completed" | "stopped" | "restart")) => ("#56b4e9", 5.0, 12.0),
        _ => ("#888888", 7.0, 8.0),
    }
}

/// A text, shortened to the beginning and the end if it has more than `most` characters.
fn shortened(text: &str, most: usize) -> String {
    let text = one_line(text);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text;
    }
    let head = most / 3;
    let tail = chars.len() - (most - head - 1);
    chars[..head].iter().chain(&['…']).chain(&chars[tail..]).collect()
}
