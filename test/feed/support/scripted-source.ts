// The way to a scripted server: latency both ways, lost statements, lost and late replies, refused connections, replies
// changed on the way. A statement sees the server's state at the moment it arrives there.
import type {
  BeatReport,
  FeedConnection,
  FeedPage,
  FeedSource,
  LoadHead,
  LoadSink,
} from '../../../src/feed/feed-source.ts'
import type { ScriptedServer } from './scripted-server.ts'
import type { VirtualTime } from './virtual-time.ts'

export type Step = 'connect' | 'beat' | 'read' | 'load' | 'leave'

/** One way of one step, milliseconds; `out` passes before the server acts. */
interface Latency {
  out: number
  back: number
}

export class ScriptedSource implements FeedSource {
  /** Whom the address leads to; connections made before stay where they are. */
  server: ScriptedServer
  readonly latency: Record<Step, Latency> = {
    connect: { out: 0, back: 1 },
    beat: { out: 0.5, back: 0.5 },
    read: { out: 0.5, back: 0.5 },
    load: { out: 0.5, back: 0.5 },
    leave: { out: 0.5, back: 0.5 },
  }
  /** Steps whose statement never arrives (`out`) or whose reply never returns (`back`). */
  readonly lost: Record<Step, 'out' | 'back' | null> = {
    connect: null,
    beat: null,
    read: null,
    load: null,
    leave: null,
  }
  refuses = false
  /** Pause between two slices of a load and how many keys one has. */
  slice = { pauseMs: 1, apiKeys: 2 }
  /** Load slices after which nothing more comes; null: all come. */
  loadStopsAfter: number | null = null
  /** Changes a page on its way back. */
  onPage: (page: FeedPage) => FeedPage = page => page
  /** Runs when a statement has been executed, before its reply travels. */
  onExecuted: (step: Step) => void = () => undefined
  readonly connections: ScriptedConnection[] = []
  readonly count: Record<Step, number> = { connect: 0, beat: 0, read: 0, load: 0, leave: 0 }
  readonly pageSizes: number[] = []
  readonly reports: BeatReport[] = []
  readonly time: VirtualTime

  constructor(time: VirtualTime, server: ScriptedServer) {
    this.time = time
    this.server = server
  }

  connect(onHint: () => void): Promise<FeedConnection> {
    return this.pass('connect', () => {
      if (this.refuses) throw new Error('connection refused')
      const connection = new ScriptedConnection(this, this.server, onHint)
      this.connections.push(connection)
      return connection
    })
  }

  /** Sends a hint to every connection that lives. */
  hint(): void {
    for (const connection of this.connections) if (!connection.destroyed) connection.onHint()
  }

  /** Runs `task` once, when the next statement of this kind has been executed and before its reply travels. */
  afterNext(step: Step, task: () => void): void {
    this.onExecuted = executed => {
      if (executed !== step) return
      this.onExecuted = () => undefined
      task()
    }
  }

  open(): number {
    return this.connections.filter(connection => !connection.destroyed).length
  }

  async pass<T>(step: Step, execute: () => T): Promise<T> {
    this.count[step]++
    const { out, back } = this.latency[step]
    await this.time.sleep(out)
    if (this.lost[step] === 'out') return new Promise<never>(() => undefined)
    const result = execute()
    this.onExecuted(step)
    await this.time.sleep(back)
    return this.lost[step] === 'back' ? new Promise<never>(() => undefined) : result
  }
}

/** Replies also arrive after `destroy`, which is harsher than a real driver. */
export class ScriptedConnection implements FeedConnection {
  destroyed = false
  usedAfterDestroy = false
  readonly onHint: () => void
  private readonly source: ScriptedSource
  private readonly server: ScriptedServer

  constructor(source: ScriptedSource, server: ScriptedServer, onHint: () => void) {
    this.source = source
    this.server = server
    this.onHint = onHint
  }

  async beat(report: BeatReport): Promise<ReadonlyMap<string, number>> {
    this.use()
    this.source.reports.push(report)
    const live = await this.source.pass('beat', () => (this.server.isolated ? null : this.server.live))
    return live ?? new Promise<never>(() => undefined)
  }

  async read(applied: bigint, witness: bigint, pageRevisions: number): Promise<FeedPage> {
    this.use()
    this.source.pageSizes.push(pageRevisions)
    return this.source.onPage(await this.source.pass('read', () => this.server.page(applied, witness, pageRevisions)))
  }

  async load(sink: LoadSink): Promise<LoadHead | null> {
    this.use()
    const snapshot = await this.source.pass('load', () => (this.server.loadSlots === 0 ? null : this.server.snapshot()))
    if (snapshot === null) return null
    sink.expect(snapshot.apiKeys.length)
    sink.organizations(snapshot.organizations)
    let slices = 0
    for (let at = 0; at < snapshot.apiKeys.length; at += this.source.slice.apiKeys) {
      if (slices++ === this.source.loadStopsAfter) return new Promise<never>(() => undefined)
      await this.source.time.sleep(this.source.slice.pauseMs)
      sink.apiKeys(snapshot.apiKeys.slice(at, at + this.source.slice.apiKeys))
    }
    return snapshot.head
  }

  async leave(): Promise<void> {
    this.use()
    await this.source.pass('leave', () => undefined)
  }

  destroy(): void {
    this.destroyed = true
  }

  private use(): void {
    if (this.destroyed) this.usedAfterDestroy = true
  }
}
