// `unmapped`: what clients will probably call and no rule maps: operations of an inventory, PATCH beside PUT, items of a collection.
import { type Operation, readInventory } from './inventory.ts'
import { type LintRule, lintRule } from './lint-rule.ts'
import { RouteIndex, witnessOf } from './route-match.ts'
import { parseRoutePath, type RoutePath, shapeOf } from './route-path.ts'
import { requirementOf } from './route-requirement.ts'
import type { ProfileDocument, RouteRuleDocument } from './schema.ts'

type Routes = ProfileDocument['routes']

/** One path shape on one host with all that its rules map. */
interface Place {
  readonly index: number
  readonly text: string
  readonly host: string | undefined
  readonly path: RoutePath
  readonly methods: Map<string, RouteRuleDocument['methods'][string]>
}

export const lintUnmapped = [
  lintRule(['routes'], ({ routes }, report) => {
    const places = placesOf(routes.rules)
    const index = indexOf(places)
    for (const place of places) {
      const at = ['routes', 'rules', place.index, 'path']
      if (place.methods.has('PUT') && !place.methods.has('PATCH')) {
        report('unmapped', at, `${place.text} maps PUT but not PATCH; add a rule for it if the product has it`)
      }
      if (isCollection(place) && !hasItems(place, index)) {
        report(
          'unmapped',
          at,
          `${place.text} maps GET but nothing below it does; add ${place.text}/{id} if the product has items`,
        )
      }
    }
  }),
] as const

/** Operations of the inventory that no rule maps. Its paths may have the base path or not. */
export function lintInventory(inventory: string): LintRule {
  return lintRule(['routes'], ({ routes }, report) => {
    const { operations, faults } = readInventory(inventory)
    for (const fault of faults) report('syntax', ['inventory'], fault)
    const index = indexOf(placesOf(routes.rules))
    for (const operation of operations) {
      if (isMapped(operation, routes, index)) continue
      report(
        'unmapped',
        ['routes', 'rules'],
        `no rule maps ${operation.method} ${operation.path} of the inventory; add one or leave it closed`,
      )
    }
  })
}

function placesOf(rules: readonly RouteRuleDocument[]): readonly Place[] {
  const places = new Map<string, Place>()
  for (const [index, rule] of rules.entries()) {
    const path = parseRoutePath(rule.path)
    const key = `${rule.host ?? ''} ${shapeOf(path)}`
    const place = places.get(key) ?? { index, text: rule.path, host: rule.host, path, methods: new Map() }
    for (const [method, value] of Object.entries(rule.methods)) place.methods.set(method, value)
    places.set(key, place)
  }
  return [...places.values()]
}

/** A path of literals to its end whose GET needs a key, and that is not updated itself: a single resource has no items. */
function isCollection(place: Place): boolean {
  const get = place.methods.get('GET')
  if (get === undefined || requirementOf(get).access === 'public') return false
  if (place.methods.has('PUT') || place.methods.has('PATCH')) return false
  return !place.path.subtree && place.path.segments[place.path.segments.length - 1] !== null
}

function hasItems({ path, host }: Place, index: RouteIndex<Place>): boolean {
  return index.some(
    witnessOf(path, 1),
    place => place.methods.has('GET') && (place.host === undefined || place.host === host),
  )
}

function indexOf(places: readonly Place[]): RouteIndex<Place> {
  const index = new RouteIndex<Place>()
  for (const place of places) index.add(place.path, place)
  return index
}

function isMapped(operation: Operation, routes: Routes, index: RouteIndex<Place>): boolean {
  const method = operation.method === 'HEAD' && routes.head === 'as_get' ? 'GET' : operation.method
  const base = routes.base_path.strip
  const stripped =
    base !== '' && (operation.path === base || operation.path.startsWith(`${base}/`))
      ? operation.path.slice(base.length)
      : operation.path
  const path = routes.trailing_slash === 'ignore' ? stripped.replace(/\/$/, '') : stripped
  const segments = path
    .split('/')
    .slice(1)
    .map(segment => (/[{}]/.test(segment) ? '\u0000' : segment))
  return index.some(segments, place => place.methods.has(method))
}
