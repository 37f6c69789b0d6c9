-- coverage: Is the recorded history of each task complete, and what is missing?
--
-- One row is one task of one allocation.
-- Allocations whose tasks are not known are left out. Nomad keeps the last ten events of a task, so an event is lost if
-- no snapshot shows it before Nomad drops it. Nomad's Restarts counter rises by one per `Restarting` event, so the
-- counter minus the seen `Restarting` events is the number of lost restarts.
-- A history is complete if nothing was lost up to the task's last observation: the first event is in view, there are no
-- gaps, no restart was lost, and the allocation is known not to have vanished. Without a counter (before Nomad 0.6), it
-- is not known whether a restart was lost. Then all windows must have fewer than ten events, so that no event was
-- pushed out. In each of these cases, a history is not complete either:
--   no window  the task has no window
--   new life   the task shows a new life (see windows)
--   rounded    the time of an event comes from a document whose times went through a float
--   mismatch   the stored events from the first to the last time of a window are more or fewer than the events of the
--              window, because a clock was changed or the client lost its state
--   logs       lines of logs close a gap. In such a gap, alloclog detects a missing line only if it is a Restarting
--
-- Exported: yes
-- Columns:
--   region         string  region given by `--region`; empty without it
--   namespace      string  Nomad namespace
--   job_id         string  job ID; null if no source shows it
--   task_group     string  task group; null if no source shows it
--   task           string  task name
--   alloc_id       string  allocation ID, unique within its region
--   job_type       string  service, batch, system or sysbatch; null if no source shows it
--   job_version    int64   version of the job; null if no source shows it
--   node_id        string  client node ID; null if no source shows it
--   node_name      string  client node name; null if no source shows it
--   node_class     string  class of that node; null if it has none, or no source lists nodes
--   datacenter     string  data centre of that node; null if no source lists nodes
--   events         int64   events in view
--   log_events     int64   events that only logs of agents show (recovered_events); included in events
--   begins         bool    whether the first event of the task is in view; false if no event is in view, or if lives
--                          are mixed (see windows)
--   gaps           int64   number of windows that do not join the previous window (see windows), so that events between
--                          the two may be missing; gaps that logs close do not count (see log_gaps)
--   restarts       int64   the largest Restarts counter seen; null without a counter (before Nomad 0.6)
--   lost_restarts  int64   restarts that the counter includes, but whose event no source and no log shows. The number
--                          is exact, unless the client lost all of its state while nothing was observed; null without a
--                          counter, if the task shows a new life (for example, its counter falls), or if more restarts
--                          are seen than counted (the client lost its state)
--   tail_lost      bool    whether its allocation vanished (see vanished of allocations), so that later events may be
--                          missing; null if the stored rows do not show whether it vanished
--   complete       bool    whether nothing was lost up to its last observation

