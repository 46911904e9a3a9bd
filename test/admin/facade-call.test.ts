// The create call that a product documents, byte for byte: what is made, every fault of a member, every other answer.
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import { goldenKey } from '../core/cases.ts'
import { transact } from '../support/rows.ts'
import { bodyPattern, type FacadeAsk, useFacade } from './facade-stand.ts'

const facade = useFacade()
const organization = organizationOf(goldenKey('G5'))
const now = '2026-03-01 13:00:00'

const all = [
  ...['invoices.create', 'invoices.update', 'invoices.read', 'payments.create', 'payments.update', 'payments.read'],
  ...['products.create', 'products.read', 'products.update', 'products.delete', 'api_keys.read', 'webhooks.create'],
  ...['webhooks.read', 'webhooks.update', 'webhooks.delete', 'webhooks_queue.read', 'webhooks_queue.update'],
  ...['notifications.read', 'notifications.update', 'notifications_settings.read', 'notifications_settings.update'],
  ...['organizations.create', 'organizations.read', 'organizations.update', 'organizations.deactivate', 'users.update'],
  ...['users.deactivate', 'users.sessions.read', 'users.sessions.deactivate'],
]

const jsonHeaders = [
  ['content-type', 'application/json'],
  ['cache-control', 'no-store'],
]

const success = (label: string, description: string, scopes: string, allowlist: string, expires: string) =>
  `{"status":200,"data":{"id":"<id>","organization_id":"${organization}","label":"${label}","description":"${description}","secret":"<secret>","scopes":${scopes},"ip_allow_list":${allowlist},"expires_at":${expires},"created_at":"${now}","updated_at":null,"metrics":{"api_key_id":"<id>","total_requests":0,"last_used_at":null}},"error":null,"log":null,"validator":null,"support_id":null,"message":"Resource created successfully","env":"production"}`
const invalid = (validator: string) =>
  `{"status":400,"data":null,"error":"Validation failed","log":null,"validator":${validator},"support_id":"<support_id>","message":null,"env":"production"}`
const denied = (status: number, error: string) =>
  `{"status":${status},"data":null,"error":"${error}","log":null,"validator":null,"support_id":"<support_id>","message":null,"env":"production"}`

async function expectInvalid(body: unknown, validator: string): Promise<void> {
  const answer = await facade().ask({ body })
  expect(answer.body).toMatch(bodyPattern(invalid(validator)))
  expect(answer.status).toBe(400)
  expect(answer.headers).toEqual(jsonHeaders)
}

describe('the golden cases of the create call', () => {
  it('F01: a key with everything that can be asked for', async () => {
    const body =
      '{"label":"My API Key","description":"Key for accessing product APIs","scopes":["products.create"],"ip_allow_list":["127.0.0.1"],"expires_at":"2026-05-30 20:23:16"}'
    const answer = await facade().ask({ body })
    const expected = success(
      'My API Key',
      'Key for accessing product APIs',
      '["products.create"]',
      '["127.0.0.1"]',
      '"2026-05-30 20:23:16"',
    )
    expect(answer.body).toMatch(bodyPattern(expected))
    expect(answer).toMatchObject({ status: 200, headers: jsonHeaders })
    const { id, metrics } = JSON.parse(answer.body).data
    expect(metrics.api_key_id).toBe(id)
  })

  it('F02: a name alone is full permissions, every address, no end', async () => {
    const answer = await facade().ask({ body: '{"label":"x"}' })
    expect(answer.body).toMatch(bodyPattern(success('x', '', JSON.stringify(all), '[]', 'null')))
    expect(all).toHaveLength(29)
    const { id } = JSON.parse(answer.body).data
    const { rows } = await facade().world.client.query(
      'SELECT scope_mode, scopes, creator FROM api_keys WHERE id = $1',
      [id],
    )
    expect(rows).toEqual([
      { scope_mode: 2, scopes: [], creator: `organizations/${organization}/apiKeys/${fixtureId(goldenKey('G5'))}` },
    ])
  })

  it.each([
    ['F03', '{}', '{"label":"Label is required"}'],
    ['F04', '{"label":"x","scopes":["products.archive"]}', '{"scopes":"Scopes: unknown scope products.archive"}'],
    ['F05', '{"label":"x","scopes":["api_keys.create"]}', '{"scopes":"Scopes: api_keys.create is not available"}'],
    [
      'F06',
      '{"label":"x","expires_at":"2026-05-30T20:23:16Z"}',
      '{"expires_at":"Expiry is not in the form YYYY-MM-DD HH:MM:SS"}',
    ],
  ])('%s', async (_, body, validator) => expectInvalid(body, validator))
})

const tooMany = Array.from({ length: 257 }, (_, index) => `203.0.${index >> 8}.${index & 255}`)
const long = 'x'.repeat(300)

describe('what is wrong with a member', () => {
  const cases: readonly (readonly [string, object, string])[] = [
    ['required: no name', { description: 'd' }, '{"label":"Label is required"}'],
    ['required: an empty name', { label: '' }, '{"label":"Label is required"}'],
    ['required: null as a name', { label: null }, '{"label":"Label is required"}'],
    ['too_long: 256 characters', { label: 'é'.repeat(256) }, '{"label":"Label is longer than 255 characters"}'],
    [
      'too_long: 2001 characters',
      { label: 'x', description: '🔑'.repeat(2001) },
      '{"description":"Description is longer than 2000 characters"}',
    ],
    ['wrong_type: a number as a name', { label: 5 }, '{"label":"Label has the wrong type"}'],
    ['wrong_type: a list as a name', { label: ['x'] }, '{"label":"Label has the wrong type"}'],
    [
      'wrong_type: null as a text',
      { label: 'x', description: null },
      '{"description":"Description has the wrong type"}',
    ],
    ['wrong_type: a text as scopes', { label: 'x', scopes: 'invoices.read' }, '{"scopes":"Scopes has the wrong type"}'],
    [
      'wrong_type: a scope that is a number',
      { label: 'x', scopes: ['invoices.read', 1] },
      '{"scopes":"Scopes has the wrong type"}',
    ],
    [
      'wrong_type: addresses as a mapping',
      { label: 'x', ip_allow_list: {} },
      '{"ip_allow_list":"IP allow list has the wrong type"}',
    ],
    [
      'wrong_type: Unix seconds',
      { label: 'x', expires_at: 1_780_000_000 },
      '{"expires_at":"Expiry has the wrong type"}',
    ],
    [
      'unknown_scope: the first of them',
      { label: 'x', scopes: ['invoices.read', 'a', 'b'] },
      '{"scopes":"Scopes: unknown scope a"}',
    ],
    [
      'unknown_scope: a name that every object has',
      { label: 'x', scopes: ['constructor'] },
      '{"scopes":"Scopes: unknown scope constructor"}',
    ],
    [
      'unknown_scope: a long one is cut',
      { label: 'x', scopes: [long] },
      `{"scopes":"Scopes: unknown scope ${'x'.repeat(256)}…"}`,
    ],
    [
      'not_grantable: before a later unknown one',
      { label: 'x', scopes: ['api_keys.delete', 'a'] },
      '{"scopes":"Scopes: api_keys.delete is not available"}',
    ],
    [
      'invalid_entry: an address that is none',
      { label: 'x', ip_allow_list: ['127.0.0.1', '127.0.0.1/33'] },
      '{"ip_allow_list":"IP allow list: invalid entry 127.0.0.1/33"}',
    ],
    [
      'invalid_entry: the same address twice',
      { label: 'x', ip_allow_list: ['127.0.0.1', '127.0.0.1/32'] },
      '{"ip_allow_list":"IP allow list: invalid entry 127.0.0.1/32"}',
    ],
    [
      'invalid_entry: everything of IPv6, which would be IPv4 as well',
      { label: 'x', ip_allow_list: ['::/0'] },
      '{"ip_allow_list":"IP allow list: invalid entry ::/0"}',
    ],
    ['invalid_entry: a name that ends its line', { label: 'a\nb' }, '{"label":"Label: invalid entry a\\nb"}'],
    [
      'invalid_entry: a text with a null octet',
      { label: 'x', description: 'a\u0000' },
      '{"description":"Description: invalid entry a\\u0000"}',
    ],
    [
      'too_many: 257 addresses',
      { label: 'x', ip_allow_list: tooMany },
      '{"ip_allow_list":"IP allow list has more than 256 entries"}',
    ],
    [
      'too_many: 1025 scopes',
      { label: 'x', scopes: new Array(1025).fill('invoices.read') },
      '{"scopes":"Scopes has more than 1024 entries"}',
    ],
    [
      'invalid_time: another form',
      { label: 'x', expires_at: '2026-05-30' },
      '{"expires_at":"Expiry is not in the form YYYY-MM-DD HH:MM:SS"}',
    ],
    [
      'invalid_time: an empty text',
      { label: 'x', expires_at: '' },
      '{"expires_at":"Expiry is not in the form YYYY-MM-DD HH:MM:SS"}',
    ],
    [
      'invalid_time: a year beyond all bounds',
      { label: 'x', expires_at: '9999-12-31 23:59:59' },
      '{"expires_at":"Expiry is not in the form YYYY-MM-DD HH:MM:SS"}',
    ],
    [
      'past_time: a second ago',
      { label: 'x', expires_at: '2026-03-01 12:59:59' },
      '{"expires_at":"Expiry is in the past"}',
    ],
    [
      'past_time: before there was Unix',
      { label: 'x', expires_at: '1969-12-31 23:59:59' },
      '{"expires_at":"Expiry is in the past"}',
    ],
    ['unknown_field: another name', { label: 'x', name: 'y' }, '{"name":"Unknown field"}'],
    ['unknown_field: another letter case', { label: 'x', Label: 'y' }, '{"Label":"Unknown field"}'],
    ['unknown_field: a long name is cut', { label: 'x', [long]: 1 }, `{"${'x'.repeat(256)}…":"Unknown field"}`],
  ]
  it.each(cases)('%s', async (_, body, validator) => expectInvalid(body, validator))

  it('all of it at once, members in the order of the product, others after them', async () => {
    const body = {
      zzz: 1,
      expires_at: 'never',
      ip_allow_list: ['10/8'],
      scopes: ['api_keys.create'],
      description: 5,
      aaa: 1,
    }
    await expectInvalid(
      body,
      '{"label":"Label is required","description":"Description has the wrong type","scopes":"Scopes: api_keys.create is not available","ip_allow_list":"IP allow list: invalid entry 10/8","expires_at":"Expiry is not in the form YYYY-MM-DD HH:MM:SS","zzz":"Unknown field","aaa":"Unknown field"}',
    )
    await expectInvalid(
      { label: '', ip_allow_list: ['x'], expires_at: '2026-03-01 12:00:00' },
      '{"label":"Label is required","ip_allow_list":"IP allow list: invalid entry x","expires_at":"Expiry is in the past"}',
    )
  })

  it('__proto__ is a member like any other: told, and nothing is granted by it', async () => {
    const { rows: before } = await facade().world.client.query('SELECT count(*) FROM api_keys')
    const answer = await facade().ask({ body: '{"label":"x","__proto__":{"scopes":["api_keys.create"]}}' })
    expect(answer.body).toMatch(bodyPattern(invalid('{"__proto__":"Unknown field"}')))
    expect(Object.hasOwn(JSON.parse(answer.body).validator, '__proto__')).toBe(true)
    await expectInvalid(
      '{"label":"x","constructor":1,"toString":2,"7":3}',
      '{"constructor":"Unknown field","toString":"Unknown field","7":"Unknown field"}',
    )
    const { rows: after } = await facade().world.client.query('SELECT count(*) FROM api_keys')
    expect(after).toEqual(before)
  })

  it('an answer does not outgrow its request: of a thousand unknown members 64 are told', async () => {
    const body = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`m${index}`, 0]))
    const { validator } = await facade().json({ body: { label: 'x', ...body } })
    expect(Object.keys(validator ?? {})).toHaveLength(64)
  })
})

