// The h2 transport fails no case of h2spec that node:http2 of the same Node does not fail.
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { startH2Server } from '../../src/transport/h2/server.ts'
import { echoMethod, reversingEcho } from './echo.ts'
import { h2specProgram, runH2spec, type Verdict } from './h2spec-run.ts'

const limitMs = 400_000
const absent = 'h2spec needs a Go toolchain to build it; install Go 1.26 or later'

async function ofNodeHttp2(program: string): Promise<ReadonlyMap<string, Verdict>> {
  const server = createServer((request, response) => {
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    response.end('ok')
  })
  server.on('sessionError', () => undefined)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  try {
    return await runH2spec(program, (server.address() as AddressInfo).port, '/')
  } finally {
    server.close()
  }
}

async function ofOurs(program: string): Promise<ReadonlyMap<string, Verdict>> {
  const faults: unknown[] = []
  const server = await startH2Server({
    listen: ['127.0.0.1:0'],
    services: [reversingEcho()],
    report: error => faults.push(error),
  })
  try {
    return await runH2spec(program, Number(server.addresses[0]?.split(':')[1]), echoMethod)
  } finally {
    await server.drain(0)
    expect(faults).toEqual([])
  }
}

const with_ = (verdicts: ReadonlyMap<string, Verdict>, wanted: Verdict) =>
  [...verdicts].filter(([, verdict]) => verdict === wanted).map(([name]) => name)

describe('h2spec', () => {
  it('finds nothing that node:http2 does better', { timeout: limitMs }, async ({ skip }) => {
    const program = await h2specProgram()
    if (program === undefined && process.env['CI'] === 'true') throw new Error(absent)
    if (program === undefined) return skip(absent)
    const ours = await ofOurs(program)
    const theirs = await ofNodeHttp2(program)
    const failed = with_(ours, 'failed')
    process.stdout.write(`h2spec: ${ours.size} cases; ours passes ${with_(ours, 'passed').length}, `)
    process.stdout.write(`node:http2 ${process.versions.node} ${with_(theirs, 'passed').length}\n`)
    process.stdout.write(failed.map(name => `  fails: ${name}\n`).join(''))
    expect(ours.size).toBe(theirs.size)
    expect(failed.filter(name => theirs.get(name) === 'passed')).toEqual([])
  })
})
