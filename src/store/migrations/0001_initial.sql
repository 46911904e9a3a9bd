-- The first schema: the change feed and its guard, organizations and API keys, audit, idempotency, admin access, roles.
-- Everything lives in the schema "gatewarden", owned by gw_owner; a process works as gw_admin, gw_sidecar or gw_usage.
-- It must never let a row that checks rely on change without a feed record: the guard triggers below refuse the commit.
-- PostgreSQL 14 or later. The runner (migrate.ts) wraps this file in one transaction.

-- Roles belong to the whole cluster and may already be there from another database of it.
DO $$
DECLARE
  role_name text;
  superuser boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
  FOREACH role_name IN ARRAY ARRAY['gw_owner', 'gw_admin', 'gw_sidecar', 'gw_usage'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- the migration of another database came first
      END;
    END IF;
    -- A login that is no superuser can SET ROLE only to roles granted to it. Who may not grant has them already, or
    -- fails below with a clear error.
    IF NOT superuser THEN
      BEGIN
        EXECUTE format('GRANT %I TO %I', role_name, current_user);
      EXCEPTION WHEN insufficient_privilege THEN
        NULL;
      END;
    END IF;
  END LOOP;
END $$;

CREATE SCHEMA gatewarden AUTHORIZATION gw_owner;
SET LOCAL ROLE gw_owner;
SET LOCAL search_path = gatewarden, pg_temp;

CREATE TABLE schema_migrations (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  checksum   bytea NOT NULL,                              -- SHA-256 of the file, line ends as LF
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp());

-- The change feed -----------------------------------------------------------------------------------------------------

CREATE TABLE feed_head (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL DEFAULT 0,
  floor    bigint NOT NULL DEFAULT 0);                    -- oldest revision whose row is kept

CREATE TABLE feed_revision (
  revision     bigint PRIMARY KEY,
  nonce        bigint NOT NULL,                           -- random: identifies this history up to here
  changes      integer NOT NULL CHECK (changes BETWEEN 0 AND 1000),
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  tx           xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX feed_revision_tx ON feed_revision (tx);      -- the guard looks for the records of its own transaction

CREATE TABLE changes (
  revision     bigint NOT NULL REFERENCES feed_revision ON DELETE CASCADE,
  ordinal      integer NOT NULL,
  kind         smallint NOT NULL,                         -- 1 API key (digest), 2 organization
  digest       bytea,
  organization text COLLATE "C",                          -- the one that kind names
  PRIMARY KEY (revision, ordinal),
  CONSTRAINT changes_named CHECK (
    CASE kind WHEN 1 THEN digest IS NOT NULL WHEN 2 THEN organization IS NOT NULL ELSE true END));
CREATE INDEX changes_digest ON changes (revision, digest);  -- keeps the guard linear in the size of a bulk change

INSERT INTO feed_head DEFAULT VALUES;
INSERT INTO feed_revision (revision, nonce, changes)
  VALUES (0, ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint, 0);

CREATE TABLE sidecars (
  id               uuid PRIMARY KEY,
  applied_revision bigint NOT NULL,
  applied_nonce    bigint NOT NULL,
  lease_ms         int NOT NULL,
  stale_cap_ms     int NOT NULL,
  confirm_age_ms   int NOT NULL,
  profiles         jsonb NOT NULL,                        -- name -> {version, digest}
  pepper_ids       text[] NOT NULL,
  version          text NOT NULL,
  started_at       timestamptz NOT NULL,
  seen_at          timestamptz NOT NULL) WITH (fillfactor = 50);

-- What checks decide on -----------------------------------------------------------------------------------------------

CREATE TABLE organizations (
  id             text COLLATE "C" PRIMARY KEY,
  display_name   text NOT NULL,
  profile        text COLLATE "C" NOT NULL,               -- the name only
  suspend_time   timestamptz,
  suspend_reason text NOT NULL DEFAULT '',
  labels         jsonb NOT NULL DEFAULT '{}',
  create_time    timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time    timestamptz NOT NULL DEFAULT clock_timestamp(),
  version        bigint NOT NULL DEFAULT 1,               -- the row's own; the etag
  revision       bigint NOT NULL DEFAULT 0)               -- last feed revision that named it; set by gw_record alone
  WITH (fillfactor = 85);

CREATE TABLE api_keys (
  id               text COLLATE "C" PRIMARY KEY,
  organization_id  text COLLATE "C" NOT NULL REFERENCES organizations,
  digest           bytea NOT NULL CONSTRAINT api_keys_digest_key UNIQUE
                   CONSTRAINT api_keys_digest_length CHECK (octet_length(digest) = 32),
  pepper_id        text COLLATE "C" NOT NULL,
  form             smallint NOT NULL CONSTRAINT api_keys_form CHECK (form IN (1, 2)),              -- 1 ISSUED, 2 IMPORTED
  key_hint         text NOT NULL,
  display_name     text NOT NULL,
  description      text NOT NULL DEFAULT '',
  environment      text COLLATE "C" NOT NULL,
  scope_mode       smallint NOT NULL CONSTRAINT api_keys_scope_mode CHECK (scope_mode IN (1, 2)),  -- 1 LISTED, 2 ALL
  scopes           text[] COLLATE "C" NOT NULL DEFAULT '{}',
  allowlist        jsonb NOT NULL DEFAULT '[]',           -- [{cidr, label}], canonical, in the caller's order
  -- 18 octets an entry: family (4 or 6), prefix length, 16 address octets (IPv4 in the first four, then zeros).
  allowlist_binary bytea NOT NULL DEFAULT ''
                   CONSTRAINT api_keys_allowlist_length CHECK (octet_length(allowlist_binary) % 18 = 0),
  expire_time      timestamptz,
  rate_limit       bigint,
  rate_window_us   bigint,
  labels           jsonb NOT NULL DEFAULT '{}',
  lineage_id       text COLLATE "C" NOT NULL,             -- id of the first predecessor, the own id if there is none
  rotated_from     text COLLATE "C",
  rotated_to       text COLLATE "C",
  rotate_time      timestamptz,
  grace_end_time   timestamptz,
  suspend_time     timestamptz,
  suspend_reason   text NOT NULL DEFAULT '',
  revoke_time      timestamptz,
  revoke_reason    smallint,                              -- number of admin.v1.RevokeReason
  revoke_comment   text NOT NULL DEFAULT '',
  delete_time      timestamptz,
  purge_time       timestamptz,
  creator          text NOT NULL,
  create_time      timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time      timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_used_time   timestamptz,                           -- for people; no decision reads it, so it needs no feed record
  version          bigint NOT NULL DEFAULT 1,             -- the row's own; the etag
  revision         bigint NOT NULL DEFAULT 0)             -- last feed revision that named it; set by gw_record alone
  WITH (fillfactor = 85);
CREATE INDEX api_keys_by_organization ON api_keys (organization_id, create_time, id);
CREATE INDEX api_keys_by_create_time ON api_keys (create_time, id);
CREATE INDEX api_keys_by_lineage ON api_keys (lineage_id);
CREATE INDEX api_keys_by_purge_time ON api_keys (purge_time) WHERE purge_time IS NOT NULL;

-- What a purged API key leaves: its secret cannot be imported again, its id is not given again.
CREATE TABLE digest_tombstones (
  digest          bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
  pepper_id       text COLLATE "C" NOT NULL,
  api_key_id      text COLLATE "C" NOT NULL UNIQUE,
  organization_id text COLLATE "C" NOT NULL,
  purge_time      timestamptz NOT NULL DEFAULT clock_timestamp());

-- The number of a revision is given in commit order: the head's row lock is held until the commit. A writer calls this
-- as the last statement of its transaction, with at most 1,000 changes.
-- Sequential scans are off in these functions: a session keeps its plans, and one made while the tables were small would
-- read all of them later, under the head's lock.
CREATE FUNCTION gw_record(kinds smallint[], digests bytea[], organizations text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY INVOKER SET search_path = gatewarden, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  r bigint;
BEGIN
  UPDATE feed_head SET revision = revision + 1 RETURNING revision INTO r;
  INSERT INTO feed_revision (revision, nonce, changes)
    VALUES (r, ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint, cardinality(kinds));
  INSERT INTO changes (revision, ordinal, kind, digest, organization)
    SELECT r, u.n, u.k, u.d, u.o FROM unnest(kinds, digests, organizations) WITH ORDINALITY AS u(k, d, o, n);
  UPDATE api_keys k SET revision = r WHERE k.digest = ANY (digests);
  UPDATE organizations o SET revision = r WHERE o.id = ANY ($3);
  RETURN r;
END $$;

-- The guard: whoever changes a row that checks rely on names it in a feed record of the same transaction.
CREATE FUNCTION gw_guard_api_key() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = gatewarden, pg_temp SET enable_seqscan = off AS $$
DECLARE
  named bytea := coalesce(NEW.digest, OLD.digest);
BEGIN
  IF TG_OP = 'UPDATE' THEN
    OLD.last_used_time := NEW.last_used_time;
    IF OLD IS NOT DISTINCT FROM NEW THEN
      RETURN NULL;
    END IF;
  END IF;
  IF NOT EXISTS (SELECT FROM feed_revision f JOIN changes c ON c.revision = f.revision
                 WHERE f.tx = pg_current_xact_id() AND c.kind = 1 AND c.digest = named) THEN
    RAISE EXCEPTION 'API key % was changed without a feed record', coalesce(NEW.id, OLD.id)
      USING ERRCODE = 'GW001', HINT = 'Call gw_record as the last statement of the transaction.';
  END IF;
  IF TG_OP = 'INSERT' AND EXISTS (SELECT FROM digest_tombstones t WHERE t.digest = NEW.digest OR t.api_key_id = NEW.id) THEN
    RAISE EXCEPTION 'API key % was purged', NEW.id USING ERRCODE = 'unique_violation', CONSTRAINT = 'digest_tombstones_pkey';
  END IF;
  IF TG_OP = 'DELETE' AND (OLD.purge_time IS NULL OR OLD.purge_time > clock_timestamp()
                           OR NOT EXISTS (SELECT FROM digest_tombstones t WHERE t.digest = OLD.digest)) THEN
    RAISE EXCEPTION 'API key % is not due for a purge, or has no tombstone', OLD.id USING ERRCODE = 'GW002';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION gw_guard_organization() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = gatewarden, pg_temp SET enable_seqscan = off AS $$
DECLARE
  named text := coalesce(NEW.id, OLD.id);
BEGIN
  IF NOT EXISTS (SELECT FROM feed_revision f JOIN changes c ON c.revision = f.revision
                 WHERE f.tx = pg_current_xact_id() AND c.kind = 2 AND c.organization = named) THEN
    RAISE EXCEPTION 'organization % was changed without a feed record', named
      USING ERRCODE = 'GW001', HINT = 'Call gw_record as the last statement of the transaction.';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION gw_immutable() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = gatewarden, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'an immutable column of % was changed', TG_TABLE_NAME USING ERRCODE = 'GW003';
END $$;

CREATE CONSTRAINT TRIGGER api_keys_guard AFTER INSERT OR UPDATE OR DELETE ON api_keys
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gw_guard_api_key();
CREATE CONSTRAINT TRIGGER organizations_guard AFTER INSERT OR UPDATE OR DELETE ON organizations
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gw_guard_organization();
CREATE TRIGGER api_keys_immutable BEFORE UPDATE ON api_keys FOR EACH ROW
  WHEN (OLD.id <> NEW.id OR OLD.digest <> NEW.digest OR OLD.pepper_id <> NEW.pepper_id
        OR OLD.organization_id <> NEW.organization_id OR OLD.environment <> NEW.environment)
  EXECUTE FUNCTION gw_immutable();
CREATE TRIGGER organizations_immutable BEFORE UPDATE ON organizations FOR EACH ROW
  WHEN (OLD.id <> NEW.id OR OLD.profile <> NEW.profile)
  EXECUTE FUNCTION gw_immutable();

-- Admin ---------------------------------------------------------------------------------------------------------------

-- One hash chain per organization; '' is the chain of what belongs to none. The primary key refuses a second event at
-- the same place of a chain.
CREATE TABLE audit_events (
  organization_id text COLLATE "C" NOT NULL DEFAULT '',
  id              bigint NOT NULL CHECK (id > 0),         -- place in the chain: 1, 2, 3, …
  time            timestamptz NOT NULL,
  actor           jsonb NOT NULL,                         -- {principal, certificate_serial, admin_key_hint}
  action          text NOT NULL,                          -- the RPC
  resource        text NOT NULL,
  before          jsonb,                                  -- changed fields, never a secret or a digest
  after           jsonb,
  request_id      text NOT NULL DEFAULT '',
  source_ip       text NOT NULL DEFAULT '',
  revision        bigint NOT NULL DEFAULT 0,
  outcome         text NOT NULL,
  previous_hash   bytea NOT NULL,
  hash            bytea NOT NULL,
  PRIMARY KEY (organization_id, id));
CREATE INDEX audit_events_by_time ON audit_events (time, organization_id, id);

CREATE TABLE idempotency (
  principal    text NOT NULL,
  request_id   text NOT NULL,
  method       text NOT NULL,
  request_hash bytea NOT NULL,
  reply        bytea,                                     -- never with a secret, its revision 0
  state        text NOT NULL,
  revision     bigint NOT NULL DEFAULT 0,                 -- the one that the call recorded
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (principal, request_id));
CREATE INDEX idempotency_by_create_time ON idempotency (create_time);

CREATE TABLE admin_keys (
  id                text COLLATE "C" PRIMARY KEY,
  display_name      text NOT NULL,
  digest            bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
  pepper_id         text COLLATE "C" NOT NULL,
  key_hint          text NOT NULL,
  roles             text[] NOT NULL DEFAULT '{}',
  scopes            text[] NOT NULL DEFAULT '{}',
  all_organizations boolean NOT NULL DEFAULT false,       -- said, never meant by an empty list
  organizations     text[] NOT NULL DEFAULT '{}',
  expire_time       timestamptz NOT NULL,
  allowlist         jsonb NOT NULL DEFAULT '[]',
  allowlist_binary  bytea NOT NULL DEFAULT '' CHECK (octet_length(allowlist_binary) % 18 = 0),
  create_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoke_time       timestamptz,
  creator           text NOT NULL,
  version           bigint NOT NULL DEFAULT 1);

CREATE TABLE admin_principals (
  id                text COLLATE "C" PRIMARY KEY,
  san               text NOT NULL UNIQUE,
  display_name      text NOT NULL,
  roles             text[] NOT NULL,
  all_organizations boolean NOT NULL DEFAULT false,
  organizations     text[] NOT NULL DEFAULT '{}',
  create_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
  creator           text NOT NULL,
  version           bigint NOT NULL DEFAULT 1);

CREATE TABLE bootstrap_tokens (
  digest      bytea PRIMARY KEY,
  break_glass boolean NOT NULL DEFAULT false,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  expire_time timestamptz NOT NULL,
  used_time   timestamptz);

-- Rights --------------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gatewarden FROM PUBLIC;
GRANT USAGE ON SCHEMA gatewarden TO gw_admin, gw_sidecar, gw_usage;
GRANT SELECT ON schema_migrations TO gw_admin, gw_sidecar, gw_usage;

GRANT EXECUTE ON FUNCTION gw_record TO gw_admin;
GRANT SELECT, UPDATE ON feed_head TO gw_admin;
GRANT SELECT, INSERT, DELETE ON feed_revision, changes TO gw_admin;
GRANT SELECT, INSERT, UPDATE ON organizations TO gw_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO gw_admin;              -- DELETE: a purge, see the guard
GRANT SELECT, INSERT ON digest_tombstones, audit_events TO gw_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency, bootstrap_tokens, admin_principals TO gw_admin;
GRANT SELECT, INSERT, UPDATE ON admin_keys TO gw_admin;
GRANT SELECT, DELETE ON sidecars TO gw_admin;                              -- DELETE: rows of the long gone, see the policy

GRANT SELECT ON feed_head, feed_revision, changes, organizations, api_keys TO gw_sidecar;
GRANT SELECT, INSERT, UPDATE, DELETE ON sidecars TO gw_sidecar;

-- A sidecar writes its own row: the one that the session setting gatewarden.sidecar names.
ALTER TABLE sidecars ENABLE ROW LEVEL SECURITY;
CREATE POLICY sidecars_read ON sidecars FOR SELECT TO gw_admin, gw_sidecar USING (true);
CREATE POLICY sidecars_own_insert ON sidecars FOR INSERT TO gw_sidecar
  WITH CHECK (id = nullif(current_setting('gatewarden.sidecar', true), '')::uuid);
CREATE POLICY sidecars_own_update ON sidecars FOR UPDATE TO gw_sidecar
  USING (id = nullif(current_setting('gatewarden.sidecar', true), '')::uuid);
CREATE POLICY sidecars_own_delete ON sidecars FOR DELETE TO gw_sidecar
  USING (id = nullif(current_setting('gatewarden.sidecar', true), '')::uuid);
CREATE POLICY sidecars_long_gone ON sidecars FOR DELETE TO gw_admin
  USING (seen_at < clock_timestamp() - interval '1 day');

-- Without statistics the planner guesses badly on the feed's statements.
ANALYZE feed_head, feed_revision, changes, sidecars, organizations, api_keys, digest_tombstones, audit_events, idempotency,
  admin_keys, admin_principals, bootstrap_tokens;
