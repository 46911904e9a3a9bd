// How this program connects to PostgreSQL: which servers, as which role, with which session settings.
// Every session has a pinned search_path, UTC, and a statement timeout; it never prints a URL, which may hold a password.
import type pg from 'pg'
import { columnTypes } from './column-values.ts'
import { StoreSetupError } from './store-error.ts'

/** Where the database is: one entry per host, tried in turn; all hold the same history. */
export interface Database {
  readonly servers: readonly [pg.ClientConfig, ...pg.ClientConfig[]]
}

/** The database roles that processes work as (migrations/0001_initial.sql). */
export type DatabaseRole = 'gw_admin' | 'gw_sidecar' | 'gw_usage'

export interface Session {
  readonly role: DatabaseRole
  readonly applicationName: string
  /** Server settings beyond the common ones, e.g. `{ jit: 'off' }`. */
  readonly settings: Readonly<Record<string, string>>
}

/** One attempt to connect, faults.md section 2. */
export const connectTimeoutMs = 1000

const pinnedSettings = {
  // pg_temp last: a temporary table must not stand in for one of ours.
  search_path: 'gatewarden,pg_temp',
  timezone: 'UTC',
  datestyle: 'ISO',
  client_min_messages: 'warning',
}

const urlShape = /^(postgres(?:ql)?:\/\/(?:[^/@?#]*@)?)([^/?#]*)(.*)$/s

/**
 * The servers of a `DATABASE_URL`; several hosts are separated by commas, as in libpq.
 * @throws StoreSetupError for anything that is no PostgreSQL URL.
 */
export function databaseFromUrl(url: string): Database {
  const [, head, hosts = '', tail] = urlShape.exec(url) ?? []
  const [first, ...others] = hosts.split(',').map(host => `${head}${host}${tail}`)
  if (head === undefined || first === undefined || ![first, ...others].every(one => URL.canParse(one))) {
    throw new StoreSetupError(
      'DATABASE_URL is not a PostgreSQL URL: write postgres://user:password@host:port/database (several hosts: host1,host2).',
    )
  }
  return { servers: [serverFromUrl(first), ...others.map(serverFromUrl)] }
}

/** The pg driver lets the URL's `options` replace ours, so they are taken out of it and put before ours. */
function serverFromUrl(text: string): pg.ClientConfig {
  const url = new URL(text)
  const options = url.searchParams.get('options') ?? ''
  url.searchParams.delete('options')
  return { connectionString: url.href, ...(options === '' ? {} : { options }) }
}

/**
 * The configuration of a pg client on `server` for a session. The role is a start-up setting: the session never runs a
 * statement as the login, and RESET does not leave the role.
 */
export function sessionConfig(server: pg.ClientConfig, session: Session): pg.ClientConfig {
  const settings = { ...pinnedSettings, ...session.settings, role: session.role }
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, '\\$&')}`)
  return {
    ...server,
    application_name: session.applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    options: [server.options, ...options].filter(part => part !== undefined).join(' '),
    types: columnTypes,
  }
}
