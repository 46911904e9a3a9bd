// Instants as a product writes and reads them in its own HTTP interface: RFC 3339, or a text without zone at a fixed offset.
// Guarantee: the time zone of the machine plays no part; an impossible date is refused, never repaired.
import { parseInstant } from '../core/instant.ts'
import { type Micros, unixMsFromMicros } from '../core/time.ts'

/** How a profile writes instants (profiles.md d.1 `timestamps`). */
export interface TimestampForm {
  readonly format: 'rfc3339' | 'YYYY-MM-DD HH:MM:SS'
  /** Minutes east of UTC, fixed: no summer time. */
  readonly offsetMinutes: number
}

/** An instant on the wire: whole Unix seconds and nanoseconds. */
export interface ReadTimestamp {
  readonly seconds: bigint
  readonly nanos: number
}

const offsetForm = /^([+-])([0-9]{2}):([0-9]{2})$/
const plainForm = /^([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})$/

/** Minutes of an offset such as `-05:30`. @throws Error for another text: the profile's schema has seen to that. */
export function offsetMinutesOf(text: string): number {
  const [, sign, hours, minutes] = offsetForm.exec(text) ?? []
  if (sign === undefined) throw new Error(`no offset: ${text}`)
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}

/** The text of an instant, cut to the second. */
export function timestampText(micros: Micros, { format, offsetMinutes }: TimestampForm): string {
  const unixMs = Math.floor(unixMsFromMicros(micros) / 1000) * 1000
  const local = new Date(unixMs + offsetMinutes * 60_000).toISOString().slice(0, 19)
  if (format !== 'rfc3339') return local.replace('T', ' ')
  return `${local}${offsetMinutes === 0 ? 'Z' : offsetText(offsetMinutes)}`
}

function offsetText(offsetMinutes: number): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const size = Math.abs(offsetMinutes)
  return `${offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`
}

/**
 * The instant of a text; null when it has not exactly the form or names a date or time that does not exist. A text without
 * zone may name any year, so that its reader can tell the past from nonsense; RFC 3339 is read for 1970 to 2299.
 */
export function parseTimestamp(text: string, { format, offsetMinutes }: TimestampForm): ReadTimestamp | null {
  if (format === 'rfc3339') {
    const micros = parseInstant(text)
    return micros === null ? null : toTimestamp(unixMsFromMicros(micros))
  }
  const match = plainForm.exec(text)
  if (match === null) return null
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number)
  if (hour > 23 || minute > 59 || second > 59) return null
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null
  date.setUTCHours(hour, minute, second)
  return toTimestamp(date.getTime() - offsetMinutes * 60_000)
}

function toTimestamp(unixMs: number): ReadTimestamp {
  const seconds = Math.floor(unixMs / 1000)
  return { seconds: BigInt(seconds), nanos: Math.round((unixMs - seconds * 1000) * 1000) * 1000 }
}
