-- crash_loops: Which tasks keep restarting, and why?
--
-- One row is one task that certainly restarted three times or more within the hour before the newest observation of its
-- region.
-- Restarts are counted by Nomad's counter, so lost events do not hide them (see restart_log). A seen restart counts if
-- its event is within the hour. There is one exception: if a version from before the hour already counts the restart,
-- the client's clock is ahead, and the restart does not count. Several restarts that were not seen may share a row of
-- restart_log. They count if all of them certainly happened within the hour. If the last version before a rise of the
-- counter is older than the hour, the rise may have happened before the hour, so it counts in restarts_at_most only.
-- Before Nomad 0.7.1, versions have no time. So restarts that were not seen have no time either, and may be as late as
-- the newest observation. For a task that has no counter, or whose client lost its state, only the seen restarts of the
-- hour count. The period does not apply. Dead tasks come last.
--
-- Exported: yes
-- Columns:
--   region              string     region given by `--region`; empty without it
--   namespace           string     Nomad namespace
--   job_id              string     job ID; null if no source shows it
--   task_group          string     task group; null if no source shows it
--   task                string     task name
--   alloc_id            string     allocation ID, unique within its region
--   job_type            string     service, batch, system or sysbatch; null if no source shows it
--   job_version         int64      version of the job; null if no source shows it
--   node_id             string     client node ID; null if no source shows it
--   node_name           string     client node name; null if no source shows it
--   node_class          string     class of that node; null if it has none, or no source lists nodes
--   datacenter          string     data centre of that node; null if no source lists nodes
--   restarts_last_hour  int64      restarts that certainly happened within that hour
--   restarts_at_most    int64      the same, plus restarts that may have happened within that hour; null if the client
--                                  lost its state or the task has no counter
--   period_seconds      double     mean time from one restart to the next within the hour, including lost restarts in
--                                  between; null when fewer than two restarts were seen
--   since_at            timestamp  time of the first restart within the hour, by the client's clock; null if that
--                                  restart was not seen
--   since_at_ns         int64      the same in nanoseconds since the epoch
--   seen_since_at       timestamp  time of the first seen restart within the hour, by the client's clock; restarts of
--                                  the hour that were not seen may precede it; null if no restart was seen
--   seen_since_at_ns    int64      the same in nanoseconds since the epoch
--   last_restart_at     timestamp  time of the last restart within the hour, seen or lost, as in restart_log; null if
--                                  no restart has a time
--   last_restart_at_ns  int64      the same in nanoseconds since the epoch
--   last_class          string     class of the task's last failure in view, as in failures; null if there is none
--   last_exit_code      int64      exit code of that failure; null where none applies
--   state               string     state of the task when it was last seen: pending, running or dead
--   is_over             bool       whether the task is dead, so that the loop has ended

