// What a client of Envoy sees while Gatewarden cannot answer, in each form that its reply may have and under both failure modes of
// Envoy (envoy-contract.md sections 3.1 and 12): `denied-503` never opens, the other two obey Envoy, and nothing is a 401 or 403.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenHosts, goldenKey, goldenPattern, goldenRenderings } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { freePort } from '../support/free-port.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { type EchoedRequest, startUpstream, type Upstream } from '../support/upstream.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { editEnvoy, type Part, patient } from './edit-envoy.ts'
import { sendRaw } from './raw-request.ts'

const modes = ['denied-503', 'error_response', 'rpc-error'] as const
type Mode = (typeof modes)[number]

const directory = mkdtempSync(join(tmpdir(), 'gw-own-'))
const roles: CheckRole[] = []
let upstream: Upstream
let envoy: EnvoyProcess

beforeAll(async () => {
  upstream = await startUpstream()
  // Nothing listens there: the table is never loaded, which is our own failure for whoever brings a key.
  const server = { host: '127.0.0.1', port: await freePort(), user: 'nobody', database: 'nothing' }
  for (const mode of modes) {
    roles.push(
      await startCheckRole(
        { servers: [server] },
        {
          directory,
          ready: false,
          settings: { GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata', GATEWARDEN_CHECK_OWN_FAILURE: mode },
        },
      ),
    )
  }
  const shipped = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
    listeners: ['edge'],
    clusters: { gatewarden: { port: 1 }, api: { port: upstream.port } },
  })
  envoy = await startEnvoy(
    editEnvoy(shipped, edit => {
      patient(edit, 'edge')
      for (const [index, mode] of modes.entries()) {
        const endpoint = roles[index]?.endpoints[0]
        if (endpoint === undefined) throw new Error('a check role listens nowhere')
        edit.addCluster('gatewarden', mode, endpoint)
        for (const open of [false, true]) {
          const listener = edit.addListener('edge', `${mode} ${open ? 'open' : 'closed'}`)
          const authorizer = edit.authorizer(listener)
          authorizer['failure_mode_allow'] = open
          authorizer['failure_mode_allow_header_add'] = true
          const service = authorizer['grpc_service'] as { envoy_grpc: Part }
          service.envoy_grpc['cluster_name'] = mode
        }
      }
    }),
  )
})
afterAll(async () => {
  await envoy?.stop()
  await Promise.all(roles.map(role => role.stop()))
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

const send = (mode: Mode, failureMode: 'open' | 'closed', secret: string) =>
  sendRaw(envoy.port(`${mode} ${failureMode}`), {
    path: '/customer/open/v1/customers',
    host: goldenHosts.bitbybit,
    lines: [`x-api-key: ${secret}`],
  })
const good = goldenKey('B1').secret
const rendering = goldenRenderings.bitbybit['unavailable']

function expectProductShape(answer: Awaited<ReturnType<typeof send>>): void {
  expect(answer.status).toBe(503)
  expect(answer.body).toMatch(goldenPattern(rendering?.body ?? '', {}))
  expect(answer.header('content-type')).toBe('application/json')
  expect(answer.header('cache-control')).toBe('no-store')
  expect(answer.header('retry-after')).toMatch(/^[123]$/)
}

describe('our own failure', () => {
  it('as denied-503 is a 503 in the product shape, and stays one when Envoy would let failures pass', async () => {
    expectProductShape(await send('denied-503', 'closed', good))
    const before = upstream.count()
    expectProductShape(await send('denied-503', 'open', good))
    expect(upstream.count()).toBe(before)
  })

  it('as error_response is the same 503, and passes when Envoy lets failures pass', async () => {
    expectProductShape(await send('error_response', 'closed', good))
    const answer = await send('error_response', 'open', good)
    expect(answer.status).toBe(200)
  })

  it('as rpc-error is the bare status of Envoy, and passes when Envoy lets failures pass', async () => {
    const closed = await send('rpc-error', 'closed', good)
    expect([closed.status, closed.body]).toEqual([503, ''])
    const open = await send('rpc-error', 'open', good)
    expect(open.status).toBe(200)
  })

  it('that passes still carries no word of ours: the client keeps its credential and its forged headers', async () => {
    // The truth about an open failure mode, for whoever turns it on: nothing is removed, because nobody decided.
    const { rawHeaders } = JSON.parse((await send('error_response', 'open', good)).body) as EchoedRequest
    const names = rawHeaders.filter((_, index) => index % 2 === 0)
    expect(names).toContain('x-api-key')
    expect(names).toContain('x-envoy-auth-failure-mode-allowed')
  })

  it('is none for what needs no table: those answers stand in every form and mode', async () => {
    for (const mode of modes) {
      for (const failureMode of ['open', 'closed'] as const) {
        const malformed = await send(mode, failureMode, 'not-a-key')
        expect([mode, failureMode, malformed.status]).toEqual([mode, failureMode, 401])
      }
    }
  })
})
