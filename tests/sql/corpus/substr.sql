-- Allocations by the last characters of their ID
SELECT SUBSTR(alloc_id, -4) AS tail, job_id FROM allocations ORDER BY alloc_id;
-- The first eight characters, as Nomad shows them
SELECT SUBSTR(alloc_id, 1, 8) AS short, job_id FROM allocations ORDER BY alloc_id;
-- SUBSTRING … FROM … FOR
SELECT SUBSTRING(alloc_id FROM 1 FOR 8) AS short FROM allocations ORDER BY alloc_id;
-- Four characters, counted from the end
SELECT SUBSTRING(alloc_id, -12, 4) AS part FROM allocations ORDER BY alloc_id;
-- A start before the beginning of the text
SELECT SUBSTR(task, -100) AS whole, SUBSTR(task, -100, 99) AS part FROM task_states ORDER BY alloc_id, task;
-- A start of 0
SELECT SUBSTR(task, 0) AS a, SUBSTR(task, 0, 2) AS b FROM task_states ORDER BY alloc_id, task;
-- Characters, not bytes
SELECT DISTINCT SUBSTR(task, -3) AS tail, SUBSTR(task, 2, 2) AS part FROM task_states ORDER BY tail, part;
-- Characters counted from the end, in WHERE
SELECT job_id FROM job_runs WHERE SUBSTR(job_id, -10, 4) IS NOT NULL ORDER BY job_id, job_version;
-- LEFT and RIGHT
SELECT LEFT(alloc_id, 8) AS head, RIGHT(alloc_id, 4) AS tail FROM allocations ORDER BY alloc_id;
-- Negative LEFT and RIGHT
SELECT LEFT(alloc_id, -28) AS head, RIGHT(alloc_id, -32) AS tail FROM allocations ORDER BY alloc_id;
-- The start computed for each row
SELECT DISTINCT SUBSTR(event_type, LENGTH(event_type) - 2) AS tail, SUBSTR(event_type, STRPOS(event_type, ' ') + 1) AS word FROM task_events ORDER BY tail, word;
-- GROUP BY the last characters
SELECT SUBSTR(node_id, -2) AS tail, COUNT(*) AS n FROM allocations GROUP BY SUBSTR(node_id, -2) ORDER BY tail;
