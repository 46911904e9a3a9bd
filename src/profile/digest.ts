// The digest that tells two profile files apart: SHA-256 over the file's data in one canonical spelling.
// Comments, blanks, quoting and block or flow style change nothing; values, names and their order do, and so does leaving out a default.
import { createHash } from 'node:crypto'
import type { Data } from './read-yaml.ts'

/** Lower-case hex SHA-256 of the data as compact JSON, which is YAML too. */
export function profileDigest(data: Data): string {
  return createHash('sha256').update(JSON.stringify(data)).digest('hex')
}
