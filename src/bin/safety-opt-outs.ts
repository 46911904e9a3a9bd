// Settings that take away some of the safety of their default: shown in the log line of the start and as a gauge, so that
// nobody finds out in an incident (security.md section 6).
import type { Config } from '../config/config.ts'
import type { Sample } from '../observe/metrics.ts'

interface Choice {
  readonly setting: string
  readonly value: string
  readonly safe: string
}

function choices({ check, feed }: Config): readonly Choice[] {
  return [
    { setting: 'check.own_failure', value: check.ownFailure, safe: 'denied-503' },
    { setting: 'feed.proof', value: feed.proof, safe: 'write' },
  ]
}

/** A field for the log line of a start; none where every setting is safe. */
export function safetyOptOutFields(config: Config): { readonly safetyOptOuts?: readonly string[] } {
  const taken = choices(config).filter(({ value, safe }) => value !== safe)
  return taken.length === 0 ? {} : { safetyOptOuts: taken.map(({ setting, value }) => `${setting}: ${value}`) }
}

/** The gauge: every such setting, 1 where its default is not in force. */
export function safetyOptOutSamples(config: Config): readonly Sample[] {
  return choices(config).map(({ setting, value, safe }) => ({ labels: { setting }, value: value === safe ? 0 : 1 }))
}
