// gRPC clients of other families, built or fetched once into the cache folder: grpc-go by the Go toolchain, gRPC's C core by
// its Python package. Each prints one line of JSON of what it found.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { programOnPath } from '../support/program-on-path.ts'
import { repositoryFile } from '../support/repository-file.ts'

const run = promisify(execFile)
const fetchLimitMs = 300_000
const callLimitMs = 60_000

const grpcio = '1.85.3'

/** What a client found at an echo server. */
export interface Found {
  /** Lengths of messages, in octets, that came back right. */
  readonly lengths: readonly number[]
  /** Octets of the health reply, hex. */
  readonly health: string
  /** Names of status codes, as the client's family spells them. */
  readonly unknown: string
  readonly oversize: string
  readonly compressed: string
  /** Code and text. */
  readonly failed: readonly [code: string, text: string]
  /** Calls of many at a time that were answered right. */
  readonly concurrent: number
}

export interface ForeignClient {
  readonly name: string
  /** Why this machine cannot have it; undefined: it can. */
  readonly absent: string | undefined
  ask(address: string, method: string): Promise<Found>
}

async function foundBy(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Found> {
  const { stdout, stderr } = await run(program, [...args], { env, timeout: callLimitMs })
  process.stderr.write(stderr)
  return JSON.parse(stdout) as Found
}

/** Makes a folder of the cache once; whoever comes second finds it. */
async function once(name: string, make: (folder: string) => Promise<unknown>): Promise<string> {
  const cache = repositoryFile('.cache')
  const made = join(cache, name)
  if (existsSync(made)) return made
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'make-'))
  try {
    await make(work)
    renameSync(work, made)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return made
}

export const foreignClients: readonly ForeignClient[] = [
  {
    name: 'grpc-go',
    absent: programOnPath('go') === undefined ? 'no Go toolchain on PATH; install Go 1.26 or later' : undefined,
    async ask(address, method) {
      const cwd = repositoryFile('test/conformance/go-client')
      const source = ['main.go', 'go.mod', 'go.sum'].map(file => readFileSync(join(cwd, file)))
      const version = createHash('sha256').update(Buffer.concat(source)).digest('hex').slice(0, 16)
      const folder = await once(`conformance-go-client-${version}`, work =>
        run('go', ['build', '-mod=readonly', '-o', join(work, 'client'), '.'], { cwd, timeout: fetchLimitMs }),
      )
      return foundBy(join(folder, 'client'), [address, method])
    },
  },
  {
    name: 'grpcio (C core)',
    absent: programOnPath('python3') === undefined ? 'no python3 on PATH; install Python 3 with pip' : undefined,
    async ask(address, method) {
      const options = ['--only-binary=:all:', '--disable-pip-version-check', '--quiet', '--target']
      const folder = await once(`grpcio-${grpcio}`, work =>
        run('python3', ['-m', 'pip', 'install', ...options, work, `grpcio==${grpcio}`], { timeout: fetchLimitMs }),
      )
      const script = repositoryFile('test/conformance/python-client.py')
      return foundBy('python3', [script, address, method], { ...process.env, PYTHONPATH: folder })
    },
  },
]
