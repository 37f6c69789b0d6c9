-- log_attempts: How many runs of each task are known only from logs of agents?
--
-- One row is one task with a run that logs show and task_events lacks.
--
-- Columns:
--   region    string  region given by `--region`; empty without it
--   alloc_id  string  allocation ID
--   task      string  task name
--   attempts  int64   runs with a known attempt number that have events in logs, but none in task_events

WITH logged_attempts AS (
  SELECT DISTINCT region, alloc_id, task, attempt
  FROM recovered_events
  WHERE is_listed AND attempt IS NOT NULL
), shown_attempts AS (
  SELECT DISTINCT e.region, e.alloc_id, e.task, e.attempt
  FROM task_events AS e
  JOIN logged_attempts AS l ON l.region = e.region AND l.alloc_id = e.alloc_id AND l.task = e.task
      AND l.attempt = e.attempt
), new_attempts AS (
  SELECT l.region, l.alloc_id, l.task, l.attempt
  FROM logged_attempts AS l
  LEFT JOIN shown_attempts AS s ON s.region = l.region AND s.alloc_id = l.alloc_id AND s.task = l.task
      AND s.attempt = l.attempt
  WHERE s.attempt IS NULL
)
SELECT region, alloc_id, task, CAST(COUNT(*) AS BIGINT) AS attempts
FROM new_attempts
GROUP BY region, alloc_id, task
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST
