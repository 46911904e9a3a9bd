// The reply to an import fits into one message however many rows failed and whatever their errors say.
import { expect, test } from 'vitest'
import { importReply, outcomesOf } from '../../src/admin/import-reply.ts'
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

test('what earlier attempts told of their rows is told again within the same bound', () => {
  const violations = [1, 2].map(i => ({
    field: `scopes[${i}]`,
    reason: 'SCOPE_UNKNOWN' as const,
    message: 'ä'.repeat(2000),
  }))
  const chunkRows = 500
  const outcomes = Array.from({ length: 20 }, (_, chunk) => {
    const rows = Array.from({ length: chunkRows }, (_, i) => chunk * chunkRows + i)
    const failed = rows.map(row => ({ kind: 'failed' as const, row, error: invalidArgument(violations) }))
    const told = importReply({ outcomes: failed, revision: 0n, revisionToken: '' }, callWith())
    return outcomesOf(told, rows)
  }).flat()
  const reply = importReply({ outcomes, revision: 0n, revisionToken: '' }, callWith())
  expect(reply).toMatchObject({ imported: 0, skipped: 0, failed: 10_000 })
  expect(ImportApiKeysResponse.encode(reply).finish().length).toBeLessThan(messageOctetsMax)
})

test('a row that is not listed was skipped', () => {
  const outcomes = [
    { kind: 'imported' as const, row: 7, name: 'n' },
    { kind: 'skipped' as const, row: 8 },
  ]
  const told = importReply({ outcomes, revision: 0n, revisionToken: '' }, callWith())
  expect(outcomesOf(told, [7, 8])).toEqual(outcomes)
})
