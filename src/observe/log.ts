// The log: one JSON line an event, written without ever blocking or failing the process.
// Secrets are redacted by pattern, strings are capped, and what a slow reader does not take is dropped and counted.
import pino from 'pino'
import { createKeyRedactor, createRedactor } from './redact.ts'

export type LogFields = Readonly<Record<string, unknown>>

/** What rooms may write to. `message` is fixed text; everything that varies is a field. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A text as the log would write it: what no log says, no reply repeats. Absent: as it is. */
  redact?(text: string): string
}

/** Takes finished lines. */
export interface LogSink {
  write(line: string): void
}

export interface ProcessLog extends Log {
  /** Prefixes of the keys that must never be written, from now on. */
  redactPrefixes(prefixes: readonly string[]): void
  redact(text: string): string
}

/** Longest string that is kept of a field, in UTF-16 units. */
const textLengthMax = 2048
/** Deepest nesting and most members that are kept of a field: a log line is not a dump. */
const depthMax = 5
const membersMax = 64

/** Makes the log of a process. */
export function createLog(level: string, sink: LogSink): ProcessLog {
  let redact = createRedactor([])
  let redactKeys = createKeyRedactor([])
  const logger = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: label => ({ level: label }) } },
    { write: line => sink.write(redact(line)) },
  )
  const fieldsOf = (fields: LogFields | undefined): object => (bounded(fields ?? {}, 0) as object | null) ?? {}
  return {
    debug: (message, fields) => logger.debug(fieldsOf(fields), message),
    info: (message, fields) => logger.info(fieldsOf(fields), message),
    warn: (message, fields) => logger.warn(fieldsOf(fields), message),
    error: (message, fields) => logger.error(fieldsOf(fields), message),
    redact: text => redactKeys(text),
    redactPrefixes: prefixes => {
      redact = createRedactor(prefixes)
      redactKeys = createKeyRedactor(prefixes)
    },
  }
}

/** A copy of `value` that is plain, capped, and safe to write as JSON. */
function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.length > textLengthMax ? `${value.slice(0, textLengthMax)}…` : value
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} octets]`
  if (depth >= depthMax) return '[…]'
  if (value instanceof Error) return boundedError(value, depth)
  if (Array.isArray(value)) return value.slice(0, membersMax).map(each => bounded(each, depth + 1))
  const entries = Object.entries(value).slice(0, membersMax)
  return Object.fromEntries(entries.map(([name, member]) => [name, bounded(member, depth + 1)]))
}

function boundedError(error: Error, depth: number): unknown {
  const code = 'code' in error ? { code: bounded(error.code, depth + 1) } : {}
  const cause = error.cause === undefined ? {} : { cause: bounded(error.cause, depth + 1) }
  return {
    name: error.name,
    message: bounded(error.message, depth + 1),
    ...code,
    stack: bounded(error.stack, depth + 1),
    ...cause,
  }
}
