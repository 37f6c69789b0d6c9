-- job_runs: How did each run of a batch job end, and how long did it take?
--
-- One row is one version of a job that runs to an end: a job of type batch or sysbatch, or an instance that was
-- dispatched or started periodically.
-- Allocations that were replaced do not decide the outcome, unless all allocations of the run were replaced: then all
-- of them decide it. If all tasks of a lost allocation are dead, the allocation counts as failed if one of its tasks
-- failed, else as complete. An allocation that is complete and was told to stop counts as complete if the last run of a
-- main task ended with exit code 0. It counts as unknown if such an end may be missing, because events are lost, the
-- client lost its state, a clock changed the order of events, or no source shows the tasks. Otherwise, it counts as
-- stopped. A main task is a task without a hook; if no source lists hooks, all tasks count as main tasks. An allocation
-- that ran longer than max_run_duration failed. The run is running if one of its allocations is running. Otherwise, its
-- outcome is the first of failed, lost, unknown, stopped and complete that one of its allocations has.
-- The period selects rows by created_at.
--
-- Exported: yes
-- Columns:
--   region            string     region given by `--region`; empty without it
--   namespace         string     Nomad namespace
--   job_id            string     job ID of the instance
--   parent_job_id     string     job that it is an instance of: the part of job_id before `/dispatch-` or `/periodic-`;
--                                job_id if it has neither
--   job_type          string     batch, sysbatch or another; null if no source shows it
--   job_version       int64      version of the job; null if no source shows it
--   outcome           string     complete, failed, stopped, lost, running, or unknown (an allocation vanished or may
--                                have vanished before it was seen to end, or it was told to stop and its end is not in
--                                view)
--   created_at        timestamp  when its first allocation was created, by the server's clock
--   created_at_ns     int64      the same in nanoseconds since the epoch
--   finished_at       timestamp  when its last task ended, by the client's clock; null if the outcome is running, lost
--                                or unknown. Also null if the end is not in view because Nomad shows only a placeholder
--                                for a task
--   finished_at_ns    int64      the same in nanoseconds since the epoch
--   duration_seconds  double     from created_at to finished_at; measured with two clocks
--   allocations       int64      allocations, replaced ones included
--   attempts          int64      sum over its allocations of 1 plus the largest Restarts counter among the tasks of the
--                                allocation; null if a client lost its state, because the counter then may not include
--                                all restarts

