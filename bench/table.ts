// Measures the key table by itself: octets a key, the digest beside the platform's HMAC, find, charge, and the longest write.
// Prints one line a figure; run it with `node dist/bench/table.js` after a build.
import { createHmac } from 'node:crypto'
import type { ApiKeyEntry } from '../src/core/api-key-entry.ts'
import type { ChargeResult } from '../src/core/key-lookup.ts'
import { createNames } from '../src/core/names.ts'
import { digestSecret, type Pepper, SecretDigests } from '../src/keys/digest.ts'
import { KeyTable } from '../src/keys/key-table.ts'
import { LimitBuckets } from '../src/keys/limit-buckets.ts'

const pepper: Pepper = { id: 'p1', bytes: Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i) }
const names = createNames()
const profile = names.profiles.intern('example')
const keysPerOrganization = 20
/** Secrets that are looked up; more than fit the first caches. */
const probes = 10_000

function secretOf(number: number): Buffer {
  return Buffer.from(`ex_live_${number.toString(36).padStart(38, '0')}`)
}

function uuid(number: number): string {
  return `0197c0ec-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}

/** A key with one address of 256 in its list, one scope set of eight, and a limit. */
function entryOf(number: number, digest: Uint8Array): ApiKeyEntry {
  const octets = new Uint8Array(16)
  octets.set([203, 0, 113, number & 255])
  const id = `key_${uuid(number)}`
  return {
    kind: 'api_key',
    digest,
    pepperId: pepper.id,
    id,
    organization: `org_${uuid(Math.floor(number / keysPerOrganization))}`,
    environment: 'live',
    scopeMode: 'LISTED',
    scopes: ['read', `extra${number % 8}`],
    allowlist: [{ family: 4, prefix: 32, octets }],
    expireAt: null,
    graceEndAt: null,
    revoked: false,
    deleted: false,
    suspended: false,
    limit: { limit: 1000, windowMicros: 3_600_000_000 },
    lineage: id,
  }
}

function fill(table: KeyTable, keys: number): { longestMs: number; totalMs: number } {
  const every = keys / probes
  const digest = Buffer.alloc(32)
  let longestMs = 0
  const begun = process.cpuUsage()
  for (let number = 0; number < keys; number++) {
    if (number % keysPerOrganization === 0) {
      const id = `org_${uuid(number / keysPerOrganization)}`
      table.setOrganization({ id, profile: 'example', suspended: false, valid: true })
    }
    for (let i = 0; i < 32; i += 4) digest.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, i)
    const entry = entryOf(number, number % every === 0 ? digestSecret(pepper, secretOf(number)) : digest)
    const start = performance.now()
    table.replace(entry)
    longestMs = Math.max(longestMs, performance.now() - start)
  }
  return { longestMs, totalMs: process.cpuUsage(begun).user / 1000 }
}

/** Nanoseconds of processor time of one call, median of five rounds: nearly immune to neighbours. */
function time(calls: number, run: (i: number) => void): number {
  const rounds = Array.from({ length: 6 }, () => {
    const start = process.cpuUsage()
    for (let i = 0; i < calls; i++) run(i)
    const { user, system } = process.cpuUsage(start)
    return ((user + system) * 1000) / calls
  })
  return rounds.slice(1).sort((a, b) => a - b)[2] ?? Number.NaN
}

function print(name: string, value: number, unit: string): void {
  process.stdout.write(`${name.padEnd(34)} ${value.toFixed(1).padStart(10)} ${unit}\n`)
}

function measureDigest(): void {
  const secret = secretOf(1)
  const digests = new SecretDigests([pepper])
  const out = new Int32Array(8)
  const text = secret.toString()
  print(
    'digest',
    time(500_000, () => digests.digest(secret, 0, secret.length, out)),
    'ns',
  )
  print(
    'createHmac of the same secret',
    time(100_000, () => void createHmac('sha256', pepper.bytes).update(text).digest()),
    'ns',
  )
}

function measureTable(keys: number): void {
  const table = new KeyTable({ names, peppers: [pepper] })
  const { longestMs, totalMs } = fill(table, keys)
  const every = keys / probes
  const known = Array.from({ length: probes }, (_, i) => secretOf(((i * 7919) % probes) * every))
  const unknown = known.map(secret => Buffer.from(secret.toString().replace('ex_', 'no_')))
  let wrong = 0
  print(`${keys} keys: octets a key`, table.bytes / table.size, 'octets')
  print('  one write', (totalMs * 1e6) / keys, 'ns')
  print('  longest write', longestMs * 1000, 'µs')
  const find = (secrets: readonly Buffer[], known: boolean) => (i: number) => {
    const secret = secrets[i % probes] ?? pepper.bytes
    if (table.find(secret, 0, secret.length, profile) >= 0 !== known) wrong++
  }
  print('  find, known', time(300_000, find(known, true)), 'ns')
  print('  find, unknown', time(300_000, find(unknown, false)), 'ns')
  const slots = known.map(secret => table.find(secret, 0, secret.length, profile))
  measureCharge(table, slots)
  if (wrong > 0) throw new Error(`${wrong} look-ups were wrong`)
}

function measureCharge(table: KeyTable, slots: readonly number[]): void {
  const buckets = new LimitBuckets(table)
  const out: ChargeResult = { admitted: false, limit: 0, remaining: 0, resetAt: 0, retryAfterMicros: 0 }
  for (const algorithm of ['window_from_first_request', 'gcra'] as const) {
    const own = { bucket: 0, algorithm, limit: 1_000_000, windowMicros: 3_600_000_000, burst: 1000 }
    const charge = (i: number) => buckets.charge(slots[i % probes] ?? 0, own, [], 2e14 + i, out)
    print(`  charge, ${algorithm}`, time(500_000, charge), 'ns')
  }
}

const counts = process.argv.slice(2).map(Number)
measureDigest()
for (const keys of counts.length > 0 ? counts : [200_000, 1_000_000]) measureTable(keys)
