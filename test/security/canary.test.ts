// The canary test (security.md 8): secrets that the product made or was given, pushed through the whole running stack in right and wrong
// places. Afterwards they stand in no log, metric, table, file, error reply, metadata or heap; only in the one reply and the admin's key file.
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Client, credentials } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeCheck } from '../check/encode-check.ts'
import { sendRaw } from '../e2e/raw-request.ts'
import { until } from '../support/until.ts'
import { CanaryScanner, type Hit } from './canary-scan.ts'
import { type AdminRpc, type CanaryStack, type Message, newRequestId, startCanaryStack } from './canary-stack.ts'

let stack: CanaryStack
beforeAll(async () => {
  stack = await startCanaryStack()
}, 120_000)
afterAll(() => stack?.stop())

const hosts = { bitbybit: 'api.bitbybit.studio', billoget: 'api.billoget.com' }

/** Name → secret, as issued or brought in. */
const secrets = new Map<string, string>()
/** Replies that may hold nothing: refusals of admin, denials of Envoy. */
const replies: string[] = []

/** The part of a secret that is looked for: nothing that a hint or a prefix shows. */
const innerOf = (secret: string) => Buffer.from(secret.replace(/^[a-z]+_(?:live_|test_)?/, '').slice(0, 20))

async function must(rpc: string, message: Message): Promise<Message> {
  const { reply, refusal } = await stack.admin(rpc, message)
  if (reply === null) throw new Error(`${rpc}: ${refusal}`)
  return reply
}

const nameOf = (reply: Message, member: string) => String((reply[member] as { readonly name: string }).name)

/** Keys of two products: created, rotated, imported. */
async function makeKeys(): Promise<{ readonly key: string; readonly parent: string }> {
  const organization = async (profile: string) =>
    nameOf(
      await must('OrganizationAdmin/CreateOrganization', {
        organization: { displayName: 'Canary', profile: `profiles/${profile}` },
        requestId: newRequestId(),
      }),
      'organization',
    )
  const parent = await organization('bitbybit')
  const other = await organization('billoget')
  const created = await must('ApiKeyAdmin/CreateApiKey', {
    parent,
    apiKey: { displayName: 'first', scopes: ['customers:READ'], labels: { team: 'a' } },
    requestId: newRequestId(),
  })
  secrets.set('created', String(created['secret']))
  const rotated = await must('ApiKeyAdmin/RotateApiKey', { name: nameOf(created, 'apiKey'), requestId: newRequestId() })
  secrets.set('rotated', String(rotated['secret']))
  const suspended = await must('ApiKeyAdmin/CreateApiKey', {
    parent: other,
    apiKey: { displayName: 'second', scopes: ['READ_BUDGETS'] },
    requestId: newRequestId(),
  })
  secrets.set('suspended', String(suspended['secret']))
  await must('ApiKeyAdmin/SuspendApiKey', {
    name: nameOf(suspended, 'apiKey'),
    reason: 'test',
    requestId: newRequestId(),
  })
  const imported = `bk_live_${randomBytes(16).toString('hex')}`
  secrets.set('imported', imported)
  const digest = createHash('sha256').update(imported).digest()
  const { reply, refusal } = await stack.adminStream('ApiKeyAdmin/ImportApiKeys', [
    { header: { parent: other, requestId: newRequestId(), onConflict: 'FAIL' } },
    {
      row: {
        digest,
        keyHint: `bk_live_…${imported.slice(-4)}`,
        displayName: 'third',
        environment: 'live',
        scopeMode: 'LISTED',
        scopes: ['READ_BUDGETS'],
      },
    },
  ])
  if (reply?.['imported'] !== 1) throw new Error(`${refusal} ${JSON.stringify(reply)}`)
  return { key: nameOf(created, 'apiKey'), parent }
}

const send = (path: string, host: string, lines: readonly string[]) =>
  sendRaw(stack.envoy.port('edge'), { path, host, lines })

