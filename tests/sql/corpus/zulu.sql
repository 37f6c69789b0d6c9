-- Events since a time, in the form in which alloclog prints times
SELECT event_type, COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23T18:30:00Z' GROUP BY event_type ORDER BY event_type;
-- Events between two times
SELECT COUNT(*) AS n FROM task_events WHERE event_at BETWEEN '2026-11-23T18:30:00Z' AND '2026-11-23T18:35:00Z';
-- A time with microseconds
SELECT COUNT(*) AS n FROM task_events WHERE event_at < '2026-11-23T18:33:50.875584Z';
-- Restarts at exactly one time
SELECT alloc_id, attempt FROM restart_log WHERE restarted_at = '2026-11-23T18:33:50.875584Z' ORDER BY alloc_id, attempt;
-- A time with an offset from UTC
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23T19:30:00+01:00';
-- A time without a zone, which is UTC
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23 18:30:00';
-- Events of one day
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= '2026-11-23' AND event_at < '2026-11-24';
-- A text converted by CAST
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= CAST('2026-11-23T18:30:00Z' AS TIMESTAMP);
-- A text converted by the operator ::
SELECT COUNT(*) AS n FROM allocations WHERE created_at < '2026-11-23T18:30:00Z'::TIMESTAMPTZ;
-- A TIMESTAMP literal
SELECT COUNT(*) AS n FROM allocations WHERE created_at < TIMESTAMP '2026-11-23 18:30:00';
-- A TIMESTAMPTZ literal
SELECT COUNT(*) AS n FROM allocations WHERE created_at < TIMESTAMPTZ '2026-11-23 18:30:00Z';
-- The text on the left side of the comparison
SELECT COUNT(*) AS n FROM allocations WHERE '2026-11-23T18:30:00Z' < modified_at;
-- Times in an IN list
SELECT COUNT(*) AS n FROM restart_log WHERE restarted_at IN ('2026-11-23T18:33:50.875584Z', '2026-11-23T18:35:41.788116Z');
-- A time in CASE
SELECT alloc_id, CASE WHEN created_at < '2026-11-23T18:30:00Z' THEN 'before' ELSE 'after' END AS side FROM allocations ORDER BY alloc_id;
-- A date column
SELECT COUNT(*) AS n FROM task_events WHERE event_date = '2026-11-23';
-- A date literal
SELECT COUNT(*) AS n FROM task_events WHERE event_date >= DATE '2026-11-23';
-- A time in the condition of a join
SELECT a.job_id, COUNT(*) AS n FROM allocations a JOIN task_events e ON e.alloc_id = a.alloc_id AND e.event_at > '2026-11-23T18:35:00Z' GROUP BY a.job_id ORDER BY a.job_id;
