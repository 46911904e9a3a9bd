// How column values become JavaScript values, the same for every connection of this program:
// int8 → bigint; timestamptz → Micros (core/time.ts, exact to the microsecond); bytea → Buffer; jsonb → parsed; text[] → string[].
// Total: a value outside its exact range stays the text that PostgreSQL sent, so that a decoder sees a wrong type, never a wrong value.
import pg from 'pg'
import type { Micros } from '../core/time.ts'
import { unixMsFromMicros } from '../core/time.ts'

const int8Oid = 20
const timestamptzOid = 1184

/** 2020-01-01T00:00:00Z in seconds of Unix time. */
const epochUnixSeconds = unixMsFromMicros(0) / 1000

const timestamptzText = /^(\d{4,5})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\+00$/

/**
 * A timestamptz in the text form of `DateStyle ISO` and `TimeZone UTC` as Micros; anything else — infinity, years before
 * the common era, instants too far for whole microseconds, another time zone — comes back as the text it was.
 */
export function micros(text: string): Micros | string {
  const parts = timestamptzText.exec(text)
  if (parts === null) return text
  const [, year, month, day, hour, minute, second, fraction = ''] = parts
  const date = new Date(0)
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  const seconds = date.getTime() / 1000 + Number(hour) * 3600 + Number(minute) * 60 + Number(second)
  const value = (seconds - epochUnixSeconds) * 1_000_000 + Number(fraction.padEnd(6, '0'))
  return Number.isSafeInteger(value) ? value : text
}

/**
 * Micros as text for a `timestamptz` parameter, to the microsecond. Write `$1::timestamptz` in the statement.
 * @throws RangeError for a value that is no whole number or lies outside the years 0001–9999.
 */
export function timestamptzParameter(value: Micros): string {
  if (!Number.isSafeInteger(value)) throw new RangeError('an instant is a whole number of microseconds')
  const secondMicros = 1_000_000
  const fraction = ((value % secondMicros) + secondMicros) % secondMicros
  const second = new Date(unixMsFromMicros(value - fraction)).toISOString()
  if (!/^\d{4}-/.test(second) || second.startsWith('0000'))
    throw new RangeError('an instant outside the years 1 to 9999')
  return `${second.slice(0, 19)}.${String(fraction).padStart(6, '0')}+00`
}

/** `types` of every pg client of this program. Needs `TimeZone UTC`, which connection.ts sets. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser(oid, format) {
    if (oid === int8Oid) return BigInt
    if (oid === timestamptzOid) return micros
    return pg.types.getTypeParser(oid, format)
  },
}
