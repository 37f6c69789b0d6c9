-- Quartiles of restarts
SELECT job_id, task, restarts, NTILE(4) OVER (ORDER BY restarts, job_id, task, namespace) AS quartile FROM restarts ORDER BY restarts, job_id, task, namespace;
-- Tenths of the starts by speed
SELECT alloc_id, task, NTILE(10) OVER (ORDER BY created_to_started_seconds, alloc_id, task) AS tenth FROM starts WHERE created_to_started_seconds IS NOT NULL ORDER BY tenth, alloc_id, task;
-- Halves in each namespace
SELECT namespace, alloc_id, NTILE(2) OVER (PARTITION BY namespace ORDER BY created_at, alloc_id) AS half FROM allocations ORDER BY namespace, alloc_id;
-- More buckets than rows
SELECT namespace, NTILE(100) OVER (ORDER BY namespace) AS bucket FROM (SELECT DISTINCT namespace FROM allocations) AS n ORDER BY namespace;
-- One bucket
SELECT alloc_id, NTILE(1) OVER (ORDER BY alloc_id) AS bucket FROM allocations ORDER BY alloc_id;
-- The slowest quarter
SELECT alloc_id, task FROM (SELECT alloc_id, task, NTILE(4) OVER (ORDER BY created_to_started_seconds DESC, alloc_id, task) AS q FROM starts WHERE created_to_started_seconds IS NOT NULL) AS t WHERE q = 1 ORDER BY alloc_id, task;
-- Bounds of each quarter
SELECT q, MIN(s) AS least, MAX(s) AS most, COUNT(*) AS n FROM (SELECT created_to_started_seconds AS s, NTILE(4) OVER (ORDER BY created_to_started_seconds, alloc_id, task) AS q FROM starts WHERE created_to_started_seconds IS NOT NULL) AS t GROUP BY q ORDER BY q;
-- In descending order
SELECT alloc_id, NTILE(3) OVER (ORDER BY memory_mb DESC, alloc_id) AS third FROM allocations ORDER BY third, alloc_id;
-- With PARTITION BY over two columns
SELECT namespace, job_id, task, NTILE(2) OVER (PARTITION BY namespace, job_id ORDER BY alloc_id, task) AS half FROM task_states ORDER BY namespace, job_id, alloc_id, task;
-- Next to other ranking functions
SELECT alloc_id, ROW_NUMBER() OVER (ORDER BY alloc_id) AS n, NTILE(5) OVER (ORDER BY alloc_id) AS fifth, PERCENT_RANK() OVER (ORDER BY alloc_id) AS p, CUME_DIST() OVER (ORDER BY alloc_id) AS c FROM allocations ORDER BY alloc_id;
