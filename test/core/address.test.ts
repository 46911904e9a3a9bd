// The entry grammar against Node's own: whatever we accept Node accepts and reads as the same address; what only Node accepts
// is one of the spellings that we refuse on purpose.
import { isIP, SocketAddress } from 'node:net'
import { expect, test } from 'vitest'
import { parseAddress, parseEntry } from '../../src/core/address.ts'
import { addressText } from '../../src/core/cidr.ts'
import { plainCanonical, plainOctets, plainText } from '../oracle/cidr.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
let state = seed
const pick = (n: number) => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const one = <Value>(values: readonly Value[]): Value => values[pick(values.length)] as Value

/** Node's reading: IPv4-mapped IPv6 as IPv4, and without the dots that the C library puts into other addresses. */
function nodeReading(text: string): string {
  const family = isIP(text) === 4 ? 'ipv4' : 'ipv6'
  const { address } = new SocketAddress({ address: text, family })
  const [, prefix, quad] = /^(::|::ffff:)(\d+\.\d+\.\d+\.\d+)$/.exec(address) ?? []
  if (quad === undefined) return address
  if (prefix === '::ffff:') return quad
  const value = quad.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)
  return plainCanonical({ family: 6, value })
}

/** Zones, and IPv4 notation at the end of anything but `::ffff:`. */
function refusedOnPurpose(text: string): boolean {
  return text.includes('%') || (text.includes(':') && text.includes('.') && !/^::ffff:[\d.]+$/i.test(text))
}

const atoms = [
  '0',
  '1',
  '01',
  '00',
  '10',
  '255',
  '256',
  '999',
  'f',
  'ffff',
  'FFFF',
  'abcd',
  'fffff',
  'g',
  '::',
  ':',
  '.',
  '',
  '%',
  ' ',
]

function spelling(): string {
  const kind = pick(4)
  if (kind === 0) return Array.from({ length: 1 + pick(9) }, () => one(atoms)).join(one([':', '.', '']))
  const bytes = Array.from({ length: 4 }, () => one([0, 1, 10, 99, 127, 203, 255]))
  if (kind === 1) return mutated(bytes.join('.'))
  const groups = Array.from({ length: 8 }, () => one(['0', '0', '0', 'db8', '2001', 'ffff', 'a']))
  if (kind === 2) return mutated(groups.join(':').replace(/(?:^|:)0(?::0)+(?=:|$)/, one(['$&', '::', ':'])))
  return mutated(`${one(['::ffff:', '::', '::FFFF:', '64:ff9b::', '0:0:0:0:0:ffff:'])}${bytes.join('.')}`)
}

function mutated(text: string): string {
  if (pick(3) > 0) return text
  const at = pick(text.length + 1)
  return text.slice(0, at) + one(['', '0', ':', '.', ' ', '%1', '/', '\0', '１']) + text.slice(at + pick(2))
}

test('40,000 spellings: never an address that Node reads otherwise', () => {
  let accepted = 0
  for (let i = 0; i < 40_000; i++) {
    const text = spelling()
    const ours = parseAddress(text)
    if (ours !== null) {
      accepted++
      if (isIP(text) === 0 || addressText(ours) !== nodeReading(text)) {
        throw new Error(`${JSON.stringify(text)} is ${addressText(ours)} to us, seed ${seed}`)
      }
    } else if (isIP(text) !== 0 && !refusedOnPurpose(text)) {
      throw new Error(`${JSON.stringify(text)} is refused, seed ${seed}`)
    }
  }
  expect(accepted, `seed ${seed}`).toBeGreaterThan(5000)
})

test('every prefix length of a block is read back from its text, one beyond is refused', () => {
  for (const family of [4, 6] as const) {
    const bits = family === 4 ? 32 : 128
    const value = family === 4 ? 0xcb00_7105n : 0x2001_0db8_ffff_8000_0000_0001_ffff_ffffn
    const text = plainText({ family, value })
    for (let prefix = 0; prefix <= bits; prefix++) {
      const entry = parseEntry(`${text}/${prefix}`)
      const network = (value >> BigInt(bits - prefix)) << BigInt(bits - prefix)
      expect(entry?.block, `${text}/${prefix}`).toEqual({
        family,
        prefix,
        octets: plainOctets({ family, value: network }),
      })
      expect(entry?.hostBits, `${text}/${prefix}`).toBe(network !== value)
      if (entry !== null) expect(addressText(entry.block)).toBe(plainCanonical({ family, value: network }))
    }
    expect(parseEntry(`${text}/${bits + 1}`)).toBeNull()
  }
})

test('exactly the blocks around ::ffff:0:0/96 have no family of their own', () => {
  for (let prefix = 0; prefix < 96; prefix++) {
    expect(parseEntry(`::ffff:0:0/${prefix}`)?.spansMapped, `/${prefix}`).toBe(true)
    expect(parseEntry(`2001:db8::/${prefix}`)?.spansMapped, `/${prefix}`).toBe(prefix < 3)
  }
  for (let prefix = 96; prefix <= 128; prefix++) {
    expect(parseEntry(`::ffff:0:0/${prefix}`)).toMatchObject({
      spansMapped: false,
      block: { family: 4, prefix: prefix - 96 },
    })
  }
  expect(parseEntry('::/96')?.spansMapped).toBe(false)
  expect(parseEntry('::/81')?.spansMapped).toBe(false)
  expect(parseEntry('::/80')?.spansMapped).toBe(true)
})
