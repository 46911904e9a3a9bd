// Header blocks: the examples of RFC 7541 appendix C, every fault that it names, and a differential against a plain encoder that
// makes every choice at random.
import { describe, expect, it } from 'vitest'
import { CallHead, FieldMeanings } from '../../../src/transport/h2/call-head.ts'
import { createHpackTables, HpackDecoder } from '../../../src/transport/h2/hpack.ts'
import { decodeHuffman } from '../../../src/transport/h2/huffman.ts'
import { below, randomFor, seed } from '../../fuzz/tally.ts'
import { pick } from '../../oracle/random-worlds.ts'
import { huffman, RandomEncoder } from './hpack-encoder.ts'
import { integer } from './peer.ts'

const names = ['custom-key', 'cache-control', 'x-gatewarden-client-ip', 'x', 'x-long']
const tables = createHpackTables(new FieldMeanings(['/'], names))

class Blocks {
  readonly head = new CallHead()
  private readonly decoder = new HpackDecoder(tables)

  /** The wanted fields of a block; null: it cannot be decoded. */
  decode(block: Buffer): Record<string, string> | null {
    this.head.reset()
    if (!this.decoder.decode(block, 0, block.length, this.head)) return null
    return Object.fromEntries(this.head.values.flatMap((value, i) => (value == null ? [] : [[names[i] ?? '', value]])))
  }
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('RFC 7541 appendix C', () => {
  it('C.2.1 and C.2.4: a literal goes into the table, an indexed field comes out of it', () => {
    const blocks = new Blocks()
    expect(blocks.decode(hex('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'))).toEqual({
      'custom-key': 'custom-header',
    })
    expect(blocks.decode(hex('be'))).toEqual({ 'custom-key': 'custom-header' })
    expect(blocks.decode(hex('bf'))).toBeNull()
  })
  it.each([
    [
      'C.3',
      [
        '828684410f7777772e6578616d706c652e636f6d',
        '828684be58086e6f2d6361636865',
        '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
      ],
    ],
    [
      'C.4',
      [
        '828684418cf1e3c2e5f23a6ba0ab90f4ff',
        '828684be5886a8eb10649cbf',
        '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
      ],
    ],
  ])('%s: requests of one connection', (_, [first = '', second = '', third = '']) => {
    const blocks = new Blocks()
    expect(blocks.decode(hex(first))).toEqual({})
    expect(blocks.head).toMatchObject({ isRequest: true, method: 1, fields: 4 })
    expect(blocks.decode(hex(second))).toEqual({ 'cache-control': 'no-cache' })
    expect(blocks.decode(hex(third))).toEqual({ 'custom-key': 'custom-value' })
    expect(blocks.head.listSize).toBe(42 + 44 + 48 + 57 + 54)
  })
})

describe('a block is refused', () => {
  it.each([
    ['that names index 0', '80'],
    ['that names an index beyond both tables', 'be'],
    ['whose index has no end', 'ff ff ff ff ff ff'],
    ['whose index is cut off', 'ff 80'],
    ['whose literal has no name', '40'],
    ['whose name is longer than the block', '40 05 61 62'],
    ['whose value is missing', '40 01 61'],
    ['with a literal whose name is beyond both tables', '7f 7f 01 61'],
    ['that makes the table larger than allowed', '3f e2 1f'],
    ['that changes its size behind a field', '82 20'],
    ['that changes its size three times', '20 20 20 82'],
    ['with padding of eight ones', '40 82 ff ff 01 61'],
    ['with padding that is not ones', '40 81 18 01 61'],
    ['with the end-of-string symbol', '40 84 ff ff ff ff 01 61'],
  ])('%s', (_, octets) => {
    expect(new Blocks().decode(hex(octets))).toBeNull()
  })
  it('never for a size update where one may be', () => {
    expect(new Blocks().decode(hex('20 3f e1 1f 82'))).toEqual({})
  })
})

describe('the dynamic table', () => {
  const literal = (name: string, value: string) =>
    Buffer.concat([
      Buffer.from([0x40, name.length]),
      Buffer.from(name),
      integer(7, 0, value.length),
      Buffer.from(value),
    ])
  it('holds 4096 octets and drops the oldest', () => {
    const blocks = new Blocks()
    const entry = 'y'.repeat(64 - 32 - 1)
    for (let i = 0; i < 65; i++) blocks.decode(literal('x', entry))
    expect(blocks.decode(integer(7, 0x80, 62 + 63))).toEqual({ x: entry })
    expect(blocks.decode(integer(7, 0x80, 62 + 64))).toBeNull()
  })
  it('is emptied by an entry that is larger than it', () => {
    const blocks = new Blocks()
    blocks.decode(literal('x', 'kept'))
    expect(blocks.decode(literal('x-long', 'y'.repeat(5000)))).toEqual({ 'x-long': 'y'.repeat(5000) })
    expect(blocks.decode(hex('be'))).toBeNull()
  })
})

describe('Huffman', () => {
  it('gives back every octet and every pair of octets', () => {
    const target = Buffer.alloc(8)
    for (let one = 0; one < 256; one++) {
      for (let other = -1; other < 256; other++) {
        const plain = Buffer.from(other < 0 ? [one] : [one, other])
        const coded = huffman(plain)
        const length = decodeHuffman(coded, 0, coded.length, target)
        if (length !== plain.length || target.compare(plain, 0, plain.length, 0, length) !== 0)
          throw new Error(`${plain.toString('hex')} came back wrong`)
      }
    }
  })
})

it(`blocks of a plain encoder mean what it put in (seed ${seed})`, () => {
  const random = randomFor('hpack')
  const value = () =>
    Buffer.from(
      Array.from({ length: below(random, below(random, 20) === 0 ? 3000 : 20) }, () => 33 + below(random, 94)),
    ).toString('latin1')
  let blocks = 0
  for (let connection = 0; connection < 200; connection++) {
    const encoder = new RandomEncoder(random)
    const decoder = new Blocks()
    const known = Array.from(
      { length: 8 },
      () => [pick(random, [...names, 'other', 'accept', 'cookie']), value()] as const,
    )
    for (let i = 0; i < 50; i++) {
      const fields = Array.from({ length: below(random, 8) }, () =>
        random() < 0.7 ? pick(random, known) : ([pick(random, names), value()] as const),
      )
      const once = fields.filter(
        ([name], at) => names.includes(name) && fields.filter(([other]) => other === name).length === 1 && at >= 0,
      )
      expect(decoder.decode(encoder.encode(fields))).toEqual(Object.fromEntries(once))
      expect(decoder.head.fields).toBe(fields.length)
      expect(decoder.head.listSize).toBe(fields.reduce((sum, [name, text]) => sum + name.length + text.length + 32, 0))
      blocks++
    }
  }
  process.stdout.write(`header blocks compared: ${blocks} (seed ${seed})\n`)
})
