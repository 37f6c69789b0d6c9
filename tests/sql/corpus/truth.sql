-- Which tasks are known to be complete?
SELECT job_id, task, alloc_id FROM coverage WHERE complete IS TRUE ORDER BY job_id, task, alloc_id;
-- Which tasks are incomplete, or not known to be complete?
SELECT job_id, task, alloc_id FROM coverage WHERE complete IS NOT TRUE ORDER BY job_id, task, alloc_id;
-- Which events do not say that memory ran out?
SELECT event_type, COUNT(*) AS n FROM task_events WHERE oom_killed IS NOT TRUE GROUP BY event_type ORDER BY event_type;
-- Which events say that memory ran out?
SELECT job_id, COUNT(*) AS n FROM task_events WHERE oom_killed IS TRUE GROUP BY job_id ORDER BY job_id;
-- Events that say that memory did not run out
SELECT COUNT(*) AS n FROM task_events WHERE oom_killed IS FALSE;
-- Events for which `oom_killed` is true or null
SELECT COUNT(*) AS n FROM task_events WHERE oom_killed IS NOT FALSE;
-- For each allocation, is its deployment healthy? Unknown is a third answer.
SELECT alloc_id, deployment_healthy IS TRUE AS healthy, deployment_healthy IS FALSE AS unhealthy, deployment_healthy IS NULL AS unknown FROM allocations ORDER BY alloc_id;
-- Is a condition on a nullable number known to hold?
SELECT alloc_id, attempt, (exit_code > 1) IS TRUE AS bad, (exit_code > 1) IS NOT FALSE AS maybe FROM attempts ORDER BY alloc_id, task, attempt;
-- IS UNKNOWN
SELECT COUNT(*) AS n FROM allocations WHERE deployment_healthy IS UNKNOWN;
-- IS NOT UNKNOWN
SELECT COUNT(*) AS n FROM allocations WHERE deployment_healthy IS NOT UNKNOWN;
-- Tasks that begin, and whose last events are not certainly lost
SELECT job_id, COUNT(*) AS tasks FROM coverage WHERE tail_lost IS NOT TRUE AND begins IS TRUE GROUP BY job_id ORDER BY job_id;
-- Counts of truth values in one row
SELECT SUM(CASE WHEN oom_killed IS TRUE THEN 1 ELSE 0 END) AS yes, SUM(CASE WHEN oom_killed IS FALSE THEN 1 ELSE 0 END) AS no, SUM(CASE WHEN oom_killed IS NULL THEN 1 ELSE 0 END) AS unknown FROM task_events;
-- Null is not distinct from null
SELECT COUNT(*) AS n FROM task_states WHERE lifecycle_hook IS NOT DISTINCT FROM NULL;
-- Exit codes that are distinct from 0, including unknown codes
SELECT job_id, COUNT(*) AS n FROM attempts WHERE exit_code IS DISTINCT FROM 0 GROUP BY job_id ORDER BY job_id;
