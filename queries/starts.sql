-- starts: How long did the first start of each task take, or why is that not known?
--
-- One row is the first start of one task; an allocation whose tasks are not known counts as one task.
-- Later starts, after a restart, are left out. The period selects rows by created_at. The outcome is one of these:
--   started               its first start is in view
--   failed_before_start   it ended without a start and is marked as failed
--   stopped_before_start  it ended without a start in another way
--   waiting               it had neither started nor ended when last seen
--   unknown               its first start is not in view
-- A task did not start if no Started or Terminated is in view, no state has a started_at, and its last state is not
-- running. An allocation whose tasks are not known is waiting while it is pending. It was stopped before its start if
-- it was seen pending, then complete or failed, and never running or unknown. These tasks are unknown, too: a task in a
-- lost allocation, unless the task is dead, because the task may start while its client is disconnected; a task for
-- which Nomad shows a placeholder, because the task may have run before its state was lost; and a task whose lives are
-- mixed (see windows), because no start is known to be the first.
--
-- Exported: yes
-- Columns:
--   region                       string     region given by `--region`; empty without it
--   namespace                    string     Nomad namespace
--   job_id                       string     job ID; null if no source shows it
--   task_group                   string     task group; null if no source shows it
--   task                         string     task name
--   alloc_id                     string     allocation ID, unique within its region
--   job_type                     string     service, batch, system or sysbatch; null if no source shows it
--   job_version                  int64      version of the job; null if no source shows it
--   node_id                      string     client node ID; null if no source shows it
--   node_name                    string     client node name; null if no source shows it
--   node_class                   string     class of that node; null if it has none, or no source lists nodes
--   datacenter                   string     data centre of that node; null if no source lists nodes
--   outcome                      string     started, failed_before_start, stopped_before_start, waiting or unknown, see
--                                           above
--   basis                        string     why the start is known to be the first: complete (the first event is in
--                                           view, and no gap precedes the start) or attempt (the beginning is lost, but
--                                           the start belongs to the first run); null unless started
--   created_at                   timestamp  when its allocation was created, by the server's clock
--   created_at_ns                int64      the same in nanoseconds since the epoch
--   received_at                  timestamp  when the client received the task, by the client's clock, as are setup_at,
--                                           started_at and healthy_at; null if that event is not in view, or not known
--                                           to be the first of its type
--   received_at_ns               int64      the same in nanoseconds since the epoch
--   setup_at                     timestamp  when its own setup began, after the tasks and hooks that it waits for; null
--                                           if that event is not in view, or not known to be the first of its type
--   setup_at_ns                  int64      the same in nanoseconds since the epoch
--   started_at                   timestamp  when it first started; null unless started
--   started_at_ns                int64      the same in nanoseconds since the epoch
--   healthy_at                   timestamp  when its deployment found its allocation healthy; null if it did not
--   healthy_at_ns                int64      the same in nanoseconds since the epoch
--   ended_at                     timestamp  when it ended without a start: the time of its Killing (unless it failed),
--                                           else of its end, else the modified_at of its allocation; null for outcomes
--                                           other than failed_before_start and stopped_before_start
--   ended_at_ns                  int64      the same in nanoseconds since the epoch
--   last_seen_at                 timestamp  when a document last showed its allocation; null if the stored rows do not
--                                           show that time
--   last_seen_at_ns              int64      the same in nanoseconds since the epoch
--   last_known_at                timestamp  the last time at which its allocation certainly existed, as in allocations
--   last_known_at_ns             int64      the same in nanoseconds since the epoch
--   created_to_received_seconds  double     from the creation of its allocation until the client received it; measured
--                                           with two clocks, so it may be negative
--   received_to_setup_seconds    double     wait for other tasks of its allocation and for hooks of the allocation
--   setup_to_started_seconds     double     its own setup until it first started, failed attempts included
--   artifact_seconds             double     part of the setup: sum of the times from each Downloading Artifacts to the
--                                           next event; null without such an event, or if a part of the setup is not in
--                                           view
--   image_seconds                double     part of the setup: from the first image download of the driver to the next
--                                           event of another type; null without such a download, or if a part of the
--                                           setup is not in view
--   created_to_started_seconds   double     from the creation of its allocation until it first started; measured with
--                                           two clocks
--   created_to_healthy_seconds   double     from the creation of its allocation until its deployment found it healthy;
--                                           measured with two clocks

