// The create call that a product documents, as its clients make it: through a real Envoy, checked by `gatewarden check`, answered by
// `gatewarden admin`; over the shipped unix-socket configuration, and over the shipped TCP configuration with mutual TLS.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiKeyAdminService } from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { RevokeReason } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { bodyPattern, identityOf } from '../admin/facade-stand.ts'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import { goldenKey } from '../core/cases.ts'
import { createAuthority, type IssuedCertificate, issueCertificate } from '../support/certificate-authority.ts'
import { envoyConfig, type UpstreamTls } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { freePort } from '../support/free-port.ts'
import { type Running, startGatewarden } from '../support/gatewarden-process.ts'
import { type Answer, sendRequest } from '../support/http-request.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { editEnvoy, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'
import {
  type AdminProcess,
  type CheckProcess,
  killProcesses,
  siteSettings,
  startAdminProcess,
  startCheckProcess,
  untilReady,
} from './processes.ts'

/** What the product promises of every acknowledged change. */
const boundMs = 10_000
const suiteLimitMs = 60_000

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-create-'))
const organization = organizationOf(goldenKey('G5'))
const zones = ['America/New_York', 'Asia/Kolkata', 'Europe/Berlin', 'UTC']
const socketOf = (zone: string) => join(directory, `${zone.replace('/', '-')}.sock`)

let upstream: Upstream
let check: CheckProcess
let admin: AdminProcess
let envoy: EnvoyProcess
const started: Running[] = []
const envoys: EnvoyProcess[] = []

const site = () => ({ directory, database: database().database })

/** One more admin process on the same database, known by its name. */
async function startAnother(name: string, settings: Readonly<Record<string, string>>): Promise<Running> {
  const running = startGatewarden(
    ['admin'],
    {
      ...siteSettings(site()),
      GATEWARDEN_ADMIN_LISTEN: `unix:${join(directory, `${name}-admin.sock`)}`,
      GATEWARDEN_METRICS_LISTEN: `unix:${join(directory, `${name}-metrics.sock`)}`,
      ...settings,
    },
    directory,
  )
  started.push(running)
  await until(`${name} listens`, () => running.output().includes('"listening"'), 30_000)
  return running
}

