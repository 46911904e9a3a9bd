// Reads a file of a bounded size, whatever it is: a device or a pipe has no size to look at beforehand and no end.
import { closeSync, openSync, readSync } from 'node:fs'

/** Thrown for a file that is longer; `code` is that of the system for such a file. */
export class FileTooLong extends Error {
  override readonly name = 'FileTooLong'
  readonly code = 'EFBIG'
}

/** The octets of a file. @throws FileTooLong for more than `octetsMax`, Error of node:fs */
export function readBounded(file: string, octetsMax: number): Buffer {
  const descriptor = openSync(file, 'r')
  try {
    return readDescriptor(descriptor, octetsMax, file)
  } finally {
    closeSync(descriptor)
  }
}

/** The same of an open file, which stays open. */
export function readDescriptor(descriptor: number, octetsMax: number, file: string): Buffer {
  const octets = Buffer.alloc(octetsMax + 1)
  let length = 0
  for (;;) {
    const read = readSync(descriptor, octets, length, octets.length - length, null)
    if (read === 0) return octets.subarray(0, length)
    length += read
    if (length > octetsMax) throw new FileTooLong(`${file} has more than ${octetsMax} octets`)
  }
}
