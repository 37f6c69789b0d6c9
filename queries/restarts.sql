-- restarts: How often were tasks restarted, why, and how many restarts were not seen?
--
-- One row is one group of tasks.
-- The view counts restarts by Nomad's Restarts counter, whether or not their events were seen. The period selects
-- restarts by their time in restart_log, which for a seen restart is the time of its event. A task with a counter never
-- has fewer restarts than were seen. If its client lost its state, the number is the smallest possible one.
-- The columns cause_* add up to restarts_seen. Of the events before a restart, the newest one that ended the run or
-- signaled the restart determines the cause (see restart_log). A task counts if it existed within the period, or if it
-- has a restart in the period. It also counts if it may have existed then, because it is not known when it was last
-- seen. Allocations whose tasks are not known are left out. A reschedule makes a new allocation and is not a restart.
--
-- Exported: yes
-- Grouped: yes
-- Columns:
--   region                 string     region given by `--region`; empty without it; `--by` replaces these five columns
--   namespace              string     Nomad namespace
--   job_id                 string     job ID; null if no source shows it
--   task_group             string     task group; null if no source shows it
--   task                   string     task name
--   allocations            int64      allocations
--   tasks                  int64      tasks
--   restarts               int64      restarts by Nomad's counters, plus the restarts that logs show after the last
--                                     counter. If a task has more seen restarts than that, its seen restarts count
--                                     instead; null if no task has a counter (before Nomad 0.6)
--   restarts_seen          int64      restarts whose event was seen
--   lost_restarts          int64      counted restarts whose event was not seen; null if that number is known for no
--                                     task
--   uncounted_tasks        int64      tasks whose lost_restarts are not known: they have no counter, or the client lost
--                                     its state
--   cause_failure          int64      seen restarts after a failed run
--   cause_clean_exit       int64      seen restarts after an exit with code 0
--   cause_oom              int64      seen restarts after memory ran out
--   cause_start_failure    int64      seen restarts after the driver, an artifact, a template, a hook or validation
--                                     kept the task from starting
--   cause_user             int64      seen restarts that a user requested
--   cause_change           int64      seen restarts because a template, Vault token or identity changed
--   cause_health           int64      seen restarts because a health check failed
--   cause_unknown          int64      seen restarts without an event that shows the cause
--   task_days              double     time that the tasks lived within the period, in days: from their creation to
--                                     their end, or until they were last seen; null if one of these times is not known
--                                     for a task (last_seen_at of task_states is null)
--   restarts_per_task_day  double     restarts divided by task_days; null if restarts or task_days is null, or if
--                                     task_days is less than an hour, which is too short for a daily rate
--   last_restart_at        timestamp  time of the last restart, seen or lost
--   last_restart_at_ns     int64      the same in nanoseconds since the epoch

