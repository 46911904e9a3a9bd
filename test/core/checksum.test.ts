// The checksum of issued secrets: CRC-32 as in zlib, six base62 digits, every single-character mistake found.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checksumMatches, checksumText, crc32 } from '../../src/core/checksum.ts'

/** Bit by bit, as the definition says; shares nothing with the table. */
function plainCrc32(octets: Uint8Array): number {
  let crc = 0xffffffffn
  for (const octet of octets) {
    crc ^= BigInt(octet)
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0xedb88320n : crc >> 1n
  }
  return Number(crc ^ 0xffffffffn)
}

function plainDigits(value: number): string {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  let rest = BigInt(value)
  const text: string[] = []
  while (rest > 0n) {
    text.unshift(digits.charAt(Number(rest % 62n)))
    rest /= 62n
  }
  return text.join('').padStart(6, '0')
}

test.each([
  ['bbb_live_0123456789ABCDEFGHIJKLMNOPQRSTUV', 0xf1789f79, '4QATsX'],
  ['bbb_live_VUTSRQPONMLKJIHGFEDCBA9876543210', 0x54aac622, '1Y8BDG'],
  ['bk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV', 0x2f42cf52, '0rexUI'],
  ['sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef', 0x64876dd4, '1q8mwe'],
  ['gwa_0123456789ABCDEFGHIJKLMNOPQRSTUV', 0x73ffd956, '27hpmI'],
  ['123456789', 0xcbf43926, plainDigits(0xcbf43926)],
  ['', 0, '000000'],
])('%j has the documented CRC-32 and digits', (text, crc, digits) => {
  const octets = Buffer.from(text)
  expect(crc32(octets, 0, octets.length)).toBe(crc)
  expect(checksumText(octets, 0, octets.length)).toBe(digits)
})

test('any octets have the CRC-32 and digits of the definition, at any offset', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(5), (octets, offset) => {
      const shifted = new Uint8Array(offset + octets.length + 6)
      shifted.set(octets, offset)
      const end = offset + octets.length
      expect(crc32(shifted, offset, end)).toBe(plainCrc32(octets))
      const text = checksumText(shifted, offset, end)
      expect(text).toBe(plainDigits(plainCrc32(octets)))
      shifted.set(Buffer.from(text), end)
      expect(checksumMatches(shifted, offset, end)).toBe(true)
    }),
    { numRuns: 5000 },
  )
})

test('another digit at any of the six places is found', () => {
  const octets = Buffer.from('bbb_live_0123456789ABCDEFGHIJKLMNOPQRSTUV4QATsX')
  const at = octets.length - 6
  for (let i = at; i < octets.length; i++) {
    for (let octet = 0; octet < 256; octet++) {
      const changed = Buffer.from(octets)
      changed[i] = octet
      expect(checksumMatches(changed, 0, at)).toBe(octet === octets[i])
    }
  }
})
