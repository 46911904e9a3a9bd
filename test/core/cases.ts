// The golden cases of the product profiles as data: read once, typed, with the fixtures' secrets filled in.
// The same cases run on the decision in process, through gRPC and through Envoy.
import { readFileSync } from 'node:fs'
import type { DenialReason } from '../../src/core/reason.ts'

export type ProductName = 'bitbybit' | 'billoget' | 'bitgpt'

/** An API key that the cases take for granted; instants are RFC 3339. */
export interface KeyFixture {
  readonly name: string
  readonly profile: ProductName
  readonly secret: string
  readonly environment: 'live' | 'test'
  readonly scopes: readonly string[]
  /** Default LISTED. */
  readonly scopeMode?: 'ALL'
  readonly allowlist: readonly string[]
  readonly expireAt?: string
  readonly revokedAt?: string
  readonly rotatedAt?: string
  readonly graceEndAt?: string
  /** Name of the fixture. */
  readonly successor?: string
  readonly rotatedFrom?: string
  readonly suspended?: boolean
  readonly deleted?: boolean
  /** Requests admitted before the case, in a window that opened then. */
  readonly spent?: { readonly requests: number; readonly windowStart: string }
  /** Whether the secret has the issued form; else it is imported. */
  readonly issued?: boolean
}

/** How a denial looks: placeholders in angle brackets. */
export interface GoldenRendering {
  readonly status: number
  readonly body: string
  /** All headers of the reply, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>
}

export type Expected =
  | { readonly outcome: 'allow' }
  | {
      readonly outcome: 'deny'
      readonly status: number
      readonly rendering: string
      /** Fills `<required_scope>` or `<retry_after>`. */
      readonly value?: string
      readonly reason: DenialReason
    }

/** One golden case. */
export interface GoldenCase {
  readonly id: string
  readonly profile: ProductName
  /** Null: no credential header. `$B1` stands for a fixture's secret; see `secretsFilled`. */
  readonly credential: { readonly header: string; readonly value: string } | null
  readonly method: string
  readonly path: string
  /** Value of x-forwarded-for; null: no such header. */
  readonly xff: string | null
  /** Default: `goldenSettings.now`. */
  readonly now?: string
  /** Trusted proxies in front of Envoy, which appends its peer; default 0. */
  readonly hops?: number
  /** Key environments that the deployment accepts; default: all. */
  readonly accept?: readonly string[]
  /** Default true: the table is confirmed fresh. */
  readonly fresh?: boolean
  readonly expect: Expected
  /** Whether the outcome is documented by the product, in part, or chosen. */
  readonly mark: 'D' | 'P' | 'C'
  readonly note: string
}

interface GoldenFile {
  readonly settings: {
    readonly now: string
    readonly deploymentEnvironment: string
    readonly pepper: { readonly id: string; readonly hex: string }
    readonly hops: number
  }
  readonly hosts: Readonly<Record<ProductName, string>>
  readonly renderings: Readonly<Record<ProductName, Readonly<Record<string, GoldenRendering>>>>
  readonly keys: readonly KeyFixture[]
  readonly cases: readonly GoldenCase[]
}

// The compiled copy of this file stands in dist/test/core, the data only here.
const file: GoldenFile = JSON.parse(readFileSync(findData(), 'utf8'))

function findData(): URL {
  const here = new URL('./cases.json', import.meta.url)
  return here.pathname.includes('/dist/') ? new URL(here.href.replace('/dist/', '/')) : here
}

export const goldenSettings = file.settings
export const goldenHosts = file.hosts
export const goldenRenderings = file.renderings
export const goldenKeys = file.keys
export const goldenCases = file.cases

const secrets = new Map(goldenKeys.map(key => [key.name, key.secret]))

/** A fixture. @throws Error for an unknown name. */
export function goldenKey(name: string): KeyFixture {
  const found = goldenKeys.find(key => key.name === name)
  if (found === undefined) throw new Error(`no fixture ${name}`)
  return found
}

/** A text with `$B1` and the like replaced by the fixture's secret. */
export function secretsFilled(text: string): string {
  return text.replace(/\$([BLG]\d+)/g, (_, name: string) => {
    const secret = secrets.get(name)
    if (secret === undefined) throw new Error(`no fixture ${name}`)
    return secret
  })
}

/** The body or a header of a golden rendering as a pattern: known values filled in, varying ones matched by form. */
export function goldenPattern(text: string, values: { readonly [placeholder: string]: string }): RegExp {
  const forms: { readonly [placeholder: string]: string } = {
    support_id: 'support_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
    retry_after: '[123]',
    env: goldenSettings.deploymentEnvironment,
  }
  const pattern = text
    .split(/(<[a-z_-]+>)/)
    .map(part => {
      const name = /^<(.*)>$/.exec(part)?.[1]
      if (name === undefined) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
      return values[name] ?? forms[name] ?? `<no value for ${name}>`
    })
    .join('')
  return new RegExp(`^${pattern}$`)
}
