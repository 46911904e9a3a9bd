// The golden cases T01–T94: whole checks in process, from request octets to reply octets, on each header form.
import { describe, expect, it } from 'vitest'
import { createStand, fixtureId, organizationOf } from '../check/check-stand.ts'
import type { SentRequest } from '../check/encode-check.ts'
import {
  type GoldenCase,
  goldenCases,
  goldenHosts,
  goldenKey,
  goldenPattern,
  goldenRenderings,
  goldenSettings,
  secretsFilled,
} from './cases.ts'

const upstreamNames = [
  'x-gatewarden-organization-id',
  'x-gatewarden-api-key-id',
  'x-gatewarden-environment',
  'x-gatewarden-scope',
]

function requestOf(golden: GoldenCase, form: SentRequest['form']): SentRequest {
  const { credential, xff, method, path, profile } = golden
  return {
    method,
    path,
    host: goldenHosts[profile],
    headers: [
      ['user-agent', 'curl/8.5.0'],
      ...(credential === null ? [] : [[credential.header, secretsFilled(credential.value)] as const]),
      ...(xff === null ? [] : [['x-forwarded-for', xff] as const]),
    ],
    ...(form === undefined ? {} : { form }),
  }
}

function standFor(golden: GoldenCase) {
  return createStand({
    ...(golden.now === undefined ? {} : { now: golden.now }),
    ...(golden.fresh === undefined ? {} : { fresh: golden.fresh }),
    ...(golden.accept === undefined ? {} : { accept: golden.accept }),
    clientAddress: { mode: 'xff-hops', hops: golden.hops ?? goldenSettings.hops, appended: true },
  })
}

const shared = createStand()
const isPlain = (golden: GoldenCase) =>
  golden.now === undefined && golden.fresh === undefined && golden.accept === undefined && golden.hops === undefined

describe('the golden cases', () => {
  it('are all there', () => {
    expect(goldenCases.map(golden => golden.id)).toEqual(
      Array.from({ length: 94 }, (_, i) => `T${String(i + 1).padStart(2, '0')}`),
    )
  })

  describe.each(['header_map', 'headers', 'both'] as const)('with %s', form => {
    it.each(goldenCases)('$id $method $path: $note', golden => {
      const stand = isPlain(golden) ? shared : standFor(golden)
      const answer = stand.check(requestOf(golden, form))
      expect(stand.errors).toEqual([])
      const { expect: expected, profile } = golden
      expect(answer.metadata['profile']).toBe(profile)
      const key = /\$(\w+)/.exec(golden.credential?.value ?? '')?.[1]
      if (expected.outcome === 'allow') {
        const fixture = goldenKey(key ?? '')
        expect(answer.outcome).toBe('allow')
        expect(answer.code).toBe(0)
        expect([...answer.headers.keys()]).toEqual(upstreamNames)
        expect([...answer.headers.values()].slice(0, 3)).toEqual([
          organizationOf(fixture),
          fixtureId(fixture),
          fixture.environment,
        ])
        expect(answer.removed).toContain(golden.credential?.header.toLowerCase())
        expect(answer.metadata['decision']).toBe('allow')
        expect(answer.metadata['reason']).toBeUndefined()
        return
      }
      const rendering = goldenRenderings[profile][expected.rendering]
      if (rendering === undefined) throw new Error(`no rendering ${expected.rendering}`)
      const values = valuesOf(golden)
      expect(answer.metadata['reason']).toBe(expected.reason)
      expect(answer.outcome).toBe('deny')
      expect(answer.status).toBe(expected.status)
      expect(answer.status).toBe(rendering.status)
      expect(answer.body).toMatch(goldenPattern(rendering.body, values))
      expect([...answer.headers.keys()].sort()).toEqual(Object.keys(rendering.headers).sort())
      for (const [name, value] of Object.entries(rendering.headers)) {
        expect(answer.headers.get(name)).toMatch(goldenPattern(value, values))
      }
      expect(answer.code).not.toBe(0)
    })
  })
})

function valuesOf({ expect: expected }: GoldenCase): Record<string, string> {
  if (expected.outcome === 'allow') return {}
  const value = expected.value ?? ''
  if (expected.rendering !== 'rate') return value === '' ? {} : { required_scope: value }
  return {
    retry_after: value,
    'x-ratelimit-limit': '1000',
    'x-ratelimit-remaining': '0',
    'x-ratelimit-reset': String(Date.parse('2026-03-01T14:00:00Z') / 1000),
  }
}
