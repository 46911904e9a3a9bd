// Method names: only the exact name of a rule, and HEAD for GET, reaches it; no header, no spelling and no query stands for another.
import { it } from 'vitest'
import { below, randomFor, Tally, times } from '../fuzz/tally.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { createScopedStand, credentialOf } from './scoped-stand.ts'

const known = [
  'GET',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PRI',
  'PROPFIND',
  'MKCOL',
  'QUERY',
  'LINK',
  'PURGE',
]
const overrides = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  '_method',
  'x-original-method',
  ':method',
  'x-envoy-original-method',
]
const around = ['', ' ', '\t', '\0', '\r\n', '/', '.', '%', 'S', '\u00a0', '\u0301', ',', ';', '*', '\ufeff']

function spell(random: Random, method: string): string {
  switch (below(random, 9)) {
    case 0:
      return method.toLowerCase()
    case 1:
      return [...method].map(c => (random() < 0.5 ? c.toLowerCase() : c)).join('')
    case 2:
      return method + pick(random, around)
    case 3:
      return pick(random, around) + method
    case 4:
      return method.slice(0, below(random, method.length))
    case 5:
      return `${method}${pick(random, [',', ' ', '', '|'])}${pick(random, known)}`
    case 6:
      return method.replace(/[ETOS]/, c => ({ E: 'Е', T: 'Т', O: 'О', S: 'Ѕ' })[c] ?? c)
    case 7:
      return method.replace('S', 'ſ').toUpperCase() + pick(random, ['', '\u017f'])
    default:
      return method
  }
}

it('no spelling of a method reaches a rule of another', () => {
  const { keys, ask } = createScopedStand()
  const random = randomFor('methods')
  const tally = new Tally('method names')
  for (let i = 0; i < times(12_000); i++) {
    const key = pick(random, keys)
    const rule = pick<{ path: string; methods: Record<string, string> }>(random, key.profile.routes.rules)
    const method = spell(random, pick(random, random() < 0.6 ? Object.keys(rule.methods) : known))
    const path = (key.profile.routes.base_path?.strip ?? '') + rule.path.replace(/\{[^}]*\}/g, 'c_1').replace('/**', '')
    const headers: [string, string][] = [[...credentialOf(key)]]
    if (random() < 0.5)
      headers.push([
        pick(
          random,
          overrides.filter(name => name !== ':method'),
        ),
        pick(random, known),
      ])
    const query = random() < 0.2 ? `?_method=${pick(random, known)}` : ''
    const sent = { method, path: path + query, host: key.profile.select.hosts[0], headers }
    const { outcome } = ask({ ...sent, form: pick(random, ['headers', 'header_map', 'both'] as const) })
    // Rules for one path may stand apart by method.
    const needed = key.profile.routes.rules
      .filter((each: { path: string }) => each.path === rule.path)
      .map((each: { methods: Record<string, string> }) => each.methods[method === 'HEAD' ? 'GET' : method])
      .find((scope: string | undefined) => scope !== undefined)
    const right = needed !== undefined && key.scopes.includes(needed)
    tally.note(outcome === 'allow', outcome === 'allow' && !right, () => JSON.stringify(sent))
    if ((outcome === 'allow') !== right) throw new Error(`${outcome}: ${JSON.stringify(sent)}`)
  }
  tally.finish(times(12_000), times(1000))
})
