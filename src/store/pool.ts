// Pools of connections for admin and its kin: bounded, one role each, every wait bounded by a deadline.
// With several servers a connection goes to one that accepts writes; never to a standby, whose rows may be old.
import pg from 'pg'
import { connectTimeoutMs, type Database, type Session, sessionConfig } from './connection.ts'

export interface PoolOptions {
  readonly session: Session
  /** Connections at most; further callers wait up to a second. */
  readonly connectionsMax: number
  /** A connection broke while nobody used it; for the log. */
  readonly onIdleError: (error: Error) => void
}

/** Session of admin: rule W3 of the feed's writers, since a held head lock must end soon. */
export const adminSession: Session = {
  role: 'gw_admin',
  applicationName: 'gatewarden admin',
  settings: {
    statement_timeout: '2000',
    lock_timeout: '1000',
    idle_in_transaction_session_timeout: '2000',
    synchronous_commit: 'on',
  },
}

/** Enough for one admin process; a pool gives back what it does not use. */
export const adminConnectionsMax = 8
const idleTimeoutMs = 30_000

/** A pool; nothing connects before its first use. End it at the stop. */
export function createPool(database: Database, options: PoolOptions): pg.Pool {
  const { servers } = database
  let preferred = 0

  class PooledClient extends pg.Client {
    constructor() {
      const server = preferred
      super(sessionConfig(servers[server] ?? servers[0], options.session))
      let answered = false
      this.once('connect', () => {
        answered = true
      })
      const failed = () => {
        if (!answered && preferred === server) preferred = (server + 1) % servers.length
      }
      // Before the caller is told, so that its next attempt goes to the next server already.
      this.connection.once('error', failed).once('errorMessage', failed).once('end', failed)
    }
  }

  const pool = new pg.Pool({
    Client: PooledClient,
    max: options.connectionsMax,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleTimeoutMs,
    verify: (client: pg.ClientBase, done: (error?: Error) => void) => {
      client.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby').then(found => {
        if (found.rows[0]?.standby === false) return done()
        preferred = (preferred + 1) % servers.length
        done(new Error('the server is a standby'))
      }, done)
    },
  })
  pool.on('error', error => options.onIdleError(error))
  return pool
}