WITH first_event_numbers AS (
  SELECT region, alloc_id, task,
         MIN(CASE WHEN event_type = 'Started' THEN event_no END) AS started_no,
         MIN(CASE WHEN event_type = 'Received' THEN event_no END) AS received_no,
         MIN(CASE WHEN event_type = 'Task Setup' THEN event_no END) AS setup_no,
         MIN(CASE WHEN event_type = 'Driver' AND message LIKE 'Downloading%' THEN event_no END) AS image_no,
         MIN(CASE WHEN event_type = 'Killing' AND NOT is_void THEN event_no END) AS killing_no,
         SUM(CASE WHEN event_type IN ('Started', 'Terminated') THEN 1 ELSE 0 END) AS run_events
  FROM timeline
  GROUP BY region, alloc_id, task
), events_with_first AS (
  SELECT t.*, f.started_no, f.received_no, f.setup_no, f.image_no, f.killing_no, f.run_events,
         COALESCE(f.started_no, 9223372036854775807) AS before_no
  FROM timeline AS t
  JOIN first_event_numbers AS f ON f.region = t.region AND f.alloc_id = t.alloc_id AND f.task = t.task
), first_event_times AS (
  SELECT region, alloc_id, task, MAX(run_events) AS run_events,
         MAX(CASE WHEN event_no = started_no THEN attempt END) AS started_attempt,
         MAX(CASE WHEN event_no = started_no THEN event_at END) AS started_at,
         MAX(CASE WHEN event_no = started_no THEN event_at_ns END) AS started_at_ns,
         MAX(CASE WHEN event_no = received_no AND event_no < before_no THEN event_at END) AS received_at,
         MAX(CASE WHEN event_no = received_no AND event_no < before_no THEN event_at_ns END) AS received_at_ns,
         MAX(CASE WHEN event_no = setup_no AND event_no < before_no THEN event_at END) AS setup_at,
         MAX(CASE WHEN event_no = setup_no AND event_no < before_no THEN event_at_ns END) AS setup_at_ns,
         MAX(CASE WHEN event_no = killing_no THEN event_at END) AS killing_at,
         MAX(CASE WHEN event_no = killing_no THEN event_at_ns END) AS killing_at_ns,
         MAX(CASE WHEN event_no = image_no AND event_no < before_no THEN event_at_ns END) AS image_from_ns,
         MIN(CASE WHEN event_no > image_no AND event_type <> 'Driver' THEN event_at_ns END) AS image_to_ns
  FROM events_with_first
  GROUP BY region, alloc_id, task
), artifact_downloads AS (
  SELECT region, alloc_id, task, event_no + 1 AS next_no, event_at_ns AS from_ns
  FROM events_with_first
  WHERE event_type = 'Downloading Artifacts' AND event_no < before_no
), artifact_times AS (
  SELECT d.region, d.alloc_id, d.task, CAST(SUM(n.event_at_ns - d.from_ns) AS BIGINT) AS artifact_ns
  FROM artifact_downloads AS d
  JOIN timeline AS n ON n.region = d.region AND n.alloc_id = d.alloc_id AND n.task = d.task AND n.event_no = d.next_no
  GROUP BY d.region, d.alloc_id, d.task
), gaps_before_start AS (
  SELECT m.region, m.alloc_id, m.task, COUNT(*) AS gaps_before
  FROM first_event_times AS m
  JOIN windows AS w ON w.region = m.region AND w.alloc_id = m.alloc_id AND w.task = m.task
  WHERE w.after_gap
    AND CASE WHEN w.first_attempt < m.started_attempt THEN TRUE
             WHEN w.first_attempt > m.started_attempt THEN FALSE
             ELSE COALESCE(w.first_ns, 0) <= COALESCE(m.started_at_ns, 0) END
  GROUP BY m.region, m.alloc_id, m.task
), setup_gaps AS (
  -- A gap within the setup may hide downloads.
  SELECT m.region, m.alloc_id, m.task, COUNT(*) AS gaps
  FROM first_event_times AS m
  JOIN windows AS w ON w.region = m.region AND w.alloc_id = m.alloc_id AND w.task = m.task
  WHERE w.after_gap AND COALESCE(w.first_ns, 0) >= m.setup_at_ns
    AND COALESCE(w.first_ns, 0) <= COALESCE(m.started_at_ns, 9223372036854775807)
  GROUP BY m.region, m.alloc_id, m.task
), tasks_with_life AS (
  SELECT region, alloc_id, task, MAX(CASE WHEN lives_mixed THEN 1 ELSE 0 END) AS is_mixed
  FROM windows
  GROUP BY region, alloc_id, task
), states_seen AS (
  SELECT region, alloc_id, task, MAX(started_at_ns) AS any_started_ns,
         MAX(CASE WHEN placeholder THEN 1 ELSE 0 END) AS has_placeholder
  FROM task_state_history
  GROUP BY region, alloc_id, task
), statuses_seen AS (
  SELECT region, alloc_id,
         MAX(CASE WHEN client_status = 'pending' THEN 1 ELSE 0 END) AS was_pending,
         MAX(CASE WHEN client_status IN ('pending', 'complete', 'failed', 'lost') THEN 0 ELSE 1 END) AS was_more
  FROM allocation_history
  GROUP BY region, alloc_id
), tasks_with_verdict AS (
  SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
         s.node_id, s.node_name, s.node_class, s.datacenter, s.created_at, s.created_at_ns, s.last_seen_at,
         s.last_seen_at_ns, s.last_known_at, s.last_known_at_ns,
         s.state, s.failed, s.ended_at AS task_ended_at, s.ended_at_ns AS task_ended_at_ns,
         a.modified_at, a.modified_at_ns,
         CASE WHEN a.deployment_healthy THEN a.deployment_healthy_at END AS healthy_at,
         CASE WHEN a.deployment_healthy THEN a.deployment_healthy_at_ns END AS healthy_at_ns,
         m.started_at, m.started_at_ns,
         CASE WHEN c.begins AND l.is_mixed = 0 THEN m.received_at END AS received_at,
         CASE WHEN c.begins AND l.is_mixed = 0 THEN m.received_at_ns END AS received_at_ns,
         -- If the first event is not in view, a Received in view may follow a restart of the agent. So neither this
         -- Received nor the setup after it is known to be the first.
         CASE WHEN l.is_mixed = 0 AND (c.begins OR m.received_at_ns IS NULL) THEN m.setup_at END AS setup_at,
         CASE WHEN l.is_mixed = 0 AND (c.begins OR m.received_at_ns IS NULL) THEN m.setup_at_ns END AS setup_at_ns,
         m.killing_at, m.killing_at_ns,
         CASE WHEN (c.begins OR m.received_at_ns IS NULL) AND m.setup_at_ns IS NOT NULL AND x.gaps IS NULL
                AND l.is_mixed = 0 THEN d.artifact_ns END AS artifact_ns,
         CASE WHEN (c.begins OR m.received_at_ns IS NULL) AND m.setup_at_ns IS NOT NULL AND x.gaps IS NULL
                AND l.is_mixed = 0 THEN m.image_to_ns - m.image_from_ns END AS image_ns,
         CASE WHEN s.task IS NULL AND s.client_status = 'pending' THEN 'waiting'
              WHEN s.task IS NULL AND s.client_status IN ('complete', 'failed') AND h.was_pending = 1
                AND h.was_more = 0 THEN 'stopped_before_start'
              WHEN s.task IS NULL OR l.is_mixed = 1 THEN 'unknown'
              WHEN m.started_at_ns IS NOT NULL AND c.begins AND g.gaps_before IS NULL THEN 'complete'
              -- A Received in view that is not the first event follows a restart of the agent.
              WHEN m.started_at_ns IS NOT NULL AND m.started_attempt = 1 AND (c.begins OR m.received_at_ns IS NULL)
                THEN 'attempt'
              WHEN m.run_events > 0 OR u.any_started_ns IS NOT NULL OR s.state = 'running' THEN 'unknown'
              WHEN u.has_placeholder = 1 THEN 'unknown'
              WHEN s.client_status = 'lost' AND COALESCE(s.state, '') <> 'dead' THEN 'unknown'
              WHEN s.state = 'dead' OR s.client_status IN ('complete', 'failed') THEN
                CASE WHEN s.failed THEN 'failed_before_start' ELSE 'stopped_before_start' END
              ELSE 'waiting' END AS verdict
  FROM task_states AS s
  JOIN allocations AS a ON a.region = s.region AND a.alloc_id = s.alloc_id
  JOIN statuses_seen AS h ON h.region = s.region AND h.alloc_id = s.alloc_id
  LEFT JOIN coverage AS c ON c.region = s.region AND c.alloc_id = s.alloc_id AND c.task = s.task
  LEFT JOIN first_event_times AS m ON m.region = s.region AND m.alloc_id = s.alloc_id AND m.task = s.task
  LEFT JOIN artifact_times AS d ON d.region = s.region AND d.alloc_id = s.alloc_id AND d.task = s.task
  LEFT JOIN gaps_before_start AS g ON g.region = s.region AND g.alloc_id = s.alloc_id AND g.task = s.task
  LEFT JOIN setup_gaps AS x ON x.region = s.region AND x.alloc_id = s.alloc_id AND x.task = s.task
  LEFT JOIN tasks_with_life AS l ON l.region = s.region AND l.alloc_id = s.alloc_id AND l.task = s.task
  LEFT JOIN states_seen AS u ON u.region = s.region AND u.alloc_id = s.alloc_id AND u.task = s.task
), tasks_with_outcome AS (
  SELECT *,
         CASE WHEN verdict IN ('complete', 'attempt') THEN 'started' ELSE verdict END AS outcome,
         CASE WHEN verdict IN ('complete', 'attempt') THEN verdict END AS basis
  FROM tasks_with_verdict
), starts_of_period AS (
  SELECT j.region, j.namespace, j.job_id, j.task_group, j.task, j.alloc_id, j.job_type, j.job_version,
         j.node_id, j.node_name, j.node_class, j.datacenter, j.outcome, j.basis,
         j.created_at, j.created_at_ns, j.received_at, j.received_at_ns, j.setup_at, j.setup_at_ns,
         CASE WHEN j.outcome = 'started' THEN j.started_at END AS started_at,
         CASE WHEN j.outcome = 'started' THEN j.started_at_ns END AS started_at_ns,
         j.healthy_at, j.healthy_at_ns,
         CASE WHEN j.outcome = 'stopped_before_start' THEN COALESCE(j.killing_at, j.task_ended_at, j.modified_at)
              WHEN j.outcome = 'failed_before_start' THEN COALESCE(j.task_ended_at, j.modified_at) END AS ended_at,
         CASE WHEN j.outcome = 'stopped_before_start'
                THEN COALESCE(j.killing_at_ns, j.task_ended_at_ns, j.modified_at_ns)
              WHEN j.outcome = 'failed_before_start'
                THEN COALESCE(j.task_ended_at_ns, j.modified_at_ns) END AS ended_at_ns,
         j.last_seen_at, j.last_seen_at_ns, j.last_known_at, j.last_known_at_ns,
         CASE WHEN j.outcome <> 'unknown' THEN j.artifact_ns END AS artifact_ns,
         CASE WHEN j.outcome <> 'unknown' THEN j.image_ns END AS image_ns
  FROM tasks_with_outcome AS j
  CROSS JOIN period AS p
  WHERE COALESCE(j.created_at_ns, 0) >= p.since_ns AND COALESCE(j.created_at_ns, 0) < p.until_ns
)
SELECT region, namespace, job_id, task_group, task, alloc_id, job_type, job_version, node_id, node_name, node_class,
       datacenter,
       outcome, basis, created_at, created_at_ns, received_at, received_at_ns, setup_at, setup_at_ns, started_at,
       started_at_ns,
       healthy_at, healthy_at_ns, ended_at, ended_at_ns, last_seen_at, last_seen_at_ns,
       last_known_at, last_known_at_ns,
       ROUND(CAST(received_at_ns - created_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS created_to_received_seconds,
       ROUND(CAST(setup_at_ns - received_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS received_to_setup_seconds,
       ROUND(CAST(started_at_ns - setup_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS setup_to_started_seconds,
       ROUND(CAST(artifact_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS artifact_seconds,
       ROUND(CAST(image_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9) AS image_seconds,
       ROUND(CAST(started_at_ns - created_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS created_to_started_seconds,
       ROUND(CAST(healthy_at_ns - created_at_ns AS DOUBLE) * (CAST(1 AS DOUBLE) / 1000000000), 9)
         AS created_to_healthy_seconds
FROM starts_of_period
ORDER BY region NULLS LAST, namespace NULLS LAST, job_id NULLS LAST, task_group NULLS LAST, task NULLS LAST,
         alloc_id NULLS LAST
