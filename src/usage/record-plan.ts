// What of a profile stands in every record of its requests, encoded once: names, routes, scopes, and which members are kept.
// Made when a profile is first met, thrown away with it; nothing of a request is in here.
import { ALLOW, denialReasons, reasonOf } from '../core/reason.ts'
import type { RouteRule } from '../core/route-table.ts'
import { Constant } from './record-buffer.ts'
import { toBounded } from './text-guard.ts'
import { type UsageDecision, usageTextMax } from './usage-row.ts'

/** A profile as far as recording reads it. */
export interface RecordedProfile {
  readonly name: string
  readonly policy: { readonly routes: { readonly rules: readonly RouteRule[] } }
  /** Template of support ids, e.g. `support_{uuidv7}`; null: the profile has none. */
  readonly management: { readonly ids: { readonly support: string | null } }
  readonly usageLog: {
    readonly record: 'all' | 'denied'
    /** Members of a record that are kept, as profiles.md d.1 `usage_log.fields` names them. */
    readonly fields: readonly string[]
  }
}

export interface RecordPlan {
  /** The profile that it was made from; null: no profile matched. */
  readonly profile: RecordedProfile | null
  readonly recordsAllowed: boolean
  /** profile, route, required_scope, client_ip_mode: by rule, one further than its index, since no rule is -1. */
  readonly byRule: readonly Constant[]
  /** What stands around the UUID of a support id; null: none is kept. */
  readonly support: { readonly prefix: Buffer; readonly suffix: Buffer } | null
  readonly keepsApiKey: boolean
  readonly keepsEnvironment: boolean
  readonly keepsStatus: boolean
  readonly keepsClientIp: boolean
  readonly keepsDirectIp: boolean
  readonly keepsMethod: boolean
  readonly keepsHost: boolean
  readonly keepsPath: boolean
  readonly keepsUserAgent: boolean
  readonly keepsRequestId: boolean
}

/** @param clientIpMode how this process finds the client's address */
export function planRecords(profile: RecordedProfile | null, clientIpMode: string): RecordPlan {
  const keeps = (member: string) => profile === null || profile.usageLog.fields.includes(member)
  const valuesOf = (rule: RouteRule | undefined) => [
    toBounded(profile?.name ?? '', usageTextMax.name),
    toBounded(keeps('route') ? (rule?.path ?? '') : '', usageTextMax.route),
    toBounded(keeps('required_scope') ? (rule?.requiredScope ?? '') : '', usageTextMax.requiredScope),
    toBounded(keeps('client_ip') ? clientIpMode : '', usageTextMax.name),
  ]
  const rules = [undefined, ...(profile?.policy.routes.rules ?? [])]
  return {
    profile,
    recordsAllowed: profile === null || profile.usageLog.record === 'all',
    byRule: rules.map(rule => encode(valuesOf(rule))),
    support: keeps('support_id') ? aroundUuid(profile?.management.ids.support ?? null) : null,
    keepsApiKey: keeps('api_key_id'),
    keepsEnvironment: keeps('environment'),
    keepsStatus: keeps('status'),
    keepsClientIp: keeps('client_ip'),
    keepsDirectIp: keeps('direct_ip'),
    keepsMethod: keeps('method'),
    keepsHost: keeps('host'),
    keepsPath: keeps('path'),
    keepsUserAgent: keeps('user_agent'),
    keepsRequestId: keeps('request_id'),
  }
}

function aroundUuid(template: string | null): RecordPlan['support'] {
  if (template === null) return null
  const [prefix = '', suffix = ''] = template.split(/\{uuidv[47]\}/)
  return { prefix: Buffer.from(prefix), suffix: Buffer.from(suffix) }
}

const allowed = encode(outcome('allow', ''))
const denied = denialReasons.map((_, code) => encode(outcome('deny', reasonOf(code))))
const failed = encode(outcome('deny', reasonOf(0)))

/** decision and reason of a decision's code. */
export function outcomeOf(code: number): Constant {
  return code === ALLOW ? allowed : (denied[code] ?? failed)
}

function outcome(decision: UsageDecision, reason: string): Buffer[] {
  return [Buffer.from(decision), Buffer.from(reason)]
}

/** Values as columns in PostgreSQL's binary form. */
function encode(values: readonly Buffer[]): Constant {
  const parts = values.flatMap(value => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value.length)
    return [length, value]
  })
  return new Constant(Buffer.concat(parts))
}
