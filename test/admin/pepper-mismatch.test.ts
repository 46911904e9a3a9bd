// Admin with the wrong pepper file, as far as a start that could not ask the database lets it come: it writes no key that would
// work nowhere, calls no admin key unknown that it cannot judge, and never replaces what the database knows.
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AccessContext, accessAdmin } from '../../src/admin/access-admin.ts'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import type { ApiKeyContext } from '../../src/admin/api-key-context.ts'
import { issueBootstrapToken } from '../../src/admin/bootstrap.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import { proofsOf } from '../../src/admin/pepper-proofs.ts'
import {
  CreateApiKeyRequest,
  type ImportApiKeysRequest,
  ImportApiKeysRequest_Header,
  ImportApiKeysRequest_Row,
  RotateApiKeyRequest,
} from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { CreateOrganizationRequest } from '../../src/gen/gatewarden/admin/v1/organization_admin.ts'
import { ApiKey, Organization } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import type { Pepper } from '../../src/keys/digest.ts'
import { callWith, footprint, makeRoot, refusal, testPepper, useWorld } from './admin-world.ts'

const world = useWorld()
let parent = ''

type Context = ApiKeyContext & AccessContext

const other = (id: string): Pepper => ({ id, bytes: randomBytes(32) })
/** The same admin with other files. */
const withPeppers = (change: Partial<Pick<Context, 'pepper' | 'peppers'>>): Context => ({
  ...world().context,
  ...change,
})

const call = () => callWith(world().rootKey)
const apiKey = { ...ApiKey.create({}), displayName: 'k', scopes: ['customers:READ'], environment: 'live' }
const create = (context: Context, more: object = {}) =>
  apiKeyAdmin(context).createApiKey(
    { ...CreateApiKeyRequest.create({}), parent, apiKey, requestId: randomUUID(), ...more },
    call(),
  )

async function stored() {
  const { rows } = await world().client.query<{ purpose: string; pepper_id: string; proof: Buffer }>(
    'SELECT purpose, pepper_id, proof FROM pepper_proofs ORDER BY purpose, pepper_id',
  )
  return rows.map(row => [row.purpose, row.pepper_id, row.proof.toString('hex')])
}

const proofsOfWorld = () =>
  [...proofsOf('admin_keys', [world().context.pepper]), ...proofsOf('api_keys', [testPepper])].map(
    ({ purpose, pepperId, proof }) => [purpose, pepperId, proof.toString('hex')],
  )

beforeAll(async () => {
  const made = await organizationAdmin(world().context).createOrganization(
    {
      ...CreateOrganizationRequest.create({}),
      organization: { ...Organization.create({}), displayName: 'Example', profile: 'profiles/bitbybit' },
      requestId: randomUUID(),
    },
    call(),
  )
  parent = made.organization?.name ?? ''
})
beforeEach(async () => {
  world().passMs(60_000)
  await create(world().context)
})

test('the first key and the first admin key leave the proofs of their peppers', async () => {
  expect(await stored()).toEqual(proofsOfWorld())
})

describe('the wrong pepper of API keys', () => {
  async function* imported(): AsyncGenerator<ImportApiKeysRequest> {
    const header = { ...ImportApiKeysRequest_Header.create({}), parent, requestId: randomUUID() }
    yield { part: { $case: 'header', value: header } }
    const digest = createHash('sha256').update(randomUUID()).digest()
    const row = {
      ...ImportApiKeysRequest_Row.create({}),
      displayName: 'k',
      scopes: ['customers:READ'],
      environment: 'live',
      keyHint: 'bbb_live_…abcd',
      digest,
    }
    yield { part: { $case: 'row', value: row } }
  }

  test('makes no key: nothing is created, rotated or imported, and nothing is left of the attempt', async () => {
    const wrong = withPeppers({ peppers: [other('p1')] })
    const key = (await create(world().context)).apiKey?.name ?? ''
    const before = await footprint(world().client)
    const rotation = { ...RotateApiKeyRequest.create({}), name: key, requestId: randomUUID() }
    const attempts = [
      () => create(wrong),
      () => create(wrong, { validateOnly: true }),
      () => apiKeyAdmin(wrong).rotateApiKey(rotation, call()),
      () => apiKeyAdmin(wrong).importApiKeys(imported(), call()),
    ]
    for (const attempt of attempts) {
      const error = await refusal(attempt())
      expect([error.reason, error.code, error.details.subject]).toEqual([
        'PEPPER_MISMATCH',
        status.FAILED_PRECONDITION,
        'peppers/p1',
      ])
    }
    expect(await footprint(world().client)).toEqual(before)
    expect(await stored()).toEqual(proofsOfWorld())
    await apiKeyAdmin(world().context).rotateApiKey(rotation, call()) // the right one goes on
  })

  test('as the second of two is refused as well: an import would not know whether a key is there', async () => {
    const second = withPeppers({ peppers: [testPepper, other('p0')] })
    await create(second)
    expect((await stored()).map(([purpose, id]) => [purpose, id])).toContainEqual(['api_keys', 'p0'])
    const wrong = withPeppers({ peppers: [testPepper, other('p0')] })
    expect((await refusal(create(wrong))).details.subject).toBe('peppers/p0')
    await create(second)
    await world().client.query("DELETE FROM pepper_proofs WHERE pepper_id = 'p0'")
  })
})

describe('the wrong pepper of admin keys', () => {
  const wrong = () => withPeppers({ pepper: other(world().context.pepper.id) })

  test('calls no admin key invalid: the fault is told as one of the service, and counts against nobody', async () => {
    for (let attempt = 0; attempt < 40; attempt++) {
      const error = await refusal(accessAdmin(wrong()).whoAmI({}, call()))
      expect([error.reason, error.code]).toEqual(['PEPPER_MISMATCH', status.FAILED_PRECONDITION])
    }
    await accessAdmin(world().context).whoAmI({}, call())
  })

  test('makes no bootstrap token, and spends none', async () => {
    expect((await refusal(issueBootstrapToken(wrong(), true))).reason).toBe('PEPPER_MISMATCH')
    const token = await issueBootstrapToken(world().context, true)
    const root = { $case: 'adminKey', value: { displayName: 'root' } } as never
    const attempt = accessAdmin(wrong()).completeBootstrap({ token, root }, callWith())
    expect((await refusal(attempt)).reason).toBe('PEPPER_MISMATCH')
    await makeRoot(world().context, true)
  })
})

test('a key that is unknown under the right pepper is unknown', async () => {
  const stranger = callWith(`${world().rootKey.slice(0, 8)}${world().rootKey.slice(9, 10)}${world().rootKey.slice(9)}`)
  expect((await refusal(accessAdmin(world().context).whoAmI({}, stranger))).reason).toBe('ADMIN_KEY_INVALID')
})

test('on a schema one version older everything is as it was before there were proofs', async () => {
  await world().client.query('ALTER TABLE pepper_proofs RENAME TO to_come')
  try {
    await create(withPeppers({ peppers: [other('p1')] }))
    const error = await refusal(accessAdmin(withPeppers({ pepper: other('a1') })).whoAmI({}, call()))
    expect(error.reason).toBe('ADMIN_KEY_INVALID')
  } finally {
    await world().client.query('ALTER TABLE to_come RENAME TO pepper_proofs')
  }
})
