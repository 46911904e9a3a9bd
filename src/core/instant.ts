// Instants as text: RFC 3339 in and out, exact to the microsecond. Strict: an impossible date is refused, never repaired,
// and a text without zone is no instant. Reads no clock and no time zone of the machine.
import { type Micros, microsFromUnixMs, unixMsFromMicros } from './time.ts'

/** 1970-01-01T00:00:00Z: no key and no event is older. */
export const instantMin: Micros = microsFromUnixMs(0)

/** 2300-01-01T00:00:00Z, exclusive: microseconds are exact in a number up to the year 2305 (time.ts). */
export const instantMax: Micros = microsFromUnixMs(10_413_792_000_000)

const pattern =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))$/

/** The instant of an RFC 3339 text in the years 1970 to 2299, fractions beyond the microsecond cut; null when it is none. */
export function parseInstant(text: string): Micros | null {
  const match = pattern.exec(text)
  if (match === null) return null
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number)
  if (year === undefined || month === undefined || day === undefined) return null
  if (hour === undefined || minute === undefined || second === undefined) return null
  const offset = offsetMinutes(match[8], match[9], match[10])
  if (offset === null || hour > 23 || minute > 59 || second > 59) return null
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null
  date.setUTCHours(hour, minute, second)
  const fraction = Number((match[7] ?? '').padEnd(6, '0').slice(0, 6))
  const micros = microsFromUnixMs(date.getTime() - offset * 60_000) + fraction
  return micros < instantMin || micros >= instantMax ? null : micros
}

function offsetMinutes(
  sign: string | undefined,
  hours: string | undefined,
  minutes: string | undefined,
): number | null {
  if (sign === undefined) return 0
  const [h, m] = [Number(hours), Number(minutes)]
  if (h > 23 || m > 59) return null
  return (sign === '-' ? -1 : 1) * (h * 60 + m)
}

/** RFC 3339 text in UTC with six digits of fraction, e.g. `2026-02-01T00:00:00.123456Z`. Sorts like the instants. */
export function instantText(micros: Micros): string {
  const ms = Math.floor(micros / 1000)
  const rest = micros - ms * 1000
  const text = new Date(unixMsFromMicros(ms * 1000)).toISOString()
  return `${text.slice(0, -1)}${String(rest).padStart(3, '0')}Z`
}
