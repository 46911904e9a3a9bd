// Time under the test's control: true time, the two clocks of one process, its timers and its randomness.
// One event at a time, in order of time, then of scheduling; between two events every promise has settled.
import { setImmediate as macrotask } from 'node:timers/promises'
import type { FeedClock, FeedTimers } from '../../../src/feed/feed-source.ts'

/** Longest time that passes unwatched. */
const WATCH_INTERVAL_MS = 10

interface Task {
  readonly due: number
  readonly order: number
  readonly run: () => void
}

/** Instants are milliseconds of true time. Timers follow the monotonic clock: a suspend delays them. */
export class VirtualTime implements FeedClock, FeedTimers {
  /** Wall clock at true time 0: 2026-01-01. */
  static readonly START_UNIX_MS = 1_767_225_600_000
  private trueMs = 0
  private monoMs = 5_000
  private wallShift = 0
  private order = 0
  private seed: number
  private tasks: Task[] = []
  /** Runs after every event: the place for assertions that must hold always. */
  afterEvent: () => void = () => undefined
  /** Runs when the process gives its event loop a turn. */
  onTurn: () => void = () => undefined

  constructor(seed = 1) {
    this.seed = seed
  }

  /** True time, which no process sees. */
  now(): number {
    return this.trueMs
  }

  mono(): number {
    return this.monoMs
  }

  wall(): number {
    return VirtualTime.START_UNIX_MS + this.trueMs + this.wallShift
  }

  after(delayMs: number, run: () => void): () => void {
    const task = { due: this.monoMs + delayMs, order: this.order++, run }
    this.tasks.push(task)
    return () => {
      this.tasks = this.tasks.filter(one => one !== task)
    }
  }

  async nextTurn(): Promise<void> {
    await this.sleep(0)
    this.onTurn()
  }

  sleep(ms: number): Promise<void> {
    return new Promise(resolve => this.after(ms, resolve))
  }

  /** mulberry32. */
  random(): number {
    this.seed = (this.seed + 0x6d2b79f5) | 0
    let t = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** Lets time pass, running what falls due; `afterEvent` also runs at least every 10 ms. */
  async advance(ms: number): Promise<void> {
    const until = this.monoMs + ms
    await this.settle()
    for (let next = this.nextDue(until); next !== null; next = this.nextDue(until)) {
      this.passUntil(next.due)
      this.tasks = this.tasks.filter(one => one !== next)
      next.run()
      await this.settle()
    }
    this.passUntil(until)
  }

  /** Lets time pass in small steps until something holds. @throws Error when it does not within `limitMs`. */
  async until(holds: () => boolean, limitMs = 30_000): Promise<void> {
    for (let waited = 0; !holds(); waited++) {
      if (waited >= limitMs) throw new Error(`not within ${limitMs} ms of virtual time`)
      await this.advance(1)
    }
  }

  /** The host sleeps: true time and the wall clock go on, the monotonic clock and its timers do not. */
  suspend(ms: number): void {
    this.trueMs += ms
  }

  /** The process is stopped (SIGSTOP, a stalled loop): both clocks go on, nothing runs; what fell due runs late. */
  stall(ms: number): void {
    this.pass(ms)
  }

  /** A hypervisor freezes both clocks. */
  freeze(ms: number): void {
    this.trueMs += ms
    this.wallShift -= ms
  }

  /** Somebody sets the wall clock. */
  stepWall(ms: number): void {
    this.wallShift += ms
  }

  /** Lets everything that needs no time happen. */
  async settle(): Promise<void> {
    await macrotask()
    this.afterEvent()
  }

  private passUntil(mono: number): void {
    while (this.monoMs < mono) {
      this.pass(Math.min(WATCH_INTERVAL_MS, mono - this.monoMs))
      this.afterEvent()
    }
  }

  private pass(ms: number): void {
    this.trueMs += ms
    this.monoMs += ms
  }

  private nextDue(until: number): Task | null {
    let next: Task | null = null
    for (const task of this.tasks) {
      if (task.due > until) continue
      if (next === null || task.due < next.due || (task.due === next.due && task.order < next.order)) next = task
    }
    return next
  }
}
