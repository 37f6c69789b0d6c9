-- period: Which period do statistics cover?
--
-- One row is the whole period: all of time, unless --since or --until replace the row.
--
-- Columns:
--   since_ns  int64  its begin in nanoseconds since the epoch, inclusive
--   until_ns  int64  its end in nanoseconds since the epoch, exclusive

SELECT CAST(0 AS BIGINT) AS since_ns, CAST(9223372036854775807 AS BIGINT) AS until_ns