WITH allocations_with_parent AS (
  SELECT *,
         -- Does not use POSITION and SUBSTR, because polars counts bytes in POSITION and characters in SUBSTR.
         CASE WHEN job_id LIKE '_%/dispatch-%' THEN SPLIT_PART(job_id, '/dispatch-', 1)
              WHEN job_id LIKE '_%/periodic-%' THEN SPLIT_PART(job_id, '/periodic-', 1) END AS parent
  FROM allocations
), batch_allocations AS (
  SELECT *
  FROM allocations_with_parent
  WHERE job_type IN ('batch', 'sysbatch') OR parent IS NOT NULL
), replaced_ids AS (
  SELECT region, previous_allocation AS replaced_id
  FROM allocations
  WHERE previous_allocation IS NOT NULL
  UNION ALL
  SELECT region, rescheduled_from_alloc_id AS replaced_id
  FROM allocations
  WHERE rescheduled_from_alloc_id IS NOT NULL
  UNION ALL
  SELECT region, alloc_id AS replaced_id
  FROM allocations
  WHERE next_allocation IS NOT NULL
), replaced_allocations AS (
  SELECT DISTINCT region, replaced_id
  FROM replaced_ids
), placeholders AS (
  -- Nomad also writes placeholders for tasks whose state the client has lost.
  SELECT DISTINCT region, alloc_id, task
  FROM task_state_history
  WHERE placeholder
), uncounted_tasks AS (
  SELECT region, alloc_id, task
  FROM coverage
  WHERE restarts IS NOT NULL AND lost_restarts IS NULL
), tasks_by_allocation AS (
  SELECT s.region, s.alloc_id, COUNT(s.task) AS tasks,
         SUM(CASE WHEN s.state = 'dead' THEN 1 ELSE 0 END) AS dead_tasks,
         MAX(CASE WHEN s.failed THEN 1 ELSE 0 END) AS has_failed,
         MAX(COALESCE(s.restarts, 0)) AS most_restarts,
         MAX(CASE WHEN u.region IS NULL THEN 0 ELSE 1 END) AS is_uncounted,
         MAX(CASE WHEN p.region IS NULL THEN 0 ELSE 1 END) AS has_placeholder,
         MAX(s.ended_at) AS ended_at, MAX(s.ended_at_ns) AS ended_at_ns
  FROM task_states AS s
  LEFT JOIN placeholders AS p ON p.region = s.region AND p.alloc_id = s.alloc_id AND p.task = s.task
  LEFT JOIN uncounted_tasks AS u ON u.region = s.region AND u.alloc_id = s.alloc_id AND u.task = s.task
  GROUP BY s.region, s.alloc_id
), timeouts_by_allocation AS (
  SELECT region, alloc_id, MAX(CASE WHEN class = 'timeout' THEN 1 ELSE 0 END) AS has_timeout
  FROM endings
  GROUP BY region, alloc_id
), stopped_events AS (
  SELECT t.region, t.alloc_id, t.task, t.run, t.event_no, t.event_type, t.exit_code, t.signal, t.is_started
  FROM timeline AS t
  JOIN batch_allocations AS b ON b.region = t.region AND b.alloc_id = t.alloc_id
  WHERE b.client_status = 'complete' AND b.desired_status IN ('stop', 'evict')
), stopped_tasks AS (
  SELECT region, alloc_id, task, MAX(event_no) AS last_no, MAX(run) AS last_run,
         MAX(CASE WHEN event_type = 'Restarting' THEN event_no ELSE 0 END) AS restarting_no,
         MAX(CASE WHEN event_type = 'Terminated' THEN event_no ELSE 0 END) AS end_no,
         MAX(CASE WHEN event_type = 'Terminated' THEN run ELSE 0 END) AS end_run,
         MAX(CASE WHEN event_type = 'Terminated' AND exit_code = 0 AND COALESCE(signal, 0) = 0 THEN event_no ELSE 0 END)
           AS clean_exit_no,
         MAX(CASE WHEN is_started IS NULL THEN event_no ELSE 0 END) AS blind_no,
         SUM(CASE WHEN event_type = 'Received' THEN 1 ELSE 0 END) AS received
  FROM stopped_events
  GROUP BY region, alloc_id, task
), stopped_tasks_with_end AS (
  -- An exit with a restart after it did not end the task.
  SELECT *, CASE WHEN end_no > restarting_no AND end_run = last_run THEN end_no END AS last_end_no
  FROM stopped_tasks
), unordered_tasks AS (
  SELECT DISTINCT region, alloc_id, task
  FROM windows
  WHERE new_life OR lives_mixed
), stops_by_allocation AS (
  -- Ignores tasks with a hook. An end with exit code 0 may be hidden in four cases. First, the client lost its state
  -- and received the task again. The client then counts runs from 1 again, so the last run is not known. Second, the
  -- order of events is not known. Third, no end is in view, and the task was last seen alive. Fourth, no end is in
  -- view, and the events before the last event of the task are lost.
  SELECT s.region, s.alloc_id,
         MAX(CASE WHEN u.region IS NULL AND t.last_end_no = t.clean_exit_no THEN 1 ELSE 0 END) AS has_clean_exit,
         MAX(CASE WHEN t.received > 1 OR p.region IS NOT NULL OR u.region IS NOT NULL THEN 1
                  WHEN t.last_end_no IS NOT NULL THEN 0 WHEN s.state <> 'dead' THEN 1
                  WHEN t.blind_no = t.last_no THEN 1 ELSE 0 END) AS has_hidden_end
  FROM task_states AS s
  JOIN batch_allocations AS b ON b.region = s.region AND b.alloc_id = s.alloc_id
  LEFT JOIN stopped_tasks_with_end AS t ON t.region = s.region AND t.alloc_id = s.alloc_id AND t.task = s.task
  LEFT JOIN placeholders AS p ON p.region = s.region AND p.alloc_id = s.alloc_id AND p.task = s.task
  LEFT JOIN unordered_tasks AS u ON u.region = s.region AND u.alloc_id = s.alloc_id AND u.task = s.task
  WHERE s.task IS NOT NULL AND s.lifecycle_hook IS NULL
  GROUP BY s.region, s.alloc_id
), judged_allocations AS (
  SELECT b.region, b.namespace, b.job_id, COALESCE(b.parent, b.job_id) AS parent_job_id, b.job_type, b.job_version,
         b.created_at, b.created_at_ns,
         t.ended_at, t.ended_at_ns, t.most_restarts, COALESCE(t.is_uncounted, 0) AS is_uncounted,
         COALESCE(t.has_placeholder, 0) AS has_placeholder,
         CASE WHEN r.replaced_id IS NULL THEN 1 ELSE 0 END AS is_last,
         -- If an allocation vanished, or may have vanished, its end is not known.
         CASE WHEN COALESCE(b.vanished, TRUE) THEN 'unknown'
              WHEN b.client_status = 'failed' THEN 'failed'
              WHEN b.client_status = 'complete' AND e.has_timeout = 1 THEN 'failed'
              WHEN b.client_status = 'complete' AND b.desired_status IN ('stop', 'evict')
                AND COALESCE(h.has_clean_exit, 0) = 0
                THEN CASE WHEN h.has_hidden_end = 0 THEN 'stopped' ELSE 'unknown' END
              WHEN b.client_status = 'complete' THEN 'complete'
              WHEN b.client_status = 'lost' AND t.tasks > 0 AND t.dead_tasks = t.tasks
                THEN CASE WHEN t.has_failed = 1 THEN 'failed' ELSE 'complete' END
              WHEN b.client_status = 'lost' THEN 'lost'
              ELSE 'running' END AS verdict
  FROM batch_allocations AS b
  LEFT JOIN replaced_allocations AS r ON r.region = b.region AND r.replaced_id = b.alloc_id
  LEFT JOIN tasks_by_allocation AS t ON t.region = b.region AND t.alloc_id = b.alloc_id
  LEFT JOIN timeouts_by_allocation AS e ON e.region = b.region AND e.alloc_id = b.alloc_id
  LEFT JOIN stops_by_allocation AS h ON h.region = b.region AND h.alloc_id = b.alloc_id
), allocations_within_run AS (
  SELECT *, MAX(is_last) OVER (PARTITION BY region, namespace, job_id, job_version) AS has_last
  FROM judged_allocations
), runs_with_counts AS (
  SELECT region, namespace, job_id, parent_job_id, job_version, MAX(job_type) AS job_type,
         MIN(created_at) AS created_at, MIN(created_at_ns) AS created_at_ns, MAX(ended_at) AS ended_at,
         MAX(ended_at_ns) AS ended_at_ns,
         MAX(has_placeholder) AS has_placeholder, MAX(is_uncounted) AS is_uncounted,
         COUNT(*) AS allocations, SUM(1 + COALESCE(most_restarts, 0)) AS attempts,
         SUM(CASE WHEN is_last = has_last AND verdict = 'running' THEN 1 ELSE 0 END) AS running,
         SUM(CASE WHEN is_last = has_last AND verdict = 'failed' THEN 1 ELSE 0 END) AS failed,
         SUM(CASE WHEN is_last = has_last AND verdict = 'lost' THEN 1 ELSE 0 END) AS lost,
         SUM(CASE WHEN is_last = has_last AND verdict = 'unknown' THEN 1 ELSE 0 END) AS unknown,
         SUM(CASE WHEN is_last = has_last AND verdict = 'stopped' THEN 1 ELSE 0 END) AS stopped
  FROM allocations_within_run
  GROUP BY region, namespace, job_id, parent_job_id, job_version
), runs_with_outcome AS (
  SELECT *,
         CASE WHEN running > 0 THEN 'running' WHEN failed > 0 THEN 'failed' WHEN lost > 0 THEN 'lost'
              WHEN unknown > 0 THEN 'unknown' WHEN stopped > 0 THEN 'stopped' ELSE 'complete' END AS outcome
  FROM runs_with_counts
), runs_with_end AS (
  SELECT *,
         CASE WHEN has_placeholder = 0 AND outcome IN ('complete', 'failed', 'stopped')
                THEN ended_at END AS finished_at,
         CASE WHEN has_placeholder = 0 AND outcome IN ('complete', 'failed', 'stopped')
                THEN ended_at_ns END AS finished_at_ns
  FROM runs_with_outcome
)
SELECT f.region, f.namespace, f.job_id, f.parent_job_id, f.job_type, f.job_version, f.outcome,
       f.created_at, f.created_at_ns, f.finished_at, f.finished_at_ns,
       ROUND(CAST(f.finished_at_ns - f.created_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS duration_seconds,
       CAST(f.allocations AS BIGINT) AS allocations,
       CASE WHEN f.is_uncounted = 0 THEN CAST(f.attempts AS BIGINT) END AS attempts
FROM runs_with_end AS f
CROSS JOIN period AS p
WHERE COALESCE(f.created_at_ns, 0) >= p.since_ns AND COALESCE(f.created_at_ns, 0) < p.until_ns
ORDER BY f.region NULLS LAST, f.namespace NULLS LAST, f.job_id NULLS LAST, f.job_version NULLS LAST
