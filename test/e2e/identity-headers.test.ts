// What the upstream is told of a key, through a real Envoy on the shipped configuration: our values once, whatever a client sends
// beside them (field report 6). The upstream echoes its raw headers.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { type EchoedRequest, startUpstream, type Upstream } from '../support/upstream.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { editEnvoy, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { openRoutes, profilesWith } from './profile-variants.ts'
import { type RawAnswer, sendRaw } from './raw-request.ts'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-ident-'))
let role: CheckRole
let upstream: Upstream
let envoy: EnvoyProcess

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  upstream = await startUpstream()
  role = await startCheckRole(database().database, {
    directory,
    profilesDir: profilesWith(directory, { bitbybit: openRoutes }),
    settings: { GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata' },
  })
  const [gatewarden] = role.endpoints
  if (gatewarden === undefined) throw new Error('the check role listens nowhere')
  const shipped = envoyConfig(repositoryFile('envoy/envoy.yaml'), {
    listeners: ['edge'],
    clusters: { gatewarden, api: { port: upstream.port } },
  })
  envoy = await startEnvoy(
    editEnvoy(shipped, edit => {
      patient(edit, 'edge')
      // An operator may let underscores through; then what Gatewarden removes is all there is.
      const lenient = edit.addListener('edge', 'lenient')
      const options = edit.manager(lenient)['common_http_protocol_options'] as Record<string, unknown>
      options['headers_with_underscores_action'] = 'ALLOW'
    }),
  )
})
afterAll(async () => {
  await envoy?.stop()
  await role?.stop()
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

const b1 = goldenKey('B1')
const identity = {
  'x-gatewarden-organization-id': organizationOf(b1),
  'x-gatewarden-api-key-id': fixtureId(b1),
  'x-gatewarden-environment': 'live',
  'x-gatewarden-scope': '',
}
const identityNames = Object.keys(identity)
const base = '/customer/open/v1'
const withKey = `x-api-key: ${b1.secret}`

const send = (path: string, lines: readonly string[], listener = 'edge'): Promise<RawAnswer> =>
  sendRaw(envoy.port(listener), { path: `${base}${path}`, host: goldenHosts.bitbybit, lines })

/** Values by lower-case name with `_` read as `-`, as many frameworks read them: a twin would show as a second value. */
function received(answer: RawAnswer): ReadonlyMap<string, readonly string[]> {
  expect(answer.status, answer.body).toBe(200)
  const { rawHeaders } = JSON.parse(answer.body) as EchoedRequest
  const values = new Map<string, string[]>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase().replaceAll('_', '-')
    values.set(name, [...(values.get(name) ?? []), rawHeaders[index + 1] ?? ''])
  }
  return values
}

function expectOurs(answer: RawAnswer): void {
  const values = received(answer)
  for (const [name, value] of Object.entries(identity)) expect([name, values.get(name)]).toEqual([name, [value]])
  expect(values.has('x-api-key')).toBe(false)
  expect(answer.body).not.toContain(b1.secret)
}

function expectNone(answer: RawAnswer): void {
  const values = received(answer)
  for (const name of [...identityNames, 'x-api-key']) expect([name, values.get(name)]).toEqual([name, undefined])
  expect(answer.body).not.toContain(b1.secret)
}

const forged = [
  ...identityNames.flatMap(name => [`${name}: forged`, `${name.toUpperCase()}: forged twice`]),
  'X-Gatewarden-Api-Key-Id: key_forged',
  'x-gatewarden-scope: admin',
  'x-gatewarden-scope:',
]

describe('identity headers', () => {
  it('stand once and are ours on an allow, an empty scope included', async () => {
    expectOurs(await send('/files/a/b', [withKey]))
    expectOurs(await send('/files/a/b', [...forged, withKey]))
    expectOurs(await send('/files/a/b', [withKey, ...forged]))
  })

  it('tell the scope that the rule requires', async () => {
    const values = received(await send('/customers', [withKey, ...forged]))
    expect(values.get('x-gatewarden-scope')).toEqual(['customers:READ'])
  })

  it('are absent on a public route, with and without a key, and so is the credential', async () => {
    expectNone(await send('/health', forged))
    expectNone(await send('/health', [...forged, withKey]))
    expectNone(await send('/health', [...forged, 'x-api-key: not-a-key']))
    expectNone(await send('/health', [withKey, withKey]))
  })

  it('are not joined by headers that frameworks obey in place of the method and path that were checked', async () => {
    const names = ['x-http-method-override', 'x-http-method', 'x-method-override', 'x-original-method']
    const lines = [...names.map(name => `${name}: DELETE`), 'x-original-url: /admin', 'X-Rewrite-Url: /admin']
    const values = received(await send('/customers', [withKey, ...lines]))
    for (const name of [...names, 'x-original-url', 'x-rewrite-url'])
      expect([name, values.get(name)]).toEqual([name, undefined])
  })

  it('have no twins with underscores: the shipped configuration refuses them', async () => {
    for (const name of [...identityNames, 'x-api-key']) {
      const answer = await send('/files/a', [withKey, `${name.replaceAll('-', '_')}: forged`])
      expect([name, answer.status]).toEqual([name, 400])
    }
  })

  it('have no twins with underscores where Envoy lets them through: none is forwarded, in any mixture', async () => {
    const twins = [...identityNames, 'x-api-key'].flatMap(name => [
      `${name.replaceAll('-', '_')}: forged`,
      `${name.replace('-', '_')}: forged`,
      `${name.toUpperCase().replace(/-(?!.*-)/, '_')}: forged`,
    ])
    expectOurs(await send('/files/a', [withKey, ...twins], 'lenient'))
    expectNone(await send('/health', [withKey, ...twins], 'lenient'))
  })

  it('a twin of the credential is none', async () => {
    const answer = await send('/files/a', [`x_api_key: ${b1.secret}`], 'lenient')
    expect(answer.status).toBe(401)
  })

  it('survive a connection header that names them', async () => {
    for (const name of [...identityNames, 'x-api-key']) {
      const answer = await send('/files/a', [withKey, `${name}-x: 1`, `connection: close, ${name}`])
      // Envoy takes a named header away before anything else sees it: without its key the request is refused.
      if (name === 'x-api-key') expect([200, 401]).toContain(answer.status)
      else expectOurs(answer)
    }
    expectNone(await send('/health', [...forged, 'connection: close, x-gatewarden-scope']))
  })

  it('the mark of an open failure mode is not forwarded: a client could send it', async () => {
    const values = received(await send('/files/a', [withKey, 'x-envoy-auth-failure-mode-allowed: true']))
    expect(values.has('x-envoy-auth-failure-mode-allowed')).toBe(false)
  })
})
