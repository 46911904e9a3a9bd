// Envoy asks over mutual TLS: the check listener on TCP shows a certificate and wants one of its authority (envoy-contract.md 10).
// Without, with another authority's, or in cleartext nobody gets an answer, and Envoy's own status says that it is an outage.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { type IssuedCertificate, issueCertificate } from '../support/certificate-authority.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { editEnvoy, type Part, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { sendRaw } from './raw-request.ts'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-tls-'))
const serverName = 'gatewarden.internal'
let role: CheckRole
let upstream: Upstream
let envoy: EnvoyProcess

/** An authority and one certificate of it, in a folder of its own. */
function issue(folder: string, name: string): IssuedCertificate {
  mkdirSync(join(directory, folder))
  return issueCertificate(join(directory, folder), [name])
}

const listeners = ['mutual', 'no certificate', 'a stranger', 'another name', 'cleartext'] as const

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  upstream = await startUpstream()
  const server = issue('server', serverName)
  const edge = issue('edge', 'edge.internal')
  const stranger = issue('stranger', 'edge.internal')
  role = await startCheckRole(database().database, {
    directory,
    settings: {
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata',
      GATEWARDEN_CHECK_TLS_CERT: server.certificateFile,
      GATEWARDEN_CHECK_TLS_KEY: server.keyFile,
      GATEWARDEN_CHECK_TLS_CLIENT_CA: edge.caFile,
    },
  })
  const [endpoint] = role.endpoints
  if (endpoint === undefined) throw new Error('the check role listens nowhere')
  const tls = (own: IssuedCertificate | undefined, name: string) => ({
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: name,
      common_tls_context: {
        ...(own === undefined
          ? {}
          : {
              tls_certificates: [
                { certificate_chain: { filename: own.certificateFile }, private_key: { filename: own.keyFile } },
              ],
            }),
        validation_context: {
          trusted_ca: { filename: server.caFile },
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: name } }],
        },
      },
    },
  })
  const sockets: Readonly<Record<(typeof listeners)[number], unknown>> = {
    mutual: tls(edge, serverName),
    'no certificate': tls(undefined, serverName),
    'a stranger': tls(stranger, serverName),
    'another name': tls(edge, 'other.internal'),
    cleartext: undefined,
  }
  const shipped = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
    listeners: ['edge'],
    clusters: { gatewarden: { port: 1 }, api: { port: upstream.port } },
  })
  envoy = await startEnvoy(
    editEnvoy(shipped, edit => {
      patient(edit, 'edge')
      for (const name of listeners) {
        edit.addCluster('gatewarden', name, endpoint)
        if (sockets[name] !== undefined) edit.cluster(name)['transport_socket'] = sockets[name]
        edit.addListener('edge', name)
        const service = edit.authorizer(name)['grpc_service'] as { envoy_grpc: Part }
        service.envoy_grpc['cluster_name'] = name
      }
    }),
  )
})
afterAll(async () => {
  await envoy?.stop()
  await role?.stop()
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

const send = (listener: (typeof listeners)[number], secret: string) =>
  sendRaw(envoy.port(listener), {
    path: '/customer/open/v1/customers',
    host: goldenHosts.bitbybit,
    lines: [`x-api-key: ${secret}`],
  })

it('over mutual TLS keys are decided as ever', async () => {
  expect((await send('mutual', goldenKey('B1').secret)).status).toBe(200)
  expect((await send('mutual', 'bbb_live_ffffffffffff')).status).toBe(401)
})

it.each(listeners.filter(name => name !== 'mutual'))(
  'with %s there is no answer, and the request does not pass',
  async listener => {
    const before = upstream.count()
    const answer = await send(listener, goldenKey('B1').secret)
    expect([answer.status, answer.body]).toEqual([503, ''])
    expect(upstream.count()).toBe(before)
  },
)
