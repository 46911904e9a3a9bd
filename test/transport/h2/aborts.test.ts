// Clients that go away by the hundred a second, through a real Envoy: it resets their checks on the one connection that all
// clients share, and no other request fails.
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { goldenHosts, goldenKey } from '../../core/cases.ts'
import { type CheckRole, startCheckRole } from '../../e2e/check-role.ts'
import { insertGoldenRows } from '../../e2e/golden-rows.ts'
import { envoyConfig } from '../../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../../support/envoy-process.ts'
import { sendRequest } from '../../support/http-request.ts'
import { repositoryFile } from '../../support/repository-file.ts'
import { useTestDatabase } from '../../support/test-database.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'

/** A minute with ABORT_SECONDS=60. */
const seconds = Number(process.env['ABORT_SECONDS'] ?? 10)
const abortsPerSecond = 500
const everyMs = 10

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-aborts-'))
let role: CheckRole
let upstream: Upstream
let envoy: EnvoyProcess

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client)
  await client.end()
  upstream = await startUpstream()
  role = await startCheckRole(database().database, {
    directory,
    settings: { GATEWARDEN_CHECK_TRANSPORT: 'h2', GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address' },
  })
  const [gatewarden] = role.endpoints
  if (gatewarden === undefined) throw new Error('the check role listens nowhere')
  envoy = await startEnvoy(
    envoyConfig(repositoryFile('envoy/golden.yaml'), {
      listeners: ['raw', 'map'],
      clusters: { gatewarden, api: { port: upstream.port } },
    }),
  )
})
afterAll(async () => {
  await envoy?.stop()
  await role?.stop()
  await upstream?.stop()
  rmSync(directory, { recursive: true, force: true })
})

const path = '/customer/open/v1/customers'
const secret = goldenKey('B1').secret
const request = `GET ${path} HTTP/1.1\r\nhost: ${goldenHosts.bitbybit}\r\nx-api-key: ${secret}\r\n\r\n`

/** A client that asks and leaves without waiting. */
function abort(port: number): void {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  // Reset at once: Envoy has just begun to ask.
  socket.write(request, () => setImmediate(() => socket.resetAndDestroy()))
}

/** A counter of Envoy's. */
async function counter(name: string): Promise<number> {
  const page = await fetch(`http://127.0.0.1:${envoy.adminPort}/stats?filter=${name}`)
  return (await page.text())
    .split('\n')
    .reduce((sum, line) => sum + (line.includes(name) ? Number(line.split(': ')[1] ?? 0) : 0), 0)
}

it(`${abortsPerSecond} aborts a second for ${seconds} s cost no other request anything`, {
  timeout: (seconds + 30) * 1000,
}, async () => {
  const port = envoy.port('raw')
  let aborts = 0
  const aborting = setInterval(() => {
    for (let i = 0; i < (abortsPerSecond * everyMs) / 1000; i++, aborts++) abort(port)
  }, everyMs)
  const statuses = new Map<number, number>()
  const deadline = performance.now() + seconds * 1000
  const innocent = async () => {
    while (performance.now() < deadline) {
      const { status } = await sendRequest({
        ...{ port, method: 'GET', path, host: goldenHosts.bitbybit },
        headers: [['x-api-key', secret]],
      })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: 4 }, innocent))
  clearInterval(aborting)
  const resets = await counter('cluster.gatewarden.upstream_rq_tx_reset')
  const lost = await counter('cluster.gatewarden.upstream_cx_destroy_remote_with_active_rq')
  process.stdout.write(`aborts ${aborts}, checks reset ${resets}, other requests ${[...statuses.values()]}\n`)
  expect([...statuses.keys()]).toEqual([200])
  expect(lost).toBe(0)
  expect(aborts).toBeGreaterThan(abortsPerSecond * seconds * 0.5)
})
