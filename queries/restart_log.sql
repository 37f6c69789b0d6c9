-- restart_log: When was each task restarted, and why?
--
-- One row is one restart whose Restarting event was seen, or a number of restarts whose events were not seen. In the
-- latter case, these are the restarts that one version of the allocation is the first to count, or, for one task, all
-- lost restarts for which the windows do not show when they were lost.
-- A seen restart has the time of its event. Restarts that were not seen happened after the last version with a lower
-- counter. If no version has a lower counter, they happened after the creation of the allocation. None of these three
-- times is earlier than the restarts: the time of the first version that counts them; the last_restart_at of that
-- version; and the first event of the window before which they were lost, because that event belongs to a later
-- attempt. The row has the earliest of the three times. A time by the client's clock is used only if it lies between
-- the last version with a lower counter and the first version that counts the restarts.
-- The sum of the column `number` over the rows of a task is the largest counter of the task, plus the restarts that
-- logs show after its last window. The sum is never below the number of seen restarts. If the client lost its state
-- (the task shows a new life, or more restarts are seen than counted), seen and counted restarts cannot be told apart,
-- and there may have been more restarts than the sum. If a task has no counter, `number` is 0.
-- Of the events before a restart, the newest one that ended the run or signaled the restart determines the cause. The
-- cause is the first of these that matches:
--   unknown               only a log shows the restart, and the run of the restart is null (see timeline)
--   health, user, change  a Restart Signaled, or a Terminated after a Restart Signaled
--   oom                   a failure of class oom
--   unknown               an event whose cause may be lost (is_blind of endings), because a health check may have ended
--                         the run
--   start_failure         a failure of class driver, artifact, template, hook or validation, if the event is not a
--                         Terminated
--   unknown               a Terminated with exit code 137 and no signal that only a log shows, because memory may have
--                         run out
--   failure               any other failure
--   clean_exit            a Terminated with exit code 0 and no signal
--   unknown               any other event, or none
--
-- Columns:
--   region           string     region given by `--region`; empty without it
--   alloc_id         string     allocation ID, unique within its region
--   task             string     task name
--   attempt          int64      which run of the task the restart ended; null if not known, or for several restarts
--   restarted_at     timestamp  when Nomad decided on the restart, by the client's clock. For restarts that were not
--                               seen, the time by which Nomad had decided on them, by the server's or the client's
--                               clock; null if not known
--   restarted_at_ns  int64      the same in nanoseconds since the epoch
--   not_before_ns    int64      for restarts that were not seen, the time after which Nomad decided on them, by the
--                               server's clock, in nanoseconds since the epoch; null if not known, and for a seen
--                               restart
--   number           int64      number of restarts in this row; 0 if the task has no counter
--   is_seen          bool       whether its event was seen
--   origin           string     `api`, or `log` if only logs of agents show its event; null if the event was not seen
--   cause            string     failure, clean_exit, oom, start_failure, user, change, health or unknown; null if the
--                               event was not seen

