-- recovered_events: Which task events do logs of agents show, and nothing else?
--
-- One row is one event that a line of a log reports and task_events lacks.
-- Pairing decides which lines report an event that task_events has. A line and an event of one task can be a pair if
-- they have the same type, exit code, signal and start delay (only the type, where a source lacks these), and the event
-- comes before the line. Each line is paired with the earliest such event that no earlier line was paired with. Where
-- two neighbours in time are more than two seconds apart, nothing before is paired with anything after, since a client
-- writes a line within a second of its event. So each line and each event is in one pair at most. Where lines are
-- missing, too, an event may stay hidden, but none is invented.
-- An event has several lines if several loggers of an agent wrote it, such as its log file and the monitor of a debug
-- bundle. Their times differ a little. If the forms of lines differ in number, the form with most lines counts. Equal
-- lines of one form that are less than 5 ms apart count once.
-- A Received line is ignored if the task was known before it: an agent that restarts writes one for each allocation
-- that it restores. If fewer than half of a task's events in the time span of its lines have a line, the task is left
-- out, since the times of its log do not match.
-- No other view uses these events yet. The period selects rows by logged_at.
--
-- Columns:
--   region           string     region given by `--region`; empty without it
--   namespace        string     Nomad namespace; null if no source shows the allocation
--   job_id           string     job ID; null if no source shows the allocation
--   task_group       string     task group; null if no source shows the allocation
--   alloc_id         string     allocation ID
--   task             string     task name
--   node_id          string     client node ID; null if neither a source nor the path of a log has it
--   logged_at        timestamp  when the client wrote the line, by its clock: shortly after the event
--   logged_at_ns     int64      the same in nanoseconds since the epoch, truncated to precision_ns
--   precision_ns     int64      unit of logged_at_ns in nanoseconds
--   event_type       string     Nomad's spelling, an open set
--   fails_task       bool       whether the event marks the task as failed
--   exit_code        int64      exit code; null except on Terminated
--   signal           int64      number of the signal that ended the process, 0 for none; null except on Terminated
--   oom_killed       bool       true where Docker's exit message says `OOM Killed`; else null, as logs do not
--                               contain it
--   restart_reason   string     why it is or is not restarted; null on other types of events, and where Nomad leaves it
--                               out of the message, as it does with `Restart within policy`
--   start_delay_ns   int64      wait before the next start in nanoseconds; null except on Restarting
--   kill_timeout_ns  int64      time between the kill signal and SIGKILL in nanoseconds; null if the message lacks it
--   message          string     DisplayMessage of the event; secrets masked

