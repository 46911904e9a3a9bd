// The digest of a secret: published vectors, every length against the platform's own hash, and the vectors of the admin API.
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  digestOfSha256,
  digestSecret,
  type Pepper,
  pepperProof,
  proofMessages,
  SecretDigests,
  wordsOf,
} from '../../src/keys/digest.ts'
import { sha256 } from '../../src/keys/sha256.ts'

const p1: Pepper = { id: 'p1', bytes: Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i) }
const p2: Pepper = { id: 'p2', bytes: Uint8Array.from({ length: 32 }, (_, i) => 0xff - i) }

function hex(words: Int32Array): string {
  return [...words].map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

function sha256Hex(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const out = new Int32Array(8)
  sha256(bytes, start, end, out)
  return hex(out)
}

describe('sha256', () => {
  test.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
    [
      'abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu',
      'cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1',
    ],
  ])('the published vector %j has its published hash', (text, expected) => {
    expect(sha256Hex(Buffer.from(text))).toBe(expected)
  })

  test('a million times the letter a has its published hash', () => {
    expect(sha256Hex(Buffer.alloc(1_000_000, 'a'))).toBe(
      'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0',
    )
  })

  test('every length from 0 to 300, at any offset, equals the platform hash', () => {
    let compared = 0
    for (let round = 0; round < 34; round++) {
      for (let length = 0; length <= 300; length++) {
        const offset = (round * 7 + length) % 13
        const bytes = randomBytes(offset + length + 5)
        const expected = createHash('sha256')
          .update(bytes.subarray(offset, offset + length))
          .digest('hex')
        if (sha256Hex(bytes, offset, offset + length) !== expected)
          throw new Error(`differs: ${bytes.toString('hex')} ${offset}`)
        compared++
      }
    }
    expect(compared).toBeGreaterThanOrEqual(10_000)
  })
})

describe('digest', () => {
  test.each([
    [
      'bbb_live_',
      '0123456789ABCDEFGHIJKLMNOPQRSTUV4QATsX',
      '1e6886e5f96f20e5bdef3dd167b8fc5af7420f1e45e50155694a31da7d51f7fe',
    ],
    [
      'bbb_live_',
      'VUTSRQPONMLKJIHGFEDCBA98765432101Y8BDG',
      'c63fa39df3a858747256d92b408a95086a1a439dab9691d23ef67aa85b66688b',
    ],
    [
      'bk_live_',
      '0123456789ABCDEFGHIJKLMNOPQRSTUV0rexUI',
      '18660a8b20a9296b3570ea82d84d4489fdf334b41556c5de9aebe2f58a5a783c',
    ],
    [
      'sk_live_',
      '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1q8mweX2JpdGdwdA',
      '2befb17a99ddd63e08fb2531b068cdf515516a9db9a659d2e4b7ef324e7b9bbd',
    ],
    [
      'gwa_',
      '0123456789ABCDEFGHIJKLMNOPQRSTUV27hpmI',
      '535701418541c17d8b6de0574cbc9eb15b3bfc3c9e757ca5a1aa2b53c7f570be',
    ],
    ['bbb_live_', 'a1b2c3d4e5f6', '9a0a389e04863f20b4a7f883b7a64b4973f6dd2ccb4bb1b0ea6edda70e7841b0'],
    ['bk_live_', '1234567890abcdef', 'f5fa4c3abe3935a9c56b7cca45c26b32bf99ea6968a579a3b13bd568ff6494eb'],
  ])('the documented secret %s%s has its documented digest', (prefix, body, expected) => {
    const secret = Buffer.from(prefix + body)
    expect(digestSecret(p1, secret).toString('hex')).toBe(expected)
    const out = new Int32Array(8)
    new SecretDigests([p1]).digest(secret, 0, secret.length, out)
    expect(hex(out)).toBe(expected)
  })

  test.each([
    ['bbb_live_a1b2c3d4e5f6', '9d1b8626222e71b154aa23ec4e48968e3346a4536867d1233948459bb8b1e17c'],
    ['bk_live_1234567890abcdef', '911fc1656ea391643b4b6571bf2ef0f91bac2b6eeffff3a693b52b32536470d1'],
  ])('the import of %s by its SHA-256 gives the digest of the secret', (secret, hash) => {
    const imported = digestOfSha256(p1, Buffer.from(hash, 'hex'))
    expect(imported).toEqual(digestSecret(p1, Buffer.from(secret)))
  })

  test('both peppers give the platform HMAC of the platform hash, for random secrets of every length', () => {
    const digests = new SecretDigests([p1, p2])
    const out = new Int32Array(8)
    for (let i = 0; i < 10_000; i++) {
      const secret = randomBytes(i % 301)
      const hash = createHash('sha256').update(secret).digest()
      digests.digest(secret, 0, secret.length, out)
      expect(hex(out)).toBe(createHmac('sha256', p1.bytes).update(hash).digest('hex'))
      digests.digestAgain(out)
      expect(hex(out)).toBe(createHmac('sha256', p2.bytes).update(hash).digest('hex'))
    }
  })

  test('a pepper that cannot be one is refused by its id, never shown', () => {
    expect(() => new SecretDigests([])).toThrow(RangeError)
    expect(() => new SecretDigests([p1, p1])).toThrow('two peppers have the id p1')
    expect(() => new SecretDigests([p1, p2, { id: 'p3', bytes: p1.bytes }])).toThrow('at most 2')
    expect(() => digestSecret({ id: 'short', bytes: new Uint8Array(31) }, Buffer.alloc(1))).toThrow(
      'pepper short has 31 octets instead of 32',
    )
    expect(() => wordsOf(new Uint8Array(31), new Int32Array(8))).toThrow(RangeError)
  })
})

describe('the proof of a pepper', () => {
  const purposes = ['api_keys', 'admin_keys'] as const

  test('is HMAC-SHA-256 under the pepper of a fixed text that names what it is for', () => {
    for (const purpose of purposes) {
      const expected = createHmac('sha256', p1.bytes).update(proofMessages[purpose]).digest('hex')
      expect(pepperProof(p1, purpose).toString('hex')).toBe(expected)
    }
    // Written down: a build that made another proof would find every deployed pepper wrong.
    expect(pepperProof(p1, 'api_keys').toString('hex')).toBe(
      '6aefc68769b18f04dd7341dc7d7346f8fc0b4deb805c5b18987d7f23cbd3d258',
    )
    expect(pepperProof(p1, 'admin_keys').toString('hex')).toBe(
      '96dac5faa6322e6d53daf1ac854c5aa9088ead02e874017ae6844f2a41c3baca',
    )
  })

  test('differs with the pepper in any octet and with what it is for, not with the id', () => {
    const seen = new Set(purposes.map(purpose => pepperProof(p1, purpose).toString('hex')))
    for (let octet = 0; octet < 32; octet++) {
      const bytes = Uint8Array.from(p1.bytes)
      bytes[octet] = (bytes[octet] ?? 0) ^ 1
      seen.add(pepperProof({ id: 'p1', bytes }, 'api_keys').toString('hex'))
    }
    expect(seen.size).toBe(34)
    expect(pepperProof({ ...p1, id: 'other' }, 'api_keys')).toEqual(pepperProof(p1, 'api_keys'))
  })

  test('is made from a message that no digest is made from: those have 32 octets', () => {
    for (const purpose of purposes) expect(Buffer.byteLength(proofMessages[purpose])).not.toBe(32)
    const texts = purposes.map(purpose => Buffer.from(proofMessages[purpose]))
    for (const text of texts) expect(digestSecret(p1, text)).not.toEqual(pepperProof(p1, 'api_keys'))
  })
})
