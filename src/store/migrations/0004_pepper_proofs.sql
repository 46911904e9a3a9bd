-- Which content a pepper has, told by a value that nobody can compute without it: a process whose file has another content
-- under the same id finds that out, and does not take the API keys it cannot find for unknown ones.
-- A proof is written once and never changed. Whoever reads all of them can do no more than guess 256 bits.
-- Depends on 0001 for roles and schema.

SET LOCAL ROLE gw_owner;
SET LOCAL search_path = gatewarden, pg_temp;

CREATE TABLE pepper_proofs (
  purpose     text COLLATE "C" NOT NULL                   -- peppers of either kind have ids of their own
              CONSTRAINT pepper_proofs_purpose CHECK (purpose IN ('api_keys', 'admin_keys')),
  pepper_id   text COLLATE "C" NOT NULL,
  proof       bytea NOT NULL CONSTRAINT pepper_proofs_length CHECK (octet_length(proof) = 32),
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (purpose, pepper_id));

GRANT SELECT, INSERT ON pepper_proofs TO gw_admin;         -- no UPDATE, no DELETE: only the owner takes one back
GRANT SELECT ON pepper_proofs TO gw_sidecar;

ANALYZE pepper_proofs;
