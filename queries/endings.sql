-- endings: Which events ended a run of a task or its setup, and how?
--
-- One row is one event that ended a run or a setup, with or without a failure. A Not Restarting that no earlier event
-- explains also has a row.
-- The outcome is failed if the event has a class. The class is the first of these that matches; exceptions follow
-- below:
--   oom         a Terminated that says that memory ran out
--   health      a Terminated after a Restart Signaled by a health check
--   signal      a Terminated with a signal
--   exit        a Terminated with an exit code other than 0
--   driver      a Driver Failure, or a Terminated with exit code 0 and an exit message
--   artifact    a Failed Artifact Download
--   validation  a Failed Validation
--   template    a Killing that fails the task and whose message begins with `Template` (Nomad 0.5: `consul-template:`)
--   hook        a Setup Failure; a `Task hook failed` before the start; or a Killing that fails the task and whose
--               message begins with `Vault` (up to Nomad 0.8: `vault:`) or `Identity`
--   restore     a Failed Restoring Task
--   timeout     a Killing for max_run_duration
--   unknown     any other event that fails the task; or a Not Restarting without a failure before it in its run
-- While a kill is under way, only two kinds of events can be failures: a Killing for max_run_duration, and a Killing
-- that itself fails the task. If one kill has several such Killings, only the first is a failure. Alloc Unhealthy,
-- Sibling Task Failed, Leader Task Dead and Main Tasks Dead are never failures.
-- A Terminated without a class has the first of these outcomes that matches:
--   stopped    a kill is under way; or the Terminated is a stop after Reconnected, as defined below
--   restart    a user, a template, Vault or an identity had requested a restart (Restart Signaled)
--   completed  exit code 0 and no signal
--   unknown    all others
-- A Terminated is a stop after Reconnected under three conditions: it directly follows a Reconnected; the allocation
-- has the desired status stop or evict; and no Restarting or Not Restarting directly follows the Terminated. If the
-- exit code is 0, the run may also have completed, so the outcome is unknown. If the exit code is -1 (the client
-- cancelled its wait for the process), one Started may lie between Reconnected and Terminated, because a start was in
-- progress.
-- The cause of a Terminated may be lost (is_blind). The event directly after the Terminated then decides, unless a rule
-- above makes the outcome stopped:
--   Killed                       the outcome is stopped
--   Restarting without a reason  the outcome is restart
--   any other event, or none     a health check may have ended the run: the class is oom if the Terminated says that
--                                memory ran out; else the class is unknown if the Terminated has a signal, an exit
--                                message or an exit code other than 0; else the outcome is unknown
-- If run is null (for example, because lives are mixed, see windows), the event after a Terminated does not decide. A
-- Terminated that no rule above makes stopped then has the class oom if it says that memory ran out; otherwise its
-- outcome is unknown.
-- If only a log shows a Terminated with exit code 137 and no signal, its class is unknown and not exit. The reason is
-- that the exec driver reports this code when memory ran out, and a log does not contain oom_killed.
-- If it is not known whether the run had started, a `Task hook failed` is a failure only if a Restarting or Not
-- Restarting directly follows.
--
-- Columns:
--   region          string     region given by `--region`; empty without it
--   alloc_id        string     allocation ID, unique within its region
--   task            string     task name
--   event_no        int64      number of the event within its task
--   attempt         int64      which run of the task it ended; null when not known
--   run             int64      as in timeline
--   event_at        timestamp  when it happened, by the client's clock; null when the event has no time
--   event_at_ns     int64      the same in nanoseconds since the epoch
--   event_type      string     Nomad's spelling
--   outcome         string     failed, stopped, restart, completed or unknown
--   class           string     class of the failure; null unless failed
--   suspected_oom   bool       whether memory may have run out although the event does not say so: exit code 137 or
--                              signal 9 in a failure of class signal or exit; or exit code 137 in a failure of class
--                              unknown that only a log shows and whose is_blind is false
--   gave_up         bool       whether Nomad gave up after it: it is a Not Restarting, or the last failure before the
--                              Not Restarting of its run; false unless failed
--   restart_signal  string     reason of a Restart Signaled before it: health, user or change; null without one
--   is_blind        bool       whether the event that caused it may be lost, as in timeline
--   exit_code       int64      exit code; null where none applies
--   signal          int64      number of the signal, 0 for none; null where none applies
--   message         string     Nomad's message for the event

