-- Which task was killed for memory, and how much did it have? (nomad #2203, #5887, #10435)
SELECT f.job_id, f.task, f.node_name, a.memory_mb, a.memory_max_mb, COUNT(*) AS kills, MAX(f.failed_at) AS last_at FROM failures f JOIN allocations a ON a.alloc_id = f.alloc_id WHERE f.class = 'oom' GROUP BY f.job_id, f.task, f.node_name, a.memory_mb, a.memory_max_mb ORDER BY kills DESC, f.job_id, f.node_name;
-- Which exits with 137 do not say that memory ran out? (nomad #23412)
SELECT job_id, task, COUNT(*) AS n FROM failures WHERE suspected_oom AND class <> 'oom' GROUP BY job_id, task ORDER BY n DESC, job_id, task;
-- How often did each allocation and task restart? (nomad #3060)
SELECT namespace, job_id, task, alloc_id, restarts, lost_restarts FROM coverage ORDER BY restarts DESC, namespace, job_id, task, alloc_id;
-- Which allocations hang in pending, and for how long? (nomad #3932, #19805)
SELECT alloc_id, job_id, node_name, (last_seen_at_ns - created_at_ns) / 1e9 AS seconds FROM allocations WHERE client_status = 'pending' AND desired_status = 'run' ORDER BY seconds DESC, alloc_id;
-- Which tasks wait for their first start?
SELECT job_id, task, alloc_id, outcome FROM starts WHERE outcome = 'waiting' ORDER BY job_id, task, alloc_id;
-- Which nodes lost allocations? (nomad #4437)
SELECT node_name, COUNT(*) AS lost FROM allocations WHERE client_status IN ('lost', 'unknown') GROUP BY node_name ORDER BY lost DESC, node_name;
-- Which nodes have the most failures of each class?
SELECT node_name, class, COUNT(*) AS n FROM failures GROUP BY node_name, class HAVING COUNT(*) >= 1 ORDER BY n DESC, node_name, class;
-- Does a new version of a job fail more often?
SELECT job_id, job_version, COUNT(DISTINCT alloc_id) AS allocations, COUNT(*) AS failures FROM failures GROUP BY job_id, job_version ORDER BY job_id, job_version;
-- Which exit codes are most frequent?
SELECT exit_code, COUNT(*) AS n, COUNT(*) * 100.0 / SUM(COUNT(*)) OVER () AS percent FROM failures GROUP BY exit_code ORDER BY n DESC, exit_code;
-- What was the last message of each failing task?
SELECT job_id, task, alloc_id, message FROM (SELECT job_id, task, alloc_id, message, ROW_NUMBER() OVER (PARTITION BY alloc_id, task ORDER BY failed_at_ns DESC, attempt DESC) AS n FROM failures) AS t WHERE n = 1 ORDER BY alloc_id, task;
-- The last message of each failing task, by QUALIFY
SELECT job_id, task, alloc_id, message FROM failures QUALIFY ROW_NUMBER() OVER (PARTITION BY alloc_id, task ORDER BY failed_at_ns DESC, attempt DESC) = 1 ORDER BY alloc_id, task;
-- The last event of each task
SELECT DISTINCT ON (alloc_id, task) alloc_id, task, event_type, event_at FROM task_events ORDER BY alloc_id, task, event_at_ns DESC, ordinal DESC;
-- How many events of each type are there, and when?
SELECT event_type, COUNT(*) AS n, MIN(event_at) AS first_at, MAX(event_at) AS last_at FROM task_events GROUP BY event_type ORDER BY event_type;
-- Events by type and namespace, as columns
SELECT namespace, COUNT(*) FILTER (WHERE event_type = 'Started') AS started, COUNT(*) FILTER (WHERE event_type = 'Terminated') AS terminated, COUNT(*) FILTER (WHERE event_type = 'Restarting') AS restarting FROM task_events GROUP BY namespace ORDER BY namespace;
-- Events by type and namespace as columns, by CASE
SELECT namespace, SUM(CASE WHEN event_type = 'Started' THEN 1 ELSE 0 END) AS started, SUM(CASE event_type WHEN 'Terminated' THEN 1 ELSE 0 END) AS terminated FROM task_events GROUP BY namespace ORDER BY namespace;
-- How long did batch jobs take?
SELECT job_id, outcome, duration_seconds FROM job_runs WHERE job_type = 'batch' ORDER BY job_id, job_version;
-- Median and 95th percentile of the first start
SELECT namespace, MEDIAN(created_to_started_seconds) AS p50, QUANTILE_CONT(created_to_started_seconds, 0.95) AS p95, COUNT(created_to_started_seconds) AS n FROM starts GROUP BY namespace ORDER BY namespace;
-- Quantiles in the spelling of the SQL standard
SELECT namespace, PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY created_to_started_seconds) AS p90, PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY created_to_started_seconds) AS p50 FROM starts GROUP BY namespace ORDER BY namespace;
-- Spread of the delays
SELECT job_id, STDDEV(delay_seconds) AS sd, VARIANCE(delay_seconds) AS v, STDDEV_POP(delay_seconds) AS sdp, VAR_POP(delay_seconds) AS vp FROM attempts GROUP BY job_id ORDER BY job_id;
-- Which jobs run in several namespaces?
SELECT job_id, COUNT(DISTINCT namespace) AS n FROM allocations GROUP BY job_id HAVING COUNT(DISTINCT namespace) > 1 ORDER BY job_id;
-- Names of the tasks of each group in one text
SELECT job_id, task_group, STRING_AGG(DISTINCT task, ', ' ORDER BY task) AS tasks FROM task_states GROUP BY job_id, task_group ORDER BY job_id, task_group;
-- Tasks with a lifecycle hook
SELECT task, lifecycle_hook, sidecar, COUNT(*) AS n FROM task_states WHERE lifecycle_hook IS NOT NULL GROUP BY task, lifecycle_hook, sidecar ORDER BY task, lifecycle_hook, sidecar;
-- Allocations that should stop and still run
SELECT alloc_id, job_id FROM allocations WHERE desired_status = 'stop' AND client_status NOT IN ('complete', 'failed', 'lost') ORDER BY alloc_id;
-- Jobs whose ID begins with `crash-`
SELECT DISTINCT job_id FROM allocations WHERE job_id LIKE 'crash-%' ORDER BY job_id;
-- Jobs whose ID does not begin with `crash`
SELECT DISTINCT job_id FROM allocations WHERE job_id NOT LIKE 'crash%' ORDER BY job_id;
-- Failures of one of three classes
SELECT class, COUNT(*) AS n FROM failures WHERE class IN ('oom', 'exit', 'signal') GROUP BY class ORDER BY class;
-- All columns of a statistic
SELECT * FROM crash_loops ORDER BY restarts_last_hour DESC, alloc_id, task;
-- Without duplicates
SELECT DISTINCT namespace, job_type FROM allocations ORDER BY namespace, job_type;
-- Union of two lists
SELECT job_id FROM failures UNION SELECT job_id FROM crash_loops ORDER BY job_id;
-- UNION ALL with a column that names the source
SELECT 'failure' AS kind, job_id, failed_at AS happened_at FROM failures UNION ALL SELECT 'reschedule' AS kind, job_id, replaced_at AS happened_at FROM reschedules ORDER BY happened_at, kind, job_id;
-- Jobs without a failure, by EXCEPT
SELECT job_id FROM task_states EXCEPT SELECT job_id FROM failures ORDER BY job_id;
-- Jobs with a failure and a reschedule, by INTERSECT
SELECT job_id FROM failures INTERSECT SELECT job_id FROM reschedules ORDER BY job_id;
-- Several common table expressions
WITH f AS (SELECT job_id, COUNT(*) AS failures FROM failures GROUP BY job_id), r AS (SELECT job_id, SUM(restarts) AS restarts FROM restarts GROUP BY job_id) SELECT r.job_id, r.restarts, COALESCE(f.failures, 0) AS failures FROM r LEFT JOIN f ON f.job_id = r.job_id ORDER BY r.job_id;
-- A common table expression that reads another one
WITH e AS (SELECT alloc_id, task, COUNT(*) AS n FROM task_events GROUP BY alloc_id, task), m AS (SELECT MAX(n) AS most FROM e) SELECT e.alloc_id, e.task, e.n FROM e CROSS JOIN m WHERE e.n = m.most ORDER BY e.alloc_id, e.task;
-- Remainder of negative numbers
SELECT -7 % 3 AS a, 7 % -3 AS b, MOD(-7, 3) AS c, -7 // 2 AS d FROM period;
-- Division of whole numbers
SELECT job_id, task, restarts / tasks AS per_task FROM restarts WHERE tasks > 0 ORDER BY namespace, job_id, task;
-- Division by zero
SELECT job_id, task, restarts / NULLIF(restarts_seen, 0) AS ratio FROM restarts ORDER BY namespace, job_id, task;
-- Priority of operators
SELECT 1 + 2 * 3 AS a, (1 + 2) * 3 AS b, NOT FALSE AND TRUE AS c, 2 - -3 AS d FROM period;
-- Three-valued logic
SELECT NULL AND FALSE AS a, NULL OR TRUE AS b, NOT CAST(NULL AS BOOLEAN) AS c, NULL = NULL AS d FROM period;
-- COALESCE of a DOUBLE and an integer
SELECT alloc_id, task, COALESCE(created_to_started_seconds, -1) AS s FROM starts ORDER BY alloc_id, task;
-- NULLIF, GREATEST and LEAST
SELECT alloc_id, NULLIF(client_status, 'running') AS odd, GREATEST(create_index, modify_index) AS newest, LEAST(cpu_shares, memory_mb) AS least FROM allocations ORDER BY alloc_id;
-- Concatenated texts
SELECT namespace || '/' || job_id || '/' || task AS place, COUNT(*) AS n FROM task_states GROUP BY namespace || '/' || job_id || '/' || task ORDER BY place;
-- CONCAT and || with null
SELECT alloc_id, task, CONCAT(task, ':', lifecycle_hook) AS a, task || lifecycle_hook AS b FROM task_states ORDER BY alloc_id, task;
-- Upper and lower case, trimmed
SELECT DISTINCT UPPER(event_type) AS u, LOWER(TRIM(event_type)) AS l, LENGTH(event_type) AS n FROM task_events ORDER BY u;
-- Parts of a name
SELECT alloc_id, SPLIT_PART(name, '.', 1) AS job, SPLIT_PART(alloc_id, '-', -1) AS tail FROM allocations ORDER BY alloc_id;
-- Searching in text
SELECT event_type, STRPOS(event_type, 'e') AS at, POSITION('t' IN event_type) AS t, STARTS_WITH(event_type, 'Task') AS s, CONTAINS(event_type, 'ing') AS c FROM task_events GROUP BY event_type ORDER BY event_type;
-- Mathematics
SELECT alloc_id, SQRT(memory_mb) AS a, POWER(2, alloc_index) AS b, LN(memory_mb) AS c, LOG10(memory_mb) AS d, EXP(alloc_index) AS e, ABS(-memory_mb) AS f, SIGN(memory_mb) AS g FROM allocations ORDER BY alloc_id;
-- BETWEEN and NOT BETWEEN
SELECT COUNT(*) FILTER (WHERE attempt BETWEEN 2 AND 5) AS a, COUNT(*) FILTER (WHERE attempt NOT BETWEEN 2 AND 5) AS b FROM attempts;
-- Ranks with ties
SELECT job_id, task, restarts, RANK() OVER (ORDER BY restarts DESC) AS r, DENSE_RANK() OVER (ORDER BY restarts DESC) AS d FROM restarts ORDER BY restarts DESC, namespace, job_id, task;
-- Ranks over nulls
SELECT alloc_id, task, RANK() OVER (ORDER BY created_to_started_seconds) AS r, ROW_NUMBER() OVER (ORDER BY created_to_started_seconds DESC NULLS LAST, alloc_id, task) AS n FROM starts ORDER BY alloc_id, task;
-- Nulls first
SELECT alloc_id, task, ROW_NUMBER() OVER (ORDER BY created_to_started_seconds NULLS FIRST, alloc_id, task) AS n FROM starts ORDER BY alloc_id, task;
-- Two directions in one window
SELECT job_id, task, ROW_NUMBER() OVER (PARTITION BY namespace ORDER BY restarts DESC, job_id ASC, task ASC) AS n FROM restarts ORDER BY namespace, n;
-- An expression in a window's order
SELECT alloc_id, task, attempt, ROW_NUMBER() OVER (PARTITION BY alloc_id, task ORDER BY -attempt) AS n FROM attempts ORDER BY alloc_id, task, attempt;
-- A moving sum of three
SELECT alloc_id, task, attempt, SUM(delay_seconds) OVER (PARTITION BY alloc_id, task ORDER BY attempt ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s, COUNT(*) OVER (PARTITION BY alloc_id, task ORDER BY attempt ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS n FROM attempts ORDER BY alloc_id, task, attempt;
-- A running mean
SELECT alloc_id, task, attempt, AVG(attempt) OVER (PARTITION BY alloc_id, task ORDER BY attempt) AS mean FROM attempts ORDER BY alloc_id, task, attempt;
-- The sum of the current and all later rows
SELECT alloc_id, task, attempt, SUM(attempt) OVER (PARTITION BY alloc_id, task ORDER BY attempt ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS rest FROM attempts ORDER BY alloc_id, task, attempt;
-- The first and the last value of a group
SELECT DISTINCT alloc_id, task, FIRST_VALUE(event_type) OVER (PARTITION BY alloc_id, task ORDER BY event_at_ns, ordinal) AS first_type, LAST_VALUE(event_type) OVER (PARTITION BY alloc_id, task ORDER BY event_at_ns, ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last_type FROM task_events ORDER BY alloc_id, task;
-- A named window
SELECT alloc_id, attempt, ROW_NUMBER() OVER w AS n, COUNT(*) OVER w AS m FROM attempts WINDOW w AS (PARTITION BY alloc_id, task ORDER BY attempt) ORDER BY alloc_id, task, attempt;
-- Restarts by cause, as a union
SELECT 'failure' AS cause, SUM(cause_failure) AS n FROM restarts UNION ALL SELECT 'oom', SUM(cause_oom) FROM restarts UNION ALL SELECT 'user', SUM(cause_user) FROM restarts ORDER BY cause;
-- GROUP BY ALL
SELECT namespace, client_status, COUNT(*) AS n FROM allocations GROUP BY ALL ORDER BY namespace, client_status;
-- GROUP BY and ORDER BY a position
SELECT namespace, client_status, COUNT(*) AS n FROM allocations GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;
-- GROUP BY an alias
SELECT CASE WHEN memory_mb > 100 THEN 'big' ELSE 'small' END AS size, COUNT(*) AS n FROM allocations GROUP BY size ORDER BY size;
-- A page of rows
SELECT alloc_id FROM allocations ORDER BY alloc_id LIMIT 5 OFFSET 3;
-- A page in the spelling of the SQL standard
SELECT alloc_id FROM allocations ORDER BY alloc_id FETCH FIRST 4 ROWS ONLY;
-- SELECT without FROM
SELECT 1 AS a, 'x' AS b, NULL AS c;
-- A VALUES list
SELECT v.class, COUNT(f.job_id) AS n FROM (VALUES ('oom'), ('exit'), ('health')) AS v (class) LEFT JOIN failures f ON f.class = v.class GROUP BY v.class ORDER BY v.class;
-- The row with the largest value
SELECT job_id, ARG_MAX(alloc_id, modify_index) AS newest, MAX_BY(client_status, modify_index) AS status FROM allocations GROUP BY job_id ORDER BY job_id;
-- Concurrency: tasks that were alive at each first start
SELECT s.alloc_id, s.task, COUNT(*) AS alive FROM starts s JOIN starts o ON o.started_at_ns <= s.started_at_ns AND (o.ended_at_ns IS NULL OR o.ended_at_ns > s.started_at_ns) WHERE s.started_at_ns IS NOT NULL GROUP BY s.alloc_id, s.task ORDER BY s.alloc_id, s.task;
-- The last failure before each restart
SELECT r.alloc_id, r.task, r.restarted_at_ns, MAX(f.failed_at_ns) AS failed_at_ns FROM restart_log r LEFT JOIN failures f ON f.alloc_id = r.alloc_id AND f.task = r.task AND f.failed_at_ns <= r.restarted_at_ns GROUP BY r.alloc_id, r.task, r.restarted_at_ns ORDER BY r.alloc_id, r.task, r.restarted_at_ns;
-- Upper-case keywords and names
select ALLOC_ID from Allocations order by Alloc_Id;
-- How complete is each snapshot?
SELECT observed_at, is_full_listing, allocations, task_events, new_task_events FROM snapshots ORDER BY observed_at, content_hash;
-- Minutes between snapshots
SELECT observed_at, (observed_at_ns - LAG(observed_at_ns) OVER (ORDER BY observed_at_ns)) / 6e10 AS minutes FROM snapshots ORDER BY observed_at;
-- Share of failures by node, above a threshold
WITH t AS (SELECT node_name, COUNT(*) AS n FROM failures GROUP BY node_name) SELECT node_name, ROUND(100.0 * n / (SELECT SUM(n) FROM t), 1) AS percent FROM t WHERE n > 0 ORDER BY percent DESC, node_name;
-- A histogram of attempts
SELECT LEAST(attempt, 5) AS bucket, COUNT(*) AS n FROM attempts GROUP BY LEAST(attempt, 5) ORDER BY bucket;
-- Which failures repeat the same message in a row?
SELECT COUNT(*) AS n FROM (SELECT message, LAG(message) OVER (PARTITION BY alloc_id, task ORDER BY failed_at_ns, attempt) AS before FROM failures) AS t WHERE message = before;
-- Correlation of restarts with memory
SELECT CORR(c.restarts, a.memory_mb) AS r FROM coverage c JOIN allocations a ON a.alloc_id = c.alloc_id;
-- A subquery in FROM without a name
SELECT MAX(n) AS most FROM (SELECT COUNT(*) AS n FROM task_events GROUP BY alloc_id);
-- The number of distinct pairs
SELECT COUNT(DISTINCT (alloc_id, task)) AS tasks FROM task_events;
-- All columns except two
SELECT * EXCLUDE (message, details) FROM task_events WHERE attempt = 1 AND event_type = 'Started' ORDER BY alloc_id, task;
-- Totals under the rows
SELECT namespace, COUNT(*) AS n FROM allocations GROUP BY ROLLUP (namespace) ORDER BY namespace NULLS LAST, n;
-- Lists
SELECT job_id, LIST(alloc_id ORDER BY alloc_id) AS ids FROM allocations GROUP BY job_id ORDER BY job_id;
-- A series of minutes
SELECT g AS minute FROM generate_series(0, 10) AS s (g) ORDER BY g;
-- A recursive chain of replacements
WITH RECURSIVE chain AS (SELECT alloc_id, 0 AS depth FROM allocations WHERE previous_allocation IS NULL UNION ALL SELECT a.alloc_id, c.depth + 1 FROM allocations a JOIN chain c ON a.previous_allocation = c.alloc_id) SELECT depth, COUNT(*) AS n FROM chain GROUP BY depth ORDER BY depth;
-- A difference of timestamps as a column
SELECT alloc_id, modified_at - created_at AS span FROM allocations ORDER BY alloc_id;
-- Rows for each part of a list
SELECT job_id, UNNEST(string_split(job_id, '-')) AS part FROM allocations ORDER BY job_id, part;
-- A timestamp as text
SELECT CAST(created_at AS VARCHAR) AS t FROM allocations ORDER BY t;
-- Events by type, with ORDER BY ALL
SELECT event_type, COUNT(*) AS n FROM task_events GROUP BY ALL ORDER BY ALL;
-- Failures by job, with ORDER BY ALL DESC
SELECT job_id, COUNT(*) AS n FROM failures GROUP BY job_id ORDER BY all DESC;
-- SPLIT_PART with an empty separator
SELECT task, SPLIT_PART(task, '', 1) AS first, SPLIT_PART(task, '', -1) AS last, SPLIT_PART(task, '', 99) AS none FROM restarts ORDER BY task, job_id, namespace;
-- Two misspelt columns
SELECT job_idx, tusk FROM restarts WHERE restart > 1 ORDER BY job_idx;
