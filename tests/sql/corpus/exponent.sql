-- Seconds from nanoseconds
SELECT alloc_id, (modified_at_ns - created_at_ns) / 1e9 AS seconds FROM allocations ORDER BY alloc_id;
-- Milliseconds from nanoseconds
SELECT alloc_id, (modified_at_ns - created_at_ns) / 1e6 AS ms FROM allocations ORDER BY alloc_id;
-- A literal in WHERE
SELECT alloc_id FROM allocations WHERE modified_at_ns - created_at_ns > 6e10 ORDER BY alloc_id;
-- A negative exponent in WHERE
SELECT alloc_id, task FROM starts WHERE created_to_started_seconds > 1e-1 ORDER BY alloc_id, task;
-- Upper case and a sign
SELECT 1E3 AS a, 2.5e+2 AS b, 1e-3 AS c FROM period;
-- Delays in seconds
SELECT alloc_id, attempt, start_delay_ns / 1e9 AS seconds FROM task_events WHERE start_delay_ns > 0 ORDER BY alloc_id, attempt;
-- Means in seconds
SELECT job_id, AVG(modified_at_ns - created_at_ns) / 1e9 AS seconds FROM allocations GROUP BY job_id ORDER BY job_id;
-- Seconds rounded to milliseconds
SELECT job_id, ROUND(MAX(modified_at_ns - created_at_ns) / 1e9, 3) AS seconds FROM allocations GROUP BY job_id ORDER BY job_id;
-- A literal in CASE
SELECT alloc_id, CASE WHEN modified_at_ns - created_at_ns > 1e11 THEN 'long' ELSE 'short' END AS length FROM allocations ORDER BY alloc_id;
-- A literal converted to a whole number
SELECT CAST(1e9 AS BIGINT) AS second FROM period;
-- Kill timeouts
SELECT DISTINCT kill_timeout_ns / 1e9 AS seconds FROM task_events WHERE kill_timeout_ns IS NOT NULL ORDER BY seconds;