describe('what is accepted', () => {
  it.each([
    ['null where there may be nothing', { label: 'x', scopes: null, ip_allow_list: null, expires_at: null }],
    ['empty lists', { label: 'x', scopes: [], ip_allow_list: [] }],
    ['255 characters, whatever they are', { label: '🔑'.repeat(255) }],
    ['texts of several lines', { label: 'x', description: 'a\n\tb' }],
  ])('%s', async (_, body) => {
    const { status, data } = await facade().json({ body })
    expect(status).toBe(200)
    expect(data).toMatchObject({ scopes: all, ip_allow_list: [], expires_at: null, label: body.label })
  })

  it("scopes come back in the order of the vocabulary, each once; addresses in canonical text, in the caller's order", async () => {
    const { data } = await facade().json({
      body: {
        label: 'x',
        scopes: ['users.update', 'invoices.read', 'users.update', 'payments.read'],
        ip_allow_list: ['2001:0db8::/32', '203.0.113.7/24', '192.168.1.10', '2001:DB8:0::1', '::ffff:198.51.100.7'],
      },
    })
    expect(data).toMatchObject({
      scopes: ['invoices.read', 'payments.read', 'users.update'],
      ip_allow_list: ['2001:db8::/32', '203.0.113.0/24', '192.168.1.10', '2001:db8::1', '198.51.100.7'],
    })
  })

  it("the new key is of the calling key's organization and environment", async () => {
    const { client } = facade().world
    await client.query('BEGIN')
    await client.query("UPDATE api_keys SET scopes = '{api_keys.create}' WHERE id = $1", [fixtureId(goldenKey('G10'))])
    const { rows } = await client.query('SELECT digest FROM api_keys WHERE id = $1', [fixtureId(goldenKey('G10'))])
    await client.query('SELECT gw_record($1, $2, $3)', [[1], [rows[0]?.digest], [null]])
    await client.query('COMMIT')
    const { data } = await facade().json({ body: { label: 'of a test key' }, caller: 'G10' })
    expect(data?.secret).toMatch(/^sk_test_[0-9A-Za-z]{48}X2JpdGdwdA$/)
    const made = await client.query('SELECT environment, organization_id FROM api_keys WHERE id = $1', [data?.id])
    expect(made.rows).toEqual([{ environment: 'test', organization_id: organization }])
  })

  it('the audit names the calling key, and holds no secret', async () => {
    const { data } = await facade().json({ body: { label: 'audited' } })
    const { rows } = await facade().world.client.query(
      'SELECT actor, action, to_jsonb(e)::text AS whole FROM audit_events e WHERE resource = $1',
      [`organizations/${organization}/apiKeys/${data?.id}`],
    )
    expect(rows).toMatchObject([
      {
        actor: { principal: `organizations/${organization}/apiKeys/${fixtureId(goldenKey('G5'))}`, admin_key_hint: '' },
        action: 'CreateApiKey',
      },
    ])
    expect(rows[0]?.whole).not.toContain(data?.secret?.slice(8, 40))
  })
})

