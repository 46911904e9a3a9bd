// Where the client address comes from, in each of the five modes, through a real Envoy set up for it (envoy-contract.md 6.2):
// an allowlisted key works from its address, and nothing that a client can write widens what it may.
// Loopback addresses stand for clients; a PROXY header or a chain stands for what a load balancer tells.
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { type EnvoyEdit, editEnvoy, type Part, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-addr-'))
const roles = new Map<string, CheckRole>()
let upstream: Upstream
let envoy: EnvoyProcess

const prefix = 'GATEWARDEN_CLIENT_ADDRESS_'
/** A check role for each way to read the address. */
const settings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  metadata: { MODE: 'grpc-metadata' },
  header: { MODE: 'trusted-header', HEADER: 'x-client-address' },
  hops0: { MODE: 'xff-hops', HOPS: '0', APPENDED: 'true' },
  hops1: { MODE: 'xff-hops', HOPS: '1', APPENDED: 'true' },
  cidrs: { MODE: 'xff-trusted-cidrs', TRUSTED_CIDRS: '127.0.0.2/32,198.51.100.0/24', APPENDED: 'false' },
  source: { MODE: 'source-address' },
}

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  upstream = await startUpstream()
  for (const [name, each] of Object.entries(settings)) {
    const environment = Object.fromEntries(Object.entries(each).map(([key, value]) => [`${prefix}${key}`, value]))
    roles.set(name, await startCheckRole(database().database, { directory, settings: environment }))
  }
  const shipped = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
    listeners: ['edge'],
    clusters: { gatewarden: { port: 1 }, api: { port: upstream.port } },
  })
  envoy = await startEnvoy(editEnvoy(shipped, setUp))
})
afterAll(async () => {
  await envoy?.stop()
  await Promise.all([...roles.values()].map(role => role.stop()))
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

/** One listener for each way; all else as shipped. */
function setUp(edit: EnvoyEdit): void {
  patient(edit, 'edge')
  // What clients write about themselves shall reach the check, so that a test shows that it is not believed.
  const authorizer = edit.authorizer('edge') as { allowed_headers: { patterns: Part[] } }
  const spoofable = spoofNames.filter(name => name !== 'x-forwarded-for')
  authorizer.allowed_headers.patterns.push(...['x-client-address', ...spoofable].map(exact => ({ exact })))
  for (const [name, role] of roles) {
    const [endpoint] = role.endpoints
    if (endpoint === undefined) throw new Error('a check role listens nowhere')
    edit.addCluster('gatewarden', name, endpoint)
  }
  const addListener = (name: string, role: string) => {
    edit.addListener('edge', name)
    const service = edit.authorizer(name)['grpc_service'] as { envoy_grpc: Part }
    service.envoy_grpc['cluster_name'] = role
    return edit.manager(name)
  }
  addListener('metadata', 'metadata')
  // One trusted proxy in front: the shipped configuration with the number that its comment tells to raise.
  addListener('metadata behind a proxy', 'metadata')['xff_num_trusted_hops'] = 1
  addListener('header', 'header')
  edit.filters('header').unshift({
    name: 'envoy.filters.http.header_mutation',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation',
      mutations: {
        request_mutations: [
          {
            append: {
              header: { key: 'x-client-address', value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' },
              append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
            },
          },
        ],
      },
    },
  })
  addListener('hops behind a proxy', 'hops1')
  addListener('hops', 'hops0')
  const chain = addListener('cidrs', 'cidrs')
  chain['use_remote_address'] = false // nothing appended: the chain is what the peer sent
  addListener('source', 'source')
  addListener('source by PROXY', 'source')
  edit.listener('source by PROXY')['listener_filters'] = [
    {
      name: 'envoy.filters.listener.proxy_protocol',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol',
      },
    },
  ]
}

interface Sent {
  readonly listener: string
  /** A loopback address to come from; default 127.0.0.1. */
  readonly from?: string
  readonly lines?: readonly string[]
  /** Sent before the request. */
  readonly proxy?: string
}

/** The status of a request; 0: the connection ended without an answer. */
type Ask = (sent: Sent) => Promise<number>

function asker(head: readonly string[]): Ask {
  return ({ listener, from = '127.0.0.1', lines = [], proxy = '' }) =>
    new Promise((resolve, reject) => {
      const socket = connect({ port: envoy.port(listener), host: '127.0.0.1', localAddress: from })
      let text = ''
      const timer = setTimeout(() => reject(new Error(`no answer on ${listener}`)), 10_000)
      const end = () => {
        clearTimeout(timer)
        resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0))
        socket.destroy()
      }
      socket.setEncoding('latin1').on('data', chunk => {
        text += chunk
      })
      socket.once('close', end).once('error', end)
      const request = [...head, ...lines, 'connection: close', '', ''].join('\r\n')
      socket.write(Buffer.from(`${proxy}${request}`, 'latin1'))
    })
}

