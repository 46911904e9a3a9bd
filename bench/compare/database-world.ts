// A PostgreSQL of its own with the API keys of the bench in it, as admin writes them, past the guard: 20 allowlist entries and a
// limit for each. Everything in here is made before anything is measured.
import { createHash, createHmac } from 'node:crypto'
import type pg from 'pg'
import { parseEntry } from '../../src/core/address.ts'
import { startTestCluster, type TestDatabase } from '../../test/support/postgres.ts'
import { keyCount, secretOf } from './requests.ts'

export const pepperHex = '07'.repeat(32)
const pepper = Buffer.from(pepperHex, 'hex')
export const keysPerOrganization = 2000
const rowsPerStatement = 20_000
/** The highest there is, in the shortest window that it may have: counted at every check, never met. */
const limit = 1_000_000
const limitWindowMicros = 100_000_000

/** 20 networks; the client of the direct bench is in the fifteenth, the one behind Envoy in the last. */
const networks = Array.from({ length: 20 }, (_, i) =>
  i === 19
    ? '127.0.0.0/8'
    : i % 4 === 3
      ? `2001:db8:${i}::/48`
      : i === 14
        ? '198.51.18.0/24'
        : `198.51.${100 + i}.0/24`,
)

function allowlistOctets(): Buffer {
  return Buffer.concat(
    networks.map(network => {
      const entry = parseEntry(network)
      if (entry === null) throw new Error(`${network} is no network`)
      const { family, prefix, octets } = entry.block
      return Buffer.concat([Buffer.from([family, prefix]), octets], 18)
    }),
  )
}

export const uuidOf = (number: number): string => `019ca000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`

export function digestOf(secret: string): Buffer {
  return createHmac('sha256', pepper).update(createHash('sha256').update(secret).digest()).digest()
}

export const organizationOf = (number: number): string => `org_${uuidOf(Math.floor(number / keysPerOrganization))}`

/** Inserts API keys with the numbers `[from, to)` and organizations for them. */
export async function insertKeys(client: pg.ClientBase, from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, i) => from + i)
  await client.query(
    `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode,
                           scopes, allowlist_binary, rate_limit, rate_window_us, lineage_id, creator)
     SELECT id, organization, digest, 'p1', 1, 'bn_live_…', 'a key', 'live', 1, '{things:READ}', $4, $5, $6, id, 'bench'
     FROM unnest($1::text[], $2::text[], $3::bytea[]) AS rows (id, organization, digest)`,
    [
      numbers.map(number => `key_${uuidOf(number)}`),
      numbers.map(organizationOf),
      numbers.map(number => digestOf(secretOf(number))),
      allowlistOctets(),
      limit,
      limitWindowMicros,
    ],
  )
}

/** Inserts organizations by their ids. */
export async function insertOrganizations(client: pg.ClientBase, ids: readonly string[]): Promise<void> {
  await client.query(
    `INSERT INTO organizations (id, display_name, profile) SELECT id, 'o', 'bench' FROM unnest($1::text[]) AS rows (id)`,
    [ids],
  )
}

async function fill(database: TestDatabase, keys: number): Promise<void> {
  const client = database.client()
  await client.connect()
  try {
    await client.query("SET session_replication_role = 'replica'")
    const organizations = Math.ceil(keys / keysPerOrganization)
    await insertOrganizations(
      client,
      Array.from({ length: organizations }, (_, i) => `org_${uuidOf(i)}`),
    )
    for (let from = 0; from < keys; from += rowsPerStatement)
      await insertKeys(client, from, Math.min(keys, from + rowsPerStatement))
    await client.query('ANALYZE')
  } finally {
    await client.end()
  }
}

export interface DatabaseWorld {
  readonly url: string
  readonly database: TestDatabase
  stop(): Promise<void>
}

/** Starts PostgreSQL and fills it. */
export async function startDatabase(keys = keyCount): Promise<DatabaseWorld> {
  const cluster = await startTestCluster()
  try {
    const database = await cluster.createDatabase('migrated')
    await fill(database, keys)
    const host = encodeURIComponent(cluster.server.host ?? '')
    return {
      database,
      url: `postgres://localhost/${database.name}?host=${host}&user=postgres`,
      stop: () => cluster.stop(),
    }
  } catch (error) {
    await cluster.stop()
    throw error
  }
}