describe('whoever is not an API key that may do this', () => {
  const bearer = ['www-authenticate', 'Bearer realm="api"']
  const invalidToken = ['www-authenticate', 'Bearer realm="api", error="invalid_token"']
  const cases: readonly (readonly [string, FacadeAsk, number, string, readonly string[] | null])[] = [
    ['nobody: no identity headers', { caller: null }, 401, 'Missing API key', bearer],
    ['a peer that is not trusted', { trusted: false }, 401, 'Missing API key', bearer],
    [
      'two identities',
      { headers: [['x-gatewarden-api-key-id', fixtureId(goldenKey('G1'))]] },
      401,
      'Missing API key',
      bearer,
    ],
    ['an identity of a key that is not there', identity('key_nobody', 'live'), 401, 'Missing API key', bearer],
    ['an identity that is no id', identity("x' OR 1=1 --", 'live'), 401, 'Missing API key', bearer],
    [
      'an identity in another environment',
      identity(fixtureId(goldenKey('G5')), 'test'),
      401,
      'Missing API key',
      bearer,
    ],
    ['a key of another product', { caller: 'B2' }, 401, 'Missing API key', bearer],
    ['a key revoked since its check', { caller: 'G6' }, 401, 'Invalid API key', invalidToken],
    ['a key expired since its check', { caller: 'G9' }, 401, 'Invalid API key', invalidToken],
    ['a key suspended since its check', { caller: 'G7' }, 403, 'API key is suspended', null],
    [
      'a key without the scope',
      { caller: 'G1' },
      403,
      'API key does not have the required scope: api_keys.create',
      null,
    ],
    [
      'a key with all scopes, to which this one does not belong',
      { caller: 'G3' },
      403,
      'API key does not have the required scope: api_keys.create',
      null,
    ],
    ['another path', { target: '/developers/api_keys/' }, 403, 'Route is not available to API keys', null],
    ['another method', { method: 'PUT' }, 403, 'Route is not available to API keys', null],
  ]

  it.each(cases)('%s', async (_, ask, status, text, header) => {
    const before = facade().log.length
    const answer = await facade().ask({ body: { label: 'x' }, ...ask })
    expect(answer.status).toBe(status)
    expect(answer.body).toMatch(bodyPattern(denied(status, text)))
    expect(answer.headers).toEqual(header === null ? jsonHeaders : [...jsonHeaders, header])
    const [line] = facade().log.slice(before)
    expect(line?.fields).toMatchObject({ supportId: JSON.parse(answer.body).support_id })
  })

  function identity(id: string, environment: string): FacadeAsk {
    return {
      caller: null,
      headers: [
        ['x-gatewarden-organization-id', organization],
        ['x-gatewarden-api-key-id', id],
        ['x-gatewarden-environment', environment],
      ],
    }
  }

  it('a query is no part of the path, a host may be written with a port', async () => {
    const ask = { target: '/developers/api_keys?x=1', host: 'API.bitgpt.xyz.:443', body: { label: 'x' } }
    expect(await facade().ask(ask)).toMatchObject({ status: 200 })
  })

  it('a host that no profile has: the only profile with such a call, or the shape of no product', async () => {
    expect((await facade().ask({ host: 'edge.example', body: { label: 'x' } })).status).toBe(200)
    expect(await facade().ask({ host: 'edge.example', target: '/', body: {} })).toMatchObject({
      status: 403,
      body: '{"error":"forbidden"}',
    })
    const other = await facade().ask({ host: 'api.bitbybit.studio', body: {} })
    expect(other).toMatchObject({ status: 403, body: expect.stringContaining('INSUFFICIENT_SCOPE') })
  })

  it('a suspended organization', async () => {
    const { client } = facade().world
    const suspend = (time: string | null) =>
      transact(client, async () => {
        await client.query('UPDATE organizations SET suspend_time = $1 WHERE id = $2', [time, organization])
        await client.query('SELECT gw_record($1, $2, $3)', [[2], [null], [organization]])
      })
    await suspend('2026-02-01T00:00:00Z')
    const answer = await facade().ask({ body: { label: 'x' } })
    const faulty = await facade().ask({ body: {} })
    await suspend(null)
    expect([answer.status, faulty.status], 'whatever is wrong with the body').toEqual([403, 403])
    expect(answer.body).toMatch(bodyPattern(denied(403, 'API key is suspended')))
  })
})

