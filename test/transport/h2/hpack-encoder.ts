// A plain encoder for header blocks that makes every choice of RFC 7541 at random: tables, literals of three kinds, Huffman,
// size updates. Written from the RFC beside the decoder, sharing only the static table and the lengths of the codes.

import { codeLengths } from '../../../src/transport/h2/huffman.ts'
import { staticTable } from '../../../src/transport/h2/static-table.ts'
import { below } from '../../fuzz/tally.ts'
import type { Random } from '../../oracle/random-worlds.ts'
import { integer } from './peer.ts'

/** Codes as texts of bits, by symbol; the last is the end of string. */
export const huffmanCodes: readonly string[] = (() => {
  const codes: string[] = []
  let code = 0n
  let before = 0
  for (const { length, symbol } of codeLengths
    .map((length, symbol) => ({ length, symbol }))
    .sort((a, b) => a.length - b.length || a.symbol - b.symbol)) {
    code <<= BigInt(length - before)
    before = length
    codes[symbol] = code.toString(2).padStart(length, '0')
    code += 1n
  }
  return codes
})()

export function huffman(octets: Uint8Array): Buffer {
  const bits = Array.from(octets, octet => huffmanCodes[octet]).join('')
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1')
  return Buffer.from(
    Array.from({ length: whole.length / 8 }, (_, i) => Number.parseInt(whole.slice(i * 8, i * 8 + 8), 2)),
  )
}

type Field = readonly [name: string, value: string]

export class RandomEncoder {
  private readonly random: Random
  private table: Field[] = []
  private sizeMax = 4096

  constructor(random: Random) {
    this.random = random
  }

  encode(fields: readonly Field[]): Buffer {
    const parts: Buffer[] = []
    if (this.random() < 0.1) {
      for (let i = below(this.random, 2); i >= 0; i--) {
        this.sizeMax = below(this.random, 4097)
        this.evict()
        parts.push(integer(5, 0x20, this.sizeMax))
      }
    }
    return Buffer.concat([...parts, ...fields.map(field => this.field(field))])
  }

  private field(field: Field): Buffer {
    const all = [...staticTable, ...this.table]
    const whole = all.findIndex(([name, value]) => name === field[0] && value === field[1])
    if (whole >= 0 && this.random() < 0.8) return integer(7, 0x80, whole + 1)
    const [prefix, pattern] = (
      [
        [6, 0x40],
        [4, 0x00],
        [4, 0x10],
      ] as const
    )[below(this.random, 3)] ?? [4, 0]
    const named = all.findIndex(([name]) => name === field[0])
    const index = named >= 0 && this.random() < 0.8 ? named + 1 : 0
    const name = index === 0 ? [this.text(field[0])] : []
    if (prefix === 6) {
      this.table.unshift(field)
      this.evict()
    }
    return Buffer.concat([integer(prefix, pattern, index), ...name, this.text(field[1])])
  }

  private text(text: string): Buffer {
    const plain = Buffer.from(text, 'latin1')
    if (this.random() < 0.5) return Buffer.concat([integer(7, 0, plain.length), plain])
    const coded = huffman(plain)
    return Buffer.concat([integer(7, 0x80, coded.length), coded])
  }

  private evict(): void {
    const size = () => this.table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
    while (size() > this.sizeMax) this.table.pop()
  }
}
