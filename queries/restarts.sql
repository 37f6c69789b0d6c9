-- restarts: How often were tasks restarted, why, and how much of it was not seen?
--
-- One row is one group of tasks.
-- Restarts are those that Nomad counted: of each task its largest Restarts counter, whether or not their events were
-- seen, cut to the period: one that was seen is dated by its event, others as restart_log says. Of a
-- task with a counter they are never fewer than those seen, and where its client lost its state the fewest that there
-- can have been.
-- Causes split restarts_seen. Counted in are tasks whose life reaches into the period, or may, where it is not known
-- when they were last seen; allocations whose tasks are not known are left out. A reschedule makes a new allocation and
-- is no restart. The cause of a restart is told by the newest event before it that ended its run: if a Restart Signaled
-- comes before a Terminated, health, user or change (template, Vault, identity); else by the failure.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region                 string     what `--region` says; empty without it; with `--by`, its columns stand here
--                                     instead of these five
--   namespace              string     Nomad namespace
--   job_id                 string     job ID; null when no source told
--   task_group             string     task group; null when no source told
--   task                   string     task name
--   allocations            int64      allocations
--   tasks                  int64      tasks
--   restarts               int64      restarts by Nomad's counters, or of a task those seen if these are more; null
--                                     when no task has a counter (before Nomad 0.6)
--   restarts_seen          int64      restarts whose event was seen
--   lost_restarts          int64      restarts counted whose event was not seen; null when that is known of no task
--   uncounted_tasks        int64      tasks of which that is not known: no counter, or the client lost its state
--   cause_failure          int64      restarts seen after a failed run
--   cause_clean_exit       int64      restarts seen after an exit with 0
--   cause_oom              int64      restarts seen after memory ran out
--   cause_start_failure    int64      restarts seen after the driver, an artifact, a template, a hook or validation
--                                     kept it from starting
--   cause_user             int64      restarts seen that a user asked for
--   cause_change           int64      restarts seen for a change of a template, Vault token or identity
--   cause_health           int64      restarts seen for a failed health check
--   cause_unknown          int64      restarts seen of which no event tells the cause
--   task_days              double     time that the tasks lived within the period, in days: from their creation to
--                                     their end, or until they were last seen; null when one of these times is not
--                                     known of one of the tasks (last_seen_at of task_states is null)
--   restarts_per_task_day  double     restarts for each of these days; null when task_days is 0 or null
--   last_restart_at        timestamp  the last restart, seen or lost, by the date that counts
--   last_restart_at_ns     int64      the same in nanoseconds since the epoch

