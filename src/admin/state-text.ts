// What the reasons of a refused transition say to people. The reason is for machines; this text may change.
import type { RotationRefusal } from '../core/api-key-rotation.ts'

const texts: Readonly<Record<Exclude<RotationRefusal, 'GRACE_OUT_OF_RANGE'>, string>> = {
  KEY_SUSPENDED: 'The API key is suspended: resume it first.',
  KEY_EXPIRED: 'The API key has expired, which is final: create a new one.',
  KEY_REVOKED: 'The API key was revoked, which is final: create a new one.',
  KEY_DELETED: 'The API key was deleted: undelete it first.',
  KEY_NOT_DELETED: 'The API key is not deleted.',
  KEY_ALREADY_ROTATED: 'The API key already has a successor: rotate that one.',
  KEY_NOT_ROTATING: 'The API key has no successor.',
  TOO_MANY_PREDECESSORS: 'Too many predecessors are still in grace: finish a rotation first.',
}

export function stateText(reason: keyof typeof texts): string {
  return texts[reason]
}
