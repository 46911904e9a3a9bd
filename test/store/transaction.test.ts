// A transaction commits wholly or leaves nothing, its connection is reused only when it is in order, and it ends in time.
import { createServer, type Server } from 'node:net'
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { explainConnect } from '../../src/store/connect-failure.ts'
import { adminSession, createPool } from '../../src/store/pool.ts'
import { StoreSetupError } from '../../src/store/store-error.ts'
import { inTransaction, TransactionTimeout } from '../../src/store/transaction.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'

const database = useTestDatabase()
const quiet = { session: adminSession, connectionsMax: 1, onIdleError: () => undefined }
let pool: pg.Pool
let superuser: pg.Client

beforeAll(async () => {
  superuser = database().client()
  await superuser.connect()
  pool = createPool(database().database, quiet)
})
afterAll(async () => {
  await pool.end()
  await superuser.end()
})
beforeEach(() => superuser.query('DELETE FROM bootstrap_tokens'))

const insert = "INSERT INTO bootstrap_tokens (digest, expire_time) VALUES (sha256('x'), now())"
const count = async () => (await superuser.query('SELECT FROM bootstrap_tokens')).rowCount
const backend = () => pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid').then(found => found.rows[0]?.pid)

describe('inTransaction', () => {
  it('commits what the work did and answers its value', async () => {
    expect(await inTransaction(pool, async client => (await client.query(insert)).rowCount)).toBe(1)
    expect(await count()).toBe(1)
  })

  it('leaves nothing when the work throws, and reuses the connection', async () => {
    const before = await backend()
    const work = inTransaction(pool, async client => {
      await client.query(insert)
      throw new Error('changed my mind')
    })
    await expect(work).rejects.toThrow('changed my mind')
    expect(await count()).toBe(0)
    expect(await backend()).toBe(before)
  })

  it('does not answer success when a failed statement was overlooked', async () => {
    const work = inTransaction(pool, async client => {
      await client.query(insert)
      await client.query('SELECT 1/0').catch(() => undefined)
    })
    await expect(work).rejects.toThrow('rolled back')
    expect(await count()).toBe(0)
  })

  it('rolls back and destroys the connection when the work does not come to an end', async () => {
    const before = await backend()
    const work = inTransaction(
      pool,
      async client => {
        await client.query(insert)
        await new Promise(() => undefined)
      },
      50,
    )
    await expect(work).rejects.toThrow(TransactionTimeout)
    expect(await backend()).not.toBe(before)
    await until(
      'the backend is gone',
      async () => (await superuser.query('SELECT FROM pg_stat_activity WHERE pid = $1', [before])).rowCount === 0,
    )
    expect(await count()).toBe(0)
  })

  it('survives the end of its backend between two statements', async () => {
    const work = inTransaction(pool, async client => {
      const own = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await superuser.query('SELECT pg_terminate_backend($1)', [own.rows[0]?.pid])
      await until('the connection fails', () =>
        client.query('SELECT 1').then(
          () => false,
          () => true,
        ),
      )
      await client.query(insert)
    })
    await expect(work).rejects.toThrow()
    expect(await inTransaction(pool, async () => 'works again')).toBe('works again')
  })

  it('has the time limits of the writers of the feed', async () => {
    const found = await pool.query(
      `SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
              current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('synchronous_commit') AS commit`,
    )
    expect(found.rows).toEqual([{ statement: '2s', lock: '1s', idle: '2s', commit: 'on' }])
  })
})

describe('createPool', () => {
  it('goes past a server that does not answer', async () => {
    const [good] = database().database.servers
    const several = createPool({ servers: [{ ...good, host: '/nowhere' }, good] }, quiet)
    await expect(several.query('SELECT 1')).rejects.toThrow()
    expect((await several.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }])
    await several.end()
  })

  it('gives up a server that accepts and says nothing within about a second', async () => {
    const silent: Server = createServer(() => undefined)
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
    const address = silent.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    const stuck = createPool({ servers: [{ host: '127.0.0.1', port, user: 'x', database: 'x' }] }, quiet)
    const started = performance.now()
    await expect(stuck.query('SELECT 1')).rejects.toThrow()
    expect(performance.now() - started).toBeLessThan(3000)
    silent.close()
    await stuck.end()
  })

  it('tells a broken idle connection once and goes on', async () => {
    const told: Error[] = []
    const watched = createPool(database().database, { ...quiet, onIdleError: error => told.push(error) })
    const own = await watched.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    await superuser.query('SELECT pg_terminate_backend($1)', [own.rows[0]?.pid])
    await until('the error is told', () => told.length === 1)
    expect((await watched.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }])
    await watched.end()
  })
})

describe('explainConnect', () => {
  async function refusal(prepare: string, user: string, undo: string): Promise<unknown> {
    await superuser.query(prepare)
    const [server] = database().database.servers
    const other = createPool({ servers: [{ ...server, user }] }, quiet)
    try {
      return await other.connect().catch((error: unknown) => explainConnect(error, adminSession.role))
    } finally {
      await other.end()
      await superuser.query(undo)
    }
  }

  it('says that a login lacks the role', async () => {
    const error = await refusal('CREATE ROLE bare LOGIN', 'bare', 'DROP ROLE bare')
    expect(error).toBeInstanceOf(StoreSetupError)
    expect(String(error)).toMatch(/may not work as gw_admin: .*GRANT gw_admin/)
  })

  it('says that the login does not exist', async () => {
    expect(String(await refusal('SELECT 1', 'nobody_at_all', 'SELECT 1'))).toMatch(/refuses the login/)
  })

  it('says that the schema was never made', async () => {
    const missing = createPool(database().database, {
      ...quiet,
      session: { ...adminSession, role: 'gw_missing' as 'gw_admin' },
    })
    const error = await missing.connect().catch((e: unknown) => explainConnect(e, 'gw_missing'))
    await missing.end()
    expect(String(error)).toMatch(/role gw_missing is missing: run "gatewarden migrate"/)
  })
})
