// Whether octets are well-formed UTF-8 (Unicode 15, table 3-7): no over-long form, no surrogate, nothing above U+10FFFF.

/** Whether `bytes[start, end)` is UTF-8. */
export function isUtf8Range(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start
  while (at < end) {
    const first = bytes[at++] ?? 0
    if (first < 0x80) continue
    const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1
    if (first < 0xc2 || first > 0xf4 || end - at < more) return false
    const second = bytes[at] ?? 0
    if (second < lowest(first) || second > highest(first)) return false
    for (let i = 1; i < more; i++) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return false
    at += more
  }
  return true
}

/** Bounds of the second octet: they exclude over-long forms, surrogates and what lies above the last code point. */
function lowest(first: number): number {
  return first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
}

function highest(first: number): number {
  return first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
}
