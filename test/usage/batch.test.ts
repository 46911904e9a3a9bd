// Rows out of frames: whatever octets a frame holds, they become rows or an error, and nothing outside of it is read.
import { describe, expect, it } from 'vitest'
import { toTuples } from '../../src/usage/batch.ts'
import { RecordBuffer } from '../../src/usage/record-buffer.ts'
import { frameHeaderLength, recordHeadLength, requestIdAt } from '../../src/usage/record-format.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { decodeFrames } from './decode-rows.ts'
import { putRecord } from './recording-stand.ts'

const sidecar = '0b8f3f0e-1111-4222-8333-444455556666'

function frameOf(...ids: readonly string[]) {
  const buffer = new RecordBuffer()
  for (const id of ids) putRecord(buffer, 1, id)
  const bytes = Buffer.from(buffer.bytes.subarray(0, buffer.at))
  return { bytes, frames: [{ start: 0, end: bytes.length, count: ids.length, sequence: 0 }], end: bytes.length }
}

describe('rows of a frame', () => {
  it('are its records, each with the half that has come', () => {
    const piece = frameOf('a', 'b')
    expect(decodeFrames(piece.bytes, piece.frames, sidecar).map(row => row.requestId)).toEqual(['a', 'b'])
    const asked: string[] = []
    const upstream = 'u'.repeat(5000)
    const half = {
      decisionId: '',
      finalStatus: 200,
      durationUs: 5_000_000_000,
      requestBytes: null,
      responseBytes: 7,
      responseFlags: 'UF',
      upstream,
      grpcStatus: null,
    }
    const { tuples, starts } = toTuples(piece, sidecar, id => {
      asked.push(id)
      return asked.length === 1 ? half : undefined
    })
    expect(asked).toEqual(Array.from({ length: 2 }, () => '0197c0ec-0000-7000-8000-000000000000'))
    const hex = tuples.toString('hex', starts[0], starts[1])
    const int64 = (value: bigint) => `00000008${value.toString(16).padStart(16, '0')}`
    const text = (value: string) => Buffer.from(value).toString('hex')
    const values = ['0000000200c8', int64(5_000_000_000n), 'ffffffff', int64(7n), '000000025546', '00001388']
    expect(hex.endsWith(`${values.join('')}${text(upstream)}ffffffff`)).toBe(true)
    expect(tuples.toString('hex', starts[1]).endsWith('ffffffff'.repeat(7))).toBe(true)
  })

  it('are none of a record that is no record', () => {
    for (const [at, value] of [
      [0, 0],
      [0, recordHeadLength - 4],
      [0, recordHeadLength + 2],
      [0, 1_000_000],
      [requestIdAt, 0x001f_ffff],
      [requestIdAt, -1],
    ] as const) {
      const piece = frameOf('a')
      piece.bytes.writeInt32LE(value, frameHeaderLength + at)
      expect(() => toTuples(piece, sidecar, null), `${value} at ${at}`).toThrow()
    }
  })

  it('of any octets are rows or an error', () => {
    const seed = Number(process.env['SEED'] ?? 7)
    const random = seededRandom(seed)
    let failed = 0
    for (let run = 0; run < 20_000; run++) {
      const piece = frameOf('first', 'second', 'third')
      for (let n = 0; n < 3; n++) {
        const at = frameHeaderLength + Math.floor(random() * (piece.bytes.length - frameHeaderLength))
        piece.bytes[at] = Math.floor(random() * 256)
      }
      try {
        toTuples(piece, sidecar, null)
      } catch {
        failed++
      }
    }
    expect(failed, `seed ${seed}`).toBeGreaterThan(1000)
    expect(failed, `seed ${seed}`).toBeLessThan(20_000)
  })
})