WITH stopped_allocations AS (
  SELECT region, alloc_id
  FROM allocations
  WHERE desired_status IN ('stop', 'evict')
), events_after_reconnected AS (
  SELECT t.region, t.alloc_id, t.task, t.event_no + 1 AS next_no
  FROM timeline AS t
  JOIN stopped_allocations AS s ON s.region = t.region AND s.alloc_id = t.alloc_id
  WHERE t.event_type = 'Reconnected'
), ends_after_reconnected AS (
  SELECT region, alloc_id, task, next_no AS event_no, FALSE AS has_started
  FROM events_after_reconnected
  UNION ALL
  SELECT r.region, r.alloc_id, r.task, r.next_no + 1 AS event_no, TRUE AS has_started
  FROM events_after_reconnected AS r
  JOIN timeline AS t ON t.region = r.region AND t.alloc_id = r.alloc_id AND t.task = r.task AND t.event_no = r.next_no
  WHERE t.event_type = 'Started'
), following_events AS (
  -- Events whose types explain the event directly before them.
  SELECT region, alloc_id, task, event_no - 1 AS event_no, event_type, is_asked
  FROM timeline
  WHERE event_type IN ('Killed', 'Restarting', 'Not Restarting')
), stops_after_reconnected AS (
  -- Nomad never considers a restart for a task that it stops. So a Terminated before a Restarting or Not Restarting is
  -- not a stop.
  SELECT e.region, e.alloc_id, e.task, e.event_no, e.has_started
  FROM ends_after_reconnected AS e
  LEFT JOIN following_events AS n ON n.region = e.region AND n.alloc_id = e.alloc_id AND n.task = e.task
      AND n.event_no = e.event_no
  WHERE COALESCE(n.event_type, '') NOT IN ('Restarting', 'Not Restarting')
), blind_ends AS (
  -- The events before the Terminated are lost; the event after it shows whether a kill or a requested restart ended the
  -- run.
  SELECT c.region, c.alloc_id, c.task, c.event_no,
         CASE WHEN c.run IS NULL THEN 'unknown' WHEN n.event_type = 'Killed' THEN 'stopped'
              WHEN n.is_asked THEN 'restart' ELSE 'unknown' END AS blind_end
  FROM timeline AS c
  LEFT JOIN following_events AS n ON n.region = c.region AND n.alloc_id = c.alloc_id AND n.task = c.task
      AND n.event_no = c.event_no
  WHERE c.is_blind AND c.event_type = 'Terminated'
), hook_ends AS (
  -- A hook that fails before the start ends the run. A hook that fails later does not.
  SELECT c.region, c.alloc_id, c.task, c.event_no
  FROM timeline AS c
  JOIN following_events AS n ON n.region = c.region AND n.alloc_id = c.alloc_id AND n.task = c.task
      AND n.event_no = c.event_no
  WHERE c.event_type = 'Task hook failed' AND c.is_started IS NULL AND n.event_type IN ('Restarting', 'Not Restarting')
), candidate_events AS (
  SELECT *
  FROM timeline
  WHERE event_type IN ('Terminated', 'Killing', 'Not Restarting', 'Driver Failure', 'Failed Artifact Download',
                       'Failed Validation', 'Setup Failure', 'Task hook failed', 'Failed Restoring Task') OR fails_task
), candidates_with_reconnect AS (
  SELECT c.*,
         COALESCE(CASE WHEN r.has_started THEN c.exit_code = -1 ELSE NOT r.has_started END, FALSE)
           AS is_reconnected_stop
  FROM candidate_events AS c
  LEFT JOIN stops_after_reconnected AS r ON r.region = c.region AND r.alloc_id = c.alloc_id AND r.task = c.task
      AND r.event_no = c.event_no
), candidates_with_blind_end AS (
  SELECT c.*, b.blind_end
  FROM candidates_with_reconnect AS c
  LEFT JOIN blind_ends AS b ON b.region = c.region AND b.alloc_id = c.alloc_id AND b.task = c.task
      AND b.event_no = c.event_no
), candidates_with_details AS (
  -- Before Nomad 0.7.1, `message` in the details of a Terminated is its exit message.
  SELECT c.*,
         CASE WHEN h.event_no IS NULL THEN COALESCE(NOT c.is_started, FALSE) ELSE TRUE END AS is_before_start,
         c.oom_killed OR c.details LIKE '%"exit_message":"OOM Killed"%'
           OR c.details LIKE '%"message":"OOM Killed"%' AS says_oom,
         (c.details LIKE '%"exit_message":"%' AND c.details NOT LIKE '%"exit_message":""%')
           OR (c.details LIKE '%"message":"%' AND c.details NOT LIKE '%"message":""%')
           OR (c.origin = 'log' AND c.message LIKE '%, Exit Message: %') AS has_exit_message,
         c.origin = 'log' AND NOT COALESCE(c.oom_killed, FALSE) AND c.exit_code = 137 AND c.signal = 0
           AS is_maybe_oom
  FROM candidates_with_blind_end AS c
  LEFT JOIN hook_ends AS h ON h.region = c.region AND h.alloc_id = c.alloc_id AND h.task = c.task
      AND h.event_no = c.event_no
), classified_events AS (
  SELECT *,
         CASE WHEN event_type = 'Not Restarting' THEN NULL
              WHEN event_type IN ('Alloc Unhealthy', 'Sibling Task Failed', 'Sibling task failed', 'Leader Task Dead',
                                  'Main Tasks Dead') THEN NULL
              WHEN event_type = 'Killing' AND is_void THEN NULL
              WHEN event_type = 'Killing' AND fails_task
                AND (message LIKE 'Template%' OR message LIKE 'consul-template:%') THEN 'template'
              WHEN event_type = 'Killing' AND fails_task
                AND (message LIKE 'Vault%' OR message LIKE 'vault:%' OR message LIKE 'Identity%') THEN 'hook'
              WHEN event_type = 'Killing' AND message LIKE 'allocation exceeded max_run_duration%' THEN 'timeout'
              WHEN event_type = 'Killing' AND fails_task THEN 'unknown'
              WHEN event_type = 'Killing' OR kill_under_way THEN NULL
              WHEN event_type = 'Terminated' AND (restart_signal IN ('user', 'change') OR is_reconnected_stop) THEN NULL
              WHEN blind_end IN ('stopped', 'restart') THEN NULL
              WHEN event_type = 'Terminated' AND says_oom THEN 'oom'
              WHEN event_type = 'Terminated' AND run IS NULL THEN NULL
              WHEN event_type = 'Terminated' AND restart_signal = 'health' THEN 'health'
              WHEN event_type = 'Terminated' AND is_blind AND (signal <> 0 OR exit_code <> 0 OR has_exit_message)
                THEN 'unknown'
              WHEN event_type = 'Terminated' AND is_maybe_oom THEN 'unknown'
              WHEN event_type = 'Terminated' AND signal <> 0 THEN 'signal'
              WHEN event_type = 'Terminated' AND exit_code <> 0 THEN 'exit'
              WHEN event_type = 'Terminated' AND exit_code = 0 AND has_exit_message THEN 'driver'
              WHEN event_type = 'Driver Failure' THEN 'driver'
              WHEN event_type = 'Failed Artifact Download' THEN 'artifact'
              WHEN event_type = 'Failed Validation' THEN 'validation'
              WHEN event_type = 'Setup Failure' THEN 'hook'
              WHEN event_type = 'Task hook failed' AND is_before_start THEN 'hook'
              WHEN event_type = 'Failed Restoring Task' THEN 'restore'
              WHEN fails_task THEN 'unknown' END AS class
  FROM candidates_with_details
), failing_kills AS (
  -- One kill can have several Killings; the first that fails the task counts.
  SELECT region, alloc_id, task, event_no,
         CASE WHEN kill_under_way
                AND LAG(event_no) OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no) IS NOT NULL
                THEN 1 ELSE 0 END AS is_repeated
  FROM classified_events
  WHERE event_type = 'Killing' AND class IS NOT NULL
), judged_events AS (
  SELECT c.*, CASE WHEN k.is_repeated = 1 THEN NULL ELSE c.class END AS failure_class
  FROM classified_events AS c
  LEFT JOIN failing_kills AS k ON k.region = c.region AND k.alloc_id = c.alloc_id AND k.task = c.task
      AND k.event_no = c.event_no
), noted_events AS (
  SELECT *,
         LAG(event_no) OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no) AS noted_before,
         LEAD(event_type) OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no) AS noted_next
  FROM judged_events
  WHERE failure_class IS NOT NULL OR event_type = 'Not Restarting'
), failure_events AS (
  SELECT region, alloc_id, task, event_no, attempt, run, event_at, event_at_ns, event_type,
         COALESCE(failure_class, 'unknown') AS class, COALESCE(is_maybe_oom, FALSE) AND NOT is_blind AS is_maybe_oom,
         COALESCE(event_type, '') = 'Not Restarting' OR COALESCE(noted_next, '') = 'Not Restarting' AS gave_up,
         restart_signal, is_blind, exit_code, signal, message
  FROM noted_events
  WHERE COALESCE(event_type, '') <> 'Not Restarting' OR (noted_before IS NULL AND NOT kill_under_way)
)
SELECT region, alloc_id, task, event_no, attempt, run, event_at, event_at_ns, event_type, 'failed' AS outcome, class,
       CASE WHEN class IN ('signal', 'exit') AND (exit_code = 137 OR signal = 9) THEN TRUE
            WHEN class = 'unknown' AND is_maybe_oom THEN TRUE
            ELSE FALSE END AS suspected_oom,
       gave_up, restart_signal, is_blind, exit_code, signal, message
FROM failure_events
UNION ALL
SELECT region, alloc_id, task, event_no, attempt, run, event_at, event_at_ns, event_type,
       CASE WHEN kill_under_way THEN 'stopped'
            WHEN is_reconnected_stop THEN CASE WHEN exit_code = 0 THEN 'unknown' ELSE 'stopped' END
            WHEN restart_signal IN ('user', 'change') THEN 'restart'
            WHEN blind_end IS NOT NULL THEN blind_end
            WHEN exit_code = 0 AND COALESCE(signal, 0) = 0 THEN 'completed'
            ELSE 'unknown' END AS outcome,
       CAST(NULL AS VARCHAR(10)) AS class, FALSE AS suspected_oom, FALSE AS gave_up, restart_signal, is_blind,
       exit_code, signal, message
FROM judged_events
WHERE event_type = 'Terminated' AND failure_class IS NULL
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, event_no NULLS LAST
