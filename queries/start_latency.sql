-- start_latency: How long do first starts take, when tasks that still wait are counted too?
--
-- One row is one measure of one group of tasks: setup_to_started (the task's own setup) or created_to_started.
-- Quantiles are Kaplan-Meier estimates over the tasks whose origin is known: for setup_to_started the beginning of the
-- setup, for created_to_started the creation. Waiting tasks are censored when they were last seen, and stopped tasks
-- when they were stopped. Tasks that failed before they started stay at risk for ever. A start comes before a censoring
-- at the same time. Without censored tasks, a quantile is the nearest-rank one. A quantile is null if too few tasks
-- started to reach it. It is also null if it depends on the wait of a task for which the time when it was last seen is
-- not known. The columns that count tasks include tasks without a known origin. The period selects rows by created_at.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region                string  region given by `--region`; empty without it; `--by` replaces these five columns
--   namespace             string  Nomad namespace
--   job_id                string  job ID; null if no source shows it
--   task_group            string  task group; null if no source shows it
--   task                  string  task name
--   measure               string  setup_to_started or created_to_started
--   tasks                 int64   tasks; an allocation whose tasks are not known counts as one
--   started               int64   tasks whose first start is in view
--   waiting               int64   tasks that had neither started nor ended when last seen
--   failed_before_start   int64   tasks that failed before they started
--   stopped_before_start  int64   tasks that ended in another way before they started
--   unknown               int64   tasks whose first start is not in view
--   waits_unsure          int64   waiting tasks for which the time when last seen is not known (last_seen_at is null)
--   p50_seconds           double  time within which half of the tasks start; null if fewer start, or if the time is not
--                                 known
--   p90_seconds           double  the same for 90 of 100
--   p95_seconds           double  the same for 95 of 100
--   p99_seconds           double  the same for 99 of 100
--   min_seconds           double  shortest time to a start; null if no task started with a known origin
--   max_seconds           double  longest time to a start; null if no task started with a known origin

WITH measured_starts AS (
  SELECT *, 'created_to_started' AS measure, created_at_ns AS origin_ns
  FROM starts
  UNION ALL
  SELECT *, 'setup_to_started' AS measure, setup_at_ns AS origin_ns
  FROM starts
), starts_with_span AS (
  SELECT *,
         CASE WHEN outcome = 'started' THEN started_at_ns - origin_ns
              WHEN outcome = 'waiting' AND COALESCE(last_known_at_ns, 0) < origin_ns THEN 0
              WHEN outcome = 'waiting' THEN last_known_at_ns - origin_ns
              WHEN outcome = 'stopped_before_start' AND ended_at_ns < origin_ns THEN 0
              WHEN outcome = 'stopped_before_start' THEN ended_at_ns - origin_ns END AS span_ns
  FROM measured_starts
), starts_with_weight AS (
  SELECT *,
         CASE WHEN outcome = 'started' AND span_ns IS NOT NULL THEN 1 ELSE 0 END AS is_start,
         CASE WHEN span_ns IS NOT NULL OR (outcome = 'failed_before_start' AND origin_ns IS NOT NULL) THEN 1
              ELSE 0 END AS is_at_risk,
         CASE WHEN outcome = 'waiting' AND last_seen_at_ns IS NULL THEN 1 ELSE 0 END AS is_unsure
  FROM starts_with_span
), instants_by_group AS (
  SELECT region, namespace, job_id, task_group, task, measure, span_ns,
         COALESCE(span_ns, 9223372036854775807) AS span_order,
         COUNT(*) AS tasks,
         SUM(CASE WHEN outcome = 'started' THEN 1 ELSE 0 END) AS started,
         SUM(CASE WHEN outcome = 'waiting' THEN 1 ELSE 0 END) AS waiting,
         SUM(CASE WHEN outcome = 'failed_before_start' THEN 1 ELSE 0 END) AS failed_before_start,
         SUM(CASE WHEN outcome = 'stopped_before_start' THEN 1 ELSE 0 END) AS stopped_before_start,
         SUM(CASE WHEN outcome = 'unknown' THEN 1 ELSE 0 END) AS unknown,
         SUM(is_unsure) AS waits_unsure,
         CAST(SUM(is_start) AS BIGINT) AS starting, CAST(SUM(is_at_risk) AS BIGINT) AS leaving
  FROM starts_with_weight
  GROUP BY region, namespace, job_id, task_group, task, measure, span_ns
), instants_at_risk AS (
  SELECT *,
         SUM(leaving) OVER (PARTITION BY region, namespace, job_id, task_group, task, measure) + leaving
           - SUM(leaving) OVER (PARTITION BY region, namespace, job_id, task_group, task, measure ORDER BY span_order
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS staying
  FROM instants_by_group
), instants_with_factor AS (
  -- At each instant, the share of waiting tasks is multiplied by a factor. The next step sums the logarithms of the
  -- factors. LN(0) is an error, so a factor of 0 has the logarithm -99.
  SELECT *,
         CASE WHEN starting = 0 THEN CAST(0 AS DOUBLE)
              WHEN starting >= staying THEN CAST(-99 AS DOUBLE)
              ELSE LN(CAST(staying - starting AS DOUBLE) / CAST(staying AS DOUBLE)) END AS log_factor
  FROM instants_at_risk
), instants_with_share AS (
  SELECT *,
         EXP(SUM(log_factor) OVER (PARTITION BY region, namespace, job_id, task_group, task, measure ORDER BY span_order
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))
           - CAST(1 AS DOUBLE) / 1000000000 AS waiting_share
  FROM instants_with_factor
), group_quantiles AS (
  SELECT region, namespace, job_id, task_group, task, measure,
         SUM(tasks) AS tasks, SUM(started) AS started, SUM(waiting) AS waiting,
         SUM(failed_before_start) AS failed_before_start, SUM(stopped_before_start) AS stopped_before_start,
         SUM(unknown) AS unknown, SUM(waits_unsure) AS waits_unsure,
         -- The shortest wait that is not known exactly. Quantiles up to this wait are certain.
         MIN(CASE WHEN waits_unsure > 0 THEN span_order ELSE 9223372036854775807 END) AS sure_ns,
         MIN(CASE WHEN starting > 0 AND waiting_share <= 0.5 THEN span_ns END) AS p50_ns,
         MIN(CASE WHEN starting > 0 AND waiting_share <= 0.1 THEN span_ns END) AS p90_ns,
         MIN(CASE WHEN starting > 0 AND waiting_share <= 0.05 THEN span_ns END) AS p95_ns,
         MIN(CASE WHEN starting > 0 AND waiting_share <= 0.01 THEN span_ns END) AS p99_ns,
         MIN(CASE WHEN starting > 0 THEN span_ns END) AS min_ns,
         MAX(CASE WHEN starting > 0 THEN span_ns END) AS max_ns
  FROM instants_with_share
  GROUP BY region, namespace, job_id, task_group, task, measure
)
SELECT region, namespace, job_id, task_group, task, measure,
       CAST(tasks AS BIGINT) AS tasks, CAST(started AS BIGINT) AS started, CAST(waiting AS BIGINT) AS waiting,
       CAST(failed_before_start AS BIGINT) AS failed_before_start,
       CAST(stopped_before_start AS BIGINT) AS stopped_before_start,
       CAST(unknown AS BIGINT) AS unknown, CAST(waits_unsure AS BIGINT) AS waits_unsure,
       CASE WHEN p50_ns <= sure_ns THEN ROUND(CAST(p50_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) END
         AS p50_seconds,
       CASE WHEN p90_ns <= sure_ns THEN ROUND(CAST(p90_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) END
         AS p90_seconds,
       CASE WHEN p95_ns <= sure_ns THEN ROUND(CAST(p95_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) END
         AS p95_seconds,
       CASE WHEN p99_ns <= sure_ns THEN ROUND(CAST(p99_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) END
         AS p99_seconds,
       ROUND(CAST(min_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS min_seconds,
       ROUND(CAST(max_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS max_seconds
FROM group_quantiles
ORDER BY region, namespace, job_id, task_group, task, measure NULLS LAST
