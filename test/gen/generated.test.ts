// The committed code is what the schemas generate, and the descriptor set can be read at run time.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { expect, test } from 'vitest'
import { rpcScopes } from '../../src/admin/permission.ts'
import { descriptorSetBase64 } from '../../src/gen/descriptor-set.ts'
import { protoFolder } from '../rpc/harness.ts'

const root = dirname(protoFolder)

async function filesUnder(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder, { recursive: true })).filter(name => name.endsWith('.ts')).sort()
  return new Map(
    await Promise.all(names.map(async name => [name, await readFile(join(folder, name), 'utf8')] as const)),
  )
}

test('generating again changes nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gw-gen-'))
  try {
    await promisify(execFile)(process.execPath, [join(root, 'node_modules/.bin/buf'), 'generate', '-o', folder], {
      cwd: root,
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` },
    })
    const [generated, committed] = [await filesUnder(join(folder, 'src/gen')), await filesUnder(join(root, 'src/gen'))]
    expect([...generated.keys()]).toEqual([...committed.keys()])
    for (const [name, text] of generated) expect(text === committed.get(name), name).toBe(true)
    expect(generated.size).toBeGreaterThan(20)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSetBase64, 'base64')))
const adminServices = [...registry].flatMap(type =>
  type.kind === 'service' && type.typeName.startsWith('gatewarden.admin.v1.') ? [type] : [],
)

test('every RPC of the interface has a row in the table of permissions, and no row is left over', () => {
  const rpcs = adminServices.flatMap(service => service.methods.map(method => `${service.name}/${method.name}`))
  expect(Object.keys(rpcScopes).sort()).toEqual(rpcs.sort())
  expect(rpcs.length).toBe(50)
})

test('every mutation can be repeated and tried, and answers with its revision', () => {
  const mutations = adminServices
    .flatMap(service => service.methods)
    .filter(method => method.output.fields.some(field => field.name === 'revision_token'))
    .filter(({ name }) => name !== 'GetRevision' && name !== 'ImportApiKeys')
  expect(mutations.length).toBeGreaterThan(20)
  for (const { name, input, output } of mutations) {
    const names = new Set(input.fields.map(field => field.name))
    expect([name, names.has('request_id'), names.has('validate_only')]).toEqual([name, true, true])
    expect(output.fields.map(field => field.name)).toContain('revision')
  }
})

test('a secret is a field of few requests and replies and of no resource', () => {
  const holders = [...registry].flatMap(type =>
    type.kind === 'message' && type.fields.some(field => field.name === 'secret') ? [type.name] : [],
  )
  expect(holders.sort()).toEqual([
    'CompleteBootstrapResponse',
    'CreateAdminKeyResponse',
    'CreateApiKeyResponse',
    'ExplainDecisionRequest',
    'LookupApiKeyRequest',
    'RotateAdminKeyResponse',
    'RotateApiKeyResponse',
  ])
})

test('no method whose request holds a secret puts it into a URL', () => {
  for (const method of adminServices.flatMap(service => service.methods)) {
    if (!method.input.fields.some(field => ['secret', 'digest', 'token'].includes(field.name))) continue
    const options = JSON.stringify(
      method.proto.options?.$unknown?.map(({ data }) => Buffer.from(data).toString('latin1')),
    )
    expect([method.name, /\*/.test(options ?? ''), /\/v1\//.test(options ?? '')]).toEqual([method.name, true, true])
  }
})