WITH tasks_with_life AS (
  SELECT s.*, c.restarts AS largest_counter, c.lost_restarts,
         COALESCE(s.created_at_ns, s.ended_at_ns, s.last_known_at_ns, 0) AS from_ns,
         COALESCE(s.ended_at_ns, s.last_known_at_ns, s.created_at_ns, 0) AS to_ns,
         -- If last_seen_at is not known, it lies in the same UTC hour as last_known_at.
         CASE WHEN s.ended_at_ns IS NULL AND s.last_seen_at_ns IS NULL THEN 3600000000000 ELSE 0 END AS unsure_ns,
         CASE WHEN s.created_at_ns IS NULL THEN 1 ELSE 0 END AS is_begin_unknown,
         CONCAT(s.region, '/', s.alloc_id) AS alloc_key
  FROM task_states AS s
  JOIN coverage AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
), tasks_with_period AS (
  SELECT l.*, p.since_ns, p.until_ns,
         CASE WHEN l.from_ns < p.since_ns THEN p.since_ns ELSE l.from_ns END AS cut_from_ns,
         CASE WHEN l.to_ns > p.until_ns THEN p.until_ns ELSE l.to_ns END AS cut_to_ns
  FROM tasks_with_life AS l
  CROSS JOIN period AS p
), tasks_with_lifetime AS (
  SELECT *, CASE WHEN cut_to_ns > cut_from_ns THEN cut_to_ns - cut_from_ns ELSE 0 END AS life_ns
  FROM tasks_with_period
), restarts_of_period AS (
  SELECT r.*
  FROM restart_log AS r
  CROSS JOIN period AS p
  WHERE COALESCE(r.restarted_at_ns, 0) >= p.since_ns AND COALESCE(r.restarted_at_ns, 0) < p.until_ns
), restarts_by_task AS (
  SELECT region, alloc_id, task,
         SUM(number) AS restarts_counted,
         SUM(CASE WHEN is_seen THEN 1 ELSE 0 END) AS restarts_seen,
         SUM(CASE WHEN is_seen THEN 0 ELSE number END) AS restarts_unseen,
         SUM(CASE WHEN cause = 'failure' THEN 1 ELSE 0 END) AS cause_failure,
         SUM(CASE WHEN cause = 'clean_exit' THEN 1 ELSE 0 END) AS cause_clean_exit,
         SUM(CASE WHEN cause = 'oom' THEN 1 ELSE 0 END) AS cause_oom,
         SUM(CASE WHEN cause = 'start_failure' THEN 1 ELSE 0 END) AS cause_start_failure,
         SUM(CASE WHEN cause = 'user' THEN 1 ELSE 0 END) AS cause_user,
         SUM(CASE WHEN cause = 'change' THEN 1 ELSE 0 END) AS cause_change,
         SUM(CASE WHEN cause = 'health' THEN 1 ELSE 0 END) AS cause_health,
         SUM(CASE WHEN cause = 'unknown' THEN 1 ELSE 0 END) AS cause_unknown,
         MAX(restarted_at) AS last_restarted_at, MAX(restarted_at_ns) AS last_restarted_at_ns
  FROM restarts_of_period
  GROUP BY region, alloc_id, task
), counted_tasks AS (
  -- Adds whole microseconds, because the nanoseconds of 292 task-years overflow a BIGINT.
  SELECT s.*,
         CAST(ROUND(CAST(s.life_ns - s.life_ns % 1000 AS DOUBLE) / 1000) AS BIGINT) AS life_us,
         CASE WHEN s.is_begin_unknown = 1 OR (s.unsure_ns > 0 AND s.to_ns < s.until_ns) THEN 1
              ELSE 0 END AS is_unsure,
         CASE WHEN s.largest_counter IS NULL THEN 0 ELSE 1 END AS has_counter,
         CASE WHEN s.lost_restarts IS NULL THEN 1 ELSE 0 END AS is_uncounted,
         COALESCE(c.restarts_counted, 0) AS restarts_counted,
         COALESCE(c.restarts_seen, 0) AS restarts_seen,
         CASE WHEN s.lost_restarts IS NULL THEN 0 ELSE COALESCE(c.restarts_unseen, 0) END AS restarts_lost,
         c.cause_failure, c.cause_clean_exit, c.cause_oom, c.cause_start_failure, c.cause_user, c.cause_change,
         c.cause_health, c.cause_unknown,
         c.last_restarted_at, c.last_restarted_at_ns
  FROM tasks_with_lifetime AS s
  LEFT JOIN restarts_by_task AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
  WHERE (s.from_ns < s.until_ns AND s.to_ns + s.unsure_ns >= s.since_ns) OR c.restarts_seen IS NOT NULL
), group_totals AS (
  SELECT region, namespace, job_id, task_group, task,
         COUNT(DISTINCT alloc_key) AS allocations, COUNT(*) AS tasks,
         SUM(restarts_counted) AS restarts, SUM(has_counter) AS with_counter,
         SUM(restarts_seen) AS restarts_seen, SUM(restarts_lost) AS lost_restarts, SUM(is_uncounted) AS uncounted_tasks,
         SUM(COALESCE(cause_failure, 0)) AS cause_failure, SUM(COALESCE(cause_clean_exit, 0)) AS cause_clean_exit,
         SUM(COALESCE(cause_oom, 0)) AS cause_oom, SUM(COALESCE(cause_start_failure, 0)) AS cause_start_failure,
         SUM(COALESCE(cause_user, 0)) AS cause_user, SUM(COALESCE(cause_change, 0)) AS cause_change,
         SUM(COALESCE(cause_health, 0)) AS cause_health, SUM(COALESCE(cause_unknown, 0)) AS cause_unknown,
         SUM(is_unsure) AS unsure_lives, SUM(life_us) AS life_us,
         MAX(last_restarted_at) AS last_restart_at, MAX(last_restarted_at_ns) AS last_restart_at_ns
  FROM counted_tasks
  GROUP BY region, namespace, job_id, task_group, task
)
SELECT region, namespace, job_id, task_group, task,
       CAST(allocations AS BIGINT) AS allocations, CAST(tasks AS BIGINT) AS tasks,
       CASE WHEN with_counter > 0 THEN CAST(restarts AS BIGINT) END AS restarts,
       CAST(restarts_seen AS BIGINT) AS restarts_seen,
       CASE WHEN uncounted_tasks < tasks THEN CAST(lost_restarts AS BIGINT) END AS lost_restarts,
       CAST(uncounted_tasks AS BIGINT) AS uncounted_tasks,
       CAST(cause_failure AS BIGINT) AS cause_failure, CAST(cause_clean_exit AS BIGINT) AS cause_clean_exit,
       CAST(cause_oom AS BIGINT) AS cause_oom, CAST(cause_start_failure AS BIGINT) AS cause_start_failure,
       CAST(cause_user AS BIGINT) AS cause_user, CAST(cause_change AS BIGINT) AS cause_change,
       CAST(cause_health AS BIGINT) AS cause_health, CAST(cause_unknown AS BIGINT) AS cause_unknown,
       CASE WHEN unsure_lives = 0 THEN CAST(life_us AS DOUBLE) * (CAST(1 AS DOUBLE) / 86400000000) END AS task_days,
       CASE WHEN with_counter > 0 AND life_us >= 3600000000 AND unsure_lives = 0
              THEN CAST(restarts AS DOUBLE) * 86400000000 / CAST(life_us AS DOUBLE) END AS restarts_per_task_day,
       last_restart_at, last_restart_at_ns
FROM group_totals
ORDER BY region, namespace, job_id, task_group, task NULLS LAST
