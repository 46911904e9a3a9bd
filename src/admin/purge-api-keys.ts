// Purges deleted API keys when their time has come: a tombstone stays, the rest of the row is gone (admin-api.md section 3).
// Each transaction takes keys of one organization: rows, one audit row and one revision commit together or not at all.
import type { AdminStore, AdminTx } from './admin-store.ts'
import type { PurgedApiKeys } from './api-key-rows.ts'
import { ownEvent } from './audit-chain.ts'
import { apiKeyName, organizationName } from './resource-name.ts'

/** Keys of one transaction: the head of the feed is locked for a short time only. */
export const purgePortionKeys = 500
/** Transactions of one round; what is left waits for the next. */
const purgePortionsMax = 100

/** One round. `stopped` is asked between transactions. Resolves to the number of keys that were purged. @throws StoreFault */
export async function purgeApiKeys(store: AdminStore, stopped: () => boolean): Promise<number> {
  let purged = 0
  for (let portion = 0; portion < purgePortionsMax && !stopped(); portion++) {
    const { value } = await store.transact(async tx => {
      const taken = await tx.apiKeys.purgeDue(purgePortionKeys)
      if (taken === null) return { end: 'rollback', value: 0 }
      await record(tx, taken)
      return { end: 'commit', value: taken.keys.length }
    })
    if (value === 0) break
    purged += value
  }
  return purged
}

function record(tx: AdminTx, { organization, keys }: PurgedApiKeys): Promise<bigint> {
  const audit = ownEvent({
    organization,
    time: tx.now,
    action: 'PurgeApiKeys',
    resource: organizationName(organization),
    after: { purged: keys.map(({ id }) => apiKeyName(organization, id)) },
  })
  const changes = keys.map(({ digest }) => ({ kind: 'api_key', digest }) as const)
  return tx.finish({ changes, idempotency: null, audit })
}
