// The facade without its listener, on a real database with the fixtures of the golden cases: a request in, an answer out.
// Database time is replaced by a given instant, as the wall clock is; everything else is as it is wired.
import { afterAll, beforeAll, expect } from 'vitest'
import type { AdminStore } from '../../src/admin/admin-store.ts'
import type { HttpAnswer } from '../../src/admin/facade-answer.ts'
import { answerFacadeRequest, type FacadeContext } from '../../src/admin/facade-call.ts'
import { type Micros, microsFromUnixMs } from '../../src/core/time.ts'
import { createProfileSet } from '../../src/profile/profile-set.ts'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import { goldenKey, goldenSettings } from '../core/cases.ts'
import { insertGoldenRows } from '../e2e/golden-rows.ts'
import { useWorld, type World } from './admin-world.ts'

export interface FacadeAsk {
  /** A text or octets as they are; anything else as JSON. */
  readonly body?: unknown
  /** Name of the fixture that calls; null: no identity headers. Default G5. */
  readonly caller?: string | null
  readonly headers?: readonly (readonly [string, string])[]
  readonly method?: string
  readonly target?: string
  readonly host?: string
  readonly trusted?: boolean
  /** Undefined: JSON as a client declares it; null: none. */
  readonly contentType?: string | null
}

export interface FacadeStand {
  readonly world: World
  readonly context: FacadeContext
  /** Lines of the log: message and fields. */
  /** What was counted, in order. */
  readonly outcomes: readonly string[]
  readonly log: { readonly message: string; readonly fields: object }[]
  /** Database time from now on, RFC 3339. */
  setNow(now: string): void
  ask(ask: FacadeAsk): Promise<HttpAnswer>
  /** The same, body parsed. */
  json(ask: FacadeAsk): Promise<Envelope>
}

/** The documented envelope. */
export interface Envelope {
  readonly status: number
  readonly data: {
    readonly id: string
    readonly secret: string | null
    readonly [member: string]: unknown
  } | null
  readonly error: string | null
  readonly validator: Readonly<Record<string, string>> | null
  readonly support_id: string | null
}

/** Registers hooks that open it for the file. */
export function useFacade(change: (context: FacadeContext) => FacadeContext = same => same): () => FacadeStand {
  const world = useWorld()
  let stand: FacadeStand | undefined
  beforeAll(async () => {
    await insertGoldenRows(world().client)
    stand = standOf(world(), change)
  })
  afterAll(() => {
    stand = undefined
  })
  return () => stand ?? expect.fail('the stand exists only inside hooks and tests')
}

function standOf(world: World, change: (context: FacadeContext) => FacadeContext): FacadeStand {
  let now = microsFromUnixMs(Date.parse(goldenSettings.now))
  const log: { message: string; fields: object }[] = []
  const outcomes: string[] = []
  const take = (message: string, fields: object = {}) => void log.push({ message, fields })
  const context = change({
    ...world.context,
    store: atTime(world.context.store, () => now),
    currentProfiles: () => createProfileSet(world.profiles.profiles),
    wall: () => Date.parse(goldenSettings.now),
    log: { info: take, error: take },
    count: outcome => void outcomes.push(outcome),
  })
  const ask = (given: FacadeAsk) => answerFacadeRequest(context, requestOf(given), frame())
  return {
    world,
    context,
    log,
    outcomes,
    setNow: text => {
      now = microsFromUnixMs(Date.parse(text))
    },
    ask,
    json: async given => JSON.parse((await ask(given)).body) as Envelope,
  }
}

/** The store with another clock: what a transaction sees as its beginning. */
export function atTime(store: AdminStore, now: () => Micros): AdminStore {
  return {
    transact: work => store.transact(tx => work({ ...tx, now: now() })),
    read: work => store.read(tx => work({ ...tx, now: now() })),
  }
}

export const frame = () => ({
  signal: AbortSignal.timeout(10_000),
  deadlineUnixMs: Date.now() + 10_000,
  sourceAddress: '',
})

/** The identity headers that the sidecar sets for a fixture. */
export function identityOf(name: string): readonly (readonly [string, string])[] {
  const fixture = goldenKey(name)
  return [
    ['x-gatewarden-organization-id', organizationOf(fixture)],
    ['x-gatewarden-api-key-id', fixtureId(fixture)],
    ['x-gatewarden-environment', fixture.environment],
    ['x-gatewarden-scope', 'api_keys.create'],
  ]
}

export function requestOf(ask: FacadeAsk): Parameters<typeof answerFacadeRequest>[1] {
  const { caller = 'G5', headers = [], contentType = 'application/json' } = ask
  const all = [
    ...(caller === null ? [] : identityOf(caller)),
    ...(contentType === null ? [] : [['content-type', contentType] as const]),
    ...headers,
  ]
  return {
    method: ask.method ?? 'POST',
    target: ask.target ?? '/developers/api_keys',
    host: ask.host ?? 'api.bitgpt.xyz',
    trusted: ask.trusted ?? true,
    values: name => all.filter(([each]) => each === name.toLowerCase()).map(([, value]) => value),
    body: async () => octetsOf(ask.body),
  }
}

function octetsOf(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

const uuid7 = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

/** A body as a pattern: `<id>`, `<secret>` and the like stand for what varies. */
export function bodyPattern(text: string, values: Readonly<Record<string, string>> = {}): RegExp {
  const forms: Readonly<Record<string, string>> = {
    id: `api_key_${uuid7}`,
    support_id: `support_${uuid7}`,
    secret: 'sk_live_[0-9A-Za-z]{48}X2JpdGdwdA',
    ...values,
  }
  const pattern = text
    .split(/(<[a-z_]+>)/)
    .map(part => forms[/^<(.*)>$/.exec(part)?.[1] ?? ''] ?? part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('')
  return new RegExp(`^${pattern}$`)
}
