-- Events of the last five minutes
SELECT event_type, COUNT(*) AS n FROM task_events WHERE event_at > NOW() - INTERVAL '5 minutes' GROUP BY event_type ORDER BY event_type;
-- CURRENT_TIMESTAMP, the standard name of NOW()
SELECT COUNT(*) AS n FROM task_events WHERE event_at > CURRENT_TIMESTAMP - INTERVAL '1 hour';
-- Age of each allocation in seconds
SELECT alloc_id, EXTRACT(EPOCH FROM (NOW() - created_at)) AS age FROM allocations ORDER BY alloc_id;
-- Failures of the last day
SELECT class, COUNT(*) AS n FROM failures WHERE failed_at >= NOW() - INTERVAL '1 day' GROUP BY class ORDER BY class;
-- Failures of the last 24 hours, where the interval has an unquoted number
SELECT COUNT(*) AS n FROM failures WHERE failed_at >= NOW() - INTERVAL 24 HOUR;
-- Allocations that have been pending for more than a minute
SELECT job_id, alloc_id FROM allocations WHERE client_status = 'pending' AND created_at < NOW() - INTERVAL '1 minute' ORDER BY job_id, alloc_id;
-- Seconds since the last event of each job
SELECT job_id, DATE_DIFF('second', MAX(event_at), NOW()) AS seconds FROM task_events GROUP BY job_id ORDER BY job_id;
-- NOW() as a column
SELECT NOW() AS now, CURRENT_TIMESTAMP AS same FROM period;
-- Events of today
SELECT COUNT(*) AS n FROM task_events WHERE event_date = CURRENT_DATE;
-- Events before yesterday
SELECT COUNT(*) AS n FROM task_events WHERE event_date < CURRENT_DATE - INTERVAL '1 day';
-- Events of this hour
SELECT COUNT(*) AS n FROM task_events WHERE event_at >= DATE_TRUNC('hour', NOW());
-- Allocations that changed within the last week
SELECT COUNT(*) AS n FROM allocations WHERE modified_at BETWEEN NOW() - INTERVAL '7 days' AND NOW();
-- Allocations that changed within the last month
SELECT COUNT(*) AS n FROM allocations WHERE modified_at > CURRENT_TIMESTAMP - INTERVAL '1 month';
