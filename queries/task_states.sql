-- task_states: In which state was each task last seen?
--
-- One row is one task of one allocation; an allocation whose tasks no source names has one row with a null task.
-- The state is that of the newest version that shows a state: the version with the largest modify_index. If a restored
-- cluster used that index again, the version with the later modified_at is the newest. If several rows show the newest
-- version, a value wins over null. If Nomad shows only a placeholder for a task that never ran, or only the resources
-- of the allocation name the task, the columns from state to ended_at are null.
--
-- Exported: yes
-- Columns:
--   region              string     region given by `--region`; empty without it
--   namespace           string     Nomad namespace
--   job_id              string     job ID; null if no source shows it
--   task_group          string     task group; null if no source shows it
--   task                string     task name; null for an allocation whose tasks are not known
--   alloc_id            string     allocation ID, unique within its region
--   job_type            string     service, batch, system or sysbatch; null if no source shows it
--   job_version         int64      version of the job; null if no source shows it
--   node_id             string     client node ID; null if no source shows it
--   node_name           string     client node name; null if no source shows it
--   node_class          string     class of that node; null if it has none, or no source lists nodes
--   datacenter          string     data centre of that node; null if no source lists nodes
--   client_status       string     status of its allocation by its client
--   desired_status      string     desired status of its allocation: run, stop or evict
--   state               string     pending, running or dead
--   failed              bool       whether an event marked the task as failed; never reset
--   restarts            int64      Nomad's Restarts counter; null before Nomad 0.6
--   last_restart_at     timestamp  time of the last Restarting event, by the client's clock
--   last_restart_at_ns  int64      the same in nanoseconds since the epoch
--   started_at          timestamp  latest start, by the client's clock; not the first one
--   started_at_ns       int64      the same in nanoseconds since the epoch
--   finished_at         timestamp  first end, by the client's clock, as Nomad serves it. Nomad never clears this time,
--                                  so it may precede started_at
--   finished_at_ns      int64      the same in nanoseconds since the epoch
--   ended_at            timestamp  finished_at if it is the final end: the task is dead, or its allocation is complete
--                                  or failed; null otherwise. In a lost or unknown allocation, only a dead task has a
--                                  known end
--   ended_at_ns         int64      the same in nanoseconds since the epoch
--   lifecycle_hook      string     prestart, poststart or poststop; null for a main task, or if no source lists it
--   sidecar             bool       whether a task with a hook is a sidecar; null without a hook
--   created_at          timestamp  when its allocation was created, by the server's clock
--   created_at_ns       int64      the same in nanoseconds since the epoch
--   modified_at         timestamp  when the version with this state was written, by the server's clock
--   modified_at_ns      int64      the same in nanoseconds since the epoch
--   modify_index        int64      raft index of the version with this state
--   attempts_seen       int64      number of runs of the task with an event in view; null if it has events but none
--                                  with a known attempt (before Nomad 0.6)
--   last_seen_at        timestamp  when a document last showed its allocation; null if the stored rows do not show that
--                                  time
--   last_seen_at_ns     int64      the same in nanoseconds since the epoch
--   last_known_at       timestamp  the last time at which its allocation certainly existed, as in allocations
--   last_known_at_ns    int64      the same in nanoseconds since the epoch

WITH state_rows AS (
  SELECT *, COALESCE(modify_index, 0) AS version,
         NOT placeholder
           AND (state IS NOT NULL OR failed IS NOT NULL OR restarts IS NOT NULL OR window_events IS NOT NULL)
           AS is_state
  FROM task_state_history
  WHERE task IS NOT NULL
), rows_with_newest_version AS (
  SELECT *, MAX(CASE WHEN is_state THEN version END) OVER (PARTITION BY region, alloc_id, task) AS newest_version
  FROM state_rows
), rows_with_newest_time AS (
  SELECT *, is_state AND version = newest_version AS is_newest_version,
         MAX(CASE WHEN is_state AND version = newest_version THEN modified_at_ns END)
           OVER (PARTITION BY region, alloc_id, task) AS newest_modified_ns
  FROM rows_with_newest_version
), rows_marked_newest AS (
  -- If the times of a document went through a float, the modified_at of a version in the document is rounded. The
  -- rounded and the exact modified_at of one version are equal only if both are compared as floats.
  SELECT *,
         is_newest_version
           AND (modified_at_ns IS NULL OR CAST(modified_at_ns AS DOUBLE) = CAST(newest_modified_ns AS DOUBLE))
           AS is_newest
  FROM rows_with_newest_time
), latest_states AS (
  SELECT region, alloc_id, task,
         MAX(CASE WHEN is_newest THEN state END) AS state, MAX(CASE WHEN is_newest THEN failed END) AS failed,
         MAX(CASE WHEN is_newest THEN restarts END) AS restarts,
         MAX(CASE WHEN is_newest THEN last_restart_at END) AS last_restart_at,
         MAX(CASE WHEN is_newest THEN last_restart_at_ns END) AS last_restart_at_ns,
         MAX(CASE WHEN is_newest THEN started_at END) AS started_at,
         MAX(CASE WHEN is_newest THEN started_at_ns END) AS started_at_ns,
         MAX(CASE WHEN is_newest THEN finished_at END) AS finished_at,
         MAX(CASE WHEN is_newest THEN finished_at_ns END) AS finished_at_ns,
         MAX(CASE WHEN is_newest THEN modified_at END) AS modified_at,
         MAX(CASE WHEN is_newest THEN modified_at_ns END) AS modified_at_ns,
         MAX(CASE WHEN is_newest THEN modify_index END) AS modify_index,
         MAX(lifecycle_hook) AS lifecycle_hook, MAX(sidecar) AS sidecar
  FROM rows_marked_newest
  GROUP BY region, alloc_id, task
)
SELECT a.region, a.namespace, a.job_id, a.task_group, m.task, a.alloc_id, a.job_type, a.job_version,
       a.node_id, a.node_name, a.node_class, a.datacenter, a.client_status, a.desired_status,
       m.state, m.failed, m.restarts, m.last_restart_at, m.last_restart_at_ns,
       m.started_at, m.started_at_ns, m.finished_at, m.finished_at_ns,
       CASE WHEN m.state = 'dead' OR a.client_status IN ('complete', 'failed') THEN m.finished_at END AS ended_at,
       CASE WHEN m.state = 'dead' OR a.client_status IN ('complete', 'failed') THEN m.finished_at_ns END AS ended_at_ns,
       m.lifecycle_hook, m.sidecar, a.created_at, a.created_at_ns, m.modified_at, m.modified_at_ns, m.modify_index,
       CASE WHEN e.attempts_seen > 0 OR e.attempts_seen IS NULL OR l.attempts > 0
              THEN COALESCE(e.attempts_seen, 0) + COALESCE(l.attempts, 0) END AS attempts_seen,
       a.last_seen_at, a.last_seen_at_ns, a.last_known_at, a.last_known_at_ns
FROM allocations AS a
LEFT JOIN latest_states AS m ON m.region = a.region AND m.alloc_id = a.alloc_id
LEFT JOIN event_counts AS e ON e.region = m.region AND e.alloc_id = m.alloc_id AND e.task = m.task
LEFT JOIN log_attempts AS l ON l.region = m.region AND l.alloc_id = m.alloc_id AND l.task = m.task
ORDER BY a.region NULLS LAST, a.namespace NULLS LAST, a.job_id NULLS LAST, a.task_group NULLS LAST, m.task NULLS LAST,
         a.alloc_id NULLS LAST
