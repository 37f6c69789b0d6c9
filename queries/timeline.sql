-- timeline: In which order did the events of a task happen, and what state was the task in?
--
-- One row is one event of one task.
-- The order is: attempt, time, the causal rank of the type (Received, Task Setup, others by name, Started, Restart
-- Signaled, Killing, Terminated, Killed, Restarting, Not Restarting), ordinal, then the other columns. So the order of
-- rows in task_events has no effect. This order ignores attempts in two cases: a source without counters left the
-- attempt of an event unknown; or attempts mean nothing, because the task shows a new life or its lives are mixed (see
-- windows). An event whose time went through a float is left out if the same event is stored with its exact time. A
-- kill is under way from a Killing until the next Terminated, Received or Task Setup. Nomad before 1.10.3 may write a
-- Killing after Not Restarting or Killed. Such a Killing has no meaning (is_void).
-- An event that only logs show (origin `log`, see recovered_events) has the time of its line, and its place follows
-- from least_attempt and place_ns; a Killing with is_late comes last at its place. Events of allocations that no
-- listing showed are left out.
--
-- Columns:
--   region          string     region given by `--region`; empty without it
--   alloc_id        string     allocation ID, unique within its region
--   task            string     task name
--   event_no        int64      number of the event within its task, from 1
--   attempt         int64      which run of the task it belongs to; null if not known, or if attempts mean nothing
--   run             int64      the same as attempt. If attempts are not all known or mean nothing, 1 plus the number of
--                              Restarting events and gaps before the event. For an event of a log whose attempt is not
--                              known, least_attempt as a negative number, or null if the order ignores attempts. Always
--                              null if lives are mixed, or if is_torn of recovered_events is true
--   origin          string     `api`, or `log` if only logs show it
--   event_at        timestamp  when it happened, by the client's clock. For an event of a log, this is the time of the
--                              line, truncated to the unit of the log; null when the event has no time
--   event_at_ns     int64      the same in nanoseconds since the epoch
--   event_type      string     Nomad's spelling; null when the event has none
--   fails_task      bool       whether it marks the task as failed
--   exit_code       int64      exit code; null where none applies
--   signal          int64      number of the signal that ended the process, 0 for none; null where none applies
--   oom_killed      bool       whether the kernel killed the task for lack of memory; null for other types than
--                              Terminated
--   start_delay_ns  int64      wait before the next start in nanoseconds; null unless the event is a Restarting
--   message         string     Nomad's message for the event
--   details         string     the Details map of a Terminated as JSON; null for other types
--   kill_under_way  bool       whether a kill was under way when it happened
--   is_void         bool       whether it is a Killing without a meaning
--   restart_signal  string     reason of the latest Restart Signaled of its run: health, user or change (template,
--                              Vault, identity). Null if no Restart Signaled precedes the event in its run, if a
--                              Terminated came between the Restart Signaled and the event, or if run is null
--   is_started      bool       whether its run had started: a Started came after the last Received, Task Setup or
--                              Restarting; null if the events before it in its run are lost, or if run is null
--   is_blind        bool       whether the event that caused it may be lost. True for a Terminated without a
--                              restart_signal, if no Received, Task Setup, Restarting or Started lies between the last
--                              gap (or the lost beginning) and the Terminated. True for a Terminated of a log in an
--                              open gap without a restart_signal, if no Started follows the last Restarting or gap
--                              before it. True for any event whose run is null
--   is_asked        bool       whether it is a Restarting without a reason: a user, a template, Vault or an identity
--                              requested it; false for an event of a log, because a log omits the reason `Restart
--                              within policy`

