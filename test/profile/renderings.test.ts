// What clients of the three products are told, byte for byte: a table typed from the products' contract, not from the profiles.
import { describe, expect, it } from 'vitest'
import { codeOf, type DenialReason, denialReasons } from '../../src/core/reason.ts'
import { renderingOf } from '../../src/profile/compiled-profile.ts'
import { type InsertionValues, renderDenial } from '../../src/profile/render-denial.ts'
import { compileText, type Product, products, profileText } from './documents.ts'

interface Shown {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
  readonly message: string
}

const apiKeyRealm = { 'www-authenticate': 'ApiKey realm="api"' }
const bearerRealm = { 'www-authenticate': 'Bearer realm="api"' }
const invalidToken = { 'www-authenticate': 'Bearer realm="api", error="invalid_token"' }
const retryAfter = { 'retry-after': '3600' }
const supportId = 'support_0197c0ec-a197-719f-84a9-99270a79b42a'

function bitbybit(status: number, code: string, message: string, headers?: Shown['headers']): Shown {
  return { status, message, body: `{"error":{"code":"${code}","message":"${message}"}}`, ...(headers && { headers }) }
}

function billoget(status: number, error: string, message: string, headers?: Shown['headers']): Shown {
  return { status, message, body: `{"error":"${error}","message":"${message}"}`, ...(headers && { headers }) }
}

function bitgpt(status: number, error: string, headers?: Shown['headers']): Shown {
  const body = `{"status":${status},"data":null,"error":"${error}","log":null,"validator":null,"support_id":"${supportId}","message":null,"env":"production"}`
  return { status, message: error, body, ...(headers && { headers }) }
}

const shown: Readonly<Record<Product, Readonly<Record<string, Shown>>>> = {
  bitbybit: {
    missing: bitbybit(401, 'MISSING_API_KEY', 'No x-api-key header provided', apiKeyRealm),
    invalid: bitbybit(401, 'INVALID_API_KEY', 'Key is invalid, revoked, or expired', apiKeyRealm),
    scope: bitbybit(403, 'INSUFFICIENT_SCOPE', "Key doesn't have the required scope"),
    ip: bitbybit(403, 'IP_NOT_ALLOWED', "Request IP address is not in the API key's allowlist"),
    rate: bitbybit(429, 'RATE_LIMITED', 'Too many requests', retryAfter),
    malformed: bitbybit(400, 'BAD_REQUEST', 'Request path is not acceptable'),
    unavailable: bitbybit(503, 'SERVICE_UNAVAILABLE', 'Authorization is temporarily unavailable', retryAfter),
  },
  billoget: {
    missing: billoget(401, 'unauthorized', 'Invalid or missing API key', bearerRealm),
    invalid: billoget(401, 'unauthorized', 'Invalid or missing API key', invalidToken),
    scope: billoget(403, 'insufficient_scope', 'API key does not have required scope: WRITE_BUDGETS'),
    ip: billoget(403, 'forbidden', 'IP address not whitelisted'),
    suspended: billoget(403, 'forbidden', 'API key suspended'),
    unmapped: billoget(403, 'forbidden', 'Route is not available to API keys'),
    rate: billoget(429, 'rate_limit_exceeded', 'Rate limit exceeded. Try again in 3600 seconds', {
      'retry-after': '3600',
      'x-ratelimit-limit': '1000',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '1772373600',
    }),
    malformed: billoget(400, 'bad_request', 'Request path is not acceptable'),
    unavailable: billoget(503, 'service_unavailable', 'Authorization is temporarily unavailable', retryAfter),
  },
  bitgpt: {
    missing: bitgpt(401, 'Missing API key', bearerRealm),
    invalid: bitgpt(401, 'Invalid API key', invalidToken),
    scope: bitgpt(403, 'API key does not have the required scope: WRITE_BUDGETS'),
    ip: bitgpt(403, 'Request IP address is not allowed for this API key'),
    suspended: bitgpt(403, 'API key is suspended'),
    unmapped: bitgpt(403, 'Route is not available to API keys'),
    rate: bitgpt(429, 'Too many requests. Try again in 3600 seconds', retryAfter),
    malformed: bitgpt(400, 'Request path is not acceptable'),
    unavailable: bitgpt(503, 'Authorization is temporarily unavailable', retryAfter),
  },
}