WITH lines_with_class AS (
  SELECT *, COALESCE(event_type, '') AS type_name, COALESCE(exit_code, -1000) AS exit_order,
         COALESCE(signal, -1) AS signal_order, COALESCE(start_delay_ns, -1) AS delay_order,
         COALESCE(text_hash, -1) AS hash_order, COALESCE(node_id, '') AS node_order
  FROM log_events
), lines_with_neighbour AS (
  SELECT *, LAG(logged_at_ns) OVER (PARTITION BY alloc_id, task, form, type_name, hash_order, ordinal
                                    ORDER BY logged_at_ns, node_order) AS earlier_ns
  FROM lines_with_class
), lines_once AS (
  SELECT *
  FROM lines_with_neighbour
  WHERE earlier_ns IS NULL OR logged_at_ns - earlier_ns >= 5000000
), logged_tasks AS (
  SELECT alloc_id, task, MIN(logged_at_ns) AS first_line_ns, MAX(logged_at_ns) AS last_line_ns
  FROM lines_once
  GROUP BY alloc_id, task
), events_of_logged_tasks AS (
  SELECT e.alloc_id, e.task, e.event_at_ns, e.ordinal, COALESCE(e.event_type, '') AS type_name,
         COALESCE(e.exit_code, -1000) AS exit_order, COALESCE(e.signal, -1) AS signal_order,
         COALESCE(e.start_delay_ns, -1) AS delay_order, e.text_hash,
         CASE WHEN e.event_at_ns BETWEEN t.first_line_ns - 2000000000 AND t.last_line_ns THEN 1 ELSE 0 END AS is_within
  FROM task_events AS e
  JOIN logged_tasks AS t ON t.alloc_id = e.alloc_id AND t.task = e.task
  WHERE e.event_at_ns IS NOT NULL
), all_items AS (
  -- A line counts as one at the end of its unit of time and a millisecond later, so that it comes after its event.
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, 1 AS is_line, form, ordinal, hash_order,
         logged_at_ns + precision_ns + 1000000 AS item_ns, logged_at_ns, node_order
  FROM lines_once
  UNION ALL
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, 0 AS is_line, '' AS form, ordinal,
         COALESCE(text_hash, -1) AS hash_order, event_at_ns AS item_ns, event_at_ns AS logged_at_ns, '' AS node_order
  FROM events_of_logged_tasks
), items_with_doubt AS (
  -- Where a source lacks what distinguishes events of a type, only the type does.
  SELECT *, MAX(CASE WHEN type_name = 'Terminated' AND (exit_order = -1000 OR signal_order = -1) THEN 1
                     WHEN type_name = 'Restarting' AND delay_order = -1 THEN 1 ELSE 0 END)
           OVER (PARTITION BY alloc_id, task, type_name) AS is_doubtful
  FROM all_items
), items AS (
  SELECT alloc_id, task, type_name, is_line, form, ordinal, hash_order, item_ns, logged_at_ns, node_order,
         CASE WHEN is_doubtful = 1 THEN 0 ELSE exit_order END AS exit_order,
         CASE WHEN is_doubtful = 1 THEN 0 ELSE signal_order END AS signal_order,
         CASE WHEN is_doubtful = 1 THEN 0 ELSE delay_order END AS delay_order
  FROM items_with_doubt
), items_with_gap AS (
  SELECT *, LAG(item_ns) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                               ORDER BY item_ns, is_line, form, ordinal, hash_order, logged_at_ns, node_order)
           AS before_ns
  FROM items
), items_with_start AS (
  SELECT *, CASE WHEN before_ns IS NULL OR item_ns - before_ns > 2000000000 THEN 1 ELSE 0 END AS is_start
  FROM items_with_gap
), items_with_cluster AS (
  SELECT *, SUM(is_start) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                                ORDER BY item_ns, is_line, form, ordinal, hash_order, logged_at_ns, node_order
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS cluster_no
  FROM items_with_start
), lines_by_form AS (
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no, form, COUNT(*) AS lines
  FROM items_with_cluster
  WHERE is_line = 1
  GROUP BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no, form
), lines_by_form_with_order AS (
  SELECT *, 0 - lines AS fewest
  FROM lines_by_form
), forms_with_rank AS (
  SELECT *, CAST(ROW_NUMBER() OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order,
                                                 cluster_no
                                    ORDER BY fewest, form) AS BIGINT) AS form_rank
  FROM lines_by_form_with_order
), best_forms AS (
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no, form AS best_form
  FROM forms_with_rank
  WHERE form_rank = 1
), items_of_best_form AS (
  SELECT i.alloc_id, i.task, i.type_name, i.exit_order, i.signal_order, i.delay_order, i.cluster_no, i.is_line, i.form,
         i.ordinal, i.hash_order, i.item_ns, i.logged_at_ns, i.node_order,
         CASE WHEN i.is_line = 1 THEN 1 ELSE -1 END AS step
  FROM items_with_cluster AS i
  JOIN best_forms AS b ON b.alloc_id = i.alloc_id AND b.task = i.task AND b.type_name = i.type_name
      AND b.exit_order = i.exit_order AND b.signal_order = i.signal_order AND b.delay_order = i.delay_order
      AND b.cluster_no = i.cluster_no
  WHERE i.is_line = 0 OR i.form = b.best_form
), items_with_balance AS (
  SELECT *, SUM(step) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                            ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS balance
  FROM items_of_best_form
), items_with_surplus AS (
  -- As many lines as the balance has ever exceeded 0 had no event left to take.
  SELECT *, MAX(balance) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                               ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS surplus
  FROM items_with_balance
), items_with_step AS (
  SELECT *, LAG(surplus) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                               ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order)
           AS surplus_before
  FROM items_with_surplus
), lines_with_pairing AS (
  SELECT alloc_id, task, type_name, form, ordinal, hash_order, logged_at_ns, node_order,
         CASE WHEN surplus > 0 AND surplus > COALESCE(surplus_before, 0) THEN 0 ELSE 1 END AS is_paired
  FROM items_with_step
  WHERE is_line = 1
), paired_lines AS (
  SELECT alloc_id, task, SUM(is_paired) AS paired
  FROM lines_with_pairing
  GROUP BY alloc_id, task
), events_by_task AS (
  SELECT alloc_id, task, SUM(is_within) AS events_within, MIN(event_at_ns) AS first_event_ns
  FROM events_of_logged_tasks
  GROUP BY alloc_id, task
), starts_by_task AS (
  SELECT alloc_id, task, MIN(started_at_ns) AS first_start_ns
  FROM task_state_history
  GROUP BY alloc_id, task
), trusted_tasks AS (
  SELECT t.alloc_id, t.task, t.first_line_ns, COALESCE(e.first_event_ns, t.first_line_ns) AS first_event_ns,
         COALESCE(s.first_start_ns, t.first_line_ns) AS first_start_ns
  FROM logged_tasks AS t
  LEFT JOIN events_by_task AS e ON e.alloc_id = t.alloc_id AND e.task = t.task
  LEFT JOIN paired_lines AS p ON p.alloc_id = t.alloc_id AND p.task = t.task
  LEFT JOIN starts_by_task AS s ON s.alloc_id = t.alloc_id AND s.task = t.task
  WHERE 2 * COALESCE(p.paired, 0) >= COALESCE(e.events_within, 0)
), places AS (
  SELECT alloc_id, MIN(region) AS alloc_region, MIN(namespace) AS namespace, MIN(job_id) AS job_id,
         MIN(task_group) AS task_group, MIN(node_id) AS alloc_node
  FROM allocation_history
  GROUP BY alloc_id
), nodes_of_lines AS (
  SELECT alloc_id, MAX(node_id) AS line_node
  FROM log_events
  GROUP BY alloc_id
), recovered_lines AS (
  SELECT l.alloc_id, l.task, l.type_name, l.form, l.ordinal, l.hash_order, l.logged_at_ns, l.node_order
  FROM lines_with_pairing AS l
  JOIN trusted_tasks AS t ON t.alloc_id = l.alloc_id AND t.task = l.task
  WHERE l.is_paired = 0
    AND (l.type_name <> 'Received'
         OR (l.logged_at_ns <= t.first_line_ns AND l.logged_at_ns <= t.first_event_ns
             AND l.logged_at_ns <= t.first_start_ns))
)
SELECT COALESCE(p.alloc_region, l.region) AS region, p.namespace, p.job_id, p.task_group, l.alloc_id, l.task,
       COALESCE(p.alloc_node, n.line_node) AS node_id, l.logged_at, l.logged_at_ns, l.precision_ns, l.event_type,
       l.fails_task, l.exit_code, l.signal, l.oom_killed, l.restart_reason, l.start_delay_ns, l.kill_timeout_ns,
       l.message
FROM lines_once AS l
JOIN recovered_lines AS r ON r.alloc_id = l.alloc_id AND r.task = l.task AND r.type_name = l.type_name
    AND r.form = l.form AND r.ordinal = l.ordinal AND r.hash_order = l.hash_order
    AND r.logged_at_ns = l.logged_at_ns AND r.node_order = l.node_order
LEFT JOIN places AS p ON p.alloc_id = l.alloc_id
LEFT JOIN nodes_of_lines AS n ON n.alloc_id = l.alloc_id
CROSS JOIN period AS w
WHERE l.logged_at_ns >= w.since_ns AND l.logged_at_ns < w.until_ns
ORDER BY region NULLS LAST, alloc_id NULLS LAST, logged_at_ns NULLS LAST, task NULLS LAST, event_type NULLS LAST,
         message NULLS LAST