WITH last_hours AS (
  SELECT region, observed_at_ns, observed_at_ns - 3600000000000 AS hour_ago_ns
  FROM observations
), counters_before_hour AS (
  SELECT h.region, h.alloc_id, h.task, MAX(h.restarts) AS counted
  FROM task_state_history AS h
  JOIN last_hours AS n ON n.region = h.region
  JOIN coverage AS c ON c.region = h.region AND c.alloc_id = h.alloc_id AND c.task = h.task
  WHERE h.restarts IS NOT NULL AND NOT h.placeholder AND h.modified_at_ns <= n.hour_ago_ns
    AND c.lost_restarts IS NOT NULL
  GROUP BY h.region, h.alloc_id, h.task
), restarts_of_hour AS (
  SELECT r.region, r.alloc_id, r.task, r.attempt, r.restarted_at, r.restarted_at_ns, r.number,
         COALESCE(r.not_before_ns, 0) AS not_before_ns,
         CASE WHEN r.is_seen THEN 1 ELSE 0 END AS is_seen,
         CASE WHEN r.is_seen OR r.not_before_ns >= n.hour_ago_ns THEN r.number ELSE 0 END AS sure_number
  FROM restart_log AS r
  JOIN last_hours AS n ON n.region = r.region
  LEFT JOIN counters_before_hour AS b ON b.region = r.region AND b.alloc_id = r.alloc_id AND b.task = r.task
  -- Restarts that were not seen and have no time happened before the newest observation, because an observed counter
  -- includes them. The restart that ends attempt n raises the counter to n. So the second condition drops restarts that
  -- the counter included before the hour.
  WHERE (r.restarted_at_ns >= n.hour_ago_ns OR (r.restarted_at_ns IS NULL AND NOT r.is_seen))
    AND COALESCE(r.attempt, b.counted + 1, 1) > COALESCE(b.counted, 0)
    -- Logs may show restarts after the newest observation. These do not count.
    AND (COALESCE(r.origin, 'api') = 'api' OR r.restarted_at_ns <= n.observed_at_ns)
), restarts_by_task AS (
  SELECT region, alloc_id, task, SUM(number) AS possible, SUM(sure_number) AS sure, SUM(is_seen) AS seen,
         MIN(CASE WHEN is_seen = 1 THEN restarted_at END) AS first_at,
         MIN(CASE WHEN is_seen = 1 THEN restarted_at_ns END) AS first_at_ns,
         MAX(CASE WHEN is_seen = 1 THEN restarted_at_ns END) AS last_at_ns,
         MIN(CASE WHEN is_seen = 0 THEN not_before_ns END) AS first_lost_ns,
         MAX(restarted_at) AS last_restart_at, MAX(restarted_at_ns) AS last_restart_at_ns,
         MAX(CASE WHEN is_seen = 1 THEN attempt END) - MIN(CASE WHEN is_seen = 1 THEN attempt END) AS attempts_between
  FROM restarts_of_hour
  GROUP BY region, alloc_id, task
), last_failures AS (
  SELECT region, alloc_id, task, MAX(event_no) AS failed_no
  FROM endings
  WHERE outcome = 'failed'
  GROUP BY region, alloc_id, task
), restarted_tasks AS (
  SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
         s.node_id, s.node_name, s.node_class, s.datacenter, s.state,
         r.first_at, r.first_at_ns, r.first_lost_ns, r.last_at_ns, r.last_restart_at, r.last_restart_at_ns,
         l.failed_no,
         CASE WHEN r.attempts_between > r.seen - 1 THEN r.attempts_between ELSE r.seen - 1 END AS restarts_between,
         CAST(CASE WHEN c.lost_restarts IS NULL THEN r.seen ELSE r.sure END AS BIGINT) AS restarts_last_hour,
         CAST(CASE WHEN c.lost_restarts IS NOT NULL THEN r.possible END AS BIGINT) AS restarts_at_most,
         CASE WHEN s.state = 'dead' THEN 1 ELSE 0 END AS is_over
  FROM restarts_by_task AS r
  JOIN coverage AS c ON c.region = r.region AND c.alloc_id = r.alloc_id AND c.task = r.task
  JOIN task_states AS s ON s.region = r.region AND s.alloc_id = r.alloc_id AND s.task = r.task
  LEFT JOIN last_failures AS l ON l.region = r.region AND l.alloc_id = r.alloc_id AND l.task = r.task
), dated_tasks AS (
  SELECT *, CASE WHEN first_lost_ns IS NULL OR first_lost_ns >= first_at_ns THEN 0 ELSE 1 END AS is_begin_lost
  FROM restarted_tasks
)
SELECT l.region, l.namespace, l.job_id, l.task_group, l.task, l.alloc_id, l.job_type, l.job_version,
       l.node_id, l.node_name, l.node_class, l.datacenter, l.restarts_last_hour, l.restarts_at_most,
       CASE WHEN l.restarts_between > 0
              THEN CAST(l.last_at_ns - l.first_at_ns AS DOUBLE)
                / (1000000000 * CAST(l.restarts_between AS DOUBLE)) END AS period_seconds,
       CASE WHEN l.is_begin_lost = 0 THEN l.first_at END AS since_at,
       CASE WHEN l.is_begin_lost = 0 THEN l.first_at_ns END AS since_at_ns,
       l.first_at AS seen_since_at, l.first_at_ns AS seen_since_at_ns,
       l.last_restart_at, l.last_restart_at_ns,
       e.class AS last_class, e.exit_code AS last_exit_code,
       l.state, CASE WHEN l.is_over = 1 THEN TRUE ELSE FALSE END AS is_over
FROM dated_tasks AS l
LEFT JOIN endings AS e ON e.region = l.region AND e.alloc_id = l.alloc_id AND e.task = l.task
    AND e.event_no = l.failed_no
WHERE l.restarts_last_hour >= 3
ORDER BY is_over, l.region NULLS LAST, l.namespace NULLS LAST, l.job_id NULLS LAST, l.task_group NULLS LAST,
         l.task NULLS LAST, l.alloc_id NULLS LAST