async function startEdge(
  file: string,
  facade: { socket: string } | { port: number; tls: UpstreamTls },
  tls?: IssuedCertificate,
): Promise<EnvoyProcess> {
  const config = envoyConfig(repositoryFile(`envoy/${file}`), {
    listeners: ['edge'],
    clusters: { gatewarden: { port: check.port }, api: { port: upstream.port }, facade },
    ...(tls === undefined ? {} : { tls }),
  })
  const edge = await startEnvoy(editEnvoy(config, edit => patient(edit, 'edge')))
  envoys.push(edge)
  return edge
}

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  upstream = await startUpstream()
  const settings = { GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata' }
  check = await startCheckProcess(site(), 'check', settings)
  admin = await startAdminProcess(site())
  await untilReady(check)
  envoy = await startEdge('envoy-uds.yaml', { socket: join(directory, 'facade.sock') })
}, suiteLimitMs)
afterAll(async () => {
  for (const each of envoys) await each.stop()
  await Promise.all(started.map(each => each.stop('SIGKILL')))
  check?.close()
  admin?.channel.close()
  await killProcesses()
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

interface Call {
  readonly body?: unknown
  readonly secret?: string | null
  readonly headers?: readonly (readonly [string, string])[]
  readonly edge?: EnvoyProcess
}

function create({ body, secret = goldenKey('G5').secret, headers = [], edge = envoy }: Call): Promise<Answer> {
  return sendRequest({
    port: edge.port('edge'),
    method: 'POST',
    path: '/developers/api_keys',
    host: 'api.bitgpt.xyz',
    headers: [
      ...(secret === null ? [] : [['authorization', `Bearer ${secret}`] as const]),
      ['content-type', 'application/json'],
      ...headers,
    ],
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

function get(secret: string, path = '/invoices', edge = envoy): Promise<Answer> {
  const headers = [['authorization', `Bearer ${secret}`]] as const
  return sendRequest({ port: edge.port('edge'), method: 'GET', path, host: 'api.bitgpt.xyz', headers })
}

/** One request to a socket, without Envoy. */
function direct(
  socketPath: string,
  headers: readonly (readonly [string, string])[],
  body: object,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath,
        method: 'POST',
        path: '/developers/api_keys',
        agent: false,
        headers: { host: 'api.bitgpt.xyz', 'content-type': 'application/json', ...Object.fromEntries(headers) },
      },
      response => {
        let text = ''
        response.on('data', chunk => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
      },
    )
    call.once('error', reject)
    call.end(JSON.stringify(body))
  })
}

const dataOf = (answer: { readonly body: string }) => JSON.parse(answer.body).data

describe('through Envoy', () => {
  it('the new key works within the promised bound, and does what it was made for', async () => {
    const body =
      '{"label":"My API Key","description":"Key for accessing product APIs","scopes":["invoices.read"],"ip_allow_list":["127.0.0.1"],"expires_at":"2099-05-30 20:23:16"}'
    const answer = await create({ body })
    expect(answer.body).toMatch(
      bodyPattern(
        `{"status":200,"data":{"id":"<id>","organization_id":"${organization}","label":"My API Key","description":"Key for accessing product APIs","secret":"<secret>","scopes":["invoices.read"],"ip_allow_list":["127.0.0.1"],"expires_at":"2099-05-30 20:23:16","created_at":"<time>","updated_at":null,"metrics":{"api_key_id":"<id>","total_requests":0,"last_used_at":null}},"error":null,"log":null,"validator":null,"support_id":null,"message":"Resource created successfully","env":"production"}`,
        { time: '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d' },
      ),
    )
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    })
    const acknowledged = performance.now()
    const { secret, id } = dataOf(answer)
    const allowed = await until('the new key works', async () => {
      const got = await get(secret)
      return got.status === 401 ? false : got
    })
    expect(performance.now() - acknowledged).toBeLessThan(boundMs)
    expect(allowed.status).toBe(200)
    expect(allowed.body).toContain(`"x-gatewarden-organization-id","${organization}","x-gatewarden-api-key-id","${id}"`)
    expect((await get(secret, '/payments')).status).toBe(403)
  })

  it('what a client says of its identity is not believed, and the upstream never sees the call', async () => {
    const before = upstream.count()
    const forged = identityOf('B2').map(([name, value]) => [name, value] as const)
    const answer = await create({ body: { label: 'forged' }, headers: forged })
    expect(dataOf(answer).organization_id).toBe(organization)
    expect((await create({ body: { label: 'x' }, secret: null, headers: identityOf('G5') })).status).toBe(401)
    expect(upstream.count()).toBe(before)
  })

  it('the check comes first: no key, a key that may not, a revoked one', async () => {
    expect(JSON.parse((await create({ body: {}, secret: null })).body).error).toBe('Missing API key')
    const weak = await create({ body: {}, secret: goldenKey('G3').secret })
    expect(JSON.parse(weak.body).error).toBe('API key does not have the required scope: api_keys.create')
    expect((await create({ body: {}, secret: goldenKey('G6').secret })).status).toBe(401)
  })

  it.each([
    ['a fault of a member', '{}', '{"label":"Label is required"}'],
    [
      'a scope that developers may not grant',
      '{"label":"x","scopes":["api_keys.create"]}',
      '{"scopes":"Scopes: api_keys.create is not available"}',
    ],
    ['no JSON', 'x', 'null'],
    ['65537 octets', `{"label":"${'x'.repeat(65_526)}"}`, 'null'],
    ['a megabyte', `{"label":"${'x'.repeat(1_000_000)}"}`, 'null'],
    ['a member twice', '{"label":"x","label":"y"}', 'null'],
  ])('%s', async (_, body, validator) => {
    const answer = await create({ body })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatch(
      bodyPattern(
        `{"status":400,"data":null,"error":"Validation failed","log":null,"validator":${validator},"support_id":"<support_id>","message":null,"env":"production"}`,
      ),
    )
  })

  it('the documented command, with address, authority, token and its placeholder values filled in', async () => {
    const documented = `curl --request POST \\
  --url https://api.bitgpt.xyz/developers/api_keys \\
  --header 'Authorization: Bearer <token>' \\
  --header 'Content-Type: application/json' \\
  --data '
{
  "label": "<string>",
  "description": "<string>",
  "scopes": [
    "invoices.create"
  ],
  "ip_allow_list": [
    "<string>"
  ],
  "expires_at": "<string>"
}
'`
    const folder = mkdtempSync(join(directory, 'tls-'))
    const tls = issueCertificate(folder, ['api.bitgpt.xyz'])
    const edge = await startEdge('envoy-uds.yaml', { socket: join(directory, 'facade.sock') }, tls)
    const values = ['My API Key', 'Key for accessing product APIs', '127.0.0.1', '2099-05-30 20:23:16']
    const filled = documented
      .replace('<token>', goldenKey('G5').secret)
      .replace(/<string>/g, () => values.shift() ?? '')
      .replace('curl ', `curl --silent --connect-to ::127.0.0.1:${edge.port('edge')} --cacert ${tls.caFile} `)
    expect(values).toEqual([])
    const data = dataOf({ body: execFileSync('sh', ['-c', filled], { encoding: 'utf8' }) })
    expect(data).toMatchObject({
      label: 'My API Key',
      description: 'Key for accessing product APIs',
      scopes: ['invoices.create'],
      ip_allow_list: ['127.0.0.1'],
      expires_at: '2099-05-30 20:23:16',
    })
  })

  it('a caller that was revoked a moment ago is refused, even where the check is still behind', async () => {
    const maker = goldenKey('G5')
    const { data } = JSON.parse((await create({ body: { label: 'short-lived' } })).body)
    const keys = admin.channel.client(ApiKeyAdminService)
    await keys.revokeApiKey({
      name: `organizations/${organization}/apiKeys/${data.id}`,
      revokeReason: RevokeReason.LEAKED,
      comment: '',
      cascade: 0,
      requestId: randomUUID(),
      validateOnly: false,
      etag: '',
    })
    const identity = identityOf('G5').map(([name, value]) =>
      value === fixtureId(maker) ? ([name, data.id] as const) : ([name, value] as const),
    )
    const answer = await direct(join(directory, 'facade.sock'), identity, { label: 'x' })
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([401, 'Invalid API key'])
  })

  it('the socket lets in owner and group, and whoever comes without an identity is nobody', async () => {
    const socket = join(directory, 'facade.sock')
    expect(statSync(socket).mode & 0o777).toBe(0o660)
    const answer = await direct(socket, [], { label: 'x' })
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([401, 'Missing API key'])
  })
})

