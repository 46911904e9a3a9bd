// The replies for requests that no profile matches (profiles.md D21), in a shape of no product, encoded like those of a
// profile. They have no allow: without a profile nobody is let pass.
import { unmatchedRenderings } from '../profile/unmatched.ts'
import { compileDenial, type ProfileReplies } from './profile-replies.ts'
import { encodeEntry } from './reply-encoding.ts'

const empty = new Uint8Array(0)

/** Replies of no profile. `mode` is the name of the client-address mode. */
export function compileUnmatchedReplies(mode: string): ProfileReplies {
  return {
    denials: unmatchedRenderings.map(compileDenial),
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
