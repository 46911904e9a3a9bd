// What the figures were taken on: figures of other machines or days are no match for them.
import { availableParallelism, cpus, loadavg, release, type } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly node: string
  /** Of one minute, when the run began: a busy machine makes latencies worthless. */
  readonly load: number
  readonly date: string
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown CPU',
    cores: availableParallelism(),
    kernel: `${type()} ${release()}`,
    node: process.versions.node,
    load: loadavg()[0] ?? Number.NaN,
    date: new Date().toISOString().slice(0, 10),
  }
}
