// The first admin key: `gatewarden bootstrap` prints a token for it, `serve` makes it for itself.
// A secret is returned once, to be shown or kept in a 0600 file; nothing of it is logged.
import { randomBytes, randomUUID } from 'node:crypto'
import { type AccessContext, accessAdmin } from '../admin/access-admin.ts'
import { issueBootstrapToken } from '../admin/bootstrap.ts'
import type { LoadedPepper } from '../config/pepper-file.ts'
import { AdminKey } from '../gen/gatewarden/admin/v1/access_admin.ts'
import { RpcError } from '../rpc/errors.ts'
import { createAdminStore } from '../store/admin-store.ts'
import type { Database } from '../store/connection.ts'
import { adminSession, createPool } from '../store/pool.ts'
import { StartError } from './start-error.ts'

/** How long the key that `serve` makes for itself is good, seconds: the longest that is allowed. */
const ownKeySeconds = 365n * 86_400n
/** `serve` talks to a database of its own: anything slower than this is broken. */
const deadlineMs = 10_000

/**
 * Makes a token for `gatewarden bootstrap complete`.
 * @throws StartError while there is a ROOT; RpcError PEPPER_MISMATCH for a pepper that the database contradicts
 */
export async function makeBootstrapToken(
  database: Database,
  adminPepper: LoadedPepper,
  breakGlass: boolean,
): Promise<string> {
  const pool = createPool(database, { session: adminSession, connectionsMax: 1, onIdleError: () => undefined })
  const pepper = { id: adminPepper.id, bytes: adminPepper.octets }
  try {
    const context = { store: createAdminStore(pool), pepper, random: (octets: number) => randomBytes(octets) }
    return await issueBootstrapToken(context, breakGlass)
  } catch (error) {
    if (error instanceof RpcError && error.reason === 'BOOTSTRAP_CLOSED') throw new StartError(error.message, 1)
    throw error
  } finally {
    await pool.end()
  }
}

/** Makes the first admin key and returns its secret; undefined: there is a ROOT already. */
export async function makeOwnAdminKey(access: AccessContext, nowUnixMs: number): Promise<string | undefined> {
  let token: string
  try {
    token = await issueBootstrapToken(access, false)
  } catch (error) {
    if (error instanceof RpcError && error.reason === 'BOOTSTRAP_CLOSED') return undefined
    throw error
  }
  const expireTime = { seconds: BigInt(Math.floor(nowUnixMs / 1000)) + ownKeySeconds - 60n, nanos: 0 }
  const value: AdminKey = { ...AdminKey.create({}), displayName: 'gatewarden serve', expireTime }
  const call = {
    callId: randomUUID(),
    sourceAddress: '',
    deadlineUnixMs: nowUnixMs + deadlineMs,
    signal: AbortSignal.timeout(deadlineMs),
    header: () => undefined,
  }
  const { secret } = await accessAdmin(access).completeBootstrap({ token, root: { $case: 'adminKey', value } }, call)
  return secret
}
