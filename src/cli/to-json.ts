// Messages of the API as JSON for scripts: the names and forms of the canonical mapping of protobuf.
// Fields that are empty are left out; 64-bit numbers are text; instants are RFC 3339, durations end in `s`.
import { Cascade, KeyForm, RevokeReason, ScopeMode, State } from '../gen/gatewarden/admin/v1/resources.ts'
import type { TimestampValue } from './values.ts'

const enums: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  state: State,
  scopeMode: ScopeMode,
  form: KeyForm,
  revokeReason: RevokeReason,
  cascade: Cascade,
}

/** A JSON value of a message; undefined where it is empty. */
export function toJson(value: unknown, field = ''): unknown {
  if (typeof value === 'bigint') return value === 0n ? undefined : value.toString()
  if (typeof value === 'number') return numberJson(value, field)
  if (typeof value === 'string') return value === '' ? undefined : value
  if (typeof value === 'boolean') return value || undefined
  if (value === undefined || value === null) return undefined
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(each => toJson(each) ?? {})
  if (value instanceof Map) return value.size === 0 ? undefined : mapJson(value)
  return isTime(value) ? timeJson(value, field) : objectJson(value)
}

/** Values of a map stand for themselves, empty ones as well. */
function mapJson(map: ReadonlyMap<unknown, unknown>): unknown {
  return Object.fromEntries([...map].map(([key, each]) => [key, typeof each === 'bigint' ? String(each) : each]))
}

function numberJson(value: number, field: string): unknown {
  if (value === 0) return undefined
  const choices = enums[field]
  return choices === undefined ? value : (Object.keys(choices).find(name => choices[name] === value) ?? value)
}

function objectJson(value: object): unknown {
  const members = Object.entries(value).flatMap(([name, member]) => {
    if (isCase(member)) return [[member.$case, toJson(member.value, member.$case) ?? {}]]
    const json = toJson(member, name)
    return json === undefined ? [] : [[name, json]]
  })
  return Object.fromEntries(members)
}

function isCase(value: unknown): value is { readonly $case: string; readonly value: unknown } {
  return typeof value === 'object' && value !== null && '$case' in value && 'value' in value
}

function isTime(value: object): value is TimestampValue {
  return 'seconds' in value && 'nanos' in value && typeof value.seconds === 'bigint' && typeof value.nanos === 'number'
}

function timeJson(value: TimestampValue, field: string): string {
  return /(?:^|[a-z])[Tt]ime$/.test(field) ? formatInstant(value) : `${secondsText(value)}s`
}

/** `2026-03-01T13:00:00Z`, with as many digits of a second as there are. */
export function formatInstant(value: TimestampValue): string {
  const whole = new Date(Number(value.seconds) * 1000).toISOString().slice(0, 19)
  return `${whole}${fraction(value.nanos)}Z`
}

/** `1h`, `90s`: for people. */
export function formatDuration(value: TimestampValue): string {
  const seconds = Number(value.seconds)
  if (value.nanos === 0 && seconds > 0 && seconds % 86_400 === 0) return `${seconds / 86_400}d`
  if (value.nanos === 0 && seconds > 0 && seconds % 3600 === 0) return `${seconds / 3600}h`
  if (value.nanos === 0 && seconds > 0 && seconds % 60 === 0) return `${seconds / 60}m`
  return `${secondsText(value)}s`
}

function secondsText(value: TimestampValue): string {
  return `${value.seconds}${fraction(value.nanos)}`
}

function fraction(nanos: number): string {
  return nanos === 0 ? '' : `.${String(nanos).padStart(9, '0').replace(/0+$/, '')}`
}
