// The way of every question about usage: authenticate, authorise, parse and look for the resource in a short transaction of
// admin, then read the usage log beside it. A long read holds nothing that a change waits for.
import type { Micros } from '../core/time.ts'
import type { Interval } from '../gen/gatewarden/admin/v1/resources.ts'
import type { AdminCall } from './admin-call.ts'
import type { AdminReads } from './admin-store.ts'
import type { ApiKeyContext } from './api-key-context.ts'
import type { Caller } from './caller.ts'
import { authorise, guarded, type Handler } from './command.ts'
import type { RpcName } from './permission.ts'
import type { UsageReads } from './usage-rows.ts'
import { Violations } from './violations.ts'
import { microsOf } from './wire-time.ts'

/** One RPC about usage. */
export interface UsageQuestion<Request, Plan, Reply> {
  readonly rpc: RpcName
  /** As in `Query`. */
  organizationOf(request: Request): string | null
  /** Parses, then looks for what the request names; violations are thrown by `checked`. */
  plan(tx: AdminReads, request: Request, caller: Caller): Promise<Plan>
  answer(usage: UsageReads, plan: Plan): Promise<Reply>
}

/** The handler of a question. */
export function usageQuestion<Request, Plan, Reply>(
  context: ApiKeyContext,
  spec: UsageQuestion<Request, Plan, Reply>,
): Handler<Request, Reply> {
  return async (request, call) => {
    const plan = await planned(context, spec, request, call)
    return await guarded(context, call, () => spec.answer(context.usage, plan))
  }
}

/** The first half of a question: what is to be read. */
export function planned<Request, Plan>(
  context: ApiKeyContext,
  spec: Omit<UsageQuestion<Request, Plan, unknown>, 'answer'>,
  request: Request,
  call: AdminCall,
): Promise<Plan> {
  return guarded(context, call, () =>
    context.store.read(async tx => {
      const caller = await authorise(context, tx, call, spec.rpc, spec.organizationOf(request))
      return await spec.plan(tx, request, caller)
    }),
  )
}

/** What `parse` makes of a request. @throws RpcError with everything that is wrong with it. */
export function checked<Parsed>(parse: (violations: Violations) => Parsed | null): Parsed {
  const violations = new Violations()
  const parsed = parse(violations)
  violations.throwIfAny()
  if (parsed === null) throw new Error('a request without violations has a parsed form')
  return parsed
}

/** An interval read; `to` is exclusive. */
export interface UsageInterval {
  readonly from: Micros
  readonly to: Micros
}

/** Reads an interval: up to now, and from `defaultMicros` before its end, unless it says otherwise; at most `maxMicros` long. */
export function readInterval(
  given: Interval | undefined,
  field: string,
  bounds: { readonly now: Micros; readonly defaultMicros: number; readonly maxMicros: number },
  violations: Violations,
): UsageInterval | null {
  const [start, end] = [given?.startTime, given?.endTime].map(time => (time === undefined ? null : microsOf(time)))
  for (const [name, at] of Object.entries({ start_time: start, end_time: end })) {
    if (typeof at === 'string')
      violations.add(`${field}.${name}`, 'FIELD_INVALID', 'It is not a time from 1970 to 2299.')
  }
  if (typeof start === 'string' || typeof end === 'string') return null
  const to = end ?? bounds.now
  const from = start ?? to - bounds.defaultMicros
  if (from >= to) violations.add(field, 'FIELD_INVALID', 'It ends before it starts.')
  else if (to - from > bounds.maxMicros) {
    violations.add(field, 'FIELD_INVALID', `It is longer than ${bounds.maxMicros / 86_400_000_000} days.`)
  } else return { from, to }
  return null
}
