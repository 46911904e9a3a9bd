// The reply encoder: every reason of every profile, for HTTP and gRPC clients, with hostile ids, names and request ids, obeys the rules
// of envoy-contract.md 13 A; and nothing but the one code of an allow becomes one.
import { expect, it } from 'vitest'
import { type CheckProfile, compileCheckProfiles } from '../../src/check/check-profiles.ts'
import { readCheckRequest } from '../../src/check/check-request.ts'
import { type OwnFailure, ReplyComposer } from '../../src/check/reply-composer.ts'
import { createDecision } from '../../src/core/decide.ts'
import { createNames } from '../../src/core/names.ts'
import { ALLOW, denialReasons, reasonOf } from '../../src/core/reason.ts'
import { createRequestView } from '../../src/core/request-view.ts'
import { CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { encodeCheck } from '../check/encode-check.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { compileText, exampleText, products, profileText } from '../profile/documents.ts'
import { brokenRules } from './reply-rules.ts'
import { below, randomFor, Tally, times } from './tally.ts'

const names = createNames()

/** Every placeholder in a body, a message and a header, with characters that JSON and header values treat apart. */
const talkative = exampleText()
  .replace('name: example\n', 'name: talkative\n')
  .replace('[api.example.test, files.example.test]', '[files.example.test]')
  .replace(
    'body: {error: {code: {$: code}, message: {$: message}}}',
    String.raw`body: {c: {$: code}, m: {$: message}, r: {$: request_id}, d: {$: decision_id}, n: {$: now}, t: "q\"{request_id}\\\u00fc😀\u2028", h: "{http_status}"}`,
  )
  .replace('headers: {cache-control: no-store}', "headers: {cache-control: no-store, x-request: '[{request_id}]'}")
  .replace(
    'message: "Wait {retry_after} s"',
    'message: "\\"W\\u00fc\\" {retry_after} {limit} {remaining} {reset_unix}"',
  )
  .replace('message: "Not available"', 'message: "<{key_environment}>"')

const texts = [
  ...products.map(profileText),
  exampleText()
    .replace('[api.example.test, files.example.test]', '[api.example.test]')
    .replace('host: files.example.test, ', ''),
  talkative,
]
const profiles = compileCheckProfiles(
  texts.map(text => compileText(text, { names })),
  'xff-hops',
).list

const hostile: readonly Buffer[] = [
  '',
  ' ',
  '  x  ',
  'a b',
  '\r\nset-cookie: x',
  'x\r\n\r\n{}',
  '\n',
  '\0',
  '\t',
  '"',
  '\\',
  '"'.repeat(300),
  '\\'.repeat(300),
  '</script>',
  '{{x}}',
  '%0d%0a',
  '\x7f',
  '\x1b[31m',
  'é',
  '😀',
  '\u202e',
  '\u2028',
  '\ufeff',
  'x'.repeat(255),
  'x'.repeat(256),
  'x'.repeat(257),
  'x'.repeat(4096),
  ` ${'y'.repeat(254)} `,
  'key_019ca000-0000-7000-8000-000000000001',
  'org_019ca000-0000-7000-8000-000000000001',
]
  .map(text => Buffer.from(text))
  .concat([
    Buffer.from([0xff, 0xfe]),
    Buffer.from([0xc0, 0xaf]),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.alloc(300, 0x80),
    Buffer.from('key_\xff', 'latin1'),
  ])

let apiKeyId: Uint8Array = Buffer.alloc(0)
let organizationId: Uint8Array = Buffer.alloc(0)
let environment = 0
const write = (text: Uint8Array, target: Uint8Array, offset: number) => {
  const part = text.subarray(0, target.length - offset)
  target.set(part, offset)
  return offset + part.length
}
const keys = {
  writeApiKeyId: (_: number, target: Uint8Array, offset: number) => write(apiKeyId, target, offset),
  writeOrganizationId: (_: number, target: Uint8Array, offset: number) => write(organizationId, target, offset),
  environment: () => environment,
}
// The feed takes none but short names: a longer one than 63 characters never comes here.
const environments = ['live', 'test', 'x\r\ny', 'x'.repeat(63), 'ü', '\0', '']
  .map(name => names.environments.intern(name))
  .concat(-1, 99_999)

function anyText(random: Random): Buffer {
  return random() < 0.8
    ? pick(random, hostile)
    : Buffer.from(Array.from({ length: below(random, 60) }, () => below(random, 256)))
}

/** One decision with everything in it that may vary; the code is given. */
function decisionOf(random: Random, code: number, chosen: CheckProfile | null) {
  const decision = createDecision()
  const rules = chosen?.profile.policy.routes.rules ?? []
  decision.code = code
  decision.rule = below(random, rules.length + 1) - 1
  decision.slot = random() < 0.8 ? below(random, 5) : -1
  decision.isPublic = rules[decision.rule]?.access === 'public'
  const scopes = rules[decision.rule]?.scopes.length ?? 0
  decision.missingCount = code === denialReasons.indexOf('insufficient_scope') ? below(random, scopes + 1) : 0
  for (let i = 0; i < decision.missingCount; i++) decision.missing[i] = i
  decision.limited = random() < 0.5
  const number = () =>
    pick(random, [0, 1, -1, 999, 1_000_000, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, 1.5, 195_000_000_000_000])
  Object.assign(decision.charge, {
    admitted: random() < 0.5,
    limit: number(),
    remaining: number(),
    resetAt: number(),
    retryAfterMicros: number(),
  })
  return decision
}

it('every reply obeys the contract, whatever names and ids it has to carry', () => {
  const random = randomFor('replies')
  const tally = new Tally('replies')
  const view = createRequestView()
  // Codes of no reason, too: whatever comes, only ALLOW under a profile is an allow.
  const codes = [...denialReasons.keys(), ALLOW, ALLOW, ALLOW, -1, 19, 99, 199, 201, 255, Number.NaN, 0.5]
  for (const ownFailure of ['denied-503', 'error_response', 'rpc-error'] as const satisfies readonly OwnFailure[]) {
    const composer = new ReplyComposer(keys, names.environments, ownFailure, 'xff-hops')
    for (const chosen of [...profiles, null]) {
      for (const code of codes) {
        for (let i = 0; i < times(20); i++) {
          apiKeyId = anyText(random)
          organizationId = anyText(random)
          environment = pick(random, environments)
          const grpc = pick(random, [
            'application/grpc',
            'application/grpc+proto',
            'application/json',
            'application/grpc-web',
            '',
          ])
          const octets = encodeCheck({
            path: '/x',
            headers: [
              ['content-type', grpc],
              ['x-request-id', anyText(random)],
            ],
          })
          readCheckRequest(octets, 0, octets.length, [], view)
          Object.assign(
            view.client,
            pick(random, [
              { family: 0 },
              { family: 4, w0: 0xcb007105 },
              { family: 6, w0: 0xffffffff, w1: 0xffffffff, w2: 0xffffffff, w3: 0xffffffff },
            ]),
          )
          const unixMs = pick(random, [1_772_370_000_000, 0, -1, 1.5, Number.NaN, 8.64e15, 253_402_300_799_999])
          const decision = decisionOf(random, code, chosen)
          const composed = composer.compose(view, decision, chosen, unixMs)
          const tell = (broken: readonly string[]) =>
            JSON.stringify({ profile: chosen?.profile.name, reason: reasonOf(code), code, broken })
          if (composed === 'rpc-failure') {
            tally.note(false, ownFailure !== 'rpc-error' || decision.code !== 0, () => tell(['a failed call']))
            continue
          }
          const reply = Buffer.from(composer.buffer.bytes.subarray(composer.start, composer.end))
          const broken = brokenRules(reply)
          const decoded = CheckResponse.decode(reply)
          const allowed = decoded.status?.code === 0
          const metadata = decoded.dynamicMetadata ?? {}
          if (allowed !== (code === ALLOW && chosen !== null)) broken.push(`allowed: ${allowed}`)
          // Without a profile a decision ends at one of three reasons (D21); any other has the shape of one of them.
          const known =
            chosen !== null || decision.code <= 1 || decision.code === denialReasons.indexOf('route_unmapped')
          if (!allowed && known && metadata['reason'] !== reasonOf(decision.code))
            broken.push(`reason ${String(metadata['reason'])}`)
          if (
            !allowed &&
            (decoded.httpResponse?.$case === 'errorResponse') !==
              (ownFailure === 'error_response' && decision.code === 0)
          )
            broken.push(`${decoded.httpResponse?.$case} for ${reasonOf(decision.code)}`)
          tally.note(allowed, broken.length > 0, () => tell(broken))
        }
      }
    }
  }
  tally.finish(times(7000), times(500))
})

it('the rules notice a reply that breaks them', () => {
  const composer = new ReplyComposer(keys, names.environments, 'denied-503', 'xff-hops')
  const view = createRequestView()
  composer.compose(view, createDecision(), profiles[0] ?? null, 0)
  const sound = CheckResponse.decode(composer.buffer.bytes.subarray(composer.start, composer.end))
  const broken = (change: Partial<CheckResponse>) =>
    brokenRules(Buffer.from(CheckResponse.encode({ ...sound, ...change }).finish()))
  expect(broken({})).toEqual([])
  expect(broken({ status: undefined })).toEqual(['no status'])
  expect(broken({ httpResponse: undefined })).toContain('a denial without a response')
  expect(brokenRules(Buffer.alloc(0))).toEqual(['no status'])
  const header = (key: string, value: string, more = {}) =>
    broken({
      httpResponse: {
        $case: 'deniedResponse',
        value: {
          status: { code: 403 },
          body: '{}',
          headers: [
            {
              header: { key: 'content-type', value: 'application/json', rawValue: Buffer.alloc(0) },
              append: false,
              appendAction: 2,
              keepEmptyValue: false,
            },
            {
              header: { key, value, rawValue: Buffer.alloc(0) },
              append: false,
              appendAction: 2,
              keepEmptyValue: false,
              ...more,
            },
          ],
        },
      },
    })
  expect(header('a', 'b')).toEqual([])
  for (const [key, value, more] of [
    ['A', 'b'],
    ['', 'b'],
    ['host', 'b'],
    ['x-envoy-a', 'b'],
    [':path', '/'],
    ['a', 'b\r\n'],
    ['a', ' b'],
    ['a', 'é'],
    ['a', 'b', { append: undefined }],
    ['a', 'b', { append: true }],
    ['a', 'b', { appendAction: 0 }],
  ] as const) {
    expect(header(key, value, more), `${key} ${value}`).not.toEqual([])
  }
})
