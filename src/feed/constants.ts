// The numbers of the freshness protocol, with unit and reason, and the inequalities that its proof rests on.
// Loading this module fails when one of them does not hold: no build with a broken bound can serve.

/** Published: a check that starts this long after an acknowledged change sees it. */
export const PROMISE_MS = 10_000
/** How long a confirm counts, from the start of its cycle: survives three timed-out cycles in a row. */
export const LEASE_MS = 7_000
/** Pause between the starts of two cycles without a hint. */
export const POLL_MS = 1_000
/** Poll and slot pauses vary by this share to either side, so that sidecars do not march in step. */
export const JITTER_SHARE = 0.2
/** Client-side limit of a beat and of a read; what exceeds it loses its connection. */
export const READ_TIMEOUT_MS = 1_500
/** Client-side limit of one attempt to connect: 1 s, which the adapter keeps itself, and the statements that set up. */
export const CONNECT_TIMEOUT_MS = 2_500
/** Disagreement of the two clocks that counts as a suspend: above NTP slew, below the slack of the promise. */
export const SUSPEND_JUMP_MS = 2_000
/** Rate error of a clock over the promise: 0.5 % of 10 s. */
export const RATE_ERROR_MS = 50
/** Longest wait for us that an Envoy may be configured with. */
export const ENVOY_TIMEOUT_MAX_MS = 1_000
/** Least distance of two cycle starts that a hint can bring about: at most 10 cycles a second. */
export const HINT_SPACING_MS = 100
/** Revisions of one read, at most. */
export const PAGE_REVISIONS = 50
/** Revisions of the reads after one that timed out, until one succeeds: bulk work cannot starve a sidecar. */
export const PAGE_REVISIONS_AFTER_TIMEOUT = 1
/** Largest number of changes in one revision, enforced by the schema (W2). */
export const REVISION_CHANGES_MAX = 1_000
/** Changes applied before the event loop gets a turn: well under a millisecond of work. */
export const APPLY_SLICE_CHANGES = 128
/** Pause after the first error; doubles up to the maximum, drawn with full jitter. */
export const BACKOFF_MIN_MS = 50
export const BACKOFF_MAX_MS = 500
/** Throws in a row after which the process ends: a supervisor may help, a wedge will not. */
export const THROWS_MAX = 3
/** Wait before a load when no fleet is running, full jitter: fifty starts at once do not hit one moment. */
export const LOAD_JITTER_MS = 2_000
/** Pause before asking for a load slot again, varied by JITTER_SHARE. */
export const LOAD_SLOT_PAUSE_MS = 250
/** A load that brings nothing for this long is dead. */
export const LOAD_STALL_MS = 5_000
/** A load holds its snapshot at most this long for each started LOAD_ROWS_PER_LIMIT rows. */
export const LOAD_LIMIT_MS = 60_000
export const LOAD_ROWS_PER_LIMIT = 10_000_000
/** Slowest read whose database time is learned; half of it bounds the error. */
export const OFFSET_RTT_MAX_MS = 200
/** How long a sample of database time counts. */
export const OFFSET_WINDOW_MS = 300_000
/** A larger step of database time is believed only after OFFSET_AGREEING samples. */
export const OFFSET_STEP_MS = 1_000
export const OFFSET_AGREEING = 3
/** A larger step is never believed: one of the clocks is broken, a human decides. */
export const OFFSET_REFUSE_MS = 600_000
/** Samples kept of one window; a cycle a second and its hints need far fewer. */
export const OFFSET_SAMPLES_MAX = 512
/** Largest error of an expiry (freshness.md section 1). */
export const EXPIRY_ERROR_MS = 1_000

/** One inequality of the proof, with the text that names it. */
export interface Inequality {
  readonly name: string
  readonly holds: boolean
}

/** The inequalities, over the numbers above. */
export const inequalities: readonly Inequality[] = [
  {
    name: 'LEASE + SUSPEND_JUMP + RATE_ERROR < PROMISE',
    holds: LEASE_MS + SUSPEND_JUMP_MS + RATE_ERROR_MS < PROMISE_MS,
  },
  {
    name: 'LEASE + ENVOY_TIMEOUT_MAX + RATE_ERROR < PROMISE',
    holds: LEASE_MS + ENVOY_TIMEOUT_MAX_MS + RATE_ERROR_MS < PROMISE_MS,
  },
  {
    name: 'a late poll and three timed-out statements with their pauses fit into LEASE',
    holds:
      POLL_MS * (1 + JITTER_SHARE) + 3 * READ_TIMEOUT_MS + BACKOFF_MIN_MS + 2 * BACKOFF_MIN_MS + 4 * BACKOFF_MIN_MS <
      LEASE_MS,
  },
  {
    name: 'half the slowest provisional read is within EXPIRY_ERROR',
    holds: READ_TIMEOUT_MS / 2 < EXPIRY_ERROR_MS && OFFSET_STEP_MS <= EXPIRY_ERROR_MS,
  },
]

/** @throws Error naming the first inequality that does not hold. */
export function assertInequalities(checked: readonly Inequality[]): void {
  for (const { name, holds } of checked) if (!holds) throw new Error(`freshness constants: ${name} does not hold`)
}

assertInequalities(inequalities)
