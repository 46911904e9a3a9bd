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

const joinStatement = {
  name: 'usage_join',
  text: `SELECT stored_id, filled FROM gw_usage_join($1::uuid[], $2::timestamptz[], $3::smallint[], $4::bigint[],
    $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::smallint[])`,
}

/** @param onIdleError the connection broke while nobody used it; for the log */
export function createAccessHalfStore(database: Database, onIdleError: (error: Error) => void): AccessHalfStore {
  const pool = createPool(database, { session, connectionsMax: 1, onIdleError })
  return {
    join: halves => join(pool, halves),
    close: () => pool.end(),
  }
}

async function join(pool: pg.Pool, halves: readonly AccessHalf[]) {
  const values = [
    halves.map(half => half.decisionId),
    halves.map(half => new Date(unixMsOfUuid7(half.decisionId)).toISOString()),
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
