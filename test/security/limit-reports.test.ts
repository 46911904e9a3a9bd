// Field reports 10 and 12, as far as a check decides them: windows that traffic or denials must not move, counts that must not be off by
// one, and a limit of nothing that is not the absence of a limit. Whole checks in process, with the clock given.
import { describe, expect, it } from 'vitest'
import type { OwnLimit } from '../../src/core/api-key-entry.ts'
import { type Answer, createStand, entryOf, organizationOf, type Stand } from '../check/check-stand.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'

const start = Date.parse('2026-03-01T13:00:00Z')
const minute = 60_000_000
const fixture = goldenKey('L1')

/** The key L1 with a limit of its own; null: the profile's. */
function standWith(limit: OwnLimit | null): Stand & { limitTo(limit: OwnLimit | null): void } {
  const stand = createStand({ keys: [] })
  stand.table.setOrganization({ id: organizationOf(fixture), profile: 'billoget', suspended: false, valid: true })
  const limitTo = (to: OwnLimit | null) => {
    stand.table.replace({ ...entryOf(fixture), limit: to })
  }
  limitTo(limit)
  return { ...stand, limitTo }
}

const ask = (stand: Stand, method = 'GET') =>
  stand.check({
    method,
    path: '/v1/api/public/budgets',
    host: goldenHosts.billoget,
    headers: [['authorization', `Bearer ${fixture.secret}`]],
  })

const at = (stand: Stand, seconds: number) => {
  stand.setNow(start + seconds * 1000)
  return ask(stand)
}

const numbers = (answer: Answer) => {
  const headers = answer.outcome === 'allow' ? answer.responseHeaders : answer.headers
  return ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after'].map(
    name => headers.get(name) ?? '',
  )
}

describe('a window (field report 10)', () => {
  it('opens with the first request and is moved by none: 5 in 60 s, at 0 to 60 s', () => {
    const stand = standWith({ limit: 5, windowMicros: minute })
    const end = String(start / 1000 + 60)
    expect([0, 10, 20, 30, 40].map(seconds => numbers(at(stand, seconds)))).toEqual(
      [4, 3, 2, 1, 0].map(left => ['5', String(left), end, '']),
    )
    for (const [seconds, wait] of [
      [50, '10'],
      [55, '5'],
      [59.999999, '1'],
    ] as const) {
      const denied = at(stand, seconds)
      expect([denied.status, denied.metadata['reason'], ...numbers(denied)]).toEqual([
        429,
        'rate_limited',
        '5',
        '0',
        end,
        wait,
      ])
      expect(denied.body).toContain(`Try again in ${wait} seconds`)
    }
    expect(numbers(at(stand, 60))).toEqual(['5', '4', String(start / 1000 + 120), ''])
  })

  it.each(['cold', 'warm'])(
    'admits exactly ten of fifteen at once in a %s process, and tells each remainder once',
    kind => {
      const stand = standWith({ limit: 10, windowMicros: minute })
      if (kind === 'warm') {
        for (let i = 0; i < 12; i++) at(stand, -120)
        stand.setNow(start)
      }
      const answers = Array.from({ length: 15 }, () => ask(stand))
      expect(answers.filter(answer => answer.outcome === 'allow').map(answer => numbers(answer)[1])).toEqual(
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map(String),
      )
      expect(answers.slice(10).map(answer => answer.metadata['reason'])).toEqual(
        Array.from({ length: 5 }, () => 'rate_limited'),
      )
    },
  )

  it('is neither opened nor used up by denials', () => {
    const stand = standWith({ limit: 2, windowMicros: minute })
    stand.setNow(start - 30_000)
    for (let i = 0; i < 10; i++) expect(ask(stand, 'POST').metadata['reason']).toBe('insufficient_scope')
    expect(stand.limits.size).toBe(0)
    expect(numbers(at(stand, 0))).toEqual(['2', '1', String(start / 1000 + 60), ''])
    for (let i = 0; i < 10; i++) expect(ask(stand, 'POST').metadata['reason']).toBe('insufficient_scope')
    expect(numbers(at(stand, 1))[1]).toBe('0')
    for (let i = 0; i < 10; i++) expect(at(stand, 2).status).toBe(429)
    expect(numbers(at(stand, 60))[1]).toBe('1')
  })
})

describe('a limit (field report 12)', () => {
  it('that is absent is the profile’s: 1000 in an hour', () => {
    const stand = standWith(null)
    expect(numbers(ask(stand))).toEqual(['1000', '999', String(start / 1000 + 3600), ''])
  })

  it('of 0 always denies, with the window as its wait, and is not the absence of a limit', () => {
    const stand = standWith({ limit: 0, windowMicros: minute })
    for (const seconds of [0, 59, 60, 3600, 86_400]) {
      const denied = at(stand, seconds)
      expect([denied.status, denied.metadata['reason'], numbers(denied)[3], numbers(denied)[1]]).toEqual([
        429,
        'rate_limited',
        '60',
        '0',
      ])
    }
  })

  it('lowered below what is used denies at once; raised, the difference is free at once; cleared, the profile’s less what is used', () => {
    const stand = standWith(null)
    for (let i = 0; i < 500; i++) expect(ask(stand).outcome).toBe('allow')
    stand.limitTo({ limit: 10, windowMicros: 3600_000_000 })
    const lowered = ask(stand)
    expect([lowered.status, ...numbers(lowered)]).toEqual([429, '10', '0', String(start / 1000 + 3600), '3600'])
    stand.limitTo({ limit: 600, windowMicros: 3600_000_000 })
    expect(numbers(ask(stand)).slice(0, 2)).toEqual(['600', '99'])
    stand.limitTo(null)
    expect(numbers(ask(stand)).slice(0, 2)).toEqual(['1000', '498'])
  })

  it('that is used up is a 429, never a 401 or 403, for every kind of client', () => {
    const stand = standWith({ limit: 1, windowMicros: minute })
    ask(stand)
    for (const method of ['GET', 'HEAD']) {
      const denied = ask(stand, method)
      expect([denied.status, denied.code, denied.headers.get('www-authenticate')]).toEqual([429, 8, undefined])
    }
    // A key that is none at all is still told so, and one that may not do this as well.
    const stranger = stand.check({
      path: '/v1/api/public/budgets',
      host: goldenHosts.billoget,
      headers: [['authorization', 'Bearer bk_live_ffffffffffffffff']],
    })
    expect(stranger.status).toBe(401)
    expect(ask(stand, 'POST').status).toBe(403)
  })
})
