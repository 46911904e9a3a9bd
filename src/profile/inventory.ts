// Reads the operations of an API from an OpenAPI document (YAML or JSON) or from lines of `METHOD path`.
// The text is an operator's own file; still, nothing in it is thrown or followed: no references, no aliases.
import { parseDocument } from 'yaml'
import { withoutStackTraces } from './without-stack-traces.ts'

/** Octets of an inventory: the largest published OpenAPI documents stay below. */
export const INVENTORY_OCTETS_MAX = 16 * 1024 * 1024
/** Operations judged; each is compared with every rule. */
export const OPERATIONS_MAX = 10_000

/** One operation; `{parameter}` segments as written. */
export interface Operation {
  readonly method: string
  readonly path: string
}

export interface Inventory {
  readonly operations: readonly Operation[]
  /** One sentence each. */
  readonly faults: readonly string[]
}

const openApiMethods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'] as const

/** The operations of a text. A text whose first character is `{` or that has a line `openapi:` or `swagger:` is OpenAPI. */
export function readInventory(text: string): Inventory {
  if (Buffer.byteLength(text) > INVENTORY_OCTETS_MAX) {
    return { operations: [], faults: [`the inventory is larger than ${INVENTORY_OCTETS_MAX} octets; cut it down`] }
  }
  const found = /^\s*\{|^["']?(?:openapi|swagger)["']?\s*:/m.test(text) ? readOpenApi(text) : readLines(text)
  if (found.operations.length <= OPERATIONS_MAX) return found
  const faults = [...found.faults, `the inventory has more than ${OPERATIONS_MAX} operations; split it`]
  return { operations: found.operations.slice(0, OPERATIONS_MAX), faults }
}

function readLines(text: string): Inventory {
  const operations: Operation[] = []
  const faults: string[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const [method = '', path = '', ...rest] = line.split(/\s+/)
    if (path.startsWith('/') && rest.length === 0) operations.push({ method: method.toUpperCase(), path })
    else faults.push(`line ${index + 1} of the inventory is not \`METHOD path\`; write e.g. GET /things/{id}`)
  }
  return { operations, faults }
}

function readOpenApi(text: string): Inventory {
  const root = parseSafely(text)
  const paths = memberOf(root, 'paths')
  if (paths === undefined) return { operations: [], faults: ['the inventory has no `paths`; give an OpenAPI document'] }
  const base = basePathOf(root)
  const operations: Operation[] = []
  for (const [path, item] of Object.entries(paths)) {
    for (const method of openApiMethods) {
      if (Object.hasOwn(asMapping(item) ?? {}, method))
        operations.push({ method: method.toUpperCase(), path: `${base}${path}` })
    }
  }
  return { operations, faults: [] }
}

function parseSafely(text: string): unknown {
  try {
    const options = { schema: 'core', merge: false, stringKeys: true, uniqueKeys: false, prettyErrors: false } as const
    const document = withoutStackTraces(() => parseDocument(text, options))
    return document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 0 })
  } catch {
    // Aliases and nesting beyond the parser's stack end here; the caller reports the missing `paths`.
    return undefined
  }
}

/** Path of the first server of OpenAPI 3, or `basePath` of version 2, without a final slash. */
function basePathOf(root: unknown): string {
  const servers = asMapping(root)?.['servers']
  const url = Array.isArray(servers) ? asMapping(servers[0])?.['url'] : asMapping(root)?.['basePath']
  if (typeof url !== 'string') return ''
  return url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '').replace(/\/+$/, '')
}

function memberOf(value: unknown, name: string): Readonly<Record<string, unknown>> | undefined {
  const mapping = asMapping(value)
  return mapping !== undefined && Object.hasOwn(mapping, name) ? asMapping(mapping[name]) : undefined
}

function asMapping(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
