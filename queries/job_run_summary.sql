-- job_run_summary: How do the runs of each batch job end, and how long do they take?
--
-- One row is one job that runs to an end, with all its versions and all its dispatched or periodic instances.
-- The view counts the rows of job_runs, which the period selects by created_at. Quantiles are nearest-rank over all
-- runs with a known duration, whatever their outcome.
--
-- Exported: yes
-- Columns:
--   region              string     region given by `--region`; empty without it
--   namespace           string     Nomad namespace
--   parent_job_id       string     job ID without the part from `/dispatch-` or `/periodic-` on
--   runs                int64      runs
--   complete            int64      runs that completed
--   failed              int64      runs that failed
--   stopped             int64      runs that were stopped
--   lost                int64      runs lost with their node
--   running             int64      runs that had not ended when last seen
--   unknown             int64      runs whose end is not in view
--   success_rate        double     share of complete runs among the runs that are complete, failed, stopped or lost,
--                                  from 0 to 1; null if there are no such runs
--   samples             int64      runs whose duration is known
--   p50_seconds         double     median duration: half of the samples took no longer; null if there are no samples
--   p95_seconds         double     the same for 95 of 100 samples
--   max_seconds         double     longest duration of the samples
--   last_success_at     timestamp  when the last complete run finished, by the client's clock; null if no run is
--                                  complete
--   last_success_at_ns  int64      the same in nanoseconds since the epoch

WITH runs_with_duration AS (
  SELECT *,
         CASE WHEN finished_at_ns IS NOT NULL AND created_at_ns IS NOT NULL THEN 1 ELSE 0 END AS has_duration,
         COALESCE(finished_at_ns - created_at_ns, 9223372036854775807) AS duration_order,
         COALESCE(job_id, '') AS job_order, COALESCE(job_version, -1) AS version_order
  FROM job_runs
), ranked_runs AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, namespace, parent_job_id ORDER BY duration_order, job_order,
             version_order) AS BIGINT) AS duration_rank,
         SUM(has_duration) OVER (PARTITION BY region, namespace, parent_job_id) AS samples
  FROM runs_with_duration
), job_totals AS (
  SELECT region, namespace, parent_job_id, COUNT(*) AS runs,
         SUM(CASE WHEN outcome = 'complete' THEN 1 ELSE 0 END) AS complete,
         SUM(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END) AS failed,
         SUM(CASE WHEN outcome = 'stopped' THEN 1 ELSE 0 END) AS stopped,
         SUM(CASE WHEN outcome = 'lost' THEN 1 ELSE 0 END) AS lost,
         SUM(CASE WHEN outcome = 'running' THEN 1 ELSE 0 END) AS running,
         SUM(CASE WHEN outcome = 'unknown' THEN 1 ELSE 0 END) AS unknown,
         MAX(samples) AS samples,
         MIN(CASE WHEN has_duration = 1 AND 2 * duration_rank >= samples THEN duration_seconds END) AS p50_seconds,
         MIN(CASE
              WHEN has_duration = 1 AND 100 * duration_rank >= 95 * samples THEN duration_seconds END) AS p95_seconds,
         MAX(duration_seconds) AS max_seconds,
         MAX(CASE WHEN outcome = 'complete' THEN finished_at END) AS last_success_at,
         MAX(CASE WHEN outcome = 'complete' THEN finished_at_ns END) AS last_success_at_ns
  FROM ranked_runs
  GROUP BY region, namespace, parent_job_id
)
SELECT region, namespace, parent_job_id,
       CAST(runs AS BIGINT) AS runs, CAST(complete AS BIGINT) AS complete, CAST(failed AS BIGINT) AS failed,
       CAST(stopped AS BIGINT) AS stopped, CAST(lost AS BIGINT) AS lost, CAST(running AS BIGINT) AS running,
       CAST(unknown AS BIGINT) AS unknown,
       CASE WHEN complete + failed + stopped + lost > 0
              THEN CAST(complete AS DOUBLE) / CAST(complete + failed + stopped + lost AS DOUBLE) END AS success_rate,
       CAST(samples AS BIGINT) AS samples, p50_seconds, p95_seconds, max_seconds, last_success_at, last_success_at_ns
FROM job_totals
ORDER BY region NULLS LAST, namespace NULLS LAST, parent_job_id NULLS LAST
