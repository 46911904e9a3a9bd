// The reply to an import fits into one message however many rows failed and whatever their errors say.
import { expect, test } from 'vitest'
import { importReply } from '../../src/admin/import-reply.ts'
import { ImportApiKeysResponse } from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { invalidArgument } from '../../src/rpc/errors.ts'
import { messageOctetsMax } from '../../src/rpc/server.ts'
import { callWith } from './admin-world.ts'

test('10,000 rows with ten violations each, every failure is listed', () => {
  const violations = Array.from({ length: 10 }, (_, i) => ({
    field: `scopes[${i}]`,
    reason: 'SCOPE_UNKNOWN' as const,
    message: `${'ä'.repeat(64)} is not a scope of the profile.`,
  }))
  const outcomes = Array.from({ length: 10_000 }, (_, row) => ({
    kind: 'failed' as const,
    row,
    error: invalidArgument(violations),
  }))
  const reply = importReply({ outcomes, revision: 0n, revisionToken: '' }, callWith())
  expect(reply).toMatchObject({ imported: 0, skipped: 0, failed: 10_000 })
  expect(reply.results).toHaveLength(10_000)
  expect(ImportApiKeysResponse.encode(reply).finish().length).toBeLessThan(messageOctetsMax)
  const [first] = reply.results
  expect(first?.outcome?.$case === 'error' && first.outcome.value.details.length).toBe(3)
})
