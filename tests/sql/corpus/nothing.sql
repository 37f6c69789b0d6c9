-- SUM of no rows
SELECT SUM(restarts) AS n FROM restarts WHERE job_id = 'no such job';
-- SUM of only nulls
SELECT event_type, SUM(exit_code) AS n FROM task_events GROUP BY event_type ORDER BY event_type;
-- Other aggregates of only nulls
SELECT COUNT(*) AS n, COUNT(exit_code) AS known, SUM(exit_code) AS total, AVG(exit_code) AS mean, MIN(exit_code) AS least FROM task_events WHERE event_type = 'Received';
-- Null replaced by 0 with COALESCE
SELECT event_type, COALESCE(SUM(exit_code), 0) AS n FROM task_events GROUP BY event_type ORDER BY event_type;
-- FILTER that no row passes
SELECT job_id, SUM(attempt) FILTER (WHERE class = 'nothing') AS n FROM failures GROUP BY job_id ORDER BY job_id;
-- SUM of only nulls over a window
SELECT alloc_id, task, attempt, SUM(exit_code) OVER (PARTITION BY alloc_id, task) AS n FROM attempts ORDER BY alloc_id, task, attempt;
-- SUM of a CASE that matches nothing
SELECT job_id, SUM(CASE WHEN class = 'nothing' THEN 1 END) AS n FROM failures GROUP BY job_id ORDER BY job_id;
-- SUM of floats that may all be null
SELECT job_id, SUM(image_seconds) AS seconds FROM starts GROUP BY job_id ORDER BY job_id;
-- SUM of only nulls in HAVING
SELECT event_type FROM task_events GROUP BY event_type HAVING SUM(exit_code) IS NULL ORDER BY event_type;
-- SUM of sums
SELECT SUM(n) AS n FROM (SELECT SUM(signal) AS n FROM task_events GROUP BY event_type) AS t;
-- A left join that finds nothing
SELECT a.alloc_id, SUM(f.attempt) AS n FROM allocations a LEFT JOIN failures f ON f.alloc_id = a.alloc_id GROUP BY a.alloc_id ORDER BY a.alloc_id;
-- MAX and MIN of nothing
SELECT MAX(job_id) AS a, MIN(event_at) AS b, STDDEV(attempt) AS c, MEDIAN(attempt) AS d FROM task_events WHERE FALSE;
