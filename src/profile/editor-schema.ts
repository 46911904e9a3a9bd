// The JSON Schema of profile files, for editors: made from the schema that the linter uses, committed as profiles/profile.schema.json.
// A file that passes it may still have findings; what members mean to each other is the linter's.
import { z } from 'zod'
import { profileSchema } from './schema.ts'

/** JSON Schema (draft 2020-12) of what may be written, defaults left out. */
export function editorSchema(): unknown {
  return { ...z.toJSONSchema(profileSchema, { io: 'input' }), title: 'Gatewarden profile' }
}
