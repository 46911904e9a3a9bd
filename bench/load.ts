// Measures a load: every API key of a real PostgreSQL through the feed's adapter and decoder into the key table.
// `node dist/bench/load.js [KEYS] [ROUNDS]` after a build. Last line `keys=… rows_per_s=… ms=… cpu_ms=… longest_turn_ms=…`,
// of the fastest round; the database shares the machine.
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { createNames } from '../src/core/names.ts'
import { DbTime } from '../src/feed/db-time.ts'
import { Lease } from '../src/feed/lease.ts'
import { runLoad } from '../src/feed/load.ts'
import { createSystemTime } from '../src/feed/system-time.ts'
import { KeyTable } from '../src/keys/key-table.ts'
import { createFeedSource } from '../src/store/feed-source.ts'
import { startTestCluster, type TestDatabase } from '../test/support/postgres.ts'

const keysPerOrganization = 20
const defaultKeys = 200_000
const defaultRounds = 3

/** Rows like those of admin, past the guard: eight scope sets, an allowlist entry for each fourth key, a limit for each second. */
async function fill(database: TestDatabase, keys: number): Promise<void> {
  const client = database.client()
  await client.connect()
  try {
    await client.query("SET session_replication_role = 'replica'")
    await client.query(
      `INSERT INTO organizations (id, display_name, profile)
     SELECT 'org_0197c0ec-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), 'o', 'bitbybit' FROM generate_series(0, $1::int / $2::int) n`,
      [keys, keysPerOrganization],
    )
    await client.query(
      `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode,
                           scopes, allowlist_binary, expire_time, rate_limit, rate_window_us, lineage_id, creator)
     SELECT id, 'org_0197c0ec-0000-7000-8000-' || lpad(to_hex(n / $2::int), 12, '0'), sha256(n::text::bytea), 'p1', 1,
            'x_…abcd', 'a key', 'live', 1, ARRAY['customers:READ', 'extra.' || n % 8],
            CASE WHEN n % 4 = 0 THEN '\\x0420cb007101000000000000000000000000'::bytea ELSE '' END,
            '2030-01-01'::timestamptz + n * interval '1 s', CASE WHEN n % 2 = 0 THEN 100 END, CASE WHEN n % 2 = 0 THEN 60000000 END,
            id, 'bench'
     FROM (SELECT n, 'key_0197c0ec-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS id FROM generate_series(0, $1::int - 1) n) rows`,
      [keys, keysPerOrganization],
    )
    await client.query('ANALYZE')
  } finally {
    await client.end()
  }
}

interface Round {
  readonly ms: number
  readonly cpuMs: number
  readonly longestTurnMs: number
}

async function load(database: TestDatabase, keys: number): Promise<Round> {
  const time = createSystemTime()
  const table = new KeyTable({ names: createNames(), peppers: [{ id: 'p1', bytes: Buffer.alloc(32, 1) }] })
  const source = createFeedSource(database.database, {
    id: '00000000-0000-4000-8000-000000000001',
    version: 'bench',
    pepperIds: ['p1'],
    profiles: () => ({}),
    onlyProfiles: null,
  })
  const faults: unknown[] = []
  const context = {
    clock: time,
    timers: time,
    table,
    observer: { record: (event: { type: string }) => event.type === 'row_invalid' && faults.push(event) },
    lease: new Lease(time, () => undefined),
    dbTime: new DbTime(),
    staleCapMs: 0,
    applied: { revision: 0n, nonce: 0n },
    witness: { revision: 0n, nonce: 0n },
    timeline: null,
    blocked: false,
    wrongPeppers: [],
    liveSidecars: new Map<string, number>(),
  }
  const connection = await source.connect(() => undefined)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const [started, cpu] = [performance.now(), process.cpuUsage()]
  const loaded = await runLoad(context, connection)
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  delay.disable()
  connection.destroy()
  if (!loaded || table.size !== keys || faults.length > 0)
    throw new Error(`the load brought ${table.size} of ${keys} keys`)
  return { ms, cpuMs: (user + system) / 1000, longestTurnMs: delay.max / 1e6 }
}

const keys = Number(process.argv[2] ?? defaultKeys)
const rounds = Number(process.argv[3] ?? defaultRounds)
const cluster = await startTestCluster()
try {
  const database = await cluster.createDatabase('migrated')
  await fill(database, keys)
  let best: Round | undefined
  for (let round = 0; round < rounds; round++) {
    const measured = await load(database, keys)
    process.stdout.write(`round ${round + 1}: ${measured.ms.toFixed(0)} ms, ${measured.cpuMs.toFixed(0)} ms of CPU\n`)
    if (best === undefined || measured.ms < best.ms) best = measured
  }
  if (best !== undefined) {
    const { ms, cpuMs, longestTurnMs } = best
    process.stdout.write(
      `keys=${keys} rows_per_s=${Math.round((keys / ms) * 1000)} ms=${ms.toFixed(0)} cpu_ms=${cpuMs.toFixed(0)} longest_turn_ms=${longestTurnMs.toFixed(0)}\n`,
    )
  }
} finally {
  await cluster.stop()
}
