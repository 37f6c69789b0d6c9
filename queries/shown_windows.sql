-- shown_windows: Which windows of events did sources show of each task, and which of them follow a gap?
--
-- One row is one window of events that one state of a task shows.
-- Windows are ordered by modify_index, never by the time of their observation. Windows of one index are ordered by
-- modified_at. If that is equal too, windows without a counter come first; the others are ordered by their last and
-- first events. Nomad keeps ten events of a task, so a window of ten or more events is full: only earlier windows can
-- show the events before its first event. A window joins the previous window if its first (attempt, time) is not after
-- the last (attempt, time) of the previous window, and it shows no new life of the task. If only one of the two windows
-- has attempts, their attempts cannot be compared: then a full window does not join the previous window, and a window
-- that is not full does. Placeholders have no window.
-- A task has several lives if its client lost its state, or if two runners of one allocation wrote the state of the
-- task in turn (Nomad up to 0.8). The lives are mixed if their events cannot be separated. Windows show this in three
-- cases: a window after a gap begins before the previous window ends; a window after a new life begins before that
-- life; or more restarts are seen than counted, but no window shows a new life. If a clock was set back, windows may
-- look the same as with mixed lives.
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
--   begins          bool       whether the history of the task begins in the window. This needs two things. First, the
--                              window shows no new life. Second, for this window and each earlier window with a
--                              counter: the window is not full, or it begins with `Received` and has as many
--                              `Restarting` events as its counter says
--   after_gap       bool       whether it does not join the window before it
--   new_life        bool       whether it shows that the client lost its state and began the task anew. One of these is
--                              enough: its counter is below that of an earlier window; it is not full, begins with the
--                              first run, and begins later than the previous window began; its first attempt is lower
--                              than the last attempt of the previous window, although its first time is later than the
--                              last time of that window, and the stored events do not prove that the previous window
--                              has its first event, too
--   lives_mixed     bool       whether the lives of its task are mixed, see above; the same in all windows of a task
--   stored_events   int64      number of stored events from the first to the last (attempt, time) of the window. It
--                              differs from window_events if a clock was changed or the client lost its state; null if
--                              the first or last event has no time
--   lost_before     int64      restarts that its counter includes, but the counter of no earlier window, and whose
--                              `Restarting` event is in no window; null without a counter, or if the counter falls

