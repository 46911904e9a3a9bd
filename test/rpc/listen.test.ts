import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isLoopback, ListenError, listen } from '../../src/rpc/listen.ts'
import { createServer } from '../../src/rpc/server.ts'

let folder = ''
const open: (() => void)[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gw-listen-'))
})
afterEach(async () => {
  for (const close of open.splice(0)) close()
  await rm(folder, { recursive: true, force: true })
})

function server() {
  const made = createServer()
  open.push(() => made.forceShutdown())
  return made
}

test('cleartext beyond loopback is refused, in one sentence that names the mend', async () => {
  for (const host of ['0.0.0.0', '::', '10.1.2.3', 'admin.example', '128.0.0.1', '::ffff:10.0.0.1']) {
    const refused = listen(server(), { kind: 'tcp', host, port: 0 })
    await expect(refused, host).rejects.toThrow(ListenError)
    await expect(refused, host).rejects.toThrow(/TLS.*certificate.*127\.0\.0\.1.*unix/)
  }
})

test('loopback is 127.0.0.0/8, ::1 and localhost', () => {
  expect(['127.0.0.1', '127.255.0.9', '::1', 'localhost'].every(isLoopback)).toBe(true)
  expect(['0.0.0.0', '126.0.0.1', '::2', 'localhost.example', ''].some(isLoopback)).toBe(false)
})

test('a busy port is a ListenError that names it', async () => {
  const address = await listen(server(), { kind: 'tcp', host: '127.0.0.1', port: 0 })
  const port = Number(address.split(':')[1])
  await expect(listen(server(), { kind: 'tcp', host: '127.0.0.1', port })).rejects.toThrow(`127.0.0.1:${port}`)
})

test('a socket is for owner and group only', async () => {
  const path = join(folder, 'a.sock')
  expect(await listen(server(), { kind: 'unix', path })).toBe(`unix:${path}`)
  expect((await stat(path)).mode & 0o777).toBe(0o660)
})

test('a socket of a living process is not taken, another file not removed', async () => {
  const path = join(folder, 'a.sock')
  await listen(server(), { kind: 'unix', path })
  await expect(listen(server(), { kind: 'unix', path })).rejects.toThrow('another process listens there')
  const file = join(folder, 'notes.txt')
  await writeFile(file, 'keep me')
  await expect(listen(server(), { kind: 'unix', path: file })).rejects.toThrow('no socket')
  expect((await stat(file)).size).toBe(7)
})

test('a socket file that a dead process left behind is replaced', async () => {
  const path = join(folder, 'a.sock')
  const { spawnSync } = await import('node:child_process')
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
  expect((await stat(path)).isSocket()).toBe(true)
  expect(await listen(server(), { kind: 'unix', path })).toBe(`unix:${path}`)
})
