// One whole check in process: request octets to reply octets with 200 000 API keys, 200 routes, 20 allowlist entries, 15
// request headers and a limit, beside one HMAC-SHA-256 of the same secret by node:crypto in the same run. The last line is
// the headline: one request again and again; the others ask for 10 000 API keys and paths in turn, 64 requests a read.
// All figures are CPU time of the process, medians of rounds in which the kinds take turns; ratios are taken within a round.
// A read is in memory before its time counts, as the kernel would leave it. Every answer is verified before and counted after.
import { createHmac } from 'node:crypto'
import { constants, PerformanceObserver, performance } from 'node:perf_hooks'
import { createCheckHandler } from '../src/check/check-handler.ts'
import { ALLOW } from '../src/core/reason.ts'
import { microsFromUnixMs } from '../src/core/time.ts'
import { CheckResponse } from '../src/gen/envoy/service/auth/v3/external_auth.ts'
import { LimitBuckets } from '../src/keys/limit-buckets.ts'
import type { CallMetadata, ReplyWriter } from '../src/transport/unary-server.ts'
import { keyCount, names, pepper, profiles, requestOf, routeCount, secretOf, table } from './check-world.ts'

/** Requests of a list: enough that no API key and no path is hot. */
const requestCount = 10_000
/** Requests in one read of the socket. */
const readDepth = 64
const rounds = 25
const warmUpChecks = 100_000
const checksPerRound = 20_032
const hmacsPerRound = 10_000
const garbageChecks = 1_000_000

const print = (line: string) => process.stdout.write(`${line}\n`)

let allows = 0
let denials = 0
let failures = 0
const limits = new LimitBuckets(table)
const now = microsFromUnixMs(Date.UTC(2026, 2, 1))
const service = createCheckHandler({
  profiles: () => profiles,
  table,
  limits,
  clock: {
    fresh: () => performance.now() >= 0 && Date.now() > 0,
    now: () => now + Math.floor(performance.now() * 1000),
  },
  environments: names.environments,
  clientAddress: { mode: 'grpc-metadata' },
  ownFailure: 'denied-503',
  observer: {
    add(_, code) {
      if (code === ALLOW) allows++
      else denials++
    },
    unexpected() {
      failures++
    },
  },
})

// A stride that is coprime to the number of keys spreads the requests over the whole table.
const secretAt = (i: number) => secretOf((i * 7919) % keyCount)
const indices = Array.from({ length: requestCount }, (_, i) => i)
const known = indices.map(i => requestOf(i, secretAt(i)))
const unknown = indices.map(i => requestOf(i, secretOf(keyCount + i)))
/** 5 % denials of known keys and 1 % unknown keys. */
const isUnknown = (i: number) => i % 100 === 7
const isRefused = (i: number) => i % 20 === 3
const mixed = indices.map(i =>
  isUnknown(i)
    ? requestOf(i, secretOf(keyCount + i))
    : isRefused(i)
      ? requestOf(i, secretAt(i), false)
      : requestOf(i, secretAt(i)),
)
const hotSecret = secretAt(1)
const hot = requestOf(1, hotSecret)

const metadata: CallMetadata = { value: () => '198.51.18.77' }
/** Copies the reply behind the one before it, as a transport has to. */
const out = Buffer.alloc(256 * 1024)
let outAt = 0
let replyStart = 0
const reply: ReplyWriter = {
  message(bytes, start, end) {
    if (outAt + end - start > out.length) outAt = 0
    replyStart = outAt
    out.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), outAt)
    outAt += end - start
  },
  fail() {
    failures++
  },
}

function verify(list: readonly Buffer[], expected: (i: number) => 0 | 401 | 403): void {
  for (const [i, request] of list.entries()) {
    outAt = 0
    service.handler(request, 0, request.length, metadata, reply)
    service.endOfBatch()
    const { status, httpResponse } = CheckResponse.decode(out.subarray(replyStart, outAt))
    const passed = status?.code === 0 && httpResponse?.$case === 'okResponse' && httpResponse.value.headers.length === 4
    const refusal = httpResponse?.$case === 'deniedResponse' ? httpResponse.value.status?.code : undefined
    const wanted = expected(i)
    if (wanted === 0 ? !passed : refusal !== wanted) throw new Error('a check of the bench was answered wrongly')
  }
}

/** Nanoseconds of CPU time that the process has used, all its threads. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

/** One request again and again, each a batch of its own. */
function measureOne(request: Buffer, count: number): number {
  const begin = cpuNs()
  for (let i = 0; i < count; i++) {
    outAt = 0
    service.handler(request, 0, request.length, metadata, reply)
    service.endOfBatch()
  }
  return (cpuNs() - begin) / count
}

const read = Buffer.alloc(readDepth * 2048)
const starts = new Int32Array(readDepth + 1)
let next = 0

