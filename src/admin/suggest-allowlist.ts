// SuggestIpAllowlist: entries that the profile accepts and that cover what a key, or one it replaced, was used from. Only allowed requests count, so
// that whoever was kept out is not let in. Nothing broader than a /24 or a /64 is suggested unless the caller asks.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { parseAddress, parseEntry } from '../core/address.ts'
import { type AllowlistRules, blockJudge, entriesMax } from '../core/allowlist.ts'
import { type Cidr, cidrText, overlaps } from '../core/cidr.ts'
import { type CoveringBlock, coverAddresses } from '../core/suggest-allowlist.ts'
import type {
  SuggestIpAllowlistRequest,
  SuggestIpAllowlistResponse,
} from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import type { ApiKeyContext } from './api-key-context.ts'
import { parseApiKeyName } from './resource-name.ts'
import { readTraffic, subjectOf } from './simulate-allowlist.ts'
import { checked, type UsageQuestion } from './usage-call.ts'
import type { UsageAddress, UsageTrafficQuery } from './usage-rows.ts'
import type { Violations } from './violations.ts'
import { timestampOf } from './wire-time.ts'

/** The broadest block that is suggested unasked: one network of a household or an office. */
const widestUnasked = { v4: 24, v6: 64 } as const

/** Addresses that are looked at, the most frequent first: a key that is used from more has no use for a list. */
const addressesMax = 20_000

/** Addresses and blocks looked at in one turn, some 10 µs each: the process may be answering checks as well. */
const turnLength = 100

interface Bounds {
  readonly entries: number
  readonly requests: bigint
  readonly acceptable: (block: Cidr) => boolean
}

interface Plan {
  readonly traffic: UsageTrafficQuery
  readonly bounds: Bounds
}

export function suggestIpAllowlist(
  context: ApiKeyContext,
): UsageQuestion<SuggestIpAllowlistRequest, Plan, SuggestIpAllowlistResponse> {
  return {
    rpc: 'AllowlistAdmin/SuggestIpAllowlist',
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    async plan(tx, request) {
      const { name, interval } = checked(violations => {
        checkNumbers(request, violations)
        return readTraffic(request, tx.now, violations)
      })
      const { profile, subject } = await subjectOf(context, tx, name)
      const bounds = checked(violations => boundsOf(request, profile.management.ipRules, violations))
      return { traffic: { ...subject, ...interval }, bounds }
    },
    async answer(usage, { traffic, bounds }) {
      const { addresses, requests } = await usage.addresses(traffic, addressesMax)
      return await suggestionsOf(addresses, requests, bounds)
    },
  }
}

function checkNumbers(request: SuggestIpAllowlistRequest, violations: Violations): void {
  const { maxEntries, minRequests, widestIpv4Prefix, widestIpv6Prefix } = request
  const within = (field: string, value: number, max: number) => {
    if (value < 0 || value > max) violations.add(field, 'FIELD_INVALID', `Give a number from 1 to ${max}.`)
  }
  within('max_entries', maxEntries, entriesMax)
  within('widest_ipv4_prefix', widestIpv4Prefix, 32)
  within('widest_ipv6_prefix', widestIpv6Prefix, 128)
  if (minRequests < 0n) violations.add('min_requests', 'FIELD_INVALID', 'It must not be negative.')
}

function boundsOf(request: SuggestIpAllowlistRequest, rules: AllowlistRules, violations: Violations): Bounds | null {
  const most = Math.min(rules.maxEntries ?? entriesMax, entriesMax)
  if (request.maxEntries > most) {
    violations.add('max_entries', 'FIELD_INVALID', `A key has at most ${most} entries here.`)
    return null
  }
  const widest = {
    4: request.widestIpv4Prefix === 0 ? widestUnasked.v4 : request.widestIpv4Prefix,
    6: request.widestIpv6Prefix === 0 ? widestUnasked.v6 : request.widestIpv6Prefix,
  }
  const accepts = acceptor(rules)
  return {
    entries: request.maxEntries === 0 ? most : request.maxEntries,
    requests: request.minRequests,
    acceptable: block => block.prefix >= widest[block.family] && accepts(block),
  }
}

/** What the profile would store, and where it refuses private ranges, nothing that reaches into one: so it is downward. */
function acceptor(rules: AllowlistRules): (block: Cidr) => boolean {
  const judge = blockJudge(rules)
  const refused = rules.private === 'reject' ? rules.privateRanges.map(range => parseEntry(range)) : []
  return block => !refused.some(range => range !== null && overlaps(range.block, block)) && judge(block)
}

interface Seen extends UsageAddress {
  readonly block: Cidr
}

/** The best entries out of the smallest cover: those that serve the most requests. */
export async function suggestionsOf(
  addresses: readonly UsageAddress[],
  requests: bigint,
  bounds: Bounds,
): Promise<SuggestIpAllowlistResponse> {
  const seen: Seen[] = []
  for (const [index, address] of addresses.entries()) {
    if (index % turnLength === 0) await nextTurn()
    const block = parseAddress(address.address)
    if (block !== null) seen.push({ ...address, block })
  }
  const { blocks } = await inTurns(coverAddresses(seen, bounds.acceptable))
  const weighed = blocks.map(each => ({ ...each, requests: total(each) }))
  const chosen = weighed
    .filter(each => each.requests >= bounds.requests)
    .sort((a, b) => Number(b.requests - a.requests)) // stable: then in the order of addresses
    .slice(0, bounds.entries)
  const covered = chosen.reduce((sum, each) => sum + each.requests, 0n)
  return {
    suggestions: chosen.map(({ block, members, requests: of }) => ({
      cidr: cidrText(block),
      addresses: BigInt(members.length),
      requests: of,
      firstTime: timestampOf(Math.min(...members.map(({ firstTime }) => firstTime))),
      lastTime: timestampOf(Math.max(...members.map(({ lastTime }) => lastTime))),
    })),
    coveredRatio: requests === 0n ? 0 : Number(covered) / Number(requests),
    uncovered: requests - covered,
  }
}

/** Runs steps to their end, not all in one turn. */
async function inTurns<Result>(steps: Generator<void, Result>): Promise<Result> {
  for (let count = 1; ; count++) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (count % turnLength === 0) await nextTurn()
  }
}

function total({ members }: CoveringBlock<Seen>): bigint {
  return members.reduce((sum, member) => sum + member.requests, 0n)
}
