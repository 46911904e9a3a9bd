// h2load, the load tool of nghttp2: a client with its own HPACK encoder and flow control, hundreds of streams at once.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { startH2Server } from '../../src/transport/h2/server.ts'
import { programOnPath } from '../support/program-on-path.ts'
import { message } from '../transport/h2/peer.ts'
import { echoMethod, reversingEcho } from './echo.ts'

const absent = 'no h2load on PATH; install nghttp2-client (Debian) or nghttp2'

const program = programOnPath('h2load')
const isSkipped = program === undefined && process.env['CI'] !== 'true'
if (isSkipped) process.stderr.write(`skipped: ${absent}\n`)

it.skipIf(isSkipped).each([
  [1, 1],
  [64, 1],
  [512, 4],
])('serves h2load, %i streams at once on %i connections', { timeout: 60_000 }, async (streams, connections) => {
  if (program === undefined) throw new Error(absent)
  const folder = mkdtempSync(join(tmpdir(), 'gw-h2load-'))
  const server = await startH2Server({
    listen: ['127.0.0.1:0'],
    services: [reversingEcho()],
    report: error => {
      throw error
    },
  })
  try {
    const body = join(folder, 'body')
    writeFileSync(body, message('x'.repeat(800)))
    const load = ['-n', '20000', '-c', String(connections), '-m', String(streams), '-d', body]
    const fields = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
    const url = `http://${server.addresses[0]}${echoMethod}`
    const { stdout } = await promisify(execFile)(program, [...load, ...fields, url], { timeout: 50_000 })
    expect(stdout).toContain('20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout')
    // It counts HTTP 200 and looks at no gRPC status: a refusal would have no data.
    expect(Number(/\((\d+)\) data/.exec(stdout)?.[1])).toBe(20_000 * 805)
  } finally {
    await server.drain(0)
    rmSync(folder, { recursive: true, force: true })
  }
})
