// Which fields an update means. No mask, or an empty one: every mutable field that the message sets; `*`: all mutable fields.
// A path in the mask with a default value clears the field. A path that is not exactly a field is an error, never ignored.

import { quoted } from './text-fields.ts'
import type { Violations } from './violations.ts'

/** What one resource has. Sets: a name that every object inherits is not a field. */
export interface MaskFields<Field extends string> {
  readonly mutable: ReadonlySet<Field>
  /** Immutable and output-only fields. */
  readonly fixed: ReadonlySet<string>
}

/** Paths of a mask that are looked at: no resource has as many fields. */
const pathsMax = 100

/**
 * The fields meant. `isSet` tells whether the message sets a field to more than its default value.
 * `explicit` of the result: whether the caller named them.
 */
export function readMask<Field extends string>(
  mask: readonly string[] | undefined,
  maskField: string,
  fields: MaskFields<Field>,
  isSet: (field: Field) => boolean,
  violations: Violations,
): { readonly fields: ReadonlySet<Field>; readonly explicit: boolean } {
  if (mask === undefined || mask.length === 0) {
    return { fields: new Set([...fields.mutable].filter(isSet)), explicit: false }
  }
  if (mask.length === 1 && mask[0] === '*') return { fields: fields.mutable, explicit: true }
  if (mask.length > pathsMax) {
    violations.add(maskField, 'FIELD_MASK_INVALID', `It has more than ${pathsMax} paths.`)
    return { fields: new Set(), explicit: true }
  }
  const meant = new Set<Field>()
  for (const path of new Set(mask)) {
    if (isField(fields.mutable, path)) meant.add(path)
    else if (fields.fixed.has(path)) violations.add(maskField, 'FIELD_IMMUTABLE', `${path} cannot be changed.`)
    else violations.add(maskField, 'FIELD_MASK_INVALID', `${quoted(path)} is not the name of a whole field.`)
  }
  return { fields: meant, explicit: true }
}

function isField<Field extends string>(fields: ReadonlySet<Field>, path: string): path is Field {
  return (fields as ReadonlySet<string>).has(path)
}
