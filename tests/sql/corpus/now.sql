-- Events of the last five minutes
SELECT event_type, COUNT(*) AS n FROM task_events WHERE event_at > NOW() - INTERVAL '5 minutes' GROUP BY event_type ORDER BY event_type;
-- With the standard's name
SELECT COUNT(*) AS n FROM task_events WHERE event_at > CURRENT_TIMESTAMP - INTERVAL '1 hour';
-- Age of each allocation in seconds
SELECT alloc_id, EXTRACT(EPOCH FROM (NOW() - created_at)) AS age FROM allocations ORDER BY alloc_id;
-- Failures of the last day
SELECT class, COUNT(*) AS n FROM failures WHERE failed_at >= NOW() - INTERVAL '1 day' GROUP BY class ORDER BY class;
-- Those of the last 24 hours, as numbers
SELECT COUNT(*) AS n FROM failures WHERE failed_at >= NOW() - INTERVAL 24 HOUR;
-- What is pending for longer than a minute
SELECT job_id, alloc_id FROM allocations WHERE client_status = 'pending' AND created_at < NOW() - INTERVAL '1 minute' ORDER BY job_id, alloc_id;
-- Seconds since the last event of each job
SELECT job_id, DATE_DIFF('second', MAX(event_at), NOW()) AS seconds FROM task_events GROUP BY job_id ORDER BY job_id;
-- The moment itself
SELECT NOW() AS now, CURRENT_TIMESTAMP AS same FROM period;
-- Today
SELECT COUNT(*) AS n FROM task_events WHERE event_date = CURRENT_DATE;
-- Yesterday and before
SELECT COUNT(*) AS n FROM task_events WHERE event_date < CURRENT_DATE - INTERVAL '1 day';
-- This hour
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= DATE_TRUNC('hour', NOW());
-- A week back
SELECT COUNT(*) AS n FROM allocations WHERE modified_at BETWEEN NOW() - INTERVAL '7 days' AND NOW();
-- A month back
SELECT COUNT(*) AS n FROM allocations WHERE modified_at > CURRENT_TIMESTAMP - INTERVAL '1 month';
