-- reschedules: Which allocations replaced others, why, and how long was the task down?
--
-- One row is one allocation that replaces another.
-- The replaced allocation is previous_allocation, else the allocation whose next_allocation is this one, else the last
-- one in the reschedule tracker. The reason follows from what happened to the replaced allocation: preempted;
-- rescheduled (it failed); lost (its node was down or disconnected); migrated (its node was drained or tainted);
-- updated (another version of the job).
-- Nomad writes the replaced allocation into the tracker when it reschedules, and when the node of that allocation is
-- disconnected, but never when the node is down. So if an allocation in the tracker failed first and was lost later, it
-- was rescheduled. The reason is null if a reschedule and a disconnected node cannot be told apart. This happens if the
-- replaced allocation was not seen after it was replaced, or if it failed and was updated after it was replaced.
-- If the tracker does not name the replaced allocation, the reason is null in three cases:
--   migration or update  the replaced allocation is lost, and it was told to migrate or has an older version of the job
--   later loss           the replaced allocation was lost only after it was replaced. There is one exception: if its
--                        next_allocation is this one, and both have the same version of the job, no other reason is
--                        left, and the reason is lost
--   possible loss        the replaced allocation failed or is not needed any more; it may first have been lost,
--                        replaced and seen again
-- The period selects rows by replaced_at.
--
-- Exported: yes
-- Columns:
--   region             string     region given by `--region`; empty without it
--   namespace          string     Nomad namespace
--   job_id             string     job ID; null if no source shows it
--   task_group         string     task group; null if no source shows it
--   alloc_id           string     allocation ID, unique within its region
--   job_type           string     service, batch, system or sysbatch; null if no source shows it
--   job_version        int64      version of the job; null if no source shows it
--   node_id            string     client node ID; null if no source shows it
--   node_name          string     client node name; null if no source shows it
--   node_class         string     class of that node; null if it has none, or no source lists nodes
--   datacenter         string     data centre of that node; null if no source lists nodes
--   previous_alloc_id  string     allocation that it replaces
--   previous_node_id   string     node of that allocation; null if no source shows it
--   reason             string     preempted, rescheduled, lost, migrated or updated; null if the stored rows do not
--                                 show it
--   replaced_at        timestamp  when this one was created, by the server's clock
--   replaced_at_ns     int64      the same in nanoseconds since the epoch
--   recovery_seconds   double     time from the last end of a task of the replaced allocation to the first start of a
--                                 task of this allocation. If that end is not known, or later than the creation of this
--                                 allocation, the time begins at the creation; null when not known

