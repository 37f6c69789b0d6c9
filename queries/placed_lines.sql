-- placed_lines: In which gap between the windows of a task does each unpaired log line lie?
--
-- One row is one line of log_pairs that is not paired with an event and whose log is trusted.
-- The log of a node is trusted if it has a line within 100 ms for at least half of the events of the node's tasks, and
-- for at least one event. For this share, only events between the first and the last line of their task count. A log
-- that is not trusted has another clock, time zone or node than the events. Lines of an allocation that no listing
-- showed are trusted without this comparison. A line lies after the last window that ends before it. If no gap follows
-- that window, or if the next window begins more than 100 ms before the line, the windows contradict the line. Such a
-- line is left out, with one exception: it is kept if it and a `Received` end before the first event of the first
-- window, although the history of the task seems to begin in that window. Two more kinds of lines are
-- left out. The first is a Received of a task that was known before that line, because a restarted agent writes a
-- Received for each task that it restores. The second is every line of a task whose lives are mixed (see windows).
--
-- Columns:
--   region            string     region given by `--region`; empty without it
--   namespace         string     Nomad namespace; null if no source shows the allocation
--   job_id            string     job ID; null if no source shows the allocation
--   task_group        string     task group; null if no source shows the allocation
--   alloc_id          string     allocation ID
--   task              string     task name
--   node_id           string     client node ID; null if neither a source nor the path of a log has it
--   is_listed         bool       whether a source shows the allocation
--   line_no           int64      number of the line among the lines of the task, in order
--   window_no         int64      number of the window after the gap; for a line after the last window, or of a task
--                                without windows, the number of windows plus 1
--   least_attempt     int64      attempt of the event, if no Restarting before it is missing; otherwise the event
--                                belongs to a later attempt. Null if the task has windows, but no counter
--   restarts_before   int64      number of Restarting lines before it in the same gap
--   event_type        string     Nomad's spelling, an open set
--   logged_at         timestamp  when the client wrote the line, by its clock
--   logged_at_ns      int64      the same in nanoseconds since the epoch, truncated to precision_ns
--   precision_ns      int64      unit of logged_at_ns in nanoseconds
--   place_ns          int64      logged_at_ns; if the delay or the precision of the line puts that time outside the
--                                gap, the nearest time within the gap
--   fails_task        bool       whether the event marks the task as failed
--   exit_code         int64      exit code; null except on Terminated
--   signal            int64      number of the signal that ended the process, 0 for none; null except on Terminated
--   oom_killed        bool       true where Docker's exit message says `OOM Killed`; else null
--   restart_reason    string     why the task is or is not restarted; null where the message lacks it
--   start_delay_ns    int64      wait before the next start in nanoseconds; null except on Restarting
--   kill_timeout_ns   int64      time between the kill signal and SIGKILL in nanoseconds; null if the message lacks it
--   message           string     DisplayMessage of the event; secrets masked

