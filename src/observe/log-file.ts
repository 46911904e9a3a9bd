// Where log lines go: a file descriptor, written from another thread so that a stuck reader holds nobody up.
// What does not fit the bound is dropped and counted; a broken pipe silences the log and harms nothing else.
import pino from 'pino'
import type { LogSink } from './log.ts'

/** Lines waiting to be written, in octets; a reader that is further behind loses lines. */
const backlogMax = 1_048_576

export interface LogFile extends LogSink {
  /** Lines lost to a slow or gone reader. */
  readonly dropped: () => number
  /** Writes what is waiting; used once before the process ends. */
  flush(): void
}

/** Opens the log on a descriptor, usually 2. */
export function openLogFile(descriptor: number): LogFile {
  const stream = pino.destination({ fd: descriptor, sync: false, maxLength: backlogMax })
  let dropped = 0
  let broken = false
  stream.on('drop', () => {
    dropped += 1
  })
  stream.on('error', () => {
    broken = true
  })
  return {
    write: line => {
      if (broken) dropped += 1
      else stream.write(line)
    },
    dropped: () => dropped,
    flush: () => {
      if (broken) return
      try {
        stream.flushSync()
      } catch {
        // The reader is gone, or the descriptor would block at the very end: the process ends either way.
        broken = true
      }
    },
  }
}
