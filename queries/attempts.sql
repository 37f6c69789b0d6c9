-- attempts: How did each run of each task go?
--
-- One row is one run of a task with at least one event in view. Three kinds of runs have no row: runs whose events were
-- all lost; runs of a task whose lives are mixed (see windows); and the runs of log events whose attempt is not known
-- (their run in timeline is negative or null). Several starts without a Restarting between them (such as after a
-- restart of the agent) are one run. If the attempts of a task are not known, a run that a gap divides has two rows.
-- The period selects rows by started_at, else by ended_at, else by the first event of the run. The outcome follows from
-- the last event that ended the run:
--   failed     it failed, or could not start; see failures
--   stopped    it was killed, or ended in an allocation that was to stop
--   restart    a user, a template, Vault or an identity requested a restart
--   completed  it ended with exit code 0
--   running    it was running when last seen
--   waiting    it had not started, or waited for the next start, when last seen
--   lost       its node was lost; how the run ended is not known
--   unknown    its end is not in view, or its node was disconnected
-- A dead task may have no event that ended its last run. That run then failed if the task is marked as failed;
-- otherwise it was stopped. It ended at the finished_at of the task. If the last run was still running when its
-- allocation failed, the end of the run is not known.
--
-- Exported: yes
-- Columns:
--   region         string     region given by `--region`; empty without it
--   namespace      string     Nomad namespace
--   job_id         string     job ID; null if no source shows it
--   task_group     string     task group; null if no source shows it
--   task           string     task name
--   alloc_id       string     allocation ID, unique within its region
--   job_type       string     service, batch, system or sysbatch; null if no source shows it
--   job_version    int64      version of the job; null if no source shows it
--   node_id        string     client node ID; null if no source shows it
--   node_name      string     client node name; null if no source shows it
--   node_class     string     class of that node; null if it has none, or no source lists nodes
--   datacenter     string     data centre of that node; null if no source lists nodes
--   attempt        int64      number of the run; 1 is the first; null when not known (before Nomad 0.6, or if the task
--                             shows a new life)
--   started_at     timestamp  time of the first start of the run, by the client's clock; null if that start is not in
--                             view. Also null if the beginning of the run is lost and the agent was restarted in this
--                             run, because a start in view may then not be the first
--   started_at_ns  int64      the same in nanoseconds since the epoch
--   ended_at       timestamp  when the run ended, by the client's clock; null if it has not ended, or if its end is not
--                             in view
--   ended_at_ns    int64      the same in nanoseconds since the epoch
--   outcome        string     failed, stopped, restart, completed, running, waiting, lost or unknown, see above
--   exit_code      int64      exit code at the end of the run; null if none applies, or if the end is not in view
--   signal         int64      number of the signal that ended the run, 0 for none; null if none applies, or if the end
--                             is not in view
--   failure_class  string     class of the failure, as in failures; null unless the run failed and an event shows the
--                             class
--   delay_seconds  double     wait before the next run, as Nomad decided when this run ended; null if no Restarting was
--                             seen

