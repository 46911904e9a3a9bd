// A store of usage batches that tells the join what became of each: halves that were taken for a batch are joined with it,
// and wait again where it was not stored. Where that is not known they wait too: no row is filled in twice.
import type { AccessJoin } from './als-join.ts'
import type { UsageBatch, UsageStore } from './usage-store.ts'

/** `store`, for a writer that takes halves from `join` and stores one batch at a time. */
export function joiningStore(store: UsageStore, join: Pick<AccessJoin, 'settle'>): UsageStore {
  return {
    position: (sidecar, lane) => store.position(sidecar, lane),
    forget: sidecar => store.forget(sidecar),
    lose: (sidecar, loss) => store.lose(sidecar, loss),
    close: () => store.close(),
    async store(batch: UsageBatch) {
      let stored = false
      try {
        const outcome = await store.store(batch)
        stored = outcome.kind === 'stored'
        return outcome
      } finally {
        join.settle(stored)
      }
    },
  }
}
