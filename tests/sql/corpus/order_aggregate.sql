-- Jobs with the most failures first
SELECT job_id FROM failures GROUP BY job_id ORDER BY COUNT(*) DESC, job_id;
-- Tasks by their latest event
SELECT task FROM task_events GROUP BY task ORDER BY MAX(event_at) DESC, task;
-- Nodes by memory in use
SELECT node_name FROM allocations GROUP BY node_name ORDER BY SUM(memory_mb) DESC, node_name;
-- The three tasks with the most events
SELECT job_id, task FROM task_events GROUP BY job_id, task ORDER BY COUNT(*) DESC, job_id, task LIMIT 3;
-- Classes by the number of tasks with such failures
SELECT class, COUNT(*) AS failures FROM failures GROUP BY class ORDER BY COUNT(DISTINCT task) DESC, class;
-- An expression of an aggregate
SELECT namespace FROM restarts GROUP BY namespace ORDER BY SUM(restarts) * 1.0 / COUNT(*) DESC, namespace;
-- A filtered aggregate
SELECT job_id FROM task_events GROUP BY job_id ORDER BY COUNT(*) FILTER (WHERE event_type = 'Restarting') DESC, job_id;
-- With HAVING
SELECT job_id FROM task_events GROUP BY job_id HAVING MAX(attempt) > 1 ORDER BY MAX(attempt) DESC, job_id;
-- By two aggregates
SELECT event_type FROM task_events GROUP BY event_type ORDER BY COUNT(DISTINCT job_id) DESC, MIN(event_at), event_type;
-- By a mean that may be null
SELECT job_id FROM starts GROUP BY job_id ORDER BY AVG(created_to_started_seconds) DESC NULLS LAST, job_id;
-- By a column that is grouped and not selected
SELECT COUNT(*) AS n FROM task_events GROUP BY job_id ORDER BY job_id;
-- By an alias and by an aggregate
SELECT job_id, COUNT(*) AS n FROM failures GROUP BY job_id ORDER BY n DESC, MAX(attempt) DESC, job_id;
