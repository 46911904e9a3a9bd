// Counts decisions by profile and code: one addition to a typed array a check, nothing that can fail or allocate.
// Names of profiles and codes are joined when somebody reads, not when somebody counts.

/** Profiles that are counted apart; a process with more counts the rest together. */
const profilesMax = 256
/** Codes a profile can have: denial reasons, and allow in the last place. */
const codesMax = 32

/** Counters of one process. */
export class DecisionCounts {
  private readonly counts = new Float64Array((profilesMax + 1) * codesMax)
  private readonly allowCode: number

  /** `allowCode`: the code of an allow, far outside the codes of reasons. */
  constructor(allowCode: number) {
    this.allowCode = allowCode
  }

  /** Counts one decision. `profile` is the number of its name; anything else (no profile matched) is counted apart. */
  add(profile: number, code: number): void {
    const row = profile >= 0 && profile < profilesMax ? profile : profilesMax
    const column = code === this.allowCode ? codesMax - 1 : code >= 0 && code < codesMax - 1 ? code : 0
    const at = row * codesMax + column
    this.counts[at] = (this.counts[at] ?? 0) + 1
  }

  /** Calls `visit` for every count above 0; `profile` is null for decisions without one. */
  forEach(visit: (profile: number | null, code: number, count: number) => void): void {
    this.counts.forEach((count, at) => {
      if (count === 0) return
      const row = Math.floor(at / codesMax)
      const column = at % codesMax
      visit(row === profilesMax ? null : row, column === codesMax - 1 ? this.allowCode : column, count)
    })
  }
}
