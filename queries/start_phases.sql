-- start_phases: Which part of a first start takes how long?
--
-- One row is one phase of the first starts of one group of tasks. A phase has no row if no task shows both its
-- beginning and its end.
-- Quantiles are nearest-rank over the tasks that show the beginning and the end of the phase, whether the tasks started
-- or not. The phases show where time is spent; start_latency shows how long starts take in total. The phases, as in
-- starts:
--   created_to_received  from the creation of the allocation by the server until the client received the task (measured
--                        with two clocks, so it may be negative)
--   received_to_setup    waiting for other tasks of the allocation and for its hooks
--   setup_to_started     the task's own setup
--   artifact             within the setup: fetching artifacts
--   image                within the setup: fetching the driver's image
--   created_to_healthy   from the creation of the allocation until the deployment found the allocation healthy
--                        (measured with two clocks)
-- The period selects rows by created_at.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region       string  region given by `--region`; empty without it; `--by` replaces these five columns
--   namespace    string  Nomad namespace
--   job_id       string  job ID; null if no source shows it
--   task_group   string  task group; null if no source shows it
--   task         string  task name; null for allocations whose tasks are not known
--   phase        string  see above
--   samples      int64   tasks that show the beginning and the end of the phase
--   p50_seconds  double  median: the phase took no longer in half of the samples
--   p95_seconds  double  the same for 95 of 100 samples
--   max_seconds  double  longest time of the samples

WITH phases_of_starts AS (
  SELECT *, 'created_to_received' AS phase, created_to_received_seconds AS seconds FROM starts
  UNION ALL
  SELECT *, 'received_to_setup' AS phase, received_to_setup_seconds AS seconds FROM starts
  UNION ALL
  SELECT *, 'setup_to_started' AS phase, setup_to_started_seconds AS seconds FROM starts
  UNION ALL
  SELECT *, 'artifact' AS phase, artifact_seconds AS seconds FROM starts
  UNION ALL
  SELECT *, 'image' AS phase, image_seconds AS seconds FROM starts
  UNION ALL
  SELECT *, 'created_to_healthy' AS phase, created_to_healthy_seconds AS seconds FROM starts
), known_phases AS (
  SELECT * FROM phases_of_starts WHERE seconds IS NOT NULL
), ranked_phases AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, namespace, job_id, task_group, task, phase
                                 ORDER BY seconds) AS BIGINT) AS seconds_rank,
         COUNT(seconds) OVER (PARTITION BY region, namespace, job_id, task_group, task, phase) AS samples
  FROM known_phases
)
SELECT region, namespace, job_id, task_group, task, phase, CAST(MAX(samples) AS BIGINT) AS samples,
       MIN(CASE WHEN 2 * seconds_rank >= samples THEN seconds END) AS p50_seconds,
       MIN(CASE WHEN 100 * seconds_rank >= 95 * samples THEN seconds END) AS p95_seconds,
       MAX(seconds) AS max_seconds
FROM ranked_phases
GROUP BY region, namespace, job_id, task_group, task, phase
ORDER BY region, namespace, job_id, task_group, task, phase NULLS LAST
