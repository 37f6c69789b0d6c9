-- Restarts so far in each job, over an order with ties
SELECT job_id, event_date, attempt, COUNT(*) OVER (PARTITION BY job_id ORDER BY event_date) AS so_far FROM task_events WHERE event_type = 'Restarting' ORDER BY job_id, attempt, so_far;
-- Running total of memory, where rows of the same job tie
SELECT job_id, alloc_id, SUM(memory_mb) OVER (ORDER BY job_id) AS total FROM allocations ORDER BY job_id, alloc_id;
-- Running count of failures by class
SELECT class, failed_at, COUNT(*) OVER (ORDER BY class) AS n FROM failures ORDER BY class, failed_at;
-- Running maximum over ties
SELECT task, restarts, MAX(restarts) OVER (ORDER BY task) AS worst FROM restarts ORDER BY task, restarts;
-- Running minimum over ties
SELECT namespace, restarts, MIN(restarts) OVER (ORDER BY namespace DESC) AS least FROM restarts ORDER BY namespace, restarts;
-- Running mean over ties
SELECT namespace, job_id, task, AVG(restarts) OVER (ORDER BY namespace) AS mean FROM restarts ORDER BY namespace, job_id, task;
-- An explicit ROWS frame
SELECT job_id, alloc_id, SUM(memory_mb) OVER (ORDER BY job_id, alloc_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS total FROM allocations ORDER BY job_id, alloc_id;
-- The default frame, written explicitly
SELECT job_id, alloc_id, SUM(memory_mb) OVER (ORDER BY job_id RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS total FROM allocations ORDER BY job_id, alloc_id;
-- LAST_VALUE in the default frame, which includes ties
SELECT namespace, COUNT(*) OVER (PARTITION BY namespace ORDER BY job_id) AS n, LAST_VALUE(job_id) OVER (PARTITION BY namespace ORDER BY job_id) AS last_job FROM allocations ORDER BY namespace, last_job;
-- Running sum where values are null
SELECT alloc_id, attempt, SUM(exit_code) OVER (PARTITION BY alloc_id ORDER BY attempt) AS total FROM attempts ORDER BY alloc_id, attempt;
-- Share of a running total
SELECT job_id, task, restarts, SUM(restarts) OVER (ORDER BY restarts DESC) * 100.0 / SUM(restarts) OVER () AS percent FROM restarts ORDER BY restarts DESC, job_id, task;
-- Ties in two columns
SELECT namespace, job_id, COUNT(*) OVER (ORDER BY namespace, job_id) AS n FROM task_states ORDER BY namespace, job_id;
-- A running total over days, where rows of the same day tie
SELECT event_date, SUM(n) OVER (ORDER BY event_date) AS total FROM (SELECT event_date, job_id, COUNT(*) AS n FROM task_events GROUP BY event_date, job_id) AS d ORDER BY event_date, total;
