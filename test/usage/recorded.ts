// Records of checks in tests: an encoder whose frames are read back into rows at once, and the golden cases as requests.

import { RecordEncoder } from '../../src/usage/record-encoder.ts'
import type { Lane } from '../../src/usage/record-format.ts'
import type { UsageRow } from '../../src/usage/usage-row.ts'
import type { SentRequest } from '../check/encode-check.ts'
import { type GoldenCase, goldenHosts, secretsFilled } from '../core/cases.ts'
import { decodeFrames } from './decode-rows.ts'

export const sidecar = '0b8f3f0e-1111-4222-8333-444455556666'

export interface Recorded {
  readonly encoder: RecordEncoder
  readonly rows: UsageRow[]
  readonly lanes: Lane[]
  /** Every octet that was handed to the spool. */
  readonly octets: Buffer[]
}

/** @param clientIpMode name of the mode */
export function createRecorded(clientIpMode = 'xff-hops'): Recorded {
  const rows: UsageRow[] = []
  const lanes: Lane[] = []
  const octets: Buffer[] = []
  const encoder = new RecordEncoder({
    clientIpMode,
    sink: {
      append(lane, { bytes, at: end, count }) {
        octets.push(Buffer.from(bytes.subarray(0, end)))
        const frame = decodeFrames(bytes, [{ start: 0, end, count, sequence: 0 }], sidecar)
        rows.push(...frame)
        lanes.push(...frame.map(() => lane))
      },
    },
  })
  return { encoder, rows, lanes, octets }
}

/** A golden case as Envoy sends it. */
export function goldenRequest(golden: GoldenCase): SentRequest {
  const { credential } = golden
  const headers: [string, string][] = []
  if (credential !== null) headers.push([credential.header, secretsFilled(credential.value)])
  if (golden.xff !== null) headers.push(['x-forwarded-for', golden.xff])
  headers.push(['user-agent', `golden/${golden.id}`], ['x-request-id', `request-${golden.id}`])
  return {
    method: golden.method,
    path: secretsFilled(golden.path),
    host: goldenHosts[golden.profile],
    headers,
    extensions: { profile: golden.profile },
  }
}