describe('several admin processes', () => {
  beforeAll(async () => {
    await Promise.all(
      zones.map(zone =>
        startAnother(zone.replace('/', '-'), { TZ: zone, GATEWARDEN_FACADE_LISTEN: `unix:${socketOf(zone)}` }),
      ),
    )
  }, suiteLimitMs)

  it('field report 2: a time without zone is the same in every time zone', async () => {
    const form = 'Expiry is not in the form YYYY-MM-DD HH:MM:SS'
    const texts = [
      '2099-05-30 20:23:16',
      '2099-03-29 02:30:00',
      '2099-02-30 00:00:00',
      '2099-05-30 24:00:00',
      '2020-05-30 20:23:16',
    ]
    const answers = await Promise.all(
      zones.map(zone =>
        Promise.all(
          texts.map(async expires_at => {
            const { body } = await direct(socketOf(zone), identityOf('G5'), { label: zone, expires_at })
            const { data, validator } = JSON.parse(body)
            return data?.expires_at ?? validator.expires_at
          }),
        ),
      ),
    )
    const expected = [texts[0], texts[1], form, form, 'Expiry is in the past']
    expect(answers).toEqual(zones.map(() => expected))
    const client = database().client()
    await client.connect()
    const { rows } = await client
      .query(
        "SELECT DISTINCT to_char(expire_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS text FROM api_keys WHERE display_name = ANY($1) ORDER BY 1",
        [zones],
      )
      .finally(() => client.end())
    expect(rows.map(row => row.text)).toEqual([texts[1], texts[0]])
  })

  it('field report 17: one idempotency-key over two processes is one key, its secret in one answer', async () => {
    const key = randomUUID()
    const headers = [...identityOf('G5'), ['idempotency-key', key] as const]
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => direct(socketOf(zones[index % 2] ?? ''), headers, { label: 'once' })),
    )
    const made = answers.filter(({ status }) => status === 200).map(dataOf)
    expect(new Set(made.map(data => data.id)).size).toBe(1)
    expect(made.filter(data => data.secret !== null)).toHaveLength(1)
    expect(answers.every(({ status }) => status === 200 || status === 503)).toBe(true)
    const later = await direct(socketOf(zones[1] ?? ''), headers, { label: 'once' })
    expect(dataOf(later)).toEqual({ ...made[0], secret: null })
  })
})

