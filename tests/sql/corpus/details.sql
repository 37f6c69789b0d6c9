-- Exit codes as the events spell them
SELECT details->>'exit_code' AS code, COUNT(*) AS n FROM task_events WHERE event_type = 'Terminated' GROUP BY details->>'exit_code' ORDER BY code;
-- By a JSON path
SELECT json_extract_string(details, '$.exit_code') AS code, COUNT(*) AS n FROM task_events WHERE event_type = 'Terminated' GROUP BY json_extract_string(details, '$.exit_code') ORDER BY code;
-- A value as a number
SELECT CAST(details->>'exit_code' AS BIGINT) AS code, COUNT(*) AS n FROM task_events GROUP BY 1 ORDER BY 1;
-- A value in WHERE
SELECT job_id, COUNT(*) AS n FROM task_events WHERE details->>'exit_code' = '137' GROUP BY job_id ORDER BY job_id;
-- Why a task was restarted
SELECT details->>'restart_reason' AS reason, COUNT(*) AS n FROM task_events WHERE event_type = 'Restarting' GROUP BY 1 ORDER BY 1;
-- The delay before a start, in seconds
SELECT alloc_id, attempt, CAST(details->>'start_delay' AS BIGINT) / 1e9 AS seconds FROM task_events WHERE event_type = 'Restarting' ORDER BY alloc_id, attempt;
-- Images and artifacts
SELECT DISTINCT details->>'driver_message' AS message FROM task_events WHERE details->>'driver_message' IS NOT NULL ORDER BY message;
-- The JSON value, quoted
SELECT DISTINCT details->'signal' AS signal FROM task_events WHERE event_type = 'Terminated' ORDER BY signal;
-- The quoted JSON value by json_extract
SELECT DISTINCT json_extract(details, '$.signal') AS signal FROM task_events WHERE event_type = 'Terminated' ORDER BY signal;
-- Events that have a key
SELECT event_type, COUNT(*) AS n FROM task_events WHERE details->>'kill_timeout' IS NOT NULL GROUP BY event_type ORDER BY event_type;
-- A key that no event has
SELECT COUNT(*) AS n FROM task_events WHERE details->>'no_such_key' IS NOT NULL;
-- The detail `oom_killed` next to the column `oom_killed`
SELECT oom_killed, details->>'oom_killed' AS said, COUNT(*) AS n FROM task_events WHERE event_type = 'Terminated' GROUP BY oom_killed, details->>'oom_killed' ORDER BY oom_killed, said;
-- Text search in the whole column
SELECT event_type, COUNT(*) AS n FROM task_events WHERE details LIKE '%exit_code%' GROUP BY event_type ORDER BY event_type;
-- Events that fail their task, according to the details
SELECT job_id, event_type, COUNT(*) AS n FROM task_events WHERE details->>'fails_task' = 'true' GROUP BY job_id, event_type ORDER BY job_id, event_type;
