// Changes as admin writes them: rows, then their feed record as the last statement of the transaction, 500 keys at a time.
import type pg from 'pg'
import { digestOf, insertKeys, insertOrganizations, keysPerOrganization, uuidOf } from '../compare/database-world.ts'
import { secretOf } from '../compare/requests.ts'

/** Half of what one feed record may name. */
const keysPerTransaction = 500
const apiKeyKind = 1
const organizationKind = 2

export interface Changes {
  /** Numbers of API keys that exist and get another rate limit. */
  readonly altered: { readonly from: number; readonly to: number }
  /** Numbers of API keys that are made. */
  readonly made: { readonly from: number; readonly to: number }
}

async function transact(client: pg.ClientBase, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN')
  try {
    await work()
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
}

async function record(client: pg.ClientBase, digests: readonly Buffer[]): Promise<void> {
  const kinds = digests.map(() => apiKeyKind)
  await client.query('SELECT gw_record($1, $2, $3)', [kinds, digests, digests.map(() => null)])
}

/** Organizations that the made keys belong to, of the numbers after those that exist. */
export async function makeOrganizations(client: pg.ClientBase, from: number, to: number): Promise<void> {
  const first = Math.ceil(from / keysPerOrganization)
  const ids = Array.from({ length: Math.ceil(to / keysPerOrganization) - first }, (_, i) => `org_${uuidOf(first + i)}`)
  if (ids.length === 0) return
  await transact(client, async () => {
    await insertOrganizations(client, ids)
    await client.query('SELECT gw_record($1, $2, $3)', [ids.map(() => organizationKind), ids.map(() => null), ids])
  })
}

/** Writes them all, as fast as the database takes them. @returns how many there were */
export async function writeChanges(client: pg.ClientBase, { altered, made }: Changes): Promise<number> {
  let written = 0
  for (let from = altered.from; from < altered.to; from += keysPerTransaction) {
    const numbers = numbersOf(from, Math.min(altered.to, from + keysPerTransaction))
    await transact(client, async () => {
      const ids = numbers.map(number => `key_${uuidOf(number)}`)
      await client.query('UPDATE api_keys SET rate_limit = rate_limit - 1 WHERE id = ANY ($1)', [ids])
      await record(client, numbers.map(digestOfNumber))
    })
    written += numbers.length
  }
  for (let from = made.from; from < made.to; from += keysPerTransaction) {
    const to = Math.min(made.to, from + keysPerTransaction)
    await transact(client, async () => {
      await insertKeys(client, from, to)
      await record(client, numbersOf(from, to).map(digestOfNumber))
    })
    written += to - from
  }
  return written
}

const digestOfNumber = (number: number) => digestOf(secretOf(number))

function numbersOf(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
