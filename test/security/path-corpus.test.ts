// Path spellings against a permissive matcher: whatever any decoding of an allowed path reaches must need only scopes the key has.
import { expect, it } from 'vitest'
import { randomFor, Tally, times } from '../fuzz/tally.ts'
import type { ProfileDocument } from '../oracle/decision.ts'
import { readingsOf, scopesReached } from '../oracle/permissive-paths.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { joiners, spellPath } from './path-spellings.ts'
import { createScopedStand, credentialOf, productDocuments, type ScopedKey } from './scoped-stand.ts'

const spellingsPerRoute = times(300)

/** Values of a parameter that are right, or nearly. */
const values = ['c_1', 'a%20b', 'a%3Fb', 'a%23b', '%C0%AF', '~', '%FF', 'x,y', '-', '%22', '%7c']

function pathOf(random: Random, profile: ProfileDocument, template: string): string {
  const base: string = profile.routes.base_path?.strip ?? ''
  const spelledBase = pick(random, [base, base, base, base, '', base + base])
  return (
    spelledBase +
    template
      .replace(/\{[^}]*\}/g, () => pick(random, values))
      .replace('/**', () => pick(random, ['', '/c_1', '/a/b', `/${pick(random, values)}`]))
  )
}

/** Whether some reading of the path reaches a rule that needs a scope the key lacks. */
function reachesForbidden(key: ScopedKey, method: string, path: string, documented: boolean): boolean {
  for (const reading of readingsOf(path.replace(/\?.*$/s, ''), documented)) {
    for (const needed of scopesReached(key.profile, method, reading).values()) {
      if (needed.some(scope => !key.scopes.includes(scope))) return true
    }
  }
  return false
}

it('no spelling of a path reaches a route past its scope', () => {
  const { keys, ask } = createScopedStand()
  const random = randomFor('paths')
  const tally = new Tally('path spellings')
  let knowingly = 0
  for (const profile of productDocuments) {
    const host: string = profile.select.hosts[0]
    for (const rule of profile.routes.rules) {
      for (const [method, scope] of Object.entries(rule.methods)) {
        const key = keys.find(each => each.profile === profile && each.lacks === scope)
        if (key === undefined) throw new Error(`no key without ${scope}`)
        for (let i = 0; i < spellingsPerRoute; i++) {
          const neighbours = profile.routes.rules.filter((each: { methods: object }) =>
            Object.hasOwn(each.methods, method),
          )
          const neighbour = pathOf(random, profile, pick<{ path: string }>(random, neighbours).path)
          const target = pathOf(
            random,
            profile,
            random() < 0.7 ? rule.path : pick<{ path: string }>(random, profile.routes.rules).path,
          )
          const path = spellPath(random, target, neighbour)
          const sent = method === 'GET' && random() < 0.2 ? 'HEAD' : method
          const { outcome } = ask({
            method: sent,
            path: Buffer.from(path, 'latin1'),
            host,
            headers: [credentialOf(key)],
          })
          const allowed = outcome === 'allow'
          tally.note(
            allowed,
            allowed && reachesForbidden(key, sent, path, false),
            () => `${sent} ${JSON.stringify(path)} without ${key.lacks}`,
          )
          if (allowed && reachesForbidden(key, sent, path, true)) knowingly++
        }
      }
    }
  }
  process.stdout.write(
    `of these, allowed although a server that cuts at an encoded ? or #, or reads over-long UTF-8, would go elsewhere: ${knowingly}\n`,
  )
  tally.finish(times(20_000), times(500))
})

it('nothing written behind a parameter or a path of one rule opens another to a key of its one scope', () => {
  const { narrowKey, ask } = createScopedStand()
  const tally = new Tally('joined paths')
  for (const profile of productDocuments) {
    const base: string = profile.routes.base_path?.strip ?? ''
    for (const rule of profile.routes.rules) {
      const path = base + rule.path.replace('/**', '/c_1')
      const spelled = joiners.flatMap(joiner => [
        path.replace(/\{[^}]*\}/g, 'c_1') + joiner,
        path.replace(/\{[^}]*\}/g, `c_1${joiner}`),
        path.replace(/\{[^}]*\}/, `c_1${joiner}`).replace(/\{[^}]*\}/g, 'c_1'),
      ])
      for (const [method, scope] of Object.entries<string>(rule.methods)) {
        const key = narrowKey(profile, scope)
        for (const each of new Set(spelled)) {
          const octets = Buffer.from(each, 'latin1')
          const { outcome } = ask({ method, path: octets, host: profile.select.hosts[0], headers: [credentialOf(key)] })
          const bypass = outcome === 'allow' && reachesForbidden(key, method, each, false)
          tally.note(outcome === 'allow', bypass, () => `${method} ${JSON.stringify(each)} with ${scope}`)
        }
      }
    }
  }
  tally.finish(2500, 200)
})

it('the permissive matcher sees what it is there to see', () => {
  const [bitbybit] = productDocuments
  const key: ScopedKey = { profile: bitbybit, secret: '', scopes: ['customers:READ'], lacks: null }
  const base = '/customer/open/v1'
  for (const path of [
    `${base}/orders`,
    `${base}/%6frders`,
    `${base}/customers/..%2forders`,
    `${base}/customers/%252e%252e%255corders`,
    `${base}/customers/x/..;/..;/orders`,
    `${base}//orders`,
    `${base}/ORDERS/`,
    `//evil${base}/orders`,
    `${base}/orders%00.html`,
    `${base}/%u006frders`,
  ]) {
    expect(reachesForbidden(key, 'GET', path, false), path).toBe(true)
  }
  for (const path of [`${base}/customers`, `${base}/customers/orders`, `${base}/customers/a%3Fb`, '/orderz']) {
    expect(reachesForbidden(key, 'GET', path, false), path).toBe(false)
  }
})
