// Keeps served profiles in step with their files. A sound change replaces one profile as one reference; anything else — a syntax
// error, an empty file, a directory in its place, a file that is gone — leaves the last good profile in service and is told.
// Content is polled, because watchers follow inodes and miss swapped mounts; change events only make the next look come sooner.
// A content counts once two looks in a row saw it, so that a file being written is not judged half-way. It is judged elsewhere:
// here a profile is only compiled that has no error, and that in a turn of the event loop of its own.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type CompileOptions, compileProfile } from './compile.ts'
import { type Finding, formatFinding } from './finding.ts'
import type { JudgeText, Verdict } from './lint-job.ts'
import { conflictFindings, type LoadedProfile } from './load-directory.ts'
import { createProfileSet, type ProfileSet } from './profile-set.ts'
import { causeOf, contentDigest, type FileContent, readProfileFiles } from './read-files.ts'

/** Milliseconds between looks: a changed file is served within a second, at the cost of a few small reads. */
export const POLL_MS = 500
/** Milliseconds between the two looks that must agree: longer than writing a few KiB takes. */
export const SETTLE_MS = 100
/** Looks after which a content that could not be judged is judged again: a minute of them. */
const RETRY_LOOKS = 120
/** Findings that a status tells of one file: enough to begin with, and short enough for one line of a log. */
export const FINDINGS_TOLD_MAX = 20

export interface Timers {
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(handle: unknown): void
}

/** Something that calls back when the directory may have changed; it may miss changes. */
export type ChangeHint = (directory: string, changed: () => void) => { close(): void }

export interface WatchOptions {
  readonly directory: string
  readonly compile: CompileOptions
  /** Must not hold up this thread. */
  readonly judge: JudgeText
  /** What `loadDirectory` found at start. */
  readonly initial: readonly LoadedProfile[]
  /** Called with the new set, synchronously after the swap. */
  readonly onSwap: (set: ProfileSet) => void
  /** Called when the status of a file changed: for the log. */
  readonly onStatus: (status: ProfileStatus) => void
  readonly timers: Timers
  readonly hint?: ChangeHint
  /** Defaults: POLL_MS and SETTLE_MS. */
  readonly pollMs?: number
  readonly settleMs?: number
}

/** What is served of one file, and whether its newest content was refused. */
export interface ProfileStatus {
  /** Base name. */
  readonly file: string
  /** Null for a new file that was never sound. */
  readonly name: string | null
  readonly version: number | null
  /** Of what is served, not of what lies on disk. */
  readonly digest: string | null
  /** Warnings and infos of what is served. */
  readonly findingsCount: number
  /** Metric `config_reload_failed`. */
  readonly failed: boolean
  /** Errors of the refused content, one a line, the first FINDINGS_TOLD_MAX of them; null when it is served. */
  readonly lastError: string | null
}

export interface ProfileWatch {
  current(): ProfileSet
  status(): readonly ProfileStatus[]
  /** Looks now, and again until nothing is unsettled; for tests and for a reload signal. */
  refresh(): Promise<void>
  /** Stops; resolves when no look is under way. */
  close(): Promise<void>
}

/** Starts watching. The first look comes after one poll interval. */
export function watchProfiles(options: WatchOptions): ProfileWatch {
  return new Watch(options)
}

interface FileState {
  served: LoadedProfile | null
  /** Key of the content that was last judged. */
  judged: string
  /** Key of a content seen once. */
  pending: string | null
  /** Sound, but at odds with another file; tried again after each change. */
  candidate: LoadedProfile | null
  error: string | null
  /** Looks until the judged content is judged again; 0: never. */
  retryLooks: number
}

class Watch implements ProfileWatch {
  private readonly options: WatchOptions
  private readonly files = new Map<string, FileState>()
  private readonly hint: { close(): void } | undefined
  private set: ProfileSet
  private timer: unknown
  private looking: Promise<void> | undefined
  private closed = false

  constructor(options: WatchOptions) {
    this.options = options
    for (const loaded of options.initial) {
      // Judged by text, so that the first look finds what changed between start and now.
      this.files.set(loaded.file, { ...newFile(), served: loaded, judged: contentDigest(loaded.compiled.yaml) })
    }
    this.set = createProfileSet(options.initial.map(profile => profile.compiled))
    this.hint = options.hint?.(options.directory, () => {
      // While a content settles, its second look must not come early.
      if (!this.isUnsettled()) this.schedule(0)
    })
    this.schedule(options.pollMs ?? POLL_MS)
  }

  current(): ProfileSet {
    return this.set
  }

  status(): readonly ProfileStatus[] {
    return [...this.files].map(([file, state]) => statusOf(file, state))
  }

  async refresh(): Promise<void> {
    do await this.lookOnce()
    while (!this.closed && this.isUnsettled())
  }

  async close(): Promise<void> {
    this.closed = true
    this.hint?.close()
    this.options.timers.clearTimeout(this.timer)
    await this.looking
  }

  private schedule(ms: number): void {
    if (this.closed) return
    this.options.timers.clearTimeout(this.timer)
    this.timer = this.options.timers.setTimeout(() => void this.lookOnce(), ms)
  }

  /** A look of its own, after the one under way; sets the timer for the next. */
  private lookOnce(): Promise<void> {
    const next = (this.looking ?? Promise.resolve())
      .then(() => this.look())
      .finally(() => {
        if (this.looking === next) this.looking = undefined
        this.schedule(this.isUnsettled() ? (this.options.settleMs ?? SETTLE_MS) : (this.options.pollMs ?? POLL_MS))
      })
    this.looking = next
    return next
  }

