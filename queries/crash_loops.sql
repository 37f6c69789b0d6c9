-- crash_loops: Which tasks keep restarting, and why?
--
-- One row is one task that was restarted three times or more within the hour before the newest observation of its
-- region.
-- Restarts are counted by Nomad's counter, so that lost events do not hide them: the largest counter less the one of an
-- hour ago. That one is the largest of the versions with modified_at an hour or more before; 0 for a task created
-- since; else the first counter seen less the restarts of this hour that it includes. Of a task without a counter, or
-- whose client lost its state, the events of the hour count. The period does not cut.
--
-- Columns:
--   region              string     what `--region` says; empty without it
--   namespace           string     Nomad namespace
--   job_id              string     job ID; null when no source told
--   task_group          string     task group; null when no source told
--   task                string     task name
--   alloc_id            string     allocation ID, unique within its region
--   job_type            string     service, batch, system or sysbatch; null when no source told
--   job_version         int64      version of the job; null when no source told
--   node_id             string     client node ID; null when no source told
--   node_name           string     client node name; null when no source told
--   node_class          string     class of that node; null for none, and when no source lists nodes
--   datacenter          string     its data centre; null when no source lists nodes
--   restarts_last_hour  int64      restarts within that hour
--   period_seconds      double     mean time from one restart to the next within the hour, lost ones in between
--                                  included; null when fewer than two were seen
--   since_at            timestamp  the first restart that was seen within the hour, by the client's clock; null when
--                                  none was
--   since_at_ns         int64      the same in nanoseconds since the epoch
--   last_class          string     class of the task's last failure in view, as in failures; null when there is none
--   last_exit_code      int64      exit code of that failure; null where none applies
--   state               string     state of the task when it was last seen: pending, running or dead

WITH hours AS (
  SELECT region, MAX(observed_at_ns) - 3600000000000 AS hour_ago_ns
  FROM snapshots
  GROUP BY region
), counters AS (
  SELECT h.region, h.alloc_id, h.task, h.restarts, h.modified_at_ns, COALESCE(h.modify_index, 0) AS version,
         n.hour_ago_ns
  FROM task_state_history AS h
  JOIN hours AS n ON n.region = h.region
  WHERE h.restarts IS NOT NULL AND NOT h.placeholder
), baselines AS (
  SELECT region, alloc_id, task, MAX(CASE WHEN modified_at_ns <= hour_ago_ns THEN restarts END) AS restarts_before,
         MIN(version) AS first_version
  FROM counters
  GROUP BY region, alloc_id, task
), first_counters AS (
  SELECT b.region, b.alloc_id, b.task, MAX(b.restarts_before) AS restarts_before, MIN(c.restarts) AS first_restarts
  FROM baselines AS b
  JOIN counters AS c ON c.region = b.region AND c.alloc_id = b.alloc_id AND c.task = b.task
      AND c.version = b.first_version
  GROUP BY b.region, b.alloc_id, b.task
), recent_events AS (
  SELECT t.region, t.alloc_id, t.task, t.attempt, t.event_at, t.event_at_ns
  FROM timeline AS t
  JOIN hours AS n ON n.region = t.region
  WHERE t.event_type = 'Restarting' AND t.event_at_ns >= n.hour_ago_ns
), recent AS (
  SELECT r.region, r.alloc_id, r.task, COUNT(*) AS seen,
         SUM(CASE WHEN r.attempt <= f.first_restarts THEN 1 ELSE 0 END) AS seen_in_first,
         MIN(r.event_at) AS first_at, MIN(r.event_at_ns) AS first_at_ns, MAX(r.event_at_ns) AS last_at_ns,
         MAX(r.attempt) - MIN(r.attempt) AS attempts_between
  FROM recent_events AS r
  LEFT JOIN first_counters AS f ON f.region = r.region AND f.alloc_id = r.alloc_id AND f.task = r.task
  GROUP BY r.region, r.alloc_id, r.task
), last_failures AS (
  SELECT region, alloc_id, task, MAX(event_no) AS failed_no
  FROM endings
  WHERE outcome = 'failed'
  GROUP BY region, alloc_id, task
), looping AS (
  SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
         s.node_id, s.node_name, s.node_class, s.datacenter, s.state,
         r.first_at, r.first_at_ns, r.last_at_ns, l.failed_no,
         CASE WHEN r.attempts_between > r.seen - 1 THEN r.attempts_between ELSE r.seen - 1 END AS restarts_between,
         CAST(CASE WHEN c.lost_restarts IS NULL THEN COALESCE(r.seen, 0)
                   WHEN f.restarts_before IS NOT NULL THEN c.restarts - f.restarts_before
                   WHEN s.created_at_ns >= n.hour_ago_ns THEN c.restarts
                   ELSE c.restarts - f.first_restarts + COALESCE(r.seen_in_first, 0) END
              AS BIGINT) AS restarts_last_hour
  FROM coverage AS c
  JOIN task_states AS s ON s.region = c.region AND s.alloc_id = c.alloc_id AND s.task = c.task
  JOIN hours AS n ON n.region = c.region
  LEFT JOIN first_counters AS f ON f.region = c.region AND f.alloc_id = c.alloc_id AND f.task = c.task
  LEFT JOIN recent AS r ON r.region = c.region AND r.alloc_id = c.alloc_id AND r.task = c.task
  LEFT JOIN last_failures AS l ON l.region = c.region AND l.alloc_id = c.alloc_id AND l.task = c.task
)
SELECT l.region, l.namespace, l.job_id, l.task_group, l.task, l.alloc_id, l.job_type, l.job_version,
       l.node_id, l.node_name, l.node_class, l.datacenter, l.restarts_last_hour,
       -- A divisor has to be a column: polars multiplies by the reciprocal of a constant, which is not exact.
       CASE WHEN l.restarts_between > 0
              THEN CAST(l.last_at_ns - l.first_at_ns AS DOUBLE)
                / (1000000000 * CAST(l.restarts_between AS DOUBLE)) END AS period_seconds,
       l.first_at AS since_at, l.first_at_ns AS since_at_ns, e.class AS last_class, e.exit_code AS last_exit_code,
       l.state
FROM looping AS l
LEFT JOIN endings AS e ON e.region = l.region AND e.alloc_id = l.alloc_id AND e.task = l.task
    AND e.event_no = l.failed_no
WHERE l.restarts_last_hour >= 3
ORDER BY l.region NULLS LAST, l.namespace NULLS LAST, l.job_id NULLS LAST, l.task_group NULLS LAST, l.task NULLS LAST,
         l.alloc_id NULLS LAST
