// What an error says to its caller repeats no key, wherever the caller wrote one; the rest of each text stays.
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { createKeyRedactor } from '../../src/observe/redact.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { toRpcStatus, withoutKeys } from '../../src/rpc/status.ts'

const redact = createKeyRedactor(['bbb_live_', 'bk_live_'])
const secret = 'bbb_live_0123456789ABCDEFGHIJKLMNOPQRSTUV4QATsX'

it('an error repeats no key in its text, fields, facts or names', () => {
  const error = new RpcError('FIELD_INVALID', `labels[${secret}]: wrong`, {
    metadata: { found: secret },
    violations: [{ field: `labels[${secret}]`, reason: 'FIELD_INVALID', message: `"${secret}" is no label` }],
    subject: secret,
    resource: { type: 'gatewarden/ApiKey', name: `organizations/${secret}` },
    retryDelayMs: 7,
  })
  const concealed = withoutKeys(error, redact)
  expect(concealed.details).toEqual({
    metadata: { found: 'bbb_live_[redacted]' },
    violations: [
      { field: 'labels[bbb_live_[redacted]]', reason: 'FIELD_INVALID', message: '"bbb_live_[redacted]" is no label' },
    ],
    subject: 'bbb_live_[redacted]',
    resource: { type: 'gatewarden/ApiKey', name: 'organizations/bbb_live_[redacted]' },
    retryDelayMs: 7,
  })
  expect([concealed.reason, concealed.code, concealed.message]).toEqual([
    error.reason,
    error.code,
    'labels[bbb_live_[redacted]]: wrong',
  ])
  const sent = inspect(toRpcStatus(concealed, 'id'), { depth: 9, maxArrayLength: null, maxStringLength: null })
  expect(sent).not.toContain(secret.slice(-8))
})

it('a text without a key stays as it is, a hint and our own words included', () => {
  for (const text of [
    '',
    'Send an admin key as "authorization: Bearer gwa_…".',
    'bbb_live_…TQsX',
    '"live" is none of live, test.',
    'authorization: Bearer x',
  ]) {
    expect(redact(text)).toBe(text)
  }
  for (const key of [secret, 'bk_live_1234567890abcdef', 'gwa_0123456789ABCDEF', 'gwb_0123456789ABCDEF']) {
    expect(redact(`a ${key}, b`)).toMatch(/^a [a-z_]+\[redacted\], b$/)
  }
})
