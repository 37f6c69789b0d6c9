-- Dispatched and periodic children counted under the ID of their parent
SELECT regexp_replace(job_id, '/(periodic|dispatch)-.*$', '') AS parent, COUNT(*) AS n FROM allocations GROUP BY 1 ORDER BY 1;
-- Numbers replaced in messages, so that similar messages are counted together
SELECT regexp_replace(message, '[0-9]+', 'N', 'g') AS pattern, COUNT(*) AS n FROM task_events GROUP BY 1 ORDER BY 1;
-- Only the first match replaced
SELECT DISTINCT regexp_replace(message, '[0-9]+', 'N') AS pattern FROM task_events ORDER BY pattern;
-- Groups used in the replacement
SELECT DISTINCT regexp_replace(event_type, '^(\w+) (\w+)$', '\2 \1') AS swapped FROM task_events ORDER BY swapped;
-- The exit code extracted from a message
SELECT regexp_extract(message, 'Exit Code: ([0-9]+)', 1) AS code, COUNT(*) AS n FROM task_events WHERE event_type = 'Terminated' GROUP BY 1 ORDER BY 1;
-- Messages that match a regular expression
SELECT event_type, COUNT(*) AS n FROM task_events WHERE regexp_matches(message, 'Exit Code: [1-9]') GROUP BY event_type ORDER BY event_type;
-- IDs shortened
SELECT DISTINCT regexp_replace(alloc_id, '-.*', '') AS short FROM allocations ORDER BY short;
-- Messages without paths
SELECT regexp_replace(message, '/[^ ]*', '…', 'g') AS pattern, COUNT(*) AS n FROM failures GROUP BY pattern ORDER BY pattern;
-- A dollar sign in the replacement is not a group
SELECT DISTINCT regexp_replace(task, 'a', '$1') AS t FROM task_states ORDER BY t;
-- Without regard to upper and lower case
SELECT DISTINCT regexp_replace(event_type, '(?i)TASK', 'x') AS t FROM task_events ORDER BY t;
-- Without a match, an empty text is extracted
SELECT DISTINCT regexp_extract(task, '[0-9]+$') AS number FROM task_states ORDER BY number;
-- LIKE with an escape
SELECT COUNT(*) AS n FROM task_events WHERE message LIKE '%100!%%' ESCAPE '!';
-- ILIKE
SELECT event_type, COUNT(*) AS n FROM task_events WHERE message ILIKE '%exit code%' GROUP BY event_type ORDER BY event_type;
-- Plain REPLACE
SELECT DISTINCT REPLACE(event_type, ' ', '_') AS name FROM task_events ORDER BY name;
-- Messages that contain an `a`, by SIMILAR TO
SELECT COUNT(*) AS n FROM task_events WHERE message SIMILAR TO '.*a.*';
