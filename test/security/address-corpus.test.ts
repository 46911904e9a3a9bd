// Spellings of addresses through every entrance: the strict grammar of the admin edge, its entries and lists, and the header parser of a
// check. One grammar: what one of them takes for an address is the same address to all of them, or none.
import { expect, it } from 'vitest'
import { parseAddress, parseEntry } from '../../src/core/address.ts'
import { judgeAllowlist } from '../../src/core/allowlist.ts'
import { addressText, cidrText } from '../../src/core/cidr.ts'
import { createStand } from '../check/check-stand.ts'
import { below, randomFor, seed, Tally, times } from '../fuzz/tally.ts'
import { plainAddress, plainEntry, plainTextOf } from '../oracle/forwarding.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { addresses, entries, nowhere, onlyInHeaders } from './address-spellings.ts'

const rules = {
  minPrefix: { v4: null, v6: null },
  maxEntries: null,
  labels: { allowed: false, maxLength: 0 },
  private: 'allow',
  privateRanges: [],
  hostBits: 'mask',
} as const

/** What each entrance makes of a text: canonical text, or '' for nothing. */
function strict(text: string): string {
  const address = parseAddress(text)
  return address === null ? '' : addressText(address)
}
function entry(text: string): string {
  const parsed = parseEntry(text)
  return parsed === null ? '' : cidrText(parsed.block)
}
function listed(text: string): string {
  const [only] = judgeAllowlist([{ cidr: text, label: '' }], rules).entries
  return only === undefined ? '' : cidrText(only.block)
}
const stand = createStand({ clientAddress: { mode: 'trusted-header', header: 'x-client' } })
const inHeader = (text: string) =>
  stand.check({ path: '/x', headers: [['x-client', text]] }).metadata['client_ip'] ?? ''

const single = (canonical: string) => `${canonical}/${canonical.includes(':') ? 128 : 32}`

it('each spelling written by hand has its verdict at every entrance', () => {
  for (const [text, canonical] of Object.entries(addresses)) {
    const found = [strict(text), entry(text), listed(text), inHeader(text)]
    expect(found, text).toEqual([canonical, single(canonical), single(canonical), canonical])
  }
  for (const [text, canonical] of Object.entries(entries)) {
    // A block around `::ffff:0:0/96` has no family of its own: a spelling, but no entry.
    const refused = parseEntry(text)?.spansMapped === true
    expect([strict(text), entry(text), listed(text), inHeader(text)], text).toEqual([
      '',
      canonical,
      refused ? '' : canonical,
      '',
    ])
  }
  for (const [text, canonical] of Object.entries(onlyInHeaders)) {
    expect([strict(text), entry(text), listed(text), inHeader(text)], text).toEqual(['', '', '', canonical])
  }
  for (const text of nowhere) {
    expect([strict(text), entry(text), listed(text), inHeader(text)], JSON.stringify(text)).toEqual(['', '', '', ''])
  }
  const written = [addresses, entries, onlyInHeaders].flatMap(Object.keys).length + new Set(nowhere).size
  process.stdout.write(`address spellings with a verdict by hand: ${written}\n`)
  expect(written).toBeGreaterThanOrEqual(300)
})

const pieces = [...':.%/[] 0123456789abcdefABCDEFgx'].concat(
  '::',
  '::ffff:',
  '255',
  '256',
  '0x',
  '00',
  '\0',
  '\t',
  '１',
  'é',
  ':80',
  '%eth0',
  '/24',
  '/128',
)

/** A spelling near one that is right. */
function spell(random: Random): string {
  let text = pick(random, Object.keys(random() < 0.7 ? addresses : random() < 0.5 ? entries : onlyInHeaders))
  for (let edits = below(random, 4); edits > 0; edits--) {
    const at = below(random, text.length + 1)
    text = text.slice(0, at) + pick(random, ['', ...pieces]) + text.slice(at + below(random, 2))
  }
  return text
}

it('no generated spelling means another address to one entrance than to the others, or to Node', () => {
  const random = randomFor('addresses')
  const tally = new Tally('address spellings')
  for (let i = 0; i < times(40_000); i++) {
    const text = spell(random)
    const canonical = strict(text)
    const header = inHeader(text)
    const wrong =
      canonical !== plainTextOf(plainAddress(text)) ||
      header !== plainTextOf(plainEntry(text)) ||
      (canonical !== '' && header !== canonical) ||
      entry(text) !== (text.includes('/') ? entry(text) : canonical === '' ? '' : single(canonical)) ||
      (parseEntry(text)?.spansMapped === false && entry(text) !== listed(text)) ||
      (text.includes('/') && entry(text) !== '' && strict(text.slice(0, text.indexOf('/'))) === '')
    tally.note(canonical !== '', wrong, () => JSON.stringify({ text, canonical, header, entry: entry(text), seed }))
  }
  tally.finish(times(40_000), times(4000))
})
