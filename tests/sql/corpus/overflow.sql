-- A sum that exceeds the range of BIGINT: nanoseconds since 1970 of all events
SELECT SUM(event_at_ns) AS total FROM task_events;
-- The same sum for each job
SELECT job_id, SUM(event_at_ns) AS total FROM task_events GROUP BY job_id ORDER BY job_id;
-- Mean time of the events of each job in seconds, by SUM and COUNT
SELECT job_id, SUM(event_at_ns) / COUNT(*) / 1e9 AS mean_seconds FROM task_events GROUP BY job_id ORDER BY job_id;
-- The same mean by AVG
SELECT job_id, AVG(event_at_ns) / 1e9 AS mean_seconds FROM task_events GROUP BY job_id ORDER BY job_id;
-- A product that overflows
SELECT alloc_id, created_at_ns * 1000 AS picoseconds FROM allocations ORDER BY alloc_id;
-- A product that fits
SELECT alloc_id, memory_mb * 1024 * 1024 AS bytes FROM allocations ORDER BY alloc_id;
-- A sum of columns that overflows
SELECT MAX(created_at_ns + created_at_ns + created_at_ns + created_at_ns + created_at_ns + modified_at_ns) AS n FROM allocations;
-- The largest BIGINT plus one
SELECT 9223372036854775807 + 1 AS n FROM period;
-- The smallest BIGINT minus one
SELECT -9223372036854775807 - 2 AS n FROM period;
-- A sum of values converted to DOUBLE
SELECT SUM(CAST(event_at_ns AS DOUBLE)) AS total FROM task_events;
-- A running total that overflows
SELECT event_at_ns, SUM(event_at_ns) OVER (ORDER BY event_at_ns, alloc_id, ordinal) AS total FROM task_events WHERE job_id = 'api';
-- A total over a window that overflows
SELECT COUNT(*) AS n FROM (SELECT SUM(event_at_ns) OVER (PARTITION BY job_id) AS total FROM task_events WHERE job_id = 'api') AS t WHERE total > 0;
-- Differences of times, which fit a BIGINT
SELECT alloc_id, modified_at_ns - created_at_ns AS ns FROM allocations ORDER BY alloc_id;
-- Sums of differences of times, which also fit
SELECT job_id, SUM(modified_at_ns - created_at_ns) / 1e9 AS seconds FROM allocations GROUP BY job_id ORDER BY job_id;
-- An overflow in a branch that no row takes
SELECT COUNT(*) AS n FROM (SELECT CASE WHEN attempt > 1000000 THEN event_at_ns * 1000 ELSE attempt END AS x FROM task_events) AS t WHERE x > 0;
