// Instants as products write them: a fixed offset, no zone of the machine, no repaired dates.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { offsetMinutesOf, parseTimestamp, type TimestampForm, timestampText } from '../../src/profile/timestamp-form.ts'

const plain = (offset: string): TimestampForm => ({
  format: 'YYYY-MM-DD HH:MM:SS',
  offsetMinutes: offsetMinutesOf(offset),
})
const rfc3339 = (offset: string): TimestampForm => ({ format: 'rfc3339', offsetMinutes: offsetMinutesOf(offset) })
const at = (text: string) => microsFromUnixMs(Date.parse(text))
const seconds = (text: string) => ({ seconds: BigInt(Date.parse(text) / 1000), nanos: 0 })

describe('timestampText', () => {
  it.each([
    [plain('+00:00'), '2025-06-30 13:00:22'],
    [plain('+02:00'), '2025-06-30 15:00:22'],
    [plain('-09:30'), '2025-06-30 03:30:22'],
    [rfc3339('+00:00'), '2025-06-30T13:00:22Z'],
    [rfc3339('+05:45'), '2025-06-30T18:45:22+05:45'],
  ])('%j', (form, text) => {
    expect(timestampText(at('2025-06-30T13:00:22.999Z'), form)).toBe(text)
    expect(parseTimestamp(text, form)).toEqual(seconds('2025-06-30T13:00:22Z'))
  })

  it('is read back as the instant, whatever the offset', () => {
    const offsets = fc.integer({ min: -14 * 60, max: 14 * 60 })
    const instants = fc.integer({ min: 0, max: 4_102_444_800 })
    fc.assert(
      fc.property(
        offsets,
        instants,
        fc.constantFrom('rfc3339', 'YYYY-MM-DD HH:MM:SS'),
        (offsetMinutes, second, format) => {
          const form = { format, offsetMinutes } as TimestampForm
          const text = timestampText(microsFromUnixMs(second * 1000), form)
          expect(parseTimestamp(text, form)).toEqual({ seconds: BigInt(second), nanos: 0 })
        },
      ),
    )
  })
})

describe('parseTimestamp', () => {
  it.each([
    '2026-02-30 00:00:00',
    '2026-05-30 24:00:00',
    '2026-05-30 20:23:60',
    '2026-05-30 20:60:00',
    '2026-5-30 20:23:16',
    '2026-13-01 00:00:00',
    '2026-00-10 00:00:00',
    '2025-02-29 00:00:00',
    '2026-05-30T20:23:16',
    '2026-05-30 20:23:16Z',
    '2026-05-30 20:23:16.5',
    '2026-05-30 20:23',
    ' 2026-05-30 20:23:16',
    '2026-05-30 20:23:16\n',
    '２026-05-30 20:23:16',
    '+026-05-30 20:23:16',
  ])('refuses %j', text => {
    expect(parseTimestamp(text, plain('+00:00'))).toBeNull()
  })

  it.each([
    '2026-03-29 02:30:00',
    '2024-02-29 23:59:59',
    '1969-12-31 23:59:59',
    '9999-12-31 23:59:59',
    '0001-01-01 00:00:00',
  ])('reads %s', text => {
    expect(parseTimestamp(text, plain('+00:00'))).toEqual(seconds(`${text.replace(' ', 'T')}Z`))
  })

  it('means the same in every time zone that a machine may have', () => {
    const file = fileURLToPath(new URL('../../dist/src/profile/timestamp-form.js', import.meta.url))
    const program = `
      import { parseTimestamp, timestampText } from ${JSON.stringify(file)}
      const form = { format: 'YYYY-MM-DD HH:MM:SS', offsetMinutes: 0 }
      const texts = ['2026-05-30 20:23:16', '2026-03-29 02:30:00', '2026-02-30 00:00:00', '2026-05-30 24:00:00']
      console.log(texts.map(text => String(parseTimestamp(text, form)?.seconds)).join(), timestampText(0, form))`
    const zones = ['America/New_York', 'Asia/Kolkata', 'Europe/Berlin', 'UTC']
    const printed = zones.map(TZ =>
      execFileSync(process.execPath, ['--input-type=module', '-e', program], {
        env: { ...process.env, TZ },
        encoding: 'utf8',
      }),
    )
    expect(new Set(printed)).toEqual(new Set(['1780172596,1774751400,undefined,undefined 2020-01-01 00:00:00\n']))
  })
})