WITH exact_events AS (
  SELECT *, CAST(CAST(event_at_ns AS DOUBLE) AS BIGINT) AS float_ns
  FROM task_events
  WHERE NOT times_rounded
), rounded_events AS (
  SELECT *, CAST(CAST(event_at_ns AS DOUBLE) AS BIGINT) AS float_ns
  FROM task_events
  WHERE times_rounded
), rounded_twins AS (
  SELECT DISTINCT r.region, r.alloc_id, r.task, r.event_type, r.float_ns
  FROM rounded_events AS r
  JOIN exact_events AS e ON e.region = r.region AND e.alloc_id = r.alloc_id AND e.task = r.task
      AND e.event_type = r.event_type AND e.float_ns = r.float_ns
), distinct_events AS (
  SELECT region, alloc_id, task, attempt, event_at, event_at_ns, event_type, CAST(ordinal AS BIGINT) AS ordinal,
         fails_task, exit_code, signal, oom_killed, restart_reason, start_delay_ns, message, details, 'api' AS origin,
         attempt AS place_attempt_known, event_at_ns AS place_ns_known, 0 AS is_late_killing, 0 AS is_log_gap_head,
         0 AS is_open, 0 AS is_torn
  FROM exact_events
  UNION ALL
  SELECT region, alloc_id, task, attempt, logged_at AS event_at, logged_at_ns AS event_at_ns, event_type,
         line_no AS ordinal, fails_task, exit_code, signal, oom_killed, restart_reason, start_delay_ns, message,
         CAST(NULL AS VARCHAR(10)) AS details, 'log' AS origin, least_attempt AS place_attempt_known,
         place_ns AS place_ns_known, CASE WHEN is_late THEN 1 ELSE 0 END AS is_late_killing,
         CASE WHEN after_gap THEN 1 ELSE 0 END AS is_log_gap_head,
         CASE WHEN in_open_gap THEN 1 ELSE 0 END AS is_open,
         CASE WHEN is_torn THEN 1 ELSE 0 END AS is_torn
  FROM recovered_events
  WHERE is_listed
  UNION ALL
  SELECT r.region, r.alloc_id, r.task, r.attempt, r.event_at, r.event_at_ns, r.event_type,
         CAST(r.ordinal AS BIGINT) AS ordinal, r.fails_task, r.exit_code, r.signal, r.oom_killed, r.restart_reason,
         r.start_delay_ns, r.message, r.details, 'api' AS origin, r.attempt AS place_attempt_known,
         r.event_at_ns AS place_ns_known, 0 AS is_late_killing, 0 AS is_log_gap_head, 0 AS is_open, 0 AS is_torn
  FROM rounded_events AS r
  LEFT JOIN rounded_twins AS t ON t.region = r.region AND t.alloc_id = r.alloc_id AND t.task = r.task
      AND t.event_type = r.event_type AND t.float_ns = r.float_ns
  WHERE t.region IS NULL
), first_events_after_gap AS (
  -- The events directly before these windows are lost.
  SELECT DISTINCT region, alloc_id, task, COALESCE(first_attempt, 0) AS head_attempt, COALESCE(first_ns, 0) AS head_ns
  FROM windows
  WHERE after_gap OR (window_no = 1 AND NOT begins)
), tasks_with_new_life AS (
  SELECT region, alloc_id, task, MAX(CASE WHEN lives_mixed THEN 1 ELSE 0 END) AS is_mixed
  FROM windows
  WHERE new_life OR lives_mixed
  GROUP BY region, alloc_id, task
), tasks_without_attempts AS (
  SELECT DISTINCT region, alloc_id, task
  FROM distinct_events
  WHERE place_attempt_known IS NULL
), events_with_life AS (
  SELECT e.*, f.region IS NOT NULL AS is_fallen, COALESCE(f.is_mixed, 0) AS is_mixed
  FROM distinct_events AS e
  LEFT JOIN tasks_with_new_life AS f ON f.region = e.region AND f.alloc_id = e.alloc_id AND f.task = e.task
), events_with_attempts AS (
  SELECT e.*, COALESCE(e.attempt, 0) AS head_attempt, COALESCE(e.event_at_ns, 0) AS head_ns,
         CASE WHEN e.origin = 'log' AND e.attempt IS NULL THEN 1 ELSE 0 END AS is_uncounted,
         t.region IS NULL AND NOT e.is_fallen AS has_attempts
  FROM events_with_life AS e
  LEFT JOIN tasks_without_attempts AS t ON t.region = e.region AND t.alloc_id = e.alloc_id AND t.task = e.task
), events_with_order AS (
  SELECT e.*,
         CASE WHEN e.has_attempts THEN e.place_attempt_known ELSE 0 END AS place_attempt,
         COALESCE(e.place_ns_known, 0) AS place_ns,
         COALESCE(e.event_type, '') AS type_name,
         CASE WHEN e.is_late_killing = 1 THEN 10
              ELSE CASE e.event_type WHEN 'Received' THEN 0 WHEN 'Task Setup' THEN 1 WHEN 'Started' THEN 3
                                     WHEN 'Restart Signaled' THEN 4 WHEN 'Killing' THEN 5 WHEN 'Terminated' THEN 6
                                     WHEN 'Killed' THEN 7 WHEN 'Restarting' THEN 8 WHEN 'Not Restarting' THEN 9
                                     ELSE 2 END END AS type_rank,
         COALESCE(e.details, '') AS details_order,
         COALESCE(e.exit_code, -9223372036854775807) AS exit_order,
         COALESCE(e.signal, -9223372036854775807) AS signal_order,
         COALESCE(e.start_delay_ns, -9223372036854775807) AS delay_order,
         CASE WHEN e.fails_task THEN 2 WHEN NOT e.fails_task THEN 1 ELSE 0 END AS fails_order,
         CASE WHEN e.oom_killed THEN 2 WHEN NOT e.oom_killed THEN 1 ELSE 0 END AS oom_order,
         COALESCE(e.restart_reason, '') AS reason_order,
         COALESCE(e.message, '') AS message_order,
         CASE WHEN e.origin = 'log' THEN e.is_log_gap_head WHEN g.region IS NULL THEN 0 ELSE 1 END AS is_gap_head
  FROM events_with_attempts AS e
  LEFT JOIN first_events_after_gap AS g ON g.region = e.region AND g.alloc_id = e.alloc_id AND g.task = e.task
      AND g.head_attempt = e.head_attempt AND g.head_ns = e.head_ns
), events_by_time AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, alloc_id, task ORDER BY place_attempt, place_ns)
              AS BIGINT) AS place_no,
         COUNT(place_ns) OVER (PARTITION BY region, alloc_id, task, place_attempt, place_ns) AS events_there
  FROM events_with_order
), tied_events AS (
  -- Few events of a task have the same attempt and time; only these are sorted by the other columns.
  SELECT *,
         MIN(place_no) OVER (PARTITION BY region, alloc_id, task, place_attempt, place_ns) AS first_no,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, alloc_id, task, place_attempt, place_ns
                                 ORDER BY type_rank, type_name, ordinal, details_order, exit_order, signal_order,
                                          delay_order, fails_order, oom_order, reason_order, message_order,
                                          head_attempt) AS BIGINT) AS tie_no
  FROM events_by_time
  WHERE events_there > 1
), numbered_events AS (
  SELECT region, alloc_id, task, attempt, event_at, event_at_ns, event_type, fails_task, exit_code, signal, oom_killed,
         restart_reason, start_delay_ns, message, details, has_attempts, is_fallen, is_mixed, type_name,
         origin, is_uncounted, is_open, is_torn, place_attempt_known, is_gap_head, place_no AS event_no,
         CASE WHEN event_type = 'Restarting' THEN 1 ELSE 0 END AS is_restarting
  FROM events_by_time
  WHERE events_there = 1
  UNION ALL
  SELECT region, alloc_id, task, attempt, event_at, event_at_ns, event_type, fails_task, exit_code, signal, oom_killed,
         restart_reason, start_delay_ns, message, details, has_attempts, is_fallen, is_mixed, type_name,
         origin, is_uncounted, is_open, is_torn, place_attempt_known, is_gap_head, first_no - 1 + tie_no AS event_no,
         CASE WHEN event_type = 'Restarting' THEN 1 ELSE 0 END AS is_restarting
  FROM tied_events
), events_with_counts AS (
  -- A mark is a multiple of event_no plus a code of the state that the event begins. The largest mark so far has the
  -- current state, and `mark % factor` is its code.
  SELECT *,
         MAX(CASE WHEN type_name IN ('Not Restarting', 'Killed') THEN 2 * event_no + 1
                  WHEN type_name IN ('Received', 'Task Setup', 'Started', 'Restarting') THEN 2 * event_no
                  ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS dead_mark,
         SUM(is_restarting)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS restarts_so_far,
         SUM(CASE WHEN event_no > 1 THEN is_gap_head ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS gaps_so_far
  FROM numbered_events
), events_with_run AS (
  SELECT *,
         type_name = 'Killing' AND dead_mark % 2 = 1 AS is_void,
         CAST(CASE WHEN is_mixed = 1 OR is_torn = 1 THEN NULL
                   WHEN is_uncounted = 1 THEN CASE WHEN has_attempts THEN 0 - place_attempt_known END
                   WHEN has_attempts THEN attempt
                   ELSE 1 - is_restarting + restarts_so_far + gaps_so_far END AS BIGINT) AS run
  FROM events_with_counts
), events_with_marks AS (
  SELECT *,
         MAX(CASE WHEN type_name = 'Killing' AND NOT is_void THEN 2 * event_no + 1
                  WHEN type_name IN ('Terminated', 'Received', 'Task Setup') THEN 2 * event_no
                  ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS kill_mark,
         MAX(CASE WHEN type_name = 'Terminated' THEN 4 * event_no
                  WHEN type_name <> 'Restart Signaled' THEN 0
                  WHEN restart_reason LIKE 'healthcheck%' THEN 4 * event_no + 3
                  WHEN restart_reason LIKE 'User requested%' THEN 4 * event_no + 2
                  ELSE 4 * event_no + 1 END)
           OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS signal_mark,
         MAX(CASE WHEN type_name = 'Started' THEN 3 * event_no + 1
                  WHEN type_name IN ('Received', 'Task Setup', 'Restarting') THEN 3 * event_no
                  WHEN is_gap_head = 1 THEN 3 * event_no + 2
                  ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS started_mark,
         MAX(CASE WHEN type_name = 'Started' THEN 2 * event_no + 1
                  WHEN type_name = 'Restarting' OR is_gap_head = 1 THEN 2 * event_no
                  ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY event_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS begun_mark
  FROM events_with_run
), events_with_marks_before AS (
  SELECT *,
         LAG(kill_mark) OVER (PARTITION BY region, alloc_id, task ORDER BY event_no) AS kill_mark_before,
         LAG(signal_mark) OVER (PARTITION BY region, alloc_id, task, run ORDER BY event_no) AS signal_mark_before
  FROM events_with_marks
)
SELECT region, alloc_id, task, event_no, CASE WHEN NOT is_fallen THEN attempt END AS attempt, run, origin,
       event_at, event_at_ns, event_type, fails_task, exit_code, signal, oom_killed, start_delay_ns, message,
       CASE WHEN type_name = 'Terminated' THEN details END AS details,
       COALESCE(kill_mark_before, 0) % 2 = 1 AS kill_under_way, is_void,
       CASE CASE WHEN run IS NULL THEN 0 WHEN type_name = 'Terminated' THEN COALESCE(signal_mark_before, 0)
                 ELSE signal_mark END % 4
         WHEN 3 THEN 'health' WHEN 2 THEN 'user' WHEN 1 THEN 'change' END AS restart_signal,
       CASE WHEN run IS NOT NULL AND started_mark % 3 < 2 THEN started_mark % 3 = 1 END AS is_started,
       (type_name = 'Terminated' AND (started_mark % 3 = 2 OR (is_open = 1 AND begun_mark % 2 = 0))
         AND COALESCE(signal_mark_before, 0) % 4 = 0) OR run IS NULL AS is_blind,
       type_name = 'Restarting' AND COALESCE(restart_reason, '') = '' AND origin = 'api' AS is_asked
FROM events_with_marks_before
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, event_no NULLS LAST
