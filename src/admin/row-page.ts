// What a list call asks of a store: a filter, an order, where to go on and how many rows at most.
import type { Filter } from './filter.ts'
import type { OrderKey } from './order.ts'
import type { PagePosition } from './page-token.ts'

export interface RowPage {
  /** Null: every row. */
  readonly filter: Filter | null
  /** The id breaks ties and is not named. */
  readonly order: readonly OrderKey[]
  /** The sort values of the last row of the page before, its id last; null: from the start. */
  readonly after: PagePosition | null
  readonly limit: number
}
