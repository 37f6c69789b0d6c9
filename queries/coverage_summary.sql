-- coverage_summary: For how many tasks is the history complete, and which snapshot interval would have kept it?
--
-- One row is one group of tasks.
-- The view counts rows of coverage, so the period does not apply. Nomad keeps ten events of a task, so snapshots keep
-- all events if fewer than ten happen between two of them. keep_interval_seconds shows how fast events came: it is the
-- shortest time from the first to the last event of a full window, among the tasks that lost events. With snapshots at
-- that interval, every window would have joined the window before it, unless the lost events came faster than the seen
-- events.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region                 string  region given by `--region`; empty without it; `--by` replaces these five columns
--   namespace              string  Nomad namespace
--   job_id                 string  job ID; null if no source shows it
--   task_group             string  task group; null if no source shows it
--   task                   string  task name
--   allocations            int64   allocations
--   tasks                  int64   tasks
--   complete               int64   tasks whose history is complete up to their last observation (complete of coverage)
--   without_events         int64   tasks without an event in view
--   without_begin          int64   tasks with an event in view, but without their first event in view
--   events                 int64   events in view
--   log_events             int64   events that only logs of agents show; included in events
--   gaps                   int64   gaps between windows of events
--   restarts               int64   restarts by Nomad's counters; null if no task has a counter (before Nomad 0.6)
--   lost_restarts          int64   counted restarts whose event was not seen; null if that number is known for no task
--   uncounted_tasks        int64   tasks whose lost_restarts are not known: they have no counter, or the client lost
--                                  its state
--   vanished_tasks         int64   tasks whose allocation is known to have vanished (tail_lost of coverage)
--   keep_interval_seconds  double  largest interval between snapshots that would have kept the events; null if no event
--                                  was lost, or if no task that lost events has a full window with known times

WITH full_window_spans AS (
  SELECT region, alloc_id, task, MIN(window_last_ns - window_first_ns) AS span_ns
  FROM task_state_history
  WHERE window_events >= 10 AND NOT placeholder AND window_last_ns > window_first_ns
  GROUP BY region, alloc_id, task
), flagged_tasks AS (
  SELECT c.*,
         CONCAT(c.region, '/', c.alloc_id) AS alloc_key,
         CASE WHEN c.complete THEN 1 ELSE 0 END AS is_complete,
         CASE WHEN c.events = 0 THEN 1 ELSE 0 END AS is_without_events,
         CASE WHEN c.events > 0 AND NOT c.begins THEN 1 ELSE 0 END AS is_without_begin,
         CASE WHEN c.restarts IS NULL THEN 0 ELSE 1 END AS has_counter,
         CASE WHEN c.lost_restarts IS NULL THEN 1 ELSE 0 END AS is_uncounted,
         CASE WHEN c.tail_lost THEN 1 ELSE 0 END AS is_vanished,
         CASE WHEN c.gaps > 0 OR COALESCE(c.lost_restarts, 0) > 0 OR NOT c.begins THEN s.span_ns END AS lossy_span_ns
  FROM coverage AS c
  LEFT JOIN full_window_spans AS s ON s.region = c.region AND s.alloc_id = c.alloc_id AND s.task = c.task
), group_totals AS (
  SELECT region, namespace, job_id, task_group, task,
         COUNT(DISTINCT alloc_key) AS allocations, COUNT(*) AS tasks, SUM(is_complete) AS complete,
         SUM(is_without_events) AS without_events, SUM(is_without_begin) AS without_begin, SUM(events) AS events,
         SUM(log_events) AS log_events,
         SUM(gaps) AS gaps, SUM(COALESCE(restarts, 0)) AS restarts, SUM(has_counter) AS with_counter,
         SUM(COALESCE(lost_restarts, 0)) AS lost_restarts, SUM(is_uncounted) AS uncounted_tasks,
         SUM(is_vanished) AS vanished_tasks, MIN(lossy_span_ns) AS span_ns
  FROM flagged_tasks
  GROUP BY region, namespace, job_id, task_group, task
)
SELECT region, namespace, job_id, task_group, task,
       CAST(allocations AS BIGINT) AS allocations, CAST(tasks AS BIGINT) AS tasks, CAST(complete AS BIGINT) AS complete,
       CAST(without_events AS BIGINT) AS without_events, CAST(without_begin AS BIGINT) AS without_begin,
       CAST(events AS BIGINT) AS events, CAST(log_events AS BIGINT) AS log_events, CAST(gaps AS BIGINT) AS gaps,
       CASE WHEN with_counter > 0 THEN CAST(restarts AS BIGINT) END AS restarts,
       CASE WHEN uncounted_tasks < tasks THEN CAST(lost_restarts AS BIGINT) END AS lost_restarts,
       CAST(uncounted_tasks AS BIGINT) AS uncounted_tasks, CAST(vanished_tasks AS BIGINT) AS vanished_tasks,
       ROUND(CAST(span_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS keep_interval_seconds
FROM group_totals
ORDER BY region, namespace, job_id, task_group, task NULLS LAST
