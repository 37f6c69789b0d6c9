-- last_listing: When was each namespace last listed, in each hour?
--
-- One row is one UTC hour of one namespace, if the namespace has allocations and a document of that hour covers it.
-- A listing of all namespaces counts for each namespace, and so does a document that names no namespace. These
-- documents are left out: streams, documents without a known time, documents later than the region's newest
-- observation, and documents that show no allocation and are not full listings. Rows are hours because the sightings of
-- a running allocation are cut to the hour.
--
-- Columns:
--   region              string     region given by `--region`; empty without it
--   namespace           string     Nomad namespace
--   hour_ns             int64      start of the UTC hour, in nanoseconds since the epoch
--   last_listing_at     timestamp  time of the last full listing within that hour; null when there was none
--   last_listing_at_ns  int64      the same in nanoseconds since the epoch
--   recorded_at         timestamp  time of the last full listing within that hour whose absences are recorded; null
--                                  when there was none
--   recorded_at_ns      int64      the same in nanoseconds since the epoch
--   recorded_index      int64      the largest X-Nomad-Index of these listings; null if one of them has no index
--   unrecorded_at_ns    int64      time of the last full listing within that hour whose absences are not recorded
--                                  because an older version of alloclog ingested it, in nanoseconds since the epoch;
--                                  null when there was none
--   partial_at_ns       int64      time of the last document within that hour that is not a full listing, in
--                                  nanoseconds since the epoch; null when there was none
--   largest_index       int64      the largest X-Nomad-Index of the full listings within that hour; null when none has
--                                  an index
--   unnumbered_at_ns    int64      time of the last full listing within that hour without an X-Nomad-Index, in
--                                  nanoseconds since the epoch; null when there was none

WITH dated_documents AS (
  SELECT s.region, s.namespace AS listed_namespace, s.observed_at, s.observed_at_ns, s.nomad_index,
         s.observed_at_ns - s.observed_at_ns % 3600000000000 AS hour_ns,
         CASE WHEN s.is_full_listing THEN 1 ELSE 0 END AS is_full,
         CASE WHEN s.absences_recorded THEN 1 ELSE 0 END AS is_recorded
  FROM snapshots AS s
  JOIN observations AS o ON o.region = s.region
  WHERE s.observed_at_ns <= o.observed_at_ns
    AND (s.is_full_listing OR (COALESCE(s.shape, 'stub') <> 'stream' AND COALESCE(s.allocations, 1) > 0))
), listing_hours AS (
  SELECT region, listed_namespace, hour_ns,
         MAX(CASE WHEN is_full = 1 THEN observed_at END) AS last_listing_at,
         MAX(CASE WHEN is_full = 1 THEN observed_at_ns END) AS last_listing_at_ns,
         MAX(CASE WHEN is_full = 1 AND is_recorded = 1 THEN observed_at END) AS recorded_at,
         MAX(CASE WHEN is_full = 1 AND is_recorded = 1 THEN observed_at_ns END) AS recorded_at_ns,
         MAX(CASE WHEN is_full = 1 AND is_recorded = 1 THEN nomad_index END) AS recorded_index,
         MAX(CASE WHEN is_full = 1 AND is_recorded = 1 AND nomad_index IS NULL THEN 1 ELSE 0 END) AS is_unnumbered,
         MAX(CASE WHEN is_full = 1 AND is_recorded = 0 THEN observed_at_ns END) AS unrecorded_at_ns,
         MAX(CASE WHEN is_full = 0 THEN observed_at_ns END) AS partial_at_ns,
         MAX(CASE WHEN is_full = 1 THEN nomad_index END) AS largest_index,
         MAX(CASE WHEN is_full = 1 AND nomad_index IS NULL THEN observed_at_ns END) AS unnumbered_at_ns
  FROM dated_documents
  GROUP BY region, listed_namespace, hour_ns
), known_namespaces AS (
  SELECT region, namespace
  FROM allocation_history
  GROUP BY region, namespace
), hours_by_namespace AS (
  SELECT n.region, n.namespace, h.listed_namespace, h.hour_ns, h.last_listing_at, h.last_listing_at_ns, h.recorded_at,
         h.recorded_at_ns, h.recorded_index, h.is_unnumbered, h.unrecorded_at_ns, h.partial_at_ns, h.largest_index,
         h.unnumbered_at_ns
  FROM known_namespaces AS n
  JOIN listing_hours AS h ON h.region = n.region
)
SELECT region, namespace, hour_ns, MAX(last_listing_at) AS last_listing_at,
       MAX(last_listing_at_ns) AS last_listing_at_ns, MAX(recorded_at) AS recorded_at,
       MAX(recorded_at_ns) AS recorded_at_ns,
       CASE WHEN MAX(is_unnumbered) = 0 THEN MAX(recorded_index) END AS recorded_index,
       MAX(unrecorded_at_ns) AS unrecorded_at_ns,
       MAX(partial_at_ns) AS partial_at_ns, MAX(largest_index) AS largest_index,
       MAX(unnumbered_at_ns) AS unnumbered_at_ns
FROM hours_by_namespace
WHERE listed_namespace IS NULL OR listed_namespace = '*' OR listed_namespace = namespace
GROUP BY region, namespace, hour_ns
ORDER BY region NULLS LAST, namespace NULLS LAST, hour_ns NULLS LAST
