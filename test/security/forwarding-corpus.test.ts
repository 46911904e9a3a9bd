// Forwarding chains under all five modes, with an allowlisted address put wherever a client can put it: a key with an allowlist is
// allowed exactly when the plain model of the mode finds the client inside it.
import { expect, it } from 'vitest'
import { parseEntry } from '../../src/core/address.ts'
import type { ClientAddressMode } from '../../src/core/client-address.ts'
import { below, randomFor, Tally, times } from '../fuzz/tally.ts'
import { type Arrival, clientByModel, type PlainMode, plainIsIn } from '../oracle/forwarding.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { createScopedStand, credentialOf, productDocuments } from './scoped-stand.ts'

const chainsPerMode = times(1500)
const allowlist = ['203.0.113.0/24', '2001:db8::/48', '198.51.100.7/32']
const trustedProxies = ['10.0.0.0/8', '192.0.2.0/24', '2001:db8:ffff::/48']

const inside = [
  '203.0.113.77',
  '203.0.113.255',
  '2001:db8::5',
  '2001:DB8:0:0::5',
  '198.51.100.7',
  '::ffff:203.0.113.5',
  '::FFFF:cb00:7105',
]
const outside = ['192.0.2.1', '198.51.100.8', '2001:db8:1::5', '10.1.2.3', '203.0.112.255', '::1', '2001:db8:ffff::1']
/** Ways to write an address that mean it, and ways that mean nothing. */
const dress: readonly ((address: string) => string)[] = [
  a => a,
  a => a,
  a => a,
  a => ` ${a}\t`,
  a => (a.includes(':') ? `[${a}]` : a),
  a => (a.includes(':') ? `[${a}]:443` : `${a}:443`),
  a => (a.includes(':') ? `${a}%eth0` : a),
  a => `${a}:`,
  a => `[${a}]:0`,
  a => `${a}/32`,
  a => `"${a}"`,
  a => `for=${a}`,
  a => a.replace('.', '.0'),
  a => `${a} ${a}`,
  a => `${a}\u0000`,
  a => a.replaceAll('.', '%2e'),
]
const nothings = [
  '',
  ' ',
  'unknown',
  '_hidden',
  '-',
  '203.0.113',
  '3405803850',
  '0xcb007105',
  '203.0.113.0/24',
  'localhost',
  '٢٠٣.0.113.5',
  ',',
  '*',
]
const spoofed = [
  'x-real-ip',
  'forwarded',
  'x-envoy-external-address',
  'true-client-ip',
  'cf-connecting-ip',
  'x-client-ip',
  'x-forwarded',
  'forwarded-for',
  'x_forwarded_for',
  'x-original-forwarded-for',
  'x-cluster-client-ip',
  'x-gatewarden-client-ip',
  'x-trusted',
  'x_trusted_ip',
  'via',
  ':authority-ip',
]

const modes: readonly PlainMode[] = [
  { mode: 'grpc-metadata' },
  { mode: 'source-address' },
  { mode: 'trusted-header', header: 'x-trusted-ip' },
  ...[0, 1, 2, 3].flatMap(hops => [true, false].map(appended => ({ mode: 'xff-hops', hops, appended }) as const)),
  ...[true, false].map(appended => ({ mode: 'xff-trusted-cidrs', trusted: trustedProxies, appended }) as const),
]

function toMode(mode: PlainMode): ClientAddressMode {
  if (mode.mode !== 'xff-trusted-cidrs') return mode
  const cidrs = mode.trusted.map(text => {
    const entry = parseEntry(text)
    if (entry === null) throw new Error(text)
    return entry.block
  })
  return { mode: mode.mode, appended: mode.appended, cidrs }
}

function address(random: Random): string {
  if (random() < 0.12) return pick(random, nothings)
  return pick(random, dress)(pick(random, random() < 0.5 ? inside : outside))
}

function chain(random: Random, mode: PlainMode): string {
  const length = 1 + below(random, random() < 0.03 ? 23 : 5)
  const entries = Array.from({ length }, () => address(random))
  if (mode.mode === 'xff-trusted-cidrs' && random() < 0.5) entries.push('10.0.0.1', '192.0.2.4')
  if (random() < 0.02) entries.push(`2001:db8::5%${'a'.repeat(5000)}`)
  return entries.join(pick(random, [',', ', ', ' ,']))
}

function arrival(random: Random, mode: PlainMode): Arrival {
  const headers: [string, string][] = []
  const put = (name: string, value: string) => headers.splice(below(random, headers.length + 1), 0, [name, value])
  for (let lines = pick(random, [0, 1, 1, 1, 2]); lines > 0; lines--) put('x-forwarded-for', chain(random, mode))
  for (let lines = pick(random, [0, 1, 1, 1, 2]); lines > 0; lines--) put('x-trusted-ip', address(random))
  for (let lines = below(random, 3); lines > 0; lines--) put(pick(random, spoofed), pick(random, inside))
  const peer = address(random)
  return {
    headers,
    source: pick(random, [
      peer,
      peer,
      peer,
      pick(random, outside),
      pick(random, trustedProxies).replace(/0\/.*|\/.*/, '9'),
      null,
    ]),
    metadata: random() < 0.1 ? undefined : address(random),
  }
}

it('an address outside the list opens nothing, wherever the client writes one that is inside', () => {
  const tally = new Tally('forwarding chains')
  const [bitbybit] = productDocuments
  for (const mode of modes) {
    const { allKey, ask } = createScopedStand({ clientAddress: toMode(mode), allowlist })
    const random = randomFor(JSON.stringify(mode))
    const credential = credentialOf(allKey(bitbybit))
    for (let i = 0; i < chainsPerMode; i++) {
      const sent = arrival(random, mode)
      const form = pick(random, ['headers', 'header_map', 'both'] as const)
      const client = clientByModel(mode, sent)
      const wanted = client === null ? 'ip_undeterminable' : plainIsIn(client, allowlist) ? 'allow' : 'ip_not_allowed'
      const { outcome } = ask(
        {
          path: '/customer/open/v1/customers',
          host: 'api.bitbybit.studio',
          headers: [credential, ...sent.headers],
          source:
            sent.source === null ? pick(random, [null, 'pipe:/203.0.113.77', 'internal:203.0.113.77']) : sent.source,
          form,
        },
        sent.metadata,
      )
      tally.note(outcome === 'allow', outcome === 'allow' && wanted !== 'allow', () =>
        JSON.stringify({ mode, sent, form }),
      )
      // Nor is anybody kept out whom the model lets in, or for another reason than it says.
      if (outcome !== wanted) expect({ mode, sent, form, outcome }).toEqual({ mode, sent, form, outcome: wanted })
    }
  }
  tally.finish(times(18_000), times(2000))
})
