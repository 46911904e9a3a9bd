// Where a role keeps what it keeps: the database, the peppers, the directories.
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ConfigFault, withoutUrlCredentials } from './fault.ts'
import { unixPathLengthMax } from './listen-address.ts'
import { codeOf } from './read-environment.ts'
import { dataDirOf, type Given, nameOf, serves, unset } from './rule.ts'

/** Longest file name that is made in the data directory for a socket, with its separator. */
const socketNameLengthMax = '/.s.PGSQL.5432.lock'.length

/** Every broken rule of the places where something is kept. */
export function storageFaults(given: Given): ConfigFault[] {
  return [...storeRules(given), ...pepperRules(given), ...dataDirRules(given), ...directoryRules(given)]
}

function storeRules(given: Given): ConfigFault[] {
  if (given.role !== 'check' && given.role !== 'admin') return []
  const url = unset('database.url', 'the URL of PostgreSQL: only `serve` has a database of its own', given)
  const peppers = unset(
    'peppers',
    'the peppers of this deployment, the same in every process, as id=file; `openssl rand -hex 32` makes a content',
    given,
  )
  const pepper = given.role === 'admin' ? unset('admin.pepper.file', 'the file of the pepper of admin keys', given) : []
  return [...url, ...peppers, ...pepper]
}

/** Each pepper is a secret of its own: a second id for the first one, or admin keys under it, would pass for safety. */
function pepperRules(given: Given): ConfigFault[] {
  const { values, cwd } = given
  const adminFile = values['admin.pepper.file']
  const files = [
    ...(values.peppers ?? []).map(({ id, file }) => ({ path: 'peppers' as const, of: `pepper ${id}`, file })),
    ...(adminFile === undefined
      ? []
      : [{ path: 'admin.pepper.file' as const, of: 'the admin pepper', file: adminFile }]),
  ]
  const faults = files.flatMap(({ path, of, file }, index): ConfigFault[] => {
    const other = files.slice(0, index).find(each => resolve(cwd, each.file) === resolve(cwd, file))
    if (other === undefined) return []
    const found = `${withoutUrlCredentials(JSON.stringify(file))} for ${of} and for ${other.of}`
    return [{ name: nameOf(path, given), found, accepted: 'a file of its own for each pepper' }]
  })
  if (!given.found.has('admin.pepper.id') || given.found.has('admin.pepper.file')) return faults
  return [...faults, ...unset('admin.pepper.file', 'the file of the pepper that admin.pepper.id names', given)]
}

/** What is to be a directory, and is there, must be one. */
function directoryRules(given: Given): ConfigFault[] {
  if (given.role === 'client') return []
  const paths = serves(given.role, 'check') ? (['data_dir', 'usage.spool_dir'] as const) : (['data_dir'] as const)
  return paths.flatMap(path => {
    const directory = given.values[path]
    if (directory === undefined) return []
    const fault = directoryFault(resolve(given.cwd, directory))
    if (fault === undefined) return []
    const found = `${withoutUrlCredentials(JSON.stringify(directory))}, which ${fault}`
    return [{ name: nameOf(path, given), found, accepted: 'a directory; it is made if it is missing' }]
  })
}

function directoryFault(directory: string): string | undefined {
  try {
    const stat = statSync(directory, { throwIfNoEntry: false })
    return stat === undefined || stat.isDirectory() ? undefined : 'is no directory'
  } catch (error) {
    return `cannot be read (${codeOf(error)})`
  }
}

function dataDirRules(given: Given): ConfigFault[] {
  if (given.role === 'client') return []
  const dataDir = dataDirOf(given)
  const lengthMax = unixPathLengthMax - '/pg'.length - socketNameLengthMax
  if (Buffer.byteLength(dataDir) <= lengthMax) return []
  const accepted = `a directory whose absolute path has at most ${lengthMax} octets, because unix sockets are made in it`
  return [{ name: nameOf('data_dir', given), found: withoutUrlCredentials(JSON.stringify(dataDir)), accepted }]
}
