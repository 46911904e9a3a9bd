// What `gatewarden profile lint|show` do: profiles as files, without a server. The same function judges them at start and at
// reload.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { codeOf } from '../config/read-environment.ts'
import { denialReasons } from '../core/reason.ts'
import { type CompiledProfile, renderingOf } from '../profile/compiled-profile.ts'
import { describeProfile } from '../profile/describe.ts'
import { type Finding, formatFinding, hasErrors } from '../profile/finding.ts'
import { lintProfile } from '../profile/lint.ts'
import { CommandFailure, type ExitCode, exitFailed, exitOk, exitUsage, type Invocation, type Io } from './command.ts'
import { configOf } from './connect.ts'
import { table } from './render.ts'

/** Exit 0 clean, 1 warnings with --strict, 2 errors (profiles.md d.2). */
const exitErrors = exitUsage

function readText(file: string, io: Io): string {
  try {
    return readFileSync(resolve(io.cwd, file), 'utf8')
  } catch (error) {
    throw new CommandFailure(`${file} cannot be read (${codeOf(error)}); name a profile file.`, exitErrors)
  }
}

/** `profile lint`. */
export async function lintProfiles(invocation: Invocation, io: Io): Promise<ExitCode> {
  const inventoryFile = invocation.text('inventory')
  const inventory = inventoryFile === undefined ? {} : { inventory: readText(inventoryFile, io) }
  const results = invocation.positionals.map(file => ({
    file,
    ...lintProfile(readText(file, io), { file, ...inventory }),
  }))
  const findings = results.flatMap(result => result.findings)
  if (invocation.flag('json')) {
    const files = results.map(({ file, digest }) => ({ file, digest }))
    io.out(`${JSON.stringify({ files, findings }, null, 2)}\n`)
  } else {
    for (const finding of findings) io.out(`${formatFinding(finding)}\n`)
    io.out(`${summary(results.length, findings)}\n`)
  }
  if (hasErrors(findings)) return exitErrors
  return invocation.flag('strict') && findings.some(({ level }) => level === 'warning') ? exitFailed : exitOk
}

function summary(files: number, findings: readonly Finding[]): string {
  const count = (level: Finding['level']) => findings.filter(finding => finding.level === level).length
  const counted = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`
  return [
    counted(files, 'file'),
    counted(count('error'), 'error'),
    counted(count('warning'), 'warning'),
    counted(count('info'), 'info'),
  ].join(', ')
}

/** `profile show`. `packaged` is where the shipped profiles are. */
export async function showProfiles(packaged: string, invocation: Invocation, io: Io): Promise<ExitCode> {
  const directory = configOf(invocation, io, 'client').profiles.dir ?? packaged
  const [wanted] = invocation.positionals
  if (wanted !== undefined) {
    const file = existsSync(resolve(io.cwd, wanted)) ? wanted : join(directory, `${basename(wanted, '.yaml')}.yaml`)
    if (!existsSync(resolve(io.cwd, file))) {
      const names = filesIn(directory).map(each => basename(each, '.yaml'))
      throw new CommandFailure(`there is no profile ${wanted}; ${directory} has ${names.join(', ')}.`, exitErrors)
    }
    const compiled = load(file, io)
    io.out(invocation.flag('json') ? `${JSON.stringify(profileJson(compiled), null, 2)}\n` : describeProfile(compiled))
    return exitOk
  }
  const profiles = filesIn(directory).map(file => load(file, io))
  io.out(invocation.flag('json') ? `${JSON.stringify(profiles.map(profileJson), null, 2)}\n` : profileTable(profiles))
  return exitOk
}

function filesIn(directory: string): string[] {
  try {
    const names = readdirSync(directory)
      .filter(name => name.endsWith('.yaml'))
      .sort()
    return names.map(name => join(directory, name))
  } catch (error) {
    throw new CommandFailure(`profiles.dir is ${directory}, which cannot be read (${codeOf(error)}).`)
  }
}

function load(file: string, io: Io): CompiledProfile {
  const { findings, compiled } = lintProfile(readText(file, io), { file })
  if (compiled !== undefined) return compiled
  const errors = findings.filter(({ level }) => level === 'error').map(formatFinding)
  throw new CommandFailure([`${file} is no sound profile:`, ...errors].join('\n'), exitErrors)
}

function profileTable(profiles: readonly CompiledProfile[]): string {
  return table(
    ['NAME', 'VERSION', 'HOSTS', 'RULES', 'SCOPES', 'DIGEST'],
    profiles.map(each => [
      each.name,
      String(each.version),
      each.hosts.join(', '),
      String(each.policy.routes.rules.length),
      String(each.management.scopes.length),
      each.digest.slice(0, 12),
    ]),
  )
}

function profileJson(profile: CompiledProfile): unknown {
  const { name, version, digest, hosts, policy, management } = profile
  return {
    name,
    version,
    digest,
    hosts,
    environments: management.environments,
    scopes: management.scopes,
    rules: policy.routes.rules.map(({ method, path, host, access, mode, scopeNames }) => ({
      method,
      path,
      host,
      access,
      mode,
      scopes: scopeNames,
    })),
    denials: denialReasons.map((reason, code) => {
      const { status, grpcStatus, name: rendering, documented } = renderingOf(profile, code)
      return { reason, status, grpcStatus, rendering, documented }
    }),
  }
}
