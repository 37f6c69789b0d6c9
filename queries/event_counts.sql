-- event_counts: How many events of each task do the sources show?
--
-- One row is one task with at least one event in task_events. Events that only logs show do not count.
--
-- Columns:
--   region         string  region given by `--region`; empty without it
--   alloc_id       string  allocation ID, unique within its region
--   task           string  task name
--   events         int64   events
--   restarting     int64   Restarting events among them
--   received       int64   Received events among them
--   attempts_seen  int64   runs of the task that have an event with a known attempt
--   earliest_ns    int64   time of the earliest event in nanoseconds since the epoch; 0 if an event has no time
--   latest_ns      int64   time of the latest event in nanoseconds since the epoch; 0 if no event has a time
--   has_rounded    bool    whether the time of at least one event comes from a document whose times went through a
--                          float

WITH counts_by_attempt AS (
  SELECT region, alloc_id, task, attempt, COUNT(*) AS events,
         SUM(CASE WHEN event_type = 'Restarting' THEN 1 ELSE 0 END) AS restarting,
         SUM(CASE WHEN event_type = 'Received' THEN 1 ELSE 0 END) AS received,
         MIN(COALESCE(event_at_ns, 0)) AS earliest_ns, MAX(COALESCE(event_at_ns, 0)) AS latest_ns,
         MAX(CASE WHEN times_rounded THEN 1 ELSE 0 END) AS has_rounded
  FROM task_events
  GROUP BY region, alloc_id, task, attempt
), counts_by_task AS (
  SELECT region, alloc_id, task, SUM(events) AS events, SUM(restarting) AS restarting, SUM(received) AS received,
         COUNT(attempt) AS attempts_seen, MIN(earliest_ns) AS earliest_ns, MAX(latest_ns) AS latest_ns,
         MAX(has_rounded) AS has_rounded
  FROM counts_by_attempt
  GROUP BY region, alloc_id, task
)
SELECT region, alloc_id, task, CAST(events AS BIGINT) AS events, CAST(restarting AS BIGINT) AS restarting,
       CAST(received AS BIGINT) AS received, CAST(attempts_seen AS BIGINT) AS attempts_seen, earliest_ns, latest_ns,
       has_rounded = 1 AS has_rounded
FROM counts_by_task
ORDER BY region NULLS LAST, alloc_id NULLS LAST, task NULLS LAST
