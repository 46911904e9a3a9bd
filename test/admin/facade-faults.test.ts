// The create call when something is wrong on our side: the product's own answer, never a 401, the cause in the log alone.
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { AdminStore, StoreFault } from '../../src/admin/admin-store.ts'
import { answerFacadeRequest, type FacadeContext } from '../../src/admin/facade-call.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { bodyPattern, type FacadeAsk, frame, requestOf, useFacade } from './facade-stand.ts'

const facade = useFacade()

const text503 =
  '{"status":503,"data":null,"error":"Authorization is temporarily unavailable","log":null,"validator":null,"support_id":"<support_id>","message":null,"env":"production"}'
const text429 =
  '{"status":429,"data":null,"error":"Too many requests. Try again in <seconds> seconds","log":null,"validator":null,"support_id":"<support_id>","message":null,"env":"production"}'

const ask = (change: Partial<FacadeContext>, given: FacadeAsk = { body: { label: 'x' } }, frameOf = frame()) =>
  answerFacadeRequest({ ...facade().context, ...change }, requestOf(given), frameOf)

const failing = (thrown: unknown): AdminStore => ({
  transact: () => Promise.reject(thrown),
  read: () => Promise.reject(thrown),
})

function storeFault(fault: StoreFault['fault']): StoreFault {
  return Object.assign(new Error('password of the database: hunter2'), { fault })
}

describe('our own failure is 503 in the words of the product', () => {
  const cases: readonly (readonly [string, () => Partial<FacadeContext>])[] = [
    ['the database is away', () => ({ store: failing(storeFault('unavailable')) })],
    ['another change came first', () => ({ store: failing(storeFault('conflict')) })],
    ['the disk is full', () => ({ store: failing(storeFault('full')) })],
    ['a defect', () => ({ store: failing(new TypeError('x is undefined')) })],
    ['a defect that throws nothing', () => ({ store: failing(undefined) })],
    ['no profile of the organization is loaded any more', () => ({ findProfile: () => undefined })],
    ['the generator of random octets is broken', () => ({ random: octets => new Uint8Array(octets).fill(255) })],
  ]

  it.each(cases)('%s', async (_, change) => {
    const before = facade().log.length
    const answer = await ask(change())
    expect(answer.status).toBe(503)
    expect(answer.body).toMatch(bodyPattern(text503))
    const retry = answer.headers.find(([name]) => name === 'retry-after')?.[1]
    expect(['1', '2', '3']).toContain(retry)
    expect(JSON.stringify(answer)).not.toContain('hunter2')
    const lines = facade().log.slice(before)
    expect(lines.map(line => line.message)).toContain('a create call was refused')
  })

  it('the cause is in the log, with the support id that the client got', async () => {
    const cause = storeFault('unavailable')
    const answer = await ask({ store: failing(cause) })
    const line = facade().log.at(-1)
    expect(line).toMatchObject({ message: 'a create call failed', fields: { cause } })
    expect(line?.fields).toMatchObject({ supportId: JSON.parse(answer.body).support_id })
  })

  it('faults of members cannot be told without the database either', async () => {
    expect(await ask({ store: failing(storeFault('unavailable')) }, { body: {} })).toMatchObject({ status: 503 })
  })

  it('a call whose time is over', async () => {
    const never: AdminStore = { transact: () => new Promise(() => undefined), read: () => new Promise(() => undefined) }
    const over = { ...frame(), signal: AbortSignal.abort(new RpcError('DEADLINE_EXCEEDED', 'over')) }
    expect((await ask({ store: never }, undefined, over)).status).toBe(503)
  })

  it('while a live sidecar lacks the pepper of a new digest', async () => {
    const { client } = facade().world
    const id = randomUUID()
    await client.query(
      `INSERT INTO sidecars (id, applied_revision, applied_nonce, lease_ms, stale_cap_ms, confirm_age_ms, profiles, pepper_ids,
                             version, started_at, seen_at)
       VALUES ($1, 0, 0, 7000, 0, 0, '{}', '{other}', 'x', '2026-03-01T12:00:00Z', '2026-03-01T13:00:00Z')`,
      [id],
    )
    const answer = await ask({})
    const invalid = await ask({}, { body: { label: 'x', expires_at: 'never' } })
    await client.query('DELETE FROM sidecars WHERE id = $1', [id])
    expect(answer.body).toMatch(bodyPattern(text503))
    expect(invalid.status, 'what is wrong with a request is told all the same').toBe(400)
  })
})

describe('each request is counted once, by what it came to', () => {
  const named = (headers: FacadeAsk['headers'] = []): FacadeAsk => ({ body: { label: 'x' }, headers })
  it('whatever that is', async () => {
    const begun = facade().outcomes.length
    const again = named([['idempotency-key', randomUUID()]])
    for (const given of [
      again,
      again,
      { body: {} },
      { body: 'no json' },
      { ...named(), caller: null },
      { ...named(), caller: 'G4' },
      { ...named(), target: '/elsewhere' },
      { ...named(), host: 'unknown.test', method: 'GET' },
    ] as const)
      await facade().ask(given)
    await ask({ store: failing(storeFault('unavailable')) })
    await ask({ store: failing(new TypeError('a defect')) })
    expect(facade().outcomes.slice(begun)).toEqual([
      ...['created', 'repeated', 'invalid', 'invalid', 'credential_missing', 'insufficient_scope', 'route_unmapped'],
      ...['route_unmapped', 'authz_unavailable', 'authz_unavailable'],
    ])
  })
})

describe('a limit is 429', () => {
  it('of the number of keys', async () => {
    const answer = await ask({ keyQuota: 1 })
    expect(answer.status).toBe(429)
    expect(answer.body).toMatch(bodyPattern(text429, { seconds: '1' }))
    expect(answer.headers).toContainEqual(['retry-after', '1'])
  })

  it('with the time to wait, rounded up', async () => {
    const limited = new RpcError('RATE_LIMITED', 'x', { retryDelayMs: 41_001 })
    const answer = await ask({ store: failing(limited) })
    expect(answer.body).toMatch(bodyPattern(text429, { seconds: '42' }))
  })
})
