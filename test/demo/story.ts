// What the demo shows of each product: keys made with the ordinary command, requests through Envoy, and the documented answers.
// Data only. A request says what must come back; the demo fails if anything else does.

/** A key as `gatewarden keys create` is asked for it. */
export interface StoryKey {
  readonly name: string
  /** Flags after the organization. */
  readonly flags: readonly string[]
}

export type StoryStep =
  | {
      readonly step: 'request'
      readonly says: string
      /** Name of the key presented; null: none. */
      readonly key: string | null
      /** Presented in its place: a secret that no key has. */
      readonly secret?: string
      readonly method: string
      readonly path: string
      /** Sent as JSON. */
      readonly sends?: string
      readonly status: number
      /** Exact body where the upstream does not answer; `<name>` stands for what varies. */
      readonly body?: string
      /** The answer shows a new secret: the name of its key from then on. */
      readonly makes?: string
      /** Response headers that must be there with these values. */
      readonly headers?: Readonly<Record<string, string>>
    }
  /** A change through the admin service; `as` names the successor of a rotation. */
  | {
      readonly step: 'change'
      readonly command: string
      readonly key: string
      readonly flags: readonly string[]
      readonly as?: string
    }

export interface ProductStory {
  readonly profile: string
  readonly title: string
  readonly host: string
  /** How a secret is presented. */
  readonly header: (secret: string) => readonly [string, string]
  readonly keys: readonly StoryKey[]
  readonly steps: readonly StoryStep[]
}

const bearer = (secret: string) => ['authorization', `Bearer ${secret}`] as const

/** The body that the billing product's page shows for its documented test call; it is the upstream's, not ours. */
export const documentedBudgets = { data: [], pagination: { page: 1, limit: 1, total: 0, hasMore: false } }

