// What a UUIDv7 says of itself (RFC 9562 section 5.7): when it was made. Makes none, since that takes randomness.

/** Unix milliseconds in the first 48 bits. @param uuid a UUIDv7 in its usual text form */
export function unixMsOfUuid7(uuid: string): number {
  return Number.parseInt(`${uuid.slice(0, 8)}${uuid.slice(9, 13)}`, 16)
}
