// One statement of admin: parameters only, errors of the driver turned into faults on the way out.
import type pg from 'pg'
import { faultOf } from './admin-fault.ts'

/** Runs a statement and answers its rows. @throws AdminStoreFault, or the error of a statement that is wrong */
export async function rowsOf<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  try {
    return (await client.query<Row>(text, [...values])).rows
  } catch (error) {
    throw faultOf(error)
  }
}

/** Runs a statement and answers how many rows it touched. */
export async function countOf(client: pg.ClientBase, text: string, values: readonly unknown[]): Promise<number> {
  try {
    return (await client.query(text, [...values])).rowCount ?? 0
  } catch (error) {
    throw faultOf(error)
  }
}
