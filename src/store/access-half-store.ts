// Fills in access-log halves of stored decisions through the one function that a sidecar may do it with (0002_usage.sql).
// One connection, made when it is needed and given back when it is idle; every wait is bounded.
import type pg from 'pg'
import { unixMsOfUuid7 } from '../core/uuid7.ts'
import type { AccessHalfStore } from '../usage/als-join.ts'
import type { AccessHalf } from '../usage/usage-row.ts'
import type { Database, Session } from './connection.ts'
import { createPool } from './pool.ts'

const session: Session = {
  role: 'gw_sidecar',
  applicationName: 'gatewarden access log',
  // What is lost in a crash of the server is only a half, and the unjoined are counted.
  settings: { statement_timeout: '5000', lock_timeout: '2000', synchronous_commit: 'off', jit: 'off' },
}

/** Milliseconds until a connection that says nothing is destroyed: beyond the server's own timeout only a dead one is silent. */
const silenceMaxMs = 6000

const joinStatement = {
  name: 'usage_join',
  // Milliseconds, because a UUIDv7 may name years that no text form of a time can hold.
  text: `SELECT stored_id, filled FROM gw_usage_join($1::uuid[],
    (SELECT array_agg(timestamptz 'epoch' + ms * interval '1 millisecond' ORDER BY place)
     FROM unnest($2::bigint[]) WITH ORDINALITY AS t(ms, place)), $3::smallint[], $4::bigint[],
    $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::smallint[])`,
}

/** @param onIdleError the connection broke while nobody used it; for the log */
export function createAccessHalfStore(database: Database, onIdleError: (error: Error) => void): AccessHalfStore {
  const [first, ...others] = database.servers
  const impatient = (server: pg.ClientConfig) => ({ ...server, query_timeout: silenceMaxMs })
  const servers: Database['servers'] = [impatient(first), ...others.map(impatient)]
  const pool = createPool({ servers }, { session, connectionsMax: 1, onIdleError })
  let closed: Promise<void> | undefined
  return {
    join: halves => join(pool, halves),
    close() {
      closed ??= pool.end()
      return closed
    },
  }
}

async function join(pool: pg.Pool, halves: readonly AccessHalf[]) {
  const values = [
    halves.map(half => half.decisionId),
    halves.map(half => unixMsOfUuid7(half.decisionId)),
    halves.map(half => half.finalStatus),
    halves.map(half => half.durationUs),
    halves.map(half => half.requestBytes),
    halves.map(half => half.responseBytes),
    halves.map(half => half.responseFlags),
    halves.map(half => half.upstream),
    halves.map(half => half.grpcStatus),
  ]
  const { rows } = await pool.query<{ stored_id: string; filled: boolean }>({ ...joinStatement, values })
  return new Map(rows.map(row => [row.stored_id, row.filled]))
}