WITH places AS (
  SELECT alloc_id, MIN(region) AS alloc_region, MIN(namespace) AS namespace, MIN(job_id) AS job_id,
         MIN(task_group) AS task_group, MIN(node_id) AS alloc_node
  FROM allocation_history
  GROUP BY alloc_id
), nodes_of_lines AS (
  -- Reads log_events and not log_pairs. If the path of only one of two equal lines names the node, log_pairs may have
  -- kept the other line.
  SELECT alloc_id, MAX(node_id) AS line_node
  FROM log_events
  GROUP BY alloc_id
), lines AS (
  SELECT COALESCE(p.alloc_region, l.region) AS region, p.namespace, p.job_id, p.task_group, l.alloc_id, l.task,
         COALESCE(p.alloc_node, n.line_node) AS node_id, CASE WHEN p.alloc_id IS NULL THEN 0 ELSE 1 END AS is_listed,
         COALESCE(p.alloc_node, n.line_node, l.alloc_id) AS clock, l.form, l.ordinal, l.text_hash, l.event_type,
         l.logged_at, l.logged_at_ns, l.precision_ns, l.logged_at_ns + l.precision_ns AS end_ns, l.event_at_ns,
         l.fails_task, l.exit_code, l.signal, l.oom_killed, l.restart_reason, l.start_delay_ns, l.kill_timeout_ns,
         l.message
  FROM log_pairs AS l
  LEFT JOIN places AS p ON p.alloc_id = l.alloc_id
  LEFT JOIN nodes_of_lines AS n ON n.alloc_id = l.alloc_id
), spans AS (
  SELECT region, alloc_id, task, form, clock, MIN(logged_at_ns) AS first_line_ns, MAX(end_ns) AS last_line_ns,
         SUM(CASE WHEN event_at_ns IS NOT NULL AND end_ns - event_at_ns <= 100000000 + precision_ns THEN 1
                  ELSE 0 END) AS prompt
  FROM lines
  GROUP BY region, alloc_id, task, form, clock
), events_by_span AS (
  SELECT s.alloc_id, s.task, s.form, s.clock, COUNT(*) AS events
  FROM spans AS s
  JOIN task_events AS e ON e.alloc_id = s.alloc_id AND e.task = s.task
  WHERE e.event_at_ns >= s.first_line_ns AND e.event_at_ns < s.last_line_ns AND NOT e.times_rounded
  GROUP BY s.alloc_id, s.task, s.form, s.clock
), clocks AS (
  SELECT s.form, s.clock, SUM(s.prompt) AS prompt, SUM(COALESCE(e.events, 0)) AS events
  FROM spans AS s
  LEFT JOIN events_by_span AS e ON e.alloc_id = s.alloc_id AND e.task = s.task AND e.form = s.form
      AND e.clock = s.clock
  GROUP BY s.form, s.clock
), trusted_clocks AS (
  SELECT form, clock
  FROM clocks
  WHERE prompt > 0 AND 2 * prompt >= events
), events_by_task AS (
  SELECT e.region, e.alloc_id, e.task, MIN(e.event_at_ns) AS first_event_ns
  FROM task_events AS e
  JOIN spans AS s ON s.region = e.region AND s.alloc_id = e.alloc_id AND s.task = e.task
  GROUP BY e.region, e.alloc_id, e.task
), starts_by_task AS (
  SELECT region, alloc_id, task, MIN(started_at_ns) AS first_start_ns
  FROM task_state_history
  GROUP BY region, alloc_id, task
), first_lines AS (
  SELECT region, alloc_id, task, MIN(first_line_ns) AS first_line_ns
  FROM spans
  GROUP BY region, alloc_id, task
), tasks AS (
  SELECT t.region, t.alloc_id, t.task, t.first_line_ns, COALESCE(e.first_event_ns, t.first_line_ns) AS first_event_ns,
         COALESCE(s.first_start_ns, t.first_line_ns) AS first_start_ns
  FROM first_lines AS t
  LEFT JOIN events_by_task AS e ON e.region = t.region AND e.alloc_id = t.alloc_id AND e.task = t.task
  LEFT JOIN starts_by_task AS s ON s.region = t.region AND s.alloc_id = t.alloc_id AND s.task = t.task
), lines_with_trust AS (
  SELECT l.*, COALESCE(l.event_type, '') AS type_name, COALESCE(l.text_hash, -1) AS hash_order,
         CASE WHEN l.is_listed = 0 OR c.clock IS NOT NULL THEN 1 ELSE 0 END AS is_trusted
  FROM lines AS l
  LEFT JOIN trusted_clocks AS c ON c.form = l.form AND c.clock = l.clock
), unexplained_lines AS (
  SELECT l.*
  FROM lines_with_trust AS l
  JOIN tasks AS t ON t.region = l.region AND t.alloc_id = l.alloc_id AND t.task = l.task
  WHERE l.event_at_ns IS NULL AND l.is_trusted = 1
    AND (l.type_name <> 'Received'
         OR (l.logged_at_ns <= t.first_line_ns AND l.logged_at_ns <= t.first_event_ns
             AND l.logged_at_ns <= t.first_start_ns + 100000000))
), ordered_lines AS (
  SELECT *,
         CASE type_name WHEN 'Received' THEN 0 WHEN 'Task Setup' THEN 1 WHEN 'Started' THEN 3
                        WHEN 'Restart Signaled' THEN 4 WHEN 'Killing' THEN 5 WHEN 'Terminated' THEN 6
                        WHEN 'Killed' THEN 7 WHEN 'Restarting' THEN 8 WHEN 'Not Restarting' THEN 9
                        ELSE 2 END AS type_rank,
         CASE WHEN type_name = 'Restarting' THEN 1 ELSE 0 END AS is_restarting
  FROM unexplained_lines
), numbered_lines AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, alloc_id, task
                                 ORDER BY logged_at_ns, type_rank, type_name, ordinal, form, hash_order) AS BIGINT)
           AS line_no
  FROM ordered_lines
), windows_of_tasks AS (
  SELECT w.region, w.alloc_id, w.task, w.window_no,
         MAX(COALESCE(w.last_ns, 0)) OVER (PARTITION BY w.region, w.alloc_id, w.task ORDER BY w.window_no
                                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS end_ns,
         MAX(COALESCE(w.restarts, -1)) OVER (PARTITION BY w.region, w.alloc_id, w.task ORDER BY w.window_no
                                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS counted,
         COALESCE(w.first_ns, 0) AS first_ns,
         CASE WHEN w.after_gap OR (w.window_no = 1 AND NOT w.begins) THEN 1 ELSE 0 END AS is_gap,
         CASE WHEN w.lives_mixed THEN 1 ELSE 0 END AS is_mixed
  FROM shown_windows AS w
  JOIN first_lines AS t ON t.region = w.region AND t.alloc_id = w.alloc_id AND t.task = w.task
), lines_and_windows AS (
  SELECT region, alloc_id, task, 0 AS line_no, window_no, end_ns AS item_ns, counted, is_mixed
  FROM windows_of_tasks
  UNION ALL
  SELECT region, alloc_id, task, line_no, 0 AS window_no, end_ns AS item_ns, -1 AS counted, 0 AS is_mixed
  FROM numbered_lines
), items_with_window AS (
  SELECT *,
         MAX(window_no) OVER (PARTITION BY region, alloc_id, task ORDER BY item_ns, line_no, window_no
                              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS last_window,
         MAX(CASE WHEN window_no > 0 THEN item_ns ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY item_ns, line_no, window_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS from_ns,
         MAX(counted) OVER (PARTITION BY region, alloc_id, task ORDER BY item_ns, line_no, window_no
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS counted_before,
         MAX(is_mixed) OVER (PARTITION BY region, alloc_id, task) AS is_task_mixed
  FROM lines_and_windows
), lines_with_window AS (
  SELECT region, alloc_id, task, line_no AS placed_no, last_window + 1 AS window_no, from_ns,
         CASE WHEN last_window = 0 THEN 0 ELSE counted_before END AS counted
  FROM items_with_window
  WHERE line_no > 0 AND is_task_mixed = 0
), lines_with_next_window AS (
  SELECT p.region, p.alloc_id, p.task, p.placed_no, p.window_no, p.counted, p.from_ns,
         COALESCE(w.first_ns, 9223372036854775807) AS to_ns, COALESCE(w.is_gap, 2) AS next_gap
  FROM lines_with_window AS p
  LEFT JOIN windows_of_tasks AS w ON w.region = p.region AND w.alloc_id = p.alloc_id AND w.task = p.task
      AND w.window_no = p.window_no
), earlier_lives AS (
  -- Only a Received proves an earlier life. If the client's clock was set back, other lines of the same life may come
  -- before its first event.
  SELECT DISTINCT l.region, l.alloc_id, l.task
  FROM numbered_lines AS l
  JOIN lines_with_next_window AS p ON p.region = l.region AND p.alloc_id = l.alloc_id AND p.task = l.task
      AND p.placed_no = l.line_no
  WHERE p.next_gap = 0 AND p.window_no = 1 AND l.end_ns < p.to_ns AND l.type_name = 'Received'
), lines_with_earlier_life AS (
  SELECT p.region, p.alloc_id, p.task, p.placed_no, p.window_no, p.counted, p.from_ns, p.to_ns, p.next_gap,
         CASE WHEN e.region IS NULL THEN 0 ELSE 1 END AS has_earlier_life
  FROM lines_with_next_window AS p
  LEFT JOIN earlier_lives AS e ON e.region = p.region AND e.alloc_id = p.alloc_id AND e.task = p.task
), lines_in_gaps AS (
  SELECT l.*, p.window_no, p.counted, p.from_ns, p.to_ns
  FROM numbered_lines AS l
  JOIN lines_with_earlier_life AS p ON p.region = l.region AND p.alloc_id = l.alloc_id AND p.task = l.task
      AND p.placed_no = l.line_no
  WHERE p.next_gap = 2 OR (p.next_gap = 1 AND l.logged_at_ns - 100000000 < p.to_ns)
     OR (p.next_gap = 0 AND p.window_no = 1 AND l.end_ns < p.to_ns AND p.has_earlier_life = 1)
), lines_with_restarts AS (
  SELECT *,
         SUM(is_restarting) OVER (PARTITION BY region, alloc_id, task, window_no ORDER BY line_no
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - is_restarting AS restarts_before
  FROM lines_in_gaps
)
SELECT region, namespace, job_id, task_group, alloc_id, task, node_id, is_listed = 1 AS is_listed, line_no, window_no,
       CASE WHEN counted >= 0 THEN CAST(counted + 1 + restarts_before AS BIGINT) END AS least_attempt,
       CAST(restarts_before AS BIGINT) AS restarts_before, event_type, logged_at, logged_at_ns, precision_ns,
       CASE WHEN logged_at_ns <= from_ns THEN from_ns + 1 WHEN logged_at_ns >= to_ns THEN to_ns - 1
            ELSE logged_at_ns END AS place_ns,
       fails_task, exit_code, signal, oom_killed, restart_reason, start_delay_ns, kill_timeout_ns, message
FROM lines_with_restarts
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, line_no NULLS LAST