describe('a request as a whole that is not acceptable', () => {
  const cases: readonly (readonly [string, FacadeAsk])[] = [
    ['no content type', { contentType: null, body: { label: 'x' } }],
    ['a form', { contentType: 'application/x-www-form-urlencoded', body: 'label=x' }],
    ['a text that is JSON', { contentType: 'text/plain', body: { label: 'x' } }],
    ['another JSON type', { contentType: 'application/json-patch+json', body: { label: 'x' } }],
    ['another encoding of characters', { contentType: 'application/json; charset=utf-16', body: { label: 'x' } }],
    ['two content types', { headers: [['content-type', 'application/json']], body: { label: 'x' } }],
    ['compressed', { headers: [['content-encoding', 'gzip']], body: { label: 'x' } }],
    ['nothing', { body: '' }],
    ['no JSON', { body: 'label' }],
    ['half of it', { body: '{"label":"x"' }],
    ['more than one', { body: '{"label":"x"}{}' }],
    ['a list', { body: '[{"label":"x"}]' }],
    ['null', { body: 'null' }],
    ['a member twice', { body: '{"label":"x","label":"y"}' }],
    ['a member twice, once in another spelling', { body: '{"label":"x","\\u006cabel":"y"}' }],
    ['a member of a member twice', { body: '{"label":"x","o":{"a":1,"a":2}}' }],
    ['17 levels', { body: `{"label":${'['.repeat(16)}${']'.repeat(16)}}` }],
    ['ten thousand levels', { body: `{"label":${'['.repeat(10_000)}` }],
    ['octets that are not UTF-8', { body: Buffer.from('{"label":"\xff"}', 'latin1') }],
    ['half of a character', { body: Buffer.from('{"label":"\xe2\x82"}', 'latin1') }],
    ['half of a pair', { body: '{"label":"\\ud83d"}' }],
    ['a byte order mark', { body: '\ufeff{"label":"x"}' }],
    ['a line end in a text', { body: '{"label":"a\nb"}' }],
    ['a comment', { body: '{"label":"x"/**/}' }],
    ['a comma too many', { body: '{"label":"x",}' }],
    ['a number with a leading zero', { body: '{"label":01}' }],
    ['NaN', { body: '{"label":NaN}' }],
    ['a key of repetition that is no UUID', { headers: [['idempotency-key', 'again']], body: { label: 'x' } }],
    ['an empty key of repetition', { headers: [['idempotency-key', '']], body: { label: 'x' } }],
    [
      'two keys of repetition',
      {
        headers: [
          ['idempotency-key', randomUUID()],
          ['idempotency-key', randomUUID()],
        ],
        body: { label: 'x' },
      },
    ],
  ]

  it.each(cases)('%s: no validator', async (_, ask) => {
    const answer = await facade().ask(ask)
    expect(answer.body).toMatch(bodyPattern(invalid('null')))
    expect(answer).toMatchObject({ status: 400, headers: jsonHeaders })
  })

  it.each([
    'application/json; charset=utf-8',
    'Application/JSON;charset="UTF-8"',
    'application/json ; charset = utf-8',
  ])('%s is JSON', async contentType => {
    expect(await facade().ask({ contentType, body: { label: 'x' } })).toMatchObject({ status: 200 })
  })
})