WITH previous_by_replacement AS (
  SELECT region, next_allocation, MAX(alloc_id) AS previous_alloc_id
  FROM allocations
  WHERE next_allocation IS NOT NULL
  GROUP BY region, next_allocation
), allocations_with_floats AS (
  -- A time that went through a float equals the exact time only if both are compared as floats.
  SELECT *, CAST(created_at_ns AS DOUBLE) AS created_at_float, CAST(modified_at_ns AS DOUBLE) AS modified_at_float
  FROM allocations
), replacements AS (
  SELECT a.*, COALESCE(a.previous_allocation, n.previous_alloc_id, a.rescheduled_from_alloc_id) AS previous_alloc_id
  FROM allocations_with_floats AS a
  LEFT JOIN previous_by_replacement AS n ON n.region = a.region AND n.next_allocation = a.alloc_id
), tasks_by_allocation AS (
  SELECT region, alloc_id, MAX(ended_at_ns) AS last_end_ns,
         MAX(CASE WHEN failed THEN 1 WHEN NOT failed THEN 0 END) AS has_failed
  FROM task_states
  WHERE task IS NOT NULL
  GROUP BY region, alloc_id
), first_starts AS (
  SELECT region, alloc_id, MIN(started_at_ns) AS first_start_ns,
         MAX(CASE WHEN outcome = 'unknown' THEN 1 ELSE 0 END) AS has_unknown
  FROM starts
  GROUP BY region, alloc_id
), judged_replacements AS (
  SELECT r.region, r.namespace, r.job_id, r.task_group, r.alloc_id, r.job_type, r.job_version,
         r.node_id, r.node_name, r.node_class, r.datacenter, r.previous_alloc_id,
         COALESCE(o.node_id,
                  CASE WHEN r.rescheduled_from_alloc_id = r.previous_alloc_id THEN r.rescheduled_from_node_id END)
           AS previous_node_id,
         r.created_at AS replaced_at, r.created_at_ns AS replaced_at_ns,
         CASE WHEN r.rescheduled_from_alloc_id = r.previous_alloc_id THEN
                CASE WHEN o.desired_description LIKE '%rescheduled because it failed%' THEN 'rescheduled'
                     WHEN o.client_status = 'unknown'
                       OR o.desired_description LIKE '%unknown since its node is disconnected%'
                       OR o.desired_description LIKE '%disconnected client reconnect%' THEN 'lost'
                     -- An allocation that ended or was updated after its replacement was created may have been
                     -- disconnected first, and may have failed only when its client was back.
                     WHEN o.client_status = 'failed' OR e.has_failed = 1
                       THEN CASE WHEN NOT COALESCE(e.last_end_ns > r.created_at_ns
                                                   OR o.modified_at_float > r.created_at_float, FALSE)
                                   THEN 'rescheduled' END
                     -- The replaced allocation did not fail. It was replaced while its node was disconnected, and then
                     -- was lost or came back.
                     WHEN o.client_status = 'lost' OR o.desired_status = 'stop' OR o.next_allocation = r.alloc_id
                       OR o.modified_at_float > r.created_at_float
                       THEN CASE WHEN e.has_failed = 0 THEN 'lost' END END
              WHEN o.preempted_by IS NOT NULL OR o.desired_status = 'evict'
                OR o.desired_description LIKE 'Preempted%' THEN 'preempted'
              WHEN o.desired_description LIKE '%rescheduled because it failed%' THEN 'rescheduled'
              WHEN o.desired_description LIKE '%being migrated%'
                OR o.desired_description LIKE '%node is tainted%' THEN 'migrated'
              WHEN o.desired_description LIKE '%being updated%' THEN 'updated'
              WHEN o.client_status IN ('lost', 'unknown') OR o.desired_description LIKE '%lost since its node is down%'
                OR o.desired_description LIKE '%unknown since its node is disconnected%'
                -- Nomad creates the replacement when it finds the allocation lost, or later. So a loss after the
                -- creation of the replacement may not be the reason.
                THEN CASE WHEN COALESCE(o.desired_migrate OR o.job_version < r.job_version, FALSE) THEN NULL
                          -- Since 0.8, Nomad sets next_allocation, and for a migration also desired_migrate. Here, only
                          -- next_allocation is set, so this was not a migration.
                          WHEN o.client_status = 'lost' AND o.next_allocation = r.alloc_id
                            AND o.job_version = r.job_version THEN 'lost'
                          WHEN NOT COALESCE(o.client_status IN ('lost', 'unknown')
                                            AND o.modified_at_float > r.created_at_float, FALSE) THEN 'lost' END
              WHEN o.client_status = 'failed' OR o.desired_description LIKE '%not needed%' THEN NULL
              WHEN o.desired_migrate THEN 'migrated'
              WHEN o.job_version < r.job_version THEN 'updated' END AS reason,
         e.last_end_ns,
         CASE WHEN s.has_unknown = 0 THEN s.first_start_ns END AS first_start_ns
  FROM replacements AS r
  LEFT JOIN allocations_with_floats AS o ON o.region = r.region AND o.alloc_id = r.previous_alloc_id
  LEFT JOIN tasks_by_allocation AS e ON e.region = r.region AND e.alloc_id = r.previous_alloc_id
  LEFT JOIN first_starts AS s ON s.region = r.region AND s.alloc_id = r.alloc_id
  WHERE r.previous_alloc_id IS NOT NULL
)
SELECT j.region, j.namespace, j.job_id, j.task_group, j.alloc_id, j.job_type, j.job_version,
       j.node_id, j.node_name, j.node_class, j.datacenter, j.previous_alloc_id, j.previous_node_id, j.reason,
       j.replaced_at, j.replaced_at_ns,
       ROUND(CAST(j.first_start_ns - CASE WHEN j.last_end_ns < j.replaced_at_ns THEN j.last_end_ns
                                          ELSE j.replaced_at_ns END AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS recovery_seconds
FROM judged_replacements AS j
CROSS JOIN period AS p
WHERE COALESCE(j.replaced_at_ns, 0) >= p.since_ns AND COALESCE(j.replaced_at_ns, 0) < p.until_ns
ORDER BY j.region NULLS LAST, j.namespace NULLS LAST, j.job_id NULLS LAST, j.task_group NULLS LAST,
         j.alloc_id NULLS LAST
