// GetUsageMetrics through gRPC: counters and rows together count every request once, whatever was folded, joined or deleted.
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { countedParts } from '../../src/store/usage-counts.ts'
import { foldUsage } from '../../src/store/usage-upkeep.ts'
import { storeUsage, type UsageRowValues } from '../support/usage-rows.ts'
import { at, failure, fieldsOf, type KeyJson, type Seconds, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface Metrics {
  readonly totalRequests: string
  readonly allowed: string
  readonly denied: string
  readonly byReason: Record<string, string>
  readonly byStatusClass: Record<string, string>
  readonly lastUsedTime: Seconds | null
  readonly series: { readonly group: string[]; readonly totalRequests: string; readonly allowed: string }[]
  readonly safeToFinish: boolean
}

const idOf = (name: string) => name.split('/').at(-1) ?? ''
const metrics = (request: object) => client().call<Metrics>('getUsageMetrics', request)
const store = (rows: readonly UsageRowValues[]) => storeUsage(client().world.client, rows)
const fold = () => foldUsage(client().world.usagePool)
const hour = 3_600_000
const day = 24 * hour
const text = (ms: number) => new Date(ms).toISOString()

async function newKey() {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  return { parent, name: apiKey.name, of: { organization: idOf(parent), apiKey: idOf(apiKey.name) } }
}

describe('counts', () => {
  test('are the same before and after they are added up, and while some are', async () => {
    const { parent, name, of } = await newKey()
    const now = Date.now()
    await store([
      { ...of, finalStatus: 200 },
      { ...of, finalStatus: 404, time: text(now - 2 * hour) },
      { ...of, reason: 'ip_not_allowed', status: 403, time: text(now - day) },
      { ...of, reason: 'rate_limited', status: 429 },
      of,
    ])
    const expected = {
      totalRequests: '5',
      allowed: '3',
      denied: '2',
      byReason: { allow: '3', ip_not_allowed: '1', rate_limited: '1' },
      byStatusClass: { '2xx': '1', '4xx': '3', unknown: '1' },
    }
    expect(await metrics({ name })).toMatchObject(expected)
    await fold()
    expect(await metrics({ name })).toMatchObject(expected)
    await store([{ ...of, finalStatus: 500 }])
    expect(await metrics({ name })).toMatchObject({ totalRequests: '6', byStatusClass: { '5xx': '1' } })
    expect(await metrics({ parent })).toMatchObject({ totalRequests: '6' })
  })

  test('a status that becomes known moves from the unknown ones', async () => {
    const { name, of } = await newKey()
    const [id] = await store([of])
    await fold()
    await client().world.client.query('UPDATE usage_log SET final_status = 204 WHERE decision_id = $1', [id])
    expect((await metrics({ name })).byStatusClass).toEqual({ '2xx': '1' })
    await fold()
    expect(await metrics({ name })).toMatchObject({ totalRequests: '1', byStatusClass: { '2xx': '1' } })
  })

  test('outlive the rows', async () => {
    const { name, of } = await newKey()
    await store([{ ...of, finalStatus: 200, time: text(Date.now() - day) }])
    await fold()
    await client().world.client.query('DELETE FROM usage_log WHERE api_key_id = $1', [of.apiKey])
    expect(await metrics({ name })).toMatchObject({ totalRequests: '1', allowed: '1' })
  })

  test('an interval is exact where there are rows, to the microsecond', async () => {
    const { name, of } = await newKey()
    const base = Math.floor((Date.now() - 5 * hour) / hour) * hour
    const offsets = [0, 1, hour / 2, hour - 1, hour, hour + 1, 2 * hour - 1, 2 * hour, 3 * hour + 5]
    await store(offsets.map(offset => ({ ...of, time: text(base + offset) })))
    const points = [...new Set(offsets.flatMap(offset => [offset, offset + 1]))].sort((a, b) => a - b)
    for (const start of points) {
      for (const end of points.filter(point => point > start)) {
        const interval = { startTime: at(base + start), endTime: at(base + end) }
        const wanted = offsets.filter(offset => offset >= start && offset < end).length
        expect([start, end, (await metrics({ name, interval })).totalRequests]).toEqual([start, end, String(wanted)])
      }
    }
  })

  test('an interval is cut so that every instant is counted once', () => {
    const micros = fc.integer({ min: 0, max: 40 * 3_600_000_000 })
    fc.assert(
      fc.property(micros, micros, micros, (from, to, rowsSince) => {
        const { hours, ends } = countedParts(from, to, rowsSince)
        const parts = [...(hours === null ? [] : [hours]), ...ends].sort((a, b) => a[0] - b[0])
        if (to <= from) {
          expect(parts).toEqual([])
          return
        }
        for (const [index, [, end]] of parts.entries()) {
          if (index + 1 < parts.length) expect(parts[index + 1]?.[0]).toBe(end)
        }
        const [start, end] = [parts[0]?.[0] ?? 0, parts.at(-1)?.[1] ?? 0]
        expect(start).toBeLessThanOrEqual(from)
        expect(end).toBeGreaterThanOrEqual(to)
        if (from >= rowsSince) expect([start, end]).toEqual([from, to])
        for (const bound of hours ?? []) expect(bound % 3_600_000_000).toBe(0)
        for (const part of ends) expect(part[0]).toBeGreaterThanOrEqual(rowsSince)
      }),
    )
  })
})

describe('a series', () => {
  test('has a point for each group that there is', async () => {
    const { parent, name, of } = await newKey()
    const yesterday = text(Date.now() - day)
    await store([
      { ...of, finalStatus: 200 },
      { ...of, time: yesterday, reason: 'revoked', status: 401 },
      { ...of, time: yesterday, finalStatus: 200 },
      { organization: of.organization, apiKey: 'key_other', finalStatus: 200 },
    ])
    const today = text(Date.now()).slice(0, 10)
    expect((await metrics({ name, groupBy: ['day'] })).series).toMatchObject([
      { group: [yesterday.slice(0, 10)], totalRequests: '2', allowed: '1' },
      { group: [today], totalRequests: '1', allowed: '1' },
    ])
    const grouped = await metrics({ parent, groupBy: ['status', 'reason', 'api_key'] })
    expect(grouped.series.map(({ group, totalRequests }) => [...group, totalRequests]).sort()).toEqual(
      [
        ['200', 'allow', name, '2'],
        ['200', 'allow', `${parent}/apiKeys/key_other`, '1'],
        ['401', 'revoked', name, '1'],
      ].sort(),
    )
    expect((await metrics({ name })).series).toEqual([])
  })

  test('is grouped by what there is, once', async () => {
    const { name } = await newKey()
    for (const groupBy of [['month'], ['day', 'day'], ['__proto__'], Array(5).fill('day')]) {
      expect(fieldsOf(await failure(metrics({ name, groupBy })))).toEqual(['group_by FIELD_INVALID'])
    }
  })
})

describe('the last use', () => {
  test('is the newest allowed request, at once here and after the next adding up on the key', async () => {
    const { parent, name, of } = await newKey()
    const used = Math.floor(Date.now() / 1000) * 1000 - 60_000
    expect((await metrics({ name })).lastUsedTime).toBeNull()
    await store([
      { ...of, time: text(used) },
      { ...of, time: text(used - 5000) },
      { ...of, reason: 'rate_limited', status: 429 },
    ])
    expect((await metrics({ name })).lastUsedTime).toEqual(at(used))
    expect((await metrics({ parent })).lastUsedTime).toEqual(at(used))
    const revision = await client().world.client.query('SELECT revision FROM feed_head')
    await fold()
    const key = await client().call<KeyJson & { readonly lastUsedTime: Seconds; readonly etag: string }>('getApiKey', {
      name,
    })
    expect(key.lastUsedTime).toEqual(at(used))
    expect((await metrics({ name })).lastUsedTime).toEqual(at(used))
    // No change that checks must hear of, and none that a caller's etag forbids.
    expect(await client().world.client.query('SELECT revision FROM feed_head')).toMatchObject({ rows: revision.rows })
    await client().call('updateApiKey', { apiKey: { name, displayName: 'x' }, etag: key.etag })
    await fold()
    expect((await client().call<{ lastUsedTime: Seconds }>('getApiKey', { name })).lastUsedTime).toEqual(at(used))
  })

  test('never goes back, and a clock that is ahead does not move it', async () => {
    const { name, of } = await newKey()
    const used = Math.floor(Date.now() / 1000) * 1000 - 60_000
    await store([{ ...of, time: text(used) }])
    await fold()
    await store([
      { ...of, time: text(used - hour) },
      { ...of, time: text(Date.now() + day) },
    ])
    await fold()
    expect((await metrics({ name })).lastUsedTime).toEqual(at(used))
  })

  test('of a key that is being changed is told in a later round', async () => {
    const { name, of } = await newKey()
    const other = client().world.usagePool
    const holder = await client().world.pool.connect()
    try {
      await holder.query('BEGIN')
      await holder.query('SELECT FROM api_keys WHERE id = $1 FOR UPDATE', [of.apiKey])
      await store([of])
      await foldUsage(other)
      const [row] = (
        await client().world.client.query('SELECT last_used_time FROM api_keys WHERE id = $1', [of.apiKey])
      ).rows
      expect(row).toEqual({ last_used_time: null })
      await holder.query('ROLLBACK')
    } finally {
      holder.release()
    }
    await fold()
    const [row] = (
      await client().world.client.query('SELECT last_used_time IS NOT NULL AS told FROM api_keys WHERE id = $1', [
        of.apiKey,
      ])
    ).rows
    expect(row).toEqual({ told: true })
    expect((await metrics({ name })).totalRequests).toBe('1')
  })
})

describe('a lineage', () => {
  let [old, next] = ['', '']
  let organization = ''
  const ago = (ms: number) => ({ startTime: at(Date.now() - ms) })
  beforeAll(async () => {
    const key = await newKey()
    old = key.name
    organization = key.of.organization
    next = (
      await client().call('rotateApiKey', { name: old, gracePeriod: { seconds: 7200 }, requestId: crypto.randomUUID() })
    ).apiKey.name
    await store([
      { organization, apiKey: idOf(old), time: text(Date.now() - 30 * 60_000) },
      { organization, apiKey: idOf(old), reason: 'rate_limited', status: 429, time: text(Date.now() - 60_000) },
      { organization, apiKey: idOf(next) },
    ])
  })

  test('counts predecessors and successors with the key', async () => {
    for (const name of [old, next]) {
      expect((await metrics({ name, lineage: true })).totalRequests).toBe('3')
      expect((await metrics({ name, lineage: true, groupBy: ['api_key'] })).series).toHaveLength(2)
    }
    expect((await metrics({ name: old })).totalRequests).toBe('2')
  })

  test('is safe to finish once the predecessor is not used any more', async () => {
    for (const name of [old, next]) {
      expect((await metrics({ name, lineage: true, interval: ago(hour) })).safeToFinish).toBe(false)
      expect((await metrics({ name, lineage: true, interval: ago(10 * 60_000) })).safeToFinish).toBe(true)
    }
    await fold()
    expect((await metrics({ name: next, lineage: true, interval: ago(hour) })).safeToFinish).toBe(false)
    expect((await metrics({ name: next, lineage: true, interval: ago(10 * 60_000) })).safeToFinish).toBe(true)
  })

  test('of a key that replaces none has nothing to finish', async () => {
    const { name } = await newKey()
    expect((await metrics({ name, lineage: true })).safeToFinish).toBe(false)
  })
})

test('requests that are refused', async () => {
  const { parent, name } = await newKey()
  expect(fieldsOf(await failure(metrics({})))).toEqual(['name FIELD_REQUIRED'])
  expect(fieldsOf(await failure(metrics({ name: 'x' })))).toEqual(['name FIELD_INVALID'])
  expect(fieldsOf(await failure(metrics({ parent, lineage: true })))).toEqual(['lineage FIELD_INVALID'])
  const interval = { startTime: at(Date.now() - 401 * day), endTime: at(Date.now()) }
  expect(fieldsOf(await failure(metrics({ name, interval })))).toEqual(['interval FIELD_INVALID'])
  expect((await failure(metrics({ name: `${name}x` }))).reason).toBe('API_KEY_UNKNOWN')
  expect((await failure(metrics({ parent: 'organizations/none' }))).reason).toBe('ORGANIZATION_UNKNOWN')
})
