// Faults that comparable systems shipped, tried on the create call: zone-less times, lenient address readers.
import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { allowlistAdmin } from '../../src/admin/allowlist-admin.ts'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import { ApiKey } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { organizationOf } from '../check/check-stand.ts'
import { goldenKey } from '../core/cases.ts'
import { callWith, refusal } from './admin-world.ts'
import { useFacade } from './facade-stand.ts'

const facade = useFacade()
const parent = `organizations/${organizationOf(goldenKey('G5'))}`

describe.each([
  ['America/New_York', 300],
  ['Asia/Kolkata', -330],
  ['Europe/Berlin', -60],
  ['UTC', 0],
])('field report 2 in %s', (zone, minutesBehindUtc) => {
  const before = process.env['TZ']
  afterAll(() => {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  })
  const form = 'Expiry is not in the form YYYY-MM-DD HH:MM:SS'

  it.each([
    ['2026-05-30 20:23:16', null],
    ['2026-03-29 02:30:00', null],
    ['2026-02-30 00:00:00', form],
    ['2026-05-30 24:00:00', form],
    ['2026-05-30 20:23:60', form],
    ['2026-5-30 20:23:16', form],
    ['2026-03-01 13:00:00', 'Expiry is in the past'],
    ['2026-03-01 13:00:01', null],
  ])('%s', async (text, fault) => {
    process.env['TZ'] = zone
    expect(new Date('2026-01-15').getTimezoneOffset(), 'the zone is in force').toBe(minutesBehindUtc)
    const { status, data, validator } = await facade().json({ body: { label: 'x', expires_at: text } })
    if (fault !== null) return expect([status, validator]).toEqual([400, { expires_at: fault }])
    expect(data?.['expires_at']).toBe(text)
    const { rows } = await facade().world.client.query(
      "SELECT to_char(expire_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS text FROM api_keys WHERE id = $1",
      [data?.id],
    )
    expect(rows).toEqual([{ text }])
  })
})

describe('field report 7: the facade accepts exactly the entries that every other entrance accepts', () => {
  const refused = [
    ...[
      '203.0.113.0/',
      '203.0.113.0/ 24',
      '203.0.113.0/0x18',
      '203.0.113.0/2e1',
      '203.0.113.0/24.0',
      '203.0.113.0/+24',
    ],
    ...['203.0.113.0/024', '203.0.113.0x1/32', '203.0.113.0/24/8', '::/', '203.0.113/24', '２０３.0.113.0/24'],
    ...[
      '203.0.113.0/٢٤',
      '203.0.113.0/24\n',
      '',
      '::/0',
      '127.1',
      '0x7f.1',
      '010.0.0.1',
      '::1%eth0',
      '[::1]',
      '1.2.3.4:80',
    ],
  ]
  const accepted = [
    ['2001:db8:1:2::/64', '2001:db8:1:2::/64'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['203.0.113.7/24', '203.0.113.0/24'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:0DB8::', '2001:db8::'],
  ] as const

  const throughGrpc = (cidr: string) => {
    const { context, rootKey } = facade().world
    const apiKey = { ...ApiKey.create({}), displayName: 'x', allowlist: [{ cidr, label: '' }] }
    const request = { parent, apiKey, apiKeyId: '', requestId: randomUUID(), validateOnly: true, callerAddress: '' }
    return apiKeyAdmin(context).createApiKey(request, callWith(rootKey))
  }
  const validated = async (cidr: string) => {
    const { context, rootKey } = facade().world
    const request = {
      rules: { $case: 'parent', value: parent } as const,
      entries: [{ cidr, label: '' }],
      callerAddress: '',
    }
    return allowlistAdmin(context).validateIpAllowlist(request, callWith(rootKey))
  }

  it.each(refused)('refuses %j', async cidr => {
    const { status, validator } = await facade().json({ body: { label: 'x', ip_allow_list: [cidr] } })
    expect([status, validator]).toEqual([400, { ip_allow_list: `IP allow list: invalid entry ${cidr}` }])
    expect((await refusal(throughGrpc(cidr))).details.violations).toHaveLength(1)
    expect((await validated(cidr)).violations).toHaveLength(1)
  })

  it.each(accepted)('takes %s', async (cidr, shown) => {
    const { data } = await facade().json({ body: { label: 'x', ip_allow_list: [cidr] } })
    expect(data?.['ip_allow_list']).toEqual([shown])
    const stored = (await throughGrpc(cidr)).apiKey?.allowlist.map(entry => entry.cidr)
    expect(stored).toEqual((await validated(cidr)).entries.map(entry => entry.cidr))
    const { rows } = await facade().world.client.query('SELECT allowlist FROM api_keys WHERE id = $1', [data?.id])
    expect(rows[0]?.allowlist.map((entry: { cidr: string }) => entry.cidr)).toEqual(stored)
  })
})