/** G2 is for 127.0.0.1 alone. */
const local = asker([
  'POST /products HTTP/1.1',
  `host: ${goldenHosts.bitgpt}`,
  `authorization: Bearer ${goldenKey('G2').secret}`,
  'content-length: 0',
])
/** B3 is for 203.0.113.0/24, 2001:db8::/48 and 198.51.100.7. */
const office = asker([
  'GET /customer/open/v1/customers HTTP/1.1',
  `host: ${goldenHosts.bitbybit}`,
  `x-api-key: ${goldenKey('B3').secret}`,
])
/** B1 has no list. */
const anywhere = asker([
  'GET /customer/open/v1/customers HTTP/1.1',
  `host: ${goldenHosts.bitbybit}`,
  `x-api-key: ${goldenKey('B1').secret}`,
])

const spoofNames = [
  'x-forwarded-for',
  'x-envoy-external-address',
  'x-real-ip',
  'forwarded',
  'true-client-ip',
  'cf-connecting-ip',
  'x-client-ip',
  'x-gatewarden-client-ip',
  'x-client-address',
  'x-envoy-internal',
]
/** Ways to write an address that both lists may hold, and chains around it. */
const forms = (address: string): readonly string[] => [
  address,
  `${address}:443`,
  `[${address}]`,
  `::ffff:${address}`,
  `[::ffff:${address}]:80`,
  ` ${address}\t`,
  `,${address}`,
  `for=${address}`,
  `${address}%eth0`,
  Array.from({ length: 21 }, () => address).join(', '),
]
const allowedAddresses = ['127.0.0.1', '203.0.113.77', '198.51.100.7', '2001:db8::5']

/** Single lines and pairs of lines that say "I am one of those". */
function spoofs(names: readonly string[]): readonly (readonly string[])[] {
  const lines = names.flatMap(name => allowedAddresses.flatMap(forms).map(value => `${name}: ${value}`))
  const all = allowedAddresses.map(address => names.map(name => `${name}: ${address}`))
  return [...lines.map(line => [line]), ...all, ...all.map(each => [...each, ...each])]
}

let corpusSize = 0

/** None of the corpus gets an allow where the plain request gets none, and a key without a list is not harmed. */
async function expectNoSpoof(sent: Sent, corpus: readonly (readonly string[])[], ask: Ask = local): Promise<void> {
  expect(await ask(sent)).toBe(403)
  const batch = 24
  for (let at = 0; at < corpus.length; at += batch) {
    const part = corpus.slice(at, at + batch)
    const answers = await Promise.all(part.map(lines => ask({ ...sent, lines: [...(sent.lines ?? []), ...lines] })))
    const widened = part.filter((_, index) => answers[index] !== 403 && answers[index] !== 400)
    expect(widened).toEqual([])
  }
  corpusSize += corpus.length
}

const stranger = '127.0.0.9'

describe('grpc-metadata, as shipped', () => {
  it('is the peer, whatever the client writes', async () => {
    expect(await local({ listener: 'metadata' })).toBe(200)
    await expectNoSpoof({ listener: 'metadata', from: stranger }, spoofs(spoofNames))
    expect(await local({ listener: 'metadata', lines: ['x-forwarded-for: 192.0.2.1'] })).toBe(200)
  })

  it('behind one trusted proxy is the last entry that the proxy wrote', async () => {
    const listener = 'metadata behind a proxy'
    expect(await office({ listener, lines: ['x-forwarded-for: 192.0.2.1, 203.0.113.77'] })).toBe(200)
    const outside = { listener, lines: ['x-forwarded-for: 203.0.113.77, 192.0.2.1'] }
    expect(await office(outside)).toBe(403)
    await expectNoSpoof(outside, spoofs(spoofNames.filter(name => name !== 'x-forwarded-for')), office)
  })
})

describe('trusted-header', () => {
  it('is what Envoy wrote over whatever the client sent', async () => {
    expect(await local({ listener: 'header' })).toBe(200)
    expect(await local({ listener: 'header', lines: ['x-client-address: 192.0.2.1'] })).toBe(200)
    await expectNoSpoof({ listener: 'header', from: stranger }, spoofs(spoofNames))
  })
})

