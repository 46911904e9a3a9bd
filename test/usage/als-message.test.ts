// The narrow reader of access log messages says what the full decoder says, of any message; and of octets that are no message
// it says so, without reading on.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HTTPAccessLogEntry, ResponseFlags } from '../../src/gen/envoy/data/accesslog/v3/accesslog.ts'
import { StreamAccessLogsMessage } from '../../src/gen/envoy/service/accesslog/v3/als.ts'
import type { ReadEntry } from '../../src/usage/als-entry.ts'
import { readLogMessage } from '../../src/usage/als-message.ts'
import { responseFlagNames } from '../../src/usage/response-flags.ts'
import { usageTextMax } from '../../src/usage/usage-row.ts'
import { WireError } from '../../src/usage/wire-cursor.ts'
import { flagNames, plainLogMessage } from '../oracle/access-log.ts'
import { uuid7 } from './halves.ts'

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const word = fc.constantFrom('', 'api', 'edge', 'x-1', 'grpc-status')
const octets = fc.constantFrom(0n, 1n, 127n, 128n, 5_000_000_000n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n)
const duration = fc.record({
  seconds: fc.constantFrom(0n, 1n, 86_400n, -1n, 2n ** 62n),
  nanos: fc.constantFrom(0, 999, 1000, 999_999_999, -1),
})
const address = fc.oneof(
  fc.record({
    $case: fc.constant('socketAddress' as const),
    value: fc.record({
      protocol: fc.constant(0 as const),
      address: fc.constantFrom('10.0.0.7', '2001:db8::1', ''),
      portSpecifier: optional(fc.record({ $case: fc.constant('portValue' as const), value: fc.nat(65_535) })),
      resolverName: word,
      ipv4Compat: fc.boolean(),
    }),
  }),
  fc.record({
    $case: fc.constant('pipe' as const),
    value: fc.record({ path: fc.constant('/run/api.sock'), mode: fc.nat(7) }),
  }),
)
const flags = fc.record(
  Object.fromEntries(
    Object.keys(flagNames).map(name => [
      name,
      name === 'unauthorizedDetails' ? optional(fc.record({ reason: fc.constantFrom(0, 1) })) : fc.boolean(),
    ]),
  ),
)
const decisionId = fc.oneof(
  { weight: 5, arbitrary: fc.nat(2 ** 31).map(uuid7) },
  fc.constantFrom('', 'x', 'A0000000-0000-7000-8000-000000000000'),
)
const struct = fc.record(
  {
    decision_id: fc.oneof({ weight: 8, arbitrary: decisionId }, fc.constantFrom(null, 7, true, ['x'], { a: 'b' })),
    decision: fc.constantFrom('allow', 'deny', 'allowed', 7),
    profile: fc.constantFrom('petshop', '', 'bücher'),
    route: word,
    decision_idx: word,
  },
  { requiredKeys: ['decision_id'] },
)
const metadata = fc
  .array(fc.tuple(fc.constantFrom('envoy.filters.http.ext_authz', 'envoy.filters.http.ext_authy', 'other'), struct), {
    minLength: 1,
    maxLength: 3,
  })
  .map(entries => ({ filterMetadata: new Map(entries), typedFilterMetadata: new Map() }))
const headers = fc
  .array(
    fc.tuple(fc.constantFrom('grpc-status', 'grpc-message', 'x'), fc.constantFrom('0', '5', '16', 'x', '', '12345')),
  )
  .map(entries => new Map(entries))
const entry: fc.Arbitrary<HTTPAccessLogEntry> = fc.record({
  commonProperties: optional(
    fc.record({
      timeToLastDownstreamTxByte: optional(duration),
      upstreamRemoteAddress: optional(fc.record({ address: optional(address) })),
      upstreamCluster: word,
      responseFlags: optional(flags) as fc.Arbitrary<ResponseFlags | undefined>,
      metadata: optional(metadata),
      duration: optional(duration),
      streamId: word,
      accessLogType: fc.constantFrom(0, 6, 6, 6, 4, 5, 9),
    }),
  ),
  request: optional(fc.record({ requestHeadersBytes: octets, requestBodyBytes: octets })),
  response: optional(
    fc.record({
      responseCode: optional(fc.constantFrom(0, 200, 404, 599, 70_000)),
      responseHeadersBytes: octets,
      responseBodyBytes: octets,
      responseHeaders: headers,
      responseTrailers: headers,
    }),
  ),
})
const message: fc.Arbitrary<StreamAccessLogsMessage> = fc.record({
  identifier: optional(
    fc.record({
      node: optional(fc.record({ id: word, cluster: word, userAgentVersionType: fc.constant(undefined) })),
      logName: word,
    }),
  ),
  logEntries: optional(
    fc.oneof(
      fc.record({
        $case: fc.constant('httpLogs' as const),
        value: fc.record({ logEntry: fc.array(entry, { maxLength: 4 }) }),
      }),
      fc.record({
        $case: fc.constant('tcpLogs' as const),
        value: fc.record({ logEntry: fc.array(fc.constant({}), { maxLength: 4 }) }),
      }),
    ),
  ),
})