/** Every place of a request where somebody may have put a key. */
function misplaced(secret: string): [path: string, lines: string[]][] {
  const customers = '/customer/open/v1/customers'
  const headers = [
    'x-api-key',
    'authorization',
    'x-request-id',
    'user-agent',
    'referer',
    'x-forwarded-for',
    'origin',
    'content-type',
    'x-gatewarden-scope',
    'x-gatewarden-api-key-id',
    'accept',
    'x-real-ip',
    'traceparent',
  ]
  return [
    ...headers.map((name): [string, string[]] => [customers, [`${name}: ${secret}`]]),
    ...headers.map((name): [string, string[]] => [`${customers}/100%`, [`${name}: ${secret}`]]),
    [customers, [`x-api-key: ${secret}`, `x-api-key: ${secret}`]],
    [customers, [`x-api-key: ${secret}, ${secret}`]],
    [customers, [`x-api-key: ${secret}x`]],
    [customers, [`x-api-key: ${secret}`, `x-forwarded-for: ${secret}`]],
    [customers, [`authorization: Basic ${secret}`]],
    [customers, [`authorization: Basic ${Buffer.from(`${secret}:`).toString('base64')}`]],
    [customers, [`authorization: Bearer ${secret.slice(0, -1)}`]],
    [customers, [`cookie: key=${secret}`]],
    [`${customers}?x-api-key=${secret}`, []],
    [`/${secret}`, []],
    [`${customers}/${secret}`, []],
    [`${customers}/../${secret}`, []],
    [`${customers}//${secret}`, [`x-api-key: ${secret}`]],
    [`/v1/api/public/budgets?key=${secret}`, [`authorization: bearer  ${secret}`]],
  ]
}

async function checkClient(): Promise<(octets: Buffer) => Promise<Buffer>> {
  const client = new Client(`unix:${stack.checkSocket}`, credentials.createInsecure())
  const pass = (octets: Buffer) => octets
  return octets =>
    new Promise(resolve => {
      client.makeUnaryRequest<Buffer, Buffer>(
        '/envoy.service.auth.v3.Authorization/Check',
        pass,
        pass,
        octets,
        { deadline: Date.now() + 10_000 },
        (error, reply) =>
          resolve(
            error === null
              ? (reply ?? Buffer.alloc(0))
              : Buffer.from(`${error.message} ${JSON.stringify(error.metadata.toJSON())}`),
          ),
      )
    })
}

/** The usage spool as it was after the requests of each secret: what is stored leaves it. */
const spooled: Buffer[] = []

async function useKeys(): Promise<void> {
  const { created = '', rotated = '', imported = '', suspended = '' } = Object.fromEntries(secrets)
  const customers = '/customer/open/v1/customers'
  const status = async (path: string, host: string, line: string) => (await send(path, host, [line])).status
  // Allowed, so that each secret has been looked up and found.
  await until(
    'the created key is served',
    async () => (await status(customers, hosts.bitbybit, `x-api-key: ${created}`)) === 200,
  )
  await until(
    'the rotated key is served',
    async () => (await status(customers, hosts.bitbybit, `x-api-key: ${rotated}`)) === 200,
  )
  await until(
    'the imported key is served',
    async () => (await status('/v1/api/public/budgets', hosts.billoget, `authorization: Bearer ${imported}`)) === 200,
  )
  await until(
    'the key is suspended',
    async () => (await status('/v1/api/public/budgets', hosts.billoget, `authorization: Bearer ${suspended}`)) === 403,
  )
  const echoed = await send(customers, hosts.bitbybit, [`x-api-key: ${created}`, 'x-request-id: 1'])
  replies.push(echoed.body) // what the upstream got: the credential must not be in it
  const check = await checkClient()
  for (const secret of [...secrets.values(), stack.adminKey]) {
    for (const [path, lines] of misplaced(secret)) {
      for (const host of [...Object.values(hosts), `${secret.slice(-30).replaceAll('_', '-')}.test`]) {
        const answer = await send(path, host, lines)
        // An allowed request reaches the upstream with all that its sender wrote, which is between the two of them.
        if (answer.status !== 200) replies.push(JSON.stringify(answer))
      }
    }
    const sound = encodeCheck({
      path: customers,
      host: hosts.bitbybit,
      headers: [['x-api-key', secret]],
      extensions: { profile: secret, [secret]: secret },
      method: secret,
      source: secret,
    })
    for (const octets of [
      sound,
      sound.subarray(0, -3),
      sound.subarray(5),
      Buffer.from(secret),
      Buffer.concat([sound, sound]),
    ])
      replies.push((await check(octets)).toString('latin1'))
    spooled.push(stack.spooled())
  }
}

