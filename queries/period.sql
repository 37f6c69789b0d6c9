-- period: Which period do statistics cover?
--
-- One row is the period; there are no others. In this file it covers all of time. alloclog replaces it if --since or
-- --until is given.
--
-- Columns:
--   since_ns  int64  its start in nanoseconds since the epoch, inclusive
--   until_ns  int64  its end in nanoseconds since the epoch, exclusive

SELECT CAST(0 AS BIGINT) AS since_ns, CAST(9223372036854775807 AS BIGINT) AS until_ns