describe('over mutual TLS', () => {
  const authority = createAuthority('edge.trusted.example')
  const stranger = createAuthority('edge.trusted.example')
  let port: number

  function filesOf(name: string, { cert, key }: { cert: Buffer; key: Buffer }, ca: Buffer): UpstreamTls {
    const tls = {
      certificateFile: join(directory, `${name}.pem`),
      keyFile: join(directory, `${name}.key`),
      caFile: join(directory, `${name}-ca.pem`),
    }
    writeFileSync(tls.certificateFile, cert)
    writeFileSync(tls.keyFile, key, { mode: 0o600 })
    writeFileSync(tls.caFile, ca)
    return { ...tls, name: 'admin.internal' }
  }

  beforeAll(async () => {
    port = await freePort()
    const server = filesOf('server', authority.issue(['admin.internal'], 'server'), authority.ca)
    await startAnother('tls', {
      GATEWARDEN_ADMIN_TLS_CERT: server.certificateFile,
      GATEWARDEN_ADMIN_TLS_KEY: server.keyFile,
      GATEWARDEN_ADMIN_TLS_CLIENT_CA: server.caFile,
      GATEWARDEN_FACADE_LISTEN: `127.0.0.1:${port}`,
      GATEWARDEN_FACADE_TRUSTED_PEERS: 'edge.internal',
    })
  }, suiteLimitMs)

  const edgeWith = async (name: string, client: { cert: Buffer; key: Buffer }) =>
    startEdge('envoy.yaml', { port, tls: filesOf(name, client, authority.ca) })

  it('an Envoy with a trusted name makes keys', async () => {
    const edge = await edgeWith('edge', authority.issue(['edge.internal'], 'client'))
    const answer = await create({ body: { label: 'over TLS' }, edge })
    expect(answer.status).toBe(200)
    expect(dataOf(answer)).toMatchObject({ label: 'over TLS', organization_id: organization })
  })

  it('one whose certificate has another name is nobody; one of another authority gets no connection', async () => {
    const other = await edgeWith('other', authority.issue(['other.internal'], 'client'))
    const answer = await create({ body: { label: 'x' }, edge: other })
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([401, 'Missing API key'])
    const foreign = await edgeWith('foreign', stranger.issue(['edge.internal'], 'client'))
    expect((await create({ body: { label: 'x' }, edge: foreign })).status).toBe(503)
  })
})
