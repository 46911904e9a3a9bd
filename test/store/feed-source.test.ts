// The feed's port against a real server: beat, read, load and hints, each with the guarantee the protocol takes from it.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { decodeApiKey } from '../../src/feed/decode-row.ts'
import type { FeedConnection, RawRow } from '../../src/feed/feed-source.ts'
import { createFeedSource, feedChannel, type SidecarSelf } from '../../src/store/feed-source.ts'
import { loadSlotStatement, pageChanges } from '../../src/store/feed-statements.ts'
import { packageRoot } from '../../src/store/package-root.ts'
import { insertApiKey, insertOrganization, record, testDigest, transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'

const database = useTestDatabase()
const report = {
  appliedRevision: 0n,
  appliedNonce: 0n,
  leaseMs: 7000,
  staleCapMs: 0,
  wrongPeppers: [],
  confirmAgeMs: 1,
}
const open: FeedConnection[] = []
let client: pg.Client

beforeAll(async () => {
  client = database().client()
  await client.connect()
  await transact(client, async () => {
    await insertOrganization(client, 'org_x', 'x')
    await insertOrganization(client, 'org_y', 'y')
    await record(client, { organizations: ['org_x', 'org_y'] })
  })
})
afterEach(() => {
  for (const connection of open.splice(0)) connection.destroy()
})
afterAll(() => client.end())

function self(overrides: Partial<SidecarSelf> = {}): SidecarSelf {
  return {
    id: randomUUID(),
    version: 'test',
    pepperIds: ['p1'],
    profiles: () => ({ x: { version: '1', digest: 'd' } }),
    onlyProfiles: null,
    ...overrides,
  }
}

async function connect(of = self(), onHint: () => void = () => undefined): Promise<FeedConnection> {
  const connection = await createFeedSource(database().database, of).connect(onHint)
  open.push(connection)
  return connection
}

async function createKey(name: string, organization = 'org_x'): Promise<bigint> {
  return transact(client, async () => {
    await insertApiKey(client, organization, name)
    return record(client, { apiKeys: [name] })
  })
}

async function head(connection: FeedConnection): Promise<bigint> {
  return (await connection.read(0n, 0n, 1)).head
}

function updateKey(name: string, assignment: string): Promise<bigint> {
  return transact(client, async () => {
    await client.query(`UPDATE api_keys SET ${assignment} WHERE digest = $1`, [testDigest(name)])
    return record(client, { apiKeys: [name] })
  })
}

async function loaded(connection: FeedConnection) {
  const organizations: RawRow[] = []
  const apiKeys: RawRow[] = []
  const calls: string[] = []
  const position = await connection.load({
    expect: count => calls.push(`expect ${count}`),
    organizations(rows) {
      calls.push('organizations')
      organizations.push(...rows)
    },
    apiKeys(rows) {
      calls.push('apiKeys')
      apiKeys.push(...rows)
    },
  })
  return { position, organizations, apiKeys, calls }
}

describe('beat', () => {
  it('stores what the process says of itself, with the time of the database', async () => {
    const me = self()
    const connection = await connect(me)
    await connection.beat(report)
    await connection.beat({ ...report, appliedRevision: 5n, appliedNonce: -6n, confirmAgeMs: 3 })
    const found = await client.query(
      `SELECT applied_revision, applied_nonce, lease_ms, confirm_age_ms, profiles, pepper_ids, version,
              seen_at > clock_timestamp() - interval '2 s' AND seen_at > started_at AS now
       FROM sidecars WHERE id = $1`,
      [me.id],
    )
    expect(found.rows).toEqual([
      {
        applied_revision: 5n,
        applied_nonce: -6n,
        lease_ms: 7000,
        confirm_age_ms: 3,
        profiles: { x: { version: '1', digest: 'd' } },
        pepper_ids: ['p1'],
        version: 'test',
        now: true,
      },
    ])
  })

  it('answers how many live sidecars serve each profile, this one included', async () => {
    await client.query('DELETE FROM sidecars')
    const both = { profiles: () => ({ x: { version: '1', digest: 'd' }, y: { version: '1', digest: 'd' } }) }
    const first = await connect(self(both))
    expect(await first.beat(report)).toEqual(
      new Map([
        ['x', 1],
        ['y', 1],
      ]),
    )
    const second = await connect()
    expect(await second.beat(report)).toEqual(new Map([['x', 2]]))
    expect(await first.beat(report)).toEqual(
      new Map([
        ['x', 2],
        ['y', 1],
      ]),
    )
    await client.query("UPDATE sidecars SET seen_at = seen_at - interval '11 s'")
    expect(await second.beat(report)).toEqual(new Map([['x', 1]]))
  })
})

describe('proofs of peppers', () => {
  const proof = (name: string) => testDigest(`proof of ${name}`)
  const write = (name: string, purpose = 'api_keys') =>
    client.query('INSERT INTO pepper_proofs (purpose, pepper_id, proof) VALUES ($1, $2, $3)', [
      purpose,
      name,
      proof(name),
    ])
  afterEach(() => client.query('DELETE FROM pepper_proofs'))

  it('come with every page, at the head and behind it: those of own peppers, and of API keys alone', async () => {
    const connection = await connect(self({ pepperIds: ['p1', 'p2'] }))
    const position = await head(connection)
    expect((await connection.read(position, position, 50)).pepperProofs).toEqual(new Map())
    for (const name of ['p1', 'p9']) await write(name)
    await write('p2', 'admin_keys')
    await createKey('page with proofs')
    await client.query('SELECT gw_record($1, $2, $3)', [[], [], []]) // a revision without a change
    for (const from of [position, position + 1n, position + 2n]) {
      const page = await connection.read(from, position, 50)
      expect(page.pepperProofs).toEqual(new Map([['p1', proof('p1')]]))
      expect(page.revisions).toHaveLength(Number(position + 2n - from))
    }
  })

  it('leave those out of the heartbeat that the process has in name only', async () => {
    const me = self({ pepperIds: ['p1', 'p2'] })
    const connection = await connect(me)
    await connection.beat({ ...report, wrongPeppers: ['p1'] })
    const found = await client.query('SELECT pepper_ids FROM sidecars WHERE id = $1', [me.id])
    expect(found.rows).toEqual([{ pepper_ids: ['p2'] }])
  })

  it('are not missed on a schema one version older, and are there with the first page after the migration', async () => {
    await client.query('ALTER TABLE pepper_proofs RENAME TO pepper_proofs_to_come')
    try {
      const connection = await connect()
      const position = await head(connection)
      await connection.beat(report)
      await createKey('on the older schema')
      const page = await connection.read(position, position, 50)
      expect(page.pepperProofs).toEqual(new Map())
      expect(page.revisions).toHaveLength(1)
      expect(page.revisions[0]?.rows[0]?.row).toMatchObject({ digest: testDigest('on the older schema') })
      await client.query('ALTER TABLE pepper_proofs_to_come RENAME TO pepper_proofs')
      await write('p1')
      const next = await connection.read(position, position, 50)
      expect(next.pepperProofs).toEqual(new Map([['p1', proof('p1')]]))
      expect(next.revisions).toEqual(page.revisions)
    } finally {
      await client.query('ALTER TABLE IF EXISTS pepper_proofs_to_come RENAME TO pepper_proofs')
    }
  })
})

describe('read', () => {
  it('answers the head, the witness and the time of the database without a new revision', async () => {
    const connection = await connect()
    const position = await head(connection)
    const page = await connection.read(position, position, 50)
    expect(page).toMatchObject({ head: position, floor: 0n, revisions: [] })
    expect(page.witnessNonce).toBe(page.headNonce)
    expect(Math.abs(page.dbTimeMs - Date.now())).toBeLessThan(1000)
    expect(page.timeline).toMatch(/^[0-9A-F]{8}$/)
    expect((await connection.read(position, position + 1n, 50)).witnessNonce).toBeNull()
  })

  it('gives each change with the current row, whatever it was when the change was recorded', async () => {
    const connection = await connect()
    const before = await head(connection)
    const created = await createKey('read current')
    const updated = await updateKey(
      'read current',
      "expire_time = '2030-01-02 03:04:05.678901+00', scopes = '{a.read,b.write}', rate_limit = 5, rate_window_us = 60000000",
    )
    const page = await connection.read(before, before, 50)
    expect(page.head).toBe(updated)
    expect(page.revisions.map(revision => revision.revision)).toEqual([created, updated])
    expect(page.revisions[1]?.nonce).toBe(page.headNonce)
    const rows = page.revisions.map(revision => revision.rows)
    expect(rows[0]).toEqual(rows[1])
    expect(rows[0]?.[0]).toMatchObject({ kind: 1, digest: testDigest('read current'), organization: null })
    expect(rows[0]?.[0]?.row).toMatchObject({
      organization_id: 'org_x',
      digest: testDigest('read current'),
      pepper_id: 'p1',
      environment: 'live',
      scope_mode: 1,
      scopes: ['a.read', 'b.write'],
      allowlist_binary: Buffer.alloc(0),
      expire_time: '1893553445678901',
      grace_end_time: null,
      rate_limit: 5n,
      rate_window_us: 60_000_000n,
    })
  })

  it('ends behind the revision that brings its changes to the bound, and goes on from there', async () => {
    const connection = await connect()
    const start = await head(connection)
    const digests = Array.from({ length: pageChanges - 1 }, (_, i) => testDigest(`bounded ${i}`))
    const recordMany = () =>
      client.query('SELECT gw_record($1, $2, $3)', [digests.map(() => 1), digests, digests.map(() => null)])
    for (let i = 0; i < 5; i++) await recordMany()
    const sizes: number[] = []
    for (let applied = start; ; ) {
      const { head: last, revisions } = await connection.read(applied, start, 50)
      sizes.push(revisions.length)
      for (const { revision, changes, rows } of revisions) {
        expect(revision).toBe(++applied)
        expect(rows.length).toBe(changes)
      }
      if (applied === last) break
    }
    expect(sizes).toEqual([2, 2, 1])
  })

  it('gives null for a row that is gone', async () => {
    const connection = await connect()
    await createKey('read purged')
    await updateKey('read purged', "delete_time = now(), purge_time = now() - interval '1 s'")
    const before = await head(connection)
    await transact(client, async () => {
      await client.query(
        'INSERT INTO digest_tombstones SELECT digest, pepper_id, id, organization_id FROM api_keys WHERE digest = $1',
        [testDigest('read purged')],
      )
      await client.query('DELETE FROM api_keys WHERE digest = $1', [testDigest('read purged')])
      await record(client, { apiKeys: ['read purged'] })
    })
    const page = await connection.read(before, before, 50)
    expect(page.revisions[0]?.rows).toEqual([
      { kind: 1, digest: testDigest('read purged'), organization: null, row: null },
    ])
  })

  it('gives null for rows of profiles that the process does not serve, and counts their changes', async () => {
    const connection = await connect(self({ onlyProfiles: ['x'] }))
    const before = await head(connection)
    await createKey('served', 'org_x')
    await createKey('not served', 'org_y')
    await transact(client, () => record(client, { organizations: ['org_y', 'org_x'] }))
    const page = await connection.read(before, before, 50)
    const ids = page.revisions.map(({ changes, rows }) => [changes, ...rows.map(({ row }) => row?.['organization_id'])])
    expect(ids.slice(0, 2)).toEqual([
      [1, 'org_x'],
      [1, undefined],
    ])
    expect(page.revisions[1]?.rows).toEqual([
      { kind: 1, digest: testDigest('not served'), organization: null, row: null },
    ])
    expect(page.revisions[2]?.rows.map(({ organization, row }) => [organization, row?.['id']])).toEqual([
      ['org_y', undefined],
      ['org_x', 'org_x'],
    ])
    const none = await (await connect(self({ onlyProfiles: [] }))).read(before, before, 50)
    expect(none.revisions.flatMap(({ rows }) => rows.map(({ row }) => row))).toEqual([null, null, null, null])
  })

  it('keeps revisions without changes, organizations, and kinds of a newer writer', async () => {
    const connection = await connect()
    const before = await head(connection)
    await record(client, {})
    await transact(client, async () => {
      await client.query("UPDATE organizations SET suspend_time = '2026-01-01 00:00:00+00' WHERE id = 'org_y'")
      await record(client, { organizations: ['org_y'] })
    })
    await client.query("SELECT gw_record('{7}', '{NULL}', '{future}')")
    const page = await connection.read(before, before, 50)
    expect(page.revisions.map(revision => revision.rows)).toEqual([
      [],
      [
        {
          kind: 2,
          digest: null,
          organization: 'org_y',
          row: { id: 'org_y', profile: 'y', suspend_time: '1767225600000000' },
        },
      ],
      [{ kind: 7, digest: null, organization: 'future', row: null }],
    ])
    expect(page.revisions.map(revision => revision.changes)).toEqual([0, 1, 1])
  })

  it('ends a page after the asked number of revisions, with all their changes, while the head is further on', async () => {
    const connection = await connect()
    const before = await head(connection)
    for (let number = 0; number < 4; number++)
      await transact(client, () => record(client, { apiKeys: ['a', 'b', 'c'] }))
    const page = await connection.read(before, before, 3)
    expect(page.head).toBe(before + 4n)
    expect(page.revisions.map(revision => [revision.revision, revision.rows.length])).toEqual([
      [before + 1n, 3],
      [before + 2n, 3],
      [before + 3n, 3],
    ])
  })

  it('is one snapshot: a page that shows a revision shows the rows of it and of none that is not below the head', async () => {
    const connection = await connect()
    const other = database().client()
    await other.connect()
    await createKey('counter')
    let applied = await head(connection)
    const writing = (async () => {
      for (let value = 1; value <= 150; value++) {
        await transact(other, async () => {
          await other.query('UPDATE api_keys SET rate_limit = $1, rate_window_us = 1000000 WHERE digest = $2', [
            value,
            testDigest('counter'),
          ])
          await record(other, { apiKeys: ['counter'] })
        })
      }
    })()
    const start = applied
    let pages = 0
    while (applied < start + 150n) {
      const page = await connection.read(applied, applied, 50)
      for (const revision of page.revisions) {
        expect(revision.revision).toBe(applied + 1n)
        applied = revision.revision
        // The value of the row is the number of the last revision that the snapshot shows: its head.
        expect(revision.rows[0]?.row?.['rate_limit']).toBe(page.head - start)
      }
      pages += 1
    }
    await writing
    await other.end()
    expect(pages).toBeGreaterThan(3)
  })

  it.each([
    "expire_time = 'infinity'",
    "expire_time = '-infinity'",
    "expire_time = '4000-01-01 BC'",
    "expire_time = '294276-12-31'",
  ])('survives a row that no decoder accepts: %s', async assignment => {
    const connection = await connect()
    const name = `poison ${assignment}`
    await createKey(name)
    const before = await head(connection)
    await updateKey(name, assignment)
    const page = await connection.read(before, before, 50)
    expect(page.revisions[0]?.rows[0]?.row?.['expire_time']).toMatch(/^(-?Infinity|-?\d+)$/)
  })

  it('rejects when the feed has lost its head', async () => {
    const connection = await connect()
    await client.query('BEGIN')
    await client.query('UPDATE feed_head SET revision = revision + 1000')
    await client.query('COMMIT')
    await expect(connection.read(0n, 0n, 1)).rejects.toThrow('no head row')
    await client.query('UPDATE feed_head SET revision = revision - 1000')
  })
})

describe('load', () => {
  it('gives organizations before API keys, all as of the head it answers', async () => {
    const names = Array.from({ length: 2500 }, (_, index) => `load ${index}`)
    for (let at = 0; at < names.length; at += 500) {
      const some = names.slice(at, at + 500)
      await transact(client, async () => {
        for (const name of some) await insertApiKey(client, 'org_y', name)
        await record(client, { apiKeys: some })
      })
    }
    const connection = await connect()
    const load = await loaded(connection)
    expect(load.calls.lastIndexOf('organizations')).toBeLessThan(load.calls.indexOf('apiKeys'))
    expect(load.calls.filter(call => call === 'apiKeys').length).toBeGreaterThan(2)
    expect(load.position?.revision).toBe(await head(connection))
    const total = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM api_keys')
    expect(BigInt(load.apiKeys.length)).toBe(total.rows[0]?.n)
    expect(new Set(load.apiKeys.map(row => String(row['digest']))).size).toBe(load.apiKeys.length)
    expect(Object.keys(load.apiKeys[0] ?? {})).toContain('allowlist_binary')
    expect(load.organizations.map(row => row['id']).sort()).toEqual(['org_x', 'org_y'])
  })

  it('shows nothing of a change that commits while it runs', async () => {
    const connection = await connect()
    await createKey('during load')
    const seen: unknown[] = []
    const position = await connection.load({
      expect: () => undefined,
      organizations: () => commitElsewhere('during load'),
      apiKeys(rows) {
        for (const row of rows) if (testDigest('during load').equals(row['digest'] as Buffer)) seen.push(row['scopes'])
      },
    })
    expect(seen).toEqual([['a.read']])
    const loadedAt = position?.revision ?? 0n
    const page = await connection.read(loadedAt, loadedAt, 50)
    expect(page.head).toBe(loadedAt + 1n)
    expect(page.revisions[0]?.rows[0]?.row?.['scopes']).toEqual(['changed'])
  })

  /** Changes an API key in another process and returns after its commit, inside one turn of this event loop. */
  function commitElsewhere(name: string): void {
    const [server] = database().database.servers
    const script = `
      import pg from 'pg'
      const client = new pg.Client(${JSON.stringify({ ...server, options: '-c search_path=gatewarden' })})
      await client.connect()
      const digest = Buffer.from('${testDigest(name).toString('hex')}', 'hex')
      await client.query('BEGIN')
      await client.query("UPDATE api_keys SET scopes = '{changed}' WHERE digest = $1", [digest])
      await client.query("SELECT gw_record('{1}', ARRAY[$1::bytea], '{NULL}')", [digest])
      await client.query('COMMIT')
      await client.end()
    `
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: packageRoot() })
  }

  it('leaves out the organizations and API keys of profiles that the process does not serve', async () => {
    await createKey('of profile x', 'org_x')
    const load = await loaded(await connect(self({ onlyProfiles: ['x'] })))
    expect(new Set(load.apiKeys.map(row => row['organization_id']))).toEqual(new Set(['org_x']))
    expect(load.organizations.map(row => row['id'])).toEqual(['org_x'])
    expect((await loaded(await connect(self({ onlyProfiles: [] })))).apiKeys).toEqual([])
  })

  it.each([
    "expire_time = '2030-01-02 03:04:05.678901+00', scopes = '{a.read,b.write}', rate_limit = 5, rate_window_us = 60000000",
    "grace_end_time = '1999-12-31 23:59:59.999999+00', revoke_time = now(), delete_time = now(), suspend_time = now()",
    "expire_time = 'infinity'",
    "expire_time = '-infinity'",
    "expire_time = '294276-12-31'",
    "scopes = '{}', scope_mode = 2",
    "scopes = '{{a.read,b.read},{c.read,d.read}}'",
    "scopes = '{a.read,NULL}'",
    "scopes = ARRAY['ä', '€', '😀']",
    "allowlist_binary = '\\x0420cb007101000000000000000000000000'",
  ])('means the same as a page: %s', async assignment => {
    const name = `both ${assignment}`
    const digest = testDigest(name)
    await createKey(name)
    const connection = await connect()
    const before = await head(connection)
    await updateKey(name, assignment)
    const [revision] = (await connection.read(before, before, 1)).revisions
    const inPage = revision?.rows[0]?.row ?? {}
    const inLoad = (await loaded(connection)).apiKeys.find(row => digest.equals(row['digest'] as Buffer)) ?? {}
    expect(Object.keys(inLoad)).toEqual(Object.keys(inPage))
    expect(decodeApiKey(digest, inLoad)).toEqual(decodeApiKey(digest, inPage))
  })

  it('says beforehand how many API keys the planner expects', async () => {
    await client.query('ANALYZE api_keys')
    const total = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM api_keys')
    expect((await loaded(await connect())).calls[0]).toBe(`expect ${total.rows[0]?.n}`)
  })

  it('answers null while four others load, and loads when one of them has ended', async () => {
    const holders = await Promise.all([1, 2, 3, 4].map(holdSlot))
    const fifth = await connect()
    expect((await loaded(fifth)).position).toBeNull()
    holders[0]?.connection.stream.destroy() // a process that died
    await until('the slot is free', async () => (await loaded(fifth)).position !== null)
    for (const holder of holders) await holder.end()
  })

  it('frees its slot and its snapshot when the sink throws', async () => {
    const connection = await connect()
    const load = connection.load({
      expect: () => undefined,
      organizations: () => {
        throw new Error('cut off')
      },
      apiKeys: () => undefined,
    })
    await expect(load).rejects.toThrow('cut off')
    await until('no load slot is taken', async () => {
      const taken = await client.query(
        `SELECT FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      )
      return taken.rowCount === 0
    })
  })

  async function holdSlot(): Promise<pg.Client> {
    const holder = database().client()
    holder.on('error', () => undefined)
    await holder.connect()
    await holder.query('BEGIN')
    expect((await holder.query(loadSlotStatement)).rowCount).toBe(1)
    return holder
  }
})

describe('hints and endings', () => {
  it('tells of every notification, and of none after destroy', async () => {
    let hints = 0
    const connection = await connect(self(), () => {
      hints += 1
    })
    await client.query(`NOTIFY ${feedChannel}`)
    await until('the hint', () => hints === 1)
    connection.destroy()
    await client.query(`NOTIFY ${feedChannel}`)
    await until('the backend is gone', async () => {
      const found = await client.query(
        "SELECT FROM pg_stat_activity WHERE application_name LIKE 'gatewarden feed%' AND datname = current_database()",
      )
      return found.rowCount === 0
    })
    expect(hints).toBe(1)
  })

  it('rejects what is under way when it is destroyed, and everything after it', async () => {
    const connection = await connect()
    const beat = connection.beat(report)
    connection.destroy()
    await expect(beat).rejects.toThrow()
    await expect(connection.beat(report)).rejects.toThrow()
  })

  it('destroys itself after an error, so that nothing reuses the connection', async () => {
    const me = self()
    const connection = await connect(me)
    await expect(connection.beat({ ...report, leaseMs: 2 ** 40 })).rejects.toThrow()
    await expect(connection.read(0n, 0n, 1)).rejects.toThrow()
  })

  it('ends when the server ends its backend', async () => {
    const me = self()
    const connection = await connect(me)
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [
      `gatewarden feed ${me.id}`,
    ])
    await until('the connection fails', () =>
      connection.read(0n, 0n, 1).then(
        () => false,
        () => true,
      ),
    )
  })

  it('goes to the next server when one does not answer, and stays with the one that did', async () => {
    const [good] = database().database.servers
    const source = createFeedSource({ servers: [{ ...good, host: '/nowhere' }, good] }, self())
    await expect(source.connect(() => undefined)).rejects.toThrow()
    const connection = await source.connect(() => undefined)
    await connection.read(0n, 0n, 1)
    connection.destroy()
    const again = await source.connect(() => undefined)
    again.destroy()
  })
})