WITH deciding_events AS (
  SELECT region, alloc_id, task, run, event_no, event_type, class, restart_signal, is_blind, exit_code, signal,
         suspected_oom
  FROM endings
  UNION ALL
  SELECT region, alloc_id, task, run, event_no, event_type, CAST(NULL AS VARCHAR(10)) AS class, restart_signal,
         FALSE AS is_blind, exit_code, signal, FALSE AS suspected_oom
  FROM timeline
  WHERE event_type = 'Restart Signaled'
), events_of_runs AS (
  SELECT region, alloc_id, task, run, event_no, event_no AS deciding_no, attempt, event_at, event_at_ns,
         'api' AS origin, 0 AS is_restarting
  FROM endings
  UNION ALL
  SELECT region, alloc_id, task, run, event_no,
         CASE WHEN event_type = 'Restart Signaled' THEN event_no ELSE 0 END AS deciding_no,
         attempt, event_at, event_at_ns, origin, CASE WHEN event_type = 'Restarting' THEN 1 ELSE 0 END AS is_restarting
  FROM timeline
  WHERE event_type IN ('Restart Signaled', 'Restarting')
), events_with_decision AS (
  SELECT *, MAX(deciding_no) OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS last_deciding_no
  FROM events_of_runs
), seen_restarts AS (
  SELECT r.region, r.alloc_id, r.task, r.attempt, r.event_at, r.event_at_ns, r.origin,
         CASE WHEN r.run IS NULL AND r.origin = 'log' THEN 'unknown'
              WHEN d.event_type IN ('Terminated', 'Restart Signaled') AND d.restart_signal IS NOT NULL
                THEN d.restart_signal
              WHEN d.class = 'oom' THEN 'oom'
              WHEN d.is_blind THEN 'unknown'
              WHEN d.class IN ('driver', 'artifact', 'template', 'hook', 'validation')
                AND d.event_type <> 'Terminated' THEN 'start_failure'
              WHEN d.class = 'unknown' AND d.suspected_oom THEN 'unknown'
              WHEN d.class IS NOT NULL THEN 'failure'
              WHEN d.event_type = 'Terminated' AND d.exit_code = 0 AND COALESCE(d.signal, 0) = 0 THEN 'clean_exit'
              ELSE 'unknown' END AS cause
  FROM events_with_decision AS r
  LEFT JOIN deciding_events AS d ON d.region = r.region AND d.alloc_id = r.alloc_id AND d.task = r.task
      AND d.event_no = r.last_deciding_no
  WHERE r.is_restarting = 1
), counter_versions AS (
  SELECT region, alloc_id, task, COALESCE(modify_index, 0) AS version, restarts, MIN(modified_at) AS modified_at,
         MIN(modified_at_ns) AS modified_at_ns, MAX(last_restart_at) AS last_restart_at,
         MAX(last_restart_at_ns) AS last_restart_at_ns
  FROM task_state_history
  WHERE restarts IS NOT NULL AND NOT placeholder
  GROUP BY region, alloc_id, task, COALESCE(modify_index, 0), restarts
), counter_versions_by_task AS (
  SELECT *, COUNT(version) OVER (PARTITION BY region, alloc_id, task) AS steps
  FROM counter_versions
), versions_with_maximum AS (
  SELECT *, MAX(restarts) OVER (PARTITION BY region, alloc_id, task ORDER BY version, restarts
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS counted
  FROM counter_versions_by_task
  WHERE steps > 1
), versions_with_rise AS (
  SELECT *,
         counted
           - COALESCE(LAG(counted) OVER (PARTITION BY region, alloc_id, task ORDER BY version, restarts), 0) AS rise,
         LAG(modified_at_ns) OVER (PARTITION BY region, alloc_id, task ORDER BY version, restarts) AS fewer_ns
  FROM versions_with_maximum
), counter_rises AS (
  SELECT region, alloc_id, task, modified_at, modified_at_ns, last_restart_at, last_restart_at_ns,
         restarts AS counted, restarts AS rise, CAST(NULL AS BIGINT) AS fewer_ns
  FROM counter_versions_by_task
  WHERE steps = 1 AND restarts > 0
  UNION ALL
  SELECT region, alloc_id, task, modified_at, modified_at_ns, last_restart_at, last_restart_at_ns, counted, rise,
         fewer_ns
  FROM versions_with_rise
  WHERE rise > 0
), rises_with_begin AS (
  -- not_before_ns is the time of the last version with a lower counter. If no version has a lower counter,
  -- or that version has no time, not_before_ns is the time when the allocation was created.
  SELECT r.*, COALESCE(r.fewer_ns, s.created_at_ns) AS not_before_ns
  FROM counter_rises AS r
  JOIN task_states AS s ON s.region = r.region AND s.alloc_id = r.alloc_id AND s.task = r.task
), dated_rises AS (
  SELECT region, alloc_id, task, counted, rise, modified_at_ns AS counted_at_ns, not_before_ns,
         CASE WHEN last_restart_at_ns >= COALESCE(not_before_ns, 0) AND last_restart_at_ns < modified_at_ns
                THEN last_restart_at ELSE modified_at END AS known_at,
         CASE WHEN last_restart_at_ns >= COALESCE(not_before_ns, 0) AND last_restart_at_ns < modified_at_ns
                THEN last_restart_at_ns ELSE modified_at_ns END AS known_at_ns
  FROM rises_with_begin
), window_losses AS (
  SELECT region, alloc_id, task, SUM(COALESCE(lost_before, 0)) AS lost_in_windows
  FROM windows
  GROUP BY region, alloc_id, task
), seen_restarts_by_task AS (
  SELECT region, alloc_id, task, COUNT(*) AS seen
  FROM seen_restarts
  GROUP BY region, alloc_id, task
), losses_by_task AS (
  -- If the client lost its state, the counter minus the seen restarts is the smallest possible number of lost restarts.
  SELECT c.region, c.alloc_id, c.task, c.restarts,
         COALESCE(c.lost_restarts, c.restarts - COALESCE(s.seen, 0)) AS lost_restarts
  FROM coverage AS c
  LEFT JOIN seen_restarts_by_task AS s ON s.region = c.region AND s.alloc_id = c.alloc_id AND s.task = c.task
), tasks_with_losses AS (
  -- lost_before of windows shows where restarts were lost. It is not used if its sum is larger than lost_restarts, as
  -- after a change of a clock.
  SELECT c.region, c.alloc_id, c.task, c.restarts, c.lost_restarts,
         CASE WHEN w.lost_in_windows <= c.lost_restarts THEN w.lost_in_windows ELSE 0 END AS placed_losses
  FROM losses_by_task AS c
  LEFT JOIN window_losses AS w ON w.region = c.region AND w.alloc_id = c.alloc_id AND w.task = c.task
), tasks_with_method AS (
  -- If no restart was seen, every rise of the counter consists of lost restarts. Otherwise, the lost restarts that no
  -- window shows may have happened at any time.
  SELECT *,
         CASE WHEN lost_restarts IS NULL OR (lost_restarts = restarts AND placed_losses = 0) THEN 1
              ELSE 0 END AS is_by_rise
  FROM tasks_with_losses
), first_rises AS (
  SELECT region, alloc_id, task, MIN(COALESCE(not_before_ns, 0)) AS first_ns
  FROM rises_with_begin
  GROUP BY region, alloc_id, task
), lossy_windows AS (
  SELECT w.region, w.alloc_id, w.task, w.window_no, w.restarts, w.lost_before, w.first_ns, w.modified_at,
         w.modified_at_ns
  FROM windows AS w
  JOIN tasks_with_losses AS t ON t.region = w.region AND t.alloc_id = w.alloc_id AND t.task = w.task
  WHERE w.lost_before > 0 AND t.placed_losses > 0
), first_window_events AS (
  SELECT w.region, w.alloc_id, w.task, w.window_no, MIN(e.event_at) AS first_at
  FROM lossy_windows AS w
  JOIN task_events AS e ON e.region = w.region AND e.alloc_id = w.alloc_id AND e.task = w.task
      AND e.event_at_ns = w.first_ns
  GROUP BY w.region, w.alloc_id, w.task, w.window_no
), placed_losses_by_window AS (
  SELECT w.region, w.alloc_id, w.task, w.lost_before, w.first_ns, e.first_at, r.counted_at_ns,
         -- An earlier version without a window may have counted some of these restarts.
         CASE WHEN w.lost_before > r.rise THEN f.first_ns ELSE r.not_before_ns END AS not_before_ns,
         CASE WHEN r.counted IS NULL THEN w.modified_at ELSE r.known_at END AS known_at,
         CASE WHEN r.counted IS NULL THEN w.modified_at_ns ELSE r.known_at_ns END AS known_at_ns
  FROM lossy_windows AS w
  LEFT JOIN dated_rises AS r ON r.region = w.region AND r.alloc_id = w.alloc_id AND r.task = w.task
      AND r.counted = w.restarts
  LEFT JOIN first_rises AS f ON f.region = w.region AND f.alloc_id = w.alloc_id AND f.task = w.task
  LEFT JOIN first_window_events AS e ON e.region = w.region AND e.alloc_id = w.alloc_id AND e.task = w.task
      AND e.window_no = w.window_no
), unseen_restarts AS (
  SELECT region, alloc_id, task, lost_before AS number, not_before_ns,
         CASE WHEN first_at IS NOT NULL AND first_ns >= COALESCE(not_before_ns, 0) AND first_ns <= counted_at_ns
                AND first_ns < known_at_ns THEN first_at ELSE known_at END AS restarted_at,
         CASE WHEN first_at IS NOT NULL AND first_ns >= COALESCE(not_before_ns, 0) AND first_ns <= counted_at_ns
                AND first_ns < known_at_ns THEN first_ns ELSE known_at_ns END AS restarted_at_ns
  FROM placed_losses_by_window
  UNION ALL
  SELECT t.region, t.alloc_id, t.task, t.lost_restarts - t.placed_losses AS number, f.first_ns AS not_before_ns,
         r.known_at AS restarted_at, r.known_at_ns AS restarted_at_ns
  FROM tasks_with_method AS t
  JOIN dated_rises AS r ON r.region = t.region AND r.alloc_id = t.alloc_id AND r.task = t.task
      AND r.counted = t.restarts
  JOIN first_rises AS f ON f.region = t.region AND f.alloc_id = t.alloc_id AND f.task = t.task
  WHERE t.lost_restarts > t.placed_losses AND t.is_by_rise = 0
  UNION ALL
  SELECT t.region, t.alloc_id, t.task, r.rise AS number, r.not_before_ns, r.known_at AS restarted_at,
         r.known_at_ns AS restarted_at_ns
  FROM tasks_with_method AS t
  JOIN dated_rises AS r ON r.region = t.region AND r.alloc_id = t.alloc_id AND r.task = t.task
  WHERE t.is_by_rise = 1
)
SELECT s.region, s.alloc_id, s.task, s.attempt, s.event_at AS restarted_at, s.event_at_ns AS restarted_at_ns,
       CAST(NULL AS BIGINT) AS not_before_ns,
       CAST(CASE WHEN t.restarts IS NULL THEN 0 ELSE 1 END AS BIGINT) AS number, TRUE AS is_seen, s.origin,
       s.cause
FROM seen_restarts AS s
JOIN tasks_with_losses AS t ON t.region = s.region AND t.alloc_id = s.alloc_id AND t.task = s.task
UNION ALL
SELECT region, alloc_id, task, CAST(NULL AS BIGINT) AS attempt, restarted_at, restarted_at_ns, not_before_ns,
       CAST(number AS BIGINT) AS number, FALSE AS is_seen, CAST(NULL AS VARCHAR(10)) AS origin,
       CAST(NULL AS VARCHAR(10)) AS cause
FROM unseen_restarts
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, restarted_at_ns NULLS LAST,
         attempt NULLS LAST, number NULLS LAST, is_seen NULLS LAST, cause NULLS LAST
