// Remembers ids that came lately, in bounded memory: two sets that take turns, so that the oldest half is forgotten at once.
// An id that was forgotten counts as new; whoever asks must stand that.

export class RecentIds {
  private newer = new Set<string>()
  private older = new Set<string>()
  private readonly halfMax: number

  /** @param max ids kept at most; at least half of them are, once as many have come */
  constructor(max: number) {
    this.halfMax = Math.ceil(max / 2)
  }

  /** Notes an id. @returns whether it is new */
  add(id: string): boolean {
    if (this.newer.has(id) || this.older.has(id)) return false
    if (this.newer.size >= this.halfMax) {
      this.older = this.newer
      this.newer = new Set()
    }
    this.newer.add(id)
    return true
  }
}
