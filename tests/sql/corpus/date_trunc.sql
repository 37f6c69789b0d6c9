-- Events per minute
SELECT DATE_TRUNC('minute', event_at) AS minute, COUNT(*) AS n FROM task_events GROUP BY DATE_TRUNC('minute', event_at) ORDER BY minute;
-- Restarts per minute and job
SELECT DATE_TRUNC('minute', event_at) AS minute, job_id, COUNT(*) AS n FROM task_events WHERE event_type = 'Restarting' GROUP BY 1, 2 ORDER BY 1, 2;
-- Failures per hour
SELECT DATE_TRUNC('hour', failed_at) AS hour, class, COUNT(*) AS n FROM failures GROUP BY hour, class ORDER BY hour, class;
-- Allocations per day
SELECT DATE_TRUNC('day', created_at) AS day, COUNT(*) AS n FROM allocations GROUP BY DATE_TRUNC('day', created_at) ORDER BY day;
-- Weeks begin on Monday
SELECT DISTINCT DATE_TRUNC('week', event_at) AS week FROM task_events ORDER BY week;
-- Months, quarters and years
SELECT DISTINCT DATE_TRUNC('month', event_at) AS month, DATE_TRUNC('quarter', event_at) AS quarter, DATE_TRUNC('year', event_at) AS year FROM task_events ORDER BY month;
-- Times truncated to seconds
SELECT alloc_id, DATE_TRUNC('second', modified_at) AS second FROM allocations ORDER BY alloc_id;
-- Month of a date column
SELECT DISTINCT DATE_TRUNC('month', event_date) AS month FROM task_events ORDER BY month;
-- In WHERE
SELECT COUNT(*) AS n FROM task_events WHERE DATE_TRUNC('hour', event_at) = '2026-11-23T18:00:00Z';
-- Buckets of five minutes
SELECT TIME_BUCKET(INTERVAL '5 minutes', event_at) AS bucket, COUNT(*) AS n FROM task_events GROUP BY bucket ORDER BY bucket;
-- Parts of a timestamp
SELECT alloc_id, EXTRACT(HOUR FROM created_at) AS h, EXTRACT(MINUTE FROM created_at) AS m, DATE_PART('dow', created_at) AS dow FROM allocations ORDER BY alloc_id;
-- Seconds since 1970
SELECT alloc_id, EXTRACT(EPOCH FROM created_at) AS seconds FROM allocations ORDER BY alloc_id;
-- Events by hour of day
SELECT HOUR(event_at) AS hour, COUNT(*) AS n FROM task_events GROUP BY HOUR(event_at) ORDER BY hour;
-- Minutes as text
SELECT STRFTIME(event_at, '%Y-%m-%d %H:%M') AS minute, COUNT(*) AS n FROM task_events GROUP BY minute ORDER BY minute;
-- Unit boundaries between two timestamps
SELECT alloc_id, DATE_DIFF('second', created_at, modified_at) AS seconds, DATE_DIFF('minute', created_at, modified_at) AS minutes FROM allocations ORDER BY alloc_id;
-- Seconds between two timestamps
SELECT alloc_id, EXTRACT(EPOCH FROM (modified_at - created_at)) AS seconds FROM allocations ORDER BY alloc_id;
-- Two months after the end of January
SELECT TIMESTAMP '2026-01-31' + 2 * INTERVAL '1 month' AS a, TIMESTAMP '2026-01-31' + (INTERVAL '1 month' + INTERVAL '1 day') AS b, TIMESTAMP '2026-03-31' - INTERVAL '1 month' * 2 AS c, TIMESTAMP '2026-01-31' + (-INTERVAL '1 month') AS d;
-- Allocations older than a month
SELECT COUNT(*) AS n FROM allocations WHERE last_known_at - created_at > INTERVAL '1 month';
-- Weeks between creation and now
SELECT job_id, DATE_DIFF('week', created_at, NOW()) AS weeks FROM allocations ORDER BY job_id, alloc_id;
