-- Allocations and their replacements
SELECT n.job_id, o.alloc_id AS old_id, n.alloc_id AS new_id, o.node_name AS old_node, n.node_name AS new_node FROM allocations n JOIN allocations o ON n.previous_allocation = o.alloc_id ORDER BY n.alloc_id;
-- Did a replacement land on another node?
SELECT n.alloc_id, n.node_id <> o.node_id AS moved FROM allocations n JOIN allocations o ON n.previous_allocation = o.alloc_id ORDER BY n.alloc_id;
-- Time between an allocation and its replacement
SELECT n.alloc_id, (n.created_at_ns - o.modified_at_ns) / 1e9 AS seconds FROM allocations AS n JOIN allocations AS o ON o.next_allocation = n.alloc_id ORDER BY n.alloc_id;
-- Pairs of tasks in one allocation
SELECT a.alloc_id, a.task AS one, b.task AS other FROM task_states a JOIN task_states b ON a.alloc_id = b.alloc_id AND a.task < b.task ORDER BY a.alloc_id, one, other;
-- Each run of a task and the next one
SELECT a.alloc_id, a.attempt, b.attempt AS next_attempt, a.exit_code, b.exit_code AS next_exit_code FROM attempts a JOIN attempts b ON a.alloc_id = b.alloc_id AND a.task = b.task AND b.attempt = a.attempt + 1 ORDER BY a.alloc_id, a.task, a.attempt;
-- Allocations of one job on one node
SELECT a.job_id, a.node_id, COUNT(*) AS pairs FROM allocations a JOIN allocations b ON a.job_id = b.job_id AND a.node_id = b.node_id WHERE a.alloc_id < b.alloc_id GROUP BY a.job_id, a.node_id ORDER BY a.job_id, a.node_id;
-- The start that follows each restart
SELECT r.alloc_id, r.task, r.attempt, MIN(s.event_at_ns) - MIN(r.event_at_ns) AS ns FROM task_events r JOIN task_events s ON r.alloc_id = s.alloc_id AND r.task = s.task AND s.event_at_ns > r.event_at_ns WHERE r.event_type = 'Restarting' AND s.event_type = 'Started' GROUP BY r.alloc_id, r.task, r.attempt ORDER BY r.alloc_id, r.task, r.attempt;
-- Pairs of versions of a job
SELECT a.job_id, a.job_version AS before, b.job_version AS after FROM allocations a JOIN allocations b ON a.job_id = b.job_id AND a.job_version < b.job_version GROUP BY a.job_id, a.job_version, b.job_version ORDER BY a.job_id, before, after;
-- All columns of one side
SELECT o.* FROM allocations n JOIN allocations o ON n.previous_allocation = o.alloc_id ORDER BY o.alloc_id;
-- Failed allocations that were not replaced
SELECT o.alloc_id FROM allocations o LEFT JOIN allocations n ON n.previous_allocation = o.alloc_id WHERE n.alloc_id IS NULL AND o.client_status = 'failed' ORDER BY o.alloc_id;
-- A common table expression joined with itself
WITH t AS (SELECT namespace, SUM(restarts) AS n FROM restarts GROUP BY namespace) SELECT a.namespace, b.namespace AS other, a.n - b.n AS more FROM t a JOIN t b ON a.namespace <> b.namespace ORDER BY a.namespace, b.namespace;
-- Every pair of namespaces, by CROSS JOIN
SELECT a.namespace AS one, b.namespace AS other FROM (SELECT DISTINCT namespace FROM allocations) a CROSS JOIN (SELECT DISTINCT namespace FROM allocations) b ORDER BY one, other;
