// What `serve` keeps for itself in its data directory: peppers made on the first start, and the admin key of the command line.
// Files are 0600 from their first moment and whole or absent; a pepper is never replaced, because keys would die with it.

import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config, PepperFile } from '../config/config.ts'
import type { ConfigFault } from '../config/fault.ts'
import { type LoadedPepper, readPepper, writePrivateFile } from '../config/pepper-file.ts'
import { pepperOctets } from '../keys/digest.ts'
import { refuseFaults, StartError } from './start-error.ts'

/** Peppers of one process. */
export interface Peppers {
  /** Of API keys, the primary first. */
  readonly apiKeys: readonly LoadedPepper[]
  /** Of admin keys; null in a process that needs none. */
  readonly admin: LoadedPepper | null
}

/** Makes the data directory if it is missing. @throws StartError */
export function prepareDataDir({ dataDir }: Config): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
}

/** The same for a process that keeps nothing there but sockets, and only if it does. @throws StartError */
export function prepareSocketDir(config: Config, addresses: readonly string[]): void {
  if (addresses.some(address => dirname(address) === `unix:${config.dataDir}`)) prepareDataDir(config)
}

/** The peppers that the settings name, or those of the data directory, made if there are none. @throws StartError */
export function openPeppers(config: Config, make: boolean): Peppers {
  const apiKeys = config.peppers ?? ownPeppers(config, 'p', make)
  const ownAdmin = config.role === 'check' ? [] : ownPeppers(config, 'a', make)
  const admin = config.role === 'check' ? undefined : (config.admin.pepper ?? ownAdmin[0])
  const read = [...apiKeys, ...(admin === undefined ? [] : [admin])].map(readPepper)
  const faults = read.flatMap(result => (result.ok ? [] : [result.fault]))
  const peppers = read.flatMap(result => (result.ok ? [result.pepper] : []))
  faults.push(...sameOctets(peppers))
  refuseFaults(faults)
  return { apiKeys: peppers.slice(0, apiKeys.length), admin: peppers[apiKeys.length] ?? null }
}

/** One secret under two names is one pepper: nothing would change when the one took over from the other. */
function sameOctets(peppers: readonly LoadedPepper[]): ConfigFault[] {
  return peppers.flatMap(({ id, octets }, index) => {
    const other = peppers.slice(0, index).find(each => each.octets.equals(octets))
    if (other === undefined) return []
    const accepted = 'octets of its own for each pepper, such as those of `openssl rand -hex 32`'
    return [{ name: `pepper ${id}`, found: `the octets of pepper ${other.id}`, accepted }]
  })
}

/**
 * A pepper file of ours is called by its id, which is `p-` or `a-` and a hash of its octets: a directory that was lost and
 * made anew has another id, so keys under the lost one are recognised as such and answer 503, not "invalid key".
 */
function ownPeppers({ dataDir, peppers, admin }: Config, kind: 'p' | 'a', make: boolean): readonly PepperFile[] {
  if (kind === 'p' ? peppers !== null : admin.pepper !== null) return []
  const directory = join(dataDir, 'peppers')
  const form = new RegExp(`^${kind}-[0-9a-f]{8}$`)
  const found = existsSync(directory) ? readdirSync(directory).filter(name => form.test(name)) : []
  if (found.length > 1) {
    throw new StartError(
      `${directory} holds several peppers (${found.join(', ')}); name those in use in the setting ${kind === 'p' ? 'peppers' : 'admin.pepper'}.`,
    )
  }
  if (found.length === 0 && !make) return []
  const id = found[0] ?? makePepper(directory, kind)
  return [{ id, file: join(directory, id) }]
}

function makePepper(directory: string, kind: 'p' | 'a'): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const octets = randomBytes(pepperOctets)
  const id = `${kind}-${createHash('sha256').update(octets).digest('hex').slice(0, 8)}`
  writeWhole(join(directory, id), `${octets.toString('hex')}\n`)
  return id
}

/** Writes beside and renames, so that a full disk leaves no file rather than half of one. */
function writeWhole(file: string, content: string): void {
  const beside = `${file}.${process.pid}.new`
  rmSync(beside, { force: true })
  try {
    writePrivateFile(beside, content)
    renameSync(beside, file)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
}

/** The file with the admin key that `serve` made. */
export function adminKeyFile({ dataDir }: Config): string {
  return join(dataDir, 'admin.key')
}

/** Keeps the admin key. */
export function keepAdminKey(config: Config, secret: string): void {
  writeWhole(adminKeyFile(config), `${secret}\n`)
}