/** Flags stand in the order of Envoy's log; the oracle sorts them. */
function sorted(read: ReadEntry): ReadEntry {
  if (read.half === null) return read
  return { ...read, half: { ...read.half, responseFlags: read.half.responseFlags.split(',').sort().join() } }
}

const encode = (of: StreamAccessLogsMessage) => Buffer.from(StreamAccessLogsMessage.encode(of).finish())

describe('a message', () => {
  it('is read as the full decoder reads it', () => {
    let halves = 0
    fc.assert(
      fc.property(message, sent => {
        const bytes = encode(sent)
        const read = readLogMessage(bytes)
        halves += read.entries.filter(({ half }) => half !== null).length
        expect({ ...read, entries: read.entries.map(sorted) }).toEqual(plainLogMessage(bytes))
      }),
      { numRuns: 4000 },
    )
    expect(halves).toBeGreaterThan(200)
  })

  it('in part is none, and ends where it ends', () => {
    fc.assert(
      fc.property(message, fc.nat(), (sent, cut) => {
        const bytes = encode(sent)
        const part = bytes.subarray(0, cut % (bytes.length + 1))
        try {
          readLogMessage(part)
        } catch (error) {
          expect(error).toBeInstanceOf(WireError)
        }
      }),
    )
  })

  it('with changed octets is refused, or gives halves that a row can hold', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255))
    fc.assert(
      fc.property(message, fc.array(change, { minLength: 1, maxLength: 8 }), (sent, changes) => {
        const bytes = encode(sent)
        for (const [at, octet] of changes) if (bytes.length > 0) bytes[at % bytes.length] = octet
        let entries: readonly ReadEntry[] = []
        try {
          entries = readLogMessage(bytes).entries
        } catch (error) {
          expect(error).toBeInstanceOf(WireError)
        }
        for (const { half } of entries) {
          if (half === null) continue
          const { finalStatus, durationUs, requestBytes, responseBytes, grpcStatus, upstream } = half
          expect(finalStatus).toSatisfy((status: number) => Number.isInteger(status) && status >= 0 && status <= 32_767)
          for (const count of [durationUs, requestBytes, responseBytes, grpcStatus]) {
            expect(count).toSatisfy(
              (value: number | null) => value === null || (Number.isSafeInteger(value) && value >= 0),
            )
          }
          expect(Buffer.byteLength(upstream)).toBeLessThanOrEqual(usageTextMax.name)
          expect(upstream).not.toMatch(/\p{Cc}/u)
        }
      }),
      { numRuns: 3000 },
    )
  })
})

it('every response flag of the schema has the name that Envoy gives it', () => {
  for (const [member, name] of Object.entries(flagNames)) {
    const value = member === 'unauthorizedDetails' ? { reason: 1 as const } : true
    const bytes = ResponseFlags.encode(
      ResponseFlags.fromPartial({ [member]: value } as Partial<ResponseFlags>),
    ).finish()
    // One field: its tag holds its number.
    const tag = (bytes[0] ?? 0) < 0x80 ? (bytes[0] ?? 0) : ((bytes[0] ?? 0) & 0x7f) | ((bytes[1] ?? 0) << 7)
    expect(responseFlagNames).toContainEqual([tag >>> 3, name])
  }
  expect(responseFlagNames.length).toBe(Object.keys(flagNames).length)
})

it('fields that are not known here are passed over', () => {
  const sent = { commonProperties: { metadata: undefined }, request: undefined, response: undefined }
  const inner = Buffer.from(HTTPAccessLogEntry.encode(HTTPAccessLogEntry.fromPartial(sent)).finish())
  // Field 500 as a varint, of 8 octets, of 4 octets, and a text.
  const unknown = Buffer.from([
    0xa0, 0x1f, 0x05, 0xa1, 0x1f, 1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 0x1f, 1, 2, 3, 4, 0xa2, 0x1f, 1, 65,
  ])
  const entryBytes = Buffer.concat([unknown, inner, unknown])
  const logs = Buffer.concat([unknown, Buffer.from([0x0a, entryBytes.length]), entryBytes])
  const bytes = Buffer.concat([unknown, Buffer.from([0x12, logs.length]), logs, unknown])
  expect(readLogMessage(bytes).entries).toEqual([{ half: null, unused: 'no_decision' }])
})
