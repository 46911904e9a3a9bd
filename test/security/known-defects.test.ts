// Classes of defects that comparable systems shipped (security.md 10), each as a whole check that would show it here. Those of the list
// that are not below have their test elsewhere: a field of the check before (check/check-handler: "leaves nothing to the next one"),
// repeated headers (credential-corpus), NUL and octets that are no UTF-8 (check/field-reports 13, fuzz/reply), a blank field that takes
// the fleet down (fuzz/feed-rows, feed/poison), a table served before it is loaded (feed/load), an old plan (feed/traps).
import { describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import { blockOf } from '../../src/core/cidr.ts'
import { storeApiKeys, storeOrganizations } from '../../src/feed/apply-change.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { createStand, digestOf, entryOf, organizationOf, pepper, type Stand } from '../check/check-stand.ts'
import { goldenHosts, goldenKey, goldenKeys, type KeyFixture } from '../core/cases.ts'
import { block } from '../feed/support/rows.ts'
import { products, profileText } from '../profile/documents.ts'

const base = goldenKey('B1')
const customers = '/customer/open/v1/customers'

function standWith(...entries: readonly ApiKeyEntry[]): Stand {
  const stand = createStand({ keys: [] })
  stand.table.setOrganization({ id: organizationOf(base), profile: 'bitbybit', suspended: false, valid: true })
  for (const entry of entries) stand.table.replace(entry)
  return stand
}

const keyOf = (secret: string, more: Partial<KeyFixture> = {}, id = 'X') =>
  entryOf({ ...base, name: id, secret, ...more })

/** `allow`, or the reason. */
function outcome(stand: Stand, secret: string, path = customers, xff = '203.0.113.10'): string {
  const { metadata } = stand.check({
    path,
    host: goldenHosts.bitbybit,
    headers: [
      ['x-api-key', secret],
      ['x-forwarded-for', xff],
    ],
  })
  return metadata['reason'] ?? metadata['decision'] ?? ''
}

describe('a memo that points to a row that has changed', () => {
  it('does not exist: the next check sees each change of a key in constant use, moves of other rows included', () => {
    const secrets = ['bbb_live_aaaaaaaaaaaaaaaa', 'bbb_live_bbbbbbbbbbbbbbbb', 'bbb_live_cccccccccccccccc']
    const [a = '', b = '', c = ''] = secrets
    const stand = standWith(...secrets.map((secret, i) => keyOf(secret, {}, `K${i}`)))
    const hot = () => {
      for (let i = 0; i < 50; i++) for (const secret of secrets) outcome(stand, secret)
    }
    hot()
    expect(secrets.map(secret => outcome(stand, secret))).toEqual(['allow', 'allow', 'allow'])
    const steps: readonly [change: () => void, wanted: readonly string[]][] = [
      [() => stand.table.replace(keyOf(b, { suspended: true }, 'K1')), ['allow', 'suspended', 'allow']],
      [
        () => stand.table.replace(keyOf(b, { scopes: ['orders:READ'] }, 'K1')),
        ['allow', 'insufficient_scope', 'allow'],
      ],
      // The last row moves into the place of the first.
      [() => stand.table.remove(digestOf(a)), ['credential_unknown', 'insufficient_scope', 'allow']],
      [
        () => stand.table.replace(keyOf(c, { revokedAt: '2026-01-01T00:00:00Z' }, 'K2')),
        ['credential_unknown', 'insufficient_scope', 'revoked'],
      ],
      [() => stand.table.replace(keyOf(a, {}, 'K0')), ['allow', 'insufficient_scope', 'revoked']],
      [
        () =>
          stand.table.setOrganization({ id: organizationOf(base), profile: 'bitbybit', suspended: true, valid: true }),
        ['organization_suspended', 'organization_suspended', 'revoked'],
      ],
      [
        () =>
          stand.table.setOrganization({ id: organizationOf(base), profile: 'billoget', suspended: false, valid: true }),
        ['credential_unknown', 'credential_unknown', 'credential_unknown'],
      ],
      [
        () =>
          stand.table.setOrganization({ id: organizationOf(base), profile: 'bitbybit', suspended: false, valid: true }),
        ['allow', 'insufficient_scope', 'revoked'],
      ],
      [
        () => stand.table.replace({ kind: 'invalid', digest: digestOf(a), cause: 'test' }),
        ['authz_unavailable', 'insufficient_scope', 'revoked'],
      ],
      [() => stand.table.clear(), ['credential_unknown', 'credential_unknown', 'credential_unknown']],
    ]
    for (const [change, wanted] of steps) {
      hot()
      change()
      expect(secrets.map(secret => outcome(stand, secret))).toEqual(wanted)
    }
  })
})

describe('letter case', () => {
  it('is kept apart in secrets, scopes, environments and profile names', () => {
    const lower = 'bbb_live_abcdefabcdefabcd'
    const stand = standWith(keyOf(lower))
    expect(outcome(stand, lower)).toBe('allow')
    for (let i = 9; i < lower.length; i++) {
      const folded = lower.slice(0, i) + lower.charAt(i).toUpperCase() + lower.slice(i + 1)
      expect(outcome(stand, folded)).toBe('credential_unknown')
    }
    for (const scopes of [['customers:read'], ['CUSTOMERS:READ'], ['Customers:READ'], ['customers:READ ']]) {
      stand.table.replace(keyOf(lower, { scopes }))
      expect(outcome(stand, lower), scopes.join()).toBe('insufficient_scope')
    }
    for (const extension of ['BITBYBIT', 'Bitbybit', 'bitbybit ', 'bıtbybıt']) {
      const { metadata } = stand.check({
        path: customers,
        host: goldenHosts.bitbybit,
        headers: [['x-api-key', lower]],
        extensions: { profile: extension },
      })
      expect(metadata['reason']).toBe('route_unmapped')
    }
    const live = createStand({ accept: ['live'], keys: [{ ...base, secret: lower }] })
    expect(outcome(live, lower)).toBe('allow')
    for (const environment of ['LIVE', 'Live', 'test']) {
      live.table.replace({ ...keyOf(lower), environment })
      expect(outcome(live, lower), environment).toBe('environment_mismatch')
    }
  })
})

describe('a setting that is absent', () => {
  it('never lets a profile pass without a check: each member taken away is refused or changes no denial into an allow', () => {
    const requests: readonly [fixture: string, method: string, path: string, xff: string][] = [
      ['B3', 'GET', customers, '192.0.2.1'],
      ['B13', 'GET', customers, '203.0.113.5'],
      ['B4', 'GET', customers, ''],
      ['B5', 'GET', customers, ''],
      ['B9', 'GET', customers, ''],
      ['B2', 'GET', '/customer/open/v1/invoices', ''],
      ['B2', 'OPTIONS', customers, ''],
      ['B2', 'GET', '/customers', ''],
      ['L3', 'GET', '/v1/api/public/budgets', '192.0.2.1'],
      ['L1', 'POST', '/v1/api/public/budgets', ''],
      ['L4', 'GET', '/v1/api/public/budgets', ''],
      ['L8', 'GET', '/v1/api/public/webhooks/test', ''],
      ['L3', 'GET', '/v1/v1/api/public/budgets', '198.51.100.7'],
      ['G2', 'POST', '/products', '192.0.2.1'],
      ['G1', 'GET', '/products', ''],
      ['G7', 'GET', '/invoices', ''],
      ['G3', 'GET', '/internal/metrics', ''],
      ['G3', 'GET', '/invoices/', ''],
    ]
    const profileOf = { B: 'bitbybit', L: 'billoget', G: 'bitgpt' } as const
    // Nothing is spent beforehand: that takes a thousand checks a stand.
    const keys = goldenKeys.filter(({ spent }) => spent === undefined)
    const denied = (stand: Stand) =>
      requests.map(([name, method, path, xff]) => {
        const { secret, profile } = goldenKey(name)
        const credential =
          profile === 'bitbybit' ? (['x-api-key', secret] as const) : (['authorization', `Bearer ${secret}`] as const)
        return stand.check({
          method,
          path,
          host: goldenHosts[profile],
          headers: [credential, ['x-forwarded-for', xff]],
        }).outcome
      })
    expect(denied(createStand({ keys }))).toEqual(requests.map(() => 'deny'))
    let refused = 0
    let compiled = 0
    for (const product of products) {
      const document = parse(profileText(product), { merge: false }) as Record<string, unknown>
      for (const path of membersOf(document)) {
        const text = stringify(without(document, path))
        const { compiled: profile } = lintProfile(text, { file: 'x' })
        if (profile === undefined) {
          refused++
          continue
        }
        compiled++
        const others = products.filter(name => name !== product).map(profileText)
        const outcomes = denied(createStand({ profiles: [text, ...others], keys }))
        for (const [i, found] of outcomes.entries()) {
          const [name = ''] = requests[i] ?? []
          if (found !== 'deny')
            expect([path.join('.'), profileOf[name.charAt(0) as 'B' | 'L' | 'G'], requests[i], found]).toBe('deny')
        }
      }
    }
    process.stdout.write(`members taken away: ${refused} refused, ${compiled} compiled without opening anything\n`)
    expect(refused).toBeGreaterThan(50)
    expect(compiled).toBeGreaterThan(10)
  }, 120_000)

  it('in a row is a fault of that row: a list that is NULL is not an empty list', () => {
    const stand = createStand({ keys: [] })
    const observer = { record: () => undefined }
    storeOrganizations([{ id: 'org_1', profile: 'bitbybit', suspend_time: null }], stand.table, observer)
    const secret = 'bbb_live_absent0000000001'
    const row = {
      id: 'key_019ca000-0000-7000-8000-000000000001',
      organization_id: 'org_1',
      digest: digestOf(secret),
      pepper_id: pepper.id,
      environment: 'live',
      scope_mode: 1,
      scopes: ['customers:READ'],
      allowlist_binary: block(4, 32, 192, 0, 2, 1),
      expire_time: null,
      grace_end_time: null,
      suspend_time: null,
      revoke_time: null,
      delete_time: null,
      rate_limit: null,
      rate_window_us: null,
      lineage_id: 'key_019ca000-0000-7000-8000-000000000001',
    }
    const nullable = ['expire_time', 'grace_end_time', 'suspend_time', 'revoke_time', 'delete_time']
    storeApiKeys([row], stand.table, observer)
    expect([outcome(stand, secret), outcome(stand, secret, customers, '192.0.2.1')]).toEqual([
      'ip_not_allowed',
      'allow',
    ])
    for (const column of Object.keys(row)) {
      for (const absent of [null, undefined]) {
        storeApiKeys([{ ...row, [column]: absent }], stand.table, observer)
        const isNullable = absent === null && (nullable.includes(column) || column.startsWith('rate_'))
        // A digest that is absent names no secret; the row that is held stays.
        const wanted = column === 'digest' || isNullable ? 'ip_not_allowed' : 'authz_unavailable'
        expect(outcome(stand, secret), `${column} ${absent}`).toBe(wanted)
        storeApiKeys([row], stand.table, observer)
      }
    }
  })
})

/** Paths of all members of mappings, two levels deep. */
function membersOf(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || path.length === 2) return []
  return Object.entries(value).flatMap(([name, inner]) => [[...path, name], ...membersOf(inner, [...path, name])])
}

