// The protobuf parts of a CheckResponse, encoded ahead: used when a profile is compiled, never while a check runs.
// Tags are Envoy's. Header options always say append=false and OVERWRITE_IF_EXISTS_OR_ADD: request headers obey the one,
// response headers the other, and an absent one would mean append.

/** Field 1 of CheckResponse and of messages like it, length-delimited; the next ones count up by 8. */
export const TAG_1 = 0x0a
export const TAG_2 = 0x12
export const TAG_3 = 0x1a
export const TAG_4 = 0x22
export const TAG_5 = 0x2a
export const TAG_6 = 0x32

/** google.rpc.Status with code 0, said and not left out: an absent status would be an allow of nobody's making. */
export const statusOk: Uint8Array = Uint8Array.of(TAG_1, 0x02, 0x08, 0x00)

/** What follows the header in a HeaderValueOption: append {value: false}, append_action OVERWRITE_IF_EXISTS_OR_ADD. */
export const overwrite: Uint8Array = Uint8Array.of(0x12, 0x00, 0x18, 0x02)
/** The same, and keep_empty_value, so that a header without text still replaces what a client sent. */
const overwriteWithNothing = Uint8Array.of(...overwrite, 0x20, 0x01)

/** Octets of one header value; Envoy's limit for a header. */
export const headerValueLengthMax = 16_384

/** A length-delimited field. `tag` is one octet. */
export function encodeField(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.of(tag, ...encodeVarint(content.length)), content])
}

function encodeVarint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...encodeVarint(value >>> 7)]
}

/** A text field; ASCII of a profile or of ours. */
export function encodeText(tag: number, text: string): Buffer {
  return encodeField(tag, Buffer.from(text, 'utf8'))
}

/** A whole header option for a constant value. @throws Error when Envoy would not take the header as it stands. */
export function encodeHeader(tag: number, name: string, value: string): Buffer {
  assertHeaderName(name)
  assertHeaderValue(name, value)
  const header = encodeField(TAG_1, encodeText(TAG_1, name), encodeText(TAG_2, value))
  return encodeField(tag, header, value === '' ? overwriteWithNothing : overwrite)
}

/** An entry of google.protobuf.Struct with a text value. */
export function encodeEntry(name: string, value: string): Buffer {
  const entry = [encodeText(TAG_1, name), encodeField(TAG_2, encodeText(TAG_3, value))]
  return value === '' ? Buffer.alloc(0) : encodeField(TAG_1, ...entry)
}

/** A header may be set by us: lower-case, not empty, no pseudo-header, not `host`, nothing of Envoy's own. */
export function assertHeaderName(name: string): void {
  const isOurs = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name) && name !== 'host' && !name.startsWith('x-envoy-')
  if (!isOurs) throw new Error(`a reply may not set the header ${JSON.stringify(name)}`)
}

/** Printable ASCII without blanks at the ends. */
export function assertHeaderValue(name: string, value: string): void {
  if (value.length > headerValueLengthMax) throw new Error(`the value of ${name} is longer than Envoy takes`)
  if (!/^[ -~]*$/.test(value) || value.trim() !== value) throw new Error(`the value of ${name} is no header value`)
}
