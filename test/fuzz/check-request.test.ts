// Mutated CheckRequests through the whole check: nothing is thrown, and nothing is allowed that the generated full decoder does not
// read as the same request. What decoders could disagree about is a denial.
import { expect, it } from 'vitest'
import { CheckRequest } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { encodeCheck, type SentRequest } from '../check/encode-check.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { createScopedStand, credentialOf, productDocuments } from '../security/scoped-stand.ts'
import { type Field, listsOf, parseTree, withoutUnread, writeTree } from './message-tree.ts'
import { below, randomFor, seed, times } from './tally.ts'

const mutations = times(200_000)
/** No mutation may cost more than this, however it is made: 1 ms for each KiB, and a busy machine. */
const slowestMs = 500

const scoped = createScopedStand()
const { askOctets } = scoped

/** Requests that are allowed, in every form in which Envoy and its kin write them. */
function seeds(): Buffer[] {
  const paths = ['/customer/open/v1/customers', '/v1/api/public/budgets/b_1?limit=1', '/invoices/in_1']
  return productDocuments.flatMap((profile, i) => {
    const [name, value] = credentialOf(scoped.allKey(profile))
    const sent: SentRequest = {
      method: 'GET',
      path: paths[i] ?? '',
      host: profile.select.hosts[0],
      headers: [
        ['user-agent', 'curl/8.5.0'],
        [name, value],
        ['x-forwarded-for', '192.0.2.9, 203.0.113.10'],
        ['x-request-id', '019ca000-0000-7000-8000-000000000001'],
      ],
    }
    const forms = ['headers', 'header_map', 'both'] as const
    return forms.flatMap(form => [
      encodeCheck({ ...sent, form }),
      encodeCheck({ ...sent, form, pseudoHeaders: false, extensions: { profile: profile.metadata.name, other: 'x' } }),
    ])
  })
}

const interesting = [0, 1, 2, 7, 8, 10, 18, 26, 34, 127, 128, 255]
const contents = [
  '',
  'GET',
  '/',
  '/customer/open/v1/customers',
  'x-api-key',
  'authorization',
  ':path',
  ',',
  '\0',
  '\xff\xfe',
  '\xc0\xaf',
  'api.bitbybit.studio',
  'profile',
  'bitbybit',
  'constructor',
  'a'.repeat(300),
]

function mutateOctets(random: Random, message: Buffer): Buffer {
  const octets = Buffer.from(message)
  const at = below(random, octets.length)
  switch (below(random, 7)) {
    case 0:
      octets[at] = (octets[at] ?? 0) ^ (1 << below(random, 8))
      return octets
    case 1:
      octets[at] = pick(random, interesting)
      return octets
    case 2:
      return octets.subarray(0, at)
    case 3:
      return Buffer.concat([octets.subarray(0, at), Buffer.from([pick(random, interesting)]), octets.subarray(at)])
    case 4:
      return Buffer.concat([octets.subarray(0, at), octets.subarray(at + 1 + below(random, 4))])
    case 5:
      return Buffer.concat([octets, octets.subarray(at)])
    default:
      return Buffer.concat([
        octets,
        Buffer.from(Array.from({ length: 1 + below(random, 12) }, () => below(random, 256))),
      ])
  }
}

function mutateTree(random: Random, tree: Field[], other: readonly Field[][]): void {
  const lists = listsOf(tree)
  const list = pick(random, lists)
  if (list.length === 0) return
  const at = below(random, list.length)
  const field = list[at]
  if (field === undefined) return
  const copy = (from: Field): Field => structuredCloneField(from)
  switch (below(random, 10)) {
    case 0:
      list.splice(below(random, list.length + 1), 0, copy(field))
      return
    case 1:
      list.splice(at, 1)
      return
    case 2:
      list.reverse()
      return
    case 3:
      field.number = pick(random, [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 100, 536_870_911])
      return
    case 4:
      field.wire = below(random, 8)
      return
    case 5:
      field.children = null
      field.content = Buffer.from(pick(random, contents), 'latin1')
      return
    case 6:
      if (field.children === null)
        field.content = mutateOctets(random, field.content.length === 0 ? Buffer.from('x') : field.content)
      return
    case 7:
      field.padding = 1 + below(random, 3)
      return
    case 8: {
      const foreign = pick(random, pick(random, other))
      list.splice(below(random, list.length + 1), 0, copy(foreign))
      return
    }
    default: {
      const unknown = { number: pick(random, [14, 20, 99]), children: null }
      list.splice(
        at,
        0,
        pick(random, [
          { ...unknown, wire: 0, content: Buffer.from([1]) },
          { ...unknown, wire: 1, content: Buffer.alloc(8) },
          { ...unknown, wire: 2, content: Buffer.from('unknown') },
          { ...unknown, wire: 5, content: Buffer.alloc(4) },
          { ...unknown, wire: 3, content: Buffer.alloc(0) },
        ]),
      )
    }
  }
}

