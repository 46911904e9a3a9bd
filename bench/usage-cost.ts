// What recording adds to a check: the same requests with and without it, in turn within each round, with 64 in flight and with one.
// `npm run bench:usage`. The last line is the headline: the median of the differences at 64 in flight, allowed requests; goal 150 ns.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RecordEncoder } from '../src/usage/record-encoder.ts'
import { CheckStand, knownRequests, median, range, readDepth, unknownRequests } from './check-stand.ts'
import { keyCount } from './check-world.ts'
import { machineLine } from './machine-line.ts'
import { recordTo, silentStore } from './usage-recording.ts'

const rounds = 25
const warmUpChecks = 100_000
const checksPerRound = 20_032
const goalNs = 150
const print = (line: string) => process.stdout.write(`${line}\n`)

const directory = mkdtempSync(join(tmpdir(), 'gw-bench-usage-'))
try {
  const recording = recordTo(directory, '00000000-0000-4000-8000-00000000000a', silentStore)
  const encoder = new RecordEncoder({ sink: { append: () => undefined }, clientIpMode: 'grpc-metadata' })
  encoder.coverPrefixes(['bn_live_', 'gwa_', 'gwb_'])
  const stands = {
    without: new CheckStand(),
    encoded: new CheckStand(encoder),
    recorded: new CheckStand(recording.encoder),
  }
  for (const stand of Object.values(stands)) {
    stand.verify(knownRequests, () => 0)
    stand.verify(unknownRequests, () => 401)
  }
  print(machineLine())
  print(
    `${keyCount} API keys, ${knownRequests[0]?.length} octets a request, CPU time, ${rounds} rounds of ${checksPerRound}; ns, median (range)`,
  )
  let headline = Number.NaN
  for (const [requests, list] of [
    ['allowed', knownRequests],
    ['unknown key', unknownRequests],
  ] as const) {
    for (const depth of [readDepth, 1]) {
      const measure = (stand: CheckStand, count: number) =>
        depth === 1 ? stand.measureSingles(list, count) : stand.measureReads(list, count)
      for (const stand of Object.values(stands)) measure(stand, warmUpChecks)
      const check: number[] = []
      const encoding: number[] = []
      const recordingNs: number[] = []
      for (let round = 0; round < rounds; round++) {
        const without = measure(stands.without, checksPerRound)
        check.push(without)
        encoding.push(measure(stands.encoded, checksPerRound) - without)
        recordingNs.push(measure(stands.recorded, checksPerRound) - without)
      }
      print(
        `${requests}, ${depth} in flight`.padEnd(27) +
          `check ${Math.round(median(check))} (${range(check)}); the record +${Math.round(median(encoding))} (${range(encoding)}); ` +
          `with the spool +${Math.round(median(recordingNs))} (${range(recordingNs)})`,
      )
      if (requests === 'allowed' && depth === readDepth) headline = median(recordingNs)
    }
  }
  for (const { failures } of Object.values(stands)) if (failures > 0) throw new Error(`${failures} checks failed`)
  const { spool, counts } = recording
  if (counts.droppedTotal > 0) throw new Error(`${counts.droppedTotal} records were given up`)
  print(`spool ${Math.round(spool.fileBytes / counts.recorded)} octets a record, on ${directory}`)
  await recording.end(0)
  print(`recording_ns=${Math.round(headline)} goal_ns=${goalNs}`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
