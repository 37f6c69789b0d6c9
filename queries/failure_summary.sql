-- failure_summary: How often did tasks fail, in which way, and with which exit code and message most often?
--
-- One row is one class of failure of one group of tasks.
-- The view counts the rows of failures within the period. exit_code and message are the most common pair of an exit
-- code and a message. If several pairs are equally common, the view shows the pair with the smallest exit code. If
-- these pairs have the same exit code, the view shows the pair with the smallest message. Null is smaller than any
-- value.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region         string     region given by `--region`; empty without it; `--by` replaces these five columns
--   namespace      string     Nomad namespace
--   job_id         string     job ID; null if no source shows it
--   task_group     string     task group; null if no source shows it
--   task           string     task name
--   class          string     class of the failures, as in failures
--   failures       int64      failures
--   tasks          int64      tasks with such a failure
--   allocations    int64      allocations with such a failure
--   gave_up        int64      failures after which the task was not restarted
--   suspected_oom  int64      failures in which memory may have run out although the event does not say so (see
--                             failures)
--   first_at       timestamp  time of the first of these failures, by the client's clock
--   first_at_ns    int64      the same in nanoseconds since the epoch
--   last_at        timestamp  time of the last of these failures, by the client's clock
--   last_at_ns     int64      the same in nanoseconds since the epoch
--   exit_code      int64      exit code of the most common pair of exit code and message; null if that pair has none
--   message        string     message of that pair; null if the pair has none
--   pair_share     double     share of the failures that show that pair, from 0 to 1

WITH failures_with_keys AS (
  SELECT *, CONCAT(region, '/', alloc_id) AS alloc_key, CONCAT(region, '/', alloc_id, '/', task) AS task_key
  FROM failures
), failures_with_pair AS (
  SELECT *, COALESCE(exit_code, -9223372036854775807) AS code_order, COALESCE(message, '') AS message_order,
         COUNT(*) OVER (PARTITION BY region, namespace, job_id, task_group, task, class, exit_code,
             message) AS same_pair
  FROM failures_with_keys
), failures_with_pair_order AS (
  SELECT *, -same_pair AS pair_order
  FROM failures_with_pair
), ranked_failures AS (
  SELECT *,
         CAST(ROW_NUMBER() OVER (PARTITION BY region, namespace, job_id, task_group, task, class
                                 ORDER BY pair_order, code_order, message_order) AS BIGINT) AS pair_rank
  FROM failures_with_pair_order
)
SELECT region, namespace, job_id, task_group, task, class,
       CAST(COUNT(*) AS BIGINT) AS failures,
       CAST(COUNT(DISTINCT task_key) AS BIGINT) AS tasks,
       CAST(COUNT(DISTINCT alloc_key) AS BIGINT) AS allocations,
       CAST(SUM(CASE WHEN gave_up THEN 1 ELSE 0 END) AS BIGINT) AS gave_up,
       CAST(SUM(CASE WHEN suspected_oom THEN 1 ELSE 0 END) AS BIGINT) AS suspected_oom,
       MIN(failed_at) AS first_at, MIN(failed_at_ns) AS first_at_ns, MAX(failed_at) AS last_at,
       MAX(failed_at_ns) AS last_at_ns,
       MAX(CASE WHEN pair_rank = 1 THEN exit_code END) AS exit_code,
       MAX(CASE WHEN pair_rank = 1 THEN message END) AS message,
       CAST(MAX(same_pair) AS DOUBLE) / CAST(COUNT(*) AS DOUBLE) AS pair_share
FROM ranked_failures
GROUP BY region, namespace, job_id, task_group, task, class
ORDER BY region, namespace, job_id, task_group, task, class NULLS LAST
