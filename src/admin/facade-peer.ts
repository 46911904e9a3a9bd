// Whether a TLS peer may speak for callers: its certificate, which the handshake has verified, has a name on the list.
// Names are those of the subject alternative name only, compared whole; what cannot be read names nobody.
import type { PeerCertificate } from 'node:tls'

/** The DNS and URI names of a certificate, e.g. `edge.example` and `spiffe://example/edge`. */
export function peerNames(certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined): readonly string[] {
  const text = certificate?.subjectaltname ?? ''
  // Node writes a name with a comma, a quote or a control character between quotes: no name that anybody would list.
  if (text.includes('"')) return []
  return text.split(', ').flatMap(entry => {
    if (entry.startsWith('DNS:')) return [entry.slice('DNS:'.length).toLowerCase()]
    return entry.startsWith('URI:') ? [entry.slice('URI:'.length)] : []
  })
}

/** Whether one of the names is trusted. A wildcard in a certificate is no name of anybody. */
export function isTrustedPeer(
  certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined,
  trusted: readonly string[],
): boolean {
  const wanted = new Set(trusted.map(name => (name.includes(':') ? name : name.toLowerCase())))
  return peerNames(certificate).some(name => wanted.has(name))
}