WITH windows_by_task AS (
  SELECT region, alloc_id, task,
         MAX(CASE WHEN begins AND NOT lives_mixed THEN 1 ELSE 0 END) AS begins,
         SUM(CASE WHEN after_gap THEN 1 ELSE 0 END) AS gaps,
         MAX(CASE WHEN new_life THEN 1 ELSE 0 END) AS new_lives,
         MAX(CASE WHEN stored_events = window_events THEN 0 ELSE 1 END) AS is_inexact,
         MAX(window_events) AS most_events
  FROM windows
  GROUP BY region, alloc_id, task
), counters_by_task AS (
  SELECT region, alloc_id, task, MAX(restarts) AS restarts
  FROM task_state_history
  WHERE NOT placeholder
  GROUP BY region, alloc_id, task
), rounded_tasks AS (
  SELECT region, alloc_id, task
  FROM event_counts
  WHERE has_rounded
), restart_events AS (
  SELECT e.region, e.alloc_id, e.task, CAST(e.event_at_ns AS DOUBLE) AS event_at_float,
         CASE WHEN e.times_rounded THEN 1 ELSE 0 END AS is_rounded
  FROM task_events AS e
  JOIN rounded_tasks AS r ON r.region = e.region AND r.alloc_id = e.alloc_id AND r.task = e.task
  WHERE e.event_type = 'Restarting'
), distinct_restarts AS (
  -- The exact and the rounded time of one event are equal if both are converted to floats.
  SELECT region, alloc_id, task, event_at_float, SUM(is_rounded) AS rounded_events, SUM(1 - is_rounded) AS exact_events
  FROM restart_events
  GROUP BY region, alloc_id, task, event_at_float
), restarts_by_task AS (
  SELECT region, alloc_id, task,
         SUM(CASE WHEN exact_events > 0 THEN exact_events ELSE rounded_events END) AS restarts_seen
  FROM distinct_restarts
  GROUP BY region, alloc_id, task
), logged_events AS (
  SELECT r.region, r.alloc_id, r.task,
         CASE WHEN r.event_type = 'Restarting' AND NOT g.is_tail THEN 1 ELSE 0 END AS is_counted_restart
  FROM recovered_events AS r
  JOIN log_gaps AS g ON g.region = r.region AND g.alloc_id = r.alloc_id AND g.task = r.task
      AND g.window_no = r.window_no
), logged_events_by_task AS (
  -- Restarts after the last window are not compared with the counter, because the counter does not include them.
  SELECT region, alloc_id, task, COUNT(*) AS log_events, SUM(is_counted_restart) AS restarts_seen
  FROM logged_events
  GROUP BY region, alloc_id, task
), closed_gaps AS (
  SELECT region, alloc_id, task, COUNT(*) AS closed_gaps
  FROM log_gaps
  WHERE is_closed
  GROUP BY region, alloc_id, task
), tasks AS (
  SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
         s.node_id, s.node_name, s.node_class, s.datacenter,
         COALESCE(e.events, 0) + COALESCE(l.log_events, 0) AS events,
         COALESCE(l.log_events, 0) AS log_events,
         COALESCE(w.begins, 0) = 1 AS begins,
         CAST(COALESCE(w.gaps, 0) AS BIGINT) AS gaps,
         c.restarts,
         CASE WHEN e.has_rounded THEN COALESCE(r.restarts_seen, 0) ELSE COALESCE(e.restarting, 0) END
           + COALESCE(l.restarts_seen, 0) AS restarts_seen,
         COALESCE(w.new_lives, 0) AS new_lives,
         a.vanished AS tail_lost,
         CASE WHEN w.new_lives = 0 AND w.is_inexact = 0 AND NOT e.has_rounded AND g.closed_gaps IS NULL
                THEN 1 ELSE 0 END AS is_sound,
         CASE WHEN c.restarts IS NULL AND w.most_events < 10 THEN 1 ELSE 0 END AS is_never_full
  FROM task_states AS s
  JOIN allocations AS a ON a.region = s.region AND a.alloc_id = s.alloc_id
  LEFT JOIN windows_by_task AS w ON w.region = s.region AND w.alloc_id = s.alloc_id AND w.task = s.task
  LEFT JOIN counters_by_task AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
  LEFT JOIN event_counts AS e ON e.region = s.region AND e.alloc_id = s.alloc_id AND e.task = s.task
  LEFT JOIN restarts_by_task AS r ON r.region = s.region AND r.alloc_id = s.alloc_id AND r.task = s.task
  LEFT JOIN logged_events_by_task AS l ON l.region = s.region AND l.alloc_id = s.alloc_id AND l.task = s.task
  LEFT JOIN closed_gaps AS g ON g.region = s.region AND g.alloc_id = s.alloc_id AND g.task = s.task
  WHERE s.task IS NOT NULL
), tasks_with_losses AS (
  SELECT *,
         CASE WHEN new_lives = 1 OR restarts < restarts_seen THEN NULL
              ELSE CAST(restarts - restarts_seen AS BIGINT) END AS lost_restarts
  FROM tasks
)
SELECT region, namespace, job_id, task_group, task, alloc_id, job_type, job_version, node_id, node_name, node_class,
       datacenter,
       CAST(events AS BIGINT) AS events, CAST(log_events AS BIGINT) AS log_events, begins, gaps, restarts,
       lost_restarts, tail_lost,
       CASE WHEN is_sound = 1 AND begins AND gaps = 0 AND (lost_restarts = 0 OR is_never_full = 1)
              AND NOT tail_lost THEN TRUE
            ELSE FALSE END AS complete
FROM tasks_with_losses
ORDER BY region NULLS LAST, namespace NULLS LAST, job_id NULLS LAST, task_group NULLS LAST, task NULLS LAST,
         alloc_id NULLS LAST