  private isUnsettled(): boolean {
    return [...this.files.values()].some(state => state.pending !== null)
  }

  /** One look at every file. Never rejects. */
  private async look(): Promise<void> {
    let contents: ReadonlyMap<string, FileContent>
    let absent = 'the file is gone'
    try {
      contents = await readProfileFiles(this.options.directory)
    } catch (error) {
      contents = new Map()
      absent = `the directory cannot be read (${causeOf(error)})`
    }
    if (this.closed) return
    const before = new Map(this.status().map(status => [status.file, status]))
    for (const file of new Set([...this.files.keys(), ...contents.keys()])) {
      await this.consider(file, contents.get(file) ?? { kind: 'unreadable', code: 'syntax', cause: absent })
      if (this.closed) return
      const state = this.files.get(file)
      if (!contents.has(file) && state?.served === null && state.pending === null) this.files.delete(file)
    }
    this.applyCandidates()
    for (const status of this.status()) {
      // Of a new file nothing is known before it is judged.
      if (status.digest === null && status.lastError === null) continue
      const earlier = before.get(status.file)
      if (earlier?.lastError !== status.lastError || earlier.digest !== status.digest) this.options.onStatus(status)
    }
  }

  private async consider(file: string, content: FileContent): Promise<void> {
    const state = this.files.get(file) ?? newFile()
    this.files.set(file, state)
    const key = content.kind === 'text' ? content.digest : `unreadable ${content.cause}`
    if (key === state.judged) {
      state.pending = null
      if (state.retryLooks > 0 && --state.retryLooks === 0) await this.judge(file, state, content)
    } else if (key !== state.pending) {
      state.pending = key
    } else {
      state.pending = null
      state.judged = key
      await this.judge(file, state, content)
    }
  }

  /** Finds out what the content is. What is told of the file stays until that is known. */
  private async judge(file: string, state: FileState, content: FileContent): Promise<void> {
    state.candidate = null
    state.retryLooks = 0
    if (content.kind === 'unreadable') {
      state.error = `${file}: ${content.cause}; the last good profile stays in service until the file is mended`
      return
    }
    const { text } = content
    if (text === state.served?.compiled.yaml) {
      state.error = null
      return
    }
    const { deploymentEnvironment, acceptedEnvironments } = this.options.compile
    const outcome = await this.options.judge({ text, file, inventory: '', deploymentEnvironment, acceptedEnvironments })
    if (outcome.kind === 'unfinished') {
      state.retryLooks = RETRY_LOOKS
      state.error = `${file}: it could not be judged: ${outcome.cause}; shorten or simplify it, the last good profile stays in service (it is judged again in a minute)`
      return
    }
    await nextTurn()
    const candidate = this.compile(file, text, outcome.verdict, state.served?.compiled.name)
    if (typeof candidate === 'string') state.error = candidate
    else state.candidate = candidate
    await nextTurn()
  }

  /** The profile ready to be served, or why it is not. Never throws. */
  private compile(
    file: string,
    text: string,
    verdict: Verdict,
    servedName: string | undefined,
  ): LoadedProfile | string {
    const { findings, digest, sound } = verdict
    if (sound === null || digest === null) return told(findings.filter(finding => finding.level === 'error'))
    const { name } = sound.document.metadata
    if (servedName !== undefined && servedName !== name) {
      return `${file}: \`metadata.name\` changed from ${servedName} to ${name}; restart to rename a profile`
    }
    try {
      const compiled = compileProfile(sound.document, { yaml: text, digest }, this.options.compile)
      return { file, compiled, claims: sound.claims, findingsCount: findings.length }
    } catch (error) {
      return `${file}: it has no error but cannot be compiled: ${causeOf(error)}; tell who maintains this program`
    }
  }

  /** Swaps in every candidate that is at peace with what is served, until none is left or the rest is at odds. */
  private applyCandidates(): void {
    let changed = false
    for (let progress = true; progress; ) {
      progress = false
      for (const state of this.files.values()) {
        if (state.candidate === null) continue
        const conflicts = conflictFindings(this.servedWith(state.candidate))
        state.error = conflicts.length === 0 ? null : told(conflicts)
        if (conflicts.length > 0) continue
        state.served = state.candidate
        state.candidate = null
        progress = changed = true
      }
    }
    if (!changed) return
    this.set = createProfileSet([...this.files.values()].flatMap(state => state.served?.compiled ?? []))
    this.options.onSwap(this.set)
  }

  /** What would be served: the candidate stands last, so that a conflict is its own. */
  private servedWith(candidate: LoadedProfile): readonly LoadedProfile[] {
    const others = [...this.files.values()].flatMap(({ served }) => served ?? [])
    return [...others.filter(({ file }) => file !== candidate.file), candidate]
  }
}

function newFile(): FileState {
  return { served: null, judged: '', pending: null, candidate: null, error: null, retryLooks: 0 }
}

/** One finding a line. */
function told(findings: readonly Finding[]): string {
  const lines = findings.slice(0, FINDINGS_TOLD_MAX).map(formatFinding)
  const more = findings.length - lines.length
  return [...lines, ...(more > 0 ? [`and ${more} more; \`gatewarden profile lint\` shows all`] : [])].join('\n')
}

function statusOf(file: string, state: FileState): ProfileStatus {
  return {
    file,
    name: state.served?.compiled.name ?? null,
    version: state.served?.compiled.version ?? null,
    digest: state.served?.compiled.digest ?? null,
    findingsCount: state.served?.findingsCount ?? 0,
    failed: state.error !== null,
    lastError: state.error,
  }
}