describe('a repeated call', () => {
  const repeat = (key: string, more: FacadeAsk = {}) => ({
    body: { label: 'repeated', scopes: ['invoices.read'] },
    headers: [['idempotency-key', key]] as const,
    ...more,
  })

  it('makes one key and shows its secret once: the second answer is the first with null in its place', async () => {
    const key = randomUUID()
    const first = await facade().ask(repeat(key))
    const second = await facade().ask(repeat(key.toUpperCase()))
    const { secret } = JSON.parse(first.body).data
    expect(second).toEqual({ ...first, body: first.body.replace(`"${secret}"`, 'null') })
    expect(await facade().ask(repeat(key, { body: '{ "scopes": ["invoices.read"], "label": "repeated" }' }))).toEqual(
      second,
    )
  })

  it('twenty at once: one key, one secret; the others the same key, or 503 while it is made', async () => {
    const key = randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => facade().ask(repeat(key))))
    const made = answers.filter(answer => answer.status === 200).map(answer => JSON.parse(answer.body).data)
    expect(new Set(made.map(data => data.id)).size).toBe(1)
    expect(made.filter(data => data.secret !== null)).toHaveLength(1)
    expect(answers.filter(answer => answer.status !== 200).every(answer => answer.status === 503)).toBe(true)
  })

  it('with another body is refused as a whole; by another caller it is another call', async () => {
    const key = randomUUID()
    const first = await facade().json(repeat(key))
    const other = await facade().ask(repeat(key, { body: { label: 'other' } }))
    expect(other.body).toMatch(bodyPattern(invalid('null')))
    const { data } = await facade().json(repeat(key, { caller: 'G10' }))
    expect(data?.id).not.toBe(first.data?.id)
    expect(data?.secret).not.toBeNull()
  })

  it('the secret is in its one answer, in no row and in no line of the log', async () => {
    const { data } = await facade().json(repeat(randomUUID()))
    const secret = data?.secret ?? ''
    const core = secret.slice('sk_live_'.length, 'sk_live_'.length + 42)
    expect(core).toHaveLength(42)
    const { client } = facade().world
    for (const table of ['api_keys', 'idempotency', 'audit_events', 'changes']) {
      const { rows } = await client.query(`SELECT t::text AS text FROM ${table} t`)
      const text = rows.map(row => row.text).join('\n')
      expect(text.length, table).toBeGreaterThan(100)
      for (const form of [core, Buffer.from(core).toString('hex'), Buffer.from(secret).toString('base64')]) {
        expect(text.includes(form), `${table} holds the secret`).toBe(false)
      }
    }
    expect(JSON.stringify(facade().log)).not.toContain(core)
  })

  it('a refused call reserves nothing', async () => {
    const key = randomUUID()
    expect((await facade().ask(repeat(key, { body: {} }))).status).toBe(400)
    expect((await facade().json(repeat(key))).data?.secret).not.toBeNull()
  })
})
