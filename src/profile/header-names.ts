// Headers that a profile may not set, on replies or towards the upstream: they belong to the connection, to the framing of the
// body, to Envoy or to gRPC.

const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'date',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Whether a lower-case header name is not for a profile to set. */
export function isReservedHeader(name: string): boolean {
  return reserved.has(name) || name.startsWith('x-envoy-') || name.startsWith('grpc-')
}