/** Every member of a record. */
const columns = [
  ...[
    'time',
    'decision_id',
    'request_id',
    'organization_id',
    'api_key_id',
    'key_hint',
    'environment',
    'method',
    'host',
  ],
  ...['path', 'route', 'required_scope', 'decision', 'reason', 'status', 'client_ip', 'direct_ip', 'user_agent'],
  ...['duration_ms', 'bytes_in', 'bytes_out', 'support_id'],
]

async function metric(name: string): Promise<number> {
  const line = (await stack.metricsPage()).split('\n').find(each => each.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1))
}

/** The usage log in every form in which it is given out, once all of it is stored. */
async function exportUsage(parent: string): Promise<string> {
  const [recorded, written] = ['gatewarden_usage_recorded_total', 'gatewarden_usage_written_total']
  await until('the requests are stored', async () => (await metric(written)) === (await metric(recorded)), 30_000)
  const texts: string[] = []
  for (const request of [{ parent: 'organizations/-', columns }, { parent }]) {
    const { parts, refusal } = await stack.adminDownload('UsageAdmin/ExportUsageLogs', request)
    expect(refusal).toBe('')
    texts.push(Buffer.concat(parts.map(part => part['data'] as Buffer)).toString('utf8'))
  }
  expect(texts[0]?.split('\r\n').length).toBeGreaterThan(500)
  for (let pageToken = ''; ; ) {
    const page = await must('UsageAdmin/ListUsageLogs', { parent: 'organizations/-', pageSize: 1000, pageToken })
    texts.push(JSON.stringify(page))
    pageToken = String(page['nextPageToken'] ?? '')
    if (pageToken === '') break
  }
  for (const secret of secrets.values()) {
    for (const misused of [{ parent: secret }, { parent, filter: secret }, { parent, columns: [secret] }]) {
      const { parts, refusal } = await stack.adminDownload('UsageAdmin/ExportUsageLogs', misused)
      texts.push(refusal + JSON.stringify(parts))
    }
    const resumed = await stack.adminDownload('UsageAdmin/ExportUsageLogs', { parent, resumeToken: secret })
    texts.push(resumed.refusal)
  }
  return texts.join('\n')
}

/** Its failures count against the address, so it comes last. */
const bootstrapRpc = 'AccessAdmin/CompleteBootstrap'

/** Texts that belong to the caller and are stored as they are: no place where a secret is turned away. */
const ownTexts = new Set(['displayName', 'description', 'comment', 'reason', 'label', 'labels', 'value'])

function filled(base: Message, path: readonly string[], value: unknown): Message {
  const [first = '', ...rest] = path
  if (rest.length === 0) return { ...base, [first]: value }
  const inner = (base[first] ?? {}) as Message
  if (rest[0] === '0') return { ...base, [first]: [filled({}, rest.slice(1), value)] }
  return { ...base, [first]: filled(inner, rest, value) }
}

