// Which core each end of the bench runs on: what is measured has one to itself where the machine has enough of them.
// Without `taskset` (Linux, util-linux) nothing is pinned, and the report says so.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { programOnPath } from '../../test/support/program-on-path.ts'

export interface Cores {
  /** Null: not pinned. */
  readonly server: number | null
  readonly client: number | null
  readonly envoy: number | null
}

/** Cores that this process may use, e.g. of `0-3,6`. */
function allowed(): readonly number[] {
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  return list.split(',').flatMap(range => {
    const [from = 0, to = from] = range.split('-').map(Number)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
}

/** Straight at the server: it has a core, everything else another. Read before anything is pinned. */
export function planCores(): { readonly direct: Cores; readonly behindEnvoy: Cores } {
  const cores = allowed()
  const [first = 0, second = first, third = second] = cores
  if (programOnPath('taskset') === undefined || cores.length < 2) {
    const none = { server: null, client: null, envoy: null }
    return { direct: none, behindEnvoy: none }
  }
  return {
    direct: { server: first, client: third, envoy: null },
    // On two cores the authorizer shares one with the client: Envoy is what is saturated.
    behindEnvoy: { envoy: first, server: second, client: third },
  }
}

/** Moves a process with all its threads; what it starts later follows. */
export function pin(pid: number, core: number | null): void {
  if (core !== null) execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' })
}

/** A command that runs pinned from its first instruction, so that it sees one core and starts as many threads. */
export function pinned(command: readonly string[], core: number | null): readonly string[] {
  return core === null ? command : ['taskset', '-c', String(core), ...command]
}
