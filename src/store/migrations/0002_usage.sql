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
-- sidecar can change nothing else of a row. Returns the decisions whose rows are there: true where this call filled
-- them in, false where they were full already. The others may be stored yet.
CREATE FUNCTION gw_usage_join(
  decision_ids uuid[], times timestamptz[], final_statuses smallint[], durations bigint[], request_sizes bigint[],
  response_sizes bigint[], flags text[], upstreams text[], grpc_statuses smallint[])
RETURNS TABLE (stored_id uuid, filled boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp
-- A look by index for each half: nothing else is right, and statistics of a day that has just begun may say otherwise.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  -- The times in the UUIDv7s leave few partitions to the search, and few rows of them to each half.
  since timestamptz := (SELECT greatest(min(t), statement_timestamp() - interval '2 days') FROM unnest(times) t);
  until timestamptz := (SELECT max(t) + interval '1 millisecond' FROM unnest(times) t);
BEGIN
  RETURN QUERY
  WITH half AS MATERIALIZED (
    SELECT * FROM unnest(decision_ids, times, final_statuses, durations, request_sizes, response_sizes, flags,
                         upstreams, grpc_statuses)
    AS h(id, at, final_status, duration, request_size, response_size, flag, upstream, grpc_status)
  ), joined AS (
    UPDATE usage_log l
    SET final_status = h.final_status, duration_us = h.duration, request_bytes = h.request_size,
        response_bytes = h.response_size, response_flags = h.flag, upstream = h.upstream, grpc_status = h.grpc_status
    FROM half h
    WHERE l.decision_id = h.id AND l.time >= h.at AND l.time < h.at + interval '1 millisecond'
      AND l.time >= since AND l.time < until AND l.final_status IS NULL
    RETURNING l.decision_id
  )
  SELECT j.decision_id, true FROM joined j
  UNION ALL
  SELECT l.decision_id, false FROM half h JOIN usage_log l
    ON l.decision_id = h.id AND l.time >= h.at AND l.time < h.at + interval '1 millisecond'
    AND l.time >= since AND l.time < until AND l.final_status IS NOT NULL;
END $$;

-- What is asked of it -------------------------------------------------------------------------------------------------

-- One index for each thing that is filtered by, read from its newest end. Status is the final one where it is known.
-- Those without the decision id leave the order within one microsecond to a short sort.
CREATE INDEX usage_log_by_time ON usage_log (organization_id, time, decision_id);
CREATE INDEX usage_log_by_key ON usage_log (api_key_id, time, decision_id);
CREATE INDEX usage_log_by_method ON usage_log (organization_id, method, time);
CREATE INDEX usage_log_by_status ON usage_log (organization_id, (coalesce(final_status, status)), time);
CREATE INDEX usage_log_by_address ON usage_log (organization_id, client_ip, time);
CREATE INDEX usage_log_by_path ON usage_log (organization_id, path, time);
CREATE INDEX usage_log_denied ON usage_log (organization_id, time, decision_id, reason) WHERE decision = 'deny';
CREATE INDEX usage_log_by_support_id ON usage_log (support_id) WHERE support_id <> '';
CREATE INDEX usage_log_of_all ON usage_log (time, decision_id);     -- for operators, over all organizations

-- Counters by the hour, which outlive the rows. Exact: the trigger below writes a difference in the transaction that
-- stores or joins rows, gw_usage_fold adds it up. Until then it is read beside the counters. Differences are only ever
-- inserted, so that no sidecar waits for another.
CREATE TABLE usage_rollup (
  hour            timestamptz NOT NULL,                   -- its start
  profile         text COLLATE "C" NOT NULL,
  organization_id text COLLATE "C" NOT NULL,
  api_key_id      text COLLATE "C" NOT NULL,
  reason          text COLLATE "C" NOT NULL,              -- '': allowed
  status          smallint NOT NULL,                      -- final if joined, else the denial's own; 0: not known
  requests        bigint NOT NULL,
  last_time       timestamptz NOT NULL,                   -- of the newest of these requests
  PRIMARY KEY (organization_id, hour, api_key_id, reason, status, profile));
CREATE INDEX usage_rollup_by_key ON usage_rollup (api_key_id, hour);
CREATE INDEX usage_rollup_by_hour ON usage_rollup (hour);

CREATE TABLE usage_rollup_delta (
  id              bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  hour            timestamptz NOT NULL,
  profile         text COLLATE "C" NOT NULL,
  organization_id text COLLATE "C" NOT NULL,
  api_key_id      text COLLATE "C" NOT NULL,
  reason          text COLLATE "C" NOT NULL,
  status          smallint NOT NULL,
  requests        bigint NOT NULL,                        -- below 0 where a status became known
  last_time       timestamptz NOT NULL);
CREATE INDEX usage_rollup_delta_by_organization ON usage_rollup_delta (organization_id, api_key_id);

-- SECURITY DEFINER: a sidecar may store rows, not touch counters.
CREATE FUNCTION gw_usage_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp AS $$
BEGIN
  INSERT INTO usage_rollup_delta (hour, profile, organization_id, api_key_id, reason, status, requests, last_time)
    SELECT date_trunc('hour', time, 'UTC'), profile, organization_id, api_key_id, reason,
           coalesce(final_status, status), count(*), max(time)
    FROM stored GROUP BY 1, 2, 3, 4, 5, 6;
  RETURN NULL;
END $$;

CREATE FUNCTION gw_usage_recount() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp AS $$
BEGIN
  INSERT INTO usage_rollup_delta (hour, profile, organization_id, api_key_id, reason, status, requests, last_time)
    SELECT date_trunc('hour', time, 'UTC'), profile, organization_id, api_key_id, reason,
           coalesce(final_status, status), sum(weight), max(time)
    FROM (SELECT *, -1 AS weight FROM known UNION ALL SELECT *, 1 FROM joined) changed
    GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(weight) <> 0;
  RETURN NULL;
END $$;

CREATE TRIGGER usage_log_count AFTER INSERT ON usage_log REFERENCING NEW TABLE AS stored
  FOR EACH STATEMENT EXECUTE FUNCTION gw_usage_count();
CREATE TRIGGER usage_log_recount AFTER UPDATE ON usage_log REFERENCING OLD TABLE AS known NEW TABLE AS joined
  FOR EACH STATEMENT EXECUTE FUNCTION gw_usage_recount();

-- Adds up at most `portion` differences and moves last_used_time of the keys in them; how many it took, -1 while another
-- session does so. The change of last_used_time alone needs no feed record. A key that somebody holds gets its time in a
-- later round: a difference of 0 requests remembers it.
CREATE FUNCTION gw_usage_fold(portion integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp AS $$
DECLARE
  taken integer;
BEGIN
  IF NOT pg_try_advisory_xact_lock(7305814228) THEN
    RETURN -1;
  END IF;
  WITH old AS MATERIALIZED (
    DELETE FROM usage_rollup_delta WHERE id IN (SELECT id FROM usage_rollup_delta ORDER BY id LIMIT portion) RETURNING *
  ), added AS (
    INSERT INTO usage_rollup AS r (hour, profile, organization_id, api_key_id, reason, status, requests, last_time)
      SELECT hour, profile, organization_id, api_key_id, reason, status, sum(requests), max(last_time) FROM old
      GROUP BY 1, 2, 3, 4, 5, 6 HAVING bool_or(requests <> 0)
    ON CONFLICT (organization_id, hour, api_key_id, reason, status, profile) DO UPDATE
      SET requests = r.requests + excluded.requests, last_time = greatest(r.last_time, excluded.last_time)
  ), used AS MATERIALIZED (
    -- A time that is still to come is that of a clock that was wrong.
    SELECT k.id, k.organization_id, max(o.last_time) AS at
    FROM old o JOIN api_keys k ON k.id = o.api_key_id AND k.organization_id = o.organization_id
    WHERE o.reason = '' AND o.requests >= 0 AND o.last_time < clock_timestamp() + interval '1 minute'
    GROUP BY k.id
  ), held AS MATERIALIZED (
    SELECT k.id FROM api_keys k JOIN used ON used.id = k.id
    WHERE k.last_used_time IS NULL OR k.last_used_time < used.at ORDER BY k.id FOR UPDATE OF k SKIP LOCKED
  ), moved AS (
    UPDATE api_keys k SET last_used_time = used.at FROM used JOIN held ON held.id = used.id WHERE k.id = used.id
  ), later AS (
    INSERT INTO usage_rollup_delta (hour, profile, organization_id, api_key_id, reason, status, requests, last_time)
      SELECT date_trunc('hour', used.at, 'UTC'), '', used.organization_id, used.id, '', 0, 0, used.at
      FROM used JOIN api_keys k ON k.id = used.id
      WHERE (k.last_used_time IS NULL OR k.last_used_time < used.at) AND used.id NOT IN (SELECT id FROM held)
  )
  SELECT count(*) INTO taken FROM old;
  RETURN taken;
END $$;

-- Drops the oldest partition of a day that ended before `before`; its name, NULL when there is none. It gives up rather
-- than keep writers waiting. SECURITY DEFINER as gw_usage_partition; a day that is not over cannot be dropped.
CREATE FUNCTION gw_usage_drop(before timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gatewarden, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  oldest text;
BEGIN
  SELECT c.relname INTO oldest FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_log'::regclass AND c.relname ~ '^usage_log_[0-9]{8}$' ORDER BY c.relname LIMIT 1;
  IF oldest IS NULL OR (to_date(right(oldest, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC'
                       > least(before, clock_timestamp()) THEN
    RETURN NULL;
  END IF;
  EXECUTE format('DROP TABLE %I', oldest);
  RETURN oldest;
END $$;

-- Rights --------------------------------------------------------------------------------------------------------------

REVOKE ALL ON FUNCTION gw_usage_partition, gw_usage_join, gw_usage_count, gw_usage_recount, gw_usage_fold, gw_usage_drop
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gw_usage_partition TO gw_sidecar, gw_admin, gw_usage;
GRANT EXECUTE ON FUNCTION gw_usage_join TO gw_sidecar;
GRANT INSERT ON usage_log TO gw_sidecar;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_position TO gw_sidecar;
GRANT SELECT, DELETE ON usage_log, usage_position TO gw_usage;
GRANT SELECT ON usage_log TO gw_admin;

GRANT EXECUTE ON FUNCTION gw_usage_fold, gw_usage_drop TO gw_usage;
GRANT SELECT, DELETE ON usage_rollup TO gw_usage;         -- DELETE: counters past their own retention
GRANT SELECT ON usage_rollup_delta TO gw_usage;
GRANT SELECT (id, organization_id, key_hint, last_used_time) ON api_keys TO gw_usage;

ANALYZE usage_log, usage_position, usage_rollup, usage_rollup_delta;
