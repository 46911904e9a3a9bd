// The committed JSON Schema for editors is the one that the linter's own schema gives.
// After a change of the schema: UPDATE_PROFILE_SCHEMA=1 npx vitest run test/profile/editor-schema.test.ts, then format.
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { editorSchema } from '../../src/profile/editor-schema.ts'

const file = new URL('../../profiles/profile.schema.json', import.meta.url)

it('profiles/profile.schema.json is up to date', () => {
  const made: unknown = JSON.parse(JSON.stringify(editorSchema()))
  if (process.env['UPDATE_PROFILE_SCHEMA'] === '1') writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`)
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(made)
})

it('it knows every block and refuses unknown ones', () => {
  const schema = editorSchema() as { properties: Record<string, unknown>; additionalProperties: unknown }
  expect(Object.keys(schema.properties)).toContain('errors')
  expect(schema.additionalProperties).toBe(false)
})
