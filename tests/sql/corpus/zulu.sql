-- Events since a moment, as our own outputs print it
SELECT event_type, COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23T18:30:00Z' GROUP BY event_type ORDER BY event_type;
-- Between two
SELECT COUNT(*) AS n FROM task_events WHERE event_at BETWEEN '2026-11-23T18:30:00Z' AND '2026-11-23T18:35:00Z';
-- With microseconds
SELECT COUNT(*) AS n FROM task_events WHERE event_at < '2026-11-23T18:33:50.875584Z';
-- Equal to one
SELECT alloc_id, attempt FROM restart_log WHERE restarted_at = '2026-11-23T18:33:50.875584Z' ORDER BY alloc_id, attempt;
-- With an offset
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23T19:30:00+01:00';
-- Without a zone it is UTC
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23 18:30:00';
-- A day
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23' AND event_at < '2026-11-24';
-- CAST
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= CAST('2026-11-23T18:30:00Z' AS TIMESTAMP);
-- The operator
SELECT COUNT(*) AS n FROM allocations WHERE created_at < '2026-11-23T18:30:00Z'::TIMESTAMPTZ;
-- The literal
SELECT COUNT(*) AS n FROM allocations WHERE created_at < TIMESTAMP '2026-11-23 18:30:00';
-- The literal with a zone
SELECT COUNT(*) AS n FROM allocations WHERE created_at < TIMESTAMPTZ '2026-11-23 18:30:00Z';
-- The literal on the left
SELECT COUNT(*) AS n FROM allocations WHERE '2026-11-23T18:30:00Z' < modified_at;
-- In a list
SELECT COUNT(*) AS n FROM restart_log WHERE restarted_at IN ('2026-11-23T18:33:50.875584Z', '2026-11-23T18:35:41.788116Z');
-- In CASE
SELECT alloc_id, CASE WHEN created_at < '2026-11-23T18:30:00Z' THEN 'before' ELSE 'after' END AS side FROM allocations ORDER BY alloc_id;
-- A date column
SELECT COUNT(*) AS n FROM task_events WHERE event_date = '2026-11-23';
-- A date literal
SELECT COUNT(*) AS n FROM task_events WHERE event_date >= DATE '2026-11-23';
-- In a join's condition
SELECT a.job_id, COUNT(*) AS n FROM allocations a JOIN task_events e ON e.alloc_id = a.alloc_id AND e.event_at > '2026-11-23T18:35:00Z' GROUP BY a.job_id ORDER BY a.job_id;
