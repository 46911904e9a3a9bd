// Single columns into values, as the driver may deliver them. Every reader answers the value or UNREADABLE, never throws
// on plain data, and never repairs: a value outside its bounds is not pulled into them.
import type { Micros } from '../core/time.ts'

/** The column holds nothing that may be used. */
export const UNREADABLE = Symbol('unreadable')
export type Unreadable = typeof UNREADABLE

/** Names, ids and scopes are shorter; the database holds them to the same bound. */
const NAME_LENGTH_MAX = 255
/** Visible ASCII. */
const NAME = /^[\x21-\x7e]+$/
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
const WHOLE = /^-?[0-9]{1,18}$/
/** 2020-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z in Unix microseconds. */
const EPOCH_UNIX_MICROS = 1_577_836_800_000_000n
const INSTANT_MAX_UNIX_MICROS = 253_402_300_799_999_999n

/** A short text without spaces, control characters or anything beyond ASCII. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_LENGTH_MAX && NAME.test(value)
}

/** A resource id: a name with exactly one UUID in it, in lower case. */
export function isId(value: unknown): value is string {
  if (!isName(value)) return false
  UUID.lastIndex = 0
  return UUID.test(value) && !UUID.test(value)
}

/** Frozen lists that were looked through: a load gives many rows the same one. */
const soundLists = new WeakSet<readonly unknown[]>()

/** A list of names. The array is copied, unless it is frozen. */
export function list(value: unknown, lengthMax: number): readonly string[] | Unreadable {
  if (!Array.isArray(value) || value.length > lengthMax) return UNREADABLE
  if (soundLists.has(value)) return value
  const names: string[] = []
  for (const name of value) {
    if (!isName(name)) return UNREADABLE
    names.push(name)
  }
  if (!Object.isFrozen(value)) return names
  soundLists.add(value)
  return value
}

/** A whole number within bounds, as the driver gives integer (number) and bigint (bigint, or text) columns. */
export function integer(value: unknown, min: number, max: number): number | Unreadable {
  const number = typeof value === 'number' ? value : nearOf(value)
  return Number.isSafeInteger(number) && number >= min && number <= max ? number : UNREADABLE
}

/**
 * An instant given as Unix microseconds (bigint, or its text), or null. The years 1970 to 9999 are in range; what lies
 * beyond the exact range of Micros (year 2305) is pulled to its end, which no clock of this process reaches.
 */
export function instant(value: unknown): Micros | null | Unreadable {
  if (value === null) return null
  const near = nearOf(value)
  if (Number.isSafeInteger(near) && near >= 0) return near - Number(EPOCH_UNIX_MICROS) // until the year 2255, exactly
  const unixMicros = wholeOf(value)
  if (unixMicros === null || unixMicros < 0n || unixMicros > INSTANT_MAX_UNIX_MICROS) return UNREADABLE
  return Math.min(Number(unixMicros - EPOCH_UNIX_MICROS), Number.MAX_SAFE_INTEGER)
}

/** The number of a whole one, exact where it is a safe integer; NaN: it is none. Spares a bigint for each column. */
function nearOf(value: unknown): number {
  return typeof value === 'bigint' || (typeof value === 'string' && WHOLE.test(value)) ? Number(value) : Number.NaN
}

function wholeOf(value: unknown): bigint | null {
  if (typeof value === 'bigint') return value
  return typeof value === 'string' && WHOLE.test(value) ? BigInt(value) : null
}
