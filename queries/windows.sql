-- windows: Which windows of events did each task show, and which of them follow a gap?
--
-- One row is one window of shown_windows, which defines the columns. If lines of logs close the gap before a window
-- (see log_gaps), the window joins the one before it. If they close the gap before the first window, the history of the
-- task begins in that window. If lines come before the window in which the history seems to begin, the client lost its
-- state: that window shows a new life, and the beginning is not in view. Restarts that logs show are not lost.
--
-- Columns:
--   region          string     region given by `--region`; empty without it
--   alloc_id        string     allocation ID, unique within its region
--   task            string     task name
--   window_no       int64      number of the window within its task, from 1
--   modify_index    int64      raft index of the version that shows it; null if no source shows the index
--   modified_at     timestamp  when that version was written, by the server's clock
--   modified_at_ns  int64      the same in nanoseconds since the epoch
--   restarts        int64      Nomad's Restarts counter in the same state; null before Nomad 0.6
--   window_events   int64      events in it
--   first_attempt   int64      attempt of its first event; null without a counter
--   first_ns        int64      time of its first event in nanoseconds since the epoch; null if that event has no time
--   last_ns         int64      time of its last event in nanoseconds since the epoch; null if that event has no time
--   begins          bool       whether the history of the task begins in the window: shown_windows says so and no
--                              lines of logs come before the first window; or it is the first window, and lines of
--                              logs close the gap before it
--   after_gap       bool       whether it does not join the window before it, and lines of logs do not close the gap
--                              between the two; for the first window, whether it shows a new life
--   new_life        bool       whether it shows that the client lost its state and began the task anew. One of these is
--                              enough: its counter is below that of an earlier window; it is not full, begins with the
--                              first run, and begins later than the previous window began; its first attempt is lower
--                              than the last attempt of the previous window, although its first time is later than the
--                              last time of that window, and the stored events do not prove that the previous window
--                              has its first event, too; lines of logs come before the first window, although the
--                              history seems to begin in it and it has fewer than ten events
--   lives_mixed     bool       whether the lives of its task are mixed; the same in all windows of a task
--   stored_events   int64      number of stored events from the first to the last (attempt, time) of the window. It
--                              differs from window_events if a clock was changed or the client lost its state; null if
--                              the first or last event has no time
--   lost_before     int64      restarts that its counter is the first to include and whose `Restarting` event is in no
--                              window and no log; null without a counter, or if the counter falls

WITH filled_gaps AS (
  SELECT region, alloc_id, task, window_no, is_closed, restarts_seen,
         CASE WHEN window_no = 1 AND new_life THEN 1 ELSE 0 END AS is_earlier_life,
         CASE WHEN window_no = 1 AND lines > 0 THEN 1 ELSE 0 END AS has_lines
  FROM log_gaps
  WHERE NOT is_refuted
), windows_with_logs AS (
  SELECT w.*, COALESCE(g.is_closed, FALSE) AS is_closed, COALESCE(g.restarts_seen, 0) AS logged_restarts,
         COALESCE(g.is_earlier_life, 0) AS is_earlier_life,
         MAX(COALESCE(g.has_lines, 0)) OVER (PARTITION BY w.region, w.alloc_id, w.task) AS has_earlier_lines
  FROM shown_windows AS w
  LEFT JOIN filled_gaps AS g ON g.region = w.region AND g.alloc_id = w.alloc_id AND g.task = w.task
      AND g.window_no = w.window_no
)
SELECT region, alloc_id, task, window_no, modify_index, modified_at, modified_at_ns, restarts, window_events,
       first_attempt, first_ns, last_ns,
       (begins AND has_earlier_lines = 0) OR (window_no = 1 AND is_closed) AS begins,
       (after_gap AND NOT is_closed) OR is_earlier_life = 1 AS after_gap, new_life OR is_earlier_life = 1 AS new_life,
       lives_mixed, stored_events,
       CASE WHEN lost_before < logged_restarts THEN 0 ELSE lost_before - logged_restarts END AS lost_before
FROM windows_with_logs
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, window_no NULLS LAST
