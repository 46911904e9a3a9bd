// The buffer of what a connection writes: no new memory for batch after batch, none kept that nobody needs.
import { expect, it } from 'vitest'
import { Output } from '../../../src/transport/h2/output.ts'
import { call, TestPeer } from './peer.ts'

/** Octets of an idle connection's buffer. */
const idle = new Output().buffer.length

function write(output: Output, length: number): void {
  for (let at = 0; at < length; at += 1000) output.append(Buffer.alloc(Math.min(1000, length - at), 1))
  expect(output.taken().equals(Buffer.alloc(length, 1))).toBe(true)
  output.reuse()
}

it('takes no new memory for batches of the same size, be they the replies to a full read', () => {
  const output = new Output()
  write(output, 200_000)
  const { buffer } = output
  for (let turn = 0; turn < 8; turn++) {
    for (let batch = 0; batch < 4; batch++) write(output, batch === 2 ? 200_000 : 100)
    output.trim()
    expect(output.buffer === buffer).toBe(true)
  }
})

it('lets go of it when batches are small again', () => {
  const output = new Output()
  write(output, 200_000)
  output.trim()
  write(output, 100)
  output.trim()
  expect(output.buffer.length).toBe(idle)
})

it('keeps what is waiting to be written', () => {
  const output = new Output()
  output.append(Buffer.alloc(100_000, 1))
  for (let turn = 0; turn < 3; turn++) output.trim()
  expect(output.taken().equals(Buffer.alloc(100_000, 1))).toBe(true)
})

it('keeps no buffer that only an abuser needs', () => {
  const output = new Output()
  write(output, 300_000)
  expect(output.buffer.length).toBe(idle)
})

it('is let go of by a connection in which time passes', () => {
  const peer = TestPeer.settled()
  peer.send(...[1, 3, 5].map(stream => call(stream, 'x'.repeat(10_000))))
  const { output } = peer.connection
  expect(output.buffer.length).toBeGreaterThan(idle)
  peer.wait(1)
  expect(output.buffer.length).toBeGreaterThan(idle)
  peer.wait(1)
  expect(output.buffer.length).toBe(idle)
})