WITH state_windows AS (
  SELECT region, alloc_id, task, COALESCE(modify_index, 0) AS version, COALESCE(modified_at_ns, 0) AS version_ns,
         CASE WHEN window_last_attempt IS NULL THEN 0 ELSE 1 END AS has_attempts,
         COALESCE(window_last_attempt, 0) AS last_attempt, COALESCE(window_last_ns, 0) AS last_ns,
         COALESCE(window_first_attempt, 0) AS first_attempt, COALESCE(window_first_ns, 0) AS first_ns,
         window_events, window_restarting, COALESCE(window_first_type, '') AS first_type,
         COALESCE(restarts, -1) AS counter, modify_index, modified_at, modified_at_ns,
         COUNT(window_events) OVER (PARTITION BY region, alloc_id, task) AS states
  FROM task_state_history
  WHERE window_events > 0 AND NOT placeholder
), windows_with_counts AS (
  SELECT s.*, e.events, e.restarting, e.earliest_ns, e.latest_ns,
         CASE WHEN e.has_rounded THEN 1 ELSE 0 END AS has_rounded
  FROM state_windows AS s
  LEFT JOIN event_counts AS e ON e.region = s.region AND e.alloc_id = s.alloc_id AND e.task = s.task
), windows_marked_alone AS (
  -- If the only window of a task reaches from the earliest event of the task to the latest, there is nothing to order.
  SELECT *,
         CASE WHEN states = 1 AND has_rounded = 0 AND first_ns > 0 AND first_ns = earliest_ns AND last_ns = latest_ns
              THEN 1 ELSE 0 END AS is_alone
  FROM windows_with_counts
), windows_of_crowded_tasks AS (
  -- Several rows of one version can show the same window, since sources differ in their other fields.
  SELECT region, alloc_id, task, version, version_ns, has_attempts, last_attempt, last_ns, first_attempt, first_ns,
         window_events, window_restarting, first_type, counter, has_rounded,
         MAX(CASE WHEN has_rounded = 0 THEN restarting ELSE 0 END) AS restarting,
         MAX(modify_index) AS modify_index, MAX(modified_at) AS modified_at, MAX(modified_at_ns) AS modified_at_ns
  FROM windows_marked_alone
  WHERE is_alone = 0
  GROUP BY region, alloc_id, task, version, version_ns, has_attempts, last_attempt, last_ns, first_attempt, first_ns,
           window_events, window_restarting, first_type, counter, has_rounded
), ordered_windows AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, alloc_id, task
                                 ORDER BY version, version_ns, has_attempts, last_attempt, last_ns, first_attempt,
                                          first_ns, window_events, window_restarting, first_type, counter)
              AS BIGINT) AS window_no,
         MIN(has_attempts) OVER (PARTITION BY region, alloc_id, task) AS all_have_attempts
  FROM windows_of_crowded_tasks
), comparable_windows AS (
  -- If the times of a document went through a float, all times of the task are compared as floats, so that the exact
  -- and the rounded time of one event are equal.
  SELECT *,
         CASE WHEN has_rounded = 1 THEN CAST(CAST(first_ns AS DOUBLE) AS BIGINT) ELSE first_ns END AS first_place,
         CASE WHEN has_rounded = 1 THEN CAST(CAST(last_ns AS DOUBLE) AS BIGINT) ELSE last_ns END AS last_place
  FROM ordered_windows
), flags_by_task AS (
  SELECT region, alloc_id, task, MIN(all_have_attempts) AS all_have_attempts, MAX(has_rounded) AS has_rounded
  FROM ordered_windows
  GROUP BY region, alloc_id, task
), placed_events AS (
  -- If any window of the task has no attempts, the attempt of a stored event can depend on the order of documents. Then
  -- the events of the task are placed by time alone.
  SELECT e.region, e.alloc_id, e.task,
         CASE WHEN t.all_have_attempts = 1 THEN COALESCE(e.attempt, 0) ELSE 0 END AS place_attempt,
         CASE WHEN t.has_rounded = 1 THEN CAST(CAST(COALESCE(e.event_at_ns, 0) AS DOUBLE) AS BIGINT)
              ELSE COALESCE(e.event_at_ns, 0) END AS place_ns,
         CASE WHEN e.event_type = 'Restarting' THEN 1 ELSE 0 END AS is_restarting,
         CASE WHEN e.times_rounded THEN 1 ELSE 0 END AS is_rounded
  FROM task_events AS e
  JOIN flags_by_task AS t ON t.region = e.region AND t.alloc_id = e.alloc_id AND t.task = e.task
), events_by_place AS (
  SELECT region, alloc_id, task, place_attempt, place_ns, is_restarting,
         SUM(is_rounded) AS rounded_events, SUM(1 - is_rounded) AS exact_events
  FROM placed_events
  GROUP BY region, alloc_id, task, place_attempt, place_ns, is_restarting
), places_and_bounds AS (
  SELECT region, alloc_id, task, 0 AS window_no, place_attempt, place_ns, 1 AS mark,
         CASE WHEN exact_events > 0 THEN exact_events ELSE rounded_events END AS events,
         CASE WHEN is_restarting = 0 THEN 0 WHEN exact_events > 0 THEN exact_events
              ELSE rounded_events END AS restarting
  FROM events_by_place
  UNION ALL
  SELECT region, alloc_id, task, window_no,
         CASE WHEN all_have_attempts = 1 THEN first_attempt ELSE 0 END AS place_attempt,
         first_place AS place_ns, 0 AS mark, 0 AS events, 0 AS restarting
  FROM comparable_windows
  UNION ALL
  SELECT region, alloc_id, task, window_no,
         CASE WHEN all_have_attempts = 1 THEN last_attempt ELSE 0 END AS place_attempt,
         last_place AS place_ns, 2 AS mark, 0 AS events, 0 AS restarting
  FROM comparable_windows
), places_with_sums AS (
  SELECT region, alloc_id, task, window_no, mark,
         SUM(events) OVER (PARTITION BY region, alloc_id, task ORDER BY place_attempt, place_ns, mark, window_no
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS events_up_to,
         SUM(restarting) OVER (PARTITION BY region, alloc_id, task ORDER BY place_attempt, place_ns, mark, window_no
                               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS restarting_up_to
  FROM places_and_bounds
), sums_by_window AS (
  SELECT region, alloc_id, task, window_no,
         MAX(CASE WHEN mark = 0 THEN events_up_to END) AS events_before,
         MAX(CASE WHEN mark = 2 THEN events_up_to END) AS events_up_to,
         MAX(CASE WHEN mark = 2 THEN restarting_up_to END) AS restarting_up_to
  FROM places_with_sums
  WHERE mark <> 1
  GROUP BY region, alloc_id, task, window_no
), windows_with_sums AS (
  SELECT w.*, s.events_before, s.events_up_to, s.restarting_up_to,
         CASE WHEN w.all_have_attempts = 1 AND w.first_ns > 0 AND w.last_ns > 0
                AND s.events_up_to - s.events_before = w.window_events THEN 1 ELSE 0 END AS is_exact
  FROM comparable_windows AS w
  JOIN sums_by_window AS s ON s.region = w.region AND s.alloc_id = w.alloc_id AND s.task = w.task
      AND s.window_no = w.window_no
), windows_with_previous AS (
  SELECT *,
         LAG(is_exact) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_is_exact,
         LAG(first_attempt) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_first_attempt,
         LAG(has_attempts) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_has_attempts,
         LAG(last_attempt) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_last_attempt,
         LAG(last_place) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_last_place,
         LAG(first_place) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_first_place,
         LAG(last_ns) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no) AS previous_last_ns,
         MAX(counter) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS most_counted,
         CASE WHEN window_events < 10 OR (first_type = 'Received' AND window_restarting = counter) THEN 1
              ELSE 0 END AS is_head
  FROM windows_with_sums
), windows_with_life AS (
  SELECT *,
         MIN(CASE WHEN counter < 0 THEN 1 ELSE is_head END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS is_head_so_far,
         CASE WHEN window_no = 1 THEN 0
              WHEN counter >= 0 AND counter < most_counted THEN 1
              WHEN first_ns = 0 OR previous_last_ns = 0 OR previous_first_place = 0 THEN 0
              WHEN window_events < 10 AND first_attempt < 2 AND first_place > previous_first_place THEN 1
              WHEN has_attempts = 1 AND previous_has_attempts = 1 AND first_attempt = previous_first_attempt
                AND first_place = previous_first_place THEN 0
              -- Here, the stored events from the first to the last event of the previous window are exactly its events.
              -- If this window begins among them, its first event is in both windows.
              WHEN previous_is_exact = 1 AND first_attempt < previous_last_attempt
                AND (first_attempt > previous_first_attempt
                     OR (first_attempt = previous_first_attempt AND first_place >= previous_first_place)) THEN 0
              WHEN has_attempts = 1 AND first_attempt < previous_last_attempt
                AND first_place > previous_last_place THEN 1
              ELSE 0 END AS is_new_life
  FROM windows_with_previous
), windows_with_new_life AS (
  SELECT *,
         MAX(CASE WHEN is_new_life = 1 THEN first_place ELSE 0 END)
           OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS new_life_place
  FROM windows_with_life
), judged_windows AS (
  SELECT n.region, n.alloc_id, n.task, n.window_no, n.modify_index, n.modified_at, n.modified_at_ns, n.window_events,
         CASE WHEN n.has_attempts = 1 THEN n.first_attempt END AS first_attempt,
         CASE WHEN n.first_ns > 0 THEN n.first_ns END AS first_ns,
         CASE WHEN n.last_ns > 0 THEN n.last_ns END AS last_ns,
         CASE WHEN n.counter >= 0 THEN n.counter END AS restarts,
         CASE WHEN n.is_head = 1 AND n.is_head_so_far = 1 AND n.is_new_life = 0 THEN TRUE ELSE FALSE END AS begins,
         CASE WHEN n.window_no = 1 THEN FALSE
              WHEN n.is_new_life = 1 THEN TRUE
              WHEN n.has_attempts <> n.previous_has_attempts THEN n.window_events >= 10
              WHEN n.first_attempt < n.previous_last_attempt THEN FALSE
              WHEN n.first_attempt = n.previous_last_attempt AND n.first_ns > 0
                AND n.first_place <= n.previous_last_place THEN FALSE
              WHEN n.window_events < 10 AND (n.first_ns = 0 OR n.previous_last_ns = 0) THEN FALSE
              ELSE TRUE END AS after_gap,
         n.is_new_life = 1 AS new_life,
         CASE WHEN n.first_ns > 0 AND (n.first_place < n.new_life_place) THEN 1 ELSE 0 END AS is_old_life,
         CASE WHEN n.first_ns > 0 AND n.first_place < n.previous_last_place THEN 1 ELSE 0 END AS is_older,
         n.counter, n.restarting,
         CASE WHEN n.first_ns > 0 AND n.last_ns > 0 THEN n.events_up_to - n.events_before END AS stored_events,
         CASE WHEN n.counter >= 0 AND n.counter = n.most_counted THEN n.counter - n.restarting_up_to END AS lost_up_to
  FROM windows_with_new_life AS n
), lives_by_task AS (
  SELECT region, alloc_id, task,
         MAX(CASE WHEN is_old_life = 1 OR (after_gap AND is_older = 1) THEN 1 ELSE 0 END) AS has_older,
         MAX(CASE WHEN new_life THEN 1 ELSE 0 END) AS has_new_life,
         MAX(counter) AS most_counted, MAX(restarting) AS restarting
  FROM judged_windows
  GROUP BY region, alloc_id, task
), windows_with_lives AS (
  SELECT j.*,
         l.has_older = 1 OR (l.has_new_life = 0 AND l.most_counted >= 0 AND l.restarting > l.most_counted)
           AS lives_mixed
  FROM judged_windows AS j
  JOIN lives_by_task AS l ON l.region = j.region AND l.alloc_id = j.alloc_id AND l.task = j.task
), windows_with_losses AS (
  SELECT *,
         MAX(COALESCE(lost_up_to, 0)) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS most_lost
  FROM windows_with_lives
)
SELECT region, alloc_id, task, CAST(1 AS BIGINT) AS window_no, modify_index, modified_at, modified_at_ns,
       CASE WHEN counter >= 0 THEN counter END AS restarts, window_events,
       CASE WHEN has_attempts = 1 THEN first_attempt END AS first_attempt, first_ns, last_ns,
       CASE WHEN window_events < 10 THEN TRUE
            WHEN first_type = 'Received' AND window_restarting = counter THEN TRUE
            ELSE FALSE END AS begins,
       FALSE AS after_gap, FALSE AS new_life, FALSE AS lives_mixed, events AS stored_events,
       CASE WHEN counter >= 0 THEN counter - restarting END AS lost_before
FROM windows_marked_alone
WHERE is_alone = 1
UNION ALL
SELECT region, alloc_id, task, window_no, modify_index, modified_at, modified_at_ns, restarts, window_events,
       first_attempt, first_ns, last_ns, begins, after_gap, new_life, lives_mixed,
       CAST(stored_events AS BIGINT) AS stored_events,
       CASE WHEN lost_up_to IS NOT NULL THEN
         CAST(most_lost - COALESCE(LAG(most_lost) OVER (PARTITION BY region, alloc_id, task ORDER BY window_no), 0)
              AS BIGINT)
       END AS lost_before
FROM windows_with_losses
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST, window_no NULLS LAST
