// Huffman codes of HPACK (RFC 7541 appendix B), decoded half an octet a step. The code is canonical: within one length, codes
// follow the order of the symbols, so that lengths alone define it.

/** Bits of the code of each octet, then of the end of string. */
export const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
]
const endOfString = 256
/** Ones that may fill up the last octet (RFC 7541 section 5.2). */
const paddingMax = 7

/** A step from a node by four bits: the next node, the octet that was completed above it, or a fault. */
const nodeBits = 9
const noOctet = 0x1ff
const fault = -1

/** By node and half octet: next node | octet << nodeBits, or `fault`. */
const steps = new Int32Array(256 * 16).fill(fault)
/** Nodes at which a string may end. */
const mayEnd = new Uint8Array(256)

build()

function build(): void {
  // Children of inner nodes; a leaf is the complement of its symbol, 0 is nothing yet.
  const children: [number, number][] = [[0, 0]]
  const symbols = codeLengths.map((length, symbol) => ({ length, symbol }))
  symbols.sort((one, other) => one.length - other.length || one.symbol - other.symbol)
  let code = 0
  let before = 0
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - before)
    before = length
    insert(children, code, length, symbol)
    code += 1
  }
  for (let node = 0; node < children.length; node++) {
    for (let half = 0; half < 16; half++) steps[node * 16 + half] = stepOf(children, node, half)
  }
  for (let node = 0, ones = 0; ones <= paddingMax; ones++) {
    mayEnd[node] = 1
    node = children[node]?.[1] ?? 0
  }
}

function insert(children: [number, number][], code: number, length: number, symbol: number): void {
  let node = 0
  for (let bit = length - 1; bit >= 0; bit--) {
    const pair = children[node] ?? [0, 0]
    const side = Math.floor(code / 2 ** bit) % 2 === 0 ? 0 : 1
    if (bit === 0) pair[side] = ~symbol
    else if (pair[side] === 0) pair[side] = children.push([0, 0]) - 1
    node = pair[side]
  }
}

function stepOf(children: readonly (readonly [number, number])[], from: number, half: number): number {
  let node = from
  let octet = noOctet
  for (let bit = 3; bit >= 0; bit--) {
    const next = children[node]?.[(half >> bit) & 1 ? 1 : 0] ?? 0
    if (next >= 0) node = next
    else if (~next === endOfString) return fault
    else {
      octet = ~next
      node = 0
    }
  }
  return node | (octet << nodeBits)
}

/**
 * Decodes `source[start, end)` to `target`, which has room for 8/5 of it. Returns the number of octets; -1 for the end-of-string
 * symbol, padding of more than 7 bits, and padding that is not all ones (RFC 7541 section 5.2).
 */
export function decodeHuffman(source: Buffer, start: number, end: number, target: Buffer): number {
  let node = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const octet = source[at] ?? 0
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = steps[(node << 4) | ((octet >> shift) & 0xf)] ?? fault
      if (step === fault) return -1
      const emitted = step >> nodeBits
      if (emitted !== noOctet) target[length++] = emitted
      node = step & 0x1ff
    }
  }
  return mayEnd[node] === 1 ? length : -1
}
