-- last_listing: When was a namespace last listed in full, hour by hour?
--
-- One row is one UTC hour in which at least one full listing showed a namespace that has allocations.
-- A listing of all namespaces counts for each of them. Listings whose time is not known are left out. Hours, because
-- sightings of a running allocation are cut to the hour.
--
-- Columns:
--   region              string     what `--region` says; empty without it
--   namespace           string     Nomad namespace
--   hour_ns             int64      begin of the UTC hour, in nanoseconds since the epoch
--   last_listing_at     timestamp  the last full listing within that hour
--   last_listing_at_ns  int64      the same in nanoseconds since the epoch

WITH listings AS (
  SELECT region, namespace AS listed_namespace, observed_at, observed_at_ns,
         observed_at_ns - observed_at_ns % 3600000000000 AS hour_ns
  FROM snapshots
  WHERE is_full_listing AND observed_at_ns IS NOT NULL
), hours AS (
  SELECT region, listed_namespace, hour_ns, MAX(observed_at) AS observed_at, MAX(observed_at_ns) AS observed_at_ns
  FROM listings
  GROUP BY region, listed_namespace, hour_ns
), namespaces AS (
  SELECT region, namespace
  FROM allocation_history
  GROUP BY region, namespace
), listed AS (
  SELECT n.region, n.namespace, h.listed_namespace, h.hour_ns, h.observed_at, h.observed_at_ns
  FROM namespaces AS n
  JOIN hours AS h ON h.region = n.region
)
SELECT region, namespace, hour_ns, MAX(observed_at) AS last_listing_at, MAX(observed_at_ns) AS last_listing_at_ns
FROM listed
WHERE listed_namespace = '*' OR listed_namespace = namespace
GROUP BY region, namespace, hour_ns
ORDER BY region NULLS LAST, namespace NULLS LAST, hour_ns NULLS LAST
