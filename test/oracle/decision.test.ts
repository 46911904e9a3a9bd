// Random worlds and requests: the shipped check, from request octets to reply octets, against the plain model of the documents.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { parseEntry } from '../../src/core/address.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { createStand, digestOf, pepper, type Stand } from '../check/check-stand.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { decideByModel, type ModelDecision, type ModelKey, type ModelWorld, type ProfileDocument } from './decision.ts'
import { pick, randomRequest, randomWorld, seededRandom } from './random-worlds.ts'

const worlds = 50
const requestsPerWorld = 2000
const keysPerWorld = 40
const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000)

const profiles: readonly ProfileDocument[] = ['bitbybit', 'billoget', 'bitgpt'].map(name =>
  parse(readFileSync(repositoryFile(`profiles/${name}.yaml`), 'utf8')),
)

const uuid = (number: number) => `019ca000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`

function standOf(world: ModelWorld): Stand {
  const stand = createStand({
    keys: [],
    now: new Date(world.now).toISOString(),
    fresh: world.fresh,
    clientAddress: { mode: 'xff-hops', hops: world.hops, appended: true },
    ...(world.accepted === null ? {} : { accept: world.accepted }),
  })
  for (const [index, key] of world.keys.entries()) store(stand, key, index)
  return stand
}

function store(stand: Stand, key: ModelKey, index: number): void {
  const organization = `org_${uuid(index)}`
  const micros = (at: number | null) => (at === null ? null : microsFromUnixMs(at))
  stand.table.setOrganization({
    id: organization,
    profile: key.profile,
    suspended: key.organizationSuspended,
    valid: true,
  })
  stand.table.replace({
    kind: 'api_key',
    digest: digestOf(key.secret),
    pepperId: pepper.id,
    id: `key_${uuid(index)}`,
    organization,
    environment: key.environment,
    scopeMode: key.all ? 'ALL' : 'LISTED',
    scopes: key.scopes,
    allowlist: key.allowlist.map(text => {
      const entry = parseEntry(text)
      if (entry === null) throw new Error(`no block: ${text}`)
      return entry.block
    }),
    expireAt: micros(key.expireAt),
    graceEndAt: micros(key.graceEndAt),
    revoked: key.revoked,
    deleted: key.deleted,
    suspended: key.suspended,
    limit: null,
    lineage: `key_${uuid(index)}`,
  })
}

/** What the reply says, in the words of the model. Counting is compared by an oracle of its own. */
function readDecision(metadata: Readonly<Record<string, string>>): ModelDecision {
  const denied = metadata['decision'] !== 'allow'
  return {
    profile: metadata['profile'] ?? '',
    outcome: denied ? (metadata['reason'] ?? 'no reason') : 'allow',
    rule: metadata['route'] ?? '',
    requiredScope: metadata['reason'] === 'insufficient_scope' ? (metadata['required_scope'] ?? '') : '',
  }
}

it(`a decision equals the model's in ${worlds * requestsPerWorld} random cases (seed ${seed})`, () => {
  const random = seededRandom(seed)
  const outcomes = new Map<string, number>()
  for (let number = 0; number < worlds; number++) {
    const world = randomWorld(random, profiles, keysPerWorld)
    const stand = standOf(world)
    for (let sent = 0; sent < requestsPerWorld; sent++) {
      const request = randomRequest(random, world)
      const form = pick(random, ['headers', 'header_map', 'both'] as const)
      const answer = stand.check({
        method: request.method,
        path: request.path,
        host: request.host,
        headers: request.headers,
        form,
        ...(request.profile === undefined ? {} : { extensions: { profile: request.profile } }),
      })
      const wanted = decideByModel(world, request)
      const got = readDecision(answer.metadata)
      if (JSON.stringify(got) !== JSON.stringify(wanted)) {
        expect({ seed, form, request, got }).toEqual({ seed, form, request, got: wanted })
      }
      outcomes.set(wanted.outcome, (outcomes.get(wanted.outcome) ?? 0) + 1)
    }
    expect(stand.errors).toEqual([])
  }
  // Every outcome the model knows has been compared, most of them often.
  process.stdout.write(`decisions compared: ${JSON.stringify(Object.fromEntries([...outcomes].sort()))}\n`)
  expect(outcomes.size).toBeGreaterThanOrEqual(17)
}, 180_000)