/** The secret in each text of each admin request, on requests that are right but for it, and on empty ones. */
async function misuseAdmin(right: { readonly key: string; readonly parent: string }): Promise<number> {
  let sent = 0
  const bases = (rpc: AdminRpc): Message[] => {
    const requestId = newRequestId()
    const { key: name, parent } = right
    switch (rpc.name) {
      case 'ApiKeyAdmin/CreateApiKey':
        return [{ parent, apiKey: { displayName: 'x', scopes: ['customers:READ'] }, requestId, validateOnly: true }]
      case 'ApiKeyAdmin/UpdateApiKey':
        return [
          { apiKey: { name }, updateMask: { paths: ['scopes', 'allowlist', 'labels'] }, requestId, validateOnly: true },
        ]
      case 'ApiKeyAdmin/ListApiKeys':
        return [{ parent }, { parent, filter: 'display_name = x' }]
      case 'AllowlistAdmin/ValidateIpAllowlist':
        return [{ parent }]
      default:
        return [{}, { name, parent, requestId, validateOnly: true }]
    }
  }
  for (const secret of [secrets.get('created') ?? '', secrets.get('imported') ?? '', stack.adminKey]) {
    for (const rpc of stack.rpcs.filter(each => !each.streams && each.name !== bootstrapRpc)) {
      for (const field of rpc.fields.filter(each => !each.path.some(part => ownTexts.has(part)))) {
        for (const base of bases(rpc)) {
          const value = field.octets ? Buffer.from(secret) : secret
          const { reply, refusal } = await stack.admin(
            rpc.name,
            filled(base, field.path, field.repeated ? [value] : value),
          )
          replies.push(`${rpc.name} ${field.path.join('.')}: ${refusal}${reply === null ? '' : JSON.stringify(reply)}`)
          sent++
        }
      }
    }
    // A change that succeeds, by a caller who calls it by a secret.
    const { reply, refusal } = await stack.admin(
      'OrganizationAdmin/CreateOrganization',
      { organization: { displayName: 'x', profile: 'profiles/bitgpt' }, requestId: newRequestId() },
      { 'x-request-id': secret, 'user-agent': secret, 'x-forwarded-for': secret, [secret.toLowerCase()]: secret },
    )
    if (reply === null) throw new Error(refusal)
    replies.push(JSON.stringify(reply))
    const streamed = await stack.adminStream('ApiKeyAdmin/ImportApiKeys', [
      { header: { parent: right.parent, requestId: secret } },
      {
        row: {
          digest: Buffer.from(secret),
          keyHint: secret,
          environment: secret,
          scopes: [secret],
          allowlist: [{ cidr: secret }],
          labels: { [secret]: 'x' },
        },
      },
    ])
    replies.push(streamed.refusal + JSON.stringify(streamed.reply))
  }
  // Every one of these was looked at.
  expect(replies.filter(reply => reply.includes('Too many failed authentications'))).toEqual([])
  // Last: an address that has failed often is refused for a while.
  for (const secret of secrets.values()) {
    replies.push(
      (await stack.admin(bootstrapRpc, { token: secret, adminKey: { displayName: 'x', name: secret } })).refusal,
    )
    for (const authorization of [`Bearer ${secret}`, secret, `Basic ${secret}`, `Bearer ${secret}x`]) {
      const { refusal } = await stack.admin(
        'ApiKeyAdmin/ListApiKeys',
        { parent: right.parent },
        { authorization, 'x-request-id': secret },
      )
      replies.push(refusal)
    }
  }
  return sent
}

