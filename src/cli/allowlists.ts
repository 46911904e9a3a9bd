// `gatewarden keys allowlist validate|simulate|suggest`: entries judged before they are stored, tried against logged traffic,
// proposed from it. None of them changes a key.
import { AllowlistAdminService } from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import { keyPositional } from './api-keys.ts'
import { type Command, exitFailed, exitOk, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { type Connection, clientFlags, withConnection } from './connect.ts'
import { warn } from './mutation.ts'
import { harmless, pairs, table } from './render.ts'
import { formatInstant, toJson } from './to-json.ts'
import { intervalOf, sinceFlags } from './usage-flags.ts'
import { apiKeyName, organizationName, parseAllowlist, type TimestampValue } from './values.ts'

const entriesPositional = { name: 'CIDR[=LABEL]', help: 'address or block, with a label', many: true } as const

const validateFlags = {
  'caller-address': { type: 'string', value: 'ADDRESS', help: 'warn if the entries leave this address out' },
  ...clientFlags,
} as const satisfies Flags

const simulateFlags = { ...sinceFlags, ...clientFlags } as const satisfies Flags

const suggestFlags = {
  'max-entries': { type: 'string', value: 'NUMBER', help: 'suggest at most so many; default the most of the profile' },
  'min-requests': { type: 'string', value: 'NUMBER', help: 'suggest what serves at least so many requests' },
  'widest-v4': { type: 'string', value: 'PREFIX', help: 'broadest IPv4 block; default 24' },
  'widest-v6': { type: 'string', value: 'PREFIX', help: 'broadest IPv6 block; default 64' },
  ...sinceFlags,
  ...clientFlags,
} as const satisfies Flags

function allowlistsOf({ channel }: Connection) {
  return channel.client(AllowlistAdminService)
}

const moment = (time: TimestampValue | undefined) => (time === undefined ? '' : formatInstant(time))

async function validate(invocation: Invocation, io: Io) {
  const [rules = '', ...given] = invocation.positionals
  const request = {
    rules: rules.startsWith('profiles/')
      ? ({ $case: 'profile', value: rules } as const)
      : ({ $case: 'parent', value: organizationName(rules) } as const),
    entries: parseAllowlist(given),
    callerAddress: invocation.text('caller-address') ?? '',
  }
  return withConnection(invocation, io, async connection => {
    const reply = await allowlistsOf(connection).validateIpAllowlist(request)
    if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply) ?? {}, null, 2)}\n`)
    else {
      warn(reply.warnings, io)
      for (const { index, reason, message, suggestion } of reply.violations) {
        const hint = suggestion === '' ? '' : ` Did you mean ${harmless(suggestion)}?`
        io.out(`${harmless(given[index] ?? '')}: ${reason}: ${harmless(message)}${hint}\n`)
      }
      for (const { cidr, label } of reply.entries) io.out(`${cidr}${label === '' ? '' : ` (${harmless(label)})`}\n`)
    }
    return reply.violations.length === 0 ? exitOk : exitFailed
  })
}

async function simulate(invocation: Invocation, io: Io) {
  const [key = '', ...given] = invocation.positionals
  const request = { name: apiKeyName(key), entries: parseAllowlist(given), interval: intervalOf(invocation, io) }
  return withConnection(invocation, io, async connection => {
    const reply = await allowlistsOf(connection).simulateIpAllowlist(request)
    if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply) ?? {}, null, 2)}\n`)
    else {
      io.out(
        pairs([
          ['requests', String(reply.requests)],
          ['denied', String(reply.denied)],
          ['of unknown address', String(reply.unknownAddress)],
        ]),
      )
      if (reply.topDenied.length > 0) {
        const rows = reply.topDenied.map(each => [each.address, String(each.requests), moment(each.lastTime)])
        io.out(`\n${table(['DENIED ADDRESS', 'REQUESTS', 'LAST'], rows)}`)
      }
      if (!reply.complete) io.err('The log does not hold all requests of that time: there may be more.\n')
    }
    return exitOk
  })
}

async function suggest(invocation: Invocation, io: Io) {
  const [key = ''] = invocation.positionals
  const request = {
    name: apiKeyName(key),
    interval: intervalOf(invocation, io),
    maxEntries: wholeNumber(invocation, 'max-entries'),
    minRequests: BigInt(wholeNumber(invocation, 'min-requests')),
    widestIpv4Prefix: wholeNumber(invocation, 'widest-v4'),
    widestIpv6Prefix: wholeNumber(invocation, 'widest-v6'),
  }
  return withConnection(invocation, io, async connection => {
    const reply = await allowlistsOf(connection).suggestIpAllowlist(request)
    if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply) ?? {}, null, 2)}\n`)
    else {
      const rows = reply.suggestions.map(each => [
        each.cidr,
        String(each.addresses),
        String(each.requests),
        moment(each.firstTime),
        moment(each.lastTime),
      ])
      io.out(table(['CIDR', 'ADDRESSES', 'REQUESTS', 'FIRST', 'LAST'], rows))
      io.err(
        `They cover ${Math.floor(reply.coveredRatio * 1000) / 10} % of the allowed requests; ${reply.uncovered} lie outside.\n`,
      )
      const flags = reply.suggestions.map(({ cidr }) => `--allow ${cidr}`).join(' ')
      if (flags !== '') io.err(`gatewarden keys update ${harmless(key)} ${flags}\n`)
    }
    return exitOk
  })
}

/** A number that may be left out; 0 then. */
function wholeNumber(invocation: Invocation, flag: string): number {
  const text = invocation.text(flag)
  if (text === undefined) return 0
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write a whole number from 1.`)
  return Number(text)
}

export const allowlistCommands: readonly Command[] = [
  {
    words: 'keys allowlist validate',
    summary: 'Judge allowlist entries by the rules of an organization or a profile; exit 1 if one is not valid.',
    positionals: [{ name: 'RULES', help: 'organizations/ID or ID, or profiles/NAME' }, entriesPositional],
    flags: validateFlags,
    run: validate,
  },
  {
    words: 'keys allowlist simulate',
    summary: 'Tell which requests of a key such an allowlist would have denied.',
    details: ['Without times the last 7 days are tried; 30 days at most.'],
    positionals: [keyPositional, entriesPositional],
    flags: simulateFlags,
    run: simulate,
  },
  {
    words: 'keys allowlist suggest',
    summary: 'Propose the smallest allowlist that covers the allowed requests of a key.',
    details: ['Without times the last 7 days are covered; 30 days at most.'],
    positionals: [keyPositional],
    flags: suggestFlags,
    run: suggest,
  },
]
