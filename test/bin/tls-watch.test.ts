// A renewed certificate is served to new handshakes while open connections go on; a bad one changes nothing (faults.md F29).
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { credentials } from '@grpc/grpc-js'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { watchedCredentials } from '../../src/bin/tls-watch.ts'
import { type HealthCheckResponse, HealthClient } from '../../src/gen/grpc/health/v1/health.ts'
import type { LogFields } from '../../src/observe/log.ts'
import { createHealth } from '../../src/rpc/health.ts'
import { listen } from '../../src/rpc/listen.ts'
import { createServer } from '../../src/rpc/server.ts'
import { type IssuedCertificate, issueCertificate } from '../support/certificate-authority.ts'

let directory = ''
let served: { readonly cert: string; readonly key: string; readonly clientCa: null }
const closing: (() => void)[] = []
const lines: [string, string, LogFields | undefined][] = []
let lookAgain: (() => void) | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gw-tls-watch-'))
  served = { cert: join(directory, 'cert'), key: join(directory, 'key'), clientCa: null }
})
afterEach(() => {
  for (const close of closing.splice(0)) close()
  lines.splice(0)
  lookAgain = undefined
  rmSync(directory, { recursive: true })
})

function issue(name: string): IssuedCertificate {
  mkdirSync(join(directory, name))
  return issueCertificate(join(directory, name), ['localhost'])
}

function install({ certificateFile, keyFile }: IssuedCertificate): void {
  writeFileSync(served.cert, readFileSync(certificateFile))
  writeFileSync(served.key, readFileSync(keyFile))
}

async function serve(): Promise<number> {
  const keep = (level: string) => (message: string, fields?: LogFields) => void lines.push([level, message, fields])
  const log = { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') }
  const timers = {
    after(_: number, task: () => void) {
      lookAgain = task
      return () => {
        if (lookAgain === task) lookAgain = undefined // a server of the test before ends late
      }
    },
  }
  const server = createServer()
  const health = createHealth([])
  health.addTo(server)
  health.set('', 'SERVING')
  closing.push(() => server.forceShutdown())
  const tls = watchedCredentials('check.tls', served, { timers, log })
  const address = await listen(server, { kind: 'tcp', host: 'localhost', port: 0 }, { tls })
  return Number(address.split(':')[1])
}

/** What a new handshake shows, if the authority of `issued` signed it. */
function handshake(port: number, issued: IssuedCertificate): Promise<'trusted' | 'refused'> {
  return new Promise(resolve => {
    const ca = readFileSync(issued.caFile)
    const socket = connect({ port, host: 'localhost', servername: 'localhost', ca, ALPNProtocols: ['h2'] }, () => {
      socket.destroy()
      resolve('trusted')
    })
    socket.once('error', () => resolve('refused'))
  })
}

function healthOver(port: number, issued: IssuedCertificate): () => Promise<HealthCheckResponse> {
  const client = new HealthClient(`localhost:${port}`, credentials.createSsl(readFileSync(issued.caFile)))
  closing.push(() => client.close())
  return () =>
    new Promise((resolve, reject) => {
      client.check({ service: '' }, (error, reply) => (error === null ? resolve(reply) : reject(error)))
    })
}

it('shows a renewed certificate to new handshakes and keeps open connections', async () => {
  const [first, second] = [issue('first'), issue('second')]
  install(first)
  const port = await serve()
  const ask = healthOver(port, first)
  expect((await ask()).status).toBe(1)
  expect(await handshake(port, first)).toBe('trusted')
  install(second)
  expect(await handshake(port, first)).toBe('trusted') // nobody has looked yet
  lookAgain?.()
  expect(await handshake(port, second)).toBe('trusted')
  expect(await handshake(port, first)).toBe('refused')
  // A new connection would be refused: the authority of this client did not sign the new certificate.
  expect((await ask()).status).toBe(1)
  expect(lines).toEqual([['info', 'certificate files were read again', { listener: 'check.tls' }]])
})

it('keeps the last good pair while files are missing, half written or do not fit, says so once, and recovers', async () => {
  const [first, second] = [issue('first'), issue('second')]
  install(first)
  const port = await serve()
  const bad: (() => void)[] = [
    () => rmSync(served.cert),
    () => writeFileSync(served.cert, readFileSync(second.certificateFile).subarray(0, 300)),
    () => writeFileSync(served.cert, readFileSync(second.certificateFile)), // the key is still the first one's
  ]
  for (const spoil of bad) {
    spoil()
    const before = lines.length
    for (let look = 0; look < 3; look++) lookAgain?.()
    expect(lines.slice(before).map(([level]) => level)).toEqual(['error'])
    expect(await handshake(port, first)).toBe('trusted')
  }
  install(second)
  lookAgain?.()
  expect(await handshake(port, second)).toBe('trusted')
})

it('says nothing while nothing changes, and stops looking when the server ends', async () => {
  const first = issue('first')
  install(first)
  const port = await serve()
  expect(await handshake(port, first)).toBe('trusted')
  for (let look = 0; look < 3; look++) lookAgain?.()
  expect(lines).toEqual([])
  for (const close of closing.splice(0)) close()
  await expect.poll(() => lookAgain).toBeUndefined()
})

it('does not start with files that cannot be used', () => {
  writeFileSync(served.cert, 'no PEM')
  writeFileSync(served.key, 'no PEM')
  const ports = { timers: { after: () => () => undefined }, log: { debug() {}, info() {}, warn() {}, error() {} } }
  expect(() => watchedCredentials('check.tls', served, ports)).toThrow(
    /check\.tls\.cert .*: found .*, which holds no PEM certificate; .*\n.*check\.tls\.key .*: found .*, which holds no PEM private key/,
  )
})
