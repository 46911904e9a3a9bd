// Values as people write them on a command line: instants, durations, limits, names, labels. Each is taken whole or refused.
import { UsageError } from './command.ts'

const unitMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const durationForm = /^(0|[1-9]\d{0,6})([smhd])$/
const timestampForm = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/

/** An instant as the API has it. */
export interface TimestampValue {
  readonly seconds: bigint
  readonly nanos: number
}

/** A length of time as the API has it. */
export type DurationValue = TimestampValue

/** Whether a text is a duration. */
export function isDuration(text: string): boolean {
  return durationForm.test(text)
}

/** Whether a text is an RFC 3339 instant that exists. */
export function isInstant(text: string): boolean {
  if (!timestampForm.test(text) || Number.isNaN(Date.parse(text))) return false
  // Date.parse takes the 30th of February for the 2nd of March.
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number)
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
}

/** `90s`, `15m`, `24h`, `30d`. @throws UsageError */
export function parseDuration(text: string, flag: string): DurationValue {
  return durationOfMs(durationMs(text, flag))
}

/** The same in milliseconds. @throws UsageError */
export function parseDurationMs(text: string, flag: string): number {
  return durationMs(text, flag)
}

function durationMs(text: string, flag: string): number {
  const match = durationForm.exec(text)
  const unit = match?.[2] as keyof typeof unitMs | undefined
  if (match === null || unit === undefined) {
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write a whole number and s, m, h or d, such as 24h.`)
  }
  return Number(match[1]) * unitMs[unit]
}

/** An RFC 3339 instant, or a duration counted from `nowMs`. @throws UsageError */
export function parseInstant(text: string, flag: string, nowMs: number): TimestampValue {
  if (durationForm.test(text)) return durationOfMs(nowMs + durationMs(text, flag))
  if (!isInstant(text)) {
    throw new UsageError(
      `--${flag} is ${JSON.stringify(text)}; write an instant such as 2027-01-31T12:00:00Z, or a duration from now such as 90d.`,
    )
  }
  const unixMs = Date.parse(text)
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? ''
  return { seconds: BigInt(Math.floor(unixMs / 1000)), nanos: Number(fraction.padEnd(9, '0')) }
}

/** A duration as the instant so long before `nowMs`; undefined for any other text. @throws UsageError */
export function parsePast(text: string, flag: string, nowMs: number): TimestampValue | undefined {
  return durationForm.test(text) ? durationOfMs(nowMs - durationMs(text, flag)) : undefined
}

function durationOfMs(ms: number): DurationValue {
  const seconds = Math.floor(ms / 1000)
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) }
}

/** `1000/1h`: requests per window. @throws UsageError */
export function parseLimit(text: string, flag: string): { readonly limit: bigint; readonly window: DurationValue } {
  const match = /^(\d{1,7})\/(.+)$/.exec(text)
  if (match === null)
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write REQUESTS/WINDOW, such as 1000/1h.`)
  return { limit: BigInt(match[1] ?? '0'), window: parseDuration(match[2] ?? '', flag) }
}

/** `key=value` pairs. @throws UsageError */
export function parseLabels(pairs: readonly string[], flag: string): Map<string, string> {
  const labels = new Map<string, string>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw new UsageError(`--${flag} is ${JSON.stringify(pair)}; write KEY=VALUE.`)
    const key = pair.slice(0, at)
    if (labels.has(key)) throw new UsageError(`--${flag} gives ${JSON.stringify(key)} two values; give one.`)
    labels.set(key, pair.slice(at + 1))
  }
  return labels
}

/** `CIDR` or `CIDR=label`; the server judges the block. */
export function parseAllowlist(entries: readonly string[]): { readonly cidr: string; readonly label: string }[] {
  return entries.map(entry => {
    const at = entry.indexOf('=')
    return at < 0 ? { cidr: entry, label: '' } : { cidr: entry.slice(0, at), label: entry.slice(at + 1) }
  })
}

/** One of the names of an enum, in lower case with `-` for `_`. @throws UsageError */
export function parseChoice<Value extends number>(
  text: string,
  flag: string,
  choices: Readonly<Record<string, Value>>,
): Value {
  const names = Object.keys(choices).filter(name => choices[name] !== 0)
  const value = choices[names.find(name => choiceName(name) === text.toLowerCase()) ?? '']
  if (value === undefined) {
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write one of ${names.map(choiceName).join(', ')}.`)
  }
  return value
}

/** `OWNER_REQUEST` as people write it: `owner-request`. */
export function choiceName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** `ORG` or `organizations/ORG` as a resource name; `-` stands for all. @throws UsageError */
export function organizationName(text: string): string {
  const match = /^(?:organizations\/)?([^/\s]+)$/.exec(text)
  if (match === null) throw new UsageError(`${JSON.stringify(text)} is no organization; write organizations/ID or ID.`)
  return `organizations/${match[1]}`
}

/** `organizations/ORG/apiKeys/KEY`, or `ORG/KEY`, as a resource name. @throws UsageError */
export function apiKeyName(text: string): string {
  const match = /^(?:organizations\/([^/\s]+)\/apiKeys\/([^/\s]+)|([^/\s]+)\/([^/\s]+))$/.exec(text)
  if (match === null) {
    throw new UsageError(
      `${JSON.stringify(text)} is no API key; write organizations/ORG/apiKeys/KEY or ORG/KEY, as \`keys list\` prints it.`,
    )
  }
  return `organizations/${match[1] ?? match[3]}/apiKeys/${match[2] ?? match[4]}`
}
