-- Restarts by node class
SELECT a.node_class, COUNT(*) AS n FROM task_events e JOIN allocations a ON e.alloc_id = a.alloc_id WHERE e.event_type = 'Restarting' GROUP BY a.node_class ORDER BY a.node_class;
-- Events by node name
SELECT a.node_name, e.event_type, COUNT(*) AS n FROM task_events AS e JOIN allocations AS a ON e.region = a.region AND e.alloc_id = a.alloc_id GROUP BY a.node_name, e.event_type ORDER BY a.node_name, e.event_type;
-- Memory of the jobs that ran out of memory
SELECT a.job_id, MAX(a.memory_mb) AS memory_mb, COUNT(*) AS failures FROM failures f JOIN allocations a ON a.alloc_id = f.alloc_id WHERE f.class = 'oom' GROUP BY a.job_id ORDER BY a.job_id;
-- Failures by job version
SELECT a.job_id, a.job_version, COUNT(*) AS failures FROM failures f JOIN allocations a USING (alloc_id) GROUP BY a.job_id, a.job_version ORDER BY failures DESC, a.job_id, a.job_version;
-- Tasks without any failure
SELECT t.job_id, t.task, t.alloc_id FROM task_states t LEFT JOIN failures f ON f.alloc_id = t.alloc_id AND f.task = t.task WHERE f.alloc_id IS NULL ORDER BY t.job_id, t.task, t.alloc_id;
-- The latest state of each task next to its lost restarts
SELECT c.job_id, c.task, s.state, c.lost_restarts FROM coverage c JOIN task_states s ON s.alloc_id = c.alloc_id AND s.task = c.task ORDER BY c.lost_restarts DESC, c.job_id, c.task, s.alloc_id;
-- A join of three tables
SELECT n.node_class, a.namespace, COUNT(DISTINCT s.task) AS tasks FROM task_states s JOIN allocations a ON a.alloc_id = s.alloc_id LEFT JOIN nodes n ON n.node_id = a.node_id GROUP BY n.node_class, a.namespace ORDER BY n.node_class, a.namespace;
-- HAVING on a qualified column
SELECT a.job_id, SUM(f.attempt) AS attempts FROM failures f JOIN allocations a ON a.alloc_id = f.alloc_id GROUP BY a.job_id HAVING COUNT(f.class) > 2 ORDER BY a.job_id;
-- A filter on one side of a left join
SELECT a.alloc_id, f.class, f.attempt FROM allocations a LEFT JOIN failures f ON f.alloc_id = a.alloc_id AND f.gave_up ORDER BY a.alloc_id, f.attempt;
-- A filter on a column that both sides have
SELECT r.job_id, r.task, f.failures FROM restarts r JOIN failure_summary f ON r.job_id = f.job_id AND r.task = f.task AND f.namespace = 'default' ORDER BY r.job_id, r.task, f.class, r.namespace;
-- Columns with the same name from both sides
SELECT r.tasks AS with_restarts, f.tasks AS with_failures, r.job_id FROM restarts r JOIN failure_summary f ON r.namespace = f.namespace AND r.job_id = f.job_id AND r.task_group = f.task_group AND r.task = f.task ORDER BY r.job_id, r.task, f.class;
-- Columns qualified by the name of a table without an alias
SELECT allocations.job_id, COUNT(*) AS n FROM task_states JOIN allocations ON task_states.alloc_id = allocations.alloc_id GROUP BY allocations.job_id ORDER BY allocations.job_id;
-- All columns of one side
SELECT f.* FROM failures f JOIN allocations a ON a.alloc_id = f.alloc_id WHERE a.namespace = 'prod' ORDER BY f.alloc_id, f.task, f.attempt, f.failed_at_ns;
-- A comma instead of JOIN
SELECT a.namespace, COUNT(*) AS n FROM task_events e, allocations a WHERE e.alloc_id = a.alloc_id GROUP BY a.namespace ORDER BY a.namespace;
-- A full join of two groupings
SELECT COALESCE(f.job_id, r.job_id) AS job_id, f.n AS failures, r.n AS restarts FROM (SELECT job_id, COUNT(*) AS n FROM failures GROUP BY job_id) f FULL JOIN (SELECT job_id, SUM(restarts) AS n FROM restarts GROUP BY job_id) r ON f.job_id = r.job_id ORDER BY COALESCE(f.job_id, r.job_id);
-- A right join
SELECT a.alloc_id, COUNT(f.class) AS failures FROM failures f RIGHT JOIN allocations a ON a.alloc_id = f.alloc_id GROUP BY a.alloc_id ORDER BY a.alloc_id;
