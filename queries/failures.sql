-- failures: Which failures did tasks have, and of which kind?
--
-- One row is one event that ended a run of a task, or its setup, as a failure.
-- A stop is not a failure, whatever its exit code. A restart that a user, a template, Vault or an identity requested is
-- not a failure either. If a failure precedes a Not Restarting in the same run, the Not Restarting is not a failure of
-- its own: it says that Nomad gave up after that failure. Lost, unknown and preempted allocations are not failures of
-- tasks. The period selects rows by failed_at. The class is the first that matches, but unknown comes
-- before health, signal and exit in the two cases named last (endings has the exact rules):
--   oom         the event says that memory ran out
--   health      the task was restarted because a health check failed
--   signal      a signal ended the run
--   exit        the run ended with an exit code other than 0
--   driver      the driver could not start the task, or the run ended with exit code 0 and an exit message of the
--               driver
--   artifact    an artifact could not be fetched
--   validation  the configuration of the task is not valid
--   template    a template could not be rendered
--   hook        a hook failed before the start, or the task was killed because Vault or an identity was missing
--   restore     after a restart of the agent, the agent did not find the task again
--   timeout     the allocation ran longer than max_run_duration
--   unknown     any other event that marks the task as failed; an end whose preceding events are lost, so that a health
--               check may have caused it; or an end with exit code 137 that only a log shows
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
--   attempt        int64      which run of the task it ended; 1 is the first; null when not known (for example, before
--                             Nomad 0.6)
--   failed_at      timestamp  when it happened, by the client's clock; null when the event has no time
--   failed_at_ns   int64      the same in nanoseconds since the epoch
--   event_type     string     type of the event
--   class          string     class of the failure, see above
--   suspected_oom  bool       whether memory may have run out although the event does not say so. True in two cases:
--                             the class is signal or exit, with exit code 137 or signal 9; or the class is unknown,
--                             with exit code 137, only a log shows the event, and no preceding event is lost
--   gave_up        bool       whether Nomad gave up after it, so that the task was not restarted
--   exit_code      int64      exit code; null where none applies
--   signal         int64      number of the signal that ended the process, 0 for none; null where none applies
--   message        string     Nomad's message for the event

SELECT s.region, s.namespace, s.job_id, s.task_group, s.task, s.alloc_id, s.job_type, s.job_version,
       s.node_id, s.node_name, s.node_class, s.datacenter,
       e.attempt, e.event_at AS failed_at, e.event_at_ns AS failed_at_ns, e.event_type, e.class, e.suspected_oom,
       e.gave_up,
       e.exit_code, e.signal, e.message
FROM endings AS e
JOIN task_states AS s ON s.region = e.region AND s.alloc_id = e.alloc_id AND s.task = e.task
CROSS JOIN period AS p
WHERE e.outcome = 'failed' AND COALESCE(e.event_at_ns, 0) >= p.since_ns AND COALESCE(e.event_at_ns, 0) < p.until_ns
ORDER BY s.region NULLS LAST, s.namespace NULLS LAST, s.job_id NULLS LAST, s.task_group NULLS LAST, s.task NULLS LAST,
         s.alloc_id NULLS LAST, e.event_no
