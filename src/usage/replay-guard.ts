// Keeps a segment over which starts die from killing every start: while octets of an ended process are being looked at, a file
// says which; a start that finds it counts one death, and at the second the segment is set aside for people to look at.
import { join } from 'node:path'
import { isAbsent, type SpoolFiles } from './spool-files.ts'

/** The mark of what is being looked at. */
export const replayFile = 'replaying'
/** Starts that died over the same place before the segment is set aside. */
const deathsMax = 2

/** What an earlier start was reading when it died. */
interface Mark {
  readonly name: string
  readonly at: number
  readonly deaths: number
}

export class ReplayGuard {
  private readonly files: SpoolFiles
  private readonly path: string
  private readonly onFault: (error: unknown) => void
  private last: Mark | undefined

  /** @param onFault a mark could not be written or removed; reading goes on without */
  constructor(files: SpoolFiles, folder: string, onFault: (error: unknown) => void) {
    this.files = files
    this.onFault = onFault
    this.path = join(folder, replayFile)
  }

  /** Reads what earlier starts left. @returns name of a segment that must be set aside, if there is one. */
  async open(): Promise<string | undefined> {
    let text: string
    try {
      text = await this.files.readText(this.path)
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
    const match = /^(\S+) (\d+) (\d+)$/.exec(text)
    if (match === null) return undefined // a start died while it wrote the mark, not while it read
    const [, name = '', at, deaths] = match
    this.last = { name, at: Number(at), deaths: Number(deaths) + 1 }
    return this.last.deaths >= deathsMax ? name : undefined
  }

  /** Looks into octets of `name` from `at` on under the mark. Nothing waits in here: who is killed meanwhile, is killed by it. */
  during<T>(name: string, at: number, look: () => T): T {
    const deaths = this.last?.name === name && this.last.at === at ? this.last.deaths : 0
    this.attempt(() => this.files.writeTextNow(this.path, `${name} ${at} ${deaths}`))
    try {
      return look()
    } finally {
      this.attempt(() => this.files.removeNow(this.path))
    }
  }

  private attempt(change: () => void): void {
    try {
      change()
    } catch (error) {
      this.onFault(error)
    }
  }

  /** Removes the mark of a segment that was set aside. */
  async clear(): Promise<void> {
    this.last = undefined
    await this.files.remove(this.path)
  }
}