/** Requests without a secret, so that nothing of the last one with a secret is only waiting to be overwritten. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await send('/customer/open/v1/customers', hosts.bitbybit, ['x-api-key: bbb_live_ffffffffffff'])
    await stack.admin('OrganizationAdmin/ListOrganizations', {})
  }
}

const shown = (hits: readonly Hit[]) => [
  ...new Set(hits.map(({ canary, form, where }) => `${canary} as ${form} in ${where}`)),
]

it('no secret is left anywhere', async () => {
  const right = await makeKeys()
  await useKeys()
  const usage = await exportUsage(right.parent)
  const misused = await misuseAdmin(right)
  await settle()

  const pepperFiles = readdirSync(join(stack.dataDir, 'peppers'))
  expect(pepperFiles.length).toBeGreaterThanOrEqual(2)
  const canaries = new Map<string, Buffer>([...secrets].map(([name, secret]) => [name, innerOf(secret)]))
  canaries.set('admin key', innerOf(stack.adminKey))
  for (const file of pepperFiles) {
    const octets = Buffer.from(readFileSync(join(stack.dataDir, 'peppers', file), 'utf8').trim(), 'hex')
    expect(octets.length).toBe(32)
    canaries.set(`pepper ${file.slice(0, 1)}`, octets)
  }
  for (const [name, secret] of secrets) canaries.set(`SHA-256 of ${name}`, createHash('sha256').update(secret).digest())
  expect([...canaries.values()].every(octets => octets.length >= 20)).toBe(true)
  const scanner = new CanaryScanner(canaries)
  const hits: Hit[] = []

  // The one line of the first start that shows the admin's key is allowed, once.
  const output = stack.serve.output()
  expect(output.split(stack.adminKey).length).toBe(2)
  hits.push(...scanner.scanText(output.replace(stack.adminKey, ''), 'the output of serve'))
  hits.push(...scanner.scanText(await stack.metricsPage(), 'the metrics page'))
  for (const reply of replies) hits.push(...scanner.scan(Buffer.from(reply), `a reply: ${reply.slice(0, 200)}`))
  hits.push(...scanner.scanText(usage, 'the usage log as it is given out'))
  for (const octets of spooled) hits.push(...scanner.scan(octets, 'the usage spool'))
  expect(Math.min(...spooled.map(octets => octets.length))).toBeGreaterThan(10_000)
  const dump = await stack.dump()
  const logged = [...dump].filter(([table]) => table.startsWith('gatewarden.usage_log')).map(([, text]) => text)
  expect(logged.join('\n').split('\n').length).toBeGreaterThan(500)
  for (const [table, text] of dump) hits.push(...scanner.scanText(text, `table ${table}`))
  const accessLog = stack.accessLog()
  expect(accessLog).toContain('"decision":"allow"')
  hits.push(...scanner.scanText(accessLog, 'the access log of Envoy'))

  const snapshot = await stack.heapSnapshot()
  const heap = scanner.scanFile(snapshot)
  hits.push(...heap.map(hit => ({ ...hit, where: 'the heap' })))
  // It is a snapshot of the process that served them, whole.
  const text = readFileSync(snapshot).toString('latin1')
  expect(['customers:READ', 'credential_check_failed', 'HTTP2SESSION'].filter(each => !text.includes(each))).toEqual([])
  rmSync(snapshot)

  await stack.stopServe()
  hits.push(...scanner.scanText(stack.serve.output().replace(stack.adminKey, ''), 'the output of serve'))
  const isAllowed = (path: string) =>
    path === join(stack.dataDir, 'admin.key') || path.startsWith(join(stack.dataDir, 'peppers/'))
  const files = scanner.scanFolder(stack.dataDir, isAllowed)
  hits.push(...files.hits)
  const others = scanner.scanFolder(stack.directory, () => false)
  hits.push(...others.hits)
  process.stdout.write(
    `canaries ${canaries.size}, replies ${replies.length} (${misused} of misused admin fields), tables ${dump.size}, files ${files.files} with ${files.octets} octets, hits ${hits.length}\n`,
  )
  expect(dump.get('gatewarden.audit_events')?.length).toBeGreaterThan(1000)
  expect(files.octets).toBeGreaterThan(10_000_000)
  expect(shown(hits)).toEqual([])

  // And it would have been found.
  expect(shown(scanner.scanFile(join(stack.dataDir, 'admin.key')))).toContain(
    `admin key as raw in ${join(stack.dataDir, 'admin.key')}`,
  )
}, 240_000)
