// The flags that pick requests out of the usage log, and the filter that they mean. A flag is one condition; all must hold.
import { type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { formatInstant } from './to-json.ts'
import { apiKeyName, isInstant, parseInstant, parsePast, type TimestampValue } from './values.ts'

export const sinceFlags = {
  since: { type: 'string', value: 'WHEN', help: 'from then on: an instant, or a duration ago such as 24h' },
  until: { type: 'string', value: 'WHEN', help: 'before then: an instant, or a duration ago' },
} as const satisfies Flags

export const conditionFlags = {
  key: { type: 'string', value: 'KEY', help: 'of this API key: its name or its id' },
  method: { type: 'string', value: 'METHOD', help: 'with this HTTP method' },
  status: { type: 'string', value: 'STATUS', help: 'with this status, such as 403, or class, such as 4xx' },
  reason: { type: 'string', value: 'REASON', help: 'denied for this reason, such as ip_not_allowed' },
  denied: { type: 'boolean', help: 'denied ones only' },
  'client-ip': { type: 'string', value: 'CIDR', help: 'from this address or block' },
  path: { type: 'string', value: 'PREFIX', help: 'whose path begins like this' },
  filter: { type: 'string', value: 'FILTER', help: 'and with this filter, such as: host = "api.example.com"' },
} as const satisfies Flags

export const usageFilterFlags = { ...conditionFlags, ...sinceFlags } as const satisfies Flags

/** An interval as the API has it; undefined: not said. */
export function intervalOf(invocation: Invocation, io: Io) {
  const startTime = past(invocation, 'since', io)
  const endTime = past(invocation, 'until', io)
  return startTime === undefined && endTime === undefined ? undefined : { startTime, endTime }
}

function past(invocation: Invocation, flag: 'since' | 'until', io: Io): TimestampValue | undefined {
  const text = invocation.text(flag)
  if (text === undefined) return undefined
  const ago = parsePast(text, flag, io.now())
  if (ago === undefined && !isInstant(text)) {
    const forms = 'an instant such as 2027-01-31T12:00:00Z, or a duration ago such as 24h'
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write ${forms}.`)
  }
  return ago ?? parseInstant(text, flag, io.now())
}

/** The filter of all flags. @throws UsageError */
export function usageFilter(invocation: Invocation, io: Io): string {
  const { startTime, endTime } = intervalOf(invocation, io) ?? {}
  return [
    ...conditions(invocation),
    ...(startTime === undefined ? [] : [`time >= ${formatInstant(startTime)}`]),
    ...(endTime === undefined ? [] : [`time < ${formatInstant(endTime)}`]),
  ].join(' AND ')
}

/** What the flags say but for times, each to hold. @throws UsageError */
export function conditions(invocation: Invocation): readonly string[] {
  const condition = (flag: string, make: (text: string) => string) => {
    const text = invocation.text(flag)
    return text === undefined ? [] : [make(text)]
  }
  return [
    ...condition('key', text => `api_key = ${quoted(text.includes('/') ? apiKeyName(text) : text)}`),
    ...condition('method', text => `method = ${quoted(text)}`),
    ...condition('status', statusCondition),
    ...condition('reason', text => `reason = ${quoted(text)}`),
    ...(invocation.flag('denied') ? ['decision = deny'] : []),
    ...condition('client-ip', text => `client_ip = ${quoted(text)}`),
    ...condition('path', text => `path:${quoted(`${text}*`, text)}`),
    ...condition('filter', text => (text.trim() === '' ? 'time:*' : `(${text})`)),
  ]
}

function statusCondition(text: string): string {
  const digit = /^([1-5])xx$/i.exec(text)?.[1]
  if (digit !== undefined) return `status >= ${digit}00 AND status <= ${digit}99`
  if (!/^[1-5]\d\d$/.test(text))
    throw new UsageError(`--status is ${JSON.stringify(text)}; write a status such as 403, or a class such as 4xx.`)
  return `status = ${text}`
}

/** A quotation; stars of `literal`, the part that is meant as it stands, are escaped. */
function quoted(text: string, literal = ''): string {
  const escaped = (part: string) => part.replace(/[\\"*]/g, character => `\\${character}`)
  const tail = text.slice(literal.length)
  return literal === '' ? `"${text.replace(/[\\"]/g, character => `\\${character}`)}"` : `"${escaped(literal)}${tail}"`
}
