// RFC 3339 instants: exact to the microsecond, the same in every time zone, impossible dates refused.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { instantMax, instantMin, instantText, parseInstant } from '../../src/core/instant.ts'

test('text and instant are one and the same, microseconds included', () => {
  fc.assert(
    fc.property(fc.integer({ min: instantMin, max: instantMax - 1 }), micros => {
      const text = instantText(micros)
      expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
      expect(parseInstant(text)).toBe(micros)
    }),
  )
  expect(instantText(parseInstant('2026-02-01T00:00:00.123456Z') ?? 0)).toBe('2026-02-01T00:00:00.123456Z')
})

test('offsets and fractions are understood', () => {
  const noon = parseInstant('2026-03-29T12:00:00Z') ?? 0
  expect(parseInstant('2026-03-29T14:30:00+02:30')).toBe(noon)
  expect(parseInstant('2026-03-29T07:00:00.0-05:00')).toBe(noon)
  expect(parseInstant('2026-03-29t12:00:00.0000019z')).toBe(noon + 1)
})

test.each([
  '2026-02-30T00:00:00Z',
  '2026-02-29T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-00-10T00:00:00Z',
  '2026-05-30T24:00:00Z',
  '2026-05-30T20:23:60Z',
  '2026-05-30T20:60:00Z',
  '2026-05-30T20:23:16',
  '2026-05-30 20:23:16Z',
  '2026-5-30T20:23:16Z',
  '2026-05-30',
  '1969-12-31T23:59:59Z',
  '2300-01-01T00:00:00Z',
  '2026-05-30T20:23:16.Z',
  '2026-05-30T20:23:16+24:00',
  '2026-05-30T20:23:16+02',
  ' 2026-05-30T20:23:16Z',
  '',
  'now',
])('%j is no instant', text => {
  expect(parseInstant(text)).toBeNull()
})
