// The options of `npm run bench`, and what a run of each size does.
import { parseArgs } from 'node:util'
import { type MixName, mixNames } from './requests.ts'
import { type VariantName, variantNames } from './variants.ts'

export interface Options {
  readonly isQuick: boolean
  readonly isRecording: boolean
  readonly isJson: boolean
  readonly isHelp: boolean
  readonly parts: readonly ('direct' | 'envoy')[]
  readonly variants: readonly VariantName[]
  readonly directMixes: readonly MixName[]
  readonly envoyMixes: readonly MixName[]
  readonly rounds: number
  readonly warmUpMs: number
  /** Longer than usage records rest, so that storing them is in what is measured. */
  readonly envoyWarmUpMs: number
  readonly directMs: number
  readonly saturatedMs: number
  readonly openMs: number
  readonly perSecond: number
  readonly isUnix: boolean
}

/** Fewer rounds say nothing of the spread. */
const roundsDefault = 5
/** Of a run that is repeated where its cheapest rounds do not pass. */
const roundsQuick = 3

export const help = `npm run bench [-- OPTIONS]

  --quick            our two transports only, straight asked; fails on a ratio 15 % beyond the recorded one
  --record           with --quick: record the ratio
  --json             one JSON object instead of tables
  --part LIST        direct, envoy (default: both)
  --variants LIST    ${variantNames.join(', ')}
  --mixes LIST       ${mixNames.join(', ')} (default: direct few,mixed,mixed-raw,unknown; envoy mixed-raw)
  --rounds N         interleaved rounds (default ${roundsDefault}, with --quick ${roundsQuick})
  --seconds N        measured seconds a round, in place of the defaults
  --rate N           requests a second at the fixed rate (default 1000)
  --unix             unix sockets between client, Envoy and server in place of TCP on loopback
`

/** @throws Error in one sentence for an option that is not understood. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
      part: { type: 'string' },
      variants: { type: 'string' },
      mixes: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      rate: { type: 'string' },
      unix: { type: 'boolean', default: false },
    },
  })
  const isQuick = values.quick
  const quickVariants: readonly VariantName[] = ['gatewarden-grpc-js', 'gatewarden-h2']
  const mixes = listOf('mixes', values.mixes, mixNames)
  const seconds = numberOf('seconds', values.seconds)
  const ms = (otherwise: number) => (seconds === undefined ? otherwise : seconds * 1000)
  return {
    isQuick,
    isRecording: values.record,
    isJson: values.json,
    isHelp: values.help,
    parts: isQuick ? ['direct'] : (listOf('part', values.part, ['direct', 'envoy'] as const) ?? ['direct', 'envoy']),
    variants: isQuick ? quickVariants : (listOf('variants', values.variants, variantNames) ?? variantNames),
    directMixes: mixes ?? (isQuick ? ['mixed-raw'] : mixNames),
    envoyMixes: mixes ?? ['mixed-raw'],
    rounds: numberOf('rounds', values.rounds) ?? (isQuick ? roundsQuick : roundsDefault),
    warmUpMs: isQuick ? 1000 : 2000,
    envoyWarmUpMs: 4000,
    directMs: ms(isQuick ? 1500 : 2000),
    saturatedMs: ms(4000),
    openMs: ms(10_000),
    perSecond: numberOf('rate', values.rate) ?? 1000,
    isUnix: values.unix,
  }
}

function listOf<Name extends string>(
  option: string,
  text: string | undefined,
  accepted: readonly Name[],
): readonly Name[] | undefined {
  return text?.split(',').map(name => {
    const found = accepted.find(each => each === name)
    if (found === undefined) throw new Error(`--${option} knows ${accepted.join(', ')}, not ${name}`)
    return found
  })
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${option} takes a number above 0, not ${text}`)
  return value
}
