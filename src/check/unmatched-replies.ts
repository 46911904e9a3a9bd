// The replies for requests that no profile matches (profiles.md D21), in a shape of no product, and the very last resort
// for a failure of ours before anything is known. Never another profile's text, never an exception.

import { type DenialReason, denialReasons } from '../core/reason.ts'
import type { Rendering, Template } from '../profile/compiled-profile.ts'
import { compileDenial, type ProfileReplies } from './profile-replies.ts'
import { encodeEntry } from './reply-encoding.ts'

const empty = new Uint8Array(0)

function constant(text: string): Template {
  return { pieces: [Buffer.from(text)], holes: [] }
}

function renderingFor(reason: DenialReason): Rendering {
  const shared = [
    { name: 'content-type', value: constant('application/json') },
    { name: 'cache-control', value: constant('no-store') },
  ]
  const shape = (status: number, grpcStatus: number, error: string, headers: Rendering['headers'] = []): Rendering => ({
    name: error,
    reason,
    status,
    grpcStatus,
    body: constant(`{"error":"${error}"}`),
    message: constant(error),
    headers: [...shared, ...headers],
    documented: 'false',
  })
  switch (reason) {
    case 'request_malformed':
      return shape(400, 3, 'bad_request')
    case 'authz_unavailable': {
      const retryAfter: Template = {
        pieces: [Buffer.alloc(0), Buffer.alloc(0)],
        holes: [{ name: 'retry_after', form: 'text' }],
      }
      return shape(503, 14, 'service_unavailable', [{ name: 'retry-after', value: retryAfter }])
    }
    default:
      return shape(403, 7, 'forbidden')
  }
}

/** Replies of no profile. `mode` is the name of the client-address mode. */
export function compileUnmatchedReplies(mode: string): ProfileReplies {
  return {
    denials: denialReasons.map(reason => compileDenial(renderingFor(reason))),
    support: null,
    metadata: encodeEntry('client_ip_mode', mode),
    allowMetadata: empty,
    routeMetadata: [],
    scopeMetadata: [],
    organizationHeader: null,
    apiKeyHeader: null,
    environmentHeader: null,
    scopeHeaders: [],
    emptyScopeHeader: empty,
    removals: empty,
    publicRemovals: empty,
    limitHeaders: [],
    scopeJoins: [],
  }
}