WITH lives AS (
  SELECT s.*, c.restarts AS largest_counter, c.lost_restarts,
         COALESCE(s.created_at_ns, s.ended_at_ns, s.last_known_at_ns, 0) AS from_ns,
         COALESCE(s.ended_at_ns, s.last_known_at_ns, s.created_at_ns, 0) AS to_ns,
         -- The last document that may have shown it is of the same hour.
         CASE WHEN s.ended_at_ns IS NULL AND s.last_seen_at_ns IS NULL THEN 3600000000000 ELSE 0 END AS unsure_ns,
         CASE WHEN s.created_at_ns IS NULL THEN 1 ELSE 0 END AS is_begin_unknown,
         CONCAT(s.region, '/', s.alloc_id) AS alloc_key
  FROM task_states AS s
  JOIN coverage AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
), spans AS (
  -- A divisor has to be a column: polars multiplies by the reciprocal of a constant, which is not exact.
  SELECT l.*, p.since_ns, p.until_ns, 1000 + CAST(l.from_ns % 1 AS DOUBLE) AS microsecond_ns,
         CASE WHEN l.from_ns < p.since_ns THEN p.since_ns ELSE l.from_ns END AS cut_from_ns,
         CASE WHEN l.to_ns > p.until_ns THEN p.until_ns ELSE l.to_ns END AS cut_to_ns
  FROM lives AS l
  CROSS JOIN period AS p
), logged AS (
  SELECT r.*
  FROM restart_log AS r
  CROSS JOIN period AS p
  WHERE COALESCE(r.restarted_at_ns, 0) >= p.since_ns AND COALESCE(r.restarted_at_ns, 0) < p.until_ns
), counts AS (
  SELECT region, alloc_id, task,
         SUM(number) AS restarts_counted,
         SUM(CASE WHEN is_seen THEN 1 ELSE 0 END) AS restarts_seen,
         SUM(CASE WHEN is_seen THEN 0 ELSE number END) AS restarts_unseen,
         SUM(CASE WHEN cause = 'failure' THEN 1 ELSE 0 END) AS cause_failure,
         SUM(CASE WHEN cause = 'clean_exit' THEN 1 ELSE 0 END) AS cause_clean_exit,
         SUM(CASE WHEN cause = 'oom' THEN 1 ELSE 0 END) AS cause_oom,
         SUM(CASE WHEN cause = 'start_failure' THEN 1 ELSE 0 END) AS cause_start_failure,
         SUM(CASE WHEN cause = 'user' THEN 1 ELSE 0 END) AS cause_user,
         SUM(CASE WHEN cause = 'change' THEN 1 ELSE 0 END) AS cause_change,
         SUM(CASE WHEN cause = 'health' THEN 1 ELSE 0 END) AS cause_health,
         SUM(CASE WHEN cause = 'unknown' THEN 1 ELSE 0 END) AS cause_unknown,
         MAX(restarted_at) AS last_restarted_at, MAX(restarted_at_ns) AS last_restarted_at_ns
  FROM logged
  GROUP BY region, alloc_id, task
), counted_tasks AS (
  -- Whole microseconds, since the nanoseconds of some hundreds of task-years would pass the largest BIGINT.
  SELECT s.*,
         CASE WHEN s.cut_to_ns > s.cut_from_ns
                THEN CAST(FLOOR(CAST(s.cut_to_ns - s.cut_from_ns AS DOUBLE) / s.microsecond_ns) AS BIGINT)
              ELSE 0 END AS life_us,
         CASE WHEN s.is_begin_unknown = 1 OR (s.unsure_ns > 0 AND s.to_ns < s.until_ns) THEN 1
              ELSE 0 END AS is_unsure,
         CASE WHEN s.largest_counter IS NULL THEN 0 ELSE 1 END AS has_counter,
         CASE WHEN s.lost_restarts IS NULL THEN 1 ELSE 0 END AS is_uncounted,
         COALESCE(c.restarts_counted, 0) AS restarts_counted,
         COALESCE(c.restarts_seen, 0) AS restarts_seen,
         CASE WHEN s.lost_restarts IS NULL THEN 0 ELSE COALESCE(c.restarts_unseen, 0) END AS restarts_lost,
         c.cause_failure, c.cause_clean_exit, c.cause_oom, c.cause_start_failure, c.cause_user, c.cause_change,
         c.cause_health, c.cause_unknown,
         c.last_restarted_at, c.last_restarted_at_ns
  FROM spans AS s
  LEFT JOIN counts AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
  WHERE (s.from_ns < s.until_ns AND s.to_ns + s.unsure_ns >= s.since_ns) OR c.restarts_seen IS NOT NULL
), totals AS (
  SELECT region, namespace, job_id, task_group, task,
         COUNT(DISTINCT alloc_key) AS allocations, COUNT(*) AS tasks,
         SUM(restarts_counted) AS restarts, SUM(has_counter) AS with_counter,
         SUM(restarts_seen) AS restarts_seen, SUM(restarts_lost) AS lost_restarts, SUM(is_uncounted) AS uncounted_tasks,
         SUM(COALESCE(cause_failure, 0)) AS cause_failure, SUM(COALESCE(cause_clean_exit, 0)) AS cause_clean_exit,
         SUM(COALESCE(cause_oom, 0)) AS cause_oom, SUM(COALESCE(cause_start_failure, 0)) AS cause_start_failure,
         SUM(COALESCE(cause_user, 0)) AS cause_user, SUM(COALESCE(cause_change, 0)) AS cause_change,
         SUM(COALESCE(cause_health, 0)) AS cause_health, SUM(COALESCE(cause_unknown, 0)) AS cause_unknown,
         SUM(is_unsure) AS unsure_lives, SUM(life_us) AS life_us,
         86400000000 + CAST(SUM(life_us % 1) AS DOUBLE) AS day_us,
         MAX(last_restarted_at) AS last_restart_at, MAX(last_restarted_at_ns) AS last_restart_at_ns
  FROM counted_tasks
  GROUP BY region, namespace, job_id, task_group, task
)
SELECT region, namespace, job_id, task_group, task,
       CAST(allocations AS BIGINT) AS allocations, CAST(tasks AS BIGINT) AS tasks,
       CASE WHEN with_counter > 0 THEN CAST(restarts AS BIGINT) END AS restarts,
       CAST(restarts_seen AS BIGINT) AS restarts_seen,
       CASE WHEN uncounted_tasks < tasks THEN CAST(lost_restarts AS BIGINT) END AS lost_restarts,
       CAST(uncounted_tasks AS BIGINT) AS uncounted_tasks,
       CAST(cause_failure AS BIGINT) AS cause_failure, CAST(cause_clean_exit AS BIGINT) AS cause_clean_exit,
       CAST(cause_oom AS BIGINT) AS cause_oom, CAST(cause_start_failure AS BIGINT) AS cause_start_failure,
       CAST(cause_user AS BIGINT) AS cause_user, CAST(cause_change AS BIGINT) AS cause_change,
       CAST(cause_health AS BIGINT) AS cause_health, CAST(cause_unknown AS BIGINT) AS cause_unknown,
       CASE WHEN unsure_lives = 0 THEN CAST(life_us AS DOUBLE) / day_us END AS task_days,
       CASE WHEN with_counter > 0 AND life_us > 0 AND unsure_lives = 0
              THEN CAST(restarts AS DOUBLE) / (CAST(life_us AS DOUBLE) / day_us) END AS restarts_per_task_day,
       last_restart_at, last_restart_at_ns
FROM totals
ORDER BY region, namespace, job_id, task_group, task NULLS LAST
