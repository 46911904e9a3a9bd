// Ids of resources from a profile's templates: literals around {uuidv7} or {uuidv4}. Made here, or given by a caller if they fit.
// Randomness and time are arguments.

const placeholder = /\{(uuidv7|uuidv4)\}/g

/** Random octets that one id needs: 16 for each placeholder, and templates have one. */
export const idRandomOctets = 16

/**
 * A new id. `random`: at least 16 octets of a cryptographic generator, used once.
 * @throws RangeError for too few of them
 */
export function newId(template: string, unixMs: number, random: Uint8Array): string {
  if (random.length < idRandomOctets) throw new RangeError(`an id needs ${idRandomOctets} random octets`)
  return template.replace(placeholder, (_, kind) => (kind === 'uuidv7' ? uuidV7(unixMs, random) : uuidV4(random)))
}

/** Whether an id could have been made from the template: the literals exactly, UUIDs lower-case and of the right version. */
export function fitsTemplate(template: string, id: string): boolean {
  let pattern = ''
  let literalFrom = 0
  for (const match of template.matchAll(placeholder)) {
    pattern += escaped(template.slice(literalFrom, match.index)) + uuidPattern(match[1] === 'uuidv7' ? 7 : 4)
    literalFrom = match.index + match[0].length
  }
  return new RegExp(`^${pattern}${escaped(template.slice(literalFrom))}$`).test(id)
}

function escaped(literal: string): string {
  return literal.replace(/[^A-Za-z0-9_-]/g, '\\$&')
}

function uuidPattern(version: 4 | 7): string {
  return `[0-9a-f]{8}-[0-9a-f]{4}-${version}[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
}

/** RFC 9562 section 5.7: 48 bits of Unix milliseconds, then random bits. */
function uuidV7(unixMs: number, random: Uint8Array): string {
  const octets = Buffer.from(random.subarray(0, 16))
  octets.writeUIntBE(Math.floor(unixMs), 0, 6)
  return uuidText(octets, 7)
}

/** RFC 9562 section 5.4. */
function uuidV4(random: Uint8Array): string {
  return uuidText(Buffer.from(random.subarray(0, 16)), 4)
}

function uuidText(octets: Buffer, version: number): string {
  octets[6] = ((octets[6] ?? 0) & 0x0f) | (version << 4)
  octets[8] = ((octets[8] ?? 0) & 0x3f) | 0x80
  const hex = octets.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
