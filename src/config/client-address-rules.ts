// A mode of the client address has the members that it reads, and no others.
import type { ConfigFault } from './fault.ts'
import { type Given, nameOf, serves, unset } from './rule.ts'
import type { SettingValues } from './settings.ts'

/** The five modes and when to take which: ends the start of a check without one. */
const modeGuide = [
  'one of five modes, by how Envoy is told the client address:',
  '    grpc-metadata      Envoy sends it with each check, as envoy/envoy.yaml does (recommended)',
  '    trusted-header     Envoy writes it to a header of client_address.header, overwriting what clients send',
  '    xff-hops           behind client_address.hops trusted proxies; counts x-forwarded-for from the right',
  '    xff-trusted-cidrs  behind proxies in client_address.trusted_cidrs; walks x-forwarded-for from the right',
  '    source-address     Envoy is the first hop, or gets the PROXY protocol',
].join('\n')

/** Every broken rule of `client_address`. */
export function clientAddressFaults(given: Given): ConfigFault[] {
  if (!serves(given.role, 'check')) return []
  if (given.failed.has('client_address.mode')) return []
  const mode = given.values['client_address.mode'] ?? (given.role === 'serve' ? 'grpc-metadata' : undefined)
  if (mode === undefined) return unset('client_address.mode', modeGuide, given)
  return [...neededMembers(mode, given), ...idleMembers(mode, given)]
}

/** Modes that read a member of `client_address`. */
const modesOfMember = {
  'client_address.header': ['trusted-header'],
  'client_address.hops': ['xff-hops'],
  'client_address.trusted_cidrs': ['xff-trusted-cidrs'],
  'client_address.appended': ['xff-hops', 'xff-trusted-cidrs'],
} as const

/** A member that the mode does not read: whoever set it expects another mode. */
function idleMembers(mode: Mode, given: Given): ConfigFault[] {
  return Object.entries(modesOfMember).flatMap(([member, modes]: [string, readonly string[]]) => {
    const path = member as keyof typeof modesOfMember
    if (!given.found.has(path) || modes.includes(mode)) return []
    const found = `a value that client_address.mode ${mode} does not read`
    return [
      { name: nameOf(path, given), found, accepted: `client_address.mode ${modes.join(' or ')} with it, or nothing` },
    ]
  })
}

type Mode = NonNullable<SettingValues['client_address.mode']>

function neededMembers(mode: Mode, given: Given): ConfigFault[] {
  const with_ = `with client_address.mode ${mode}`
  switch (mode) {
    case 'trusted-header':
      return unset('client_address.header', `the header that Envoy overwrites, ${with_}`, given)
    case 'xff-hops':
      return [
        ...unset('client_address.hops', `the number of trusted proxies in front of Envoy, ${with_}`, given),
        ...unset('client_address.appended', `whether Envoy appends the peer to x-forwarded-for, ${with_}`, given),
      ]
    case 'xff-trusted-cidrs':
      return unset('client_address.trusted_cidrs', `the CIDR blocks of trusted proxies, ${with_}`, given)
    default:
      return []
  }
}
