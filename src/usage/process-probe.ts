// How this machine tells whether a process lives: on Linux by id and start time within its namespace, elsewhere not at all.
import { readFileSync, readlinkSync } from 'node:fs'
import type { ProcessProbe } from './run-owner.ts'

/** Fields 3 and 22 of /proc/<id>/stat, counted behind the name, which may hold blanks and parentheses (proc(5)). */
const stateField = 0
const startTimeField = 19
/** States of a process that has ended and that nobody has asked about yet. */
const ended = ['Z', 'X']

/** The probe of this process. */
export function createProcessProbe(): ProcessProbe {
  const started = startTimeOf('self')
  const namespace = started === undefined ? '' : namespaceOf()
  return {
    self: `${process.pid} ${started ?? ''}`,
    namespace,
    isRunning(identity) {
      const [id = '', start = ''] = identity.split(' ')
      return /^\d+$/.test(id) && startTimeOf(id) === start
    },
  }
}

function startTimeOf(id: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${id}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return ended.includes(fields[stateField] ?? '') ? undefined : fields[startTimeField]
  } catch {
    return undefined // no such process, or no /proc: not Linux
  }
}

function namespaceOf(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return ''
  }
}
