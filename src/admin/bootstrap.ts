// The first ROOT: a token of 256 bits, printed once, stored as digest, good for 15 minutes and one use.
// Guarantee: while a ROOT can call, no token but one made for breaking the glass works; both steps leave audit events.
import { instantText } from '../core/instant.ts'
import type { Micros } from '../core/time.ts'
import { digestSecret, type Pepper } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminStore, AdminTx } from './admin-store.ts'
import { ownEvent } from './audit-chain.ts'
import { refuseWrongPepper } from './pepper-proofs.ts'

/** How long a token is good. */
const tokenLifeMicros = 15 * 60 * 1_000_000

/** Octets of randomness in a token: 256 bits. */
const tokenOctets = 32

const tokenForm = /^gwb_[A-Za-z0-9_-]{43}$/

/** What making a token needs. */
export interface BootstrapContext {
  readonly store: AdminStore
  /** Of admin keys. */
  readonly pepper: Pepper
  /** Octets of a cryptographic generator. */
  random(octets: number): Uint8Array
}

/**
 * Makes a token; for a process with access to the database, never for a caller of the API.
 * @returns the token, to be shown once and kept nowhere
 * @throws RpcError BOOTSTRAP_CLOSED while there is a ROOT, unless the glass is to be broken; PEPPER_MISMATCH for a token that
 * the admin service would not know
 */
export async function issueBootstrapToken(context: BootstrapContext, breakGlass: boolean): Promise<string> {
  const token = `gwb_${Buffer.from(context.random(tokenOctets)).toString('base64url')}`
  await context.store.transact(async tx => {
    await refuseWrongPepper(tx, 'admin_keys', context.pepper)
    await tx.access.lockBootstrap()
    if (!breakGlass && (await tx.access.hasLiveRoot(tx.now))) throw closed()
    const expireAt = tx.now + tokenLifeMicros
    const digest = tokenDigest(context.pepper, token)
    await tx.access.insertBootstrapToken({ digest, breakGlass, createAt: tx.now, expireAt })
    await recordIssue(tx, breakGlass, expireAt)
    return { end: 'commit', value: undefined }
  })
  return token
}

/**
 * Uses a token up, for the rest of the transaction's life and, if that commits, for good.
 * @throws RpcError BOOTSTRAP_TOKEN_INVALID for an unknown, used or expired one alike; BOOTSTRAP_CLOSED; PEPPER_MISMATCH
 */
export async function spendBootstrapToken(tx: AdminTx, pepper: Pepper, token: string): Promise<void> {
  if (!tokenForm.test(token)) throw invalid()
  await tx.access.lockBootstrap()
  const spent = await tx.access.useBootstrapToken(tokenDigest(pepper, token), tx.now)
  if (spent === undefined) await refuseWrongPepper(tx, 'admin_keys', pepper)
  if (spent === undefined) throw invalid()
  if (!spent.breakGlass && (await tx.access.hasLiveRoot(tx.now))) throw closed()
}

function tokenDigest(pepper: Pepper, token: string): Buffer {
  return digestSecret(pepper, Buffer.from(token, 'latin1'))
}

function invalid(): RpcError {
  return new RpcError('BOOTSTRAP_TOKEN_INVALID', 'The bootstrap token is not valid, or its 15 minutes are over.')
}

function closed(): RpcError {
  return new RpcError(
    'BOOTSTRAP_CLOSED',
    'There is a ROOT already: use it, or run "gatewarden bootstrap --break-glass".',
  )
}

async function recordIssue(tx: AdminTx, breakGlass: boolean, expireAt: Micros): Promise<void> {
  const audit = ownEvent({
    organization: '',
    time: tx.now,
    action: 'IssueBootstrapToken',
    resource: 'bootstrapTokens/-',
    after: { break_glass: breakGlass, expire_time: instantText(expireAt) },
  })
  await tx.finish({ changes: [], idempotency: null, audit })
}
