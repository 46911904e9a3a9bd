// Durations as profiles write them: a whole number and a unit, `24h`, `3600s`, `90d`.

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Whole number without leading zeros, then s, m, h or d. Seven digits of days stay exact in milliseconds. */
export const DURATION_PATTERN = /^(0|[1-9][0-9]{0,6})([smhd])$/

/** Milliseconds of a text that fits DURATION_PATTERN; undefined for any other. */
export function parseDurationMs(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text)
  if (match === null) return undefined
  const unit = match[2] as keyof typeof UNIT_MS
  return Number(match[1]) * UNIT_MS[unit]
}

/** The shortest of our spellings: `86400000` as `24h`, for people. */
export function formatDurationMs(ms: number): string {
  if (ms % UNIT_MS.h === 0 && ms > 0) return `${ms / UNIT_MS.h}h`
  if (ms % UNIT_MS.m === 0 && ms > 0) return `${ms / UNIT_MS.m}m`
  return `${ms / UNIT_MS.s}s`
}
