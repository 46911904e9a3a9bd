// Reads one record of a spool back into a row: for people who look into a spool, and for tests. Storing needs none of it.
// Total for what record-encoder.ts writes; anything else throws, and names no octet of the record.
import { formatAddress } from '../core/address-octets.ts'
import type { DenialReason } from '../core/reason.ts'
import { denialReasons } from '../core/reason.ts'
import { microsFromUnixMs } from '../core/time.ts'
import { postgresEpochUnixMs } from './record-format.ts'
import type { UsageRow } from './usage-row.ts'

/** Microseconds from PostgreSQL's epoch to ours. */
const epochShift = microsFromUnixMs(postgresEpochUnixMs)

/** Reads `bytes[start, end)`: a record with its size in front. @throws Error for anything else. */
export function decodeRecord(bytes: Buffer, start: number, end: number, sidecar: string): UsageRow {
  const values = new Values(bytes, start, end)
  return {
    time: Number(values.take().readBigInt64BE()) + epochShift,
    decisionId: uuidText(values.take()),
    sidecar,
    profile: values.text(),
    route: values.text(),
    requiredScope: values.text(),
    clientIpMode: values.text(),
    decision: values.text() === 'allow' ? 'allow' : 'deny',
    reason: reasonOf(values.text()),
    status: values.take().readInt16BE(),
    environment: values.text(),
    organizationId: values.text(),
    apiKeyId: values.text(),
    clientIp: values.address(),
    directIp: values.address(),
    method: values.text(),
    host: values.text(),
    path: values.text(),
    userAgent: values.text(),
    requestId: values.text(),
    supportId: values.text(),
  }
}

/** The text of a UUID of 16 octets. */
export function uuidText(octets: Buffer): string {
  const hex = octets.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function reasonOf(text: string): DenialReason | '' {
  return denialReasons.find(reason => reason === text) ?? ''
}

class Values {
  private readonly bytes: Buffer
  private readonly end: number
  private at: number

  constructor(bytes: Buffer, start: number, end: number) {
    if (end - start < 4 || bytes.readInt32BE(start) !== end - start) throw new Error('a record has a wrong size')
    this.bytes = bytes
    this.at = start + 4
    this.end = end
  }

  take(): Buffer {
    const length = this.bytes.readInt32BE(this.at)
    const start = this.at + 4
    const end = start + Math.max(0, length)
    if (end > this.end) throw new Error('a value reaches beyond its record')
    this.at = end
    return this.bytes.subarray(start, end)
  }

  text(): string {
    return this.take().toString('utf8')
  }

  address(): string {
    const octets = this.take()
    if (octets.length === 0) return ''
    const word = (index: number) => octets.readUInt32BE(4 + index * 4)
    if (octets.length === 8) return formatAddress(4, word(0), 0, 0, 0)
    return formatAddress(6, word(0), word(1), word(2), word(3))
  }
}
