-- recovered_events: Which task events do only logs of agents show?
--
-- One row is one event that a line of a log reports and task_events lacks.
-- log_pairs, placed_lines and log_gaps decide which lines these are. This view also has events of allocations that no
-- listing showed; no other view uses these, because their job is not known. The period does not apply.
--
-- Columns:
--   region           string     region given by `--region`; empty without it
--   namespace        string     Nomad namespace; null if no source shows the allocation
--   job_id           string     job ID; null if no source shows the allocation
--   task_group       string     task group; null if no source shows the allocation
--   alloc_id         string     allocation ID
--   task             string     task name
--   node_id          string     client node ID; null if neither a source nor the path of a log has it
--   is_listed        bool       whether a source shows the allocation
--   line_no          int64      number of the line among the lines of the task, in order
--   window_no        int64      number of the window before which it happened, as in windows; the number of windows
--                               plus 1 if it happened after the last window
--   attempt          int64      which run of the task it belongs to; null if not known, because a Restarting may be
--                               missing in the logs
--   least_attempt    int64      the same as attempt; if attempt is not known, the earliest possible attempt
--   after_gap        bool       whether events directly before it may be missing: it is the first line in a gap, and
--                               is_joined of log_gaps is false
--   in_open_gap      bool       whether other lines of its gap may be missing: logs do not close the gap, or it is the
--                               time after the last window
--   is_torn          bool       whether lines are missing in the middle of its log, so that unknown events may have
--                               happened directly before it (see log_gaps)
--   place_ns         int64      time that gives the event its place among the other events of the task, in nanoseconds
--                               since the epoch
--   is_late          bool       whether it is a Killing at the same place as a Not Restarting, so that it comes after
--                               that event
--   logged_at        timestamp  when the client wrote the line, by its clock: shortly after the event
--   logged_at_ns     int64      the same in nanoseconds since the epoch, truncated to precision_ns
--   precision_ns     int64      unit of logged_at_ns in nanoseconds
--   event_type       string     Nomad's spelling, an open set
--   fails_task       bool       whether the event marks the task as failed
--   exit_code        int64      exit code; null except on Terminated
--   signal           int64      number of the signal that ended the process, 0 for none; null except on Terminated
--   oom_killed       bool       true where Docker's exit message says `OOM Killed`; else null, because logs do not
--                               contain this field
--   restart_reason   string     reason in a Restarting, Not Restarting or Restart Signaled: why the task is or is not
--                               restarted; null on other types, and where Nomad omits the reason, as it does with
--                               `Restart within policy`
--   start_delay_ns   int64      wait before the next start in nanoseconds; null except on Restarting
--   kill_timeout_ns  int64      time between the kill signal and SIGKILL in nanoseconds; null if the message lacks it
--   message          string     DisplayMessage of the event; secrets masked

WITH lines_in_order AS (
  SELECT *, MIN(line_no) OVER (PARTITION BY region, alloc_id, task, window_no) AS first_no,
         MAX(CASE WHEN event_type = 'Not Restarting' THEN 1 ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task, window_no, restarts_before, place_ns) AS has_given_up
  FROM placed_lines
)
SELECT l.region, l.namespace, l.job_id, l.task_group, l.alloc_id, l.task, l.node_id, l.is_listed, l.line_no,
       l.window_no, CASE WHEN g.is_counted THEN l.least_attempt END AS attempt, l.least_attempt,
       l.line_no = l.first_no AND NOT g.is_joined AS after_gap,
       NOT g.is_closed AS in_open_gap, g.is_torn,
       l.place_ns, COALESCE(l.has_given_up = 1 AND l.event_type = 'Killing', FALSE) AS is_late, l.logged_at,
       l.logged_at_ns, l.precision_ns, l.event_type, l.fails_task, l.exit_code, l.signal, l.oom_killed,
       l.restart_reason, l.start_delay_ns, l.kill_timeout_ns, l.message
FROM lines_in_order AS l
JOIN log_gaps AS g ON g.region = l.region AND g.alloc_id = l.alloc_id AND g.task = l.task AND g.window_no = l.window_no
WHERE NOT g.is_refuted
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, line_no NULLS LAST