describe('xff-hops', () => {
  it('with one hop is the entry before the one that Envoy appended', async () => {
    const listener = 'hops behind a proxy'
    expect(await office({ listener, lines: ['x-forwarded-for: 203.0.113.77'] })).toBe(200)
    expect(await office({ listener, lines: ['x-forwarded-for: 192.0.2.1, 203.0.113.77'] })).toBe(200)
    expect(await office({ listener, lines: ['x-forwarded-for: 192.0.2.1, 2001:db8::5'] })).toBe(200)
    const outside = { listener, lines: ['x-forwarded-for: 203.0.113.77, 192.0.2.1'] }
    expect(await office(outside)).toBe(403)
    await expectNoSpoof(outside, spoofs(spoofNames.filter(name => name !== 'x-forwarded-for')), office)
  })

  it('with a chain that is too short is unknown: denied with a list, allowed without', async () => {
    const listener = 'hops behind a proxy'
    expect(await office({ listener })).toBe(403)
    expect(await anywhere({ listener })).toBe(200)
  })

  it('without hops is what Envoy appended, which for a peer on loopback is its own address', async () => {
    // Envoy does not append 127.0.0.1 for such a peer: two processes on one machine need another mode.
    expect(await local({ listener: 'hops' })).toBe(403)
    await expectNoSpoof({ listener: 'hops', from: stranger }, spoofs(spoofNames))
    expect(await anywhere({ listener: 'hops' })).toBe(200)
  })
})

describe('xff-trusted-cidrs', () => {
  const proxy = { listener: 'cidrs', from: '127.0.0.2' }

  it('is the last address that is no proxy, when a proxy of ours is the peer', async () => {
    expect(await office({ ...proxy, lines: ['x-forwarded-for: 203.0.113.77'] })).toBe(200)
    expect(await office({ ...proxy, lines: ['x-forwarded-for: 192.0.2.1, 203.0.113.77, 198.51.100.9'] })).toBe(200)
    const outside = { ...proxy, lines: ['x-forwarded-for: 203.0.113.77, 192.0.2.1, 198.51.100.9'] }
    expect(await office(outside)).toBe(403)
    await expectNoSpoof(outside, spoofs(spoofNames.filter(name => name !== 'x-forwarded-for')), office)
  })

  it('is the peer itself, when that is no proxy of ours', async () => {
    expect(await local({ listener: 'cidrs' })).toBe(200)
    expect(await local({ listener: 'cidrs', lines: ['x-forwarded-for: 192.0.2.1'] })).toBe(200)
    await expectNoSpoof({ listener: 'cidrs', from: stranger }, spoofs(spoofNames))
  })

  it('is unknown when an entry cannot be read before a client is found', async () => {
    for (const entry of ['unknown', '_hidden', '203.0.113.077', '203.0.113.77:99999', '', '203.0.113', '0x7f000001'])
      expect([entry, await office({ ...proxy, lines: [`x-forwarded-for: 203.0.113.77, ${entry}`] })]).toEqual([
        entry,
        403,
      ])
  })
})

describe('source-address', () => {
  it('is the peer, whatever the client writes', async () => {
    expect(await local({ listener: 'source' })).toBe(200)
    await expectNoSpoof({ listener: 'source', from: stranger }, spoofs(spoofNames))
  })

  it('is the source of a PROXY header, where Envoy reads one', async () => {
    const listener = 'source by PROXY'
    const from = (address: string, family = 'TCP4') =>
      `PROXY ${family} ${address} ${family === 'TCP4' ? '192.0.2.200' : '2001:db8:ffff::1'} 41234 443\r\n`
    expect(await office({ listener, proxy: from('203.0.113.77') })).toBe(200)
    expect(await office({ listener, proxy: from('2001:db8::5', 'TCP6') })).toBe(200)
    // Such a source stays in its mapped form in Envoy; it is the IPv4 address to us.
    expect(await office({ listener, proxy: from('::ffff:203.0.113.77', 'TCP6') })).toBe(200)
    const outside = { listener, proxy: from('192.0.2.1') }
    expect(await office(outside)).toBe(403)
    await expectNoSpoof(outside, spoofs(spoofNames), office)
  })
})

it('the corpus was asked', () => {
  process.stdout.write(`client address: ${corpusSize} spoofed requests, 0 widened\n`)
  expect(corpusSize).toBeGreaterThan(2000)
})