WITH runs AS (
  SELECT region, alloc_id, task, run,
         MAX(attempt) AS attempt,
         MIN(CASE WHEN event_type = 'Started' THEN event_at END) AS seen_started_at,
         MIN(CASE WHEN event_type = 'Started' THEN event_at_ns END) AS seen_started_at_ns,
         MIN(CASE WHEN event_type = 'Started' THEN event_no END) AS first_start_no,
         MIN(CASE WHEN event_type = 'Received' THEN event_no END) AS received_no,
         MIN(event_at_ns) AS first_ns,
         MAX(CASE WHEN event_type = 'Started' THEN event_no ELSE 0 END) AS last_start_no,
         MAX(CASE WHEN event_type = 'Restarting' THEN start_delay_ns END) AS delay_ns,
         MAX(CASE WHEN event_type = 'Restarting' THEN restart_signal END) AS restart_signal,
         MAX(CASE WHEN event_type = 'Restarting' THEN event_no ELSE 0 END) AS last_restart_no,
         MAX(event_no) AS last_no
  FROM timeline
  WHERE run > 0
  GROUP BY region, alloc_id, task, run
), tasks_from_begin AS (
  SELECT DISTINCT region, alloc_id, task
  FROM windows
  WHERE window_no = 1 AND begins
), runs_within_task AS (
  SELECT *, MAX(last_no) OVER (PARTITION BY region, alloc_id, task) AS task_last_no,
         CASE WHEN received_no < first_start_no THEN 1 ELSE 0 END AS is_received,
         CASE WHEN received_no = 1 THEN 1 ELSE 0 END AS is_received_first
  FROM runs
), runs_with_start AS (
  -- A task begins with Received, and a restarted agent writes a further Received. A start before this second Received
  -- may be lost. So started_at is known only if no Received precedes the first start in view, or if that Received is
  -- the first event of the task.
  SELECT r.*,
         CASE WHEN r.is_received = 0 OR (r.is_received_first = 1 AND b.region IS NOT NULL) THEN r.seen_started_at
              END AS started_at,
         CASE WHEN r.is_received = 0 OR (r.is_received_first = 1 AND b.region IS NOT NULL) THEN r.seen_started_at_ns
              END AS started_at_ns
  FROM runs_within_task AS r
  LEFT JOIN tasks_from_begin AS b ON b.region = r.region AND b.alloc_id = r.alloc_id AND b.task = r.task
), ends_by_run AS (
  SELECT region, alloc_id, task, run, MAX(event_no) AS ending_no,
         MAX(CASE WHEN event_type = 'Terminated' THEN event_no END) AS terminated_no,
         MAX(CASE WHEN outcome = 'failed' THEN event_no END) AS failed_no,
         MAX(CASE WHEN event_type = 'Killing' THEN 1 ELSE 0 END) AS has_failing_kill
  FROM endings
  GROUP BY region, alloc_id, task, run
), run_ends AS (
  SELECT n.region, n.alloc_id, n.task, n.run, n.ending_no,
         CASE WHEN n.has_failing_kill = 1 AND e.outcome = 'stopped' THEN 'failed' ELSE e.outcome END AS outcome,
         f.class, f.event_no AS failed_no,
         t.event_no AS terminated_no, t.exit_code, t.signal,
         COALESCE(t.event_at, e.event_at) AS terminated_at, COALESCE(t.event_at_ns, e.event_at_ns) AS terminated_at_ns,
         e.event_at, e.event_at_ns
  FROM ends_by_run AS n
  JOIN endings AS e ON e.region = n.region AND e.alloc_id = n.alloc_id AND e.task = n.task AND e.event_no = n.ending_no
  LEFT JOIN endings AS f ON f.region = n.region AND f.alloc_id = n.alloc_id AND f.task = n.task
      AND f.event_no = n.failed_no
  LEFT JOIN endings AS t ON t.region = n.region AND t.alloc_id = n.alloc_id AND t.task = n.task
      AND t.event_no = n.terminated_no
), runs_with_task_state AS (
  SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
         s.node_id, s.node_name, s.node_class, s.datacenter, s.state, s.failed, s.client_status,
         s.ended_at AS task_ended_at, s.ended_at_ns AS task_ended_at_ns,
         r.run, r.attempt, r.started_at, r.started_at_ns, r.first_ns, r.delay_ns, r.restart_signal,
         CASE WHEN e.ending_no > r.last_start_no THEN 1 ELSE 0 END AS has_ending,
         CASE WHEN e.terminated_no > r.last_start_no THEN 1 ELSE 0 END AS has_terminated,
         -- When an allocation fails, Nomad writes an end for every task that still runs or waits. So such an end is not
         -- known to be real, unless the task is dead.
         CASE WHEN s.state = 'dead' OR (s.ended_at_ns IS NOT NULL AND s.client_status <> 'failed') THEN 1
              ELSE 0 END AS has_known_end,
         CASE WHEN r.last_no = r.task_last_no AND r.last_restart_no < r.last_no
                AND (r.attempt IS NULL OR s.restarts IS NULL OR r.attempt = s.restarts + 1) THEN 1
              ELSE 0 END AS is_latest,
         e.outcome, e.class, e.exit_code, e.signal, e.event_at, e.event_at_ns, e.terminated_at, e.terminated_at_ns
  FROM runs_with_start AS r
  JOIN task_states AS s ON s.region = r.region AND s.alloc_id = r.alloc_id AND s.task = r.task
  LEFT JOIN run_ends AS e ON e.region = r.region AND e.alloc_id = r.alloc_id AND e.task = r.task AND e.run = r.run
), judged_runs AS (
  SELECT *,
         CASE WHEN has_ending = 1 THEN outcome
              WHEN restart_signal IN ('user', 'change') THEN 'restart'
              WHEN is_latest = 0 THEN 'unknown'
              WHEN has_known_end = 1 THEN CASE WHEN failed THEN 'failed' ELSE 'stopped' END
              WHEN client_status = 'lost' THEN 'lost'
              WHEN client_status IN ('unknown', 'complete', 'failed') THEN 'unknown'
              WHEN state = 'running' THEN 'running'
              WHEN state = 'pending' THEN 'waiting'
              ELSE 'unknown' END AS run_outcome,
         CASE WHEN has_terminated = 1 THEN terminated_at WHEN has_ending = 1 THEN event_at
              WHEN is_latest = 1 AND has_known_end = 1 THEN task_ended_at END AS run_ended_at,
         CASE WHEN has_terminated = 1 THEN terminated_at_ns WHEN has_ending = 1 THEN event_at_ns
              WHEN is_latest = 1 AND has_known_end = 1 THEN task_ended_at_ns END AS run_ended_at_ns
  FROM runs_with_task_state
)
SELECT j.region, j.namespace, j.job_id, j.task_group, j.task, j.alloc_id, j.job_type, j.job_version,
       j.node_id, j.node_name, j.node_class, j.datacenter,
       j.attempt, j.started_at, j.started_at_ns, j.run_ended_at AS ended_at, j.run_ended_at_ns AS ended_at_ns,
       j.run_outcome AS outcome,
       CASE WHEN j.has_terminated = 1 THEN j.exit_code END AS exit_code,
       CASE WHEN j.has_terminated = 1 THEN j.signal END AS signal,
       CASE WHEN j.has_ending = 1 AND j.run_outcome = 'failed' THEN j.class END AS failure_class,
       ROUND(CAST(j.delay_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS delay_seconds
FROM judged_runs AS j
CROSS JOIN period AS p
WHERE COALESCE(j.started_at_ns, j.run_ended_at_ns, j.first_ns, 0) >= p.since_ns
  AND COALESCE(j.started_at_ns, j.run_ended_at_ns, j.first_ns, 0) < p.until_ns
ORDER BY j.region NULLS LAST, j.namespace NULLS LAST, j.job_id NULLS LAST, j.task_group NULLS LAST, j.task NULLS LAST,
         j.alloc_id NULLS LAST, j.run
