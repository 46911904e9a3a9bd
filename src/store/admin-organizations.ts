// Rows of organizations in PostgreSQL. The feed record that each change needs is made at the end of its transaction.
import type pg from 'pg'
import type { OrganizationRow, OrganizationRows } from '../admin/organization-rows.ts'
import type { Micros } from '../core/time.ts'
import { type ListFields, listTail, Parameters } from './admin-list.ts'
import { countOf, rowsOf } from './admin-query.ts'
import { timestamptzParameter } from './column-values.ts'

interface OrganizationColumns {
  readonly id: string
  readonly display_name: string
  readonly profile: string
  readonly suspend_time: Micros | null
  readonly suspend_reason: string
  readonly labels: Readonly<Record<string, string>>
  readonly create_time: Micros
  readonly update_time: Micros
  readonly version: bigint
  readonly revision: bigint
}

const columns =
  'id, display_name, profile, suspend_time, suspend_reason, labels, create_time, update_time, version, revision'

/** Fields of ListOrganizations. Names of resources are compared whole. */
const fields: ListFields = new Map([
  ['name', { sql: `('organizations/' || id)`, type: 'text' }],
  ['display_name', { sql: 'display_name', type: 'text', always: true }],
  ['profile', { sql: `('profiles/' || profile)`, type: 'text' }],
  ['suspend_time', { sql: 'suspend_time', type: 'time' }],
  ['create_time', { sql: 'create_time', type: 'time', always: true }],
  ['labels', { sql: 'labels', type: 'labels' }],
])

/** Organizations as admin reads and writes them; see the port for what each method promises. */
export function adminOrganizationRows(client: pg.ClientBase): OrganizationRows {
  return {
    async find(id) {
      const [row] = await rowsOf<OrganizationColumns>(client, `SELECT ${columns} FROM organizations WHERE id = $1`, [
        id,
      ])
      return row === undefined ? undefined : toOrganization(row)
    },

    async insert(row) {
      const inserted = await countOf(
        client,
        `INSERT INTO organizations (id, display_name, profile, suspend_time, suspend_reason, labels, create_time, update_time)
         VALUES ($1, $2, $3, $4::timestamptz, $5, $6::jsonb, $7::timestamptz, $8::timestamptz)
         ON CONFLICT (id) DO NOTHING`,
        [
          row.id,
          row.displayName,
          row.profile,
          instant(row.suspendAt),
          row.suspendReason,
          labelsText(row.labels),
          instant(row.createAt),
          instant(row.updateAt),
        ],
      )
      return inserted === 1
    },

    async update(row) {
      const updated = await countOf(
        client,
        `UPDATE organizations SET display_name = $3, suspend_time = $4::timestamptz, suspend_reason = $5,
                labels = $6::jsonb, update_time = $7::timestamptz, version = version + 1
         WHERE id = $1 AND version = $2`,
        [
          row.id,
          row.version,
          row.displayName,
          instant(row.suspendAt),
          row.suspendReason,
          labelsText(row.labels),
          instant(row.updateAt),
        ],
      )
      return updated === 1
    },

    async list(ids, page) {
      const parameters = new Parameters([ids === null ? null : [...ids]])
      const tail = listTail(page, fields, 'id', parameters)
      const text = `SELECT ${columns} FROM organizations WHERE ($1::text[] IS NULL OR id = ANY ($1))${tail}`
      return (await rowsOf<OrganizationColumns>(client, text, parameters.values)).map(toOrganization)
    },
  }
}

function instant(micros: Micros | null): string | null {
  return micros === null ? null : timestamptzParameter(micros)
}

function labelsText(labels: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(labels))
}

function toOrganization(row: OrganizationColumns): OrganizationRow {
  return {
    id: row.id,
    displayName: row.display_name,
    profile: row.profile,
    suspendAt: row.suspend_time,
    suspendReason: row.suspend_reason,
    labels: new Map(Object.entries(row.labels)),
    createAt: row.create_time,
    updateAt: row.update_time,
    version: row.version,
    revision: row.revision,
  }
}
