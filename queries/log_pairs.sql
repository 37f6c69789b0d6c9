-- log_pairs: Which lines of logs report an event that task_events has?
--
-- One row is one line of a log about a task event. Lines that repeat another line are left out. A line and an event of
-- one task can be a pair if they have the same type, exit code, signal and start delay, and the event comes before the
-- line. Where a source lacks the code, signal or delay, only the type must be the same. First, a line is paired with
-- such an event directly before it, within 5 ms: a client usually writes a line that soon. Then each line that is left
-- is paired with the earliest such event that is left. So each line and each event is in one pair at most. A client
-- writes a line within a second of its event. So a line and an event are not paired in the second step if there is a
-- pause of more than two seconds between them, without lines and events of the same type, code, signal and delay. An
-- event has several lines if several loggers of an agent wrote it, such as the log file of the agent and the monitor of
-- a debug bundle. The times of these lines differ a little. So pauses of more than two seconds divide the lines and
-- events of one type, code, signal and delay into groups. In each group, only the lines of the most frequent form
-- count. Equal lines of one form that are less than 5 ms apart count once.
--
-- Columns:
--   region           string     region given by `--region`; empty without it
--   alloc_id         string     allocation ID
--   task             string     task name
--   node_id          string     client node ID in the path of the log in a debug bundle; null elsewhere
--   form             string     how the line is written, as in log_events
--   logged_at        timestamp  when the client wrote the line, by its clock
--   logged_at_ns     int64      the same in nanoseconds since the epoch, truncated to precision_ns
--   precision_ns     int64      unit of logged_at_ns in nanoseconds
--   event_type       string     Nomad's spelling, an open set
--   ordinal          int32      number of the line among equal lines with the same time
--   fails_task       bool       whether the event marks the task as failed
--   exit_code        int64      exit code; null except on Terminated
--   signal           int64      number of the signal that ended the process, 0 for none; null except on Terminated
--   oom_killed       bool       true where Docker's exit message says `OOM Killed`; else null
--   restart_reason   string     why the task is or is not restarted; null where the message lacks it
--   start_delay_ns   int64      wait before the next start in nanoseconds; null except on Restarting
--   kill_timeout_ns  int64      time between the kill signal and SIGKILL in nanoseconds; null if the message lacks it
--   message          string     DisplayMessage of the event; secrets masked
--   text_hash        int32      16-bit hash of the message
--   event_at_ns      int64      time of the event that the line reports, in nanoseconds since the epoch; null if
--                               task_events has no such event

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
  SELECT DISTINCT alloc_id, task
  FROM lines_once
), events_of_logged_tasks AS (
  SELECT e.alloc_id, e.task, e.event_at_ns, e.ordinal, COALESCE(e.event_type, '') AS type_name,
         COALESCE(e.exit_code, -1000) AS exit_order, COALESCE(e.signal, -1) AS signal_order,
         COALESCE(e.start_delay_ns, -1) AS delay_order, e.text_hash
  FROM task_events AS e
  JOIN logged_tasks AS t ON t.alloc_id = e.alloc_id AND t.task = e.task
  WHERE e.event_at_ns IS NOT NULL
), all_items AS (
  -- The time of a line is truncated to a unit (precision_ns). The line is placed 1 ms after the end of that unit, so
  -- that it comes after its event.
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, 1 AS is_line, form, ordinal, hash_order,
         logged_at_ns + precision_ns + 1000000 AS item_ns, logged_at_ns, node_order
  FROM lines_once
  UNION ALL
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, 0 AS is_line, '' AS form, ordinal,
         COALESCE(text_hash, -1) AS hash_order, event_at_ns AS item_ns, event_at_ns AS logged_at_ns, '' AS node_order
  FROM events_of_logged_tasks
), items_with_doubt AS (
  -- If any line or event of a type lacks its code, signal or delay, lines and events of this type are compared by type
  -- alone.
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
  SELECT i.alloc_id, i.task, i.type_name, i.exit_order, i.signal_order, i.delay_order, i.is_line, i.form,
         i.ordinal, i.hash_order, i.item_ns, i.logged_at_ns, i.node_order,
         CASE WHEN i.is_line = 1 THEN 1 ELSE -1 END AS step
  FROM items_with_cluster AS i
  JOIN best_forms AS b ON b.alloc_id = i.alloc_id AND b.task = i.task AND b.type_name = i.type_name
      AND b.exit_order = i.exit_order AND b.signal_order = i.signal_order AND b.delay_order = i.delay_order
      AND b.cluster_no = i.cluster_no
  WHERE i.is_line = 0 OR i.form = b.best_form
), items_with_neighbours AS (
  SELECT *,
         LAG(is_line) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                            ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order) AS line_before,
         LAG(item_ns) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                            ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order) AS item_before_ns,
         LEAD(is_line) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                             ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order) AS line_after,
         LEAD(item_ns) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                             ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order) AS item_after_ns
  FROM items_of_best_form
), items_with_prompt AS (
  -- A line directly after an event, within 5 ms, is of that event. The limit has 2 ms more, because item_ns of a line
  -- is up to 2 ms after its time. With a longer limit, a late line in a fast loop would be taken for the line of the
  -- next event.
  SELECT *,
         CASE WHEN is_line = 1 AND line_before = 0 AND item_ns - item_before_ns <= 7000000 THEN 1
              WHEN is_line = 0 AND line_after = 1 AND item_after_ns - item_ns <= 7000000 THEN 1
              ELSE 0 END AS is_prompt
  FROM items_with_neighbours
), items_left AS (
  SELECT *, LAG(item_ns) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                               ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order)
           AS left_before_ns
  FROM items_with_prompt
  WHERE is_prompt = 0
), items_left_with_start AS (
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, is_line, form, ordinal, hash_order,
         item_ns, logged_at_ns, node_order, step,
         CASE WHEN left_before_ns IS NULL OR item_ns - left_before_ns > 2000000000 THEN 1 ELSE 0 END AS is_start
  FROM items_left
), items_left_with_cluster AS (
  SELECT *, SUM(is_start) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order
                                ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS cluster_no
  FROM items_left_with_start
), items_with_balance AS (
  SELECT *, SUM(step) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                            ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS balance
  FROM items_left_with_cluster
), items_with_surplus AS (
  -- The balance is the number of lines minus the number of events so far. Its maximum so far, if above 0, is the number
  -- of lines so far that have no event.
  SELECT *, MAX(balance) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                               ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS surplus
  FROM items_with_balance
), items_with_step AS (
  SELECT *, LAG(surplus) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no
                               ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order)
           AS surplus_before
  FROM items_with_surplus
), items_with_pairing AS (
  SELECT *, CASE WHEN is_line = 1 AND NOT (surplus > 0 AND surplus > COALESCE(surplus_before, 0)) THEN 1
                 ELSE 0 END AS is_paired_line
  FROM items_with_step
), items_with_numbers AS (
  SELECT *,
         SUM(is_paired_line) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order,
                                                cluster_no
                                   ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS pair_no,
         SUM(1 - is_line) OVER (PARTITION BY alloc_id, task, type_name, exit_order, signal_order, delay_order,
                                             cluster_no
                                ORDER BY item_ns, is_line, ordinal, hash_order, logged_at_ns, node_order
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS event_no
  FROM items_with_pairing
), numbered_events AS (
  SELECT alloc_id, task, type_name, exit_order, signal_order, delay_order, cluster_no, event_no,
         logged_at_ns AS event_at_ns
  FROM items_with_numbers
  WHERE is_line = 0
), numbered_lines AS (
  SELECT *, CASE WHEN is_paired_line = 1 THEN pair_no ELSE 0 END AS taken_no
  FROM items_with_numbers
  WHERE is_line = 1
), pairs AS (
  SELECT l.alloc_id, l.task, l.type_name, l.form, l.ordinal, l.hash_order, l.logged_at_ns, l.node_order, e.event_at_ns
  FROM numbered_lines AS l
  LEFT JOIN numbered_events AS e ON e.alloc_id = l.alloc_id AND e.task = l.task AND e.type_name = l.type_name
      AND e.exit_order = l.exit_order AND e.signal_order = l.signal_order AND e.delay_order = l.delay_order
      AND e.cluster_no = l.cluster_no AND e.event_no = l.taken_no
  UNION ALL
  SELECT alloc_id, task, type_name, form, ordinal, hash_order, logged_at_ns, node_order,
         item_before_ns AS event_at_ns
  FROM items_with_prompt
  WHERE is_prompt = 1 AND is_line = 1
)
SELECT l.region, l.alloc_id, l.task, l.node_id, l.form, l.logged_at, l.logged_at_ns, l.precision_ns, l.event_type,
       l.ordinal, l.fails_task, l.exit_code, l.signal, l.oom_killed, l.restart_reason, l.start_delay_ns,
       l.kill_timeout_ns, l.message, l.text_hash, p.event_at_ns
FROM lines_once AS l
JOIN pairs AS p ON p.alloc_id = l.alloc_id AND p.task = l.task AND p.type_name = l.type_name
    AND p.form = l.form AND p.ordinal = l.ordinal AND p.hash_order = l.hash_order
    AND p.logged_at_ns = l.logged_at_ns AND p.node_order = l.node_order
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, logged_at_ns NULLS LAST, form NULLS LAST,
         event_type NULLS LAST, ordinal NULLS LAST, text_hash NULLS LAST, node_id NULLS LAST
