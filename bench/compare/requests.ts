// What the compared servers are asked: 10 000 requests a mix, as the octets of a CheckRequest and as an HTTP/1.1 request, with
// the answer that is right. Secrets are made from their number, so that every process of the bench knows the same ones.
import { hash } from 'node:crypto'
import { CheckRequest } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { apiHost, routeCount } from './bench-profile.ts'

/** API keys of the world. */
export const keyCount = 200_000
/** Secrets from this number on are unknown to everybody, however many keys a world has. */
const unknownFrom = 1_000_000_000
/** Requests of a mix: enough that no API key and no path is hot. */
export const requestCount = 10_000
/** A single API key would meet its rate limit: no key may have more than a million requests in 100 s. */
const fewCount = 64
/** The client that is asked about; the allowlist has its network. */
export const clientAddress = '198.51.18.77'

export const mixNames = ['few', 'mixed', 'mixed-raw', 'unknown'] as const
export type MixName = (typeof mixNames)[number]

/** What each mix is, for the table. */
export const mixes: Readonly<Record<MixName, string>> = {
  few: '64 API keys and paths, all hot and allowed',
  mixed: '10 000 API keys and paths, 5 % refused by route, 1 % unknown keys',
  'mixed-raw': 'as mixed, with encode_raw_headers on',
  unknown: 'unknown API keys alone, encode_raw_headers on',
}

export const isRaw = (mix: MixName): boolean => mix === 'mixed-raw' || mix === 'unknown'

/** One request and the HTTP status that a client gets for it; 200 stands for an allow. */
export interface BenchRequest {
  readonly path: string
  readonly secret: string
  readonly status: 200 | 401 | 403
  readonly number: number
}

export const secretOf = (number: number): string => `bn_live_${hash('sha256', `secret ${number}`, 'hex').slice(0, 32)}`

/** A stride that is coprime to the number of keys spreads the requests over the whole table. */
const stride = 7919
const knownSecret = (number: number) => secretOf((number * stride) % keyCount)

/** Every known secret that a request of any mix carries: the peers hold these. */
export function askedSecrets(): readonly string[] {
  return Array.from({ length: requestCount }, (_, number) => knownSecret(number))
}

/** Under this prefix no route is mapped. */
const unmappedPrefix = '/v1/none/'

function mapped(number: number): string {
  const route = (number >> 1) % (routeCount / 2)
  return number % 2 === 0 ? `/v1/r${route}?page=${number}` : `/v1/r${route}/item-${number}/parts`
}

/** The requests of a mix, in the order in which they are sent. */
export function requestsOf(mix: MixName): readonly BenchRequest[] {
  const known = (number: number): BenchRequest => ({
    number,
    path: mapped(number),
    secret: knownSecret(number),
    status: 200,
  })
  const unknown = (number: number): BenchRequest => ({
    ...known(number),
    secret: secretOf(unknownFrom + number),
    status: 401,
  })
  const refused = (number: number): BenchRequest => ({
    ...known(number),
    path: `${unmappedPrefix}${number}`,
    status: 403,
  })
  if (mix === 'few') return Array.from({ length: fewCount }, (_, number) => known(number))
  const numbers = Array.from({ length: requestCount }, (_, number) => number)
  if (mix === 'unknown') return numbers.map(unknown)
  return numbers.map(number => (number % 100 === 7 ? unknown : number % 20 === 3 ? refused : known)(number))
}

/** Fields of a client's request, as a browser sends them through a proxy; `:`-fields are Envoy's. */
function headersOf({ number, path, secret }: BenchRequest): readonly (readonly [string, string])[] {
  return [
    [':authority', apiHost],
    [':path', path],
    [':method', 'GET'],
    [':scheme', 'http'],
    ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36'],
    ['accept', 'application/json, text/plain, */*'],
    ['accept-encoding', 'gzip, deflate, br, zstd'],
    ['accept-language', 'en-GB,en;q=0.9,de;q=0.8'],
    ['content-type', 'application/json'],
    ['origin', 'https://app.bench.test'],
    ['x-forwarded-for', clientAddress],
    ['x-forwarded-proto', 'http'],
    ['x-request-id', `5f0c8a3e-0000-4000-8000-${number.toString(16).padStart(12, '0')}`],
    ['x-api-key', secret],
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ]
}

function addressOf(address: string) {
  const value = {
    protocol: 0,
    address,
    portSpecifier: { $case: 'portValue', value: 44_321 },
    resolverName: '',
    ipv4Compat: false,
  } as const
  return {
    address: { address: { $case: 'socketAddress', value } },
    service: '',
    labels: new Map(),
    principal: '',
    certificate: '',
  } as const
}

/** The octets of one CheckRequest as Envoy 1.40 encodes it. */
export function toCheckRequest(request: BenchRequest, raw: boolean): Buffer {
  const fields = headersOf(request)
  const headerMap = { headers: fields.map(([key, value]) => ({ key, value: '', rawValue: Buffer.from(value) })) }
  const http = {
    id: '7716250462571217412',
    method: 'GET',
    headers: new Map(raw ? [] : fields),
    path: request.path,
    host: apiHost,
    scheme: 'http',
    query: '',
    fragment: '',
    size: 0n,
    protocol: 'HTTP/1.1',
    body: '',
    rawBody: Buffer.alloc(0),
    headerMap: raw ? headerMap : undefined,
  }
  const attributes = {
    source: addressOf(clientAddress),
    destination: addressOf('10.0.0.1'),
    request: { time: { seconds: 1_772_370_000n, nanos: 0 }, http },
    contextExtensions: new Map(),
    metadataContext: undefined,
    tlsSession: undefined,
    routeMetadataContext: undefined,
  }
  return Buffer.from(CheckRequest.encode({ attributes }).finish())
}

/** The same request as a client sends it to Envoy, which adds what a proxy adds. */
export function toHttpRequest(request: BenchRequest): Buffer {
  const own = headersOf(request).filter(([name]) => !name.startsWith(':') && !/^x-(forwarded|request)/.test(name))
  const lines = own.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`GET ${request.path} HTTP/1.1\r\nhost: ${apiHost}\r\n${lines.join('')}\r\n`, 'latin1')
}
