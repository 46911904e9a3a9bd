// One whole check in process: request octets to reply octets with 200 000 API keys, 200 routes, 20 allowlist entries, 15
// request headers and a limit, beside one HMAC-SHA-256 of the same secret by node:crypto in the same run. The last line is
// the headline: one request again and again; the others ask for 10 000 API keys and paths in turn, 64 requests a read.
// All figures are CPU time of the process, medians of rounds in which the kinds take turns; ratios are taken within a round.
// A read is in memory before its time counts, as the kernel would leave it. Every answer is verified before and counted after.
import { createHmac } from 'node:crypto'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import {
  CheckStand,
  cpuNs,
  knownRequests,
  median,
  range,
  requestList,
  secretAt,
  unknownRequests,
} from './check-stand.ts'
import { keyCount, pepper, requestOf, routeCount, secretOf, table } from './check-world.ts'

const rounds = 25
const warmUpChecks = 100_000
const checksPerRound = 20_032
const hmacsPerRound = 10_000
const garbageChecks = 1_000_000

const print = (line: string) => process.stdout.write(`${line}\n`)

const stand = new CheckStand()
/** 5 % denials of known keys and 1 % unknown keys. */
const isUnknown = (i: number) => i % 100 === 7
const isRefused = (i: number) => i % 20 === 3
const mixed = requestList(i =>
  isUnknown(i)
    ? requestOf(i, secretOf(keyCount + i))
    : isRefused(i)
      ? requestOf(i, secretAt(i), false)
      : requestOf(i, secretAt(i)),
)
const hotSecret = secretAt(1)
const hot = requestOf(1, hotSecret)

function measureHmac(secret: string, count: number): number {
  let octets = 0
  const begin = cpuNs()
  for (let i = 0; i < count; i++) octets += createHmac('sha256', pepper.bytes).update(secret).digest().length
  const each = (cpuNs() - begin) / count
  if (octets !== count * 32) throw new Error('an HMAC has 32 octets')
  return each
}

const kinds = {
  'one request': (count: number) => stand.measureOne(hot, count),
  'known keys': (count: number) => stand.measureReads(knownRequests, count),
  'unknown keys': (count: number) => stand.measureReads(unknownRequests, count),
  mixed: (count: number) => stand.measureReads(mixed, count),
}
type Kind = keyof typeof kinds
const kindNames = Object.keys(kinds) as Kind[]

function verifyAll(): void {
  stand.verify([hot], () => 0)
  stand.verify(knownRequests, () => 0)
  stand.verify(unknownRequests, () => 401)
  stand.verify(mixed, i => (isUnknown(i) ? 401 : isRefused(i) ? 403 : 0))
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
  stand.measureReads(mixed, garbageChecks / 10)
  // The observer is told in another turn.
  await new Promise(resolve => setImmediate(resolve))
}
await new Promise(resolve => setTimeout(resolve, 50))
observer.disconnect()
verifyAll()
const { allows, denials, failures, limits } = stand
if (failures > 0 || limits.evicted > 0) throw new Error(`${failures} failures, ${limits.evicted} buckets given up`)

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
