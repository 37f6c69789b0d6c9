-- Did any attempt run out of memory?
SELECT job_id, BOOL_OR(oom_killed) AS any_oom FROM task_events GROUP BY job_id ORDER BY job_id;
-- Is every task of a job complete?
SELECT job_id, BOOL_AND(complete) AS whole FROM coverage GROUP BY job_id ORDER BY job_id;
-- BOOL_OR and BOOL_AND in one query
SELECT namespace, BOOL_OR(tail_lost) AS any_lost, BOOL_AND(begins) AS all_begin FROM coverage GROUP BY namespace ORDER BY namespace;
-- Without GROUP BY
SELECT BOOL_OR(gave_up) AS any_gave_up, BOOL_AND(gave_up) AS all_gave_up FROM failures;
-- Over no rows
SELECT BOOL_OR(gave_up) AS any_gave_up, BOOL_AND(gave_up) AS all_gave_up FROM failures WHERE class = 'nothing';
-- With a condition as the argument
SELECT job_id, BOOL_OR(exit_code = 137) AS killed FROM attempts GROUP BY job_id ORDER BY job_id;
-- In HAVING
SELECT job_id, COUNT(*) AS n FROM failures GROUP BY job_id HAVING BOOL_OR(gave_up) ORDER BY job_id;
-- With FILTER
SELECT job_id, BOOL_OR(gave_up) FILTER (WHERE class = 'oom') AS oom_gave_up FROM failures GROUP BY job_id ORDER BY job_id;
-- As a window function
SELECT alloc_id, task, attempt, BOOL_OR(gave_up) OVER (PARTITION BY alloc_id, task) AS any_gave_up FROM failures ORDER BY alloc_id, task, attempt;
-- Negated
SELECT node_name, NOT BOOL_OR(failed) AS clean FROM task_states GROUP BY node_name ORDER BY node_name;
-- Over groups with only nulls
SELECT client_status, BOOL_AND(deployment_healthy) AS healthy FROM allocations GROUP BY client_status ORDER BY client_status;
-- In ORDER BY
SELECT job_id FROM coverage GROUP BY job_id ORDER BY BOOL_AND(complete), job_id;