export const stories: readonly ProductStory[] = [
  {
    profile: 'bitbybit',
    title: 'bitbybit: x-api-key, resource × action, allowlist, rotation',
    host: 'api.bitbybit.studio',
    header: secret => ['x-api-key', secret],
    keys: [
      { name: 'reader', flags: ['--scope', 'customers:READ'] },
      { name: 'office', flags: ['--scope', 'customers:READ', '--allow', '203.0.113.0/24=Office network'] },
    ],
    steps: [
      {
        step: 'request',
        says: 'READ lists customers',
        key: 'reader',
        method: 'GET',
        path: '/customer/open/v1/customers',
        status: 200,
      },
      {
        step: 'request',
        says: 'READ cannot create them',
        key: 'reader',
        method: 'POST',
        path: '/customer/open/v1/customers',
        status: 403,
        body: '{"error":{"code":"INSUFFICIENT_SCOPE","message":"Key doesn\'t have the required scope"}}',
      },
      {
        step: 'request',
        says: 'nothing is presented',
        key: null,
        method: 'GET',
        path: '/customer/open/v1/customers',
        status: 401,
        body: '{"error":{"code":"MISSING_API_KEY","message":"No x-api-key header provided"}}',
      },
      {
        step: 'request',
        says: 'a key that nobody has',
        key: null,
        secret: 'bbb_live_ffffffffffff',
        method: 'GET',
        path: '/customer/open/v1/customers',
        status: 401,
        body: '{"error":{"code":"INVALID_API_KEY","message":"Key is invalid, revoked, or expired"}}',
      },
      {
        step: 'request',
        says: 'an address outside the allowlist',
        key: 'office',
        method: 'GET',
        path: '/customer/open/v1/customers',
        status: 403,
        body: '{"error":{"code":"IP_NOT_ALLOWED","message":"Request IP address is not in the API key\'s allowlist"}}',
      },
      { step: 'change', command: 'rotate', key: 'reader', flags: [], as: 'successor' },
      {
        step: 'request',
        says: 'the old key, in its 24-hour grace period',
        key: 'reader',
        method: 'GET',
        path: '/customer/open/v1/customers/c_1',
        status: 200,
      },
      {
        step: 'request',
        says: 'the new key',
        key: 'successor',
        method: 'GET',
        path: '/customer/open/v1/customers/c_1',
        status: 200,
      },
      { step: 'change', command: 'revoke', key: 'successor', flags: ['--reason', 'leaked'] },
      {
        step: 'request',
        says: 'revoked, and its predecessor with it',
        key: 'reader',
        method: 'GET',
        path: '/customer/open/v1/customers',
        status: 401,
        body: '{"error":{"code":"INVALID_API_KEY","message":"Key is invalid, revoked, or expired"}}',
      },
    ],
  },
  {
    profile: 'billoget',
    title: 'Billoget: bearer keys, route table, rate limit',
    host: 'api.billoget.com',
    header: bearer,
    keys: [
      { name: 'budgets', flags: ['--scope', 'READ_BUDGETS'] },
      { name: 'small', flags: ['--scope', 'READ_BUDGETS', '--limit', '2/1h'] },
    ],
    steps: [
      {
        step: 'request',
        says: 'the documented test call',
        key: 'budgets',
        method: 'GET',
        path: '/v1/api/public/budgets?limit=1',
        status: 200,
        headers: { 'x-ratelimit-limit': '1000', 'x-ratelimit-remaining': '999' },
      },
      {
        step: 'request',
        says: 'the documented scope error',
        key: 'budgets',
        method: 'POST',
        path: '/v1/api/public/budgets',
        status: 403,
        body: '{"error":"insufficient_scope","message":"API key does not have required scope: WRITE_BUDGETS"}',
      },
      {
        step: 'request',
        says: 'another format',
        key: null,
        secret: 'bk_prod_1234567890abcdef',
        method: 'GET',
        path: '/v1/api/public/budgets',
        status: 401,
        body: '{"error":"unauthorized","message":"Invalid or missing API key"}',
      },
      {
        step: 'request',
        says: 'two requests an hour: the first',
        key: 'small',
        method: 'GET',
        path: '/v1/api/public/budgets',
        status: 200,
      },
      {
        step: 'request',
        says: 'the second',
        key: 'small',
        method: 'GET',
        path: '/v1/api/public/budgets',
        status: 200,
        headers: { 'x-ratelimit-remaining': '0' },
      },
      {
        step: 'request',
        says: 'one too many',
        key: 'small',
        method: 'GET',
        path: '/v1/api/public/budgets',
        status: 429,
        headers: { 'x-ratelimit-remaining': '0' },
      },
      { step: 'change', command: 'suspend', key: 'budgets', flags: [] },
      {
        step: 'request',
        says: 'suspended',
        key: 'budgets',
        method: 'GET',
        path: '/v1/api/public/budgets',
        status: 403,
        body: '{"error":"forbidden","message":"API key suspended"}',
      },
      { step: 'change', command: 'resume', key: 'budgets', flags: [] },
      { step: 'request', says: 'resumed', key: 'budgets', method: 'GET', path: '/v1/api/public/budgets', status: 200 },
    ],
  },
  {
    profile: 'bitgpt',
    title: 'BitGPT 402pay: dotted scopes, no scopes means full permissions, envelope',
    host: 'api.bitgpt.xyz',
    header: bearer,
    keys: [
      { name: 'products', flags: ['--scope', 'products.create'] },
      { name: 'full', flags: [] },
      { name: 'maker', flags: ['--scope', 'api_keys.create'] },
    ],
    steps: [
      {
        step: 'request',
        says: 'products.create creates',
        key: 'products',
        method: 'POST',
        path: '/products',
        status: 200,
      },
      { step: 'request', says: 'and does not list', key: 'products', method: 'GET', path: '/products', status: 403 },
      {
        step: 'request',
        says: 'made without scopes: full permissions',
        key: 'full',
        method: 'GET',
        path: '/invoices',
        status: 200,
      },
      {
        step: 'request',
        says: 'but not what developers may not have',
        key: 'full',
        method: 'POST',
        path: '/developers/api_keys',
        status: 403,
      },
      {
        step: 'request',
        says: 'what an operator may grant: the documented call makes a key',
        key: 'maker',
        method: 'POST',
        path: '/developers/api_keys',
        sends:
          '{"label":"My API Key","description":"Key for accessing product APIs","scopes":["products.create"],"ip_allow_list":["127.0.0.1"],"expires_at":"2099-05-30 20:23:16"}',
        status: 200,
        body: '{"status":200,"data":{"id":"<id>","organization_id":"<organization>","label":"My API Key","description":"Key for accessing product APIs","secret":"<secret>","scopes":["products.create"],"ip_allow_list":["127.0.0.1"],"expires_at":"2099-05-30 20:23:16","created_at":"<time>","updated_at":null,"metrics":{"api_key_id":"<id>","total_requests":0,"last_used_at":null}},"error":null,"log":null,"validator":null,"support_id":null,"message":"Resource created successfully","env":"production"}',
        makes: 'made',
      },
      { step: 'request', says: 'the new key works', key: 'made', method: 'POST', path: '/products', status: 200 },
      {
        step: 'request',
        says: 'a key cannot make a stronger one',
        key: 'maker',
        method: 'POST',
        path: '/developers/api_keys',
        sends: '{"label":"","scopes":["api_keys.create"]}',
        status: 400,
        body: '{"status":400,"data":null,"error":"Validation failed","log":null,"validator":{"label":"Label is required","scopes":"Scopes: api_keys.create is not available"},"support_id":"<support_id>","message":null,"env":"production"}',
      },
      { step: 'request', says: 'nothing is presented', key: null, method: 'GET', path: '/products', status: 401 },
      {
        step: 'request',
        says: 'a path with a parameter that hides a segment',
        key: 'full',
        method: 'GET',
        path: '/invoices;x=1',
        status: 400,
      },
    ],
  },
]
