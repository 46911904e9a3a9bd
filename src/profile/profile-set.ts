// The profiles that a process serves, as one immutable value: found by name or by host, swapped as one reference.
// A name or host belongs to at most one profile; there is no first match.
import type { CompiledProfile } from './compiled-profile.ts'

export interface ProfileSet {
  /** In the order of their files. */
  readonly profiles: readonly CompiledProfile[]
  byName(name: string): CompiledProfile | undefined
  /** `host` is canonical: lower case, without port and final dot. */
  byHost(host: string): CompiledProfile | undefined
}

/** What two profiles both claim. */
export interface ProfileConflict {
  readonly kind: 'name' | 'host'
  /** The name or host. */
  readonly value: string
  /** Positions in the list of profiles: the later one is at fault. */
  readonly earlier: number
  readonly later: number
}

/** Every name and host that a later profile claims although an earlier one has it. */
export function findConflicts(profiles: readonly CompiledProfile[]): readonly ProfileConflict[] {
  const owners = { name: new Map<string, number>(), host: new Map<string, number>() }
  const conflicts: ProfileConflict[] = []
  const claim = (kind: 'name' | 'host', value: string, later: number) => {
    const earlier = owners[kind].get(value)
    if (earlier === undefined) owners[kind].set(value, later)
    else if (earlier !== later) conflicts.push({ kind, value, earlier, later })
  }
  for (const [index, profile] of profiles.entries()) {
    claim('name', profile.name, index)
    for (const host of profile.hosts) claim('host', host, index)
  }
  return conflicts
}

/** @throws Error when two profiles claim one name or host; ask `findConflicts` before. */
export function createProfileSet(profiles: readonly CompiledProfile[]): ProfileSet {
  const [conflict] = findConflicts(profiles)
  if (conflict !== undefined) throw new Error(`two profiles have the ${conflict.kind} ${conflict.value}`)
  const names = new Map(profiles.map(profile => [profile.name, profile]))
  const hosts = new Map(profiles.flatMap(profile => profile.hosts.map(host => [host, profile] as const)))
  return Object.freeze({
    profiles: Object.freeze([...profiles]),
    byName: (name: string) => names.get(name),
    byHost: (host: string) => hosts.get(host),
  })
}