/** Reason, then the rendering's name and mark (D, P, C) for bitbybit, billoget, bitgpt, then the gRPC statuses of the reason. */
const cells: readonly (readonly [DenialReason, string, string, string, string])[] = [
  ['request_malformed', 'malformed C', 'malformed C', 'malformed C', '3 3 3'],
  ['credential_missing', 'missing P', 'missing D', 'missing C', '16 16 16'],
  ['multiple_credentials', 'invalid C', 'invalid C', 'invalid C', '16 16 16'],
  ['credential_malformed', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['credential_check_failed', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['credential_unknown', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['deleted', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['revoked', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['rotated_out', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['expired', 'invalid P', 'invalid D', 'invalid C', '16 16 16'],
  ['organization_suspended', 'invalid C', 'suspended C', 'suspended C', '16 7 7'],
  ['suspended', 'invalid C', 'suspended P', 'suspended C', '16 7 7'],
  ['environment_mismatch', 'invalid C', 'invalid C', 'invalid C', '16 16 16'],
  ['route_unmapped', 'scope C', 'unmapped C', 'unmapped C', '7 7 7'],
  ['insufficient_scope', 'scope P', 'scope D', 'scope P', '7 7 7'],
  ['ip_undeterminable', 'ip C', 'ip C', 'ip C', '7 7 7'],
  ['ip_not_allowed', 'ip D', 'ip P', 'ip P', '7 7 7'],
  ['rate_limited', 'rate C', 'rate D', 'rate C', '8 8 8'],
  ['authz_unavailable', 'unavailable C', 'unavailable C', 'unavailable C', '14 14 14'],
]

const values: InsertionValues = {
  required_scope: 'WRITE_BUDGETS',
  retry_after: 3600,
  support_id: supportId,
  limit: 1000,
  remaining: 0,
  reset_unix: 1_772_373_600,
}
const marks: Readonly<Record<string, string>> = { D: 'true', P: 'partial', C: 'false' }

describe('every denial of the three products is answered byte for byte as documented', () => {
  it('the table covers every canonical reason once', () => {
    expect(cells.map(([reason]) => reason).sort()).toEqual([...denialReasons].sort())
  })

  for (const [column, product] of products.entries()) {
    const compiled = compileText(profileText(product))
    it.each(cells)(`${product}: %s`, (reason, ...row) => {
      const [name = '', mark = ''] = (row[column] ?? '').split(' ')
      const expected = shown[product][name]
      const rendering = renderingOf(compiled, codeOf(reason))
      const denial = renderDenial(rendering, values)
      expect(rendering).toMatchObject({ name, reason, documented: marks[mark] })
      expect(denial.body).toBe(expected?.body)
      expect(denial.status).toBe(expected?.status)
      expect(denial.grpcStatus).toBe(Number(row[3]?.split(' ')[column]))
      expect(denial.grpcMessage).toBe(expected?.message)
      expect(Object.fromEntries(denial.headers)).toEqual({
        'content-type': 'application/json',
        'cache-control': 'no-store',
        ...expected?.headers,
      })
      expect(JSON.parse(denial.body)).toBeTypeOf('object')
    })
  }
})

describe('renderings', () => {
  it('a code that is neither a reason nor known is shown as our own failure', () => {
    const compiled = compileText(profileText('billoget'))
    expect(renderingOf(compiled, 77).reason).toBe('authz_unavailable')
    expect(renderingOf(compiled, -1).status).toBe(503)
  })

  it('the deployment environment stands in the body, not the environment of the key', () => {
    const compiled = compileText(profileText('bitgpt'), { environment: 'development' })
    expect(renderDenial(renderingOf(compiled, codeOf('revoked')), values).body).toContain('"env":"development"}')
  })

  it('values are escaped where they stand: in JSON, and in headers', () => {
    const compiled = compileText(profileText('billoget'))
    const hostile = { required_scope: 'a"b\\c\n\u2028', retry_after: Number.NaN }
    const denial = renderDenial(renderingOf(compiled, codeOf('insufficient_scope')), hostile)
    expect(JSON.parse(denial.body).message).toBe('API key does not have required scope: a"b\\c\n\u2028')
    expect(denial.grpcMessage).toBe('API key does not have required scope: a"b\\c??')
  })
})
