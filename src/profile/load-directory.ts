// Loads every profile of a directory at start: all of them sound and at peace with each other, or every finding at once.
import type { CompileOptions } from './compile.ts'
import type { CompiledProfile } from './compiled-profile.ts'
import { type FieldPath, type Finding, type FindingCode, findingLevels, formatPath, hasErrors } from './finding.ts'
import { type ClaimPlaces, lintProfile, type TextPlace } from './lint.ts'
import { createProfileSet, findConflicts, type ProfileConflict, type ProfileSet } from './profile-set.ts'
import { causeOf, type FileContent, readProfileFiles } from './read-files.ts'

/** A profile and the file it came from. */
export interface LoadedProfile {
  /** Base name. */
  readonly file: string
  readonly compiled: CompiledProfile
  readonly claims: ClaimPlaces
  /** Warnings and infos. */
  readonly findingsCount: number
}

export interface LoadedDirectory {
  readonly findings: readonly Finding[]
  readonly loaded: readonly LoadedProfile[]
  /** Present when there is no error. */
  readonly set?: ProfileSet
}

/** Reads, lints and compiles all `*.yaml` of a directory. Never throws: a directory that cannot be read is a finding. */
export async function loadDirectory(directory: string, compile: CompileOptions): Promise<LoadedDirectory> {
  let contents: ReadonlyMap<string, FileContent>
  try {
    contents = await readProfileFiles(directory)
  } catch (error) {
    const message = `the directory cannot be read (${causeOf(error)}); name one that holds profile files`
    return { findings: [fileFinding(directory, 'syntax', message)], loaded: [] }
  }
  if (contents.size === 0) {
    const message = 'the directory holds no *.yaml; put the profiles there or name another one'
    return { findings: [fileFinding(directory, 'syntax', message)], loaded: [] }
  }
  const findings: Finding[] = []
  const loaded: LoadedProfile[] = []
  for (const [file, content] of contents) {
    if (content.kind === 'unreadable') {
      findings.push(fileFinding(file, content.code, `the file cannot be read: ${content.cause}; mend or remove it`))
      continue
    }
    const { compiled, sound, ...result } = lintProfile(content.text, { file, compile })
    findings.push(...result.findings)
    if (compiled === undefined || sound === undefined) continue
    loaded.push({ file, compiled, claims: sound.claims, findingsCount: result.findings.length })
  }
  findings.push(...conflictFindings(loaded))
  if (hasErrors(findings)) return { findings, loaded }
  return { findings, loaded, set: createProfileSet(loaded.map(profile => profile.compiled)) }
}

/** A finding of each name or host that two profiles claim, in the later file. */
export function conflictFindings(loaded: readonly LoadedProfile[]): readonly Finding[] {
  return findConflicts(loaded.map(profile => profile.compiled)).map(conflict => {
    const later = loaded[conflict.later]
    const { path, place } = claimOf(conflict, later)
    const message = `the ${conflict.kind} \`${conflict.value}\` belongs to ${loaded[conflict.earlier]?.file ?? 'another file'} already; change one of them`
    return { ...fileFinding(later?.file ?? '', 'duplicate_field', message), field: formatPath(path), ...place }
  })
}

function claimOf(
  { kind, value }: ProfileConflict,
  profile: LoadedProfile | undefined,
): { readonly path: FieldPath; readonly place: TextPlace | undefined } {
  if (kind === 'name') return { path: ['metadata', 'name'], place: profile?.claims.name }
  const index = profile?.compiled.hosts.indexOf(value) ?? 0
  return { path: ['select', 'hosts', index], place: profile?.claims.hosts[index] }
}

function fileFinding(file: string, code: FindingCode, message: string): Finding {
  return { code, level: findingLevels[code], file, field: '', line: 1, column: 1, message }
}
