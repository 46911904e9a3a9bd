// A suggestion out of many addresses leaves turns to whatever else the process does: checks, where one process has both roles.
import { expect, test } from 'vitest'
import { suggestionsOf } from '../../src/admin/suggest-allowlist.ts'
import type { UsageAddress } from '../../src/admin/usage-rows.ts'
import type { Micros } from '../../src/core/time.ts'

test('20,000 addresses are looked at in some hundred turns, and each is counted once', async () => {
  const addresses = Array.from({ length: 20_000 }, (_, n): UsageAddress => {
    const seen = { firstTime: n as Micros, lastTime: n as Micros }
    return { address: `11.${n >> 8}.${n & 255}.${n % 250}`, requests: BigInt(n % 50), ...seen }
  })
  const requests = addresses.reduce((sum, each) => sum + each.requests, 0n)
  let [turns, done] = [0, false]
  const count = () => {
    turns++
    if (!done) setImmediate(count)
  }
  setImmediate(count)
  const bounds = { entries: 100, requests: 0n, acceptable: ({ prefix }: { readonly prefix: number }) => prefix >= 24 }
  const reply = await suggestionsOf(addresses, requests, bounds)
  done = true
  expect(turns).toBeGreaterThan(200)
  expect(reply.suggestions).toHaveLength(100)
  expect(new Set(reply.suggestions.map(each => each.requests))).toEqual(new Set([49n]))
  expect(reply.uncovered).toBe(requests - 4900n)
})
