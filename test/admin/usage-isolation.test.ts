// Two organizations never see each other's requests, by any question about usage, whatever a row or a caller says.
import { beforeAll, describe, expect, test } from 'vitest'
import { foldUsage } from '../../src/store/usage-upkeep.ts'
import { storeUsage } from '../support/usage-rows.ts'
import { failure, useKeyClient } from './key-client.ts'
import { insertAdminKey } from './usage-callers.ts'

const client = useKeyClient()
const idOf = (name: string) => name.split('/').at(-1) ?? ''

interface Side {
  readonly parent: string
  readonly key: string
  /** Occurs in every text of its rows. */
  readonly mark: string
  /** An admin key that is bound to this organization, with the scopes of a reader. */
  readonly reader: string
}

let a: Side
let b: Side
let operator = ''

async function side(mark: string): Promise<Side> {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  const row = {
    organization: idOf(parent),
    apiKey: idOf(apiKey.name),
    path: `/${mark}`,
    userAgent: mark,
    requestId: mark,
    host: `${mark}.example.com`,
  }
  const clientIp = mark === 'alpha' ? '203.0.113.1' : '198.51.100.1'
  await storeUsage(client().world.client, [
    { ...row, clientIp, finalStatus: 200 },
    { ...row, clientIp, reason: 'ip_not_allowed' },
  ])
  const reader = await insertAdminKey(client().world, {
    scopes: ['usage.read', 'usage.export'],
    organizations: [idOf(parent)],
  })
  return { parent, key: apiKey.name, mark, reader }
}

beforeAll(async () => {
  a = await side('alpha')
  b = await side('omega')
  // A row of another hand: the key of one organization under the name of the other.
  await storeUsage(client().world.client, [
    { organization: idOf(a.parent), apiKey: idOf(b.key), userAgent: 'alpha', path: '/alpha', clientIp: '203.0.113.9' },
    { organization: '', apiKey: '', reason: 'credential_unknown', userAgent: 'nobody', path: '/nobody' },
  ])
  operator = await insertAdminKey(client().world, { scopes: ['usage.read', 'usage.export'], organizations: null })
  await foldUsage(client().world.usagePool)
  await storeUsage(client().world.client, [
    { organization: idOf(b.parent), apiKey: idOf(b.key), path: '/omega', userAgent: 'omega', clientIp: '198.51.100.9' },
  ])
})

/** Everything that can be asked about one side, as text. */
async function everything(adminKey: string, of: Side): Promise<string> {
  const filters = [
    '',
    `api_key = ${b.key}`,
    `api_key = ${a.key}`,
    'path:"/*"',
    'client_ip = 0.0.0.0/0',
    'time:* OR time:*',
    'NOT method = x',
  ]
  const answers: unknown[] = []
  const ask = async (method: string, request: object) => answers.push(await client().callAs(adminKey, method, request))
  for (const filter of filters) {
    await ask('listUsageLogs', { parent: of.parent, filter })
    const chunks = await client().download<{ data: Buffer }>('exportUsageLogs', { parent: of.parent, filter }, adminKey)
    answers.push(chunks.map(({ data }) => data.toString()))
  }
  await ask('getUsageMetrics', { parent: of.parent, groupBy: ['api_key', 'day'] })
  await ask('getUsageMetrics', { name: of.key, lineage: true, groupBy: ['api_key'] })
  await ask('simulateIpAllowlist', { name: of.key, entries: [{ cidr: '192.0.2.0/24' }] })
  await ask('suggestIpAllowlist', { name: of.key })
  return JSON.stringify(answers)
}

describe('a caller of one organization', () => {
  test.each(['own reader', 'operator'])('(%s) finds its own rows and none of the other', async who => {
    const [ofA, ofB] = [
      await everything(who === 'operator' ? operator : a.reader, a),
      await everything(who === 'operator' ? operator : b.reader, b),
    ]
    expect(ofA).toContain('alpha')
    expect(ofA).not.toContain('omega')
    expect(ofA).not.toContain('198.51.100.1')
    expect(ofB).toContain('omega')
    expect(ofB).not.toContain('alpha')
    expect(ofB).not.toContain('203.0.113.')
    expect(ofA + ofB).not.toContain('nobody')
  })

  test('the hint of a key of another organization is not told', async () => {
    const columns = ['api_key_id', 'key_hint']
    const chunks = await client().download<{ data: Buffer }>('exportUsageLogs', { parent: a.parent, columns }, a.reader)
    expect(Buffer.concat(chunks.map(({ data }) => data)).toString()).toContain(`\r\n${idOf(b.key)},\r\n`)
  })

  test('is refused the other one alike, whether it is there or not', async () => {
    for (const parent of [b.parent, 'organizations/none']) {
      const key = `${parent}/apiKeys/${idOf(b.key)}`
      const calls = [
        () => client().callAs(a.reader, 'listUsageLogs', { parent }),
        () => client().download('exportUsageLogs', { parent }, a.reader),
        () => client().callAs(a.reader, 'getUsageMetrics', { parent }),
        () => client().callAs(a.reader, 'getUsageMetrics', { name: key }),
        () => client().callAs(a.reader, 'simulateIpAllowlist', { name: key }),
        () => client().callAs(a.reader, 'suggestIpAllowlist', { name: key }),
      ]
      for (const call of calls) {
        const { reason, message } = await failure(call())
        expect({ reason, message }).toEqual({
          reason: 'ORGANIZATION_NOT_PERMITTED',
          message: 'The caller has no rights for this organization.',
        })
      }
    }
  })

  test('sees its organizations where it asks for all, and nobody’s requests only as an operator', async () => {
    const request = { parent: 'organizations/-' }
    const own = JSON.stringify(await client().callAs(a.reader, 'listUsageLogs', request))
    expect(own).toContain('alpha')
    expect(own).not.toMatch(/omega|nobody/)
    const all = JSON.stringify(await client().callAs(operator, 'listUsageLogs', request))
    for (const mark of ['alpha', 'omega', 'nobody']) expect(all).toContain(mark)
    const chunks = await client().download<{ data: Buffer }>('exportUsageLogs', request, a.reader)
    expect(chunks.map(({ data }) => data.toString()).join('')).not.toMatch(/omega|nobody/)
  })

  test('takes no token of the other', async () => {
    const { nextPageToken: pageToken } = await client().callAs(b.reader, 'listUsageLogs', {
      parent: b.parent,
      pageSize: 1,
    })
    expect(pageToken).not.toBe('')
    const refused = await failure(client().callAs(a.reader, 'listUsageLogs', { parent: a.parent, pageToken }))
    expect(refused.reason).toBe('PAGE_TOKEN_INVALID')
  })
})

test('without the scope nothing is answered', async () => {
  const reader = await insertAdminKey(client().world, { scopes: ['usage.read'], organizations: [idOf(a.parent)] })
  expect((await failure(client().download('exportUsageLogs', { parent: a.parent }, reader))).reason).toBe(
    'ADMIN_SCOPE_MISSING',
  )
  const other = await insertAdminKey(client().world, { scopes: ['keys.read'], organizations: [idOf(a.parent)] })
  for (const method of ['listUsageLogs', 'getUsageMetrics']) {
    expect((await failure(client().callAs(other, method, { parent: a.parent }))).reason).toBe('ADMIN_SCOPE_MISSING')
  }
  for (const method of ['simulateIpAllowlist', 'suggestIpAllowlist']) {
    expect((await failure(client().callAs(other, method, { name: a.key }))).reason).toBe('ADMIN_SCOPE_MISSING')
  }
})