function without(value: unknown, [first = '', ...rest]: readonly string[]): unknown {
  const copy = { ...(value as Record<string, unknown>) }
  if (rest.length === 0) delete copy[first]
  else copy[first] = without(copy[first], rest)
  return copy
}

describe('a path that begins with two slashes', () => {
  it('is no authority and no route', () => {
    const stand = createStand()
    for (const path of [
      `//${goldenHosts.bitbybit}${customers}`,
      `//${customers}`,
      `/${customers}`,
      '//',
      '///',
      `//evil.test${customers}`,
      `https://${goldenHosts.bitbybit}${customers}`,
      `/\\${goldenHosts.bitbybit}${customers}`,
    ]) {
      expect(outcome(stand, base.secret, path), path).toBe('request_malformed')
    }
  })
})

describe('truncation', () => {
  it('of a secret does not happen: of 119 secrets that share all but their end or one octet, each is its own', () => {
    const long = `bbb_live_${'a'.repeat(128)}`
    const stand = standWith(keyOf(long))
    expect(outcome(stand, long)).toBe('allow')
    for (let length = 12; length < 128; length++) {
      if (length !== 38) expect(outcome(stand, `bbb_live_${'a'.repeat(length)}`)).toBe('credential_unknown')
    }
    for (const at of [9, 31, 32, 55, 56, 63, 64, 71, 72, 73, 100, 127, 136]) {
      expect(outcome(stand, `${long.slice(0, at)}b${long.slice(at + 1)}`), String(at)).toBe('credential_unknown')
    }
  })

  it('of a digest does not happen: a row that shares any 31 octets of it is another row', () => {
    const secret = 'bbb_live_truncated00000001'
    const digest = digestOf(secret)
    const stand = standWith()
    for (let at = 0; at < 32; at++) {
      for (const bit of [0, 7]) {
        const other = Buffer.from(digest)
        other[at] = (other[at] ?? 0) ^ (1 << bit)
        stand.table.replace({ ...keyOf('unused', {}, `D${at}`), digest: other })
      }
    }
    expect(stand.table.size).toBe(64)
    expect(outcome(stand, secret)).toBe('credential_unknown')
    stand.table.replace(keyOf(secret))
    expect(outcome(stand, secret)).toBe('allow')
  })
})

