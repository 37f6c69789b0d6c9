-- log_gaps: Which gaps between the windows of a task do lines of logs fill, and which do they close?
--
-- One row is one gap before a window, or the time after the last window, of a task that a log names. The counters of
-- the windows around a gap say how many restarts happened in the gap. If lines of logs show more restarts, the lines
-- contradict the counters and are left out. The gap is closed if the lines show exactly that number, and the log
-- reports the last event before the gap and the first event after it. No event precedes the gap before the first
-- window, so there the first line must be a `Received` instead. A gap where the client lost its state (new_life) is
-- never closed. The counter counts only restarts, so events of other types may still be missing in a closed gap. If
-- lines come before the first window, the time before that window is a gap even if the history of the task seems to
-- begin in it.
--
-- Columns:
--   region         string  region given by `--region`; empty without it
--   alloc_id       string  allocation ID
--   task           string  task name
--   window_no      int64   number of the window after the gap; for the time after the last window, the number of
--                          windows plus 1
--   is_tail        bool    whether it is the time after the last window; no counter includes the restarts of that time
--   restarts       int64   restarts in the gap, by the counters around it; null after the last window, or if the
--                          counters do not show the number
--   lines          int64   events in the gap that only logs show
--   restarts_seen  int64   Restarting events among the events that the column lines counts
--   is_refuted     bool    whether restarts_seen is larger than restarts
--   is_joined      bool    whether the log reports the last event before the gap; if no event precedes the gap, whether
--                          the first line in the gap is a `Received`
--   is_counted     bool    whether the attempts of its events are known, because logs show as many restarts as the
--                          counters; false after the last window, because no counter shows whether a Restarting is
--                          missing there
--   is_closed      bool    whether lines of logs close the gap, see above; false after the last window
--   new_life       bool    whether the client lost its state in the gap: the window after it shows that (see
--                          shown_windows), or lines come before the window in which the history seems to begin,
--                          and that window has fewer than ten events
--   is_torn        bool    whether lines may be missing in the gap although the logs of the node neither begin nor end
--                          within the gap; true if the client lost its state in the gap, because no counter shows
--                          whether lines are missing then

