// Reads rows as they go to the store, or the records of a frame, back into what they say.
import { formatAddress } from '../../src/core/address-octets.ts'
import type { DenialReason } from '../../src/core/reason.ts'
import { denialReasons } from '../../src/core/reason.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { type Tuples, toTuples } from '../../src/usage/batch.ts'
import type { Frame } from '../../src/usage/frame.ts'
import { postgresEpochUnixMs } from '../../src/usage/record-format.ts'
import type { UsageRow } from '../../src/usage/usage-row.ts'

/** Microseconds from PostgreSQL's epoch to ours. */
const epochShift = microsFromUnixMs(postgresEpochUnixMs)

/** The records of frames in `bytes`. */
export function decodeFrames(bytes: Buffer, frames: readonly Frame[], sidecar: string): UsageRow[] {
  return decodeRows(toTuples({ bytes, frames, end: 0 }, sidecar, null), sidecar)
}

export function decodeRows({ tuples, starts }: Pick<Tuples, 'tuples' | 'starts'>, sidecar: string): UsageRow[] {
  return starts.map((start, index) => decodeRow(tuples, start + 2, starts[index + 1] ?? tuples.length, sidecar))
}

function decodeRow(bytes: Buffer, start: number, end: number, sidecar: string): UsageRow {
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

function uuidText(octets: Buffer): string {
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
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  take(): Buffer {
    const length = this.bytes.readInt32BE(this.at)
    const start = this.at + 4
    const end = start + Math.max(0, length)
    if (end > this.end) throw new Error('a value reaches beyond its row')
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
