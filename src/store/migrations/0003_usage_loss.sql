-- When requests were given up that are in no row of the usage log: whoever judges by the log must know that it has gaps.
-- A sidecar tells it in few rows, each of a time within which all of them lie; whose requests they were nobody knows.
-- Depends on 0001 for roles and schema.

SET LOCAL ROLE gw_owner;
SET LOCAL search_path = gatewarden, pg_temp;

CREATE TABLE usage_loss (
  sidecar     uuid NOT NULL,                              -- the process that gave them up
  number      bigint NOT NULL,                            -- of its losses: telling one again changes nothing
  from_time   timestamptz NOT NULL,                       -- by the sidecar's wall clock, as to_time
  to_time     timestamptz NOT NULL,
  allowed     bigint NOT NULL,                            -- as far as they could be counted
  denied      bigint NOT NULL,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (sidecar, number),
  CONSTRAINT usage_loss_order CHECK (from_time <= to_time));
CREATE INDEX usage_loss_by_time ON usage_loss (to_time);

GRANT INSERT ON usage_loss TO gw_sidecar;
GRANT SELECT, DELETE ON usage_loss TO gw_usage;

ANALYZE usage_loss;
