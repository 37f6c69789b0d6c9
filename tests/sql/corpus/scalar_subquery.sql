-- The newest events
SELECT job_id, task, event_type FROM task_events WHERE event_at_ns = (SELECT MAX(event_at_ns) FROM task_events) ORDER BY job_id, task, event_type;
-- Tasks that restart more than the mean
SELECT job_id, task, restarts FROM restarts WHERE restarts > (SELECT AVG(restarts) FROM restarts) ORDER BY job_id, task;
-- The worst task
SELECT job_id, task FROM restarts WHERE restarts = (SELECT MAX(restarts) FROM restarts) ORDER BY job_id, task;
-- Share of all failures
SELECT class, COUNT(*) * 100.0 / (SELECT COUNT(*) FROM failures) AS percent FROM failures GROUP BY class ORDER BY class;
-- Tasks that started slower than the mean of their job
SELECT s.alloc_id, s.task FROM starts s WHERE s.created_to_started_seconds > (SELECT AVG(t.created_to_started_seconds) FROM starts t WHERE t.job_id = s.job_id) ORDER BY s.alloc_id, s.task;
-- The number of failures next to each allocation
SELECT a.alloc_id, (SELECT COUNT(*) FROM failures f WHERE f.alloc_id = a.alloc_id) AS failures FROM allocations a ORDER BY a.alloc_id;
-- The last event next to each task
SELECT t.alloc_id, t.task, (SELECT MAX(e.event_at) FROM task_events e WHERE e.alloc_id = t.alloc_id AND e.task = t.task) AS last_event_at FROM task_states t ORDER BY t.alloc_id, t.task;
-- A subquery in HAVING
SELECT job_id, COUNT(*) AS n FROM task_events GROUP BY job_id HAVING COUNT(*) > (SELECT COUNT(*) FROM failures WHERE class = 'oom') ORDER BY job_id;
-- Events of the last ten minutes of the recording
SELECT event_type, COUNT(*) AS n FROM task_events WHERE event_at_ns > (SELECT MAX(observed_at_ns) FROM snapshots) - 600000000000 GROUP BY event_type ORDER BY event_type;
-- Tasks that failed
SELECT job_id, task, alloc_id FROM task_states WHERE alloc_id IN (SELECT alloc_id FROM failures) ORDER BY job_id, task, alloc_id;
-- Tasks that did not fail
SELECT job_id, task, alloc_id FROM task_states WHERE alloc_id NOT IN (SELECT alloc_id FROM failures) ORDER BY job_id, task, alloc_id;
-- NOT IN over nulls finds nothing
SELECT COUNT(*) AS n FROM allocations WHERE alloc_id NOT IN (SELECT previous_allocation FROM allocations);
-- EXISTS
SELECT a.job_id, a.alloc_id FROM allocations a WHERE EXISTS (SELECT 1 FROM failures f WHERE f.alloc_id = a.alloc_id AND f.class = 'oom') ORDER BY a.job_id, a.alloc_id;
-- NOT EXISTS
SELECT a.job_id, a.alloc_id FROM allocations a WHERE NOT EXISTS (SELECT * FROM task_events e WHERE e.alloc_id = a.alloc_id) ORDER BY a.job_id, a.alloc_id;
-- A scalar subquery without rows is null
SELECT (SELECT MAX(attempt) FROM failures WHERE class = 'nothing') AS n FROM period;
-- Events since the first failure
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= (SELECT MIN(failed_at) FROM failures);
