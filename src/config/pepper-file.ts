// Reads peppers from files and makes them on the first start of `serve`.
// A pepper file that others may read is refused; the octets are returned once and are never part of an error.

import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, openSync, writeSync } from 'node:fs'
import type { PepperFile } from './config.ts'
import type { ConfigFault } from './fault.ts'
import { FileTooLong, readDescriptor } from './read-bounded.ts'
import { codeOf } from './read-environment.ts'

/** A pepper in memory: 32 octets under an id. */
export interface LoadedPepper {
  readonly id: string
  readonly octets: Buffer
}

export type PepperResult =
  | { readonly ok: true; readonly pepper: LoadedPepper }
  | { readonly ok: false; readonly fault: ConfigFault }

const accepted = 'a file of 64 hex digits (32 octets), mode 0400 or 0600'
const form = /^[0-9a-fA-F]{64}\n?$/
/** Any permission of group or others. */
const othersMask = 0o077
/** More than this is no pepper file: it is not read. */
const sizeMax = 1024

/** Reads one pepper. */
export function readPepper({ id, file }: PepperFile): PepperResult {
  const text = readPrivateFile(file)
  if (!text.ok) return { ok: false, fault: { name: `pepper ${id}`, found: text.found, accepted } }
  if (!form.test(text.content)) {
    return { ok: false, fault: { name: `pepper ${id}`, found: `${file}, which is not 64 hex digits`, accepted } }
  }
  return { ok: true, pepper: { id, octets: Buffer.from(text.content.slice(0, 64), 'hex') } }
}

/** Reads a small file that only its owner may read; `found` says what is wrong, never what is in it. */
export function readPrivateFile(
  file: string,
): { readonly ok: true; readonly content: string } | { readonly ok: false; readonly found: string } {
  let descriptor: number | undefined
  try {
    descriptor = openSync(file, 'r')
    const { mode } = fstatSync(descriptor)
    if ((mode & othersMask) !== 0) {
      return {
        ok: false,
        found: `${file} with mode ${(mode & 0o777).toString(8).padStart(4, '0')}, readable by others`,
      }
    }
    return { ok: true, content: readDescriptor(descriptor, sizeMax, file).toString('utf8') }
  } catch (error) {
    if (error instanceof FileTooLong) return { ok: false, found: error.message }
    return { ok: false, found: `${file}, which cannot be read (${codeOf(error)})` }
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** Writes a file that only its owner may read, and makes sure it is on disk. @throws Error when it exists already. */
export function writePrivateFile(file: string, content: string): void {
  const descriptor = openSync(file, 'wx', 0o600)
  try {
    writeSync(descriptor, content)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Makes a new pepper file. @throws Error when it exists already. */
export function makePepperFile(file: string): void {
  writePrivateFile(file, `${randomBytes(32).toString('hex')}\n`)
}
