// A protobuf message as a tree of fields, without a schema: so that a mutation inside it leaves all lengths right, and decoders come
// as far as what was changed. Only for sound messages; written for tests, shares no code with src/.

export interface Field {
  number: number
  wire: number
  /** Of a varint or fixed field: its octets. Of a length-delimited one: its content, unless `children` says it is a message. */
  content: Buffer
  children: Field[] | null
  /** Octets that make the tag or the length longer than need be. */
  padding?: number
}

/** Fields that are messages, as paths of field numbers from CheckRequest on. */
const messages = new Set([
  '1',
  '1.1',
  '1.1.1',
  '1.1.1.1',
  '1.1.1.2',
  '1.2',
  '1.4',
  '1.4.1',
  '1.4.2',
  '1.4.2.3',
  '1.4.2.13',
  '1.4.2.13.1',
  '1.10',
  '1.11',
])

export function parseTree(octets: Buffer, path = '', nested: ReadonlySet<string> = messages): Field[] {
  const fields: Field[] = []
  let at = 0
  const varint = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const octet = octets[at++] ?? 0
      value += (octet & 127) * scale
      if (octet < 128) return value
    }
  }
  while (at < octets.length) {
    const tag = varint()
    const [number, wire] = [Math.floor(tag / 8), tag % 8]
    const start = at
    if (wire !== 2) {
      if (wire === 0) varint()
      else at += wire === 1 ? 8 : 4
      fields.push({ number, wire, content: octets.subarray(start, at), children: null })
      continue
    }
    const length = varint()
    const content = octets.subarray(at, at + length)
    at += length
    const inner = path === '' ? String(number) : `${path}.${number}`
    fields.push({ number, wire, content, children: nested.has(inner) ? parseTree(content, inner, nested) : null })
  }
  return fields
}

/** Messages on the way to what a check reads, and messages in them that it never looks into. */
const walked = new Set(['1', '1.1', '1.1.1', '1.4'])
const unread = new Set(['1.2', '1.11', '1.12', '1.13', '1.4.1', '1.1.1.2', '1.1.1.3'])

/** The message without the content of fields that no check looks into. Its outer levels must be sound. */
export function withoutUnread(octets: Buffer): Buffer {
  const empty = (fields: Field[], path: string) => {
    for (const field of fields) {
      const inner = path === '' ? String(field.number) : `${path}.${field.number}`
      if (field.wire === 2 && (unread.has(inner) || (path === '1.1' && field.number !== 1)))
        field.content = Buffer.alloc(0)
      if (field.children !== null) empty(field.children, inner)
    }
    return fields
  }
  return writeTree(empty(parseTree(octets, '', walked), ''))
}

function varintOf(value: number, padding = 0): Buffer {
  const octets: number[] = []
  let rest = value
  while (rest >= 128) {
    octets.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  octets.push(rest)
  for (let i = 0; i < padding; i++) {
    octets.push((octets.pop() ?? 0) + 128, 0)
  }
  return Buffer.from(octets)
}

export function writeTree(fields: readonly Field[]): Buffer {
  const parts: Buffer[] = []
  for (const field of fields) {
    const content = field.children === null ? field.content : writeTree(field.children)
    parts.push(varintOf(field.number * 8 + field.wire, field.padding))
    if (field.wire === 2) parts.push(varintOf(content.length, field.padding))
    parts.push(content)
  }
  return Buffer.concat(parts)
}

/** Every list of fields in the tree, the outermost first. */
export function listsOf(fields: Field[]): Field[][] {
  return [fields, ...fields.flatMap(field => (field.children === null ? [] : listsOf(field.children)))]
}
