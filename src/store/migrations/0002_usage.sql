-- The usage log: one row for each request that was checked, in a partition a day; how far each sidecar's spool is stored.
-- A row is written once, together with the position behind it, so that a replay after a crash stores nothing twice.
-- Sidecars insert and never read or change rows; only the access-log half of a row may be filled in later, once.
-- Depends on 0001 for roles and schema.

SET LOCAL ROLE gw_owner;
SET LOCAL search_path = gatewarden, pg_temp;

CREATE TABLE usage_log (
  time            timestamptz NOT NULL,                   -- of the decision, database time
  decision_id     uuid NOT NULL,                          -- UUIDv7 of the same millisecond
  sidecar         uuid NOT NULL,                          -- the process that answered
  profile         text COLLATE "C" NOT NULL DEFAULT '',   -- '': none matched
  organization_id text COLLATE "C" NOT NULL DEFAULT '',   -- '': no key known
  api_key_id      text COLLATE "C" NOT NULL DEFAULT '',
  environment     text COLLATE "C" NOT NULL DEFAULT '',
  method          text COLLATE "C" NOT NULL DEFAULT '',
  host            text COLLATE "C" NOT NULL DEFAULT '',
  path            text COLLATE "C" NOT NULL DEFAULT '',   -- without the query
  route           text COLLATE "C" NOT NULL DEFAULT '',
  required_scope  text COLLATE "C" NOT NULL DEFAULT '',
  decision        text COLLATE "C" NOT NULL CONSTRAINT usage_log_decision CHECK (decision IN ('allow', 'deny')),
  reason          text COLLATE "C" NOT NULL DEFAULT '',   -- '': allowed
  status          smallint NOT NULL DEFAULT 0,            -- the denial's own; 0: allowed
  client_ip       inet,                                   -- NULL: could not be determined
  client_ip_mode  text COLLATE "C" NOT NULL DEFAULT '',
  direct_ip       inet,
  user_agent      text COLLATE "C" NOT NULL DEFAULT '',
  request_id      text COLLATE "C" NOT NULL DEFAULT '',
  support_id      text COLLATE "C" NOT NULL DEFAULT '',
  -- The access-log half; final_status NULL: not joined.
  final_status    smallint,
  duration_us     bigint,
  request_bytes   bigint,
  response_bytes  bigint,
  response_flags  text COLLATE "C",
  upstream        text COLLATE "C",
  grpc_status     smallint) PARTITION BY RANGE (time);
CREATE INDEX usage_log_by_decision ON usage_log (decision_id);

-- Times far from today: a sidecar's clock was wrong before it had heard from the database.
CREATE TABLE usage_log_other PARTITION OF usage_log DEFAULT;

-- Where the stored part of a spool ends. The row moves in the transaction that stores what lies before it.
CREATE TABLE usage_position (
  sidecar     uuid NOT NULL,
  lane        smallint NOT NULL CONSTRAINT usage_position_lane CHECK (lane IN (1, 2)),   -- 1 allowed, 2 denied
  segment     bigint NOT NULL,
  position    bigint NOT NULL,                            -- octets of the segment that are stored
  update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (sidecar, lane));

-- Makes the partition of a UTC day. Sidecars call it for the days of the rows that they are about to store, admin for
-- tomorrow. SECURITY DEFINER because a partition must belong to the owner of its parent; it takes a date and nothing
-- else, so a caller can only make empty partitions near today. False: no partition of its own, the row goes to the rest.
CREATE FUNCTION gw_usage_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  partition_name text := 'usage_log_' || to_char(day, 'YYYYMMDD');
  today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  starts timestamptz := day::timestamp AT TIME ZONE 'UTC';
  ends timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
  IF to_regclass('gatewarden.' || partition_name) IS NOT NULL THEN
    RETURN true;
  END IF;
  IF day NOT BETWEEN today - 31 AND today + 2 THEN
    RETURN false;
  END IF;
  PERFORM pg_advisory_xact_lock(7305814227);
  IF to_regclass('gatewarden.' || partition_name) IS NOT NULL THEN
    RETURN true;
  END IF;
  -- Made apart and attached: the parent stays open to readers and writers.
  EXECUTE format('CREATE TABLE %I (LIKE usage_log INCLUDING ALL)', partition_name);
  EXECUTE format('ALTER TABLE %I ADD CONSTRAINT of_its_day CHECK (time >= %L AND time < %L)',
                 partition_name, starts, ends);
  EXECUTE format('WITH moved AS (DELETE FROM usage_log_other WHERE time >= %L AND time < %L RETURNING *)
                  INSERT INTO %I SELECT * FROM moved', starts, ends, partition_name);
  EXECUTE format('ALTER TABLE usage_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                 partition_name, starts, ends);
  EXECUTE format('ALTER TABLE %I DROP CONSTRAINT of_its_day', partition_name);
  RETURN true;
END $$;

-- Fills in the access-log half of rows that were stored without it. Only once, and only rows of the last two days: a
-- sidecar can change nothing else of a row. Returns how many rows got their half.
CREATE FUNCTION gw_usage_join(
  decision_ids uuid[], times timestamptz[], final_statuses smallint[], durations bigint[], request_sizes bigint[],
  response_sizes bigint[], flags text[], upstreams text[], grpc_statuses smallint[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp AS $$
DECLARE
  joined integer;
BEGIN
  -- The time in a UUIDv7 narrows the search to one partition at execution.
  UPDATE usage_log l
  SET final_status = h.final_status, duration_us = h.duration, request_bytes = h.request_size,
      response_bytes = h.response_size, response_flags = h.flag, upstream = h.upstream, grpc_status = h.grpc_status
  FROM unnest(decision_ids, times, final_statuses, durations, request_sizes, response_sizes, flags, upstreams,
              grpc_statuses)
       AS h(id, at, final_status, duration, request_size, response_size, flag, upstream, grpc_status)
  WHERE l.decision_id = h.id AND l.time >= h.at AND l.time < h.at + interval '1 millisecond'
    AND l.time > clock_timestamp() - interval '2 days' AND l.final_status IS NULL;
  GET DIAGNOSTICS joined = ROW_COUNT;
  RETURN joined;
END $$;

-- Rights --------------------------------------------------------------------------------------------------------------

REVOKE ALL ON FUNCTION gw_usage_partition, gw_usage_join FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gw_usage_partition TO gw_sidecar, gw_admin, gw_usage;
GRANT EXECUTE ON FUNCTION gw_usage_join TO gw_sidecar;
GRANT INSERT ON usage_log TO gw_sidecar;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_position TO gw_sidecar;
GRANT SELECT, DELETE ON usage_log, usage_position TO gw_usage;
GRANT SELECT ON usage_log TO gw_admin;

ANALYZE usage_log, usage_position;
