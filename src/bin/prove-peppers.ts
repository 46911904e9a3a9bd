// Admin's pepper files against the proofs in the database: at the start, and for as long as admin runs, since the database may
// come late, be migrated later, or be another one after a failover. Whoever has the wrong file ends: keys made under it would
// work nowhere, and keys made under the right one would be called unknown. A database that does not answer keeps nobody waiting.
import { join } from 'node:path'
import type { AdminStore } from '../admin/admin-store.ts'
import { type PepperProof, proofsOf } from '../admin/pepper-proofs.ts'
import type { Config } from '../config/config.ts'
import type { FeedTimers } from '../feed/feed-source.ts'
import type { Pepper, PepperPurpose } from '../keys/digest.ts'
import type { Log } from '../observe/log.ts'
import { StartError } from './start-error.ts'

/** What proving needs. */
export interface ProvingPorts {
  readonly store: AdminStore
  readonly apiKeys: readonly Pepper[]
  readonly adminKeys: Pepper
  readonly log: Log
  readonly timers: Pick<FeedTimers, 'after'>
  /** A file turned out to be wrong while admin ran; called once. */
  readonly onWrong: (error: StartError) => void
}

export interface Proving {
  /** No further round; resolves when the one under way has ended, at most one transaction later. */
  stop(): Promise<void>
}

/** Until the next round: after one that came to an end, and after one that did not, because there was no answer or no table. */
const againMs = 60_000
const retryMs = 5_000

/**
 * One round at once, of which `attempts` may fail (one for each server of the database), then others from time to time.
 * @throws StartError for a wrong file
 */
export async function startProving(config: Config, ports: ProvingPorts, attempts: number): Promise<Proving> {
  const { store, log, timers } = ports
  const proofs = [...proofsOf('api_keys', ports.apiKeys), ...proofsOf('admin_keys', [ports.adminKeys])]
  let stopped = false
  let running: Promise<void> = Promise.resolve()
  let cancel = (): void => undefined
  let isToldOf = ''

  /** Whether everything is proved now. @throws StartError */
  const round = async (): Promise<boolean> => {
    const verdict = await store.transact(async tx => ({ end: 'commit', value: await tx.peppers.prove(proofs) }))
    const { isKept, contradicted, written } = verdict.value
    if (contradicted[0] !== undefined) throw wrongPepper(config, contradicted[0])
    if (written.length > 0) log.info('the database knows these peppers from now on', { peppers: written.map(nameOf) })
    return isKept
  }
  const unanswered = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error)
    if (text !== isToldOf) log.warn('the peppers could not be compared with the database; it is tried again', { error })
    isToldOf = text
  }
  const wait = (delayMs: number): void => {
    if (stopped) return
    cancel = timers.after(delayMs, () => {
      running = round().then(
        isKept => wait(isKept ? againMs : retryMs),
        error => {
          if (error instanceof StartError) return ports.onWrong(error)
          unanswered(error)
          wait(retryMs)
        },
      )
    })
  }

  for (let attempt = 1; ; attempt += 1) {
    try {
      wait((await round()) ? againMs : retryMs)
      break
    } catch (error) {
      if (error instanceof StartError) throw error
      if (attempt < attempts) continue
      unanswered(error)
      wait(retryMs)
      break
    }
  }
  return {
    stop() {
      stopped = true
      cancel()
      return running
    },
  }
}

/** The sentence for a wrong file: which, where, how to mend it. */
export function wrongPepper(
  config: Config,
  { purpose, pepperId }: Pick<PepperProof, 'purpose' | 'pepperId'>,
): StartError {
  const [kind, setting] = purpose === 'api_keys' ? ['API keys', 'peppers'] : ['admin keys', 'admin.pepper']
  return new StartError(
    `${fileOf(config, purpose, pepperId)} is not pepper ${pepperId} of this database's ${kind} (setting ${setting}): ` +
      'put the file back that they were made under, or give a new pepper an id of its own; ' +
      'if the file is right, see "A pepper file with the wrong content" in docs/operations.md.',
  )
}

/** Where the settings say it is, or where `serve` keeps its own. */
function fileOf({ peppers, admin, dataDir }: Config, purpose: PepperPurpose, id: string): string {
  const given = purpose === 'api_keys' ? peppers?.find(pepper => pepper.id === id) : admin.pepper
  return given?.file ?? join(dataDir, 'peppers', id)
}

function nameOf({ purpose, pepperId }: PepperProof): string {
  return `${pepperId} of ${purpose === 'api_keys' ? 'API keys' : 'admin keys'}`
}
