// CPU time of another process, all its threads, as Linux accounts it: nearly immune to what neighbours do.
// Nanoseconds from the schedstat of each thread; where the kernel has none, ticks of 10 ms from stat.
import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ of Linux on every architecture that Node runs on. */
const tickNs = 10_000_000

/** Nanoseconds that the process has run since it started. A thread that has ended no longer counts, so take differences of short times. */
export function cpuNsOf(pid: number): number {
  return schedstatNs(pid) ?? statNs(pid)
}

function schedstatNs(pid: number): number | undefined {
  let total = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readOrEmpty(`/proc/${pid}/task/${thread}/schedstat`)
    const [ran] = text.split(' ')
    if (ran === undefined || ran === '') continue
    total += Number(ran)
  }
  return total > 0 ? total : undefined
}

/** The thread may end between the listing and the reading. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return ''
    throw error
  }
}

function statNs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The name of the program, in parentheses, may hold blanks.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [fields[11], fields[12]]
  if (user === undefined || system === undefined) throw new Error(`/proc/${pid}/stat is not as expected`)
  return (Number(user) + Number(system)) * tickNs
}
