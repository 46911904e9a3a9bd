// Organizations as the store keeps them.
import type { Micros } from '../core/time.ts'
import type { RowPage } from './row-page.ts'

export interface OrganizationRow {
  readonly id: string
  readonly displayName: string
  /** Name of the profile. */
  readonly profile: string
  readonly suspendAt: Micros | null
  readonly suspendReason: string
  readonly labels: ReadonlyMap<string, string>
  readonly createAt: Micros
  readonly updateAt: Micros
  /** The row's own; its etag. */
  readonly version: bigint
  /** The feed revision that last named it. */
  readonly revision: bigint
}

export interface OrganizationRows {
  find(id: string): Promise<OrganizationRow | undefined>
  /** False: the id is taken. */
  insert(row: Omit<OrganizationRow, 'version' | 'revision'>): Promise<boolean>
  /** Writes the mutable columns if the row still has `row.version`, which goes up by one. False: it has another. */
  update(row: OrganizationRow): Promise<boolean>
  /** `ids` null: all of them. */
  list(ids: readonly string[] | null, page: RowPage): Promise<readonly OrganizationRow[]>
}
