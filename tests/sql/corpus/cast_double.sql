-- Whole seconds until the first start
SELECT alloc_id, task, CAST(created_to_started_seconds AS BIGINT) AS seconds FROM starts ORDER BY alloc_id, task;
-- A half in a DOUBLE is rounded to the even number
SELECT CAST(CAST(0.5 AS DOUBLE) AS BIGINT) AS a, CAST(CAST(1.5 AS DOUBLE) AS BIGINT) AS b, CAST(CAST(2.5 AS DOUBLE) AS BIGINT) AS c, CAST(CAST(-2.5 AS DOUBLE) AS BIGINT) AS d FROM period;
-- A half in a decimal literal is rounded away from zero
SELECT CAST(2.5 AS BIGINT) AS a, CAST(-2.5 AS BIGINT) AS b, CAST(2.4 AS BIGINT) AS c FROM period;
-- Minutes, rounded
SELECT job_id, CAST(SUM(delay_seconds) / 60 AS BIGINT) AS minutes FROM attempts GROUP BY job_id ORDER BY job_id;
-- To INTEGER
SELECT alloc_id, task, CAST(created_to_started_seconds * 10 AS INTEGER) AS tenths FROM starts ORDER BY alloc_id, task;
-- With the operator ::
SELECT alloc_id, task, (created_to_started_seconds * 100)::BIGINT AS hundredths FROM starts ORDER BY alloc_id, task;
-- FLOOR and CEIL instead of rounding
SELECT alloc_id, task, CAST(FLOOR(created_to_started_seconds) AS BIGINT) AS whole, CAST(CEIL(created_to_started_seconds) AS BIGINT) AS up FROM starts ORDER BY alloc_id, task;
-- Buckets of ten seconds
SELECT CAST(FLOOR(created_to_started_seconds / 10) AS BIGINT) * 10 AS bucket, COUNT(*) AS tasks FROM starts WHERE created_to_started_seconds IS NOT NULL GROUP BY CAST(FLOOR(created_to_started_seconds / 10) AS BIGINT) * 10 ORDER BY bucket;
-- A timestamp in whole seconds
SELECT alloc_id, CAST(created_at_ns / 1000000000 AS BIGINT) AS seconds FROM allocations ORDER BY alloc_id;
-- Integer division
SELECT alloc_id, created_at_ns // 1000000000 AS seconds FROM allocations ORDER BY alloc_id;
-- ROUND rounds halves away from zero
SELECT ROUND(CAST(2.5 AS DOUBLE)) AS a, ROUND(CAST(-2.5 AS DOUBLE)) AS b, ROUND(CAST(0.125 AS DOUBLE), 2) AS c FROM period;
-- Rounded rates
SELECT job_id, task, ROUND(restarts / task_days, 2) AS rate, CAST(restarts / task_days AS BIGINT) AS whole FROM restarts ORDER BY job_id, task;
-- A text converted to a number
SELECT CAST('137' AS BIGINT) AS a, CAST('2.5' AS DOUBLE) AS b, TRY_CAST('x' AS BIGINT) AS c FROM period;
-- Decimal halves that a DOUBLE cannot represent exactly
SELECT x, ROUND(x, 2) AS hundredths, ROUND(x, 1) AS tenths, ROUND(x, -1) AS tens FROM (VALUES (CAST(2.675 AS DOUBLE)), (CAST(1.005 AS DOUBLE)), (CAST(-0.285 AS DOUBLE)), (CAST(15 AS DOUBLE)), (CAST(1e300 AS DOUBLE))) AS v (x) ORDER BY x;
-- Times rounded to microseconds and to seconds, exactly
SELECT event_at_ns, ROUND(event_at_ns, -3) AS micros, ROUND(event_at_ns, -9) AS seconds, ROUND(-event_at_ns, -3) AS before, ROUND(event_at_ns, -19) AS nothing, ROUND(event_at_ns, 3) AS same FROM task_events ORDER BY event_at_ns, alloc_id, ordinal;
-- Milliseconds and seconds of an event
SELECT EPOCH_MS(event_at) AS millis, TO_TIMESTAMP(event_at_ns / 1000000000) AS at FROM task_events ORDER BY event_at_ns, alloc_id, ordinal;
