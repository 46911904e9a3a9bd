// Lists page by page until everything, or as much as was asked for, has been printed.
import { type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { toJson } from './to-json.ts'

/** Rows that are printed unless more are asked for. */
const defaultMax = 1000
/** Most rows of one page, by admin-api.md section 1. */
const pageSizeMax = 1000

export const listFlags = {
  filter: { type: 'string', value: 'FILTER', help: 'such as: state = "ACTIVE" AND display_name : "ci*"' },
  'order-by': { type: 'string', value: 'FIELDS', help: 'such as: create_time desc' },
  max: { type: 'string', value: 'NUMBER', help: `print at most so many; default ${defaultMax}` },
} as const satisfies Flags

interface Page<Item> {
  readonly items: readonly Item[]
  readonly nextPageToken: string
}

/** Reads pages and prints their items: one table, or one JSON array. */
export async function listAll<Item>(
  invocation: Invocation,
  io: Io,
  toTable: (items: readonly Item[]) => string,
  read: (pageSize: number, pageToken: string) => Promise<Page<Item>>,
): Promise<void> {
  const max = readMax(invocation.text('max'))
  const items: Item[] = []
  let pageToken = ''
  do {
    const page = await read(Math.min(pageSizeMax, max - items.length), pageToken)
    items.push(...page.items)
    pageToken = page.nextPageToken
  } while (pageToken !== '' && items.length < max)
  io.out(
    invocation.flag('json')
      ? `${JSON.stringify(
          items.map(item => toJson(item)),
          null,
          2,
        )}\n`
      : toTable(items),
  )
  if (pageToken !== '') io.err(`There are more than ${items.length}: raise --max, or narrow with --filter.\n`)
}

function readMax(text: string | undefined): number {
  if (text === undefined) return defaultMax
  if (!/^[1-9]\d{0,6}$/.test(text))
    throw new UsageError(`--max is ${JSON.stringify(text)}; write a whole number from 1.`)
  return Number(text)
}
