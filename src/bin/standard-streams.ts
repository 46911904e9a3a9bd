// The standard streams of the process, written at once and whole: what could not be written is known before the command ends.
// Never touches process.stdout, which writes later, forgets failures, and changes the mode of a descriptor that others share.
import { writeSync } from 'node:fs'
import { OutputFailure } from '../cli/command.ts'
import { codeOf } from '../config/read-environment.ts'

const outDescriptor = 1
const errorDescriptor = 2

/** Writes to standard output. @throws OutputFailure */
export function writeOut(text: string): void {
  try {
    writeWhole(outDescriptor, text)
  } catch (error) {
    throw new OutputFailure(codeOf(error))
  }
}

/** Writes to standard error, as far as anybody takes it: there is no other place to complain. */
export function writeError(text: string): void {
  try {
    writeWhole(errorDescriptor, text)
  } catch {
    // Exit codes still say what happened.
  }
}

/** How long a reader that is behind is left alone before the next attempt. */
const busyMs = 5
const sleeper = new Int32Array(new SharedArrayBuffer(4))

function writeWhole(descriptor: number, text: string): void {
  const octets = Buffer.from(text)
  for (let from = 0; from < octets.length; ) {
    try {
      from += writeSync(descriptor, octets, from)
    } catch (error) {
      // A pipe that another process made non-blocking: its reader has not caught up.
      if (codeOf(error) !== 'EAGAIN') throw error
      Atomics.wait(sleeper, 0, 0, busyMs)
    }
  }
}
