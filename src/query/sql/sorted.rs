//! Sorts rows for a window, numbers them by partition and peer group, and computes window functions over them.

use polars::lazy::dsl::{max_horizontal, min_horizontal};
use polars::prelude::{DataType, Expr, FillNullStrategy, LazyFrame, PlSmallStr, any_horizontal, col, len, lit, when};

use super::compute;
use super::refusal::refused;
use super::select::sort_options;
use crate::error::Result;

/// The frame of a window function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameBounds {
    /// The whole partition.
    All,
    /// From the start of the partition to this row and its peers.
    ToPeers,
    /// From the start of the partition to this row.
    ToRow,
    /// From this row and its peers to the end of the partition.
    FromPeers,
    /// From this row to the end of the partition.
    FromRow,
    /// From a number of rows before this one to a number of rows after it; a negative number means the other
    /// direction.
    Between(i64, i64),
}

/// A function call over a window. The columns of the arguments are computed before the call.
#[derive(Debug, Clone)]
pub struct WindowFunction {
    pub id: PlSmallStr,
    pub partition: Vec<PlSmallStr>,
    /// Sort columns, each with two flags: descending, and nulls last.
    pub order: Vec<(PlSmallStr, bool, bool)>,
    pub call: Call,
}

/// The function of a window call.
#[derive(Debug, Clone)]
pub enum Call {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile(i64),
    /// The value of another row, given by an offset, and the default if that row does not exist.
    Shift(PlSmallStr, i64, Option<PlSmallStr>),
    First(PlSmallStr),
    Last(PlSmallStr, FrameBounds),
    Sum(PlSmallStr, FrameBounds),
    Count(Option<PlSmallStr>, FrameBounds),
    Most(PlSmallStr, FrameBounds),
    Least(PlSmallStr, FrameBounds),
}

/// Helper columns that sorting adds to a frame for a window.
pub struct Marks {
    /// The numbers of the row, of its partition, and of its peer group.
    pub row: PlSmallStr,
    pub partition: PlSmallStr,
    pub peers: PlSmallStr,
}

impl Marks {
    /// Sorts a frame for a window, and numbers its rows, partitions and peer groups.
    pub fn mark(&self, frame: LazyFrame, window: &WindowFunction) -> Result<LazyFrame> {
        let mut frame = frame;
        let mut by: Vec<Expr> = window.partition.iter().map(|id| col(id.clone())).collect();
        let (mut descending, mut nulls_last) = (vec![false; by.len()], vec![true; by.len()]);
        for (id, is_descending, is_last) in &window.order {
            by.push(col(id.clone()));
            descending.push(*is_descending);
            nulls_last.push(*is_last);
        }
        if !by.is_empty() {
            frame = frame.sort_by_exprs(by.clone(), sort_options(descending, nulls_last));
        }
        let number = |keys: &[Expr]| -> Result<Expr> {
            if keys.is_empty() {
                return Ok(lit(0i64));
            }
            let changes: Vec<Expr> =
                keys.iter().map(|key| key.clone().neq_missing(key.clone().shift(lit(1i64)))).collect();
            Ok(any_horizontal(changes)?.cast(DataType::Int64).cum_sum(false))
        };
        let partitions = number(&by[..window.partition.len()])?;
        let peers = if window.order.is_empty() { partitions.clone() } else { number(&by)? };
        let frame = frame.with_row_index(self.row.clone(), None);
        Ok(frame.with_columns([
            col(self.row.clone()).cast(DataType::Int64),
            partitions.alias(self.partition.clone()),
            peers.alias(self.peers.clone()),
        ]))
    }

    fn within(&self, expr: Expr) -> Result<Expr> {
        Ok(expr.over([col(self.partition.clone())])?)
    }

    fn among_peers(&self, expr: Expr) -> Result<Expr> {
        Ok(expr.over([col(self.peers.clone())])?)
    }

    /// The number of a row in its partition, from 1.
    fn number(&self) -> Result<Expr> {
        Ok(col(self.row.clone()) - self.within(col(self.row.clone()).first())? + lit(1i64))
    }

    fn count(&self) -> Result<Expr> {
        self.within(len().cast(DataType::Int64))
    }

    fn rank(&self) -> Result<Expr> {
        let first = self.among_peers(col(self.row.clone()).first())?;
        Ok(first - self.within(col(self.row.clone()).first())? + lit(1i64))
    }

