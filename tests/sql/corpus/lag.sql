-- Seconds since the previous event
SELECT alloc_id, task, event_type, (event_at_ns - LAG(event_at_ns, 1, event_at_ns) OVER (PARTITION BY alloc_id, task ORDER BY event_at_ns, ordinal)) / 1e9 AS seconds FROM task_events ORDER BY alloc_id, task, event_at_ns, ordinal;
-- The previous event, with a default
SELECT alloc_id, task, event_type, LAG(event_type, 1, 'first') OVER (PARTITION BY alloc_id, task ORDER BY event_at_ns, ordinal) AS before FROM task_events ORDER BY alloc_id, task, event_at_ns, ordinal;
-- The next event, with a default
SELECT alloc_id, task, event_type, LEAD(event_type, 1, 'last') OVER (PARTITION BY alloc_id, task ORDER BY event_at_ns, ordinal) AS after FROM task_events ORDER BY alloc_id, task, event_at_ns, ordinal;
-- An offset of two rows
SELECT alloc_id, task, attempt, LAG(attempt, 2, 0) OVER (PARTITION BY alloc_id, task ORDER BY attempt) AS earlier FROM attempts ORDER BY alloc_id, task, attempt;
-- Without a default
SELECT alloc_id, task, attempt, LAG(exit_code) OVER (PARTITION BY alloc_id, task ORDER BY attempt) AS before FROM attempts ORDER BY alloc_id, task, attempt;
-- Runs that ended differently from the previous one
SELECT alloc_id, task, attempt FROM (SELECT alloc_id, task, attempt, outcome, LAG(outcome, 1, outcome) OVER (PARTITION BY alloc_id, task ORDER BY attempt) AS before FROM attempts) AS t WHERE outcome <> before ORDER BY alloc_id, task, attempt;
-- Rises of the counter between versions
SELECT alloc_id, task, modify_index, restarts - LAG(restarts, 1, 0) OVER (PARTITION BY alloc_id, task ORDER BY modify_index, modified_at_ns) AS rise FROM task_state_history ORDER BY alloc_id, task, modify_index, rise;
-- Transitions of the client's status
SELECT alloc_id, client_status, LAG(client_status, 1, 'none') OVER (PARTITION BY alloc_id ORDER BY modify_index, modified_at_ns) AS before, modify_index FROM allocation_history ORDER BY alloc_id, modify_index, before;
-- A default that is a float
SELECT alloc_id, task, LAG(created_to_started_seconds, 1, -1.0) OVER (ORDER BY alloc_id, task) AS before FROM starts ORDER BY alloc_id, task;
-- An offset of 0
SELECT alloc_id, LAG(memory_mb, 0, -1) OVER (ORDER BY alloc_id) AS same FROM allocations ORDER BY alloc_id;
-- In descending order
SELECT alloc_id, task, attempt, LAG(attempt, 1, 0) OVER (PARTITION BY alloc_id, task ORDER BY attempt DESC) AS later FROM attempts ORDER BY alloc_id, task, attempt;
-- Bursts of failures: failures less than a minute apart
SELECT alloc_id, task, SUM(CASE WHEN gap > 60 THEN 1 ELSE 0 END) + 1 AS sessions FROM (SELECT alloc_id, task, (failed_at_ns - LAG(failed_at_ns, 1, failed_at_ns) OVER (PARTITION BY alloc_id, task ORDER BY failed_at_ns, attempt)) / 1e9 AS gap FROM failures) AS t GROUP BY alloc_id, task ORDER BY alloc_id, task;
