-- observations: Until when was each region observed?
--
-- One row is one region.
-- In a lake, a document whose time is more than an hour after its ingest is not trusted, because a clock was ahead. In
-- all views, "newest observation" and "now" mean observed_at of this view. Views ignore documents after it, and
-- sightings more than an hour after it.
--
-- Columns:
--   region          string     region given by `--region`; empty without it
--   observed_at     timestamp  time of the newest trusted observation
--   observed_at_ns  int64      the same in nanoseconds since the epoch
--   is_lower_bound  bool       whether observed_at is only the newest CreateTime of a document without a ModifyTime
--                              (before Nomad 0.7.1); the region was observed at that time or later
--   untrusted       int64      number of documents whose time is not trusted
--   index_order     string     whether the X-Nomad-Index of full listings rises with time: `kept` if it does;
--                              `doubtful` if the index of a listing is below that of an earlier listing; `lost` if the
--                              largest index of an hour is below that of an earlier hour, as after a restore of the
--                              cluster

WITH dated_documents AS (
  SELECT region, observed_at, observed_at_ns, observed_from, is_full_listing, nomad_index,
         observed_at_ns - observed_at_ns % 3600000000000 AS hour_ns,
         CASE WHEN ingested_at_ns IS NULL OR observed_at_ns <= ingested_at_ns + 3600000000000 THEN 1
              ELSE 0 END AS is_trusted,
         CASE WHEN observed_from = 'created' THEN 1 ELSE 0 END AS is_created
  FROM snapshots
  WHERE observed_at_ns IS NOT NULL
), observed_regions AS (
  SELECT region,
         MAX(CASE WHEN is_trusted = 1 THEN observed_at END) AS observed_at,
         MAX(CASE WHEN is_trusted = 1 THEN observed_at_ns END) AS observed_at_ns,
         MAX(CASE WHEN is_trusted = 1 AND is_created = 0 THEN observed_at_ns ELSE 0 END) AS told_ns,
         SUM(1 - is_trusted) AS untrusted
  FROM dated_documents
  GROUP BY region
), numbered_listings AS (
  SELECT region, hour_ns, observed_at_ns, nomad_index
  FROM dated_documents
  WHERE is_trusted = 1 AND is_full_listing AND nomad_index IS NOT NULL
), index_by_hour AS (
  SELECT region, hour_ns, MAX(nomad_index) AS hour_index
  FROM numbered_listings
  GROUP BY region, hour_ns
), listings_with_largest_index AS (
  SELECT region, nomad_index,
         MAX(nomad_index) OVER (PARTITION BY region ORDER BY observed_at_ns, nomad_index
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS largest
  FROM numbered_listings
), hours_with_largest_index AS (
  SELECT region, hour_index,
         MAX(hour_index) OVER (PARTITION BY region ORDER BY hour_ns
                               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS largest
  FROM index_by_hour
), index_falls AS (
  SELECT region, CASE WHEN nomad_index < largest THEN 1 ELSE 0 END AS disorder
  FROM listings_with_largest_index
  UNION ALL
  SELECT region, CASE WHEN hour_index < largest THEN 2 ELSE 0 END AS disorder
  FROM hours_with_largest_index
), index_falls_by_region AS (
  SELECT region, MAX(disorder) AS disorder
  FROM index_falls
  GROUP BY region
)
SELECT r.region, r.observed_at, r.observed_at_ns,
       CASE WHEN r.observed_at_ns > r.told_ns THEN TRUE ELSE FALSE END AS is_lower_bound,
       CAST(r.untrusted AS BIGINT) AS untrusted,
       CASE WHEN d.disorder = 2 THEN 'lost' WHEN d.disorder = 1 THEN 'doubtful' ELSE 'kept' END AS index_order
FROM observed_regions AS r
LEFT JOIN index_falls_by_region AS d ON d.region = r.region
ORDER BY r.region NULLS LAST