    /// The value of a function for each row. Peers may still have different sums, counts and extremes;
    /// [`Marks::spread`] makes them equal.
    pub fn value(&self, call: &Call) -> Result<Expr> {
        let float = |expr: Expr| expr.cast(DataType::Float64);
        Ok(match call {
            Call::RowNumber => self.number()?,
            Call::Rank => self.rank()?,
            Call::DenseRank => col(self.peers.clone()) - self.within(col(self.peers.clone()).first())? + lit(1i64),
            Call::PercentRank => {
                let others = self.count()? - lit(1i64);
                let share = float(self.rank()? - lit(1i64)) / float(others.clone());
                when(others.gt(lit(0i64))).then(share).otherwise(lit(0.0))
            }
            Call::CumeDist => {
                let last = self.among_peers(col(self.row.clone()).last())?;
                let up_to = last - self.within(col(self.row.clone()).first())? + lit(1i64);
                float(up_to) / float(self.count()?)
            }
            Call::Ntile(buckets) => {
                let buckets = *buckets;
                compute::int_of_ints(self.number()?, self.count()?, move |number, count| {
                    let (size, larger) = (count / buckets, count % buckets);
                    let before = number - 1;
                    Ok(Some(if before < larger * (size + 1) {
                        before / (size + 1) + 1
                    } else {
                        larger + (before - larger * (size + 1)) / size + 1
                    }))
                })
            }
            Call::Shift(id, rows, default) => {
                let shifted = self.within(col(id.clone()).shift(lit(*rows)))?;
                match default {
                    None => shifted,
                    Some(default) => {
                        let number = self.number()?;
                        let is_missing =
                            if *rows >= 0 { number.lt_eq(lit(*rows)) } else { number.gt(self.count()? + lit(*rows)) };
                        when(is_missing).then(col(default.clone())).otherwise(shifted)
                    }
                }
            }
            Call::First(id) => self.within(col(id.clone()).first())?,
            Call::Last(id, frame) => match frame {
                FrameBounds::ToPeers => self.among_peers(col(id.clone()).last())?,
                FrameBounds::ToRow => col(id.clone()),
                _ => self.within(col(id.clone()).last())?,
            },
            Call::Count(None, frame) => self.total(lit(1i64), *frame)?,
            Call::Count(Some(id), frame) => self.total(col(id.clone()).is_not_null().cast(DataType::Int64), *frame)?,
            Call::Sum(id, frame) => self.total(col(id.clone()).fill_null(lit(0i64)), *frame)?,
            Call::Most(id, frame) => self.extreme(col(id.clone()), *frame, true)?,
            Call::Least(id, frame) => self.extreme(col(id.clone()), *frame, false)?,
        })
    }

    /// An expression that gives peers the same value. `None` if the frame of the function neither starts nor ends with
    /// the peers of a row.
    pub fn spread(&self, window: &WindowFunction) -> Option<Result<Expr>> {
        let frame = match &window.call {
            Call::Sum(_, frame) | Call::Count(_, frame) | Call::Most(_, frame) | Call::Least(_, frame) => *frame,
            _ => return None,
        };
        let value = col(window.id.clone());
        let value = match frame {
            FrameBounds::ToPeers => value.last(),
            FrameBounds::FromPeers => value.first(),
            _ => return None,
        };
        Some(self.among_peers(value).map(|value| value.alias(window.id.clone())))
    }

    /// The sum of non-null values over a frame.
    fn total(&self, values: Expr, frame: FrameBounds) -> Result<Expr> {
        // If `values` is a constant, this sum repeats it, so that each row has a value.
        let values = values + lit(0i64) * col(self.row.clone());
        match frame {
            FrameBounds::All => self.within(values.sum()),
            FrameBounds::ToPeers | FrameBounds::ToRow => self.within(values.cum_sum(false)),
            FrameBounds::FromPeers | FrameBounds::FromRow => self.within(values.cum_sum(true)),
            FrameBounds::Between(before, after) => {
                let shifted = (-after..=before)
                    .map(|rows| self.within(values.clone().shift(lit(rows))).map(|values| values.fill_null(lit(0i64))));
                let all = shifted.collect::<Result<Vec<_>>>()?.into_iter().reduce(|sum, next| sum + next);
                all.ok_or_else(|| refused("a window frame without rows is not supported"))
            }
        }
    }

    fn extreme(&self, values: Expr, frame: FrameBounds, is_max: bool) -> Result<Expr> {
        let running =
            |reverse: bool| if is_max { values.clone().cum_max(reverse) } else { values.clone().cum_min(reverse) };
        match frame {
            FrameBounds::All => self.within(if is_max { values.max() } else { values.min() }),
            // The engine gives no extreme to a row with a null. So such a row gets the extreme of the row before it or,
            // if the frame ends with the partition, of the row after it.
            FrameBounds::ToPeers | FrameBounds::ToRow => {
                self.within(running(false).fill_null_with_strategy(FillNullStrategy::Forward(None)))
            }
            FrameBounds::FromPeers | FrameBounds::FromRow => {
                self.within(running(true).fill_null_with_strategy(FillNullStrategy::Backward(None)))
            }
            FrameBounds::Between(before, after) => {
                let shifted = (-after..=before).map(|rows| self.within(values.clone().shift(lit(rows))));
                let shifted = shifted.collect::<Result<Vec<_>>>()?;
                Ok(if is_max { max_horizontal(shifted)? } else { min_horizontal(shifted)? })
            }
        }
    }
}
