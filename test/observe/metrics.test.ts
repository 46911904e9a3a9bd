// The metrics page shows what its owners hold at that moment; a broken owner costs its own metric only.
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ALLOW, codeOf, denialReasons, reasonOf } from '../../src/core/reason.ts'
import { DecisionCounts } from '../../src/observe/decision-counts.ts'
import { type HttpListen, type HttpServer, startHttpServer } from '../../src/observe/http-server.ts'
import { metricCatalogue } from '../../src/observe/metric-catalogue.ts'
import { Metrics, type Sample } from '../../src/observe/metrics.ts'

const opened: { close(): void | Promise<void> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

function metrics(): Metrics {
  const made = new Metrics()
  opened.push(made)
  return made
}

describe('decision counts', () => {
  it('every reason and the allow are counted apart, by profile', () => {
    const counts = new DecisionCounts(ALLOW)
    denialReasons.forEach((reason, n) => {
      for (let i = 0; i <= n; i += 1) counts.add(3, codeOf(reason))
    })
    counts.add(0, ALLOW)
    counts.add(-1, codeOf('route_unmapped'))
    const seen = new Map<string, number>()
    counts.forEach(
      (profile, code, count) => void seen.set(`${profile} ${code === ALLOW ? 'allow' : reasonOf(code)}`, count),
    )
    denialReasons.forEach((reason, n) => void expect(seen.get(`3 ${reason}`)).toBe(n + 1))
    expect(seen.get('0 allow')).toBe(1)
    expect(seen.get('null route_unmapped')).toBe(1)
    expect(seen.size).toBe(denialReasons.length + 2)
  })

  it('numbers out of range are counted and break nothing', () => {
    const counts = new DecisionCounts(ALLOW)
    for (const profile of [-5, 1e9, Number.NaN]) for (const code of [-1, 99, Number.NaN]) counts.add(profile, code)
    let total = 0
    counts.forEach((profile, code, count) => {
      expect([profile, code]).toEqual([null, 0])
      total += count
    })
    expect(total).toBe(9)
  })
})

describe('the page', () => {
  it('is read from the owners at each scrape', async () => {
    const page = metrics()
    let keys = 1
    page.read('gatewarden_table_keys', () => keys)
    const causes: Sample[] = [{ labels: { cause: 'history' }, value: 2 }]
    page.read('gatewarden_feed_reload_total', () => causes)
    expect((await page.page()).text).toContain('gatewarden_table_keys 1\n')
    keys = 2
    const { text } = await page.page()
    expect(text).toContain('gatewarden_table_keys 2\n')
    expect(text).toContain('gatewarden_feed_reload_total{cause="history"} 2\n')
  })

  it('survives a source that throws', async () => {
    const page = metrics()
    page.read('gatewarden_table_keys', () => {
      throw new Error('gone')
    })
    page.read('gatewarden_table_bytes', () => 5)
    expect((await page.page()).text).toContain('gatewarden_table_bytes 5\n')
  })

  it('has names that start with gatewarden_ only', async () => {
    const { text } = await metrics().page()
    const names = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
    expect(names.length).toBeGreaterThan(5)
    for (const name of names) expect(name).toMatch(/^gatewarden_/)
    for (const name of Object.keys(metricCatalogue)) expect(name).toMatch(/^gatewarden_[a-z0-9_]+$/)
  })
})

function fetchPath(server: HttpServer, path: string, method = 'GET'): Promise<{ status: number; body: string }> {
  const target = server.address.startsWith('unix:')
    ? { socketPath: server.address.slice(5) }
    : { host: '127.0.0.1', port: Number(server.address.split(':').at(-1)) }
  return new Promise((resolve, reject) => {
    const call = request({ ...target, path, method, agent: false }, response => {
      let body = ''
      response.on('data', chunk => {
        body += String(chunk)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    call.on('error', reject)
    call.end()
  })
}

describe('the listener', () => {
  async function listen(at: HttpListen, ready: () => boolean): Promise<HttpServer> {
    const page = metrics()
    page.read('gatewarden_fresh', () => (ready() ? 1 : 0))
    const server = await startHttpServer(at, { page: () => page.page(), ready })
    opened.push(server)
    return server
  }

  it('answers metrics, liveness and readiness over TCP', async () => {
    let ready = false
    const server = await listen({ host: '127.0.0.1', port: 0 }, () => ready)
    expect(await fetchPath(server, '/livez')).toEqual({ status: 200, body: 'alive\n' })
    expect((await fetchPath(server, '/readyz')).status).toBe(503)
    ready = true
    expect((await fetchPath(server, '/readyz?x')).status).toBe(200)
    expect((await fetchPath(server, '/metrics')).body).toContain('gatewarden_fresh 1')
    expect((await fetchPath(server, '/')).status).toBe(404)
    expect((await fetchPath(server, '/metrics', 'POST')).status).toBe(405)
  })

  it('answers on a unix socket', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'gwm-'))
    const server = await listen({ path: join(directory, 'm.sock') }, () => true)
    expect((await fetchPath(server, '/readyz')).status).toBe(200)
    rmSync(directory, { recursive: true })
  })

  it('a busy port is an error with a code', async () => {
    const first = await listen({ host: '127.0.0.1', port: 0 }, () => true)
    const port = Number(first.address.split(':').at(-1))
    const second = startHttpServer(
      { host: '127.0.0.1', port },
      { page: async () => ({ type: '', text: '' }), ready: () => true },
    )
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})
