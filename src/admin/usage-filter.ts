// What can be asked of the usage log: the fields of its filter, and the interval that a filter means, which is never longer
// than 31 days. The interval is read from the filter itself, so that what is found is what its times say, and no scan is endless.
import { denialReasons } from '../core/reason.ts'
import type { Micros } from '../core/time.ts'
import { type Filter, type FilterFields, type FilterFieldType, parseFilter } from './filter.ts'
import type { OrderKey } from './order.ts'
import { parseApiKeyName } from './resource-name.ts'
import { quoted } from './text-fields.ts'
import type { Violations } from './violations.ts'

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Shown where an allowed request has no reason. */
export const allowedReason = 'allow'

const decisions: ReadonlySet<string> = new Set(['allow', 'deny'])
const reasons: ReadonlySet<string> = new Set([allowedReason, '', ...denialReasons])

/** admin-api.md section 5.5. */
export const usageFilterFields: FilterFields = new Map<string, FilterFieldType>([
  ['time', { kind: 'time' }],
  ['api_key', { kind: 'text' }],
  ['method', { kind: 'text' }],
  ['status', { kind: 'integer' }],
  ['decision', { kind: 'text', refuse: text => (decisions.has(text) ? null : 'is allow or deny.') }],
  ['reason', { kind: 'text', refuse: text => (reasons.has(text) ? null : `is never ${quoted(text)}.`) }],
  ['path', { kind: 'text' }],
  ['host', { kind: 'text' }],
  ['client_ip', { kind: 'address' }],
  ['environment', { kind: 'text' }],
  ['route', { kind: 'text' }],
  ['request_id', { kind: 'text' }],
  ['decision_id', { kind: 'text', refuse: text => (uuidForm.test(text) ? null : 'is compared with a UUID.') }],
  ['support_id', { kind: 'text' }],
])

export const usageOrderFields: ReadonlySet<string> = new Set(['time'])

export const usageDefaultOrder: readonly OrderKey[] = [{ field: 'time', descending: true }]

const dayMicros = 86_400_000_000

/** The longest interval of one question (admin-api.md section 5.5). */
export const usageIntervalMaxMicros = 31 * dayMicros

/** How far ahead of the database a row may be and still be among the newest: clocks of sidecars differ by less. */
const aheadMicros = dayMicros

/** A filter and the rows that it can be about. */
export interface UsageSelection {
  readonly filter: Filter | null
  readonly from: Micros
  /** Exclusive. */
  readonly to: Micros
}

/** Understands a filter; null only with violations. Without times the last 31 days are meant. */
export function selectUsage(text: string, now: Micros, violations: Violations): UsageSelection | null {
  const parsed = parseFilter(text, usageFilterFields)
  if (!parsed.ok) {
    violations.add('filter', 'FILTER_INVALID', `At character ${parsed.fault.position}: ${parsed.fault.message}`)
    return null
  }
  const filter = parsed.filter === null ? null : stored(parsed.filter)
  const meant = filter === null ? everTime : timesOf(filter)
  const to = meant.to ?? now + aheadMicros
  const from = meant.from ?? Math.min(to, now) - usageIntervalMaxMicros
  if ((meant.to ?? Math.max(now, from)) - from > usageIntervalMaxMicros) {
    const message = 'Its times span more than 31 days: ask for a part, such as time >= A AND time < B.'
    violations.add('filter', 'FILTER_INVALID', message)
    return null
  }
  return { filter, from, to }
}

/** A filter in the values that are stored: ids for names of keys, nothing for the reason of what was allowed. */
function stored(filter: Filter): Filter {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return { kind: filter.kind, parts: filter.parts.map(stored) }
    case 'not':
      return { kind: 'not', part: stored(filter.part) }
    case 'text':
      if (filter.field === 'api_key') return { ...filter, value: parseApiKeyName(filter.value)?.apiKey ?? filter.value }
      if (filter.field === 'reason' && filter.value === allowedReason) return { ...filter, value: '' }
      if (filter.field === 'decision_id') return { ...filter, value: filter.value.toLowerCase() }
      return filter
    default:
      return filter
  }
}

/** Times outside of which a filter is false; null: no bound. `to` is exclusive. */
interface Times {
  readonly from: Micros | null
  readonly to: Micros | null
}

const everTime: Times = { from: null, to: null }

function timesOf(filter: Filter): Times {
  switch (filter.kind) {
    case 'and':
      return filter.parts.map(timesOf).reduce((a, b) => ({ from: larger(a.from, b.from), to: smaller(a.to, b.to) }))
    case 'or':
      return filter.parts.map(timesOf).reduce((a, b) => ({
        from: a.from === null || b.from === null ? null : Math.min(a.from, b.from),
        to: a.to === null || b.to === null ? null : Math.max(a.to, b.to),
      }))
    case 'time':
      return timesOfTerm(filter.operator, filter.value)
    default:
      return everTime
  }
}

function timesOfTerm(operator: string, at: Micros): Times {
  switch (operator) {
    case '=':
      return { from: at, to: at + 1 }
    case '>':
      return { from: at + 1, to: null }
    case '>=':
      return { from: at, to: null }
    case '<':
      return { from: null, to: at }
    case '<=':
      return { from: null, to: at + 1 }
    default:
      return everTime
  }
}

function larger(a: Micros | null, b: Micros | null): Micros | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b)
}

function smaller(a: Micros | null, b: Micros | null): Micros | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b)
}
