-- allocations: What is known about each allocation, in the state in which it was last seen?
--
-- One row is one allocation.
-- Each kind of source lacks some fields, so a row combines all rows of allocation_history for the allocation. A field
-- that never changes comes from any version that has it. A field that changes comes from the newest version; only
-- job_version, deployment_id and next_allocation come from the newest version that has them. The newest version has the
-- largest modify_index. If a restored cluster used that index again, the version with the later modified_at is the
-- newest. If several rows show the newest version, a value wins over null. No status is final: for example, an
-- allocation that was last seen "lost" may have ended later in another way.
--
-- Exported: yes
-- Columns:
--   region                             string     region given by `--region`; empty without it
--   namespace                          string     Nomad namespace
--   job_id                             string     job ID; null if no source shows it
--   task_group                         string     task group; null if no source shows it
--   alloc_id                           string     allocation ID, unique within its region
--   job_type                           string     service, batch, system or sysbatch; null if no source shows it
--   job_version                        int64      version of the job; an in-place update raises it without a restart;
--                                                 null if no source shows it
--   node_id                            string     client node ID; null if no source shows it
--   node_name                          string     client node name; null if no source shows it
--   node_class                         string     class of that node in the newest version of the node; null if the
--                                                 node has none, or if no source lists nodes
--   datacenter                         string     data centre of that node; null if no source lists nodes
--   name                               string     `<job>.<group>[<index>]`
--   alloc_index                        int64      the index in name; null when the name has none
--   eval_id                            string     evaluation that placed it, or the last evaluation that updated it
--   deployment_id                      string     deployment it belongs to; null if it belongs to none, or if no source
--                                                 shows it
--   desired_status                     string     run, stop or evict
--   desired_description                string     the servers' reason for desired_status; null without a reason
--   client_status                      string     pending, running, complete, failed, lost or unknown
--   client_description                 string     the client's description of client_status
--   desired_migrate                    bool       whether the servers told it to migrate, because its node is drained
--                                                 or the allocation is to stop; null if they did not say
--   desired_reschedule                 bool       whether the servers told it to reschedule; null if they did not say
--   desired_force_reschedule           bool       whether the servers told it to reschedule at once; null if they did
--                                                 not say
--   desired_no_shutdown_delay          bool       whether the servers told it to stop without its shutdown delay; null
--                                                 if they did not say
--   desired_migrate_disable_placement  bool       whether the servers told it to migrate without a replacement; null if
--                                                 they did not say
--   deployment_healthy                 bool       whether its deployment found it healthy; null while undecided or
--                                                 without a deployment
--   deployment_healthy_at              timestamp  when deployment_healthy was decided, by the client's clock
--   deployment_healthy_at_ns           int64      the same in nanoseconds since the epoch
--   canary                             bool       whether it is a canary; null without a deployment
--   previous_allocation                string     allocation that this one replaces; null if it replaces none, or if no
--                                                 source shows it
--   next_allocation                    string     allocation that replaces this one; null if none does, or if no source
--                                                 shows it
--   followup_eval_id                   string     evaluation of its delayed reschedule; null if it has none
--   preempted_by                       string     allocation that preempted it; null if none did
--   reschedule_attempts                int64      number of entries in its reschedule tracker, which keeps only recent
--                                                 reschedules; null without a tracker
--   rescheduled_from_alloc_id          string     previous allocation according to the tracker's last entry
--   rescheduled_from_node_id           string     previous node according to the tracker's last entry
--   rescheduled_at                     timestamp  time of the tracker's last entry, by the server's clock
--   rescheduled_at_ns                  int64      the same in nanoseconds since the epoch
--   created_at                         timestamp  when it was created, by the server's clock
--   created_at_ns                      int64      the same in nanoseconds since the epoch
--   modified_at                        timestamp  when its newest version was written, by the server's clock; null
--                                                 before Nomad 0.7.1
--   modified_at_ns                     int64      the same in nanoseconds since the epoch
--   create_index                       int64      raft index of its creation
--   modify_index                       int64      raft index of its newest version
--   cpu_shares                         int64      CPU of all its tasks in MHz; null if no source lists it
--   memory_mb                          int64      memory of all its tasks in MiB; null if no source lists it
--   memory_max_mb                      int64      sum of the memory_max of its tasks in MiB; null if no task has one,
--                                                 or no source lists it
--   disk_mb                            int64      ephemeral disk in MiB; null if no source lists it
--   last_seen_at                       timestamp  when a document last showed the allocation. For a terminal
--                                                 allocation, this is modified_at. For any other, it is the latest of
--                                                 modified_at and the times of the documents that show the allocation
--                                                 as not terminal; null if the stored rows do not show which document
--                                                 was the last
--   last_seen_at_ns                    int64      the same in nanoseconds since the epoch
--   last_known_at                      timestamp  the last time at which the allocation certainly existed: last_seen_at
--                                                 or, if that is null, an earlier time in the UTC hour in which the
--                                                 allocation was last seen; null if neither is known
--   last_known_at_ns                   int64      the same in nanoseconds since the epoch
--   vanished                           bool       whether it vanished: it was not terminal when last seen, and a later
--                                                 full listing of its namespace lacks it. Its end is then not known;
--                                                 null if the stored rows do not show whether it vanished

