// The peers that are built here: grpc-go by the Go toolchain, tonic by cargo. Each is built once into the cache folder and built
// again when its source changes; a toolchain that this machine lacks makes the peer absent and nothing else.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/store/package-root.ts'
import { programOnPath } from '../../test/support/program-on-path.ts'
import { runToEnd } from './bench-process.ts'

/** A program, or why there is none. */
export type Found = { readonly program: string; readonly versions: string } | { readonly absent: string }

/** A first build fetches and compiles everything it needs. */
const buildLimitMs = 15 * 60_000

const peersFolder = join(packageRoot(), 'bench/peers')
const cacheFolder = join(packageRoot(), '.cache/bench')

/** Toolchains need to know where their caches are and how they reach their registries: they get the whole environment. */
function toolEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

function sourceHash(folder: string): string {
  const hash = createHash('sha256')
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile() && entry.name !== 'Cargo.lock')
  for (const path of files.map(entry => join(entry.parentPath, entry.name)).sort())
    hash.update(path).update('\0').update(readFileSync(path))
  return hash.digest('hex').slice(0, 16)
}

async function build(
  toolchain: string,
  name: string,
  log: (line: string) => void,
  commandFor: (target: string) => readonly string[],
  programIn: (target: string) => string,
): Promise<string | { readonly absent: string }> {
  const source = join(peersFolder, name)
  const target = join(cacheFolder, `${name}-${sourceHash(source)}`)
  const program = programIn(target)
  if (existsSync(program)) return program
  if (programOnPath(toolchain) === undefined) return { absent: `no ${toolchain} on PATH` }
  log(`building ${name} with ${toolchain}, once`)
  mkdirSync(target, { recursive: true })
  try {
    await runToEnd(commandFor(target), { core: null, cwd: source, env: toolEnvironment() }, buildLimitMs)
    return program
  } catch (error) {
    return { absent: `its build failed: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** The authorizer on grpc-go. */
export async function grpcGo(log: (line: string) => void): Promise<Found> {
  const built = await build(
    'go',
    'grpc-go',
    log,
    target => ['go', 'build', '-mod=readonly', '-o', join(target, 'authorizer'), '.'],
    target => join(target, 'authorizer'),
  )
  if (typeof built !== 'string') return built
  const modules = readFileSync(join(peersFolder, 'grpc-go/go.mod'), 'utf8')
  return { program: built, versions: `grpc-go ${/google\.golang\.org\/grpc (\S+)/.exec(modules)?.[1] ?? '?'}` }
}

/** The authorizer on tonic. */
export async function tonic(log: (line: string) => void): Promise<Found> {
  const built = await build(
    'cargo',
    'tonic',
    log,
    target => ['cargo', 'build', '--release', '--quiet', '--target-dir', target],
    target => join(target, 'release/authorizer'),
  )
  if (typeof built !== 'string') return built
  return { program: built, versions: resolvedCrates() }
}

/** From the lock file that cargo wrote beside the source. */
function resolvedCrates(): string {
  const lockFile = join(peersFolder, 'tonic/Cargo.lock')
  const lock = existsSync(lockFile) ? readFileSync(lockFile, 'utf8') : ''
  const version = (name: string) => new RegExp(`name = "${name}"\\nversion = "([^"]+)"`).exec(lock)?.[1] ?? '?'
  return ['tonic', 'hyper', 'h2', 'prost', 'tokio'].map(name => `${name} ${version(name)}`).join(', ')
}