WITH lines_by_gap AS (
  SELECT region, alloc_id, task, window_no, COUNT(*) AS lines,
         SUM(CASE WHEN event_type = 'Restarting' THEN 1 ELSE 0 END) AS restarting, MIN(line_no) AS first_line
  FROM placed_lines
  GROUP BY region, alloc_id, task, window_no
), first_lines AS (
  SELECT region, alloc_id, task, line_no, event_type
  FROM placed_lines
  WHERE event_type = 'Received'
), logged_tasks AS (
  SELECT alloc_id, task, COUNT(*) AS lines
  FROM log_pairs
  GROUP BY alloc_id, task
), windows_of_tasks AS (
  SELECT w.region, w.alloc_id, w.task, w.window_no, w.first_attempt, COALESCE(w.first_ns, 0) AS first_ns,
         COALESCE(w.last_ns, 0) AS last_ns, COALESCE(w.restarts, -1) AS counter,
         CASE WHEN w.new_life OR (w.window_no = 1 AND w.begins AND w.window_events < 10 AND l.lines IS NOT NULL) THEN 1
              ELSE 0 END AS is_new_life,
         CASE WHEN w.after_gap OR (w.window_no = 1 AND (NOT w.begins OR l.lines IS NOT NULL)) THEN 1 ELSE 0
           END AS is_gap
  FROM shown_windows AS w
  JOIN logged_tasks AS t ON t.alloc_id = w.alloc_id AND t.task = w.task
  LEFT JOIN lines_by_gap AS l ON l.region = w.region AND l.alloc_id = w.alloc_id AND l.task = w.task
      AND l.window_no = w.window_no
  WHERE NOT w.lives_mixed
), windows_so_far AS (
  SELECT *,
         MAX(last_ns) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS end_ns,
         MAX(counter) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS counted,
         MAX(window_no) OVER (PARTITION BY region, alloc_id, task) AS windows
  FROM windows_of_tasks
), windows_with_previous AS (
  SELECT *,
         LAG(end_ns) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS end_before,
         LAG(counted) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS counted_before
  FROM windows_so_far
), gaps AS (
  SELECT region, alloc_id, task, window_no, is_new_life, first_ns AS next_ns,
         CASE WHEN window_no > 1 THEN end_before END AS previous_ns,
         CASE WHEN is_new_life = 1 THEN NULL WHEN window_no = 1 THEN first_attempt - 1
              WHEN counted_before >= 0 AND first_attempt - 1 >= counted_before THEN first_attempt - 1 - counted_before
              END AS restarts,
         0 AS is_tail
  FROM windows_with_previous
  WHERE is_gap = 1
  UNION ALL
  SELECT region, alloc_id, task, window_no + 1 AS window_no, 0 AS is_new_life, CAST(NULL AS BIGINT) AS next_ns,
         end_ns AS previous_ns, CAST(NULL AS BIGINT) AS restarts, 1 AS is_tail
  FROM windows_so_far
  WHERE window_no = windows
  UNION ALL
  -- For a task without a window, the whole time is one gap.
  SELECT region, alloc_id, task, window_no, 0 AS is_new_life, CAST(NULL AS BIGINT) AS next_ns,
         CAST(NULL AS BIGINT) AS previous_ns, CAST(NULL AS BIGINT) AS restarts, 1 AS is_tail
  FROM lines_by_gap
  WHERE window_no = 1
), gaps_once AS (
  SELECT region, alloc_id, task, window_no, MAX(is_new_life) AS is_new_life, MAX(next_ns) AS next_ns,
         MAX(previous_ns) AS previous_ns, MAX(restarts) AS restarts, MIN(is_tail) AS is_tail
  FROM gaps
  GROUP BY region, alloc_id, task, window_no
), places AS (
  SELECT alloc_id, MIN(node_id) AS node_id, MIN(created_at_ns) AS created_at_ns
  FROM allocation_history
  GROUP BY alloc_id
), lines_with_node AS (
  SELECT l.alloc_id, l.logged_at_ns, COALESCE(p.node_id, l.alloc_id) AS node
  FROM log_pairs AS l
  LEFT JOIN places AS p ON p.alloc_id = l.alloc_id
), spans_by_node AS (
  SELECT node, MIN(logged_at_ns) AS first_line_ns, MAX(logged_at_ns) AS last_line_ns
  FROM lines_with_node
  GROUP BY node
), spans AS (
  SELECT DISTINCT l.alloc_id, s.first_line_ns, s.last_line_ns
  FROM lines_with_node AS l
  JOIN spans_by_node AS s ON s.node = l.node
), reported_events AS (
  SELECT DISTINCT alloc_id, task, event_at_ns
  FROM log_pairs
  WHERE event_at_ns IS NOT NULL
), judged_gaps AS (
  SELECT g.region, g.alloc_id, g.task, g.window_no, g.restarts, g.is_tail, g.is_new_life,
         COALESCE(l.lines, 0) AS lines, COALESCE(l.restarting, 0) AS restarting,
         CASE WHEN f.line_no IS NULL THEN 0 ELSE 1 END AS has_received,
         CASE WHEN p.event_at_ns IS NULL THEN 0 ELSE 1 END AS is_previous_reported,
         CASE WHEN n.event_at_ns IS NULL THEN 0 ELSE 1 END AS is_next_reported,
         CASE WHEN g.previous_ns IS NULL THEN 1 ELSE 0 END AS is_first,
         CASE WHEN s.first_line_ns > COALESCE(g.previous_ns, c.created_at_ns, 0) THEN 1
              WHEN s.last_line_ns < g.next_ns THEN 1 ELSE 0 END AS is_cut
  FROM gaps_once AS g
  LEFT JOIN lines_by_gap AS l ON l.region = g.region AND l.alloc_id = g.alloc_id AND l.task = g.task
      AND l.window_no = g.window_no
  LEFT JOIN first_lines AS f ON f.region = l.region AND f.alloc_id = l.alloc_id AND f.task = l.task
      AND f.line_no = l.first_line
  LEFT JOIN spans AS s ON s.alloc_id = g.alloc_id
  LEFT JOIN places AS c ON c.alloc_id = g.alloc_id
  LEFT JOIN reported_events AS p ON p.alloc_id = g.alloc_id AND p.task = g.task AND p.event_at_ns = g.previous_ns
  LEFT JOIN reported_events AS n ON n.alloc_id = g.alloc_id AND n.task = g.task AND n.event_at_ns = g.next_ns
), counted_gaps AS (
  SELECT *, CASE WHEN is_first = 1 THEN has_received ELSE is_previous_reported END AS is_joined
  FROM judged_gaps
), gaps_with_count AS (
  SELECT *,
         CASE WHEN is_tail = 0 AND restarting = restarts THEN 1 ELSE 0 END AS is_counted
  FROM counted_gaps
)
SELECT region, alloc_id, task, window_no, is_tail = 1 AS is_tail, CAST(restarts AS BIGINT) AS restarts,
       CAST(lines AS BIGINT) AS lines, CAST(restarting AS BIGINT) AS restarts_seen,
       CASE WHEN restarting > restarts THEN TRUE ELSE FALSE END AS is_refuted,
       is_joined = 1 AS is_joined, is_counted = 1 AS is_counted,
       is_tail = 0 AND is_new_life = 0 AND is_counted = 1 AND is_joined = 1 AND is_next_reported = 1 AS is_closed,
       is_new_life = 1 AS new_life,
       is_counted = 0 AND is_cut = 0 AND (is_tail = 0 OR is_joined = 0) AS is_torn
FROM gaps_with_count
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, window_no NULLS LAST
