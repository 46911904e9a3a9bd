// One transaction on a pooled connection: committed when the work resolves, rolled back when it throws, and destroyed with
// its connection when it takes too long. A caller that gets an error from here does not know of any commit.
import type pg from 'pg'
import { sqlState } from './store-error.ts'

/** A transaction of admin, the server's own limits included (faults.md section 2). */
export const transactionLimitMs = 2500
/** A rollback does nothing; what does not answer it is broken. */
const rollbackLimitMs = 500

/** The transaction took longer than its limit; its connection was destroyed, which rolls it back unless it committed. */
export class TransactionTimeout extends Error {
  override readonly name = 'TransactionTimeout'
}

/**
 * Runs `work` between BEGIN and COMMIT.
 * @throws what `work` or the server threw, or TransactionTimeout.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  limitMs = transactionLimitMs,
): Promise<T> {
  const client = await pool.connect()
  // A connection that breaks between two statements says so by an event; the next statement fails as well.
  const broken = () => undefined
  client.on('error', broken)
  const limit = timeLimit(limitMs)
  let reusable = false
  try {
    const result = await Promise.race([limit.reached, committed(client, work)])
    reusable = true
    return result
  } catch (error) {
    reusable = await rolledBack(client, error)
    throw error
  } finally {
    limit.clear()
    client.off('error', broken)
    client.release(!reusable)
  }
}

async function committed<T>(client: pg.PoolClient, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  const result = await work(client)
  // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK, and no error.
  const end = await client.query('COMMIT')
  if (end.command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it failed unnoticed')
  return result
}

/** Whether the connection is in order again. After anything but an answer of the server it is not trusted. */
async function rolledBack(client: pg.PoolClient, error: unknown): Promise<boolean> {
  if (error instanceof TransactionTimeout) return false
  const state = sqlState(error)
  if (state?.startsWith('57P') === true || state?.startsWith('08') === true || state === '25006') return false
  const limit = timeLimit(rollbackLimitMs)
  try {
    await Promise.race([limit.reached, client.query('ROLLBACK')])
    return true
  } catch {
    return false // the connection is gone; the caller gets the first error
  } finally {
    limit.clear()
  }
}

function timeLimit(limitMs: number): { readonly reached: Promise<never>; clear(): void } {
  let timer: NodeJS.Timeout | undefined
  const reached = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TransactionTimeout(`no answer within ${limitMs} ms`)), limitMs)
  })
  return { reached, clear: () => clearTimeout(timer) }
}
