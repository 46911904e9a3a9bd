// The state step at its edges (K5, K6) and what poison rows and unreadable organizations do, through whole checks.
import { describe, expect, it } from 'vitest'
import { createStand, entryOf, organizationOf } from '../check/check-stand.ts'
import { goldenKey, type KeyFixture } from './cases.ts'

const now = Date.parse('2026-03-01T13:00:00Z')
const B1 = goldenKey('B1')
const request = {
  path: '/customer/open/v1/customers',
  host: 'api.bitbybit.studio',
  headers: [['x-api-key', B1.secret]],
} as const

const stand = createStand({ keys: [B1] })

function outcomeOf(change: Partial<KeyFixture>, at = now): string {
  stand.table.replace(entryOf({ ...B1, ...change }))
  stand.setNow(at)
  const { metadata } = stand.check(request)
  return metadata['reason'] ?? metadata['decision'] ?? ''
}

const before = '2026-03-01T12:00:00Z'
const earlier = '2026-03-01T11:00:00Z'
const later = '2026-03-01T14:00:00Z'

describe('an API key', () => {
  it.each(['expireAt', 'graceEndAt'] as const)(
    'is refused from the instant of %s on, and valid one microsecond before',
    end => {
      const reason = end === 'expireAt' ? 'expired' : 'rotated_out'
      const change = { [end]: '2026-03-01T13:00:00Z' }
      expect(outcomeOf(change, now - 0.001)).toBe('allow')
      expect(outcomeOf(change, now)).toBe(reason)
      expect(outcomeOf(change, now + 0.001)).toBe(reason)
    },
  )

  it.each([
    [
      'deleted before all',
      { deleted: true, revokedAt: before, graceEndAt: before, expireAt: before, suspended: true },
      'deleted',
    ],
    [
      'revoked before any end',
      { revokedAt: before, graceEndAt: earlier, expireAt: earlier, suspended: true },
      'revoked',
    ],
    ['the grace end that came first', { graceEndAt: earlier, expireAt: before, suspended: true }, 'rotated_out'],
    ['the expiry that came first', { graceEndAt: before, expireAt: earlier, suspended: true }, 'expired'],
    ['both at once', { graceEndAt: before, expireAt: before }, 'expired'],
    ['only the expiry reached', { graceEndAt: later, expireAt: before }, 'expired'],
    ['only the grace end reached', { graceEndAt: before, expireAt: later }, 'rotated_out'],
    ['ends to come', { graceEndAt: later, expireAt: later }, 'allow'],
    ['suspended last', { graceEndAt: later, expireAt: later, suspended: true }, 'suspended'],
  ] as const)('has one reason: %s', (_, change, expected) => {
    expect(outcomeOf(change)).toBe(expected)
  })

  it('of a suspended organization says so before its own suspension, and recovers with it', () => {
    const organization = { id: organizationOf(B1), profile: 'bitbybit', valid: true }
    stand.table.setOrganization({ ...organization, suspended: true })
    expect(outcomeOf({ suspended: true })).toBe('organization_suspended')
    expect(outcomeOf({ expireAt: before })).toBe('expired')
    stand.table.setOrganization({ ...organization, suspended: false })
    expect(outcomeOf({})).toBe('allow')
  })

  it('whose row or organization cannot be read is our failure, and names nobody', () => {
    const { digest } = entryOf(B1)
    stand.table.replace({ kind: 'invalid', digest, pepperId: 'p1', cause: 'scopes' } as Parameters<
      typeof stand.table.replace
    >[0])
    const poisoned = stand.check(request)
    expect([poisoned.status, poisoned.metadata['reason']]).toEqual([503, 'authz_unavailable'])
    expect(poisoned.metadata['api_key_id']).toBeUndefined()
    expect(outcomeOf({})).toBe('allow')
    stand.table.setOrganization({ id: organizationOf(B1), profile: 'bitbybit', suspended: false, valid: false })
    expect(outcomeOf({})).toBe('authz_unavailable')
    stand.table.setOrganization({ id: organizationOf(B1), profile: 'bitbybit', suspended: false, valid: true })
    expect(outcomeOf({})).toBe('allow')
  })

  it('of another profile is unknown here', () => {
    stand.table.setOrganization({ id: organizationOf(B1), profile: 'billoget', suspended: false, valid: true })
    expect(outcomeOf({})).toBe('credential_unknown')
    stand.table.setOrganization({ id: organizationOf(B1), profile: 'bitbybit', suspended: false, valid: true })
    expect(outcomeOf({})).toBe('allow')
  })
})
