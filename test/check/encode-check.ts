// Writes CheckRequests octet by octet, so that tests can also write what no encoder would.
// Shares no code with src/; the generated decoder reads the same octets in check-request.test.ts.

export type Octets = string | Uint8Array

/** A request as a client sent it and Envoy hands it on. */
export interface SentRequest {
  readonly method?: string
  readonly path?: Octets
  readonly host?: Octets
  /** In order; repeated names apart, values as sent. */
  readonly headers?: readonly (readonly [name: string, value: Octets])[]
  /** Which header form Envoy was told to use. `headers` joins repeated names with a comma, as Envoy does. */
  readonly form?: 'headers' | 'header_map' | 'both'
  /** Pseudo-headers are part of both forms unless `allowed_headers` is set. */
  readonly pseudoHeaders?: boolean
  readonly extensions?: Readonly<Record<string, string>>
  /** Text of source.address, `pipe:PATH` or `internal:NAME`; default 192.0.2.200. Null: none. */
  readonly source?: string | null
}

const octets = (text: Octets): Uint8Array => (typeof text === 'string' ? Buffer.from(text, 'utf8') : text)

export function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  return Buffer.from([...bytes, rest])
}

/** A length-delimited field. */
export function field(number: number, ...parts: readonly Octets[]): Buffer {
  const content = Buffer.concat(parts.map(octets))
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content])
}

/** A varint field. */
export function numeric(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)])
}

function allHeaders(request: SentRequest): readonly (readonly [string, Octets])[] {
  const sent = request.headers ?? []
  if (request.pseudoHeaders === false) return sent
  const pseudo: [string, Octets][] = [
    [':authority', request.host ?? ''],
    [':path', request.path ?? ''],
    [':method', request.method ?? 'GET'],
    [':scheme', 'https'],
  ]
  return [...pseudo, ...sent]
}

/** Envoy merges inline headers even in `header_map` (envoy-contract.md 2.3). */
const inline = new Set(['authorization', 'x-forwarded-for', 'user-agent', 'accept', 'host', 'content-type'])

export function mergedHeaders(
  headers: readonly (readonly [string, Octets])[],
  merges: (name: string) => boolean,
): [string, Octets][] {
  const merged = new Map<string, Octets>()
  const list: [string, Octets][] = []
  for (const [name, value] of headers) {
    const known = merged.get(name)
    if (known !== undefined && merges(name)) {
      const joined = Buffer.concat([octets(known), Buffer.from(','), octets(value)])
      merged.set(name, joined)
      const entry = list.find(([other]) => other === name)
      if (entry !== undefined) entry[1] = joined
    } else {
      merged.set(name, value)
      list.push([name, value])
    }
  }
  return list
}

export function headersField(headers: readonly (readonly [string, Octets])[]): Buffer {
  return Buffer.concat(headers.map(([name, value]) => field(3, field(1, name), field(2, value))))
}

export function headerMapField(headers: readonly (readonly [string, Octets])[]): Buffer {
  return field(13, ...headers.map(([name, value]) => field(1, field(1, name), field(3, value))))
}

/** AttributeContext.HttpRequest, without its own tag. */
export function httpRequest(request: SentRequest): Buffer {
  const form = request.form ?? 'header_map'
  const lower = allHeaders(request).map(([name, value]) => [name.toLowerCase(), value] as const)
  return Buffer.concat([
    field(1, '7716250462571217412'),
    field(2, request.method ?? 'GET'),
    form === 'header_map' ? Buffer.alloc(0) : headersField(mergedHeaders(lower, () => true)),
    field(4, request.path ?? '/'),
    field(5, request.host ?? ''),
    field(6, 'https'),
    Buffer.concat([varint(9 * 8), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])]),
    field(10, 'HTTP/1.1'),
    form === 'headers' ? Buffer.alloc(0) : headerMapField(mergedHeaders(lower, name => inline.has(name))),
  ])
}

export function peer(address: string | null): Buffer {
  if (address === null) return Buffer.alloc(0)
  if (address.startsWith('pipe:')) return field(1, field(2, field(1, address.slice(5))))
  if (address.startsWith('internal:')) return field(1, field(3, field(1, address.slice(9))))
  return field(1, field(1, field(2, address), numeric(3, 41234)))
}

export function extension(name: Octets, value: Octets): Buffer {
  return field(10, field(1, name), field(2, value))
}

/** A whole CheckRequest. */
export function encodeCheck(request: SentRequest): Buffer {
  const source = request.source === undefined ? '192.0.2.200' : request.source
  return field(
    1,
    source === null ? Buffer.alloc(0) : field(1, peer(source)),
    field(2, peer('192.0.2.1'), field(2, 'listener')),
    field(4, field(1, numeric(1, 1772370000)), field(2, httpRequest(request))),
    ...Object.entries(request.extensions ?? {}).map(([name, value]) => extension(name, value)),
    field(11),
  )
}