/** The requests of a list in reads of `readDepth`. Putting a read together does not count. */
function measureReads(list: readonly Buffer[], count: number): number {
  let total = 0
  for (let done = 0; done < count; done += readDepth) {
    for (let i = 0; i < readDepth; i++) {
      const request = list[next++ % list.length]
      if (request === undefined) throw new Error('there are requests')
      const start = starts[i] ?? 0
      read.set(request, start)
      starts[i + 1] = start + request.length
    }
    const begin = cpuNs()
    outAt = 0
    for (let i = 0; i < readDepth; i++) service.handler(read, starts[i] ?? 0, starts[i + 1] ?? 0, metadata, reply)
    service.endOfBatch()
    total += cpuNs() - begin
  }
  return total / count
}

function measureHmac(secret: string, count: number): number {
  let octets = 0
  const begin = cpuNs()
  for (let i = 0; i < count; i++) octets += createHmac('sha256', pepper.bytes).update(secret).digest().length
  const each = (cpuNs() - begin) / count
  if (octets !== count * 32) throw new Error('an HMAC has 32 octets')
  return each
}

const kinds = {
  'one request': (count: number) => measureOne(hot, count),
  'known keys': (count: number) => measureReads(known, count),
  'unknown keys': (count: number) => measureReads(unknown, count),
  mixed: (count: number) => measureReads(mixed, count),
}
type Kind = keyof typeof kinds
const kindNames = Object.keys(kinds) as Kind[]

function verifyAll(): void {
  verify([hot], () => 0)
  verify(known, () => 0)
  verify(unknown, () => 401)
  verify(mixed, i => (isUnknown(i) ? 401 : isRefused(i) ? 403 : 0))
}

verifyAll()
for (const name of kindNames) kinds[name](warmUpChecks)
measureHmac(hotSecret, hmacsPerRound)

const hmacNs: number[] = []
const checkNs = new Map<Kind, number[]>(kindNames.map(name => [name, []]))
const ratios = new Map<Kind, number[]>(kindNames.map(name => [name, []]))
for (let round = 0; round < rounds; round++) {
  const hmac = measureHmac(hotSecret, hmacsPerRound)
  hmacNs.push(hmac)
  for (const name of kindNames) {
    const check = kinds[name](checksPerRound)
    checkNs.get(name)?.push(check)
    ratios.get(name)?.push(check / hmac)
  }
}

let markCompacts = 0
let scavenges = 0
const observer = new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    const kind = (entry as unknown as { detail?: { kind?: number } }).detail?.kind
    if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) markCompacts++
    else if (kind === constants.NODE_PERFORMANCE_GC_MINOR) scavenges++
  }
})
observer.observe({ entryTypes: ['gc'] })
for (let done = 0; done < garbageChecks; done += garbageChecks / 10) {
  measureReads(mixed, garbageChecks / 10)
  // The observer is told in another turn.
  await new Promise(resolve => setImmediate(resolve))
}
await new Promise(resolve => setTimeout(resolve, 50))
observer.disconnect()
verifyAll()
if (failures > 0 || limits.evicted > 0) throw new Error(`${failures} failures, ${limits.evicted} buckets given up`)

const sorted = (list: readonly number[] = []) => [...list].sort((a, b) => a - b)
const median = (list: readonly number[] | undefined) => sorted(list)[(list?.length ?? 0) >> 1] ?? Number.NaN
const range = (list: readonly number[] | undefined, digits: number) =>
  `${sorted(list)[0]?.toFixed(digits)}–${sorted(list).at(-1)?.toFixed(digits)}`
const row = (name: string, ns: readonly number[] | undefined, ratio: readonly number[] | undefined) =>
  print(
    `${name.padEnd(13)}${Math.round(median(ns)).toString().padStart(5)} ns, range ${range(ns, 0)}${ratio === undefined ? '' : `; ${median(ratio).toFixed(2)} HMACs, range ${range(ratio, 2)}`}`,
  )
print(
  `node ${process.version}, ${keyCount} API keys, ${routeCount} routes, 20 allowlist entries, 15 headers, ${hot.length} octets, limit on; CPU time`,
)
for (const name of kindNames) row(name, checkNs.get(name), ratios.get(name))
row('hmac', hmacNs, undefined)
print(`table        ${(table.bytes / keyCount).toFixed(1)} octets a key`)
print(`garbage      ${markCompacts} mark-compacts, ${scavenges} scavenges in ${garbageChecks} mixed checks`)
print(`answers      ${allows} allowed, ${denials} denied, 0 failed`)
print(
  `check_ns=${Math.round(median(checkNs.get('one request')))} hmac_ns=${Math.round(median(hmacNs))} ratio=${median(ratios.get('one request')).toFixed(2)}`,
)
