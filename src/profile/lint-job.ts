// One profile text to be judged and what it came to, as plain data, so that both cross threads. Judging is lint.ts; here is
// only the form. A verdict never holds a compiled profile: numbers of names and encoded texts belong to the thread that serves them.
import { createNames } from '../core/names.ts'
import type { Finding } from './finding.ts'
import { lintProfile, type SoundProfile } from './lint.ts'

/** What lint needs to know. */
export interface LintJob {
  readonly text: string
  /** Name shown in findings. */
  readonly file: string
  /** Operations of the product, empty: none. */
  readonly inventory: string
  /** As compiling needs it, see CompileOptions. */
  readonly deploymentEnvironment: string
  readonly acceptedEnvironments: readonly string[] | null
}

export interface Verdict {
  readonly findings: readonly Finding[]
  /** Lower-case hex; null when the text could not be read as a mapping. */
  readonly digest: string | null
  /** Null when there are errors. */
  readonly sound: SoundProfile | null
}

/** Why nothing is known of a text: too much time or memory; too many others; a fault of ours; the end of the process. */
export type Unfinished = 'costly' | 'busy' | 'failed' | 'closed'

export type LintOutcome =
  | { readonly kind: 'judged'; readonly verdict: Verdict }
  | { readonly kind: 'unfinished'; readonly reason: Unfinished; readonly cause: string }

/** Judges texts without holding up the thread that asks. Never rejects. */
export type JudgeText = (job: LintJob) => Promise<LintOutcome>

/** A verdict on its way: JSON is read several times faster than a structured clone. */
export interface WireVerdict extends Omit<Verdict, 'sound'> {
  readonly sound: string | null
}

/** Judges in the calling thread. */
export function judge({ text, file, inventory, ...deployment }: LintJob): WireVerdict {
  const { findings, digest, sound } = lintProfile(text, {
    file,
    compile: { names: createNames(), ...deployment },
    ...(inventory === '' ? {} : { inventory }),
  })
  return { findings, digest, sound: sound === undefined ? null : JSON.stringify(sound) }
}

/** The verdict that was sent. */
export function verdictOf({ findings, digest, sound }: WireVerdict): Verdict {
  return { findings, digest, sound: sound === null ? null : (JSON.parse(sound) as SoundProfile) }
}
