// The peers that are built here: grpc-go by the Go toolchain, tonic by cargo. Each is built once into the cache folder and built
// again when its source changes; a toolchain that this machine lacks makes the peer absent and nothing else.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
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
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  for (const path of files.map(entry => join(entry.parentPath, entry.name)).sort())
    hash.update(relative(folder, path)).update('\0').update(readFileSync(path))
  return hash.digest('hex').slice(0, 16)
}

/** Builds in a copy, so that nothing of it comes to lie in the tree. @returns the folder of the build */
async function build(
  name: string,
  program: string,
  command: readonly string[],
  log: (line: string) => void,
): Promise<string | { readonly absent: string }> {
  const source = join(peersFolder, name)
  const folder = join(cacheFolder, `${name}-${sourceHash(source)}`)
  if (existsSync(join(folder, program))) return folder
  const [toolchain = ''] = command
  if (programOnPath(toolchain) === undefined) return { absent: `no ${toolchain} on PATH` }
  log(`building ${name} with ${toolchain}, once`)
  mkdirSync(folder, { recursive: true })
  cpSync(source, folder, { recursive: true })
  try {
    await runToEnd(command, { core: null, cwd: folder, env: toolEnvironment() }, buildLimitMs)
    return folder
  } catch (error) {
    return { absent: `its build failed: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** The authorizer on grpc-go. */
export async function grpcGo(log: (line: string) => void): Promise<Found> {
  const program = 'authorizer'
  const folder = await build('grpc-go', program, ['go', 'build', '-mod=readonly', '-o', program, '.'], log)
  if (typeof folder !== 'string') return folder
  const modules = readFileSync(join(folder, 'go.mod'), 'utf8')
  const version = /google\.golang\.org\/grpc (\S+)/.exec(modules)?.[1] ?? '?'
  return { program: join(folder, program), versions: `grpc-go ${version}` }
}

/** The authorizer on tonic. */
export async function tonic(log: (line: string) => void): Promise<Found> {
  const program = 'target/release/authorizer'
  const folder = await build('tonic', program, ['cargo', 'build', '--release', '--quiet'], log)
  if (typeof folder !== 'string') return folder
  return { program: join(folder, program), versions: resolvedCrates(join(folder, 'Cargo.lock')) }
}

/** From the lock file that cargo wrote. */
function resolvedCrates(lockFile: string): string {
  const lock = readFileSync(lockFile, 'utf8')
  const version = (name: string) => new RegExp(`name = "${name}"\\nversion = "([^"]+)"`).exec(lock)?.[1] ?? '?'
  return ['tonic', 'hyper', 'h2', 'prost', 'tokio'].map(name => `${name} ${version(name)}`).join(', ')
}