function structuredCloneField(field: Field): Field {
  return { ...field, content: Buffer.from(field.content), children: field.children?.map(structuredCloneField) ?? null }
}

/** The same message as the full decoder understands it, written anew; null: it understands nothing. */
function asDecoded(octets: Buffer): Buffer | null {
  try {
    return Buffer.from(CheckRequest.encode(CheckRequest.decode(octets)).finish())
  } catch {
    return null
  }
}

it(`${mutations} mutated messages: none throws, and an allow is an allow to the full decoder too (seed ${seed})`, () => {
  const random = randomFor('messages')
  const sound = seeds()
  for (const message of sound) expect(askOctets(message).outcome).toBe('allow')
  const trees = sound.map(message => parseTree(message))
  const allLists = trees.flatMap(tree => listsOf(tree)).filter(list => list.length > 0)
  for (const [i, tree] of trees.entries()) expect(writeTree(tree)).toEqual(sound[i])
  // `denied`: a header twice in the map of texts, of which a decoder keeps the last.
  const counts = { allowed: 0, same: 0, malformed: 0, denied: 0 }
  for (let i = 0; i < mutations; i++) {
    let octets = pick(random, sound)
    if (random() < 0.7) {
      const tree = parseTree(octets)
      for (let edits = 1 + below(random, 3); edits > 0; edits--) mutateTree(random, tree, allLists)
      octets = writeTree(tree)
    }
    if (random() < 0.5) octets = mutateOctets(random, octets.length === 0 ? Buffer.alloc(1) : octets)
    const started = performance.now()
    const ours = askOctets(octets)
    const spent = performance.now() - started
    if (spent > slowestMs) throw new Error(`${spent} ms for ${octets.toString('hex')}`)
    if (ours.outcome === 'request_malformed') {
      counts.malformed++
      continue
    }
    // Peers' labels, times and metadata are skipped unread by us; what stands in them is nobody's request.
    const decoded = asDecoded(withoutUnread(octets))
    const theirs = decoded === null ? null : askOctets(decoded)
    const tell = () => `${JSON.stringify({ ours, theirs })} ${octets.toString('hex')}`
    if (theirs === null) throw new Error(`undecodable, yet read: ${tell()}`)
    if (ours.outcome === 'allow') counts.allowed++
    if (theirs.outcome === ours.outcome && theirs.rule === ours.rule) counts.same++
    else if (ours.outcome === 'multiple_credentials') counts.denied++
    else throw new Error(`read otherwise: ${tell()}`)
  }
  process.stdout.write(
    `mutated messages: inputs tried ${mutations}, accepted ${counts.allowed}, bypasses 0 (seed ${seed}) ${JSON.stringify(counts)}\n`,
  )
  expect(counts.allowed).toBeGreaterThan(mutations / 10)
  expect(counts.malformed).toBeGreaterThan(mutations / 10)
  expect(counts.same).toBeGreaterThan(counts.allowed)
}, 120_000)

it('a field in two wire types, twice, or past its end is no request, whatever a lenient decoder makes of it', () => {
  const [message] = seeds()
  if (message === undefined) throw new Error('no seed')
  const change = (edit: (http: Field[]) => void) => {
    const tree = parseTree(message)
    const http = tree[0]?.children
      ?.find(field => field.number === 4)
      ?.children?.find(field => field.number === 2)?.children
    if (http === null || http === undefined) throw new Error('the seed has no request')
    edit(http)
    return askOctets(writeTree(tree)).outcome
  }
  const find = (http: readonly Field[], number: number) => {
    const field = http.find(each => each.number === number)
    if (field === undefined) throw new Error(`no field ${number}`)
    return field
  }
  expect(change(() => undefined)).toBe('allow')
  for (const number of [2, 4, 5]) {
    expect(change(http => http.push({ ...find(http, number) }))).toBe('request_malformed')
    expect(change(http => http.unshift({ ...find(http, number), wire: 0, content: Buffer.from([1]) }))).toBe(
      'request_malformed',
    )
    expect(change(http => Object.assign(find(http, number), { padding: 1 }))).toBe('request_malformed')
    expect(change(http => Object.assign(find(http, number), { wire: 3 }))).toBe('request_malformed')
  }
  expect(askOctets(message.subarray(0, -1)).outcome).toBe('request_malformed')
  expect(askOctets(Buffer.concat([message, message])).outcome).toBe('request_malformed')
  expect(askOctets(Buffer.alloc(0)).outcome).toBe('request_malformed')
})
