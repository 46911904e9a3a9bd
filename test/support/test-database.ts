// A database for a suite, by vitest's hooks: made before its tests, dropped after them; the cluster ends with the file.
import { afterAll, beforeAll } from 'vitest'
import { startTestCluster, type TestCluster, type TestDatabase } from './postgres.ts'

let cluster: Promise<TestCluster> | undefined
let users = 0

/**
 * Registers the hooks; call it at the top of a file or of a `describe`.
 * @returns a function that gives the database inside hooks and tests.
 */
export function useTestDatabase(kind: 'migrated' | 'empty' = 'migrated'): () => TestDatabase {
  let database: TestDatabase | undefined
  beforeAll(async () => {
    users += 1
    cluster ??= startTestCluster()
    database = await (await cluster).createDatabase(kind)
  })
  afterAll(async () => {
    await database?.drop()
    users -= 1
    if (users > 0) return
    const last = cluster
    cluster = undefined
    await (await last)?.stop()
  })
  return () => {
    if (database === undefined) throw new Error('the test database exists only inside hooks and tests')
    return database
  }
}