WITH history_rows AS (
  SELECT *, COALESCE(modify_index, 0) AS version, COUNT(*) OVER (PARTITION BY region, alloc_id) AS versions
  FROM allocation_history
), single_row_allocations AS (
  -- An allocation with one row in allocation_history has nothing to combine.
  SELECT region, alloc_id, COALESCE(namespace, 'default') AS namespace, job_id, task_group, job_type, job_version,
         node_id, node_name, name, alloc_index, eval_id, deployment_id, desired_status, desired_description,
         client_status, client_description, desired_migrate, desired_reschedule, desired_force_reschedule,
         desired_no_shutdown_delay, desired_migrate_disable_placement, deployment_healthy, deployment_healthy_at,
         deployment_healthy_at_ns, canary, previous_allocation, next_allocation, followup_eval_id, preempted_by,
         reschedule_attempts, rescheduled_from_alloc_id, rescheduled_from_node_id, rescheduled_at, rescheduled_at_ns,
         created_at, created_at_ns, modified_at, modified_at_ns, create_index, modify_index, cpu_shares, memory_mb,
         memory_max_mb, disk_mb, modified_at AS last_modified_at, modified_at_ns AS last_modified_at_ns,
         CASE WHEN shape = 'stream' THEN 1 ELSE 0 END AS is_streamed,
         CASE WHEN shape = 'stream' THEN 1 ELSE 0 END AS is_only_streamed
  FROM history_rows
  WHERE versions = 1
), rows_with_newest_version AS (
  SELECT *,
         MAX(version) OVER (PARTITION BY region, alloc_id) AS newest_version,
         MAX(CASE WHEN job_version IS NOT NULL THEN version END)
           OVER (PARTITION BY region, alloc_id) AS job_version_told,
         MAX(CASE WHEN deployment_id IS NOT NULL THEN version END)
           OVER (PARTITION BY region, alloc_id) AS deployment_told,
         MAX(CASE WHEN next_allocation IS NOT NULL THEN version END)
           OVER (PARTITION BY region, alloc_id) AS next_allocation_told
  FROM history_rows
  WHERE versions > 1
), rows_with_newest_time AS (
  SELECT *,
         MAX(CASE WHEN version = newest_version THEN modified_at_ns END)
           OVER (PARTITION BY region, alloc_id) AS newest_modified_ns
  FROM rows_with_newest_version
), rows_marked_newest AS (
  -- If the times of a document went through a float, the modified_at of a version in the document is rounded. The
  -- rounded and the exact modified_at of one version are equal only if both are compared as floats.
  SELECT *,
         version = newest_version
           AND (modified_at_ns IS NULL OR CAST(modified_at_ns AS DOUBLE) = CAST(newest_modified_ns AS DOUBLE))
           AS is_newest
  FROM rows_with_newest_time
), merged_allocations AS (
  SELECT region, alloc_id,
         COALESCE(MAX(CASE WHEN namespace <> 'default' THEN namespace END), 'default') AS namespace,
         MAX(job_id) AS job_id,
         MAX(task_group) AS task_group,
         MAX(job_type) AS job_type,
         MAX(CASE WHEN version = job_version_told THEN job_version END) AS job_version,
         MAX(node_id) AS node_id,
         MAX(node_name) AS node_name,
         MAX(name) AS name,
         MAX(alloc_index) AS alloc_index,
         MAX(CASE WHEN is_newest THEN eval_id END) AS eval_id,
         MAX(CASE WHEN version = deployment_told THEN deployment_id END) AS deployment_id,
         MAX(CASE WHEN is_newest THEN desired_status END) AS desired_status,
         MAX(CASE WHEN is_newest THEN desired_description END) AS desired_description,
         MAX(CASE WHEN is_newest THEN client_status END) AS client_status,
         MAX(CASE WHEN is_newest THEN client_description END) AS client_description,
         MAX(CASE WHEN is_newest THEN desired_migrate END) AS desired_migrate,
         MAX(CASE WHEN is_newest THEN desired_reschedule END) AS desired_reschedule,
         MAX(CASE WHEN is_newest THEN desired_force_reschedule END) AS desired_force_reschedule,
         MAX(CASE WHEN is_newest THEN desired_no_shutdown_delay END) AS desired_no_shutdown_delay,
         MAX(CASE WHEN is_newest THEN desired_migrate_disable_placement END) AS desired_migrate_disable_placement,
         MAX(CASE WHEN is_newest THEN deployment_healthy END) AS deployment_healthy,
         MAX(CASE WHEN is_newest THEN deployment_healthy_at END) AS deployment_healthy_at,
         MAX(CASE WHEN is_newest THEN deployment_healthy_at_ns END) AS deployment_healthy_at_ns,
         MAX(CASE WHEN is_newest THEN canary END) AS canary,
         MAX(previous_allocation) AS previous_allocation,
         MAX(CASE WHEN version = next_allocation_told THEN next_allocation END) AS next_allocation,
         MAX(CASE WHEN is_newest THEN followup_eval_id END) AS followup_eval_id,
         MAX(CASE WHEN is_newest THEN preempted_by END) AS preempted_by,
         MAX(CASE WHEN is_newest THEN reschedule_attempts END) AS reschedule_attempts,
         MAX(CASE WHEN is_newest THEN rescheduled_from_alloc_id END) AS rescheduled_from_alloc_id,
         MAX(CASE WHEN is_newest THEN rescheduled_from_node_id END) AS rescheduled_from_node_id,
         MAX(CASE WHEN is_newest THEN rescheduled_at END) AS rescheduled_at,
         MAX(CASE WHEN is_newest THEN rescheduled_at_ns END) AS rescheduled_at_ns,
         MAX(created_at) AS created_at,
         MAX(created_at_ns) AS created_at_ns,
         MAX(CASE WHEN is_newest THEN modified_at END) AS modified_at,
         MAX(CASE WHEN is_newest THEN modified_at_ns END) AS modified_at_ns,
         MAX(create_index) AS create_index,
         MAX(modify_index) AS modify_index,
         MAX(cpu_shares) AS cpu_shares,
         MAX(memory_mb) AS memory_mb,
         MAX(memory_max_mb) AS memory_max_mb,
         MAX(disk_mb) AS disk_mb,
         MAX(modified_at) AS last_modified_at,
         MAX(modified_at_ns) AS last_modified_at_ns,
         MIN(CASE WHEN is_newest AND shape <> 'stream' THEN 0 ELSE 1 END) AS is_streamed,
         MIN(CASE WHEN shape <> 'stream' THEN 0 ELSE 1 END) AS is_only_streamed
  FROM rows_marked_newest
  GROUP BY region, alloc_id
), latest_allocations AS (
  SELECT * FROM merged_allocations
  UNION ALL
  SELECT * FROM single_row_allocations
), newest_sightings AS (
  -- A stream dates sightings by the server's clock, which may be ahead of the observer's clock. So sightings up to an
  -- hour after the newest observation count.
  SELECT s.region, s.alloc_id, MAX(s.seen_at) AS sighted_at, MAX(s.seen_at_ns) AS sighted_at_ns
  FROM sightings AS s
  LEFT JOIN observations AS o ON o.region = s.region
  WHERE o.observed_at_ns IS NULL OR s.seen_at_ns <= o.observed_at_ns + 3600000000000
  GROUP BY s.region, s.alloc_id
), newest_sightings_by_hour AS (
  SELECT *, sighted_at_ns - sighted_at_ns % 3600000000000 AS sighted_hour_ns,
         CASE WHEN sighted_at_ns % 3600000000000 > 0 THEN sighted_at_ns ELSE 0 END AS uncut_ns
  FROM newest_sightings
), last_listed_hours AS (
  SELECT region, namespace,
         MAX(CASE WHEN last_listing_at_ns IS NOT NULL THEN hour_ns END) AS last_hour_ns,
         MAX(last_listing_at_ns) AS last_listing_at_ns, MAX(largest_index) AS largest_index,
         MAX(unnumbered_at_ns) AS unnumbered_at_ns
  FROM last_listing
  GROUP BY region, namespace
), allocations_with_sightings AS (
  SELECT m.region, m.namespace, m.alloc_id, m.is_streamed, m.is_only_streamed, m.last_modified_at,
         m.last_modified_at_ns,
         CASE WHEN m.client_status IN ('complete', 'failed', 'lost') THEN 0 ELSE 1 END AS is_live,
         CASE WHEN m.client_status = 'pending' THEN 1 ELSE 0 END AS is_pending,
         COALESCE(m.modified_at_ns, 0) AS written_ns,
         COALESCE(m.modify_index, 0) AS written_index, COALESCE(m.create_index, 0) AS created_index,
         s.sighted_at, s.sighted_at_ns, COALESCE(s.sighted_hour_ns, -1) AS sighted_hour_ns,
         COALESCE(s.uncut_ns, 0) AS uncut_ns, o.index_order
  FROM latest_allocations AS m
  LEFT JOIN newest_sightings_by_hour AS s ON s.region = m.region AND s.alloc_id = m.alloc_id
  LEFT JOIN observations AS o ON o.region = m.region
), numbered_listings AS (
  SELECT region, observed_at_ns, MAX(nomad_index) AS shown_index
  FROM snapshots
  WHERE is_full_listing AND nomad_index IS NOT NULL
  GROUP BY region, observed_at_ns
), absences_by_hour AS (
  SELECT a.region, a.alloc_id, a.shown_at, a.shown_at_ns, a.missing_at_ns,
         COALESCE(a.missing_index, 0) AS listing_index, COALESCE(n.shown_index, 0) AS shown_index,
         COALESCE(a.missing_at_ns, a.shown_at_ns) - COALESCE(a.missing_at_ns, a.shown_at_ns) % 3600000000000 AS hour_ns
  FROM absences AS a
  LEFT JOIN numbered_listings AS n ON n.region = a.region AND n.observed_at_ns = a.shown_at_ns
), judged_absences AS (
  -- is_missing: 0 no; 1 perhaps; 2 yes. A listing that is older than the newest version of the allocation does not
  -- prove that the allocation is missing. If the listing and the version have an index, and index_order of observations
  -- is not `lost`, the indexes are compared. Otherwise, the time of a version that only a stream shows (by the server's
  -- clock) is compared with the time of the listing (by the observer's clock).
  SELECT a.region, a.alloc_id, a.shown_at, a.shown_at_ns, a.missing_at_ns,
         -- An ingest assumes that each full listing of the hour shows the allocation. A listing did not show it if only
         -- streams do, or if the index of the listing is smaller than that of the creation.
         CASE WHEN l.is_only_streamed = 1 THEN 0
              WHEN a.shown_index > 0 AND a.shown_index < l.created_index AND l.index_order <> 'lost' THEN 0
              WHEN a.shown_at_ns IS NULL THEN 0
              ELSE 1 END AS is_shown,
         CASE WHEN a.missing_at_ns IS NULL THEN 0
              WHEN a.listing_index > 0 AND l.written_index > 0 AND l.index_order <> 'lost' THEN
                CASE WHEN a.listing_index >= l.written_index THEN 2 WHEN l.index_order = 'kept' THEN 0 ELSE 1 END
              WHEN l.is_streamed = 1 AND a.missing_at_ns <= l.written_ns THEN 0
              ELSE 2 END AS is_missing
  FROM absences_by_hour AS a
  JOIN allocations_with_sightings AS l ON l.region = a.region AND l.alloc_id = a.alloc_id
      AND l.sighted_hour_ns = a.hour_ns
), absences_by_allocation AS (
  SELECT region, alloc_id, MAX(CASE WHEN is_shown = 1 THEN shown_at END) AS shown_at,
         MAX(CASE WHEN is_shown = 1 THEN shown_at_ns END) AS shown_at_ns,
         MAX(CASE WHEN is_missing = 2 AND is_shown = 1 THEN missing_at_ns ELSE 0 END) AS missing_ns,
         MAX(CASE WHEN is_missing = 2 AND is_shown = 0 THEN missing_at_ns ELSE 0 END) AS missing_open_ns,
         MAX(CASE WHEN is_missing = 1 THEN missing_at_ns ELSE 0 END) AS doubtful_ns,
         MAX(CASE WHEN is_missing = 0 AND missing_at_ns IS NOT NULL THEN missing_at_ns ELSE 0 END) AS rejected_ns,
         MAX(CASE WHEN missing_at_ns IS NULL AND is_shown = 1 THEN shown_at_ns ELSE 0 END) AS exact_ns
  FROM judged_absences
  GROUP BY region, alloc_id
), allocations_with_listings AS (
  SELECT m.region, m.alloc_id, m.last_modified_at, m.last_modified_at_ns, m.is_live, m.is_pending, m.is_only_streamed,
         m.sighted_at,
         m.sighted_at_ns, m.uncut_ns, a.shown_at, a.shown_at_ns, COALESCE(a.missing_ns, 0) AS missing_ns,
         COALESCE(a.missing_open_ns, 0) AS missing_open_ns, COALESCE(a.doubtful_ns, 0) AS doubtful_ns,
         COALESCE(a.exact_ns, 0) AS exact_ns,
         -- One absence stands for all later listings of its hour. If the view rejects it because its listing is older
         -- than the newest version, a later listing may lack the allocation, too.
         CASE WHEN l.recorded_at_ns > a.rejected_ns AND COALESCE(l.recorded_index, m.written_index) >= m.written_index
              THEN COALESCE(a.rejected_ns, 0) ELSE 0 END AS rejected_ns,
         -- Whether the listings that recorded no absence of the allocation do not show it: 0 no; 1 perhaps; 2 yes. They
         -- do not if only streams show it, or if it was created later. Only the indexes tell the latter: a stream dates
         -- a sighting by the server's clock, which may be behind the observer's clock.
         CASE WHEN m.is_only_streamed = 1 THEN 2
              WHEN l.recorded_index >= m.created_index OR l.recorded_index IS NULL OR m.created_index = 0
                OR m.index_order = 'lost' THEN 0
              WHEN m.index_order = 'kept' THEN 2
              ELSE 1 END AS is_unlisted,
         l.recorded_at, l.recorded_at_ns, COALESCE(l.unrecorded_at_ns, 0) AS unrecorded_ns,
         CASE WHEN COALESCE(l.partial_at_ns, 0) > COALESCE(l.unrecorded_at_ns, 0) THEN l.partial_at_ns
              ELSE COALESCE(l.unrecorded_at_ns, 0) END AS unsure_ns,
         CASE WHEN h.last_hour_ns IS NULL THEN 0 ELSE 1 END AS is_listed,
         -- Whether a listing of the same hour lacks an allocation that only streams show: 0 no; 1 perhaps; 2 yes.
         CASE WHEN m.is_only_streamed = 0 OR l.recorded_at_ns IS NULL THEN 0
              WHEN l.recorded_index > 0 AND m.written_index > 0 AND m.index_order <> 'lost' THEN
                CASE WHEN l.recorded_index >= m.written_index THEN 2 WHEN m.index_order = 'kept' THEN 0 ELSE 1 END
              WHEN l.recorded_at_ns > m.written_ns THEN 2
              ELSE 0 END AS lacked_always,
         -- Whether a listing of a later hour lacks the allocation: 0 no; 1 perhaps; 2 yes.
         CASE WHEN h.last_hour_ns IS NULL OR h.last_hour_ns <= m.sighted_hour_ns THEN 0
              WHEN h.largest_index > 0 AND m.written_index > 0 AND m.index_order <> 'lost' THEN
                CASE WHEN h.largest_index >= m.written_index THEN 2
                     WHEN h.unnumbered_at_ns >= m.sighted_hour_ns + 3600000000000
                       AND (m.is_streamed = 0 OR h.unnumbered_at_ns > m.written_ns) THEN 2
                     WHEN m.index_order = 'kept' THEN 0
                     ELSE 1 END
              WHEN m.is_streamed = 1 AND h.last_listing_at_ns <= m.written_ns THEN 0
              ELSE 2 END AS lacked_later
  FROM allocations_with_sightings AS m
  LEFT JOIN absences_by_allocation AS a ON a.region = m.region AND a.alloc_id = m.alloc_id
  LEFT JOIN last_listing AS l ON l.region = m.region AND l.namespace = m.namespace AND l.hour_ns = m.sighted_hour_ns
  LEFT JOIN last_listed_hours AS h ON h.region = m.region AND h.namespace = m.namespace
), allocations_with_absences AS (
  SELECT *,
         -- Whether a listing of the same hour lacks the allocation: 0 no; 1 perhaps; 2 yes; 3 yes, and the last
         -- document that shows the allocation is known.
         CASE WHEN missing_ns > uncut_ns AND missing_ns >= missing_open_ns THEN 3
              WHEN missing_open_ns > uncut_ns AND missing_open_ns > unsure_ns THEN 2
              WHEN missing_open_ns > uncut_ns OR doubtful_ns > uncut_ns OR rejected_ns > uncut_ns THEN 1
              ELSE 0 END AS lacked_now,
         CASE WHEN uncut_ns > COALESCE(shown_at_ns, 0) THEN uncut_ns ELSE COALESCE(shown_at_ns, 0) END AS sure_ns,
         CASE WHEN is_unlisted = 0 THEN recorded_at END AS listed_at,
         CASE WHEN is_unlisted = 0 THEN recorded_at_ns END AS listed_at_ns
  FROM allocations_with_listings
), verdicts AS (
  SELECT *,
         CASE WHEN is_live = 0 THEN 0
              WHEN sighted_at_ns IS NULL THEN is_listed
              WHEN lacked_now >= 2 OR lacked_later = 2 OR lacked_always = 2 THEN 2
              WHEN lacked_now = 1 OR lacked_later = 1 OR lacked_always = 1 THEN 1
              WHEN unrecorded_ns > sure_ns AND unrecorded_ns > COALESCE(listed_at_ns, 0) THEN 1
              ELSE 0 END AS verdict,
         CASE WHEN is_live = 0 AND last_modified_at_ns IS NOT NULL THEN 1
              WHEN is_live = 0 THEN 0
              WHEN sighted_at_ns IS NULL THEN 1 - is_listed
              -- A stream dates a sighting by the version that it shows.
              WHEN is_only_streamed = 1 AND last_modified_at_ns IS NOT NULL THEN 1
              -- Sightings of a pending allocation are never cut to the hour.
              WHEN lacked_now = 3 OR is_pending = 1 THEN 1
              WHEN lacked_now > 0 THEN 0
              WHEN exact_ns > 0 AND exact_ns >= uncut_ns THEN 1
              WHEN unsure_ns > sure_ns AND unsure_ns > COALESCE(listed_at_ns, 0) THEN 0
              WHEN is_unlisted = 1 AND recorded_at_ns > sure_ns THEN 0
              ELSE 1 END AS is_exact
  FROM allocations_with_absences
), known_times AS (
  SELECT region, alloc_id, last_modified_at AS known_at, last_modified_at_ns AS known_at_ns
  FROM verdicts
  WHERE last_modified_at_ns IS NOT NULL
  UNION ALL
  SELECT region, alloc_id, sighted_at AS known_at, sighted_at_ns AS known_at_ns
  FROM verdicts
  WHERE sighted_at_ns IS NOT NULL AND (is_live = 1 OR last_modified_at_ns IS NULL)
  UNION ALL
  SELECT region, alloc_id, shown_at AS known_at, shown_at_ns AS known_at_ns
  FROM verdicts
  WHERE shown_at_ns IS NOT NULL AND is_live = 1
  UNION ALL
  SELECT region, alloc_id, listed_at AS known_at, listed_at_ns AS known_at_ns
  FROM verdicts
  WHERE listed_at_ns IS NOT NULL AND is_live = 1 AND lacked_now = 0
), last_known_times AS (
  SELECT region, alloc_id, MAX(known_at) AS last_known_at, MAX(known_at_ns) AS last_known_at_ns
  FROM known_times
  GROUP BY region, alloc_id
), verdicts_with_times AS (
  SELECT v.region, v.alloc_id, v.verdict, v.is_exact, k.last_known_at, k.last_known_at_ns
  FROM verdicts AS v
  LEFT JOIN last_known_times AS k ON k.region = v.region AND k.alloc_id = v.alloc_id
), node_versions AS (
  SELECT *, COALESCE(modify_index, 0) AS version
  FROM nodes
), newest_node_versions AS (
  SELECT region, node_id, MAX(version) AS newest_version
  FROM node_versions
  GROUP BY region, node_id
), latest_nodes AS (
  SELECT v.region, v.node_id, MAX(v.node_name) AS listed_name, MAX(v.node_class) AS node_class,
         MAX(v.datacenter) AS datacenter
  FROM node_versions AS v
  JOIN newest_node_versions AS n ON n.region = v.region AND n.node_id = v.node_id AND n.newest_version = v.version
  GROUP BY v.region, v.node_id
)
SELECT m.region, m.namespace, m.job_id, m.task_group, m.alloc_id, m.job_type, m.job_version,
       m.node_id, COALESCE(m.node_name, n.listed_name) AS node_name, n.node_class, n.datacenter,
       m.name, m.alloc_index, m.eval_id, m.deployment_id,
       m.desired_status, m.desired_description, m.client_status, m.client_description,
       m.desired_migrate, m.desired_reschedule, m.desired_force_reschedule, m.desired_no_shutdown_delay,
       m.desired_migrate_disable_placement,
       m.deployment_healthy, m.deployment_healthy_at, m.deployment_healthy_at_ns, m.canary,
       m.previous_allocation, m.next_allocation, m.followup_eval_id, m.preempted_by,
       m.reschedule_attempts, m.rescheduled_from_alloc_id, m.rescheduled_from_node_id, m.rescheduled_at,
       m.rescheduled_at_ns,
       m.created_at, m.created_at_ns, m.modified_at, m.modified_at_ns, m.create_index, m.modify_index,
       m.cpu_shares, m.memory_mb, m.memory_max_mb, m.disk_mb,
       CASE WHEN v.is_exact = 1 THEN v.last_known_at END AS last_seen_at,
       CASE WHEN v.is_exact = 1 THEN v.last_known_at_ns END AS last_seen_at_ns,
       v.last_known_at, v.last_known_at_ns,
       CASE WHEN v.verdict = 2 THEN TRUE WHEN v.verdict = 0 THEN FALSE END AS vanished
FROM latest_allocations AS m
JOIN verdicts_with_times AS v ON v.region = m.region AND v.alloc_id = m.alloc_id
LEFT JOIN latest_nodes AS n ON n.region = m.region AND n.node_id = m.node_id
ORDER BY m.region NULLS LAST, m.namespace NULLS LAST, m.job_id NULLS LAST, m.task_group NULLS LAST,
         m.alloc_id NULLS LAST