describe('a short secret', () => {
  it.each(['', 'b', 'bbb_live_', 'bbb_live_a', 'bbb_live_abcdefghijk'])(
    '%j opens nothing, even if a row has its digest',
    secret => {
      const stand = standWith(keyOf(secret))
      expect(['credential_malformed', 'credential_missing']).toContain(outcome(stand, secret))
    },
  )
})

describe('data over a built-in limit', () => {
  it('is refused as a whole, never cut: 256 entries are all compared, 257 condemn their key alone', () => {
    const stand = createStand({ keys: [] })
    const observer = { record: () => undefined }
    storeOrganizations([{ id: 'org_1', profile: 'bitbybit', suspend_time: null }], stand.table, observer)
    const [secret, other] = ['bbb_live_entries0000000001', 'bbb_live_entries0000000002']
    const row = (text: string, entries: number) => ({
      id: `key_019ca000-0000-7000-8000-${digestOf(text).toString('hex').slice(0, 12)}`,
      organization_id: 'org_1',
      digest: digestOf(text),
      pepper_id: pepper.id,
      environment: 'live',
      scope_mode: 1,
      scopes: ['customers:READ'],
      allowlist_binary: Buffer.concat(
        Array.from({ length: entries }, (_, i) => block(4, 32, 198, 51, i >> 8, i & 255)),
      ),
      expire_time: null,
      grace_end_time: null,
      suspend_time: null,
      revoke_time: null,
      delete_time: null,
      rate_limit: null,
      rate_window_us: null,
      lineage_id: `key_019ca000-0000-7000-8000-${digestOf(text).toString('hex').slice(0, 12)}`,
    })
    storeApiKeys([row(secret, 256), row(other, 257)], stand.table, observer)
    expect([0, 1, 128, 255].map(i => outcome(stand, secret, customers, `198.51.0.${i}`))).toEqual([
      'allow',
      'allow',
      'allow',
      'allow',
    ])
    expect(outcome(stand, secret, customers, '198.51.1.0')).toBe('ip_not_allowed')
    expect([0, 255].map(i => outcome(stand, other, customers, `198.51.0.${i}`))).toEqual([
      'authz_unavailable',
      'authz_unavailable',
    ])
  })

  it('in a request is a denial: 65 segments, 8193 octets of path, 21 hops, 257 octets of secret', () => {
    const stand = standWith(keyOf(base.secret, {}), {
      ...keyOf('bbb_live_hops000000000001', {}, 'H'),
      allowlist: [blockOf(4, Uint8Array.of(203, 0, 113, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 24)],
    })
    expect(outcome(stand, base.secret, `${customers}/${'a'.repeat(8192 - customers.length - 1)}`)).toBe('allow')
    expect(outcome(stand, base.secret, `${customers}/${'a'.repeat(8192 - customers.length)}`)).toBe('request_malformed')
    expect(outcome(stand, base.secret, `${customers}${'/a'.repeat(60)}`)).toBe('route_unmapped')
    expect(outcome(stand, base.secret, `${customers}${'/a'.repeat(61)}`)).toBe('request_malformed')
    const chain = (length: number) => Array.from({ length }, () => '203.0.113.10').join(',')
    expect(outcome(stand, 'bbb_live_hops000000000001', customers, chain(20))).toBe('allow')
    expect(outcome(stand, 'bbb_live_hops000000000001', customers, chain(21))).toBe('ip_undeterminable')
    expect(outcome(stand, `bbb_live_${'a'.repeat(248)}`)).toBe('credential_malformed')
  })
})
