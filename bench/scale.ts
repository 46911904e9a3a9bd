// `npm run bench:scale`: the key table at 1 and 10 million keys, a load from PostgreSQL, and 50 000 changes under load, each beside
// its target. Each part is a program of its own, run one after the other. `--ten-million` loads 10 million keys from PostgreSQL as
// well, which takes some ten gigabytes where the database lies.
import { parseArgs } from 'node:util'
import { runToEnd } from './compare/bench-process.ts'
import { builtFile } from './compare/built-file.ts'
import { describeMachine } from './compare/machine.ts'

/** Octets of the table a key, at most: 100 MB a million. */
const octetsTarget = 100
/** From the first row asked for to the last one in the table. */
const loadTargets: readonly { readonly keys: number; readonly ms: number }[] = [
  { keys: 1_000_000, ms: 5000 },
  { keys: 10_000_000, ms: 60_000 },
]
const tableKeys = [1_000_000, 10_000_000]
/** Filling ten million rows takes most of it. */
const partLimitMs = 60 * 60_000

const print = (text: string) => process.stdout.write(`${text.trimEnd()}\n`)

async function part(program: string, ...args: readonly (string | number)[]): Promise<string> {
  const command = [process.execPath, builtFile(program), ...args.map(String)]
  const out = await runToEnd(command, { core: null }, partLimitMs)
  print(`\n${program.replace('.js', '')} ${args.join(' ')}\n${out}`)
  return out
}

/** The number behind a name in what a part printed. @throws Error when it is not there */
function figure(out: string, pattern: RegExp): number {
  const found = pattern.exec(out)?.[1]
  if (found === undefined) throw new Error(`a part of the bench printed no ${pattern.source}`)
  return Number(found)
}

const verdicts: string[] = []
const judge = (what: string, value: number, target: number, unit: string) =>
  verdicts.push(`${what}: ${value.toFixed(1)} ${unit}, target ${target}: ${value <= target ? 'met' : 'missed'}`)

const { values } = parseArgs({ options: { 'ten-million': { type: 'boolean', default: false } } })
const { cpu, cores, kernel, node, load } = describeMachine()
print(`${cpu}, ${cores} cores, ${kernel}, Node ${node}; load average at start ${load.toFixed(1)}`)

// The table of so many keys alone; rows on the heap of a process would need more than its default.
for (const keys of tableKeys) {
  const out = await part('table.js', keys)
  judge(`table, ${keys} keys`, figure(out, /octets a key +([\d.]+)/), octetsTarget, 'octets a key')
}
for (const { keys, ms } of loadTargets.slice(0, values['ten-million'] ? 2 : 1))
  judge(`load, ${keys} keys`, figure(await part('load.js', keys, 1), / ms=(\d+)/), ms, 'ms')
for (const transport of ['h2', 'grpc-js']) {
  const out = await part('scale/changes.js', transport)
  judge(
    `changes, ${transport}, longest turn by CPU`,
    figure(out, /longest_turn_cpu_ms=([\d.]+)/),
    figure(out, / target_ms=(\d+)/),
    'ms',
  )
}
print(`\n${verdicts.join('\n')}`)
