//! Resynchronises after broken syntax.

use std::iter;
use std::ops::Range;

use super::grammar;
use super::position::{Expected, Level, Position, ResyncRule};
use super::skip::{after_space, value_end};
use super::value_reader::{FaultKind, ReadFault};
use super::walk::PartWalk;

impl PartWalk<'_, '_, '_, '_> {
    /// Gives up the value at `from` and the enclosing arrays and objects after a syntax error. Returns where to
    /// continue searching.
    pub(super) fn recover(&mut self, from: usize, fault: ReadFault) -> usize {
        if fault.kind == FaultKind::Syntax
            && let Some(next) = self.cut_lines(from, fault.at)
        {
            return next;
        }
        // Text in brackets that is not a list, such as `[INFO]` at the start of a log line, makes only its own line
        // unreadable.
        let is_remark = matches!(
            self.part.position.around.as_slice(),
            [Level { is_array: true, next: Expected::ValueOrClose, .. }]
        ) && !matches!(self.bytes.get(from), Some(b'{' | b'['));
        let in_array = self.in_array() && !is_remark;
        let rest = if in_array {
            "the rest of this array is not read"
        } else {
            "reading goes on at the next line that begins a value"
        };
        let what = if fault.kind == FaultKind::End { "is larger than 256 MiB" } else { &fault.what };
        self.reject(fault.at, fault.path, format!("{what}: {rest}"));
        // If the end of a line is missing, the error is found in the next line, which may itself be valid.
        let line = memchr::memrchr(b'\n', &self.bytes[from..fault.at]).map(|end| from + end + 1);
        let lost = ResyncRule { objects_too: !in_array, at_line_start: line.is_some() };
        self.part.position = Position { lost: Some(lost), ..Position::default() };
        line.unwrap_or(fault.at)
    }

    pub(super) fn in_array(&self) -> bool {
        self.part.position.around.iter().any(|level| level.is_array)
    }

    /// Handles truncated lines. The reader takes the lines after a truncated line for parts of the truncated value. So
    /// the value at `from` has an error at `to`, or the document ends at `to`. Reports the truncated lines, and returns
    /// the start of the first line that is not truncated; `None` if truncated lines are not the cause.
    ///
    /// The lines show whether the document has one value per line, or values of several lines. In a document with one
    /// value per line:
    /// - Each line from the second on starts with a bracket in its first column.
    /// - The first complete line contains a single value of a wanted kind, and nothing after it, not even a comma.
    pub(super) fn cut_lines(&mut self, from: usize, to: usize) -> Option<usize> {
        let objects_too = !self.in_array();
        let bytes = self.bytes;
        let begins_value = |at: usize| match bytes.get(at) {
            Some(b'[') => true,
            Some(b'{') => objects_too,
            _ => false,
        };
        let line_end = |at: usize| memchr::memchr(b'\n', &bytes[at..to]).map(|n| at + n);
        let mut at = line_end(from)? + 1;
        let is_end = to == bytes.len();
        let begins_line = is_end || bytes[to - 1] == b'\n' && begins_value(to);
        if !begins_line {
            return None;
        }
        let first = from..at - 1;
        let mut others: Vec<Range<usize>> = Vec::new();
        let next = loop {
            if at >= to {
                break to;
            }
            let end = line_end(at).unwrap_or(to);
            if after_space(bytes, at) < end {
                if !begins_value(at) {
                    return None;
                }
                match value_end(&bytes[..end], at) {
                    None => others.push(at..end),
                    Some(value_end) if after_space(bytes, value_end) >= end && self.is_wanted(at) => break at,
                    Some(_) => return None,
                }
            }
            at = end + 1;
        };
        if is_end && next == to {
            return None;
        }
        for line in iter::once(first).chain(others) {
            let path = grammar::path_to(bytes, line.start, line.end);
            let what = "is not JSON: the line ends inside it; reading continues at the next line";
            self.reject(line.end, path, what.into());
            self.part.position = Position::default();
        }
        Some(next)
    }

    /// Returns the next line that starts with a bracket, after a syntax error.
    pub(super) fn resync(&mut self, mut lost: ResyncRule, mut at: usize) -> Option<usize> {
        loop {
            if lost.at_line_start {
                match self.bytes.get(at) {
                    None => break,
                    Some(b'[') => {}
                    Some(b'{') if lost.objects_too => {}
                    Some(_) => {
                        lost.at_line_start = false;
                        continue;
                    }
                }
                self.part.position.lost = None;
                return Some(at);
            }
            let Some(line_end) = memchr::memchr(b'\n', self.bytes.get(at..).unwrap_or_default()) else { break };
            at += line_end + 1;
            lost.at_line_start = true;
        }
        self.part.position.lost = Some(lost);
        None
    }
}
