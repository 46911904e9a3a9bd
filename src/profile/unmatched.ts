// How a request that no profile matches is answered: in a shape of no product (profiles.md D21).
// The same `Rendering` as everywhere, so that whoever writes replies treats them alike.
import { type DecisionCode, type DenialReason, denialReasons } from '../core/reason.ts'
import type { Rendering, Template } from './compiled-profile.ts'
import { deepFreeze } from './deep-freeze.ts'

const encoded = (text: string): Template => ({ pieces: [Buffer.from(text)], holes: [] })

const retryAfter: Template = {
  pieces: [Buffer.alloc(0), Buffer.alloc(0)],
  holes: [{ name: 'retry_after', form: 'text' }],
}

function answer(reason: DenialReason, status: number, grpcStatus: number, error: string): Rendering {
  const headers = [
    { name: 'content-type', value: encoded('application/json') },
    { name: 'cache-control', value: encoded('no-store') },
  ]
  return {
    name: error,
    reason,
    status,
    grpcStatus,
    body: encoded(`{"error":"${error}"}`),
    message: encoded(error),
    headers: status === 503 ? [...headers, { name: 'retry-after', value: retryAfter }] : headers,
    documented: 'false',
  }
}

/** Indexed by `DecisionCode`. Without a profile a request is malformed, unmapped, or met by our own failure; nothing else. */
export const unmatchedRenderings: readonly Rendering[] = deepFreeze(
  denialReasons.map(reason => {
    if (reason === 'authz_unavailable') return answer(reason, 503, 14, 'service_unavailable')
    if (reason === 'request_malformed') return answer(reason, 400, 3, 'bad_request')
    return answer('route_unmapped', 403, 7, 'forbidden')
  }),
)

/** The rendering of a code without a profile; an unknown code is our own failure. */
export function unmatchedRenderingOf(code: DecisionCode): Rendering {
  const rendering = unmatchedRenderings[code] ?? unmatchedRenderings[0]
  if (rendering === undefined) throw new Error('there is a rendering for every reason')
  return rendering
}
