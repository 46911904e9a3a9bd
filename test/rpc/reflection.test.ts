import { fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { Client, credentials } from '@grpc/grpc-js'
import { afterEach, expect, test } from 'vitest'
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService,
} from '../../src/gen/grpc/reflection/v1/reflection.ts'
import { addReflection } from '../../src/rpc/reflection.ts'
import { createServer } from '../../src/rpc/server.ts'
import { listenAnywhere } from './harness.ts'

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

async function ask(questions: ServerReflectionRequest['messageRequest'][], version = 'v1') {
  const server = createServer()
  open.push(() => server.forceShutdown())
  addReflection(server, ['gatewarden.admin.v1.ApiKeyAdmin', 'grpc.health.v1.Health'])
  const client = new Client(await listenAnywhere(server), credentials.createInsecure())
  open.push(() => client.close())
  const { path, requestSerialize, responseDeserialize } = ServerReflectionService.serverReflectionInfo
  const stream = client.makeBidiStreamRequest(
    path.replace('.v1.', `.${version}.`),
    requestSerialize,
    responseDeserialize,
  )
  const answers: ServerReflectionResponse['messageResponse'][] = []
  stream.on('data', (reply: ServerReflectionResponse) => answers.push(reply.messageResponse))
  for (const messageRequest of questions) stream.write({ host: '', messageRequest })
  stream.end()
  await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject))
  return answers
}

function filesOf(answer: ServerReflectionResponse['messageResponse']) {
  if (answer?.$case !== 'fileDescriptorResponse') throw new Error(`not files: ${answer?.$case}`)
  return answer.value.fileDescriptorProto.map(octets => fromBinary(FileDescriptorProtoSchema, octets))
}

test('the registered services are listed, in v1 and v1alpha', async () => {
  for (const version of ['v1', 'v1alpha']) {
    const [answer] = await ask([{ $case: 'listServices', value: '' }], version)
    expect(answer).toEqual({
      $case: 'listServicesResponse',
      value: { service: [{ name: 'gatewarden.admin.v1.ApiKeyAdmin' }, { name: 'grpc.health.v1.Health' }] },
    })
  }
})

test('a service, a method, a nested message and a field resolve to files that import nothing missing', async () => {
  const symbols = [
    'gatewarden.admin.v1.ApiKeyAdmin',
    'gatewarden.admin.v1.ApiKeyAdmin.ImportApiKeys',
    'gatewarden.admin.v1.ImportApiKeysRequest.Row',
    'gatewarden.admin.v1.ApiKey.allowlist',
    'google.rpc.ErrorInfo',
  ]
  const answers = await ask(symbols.map(value => ({ $case: 'fileContainingSymbol', value })))
  expect(answers).toHaveLength(symbols.length)
  for (const answer of answers) {
    const files = filesOf(answer)
    const names = new Set(files.map(file => file.name))
    for (const file of files) for (const imported of file.dependency) expect(names).toContain(imported)
  }
  expect(filesOf(answers[0])[0]?.name).toBe('gatewarden/admin/v1/api_key_admin.proto')
})

test('files and extensions resolve by name and number', async () => {
  const answers = await ask([
    { $case: 'fileByFilename', value: 'google/rpc/error_details.proto' },
    {
      $case: 'fileContainingExtension',
      value: { containingType: 'google.protobuf.MethodOptions', extensionNumber: 72295728 },
    },
    { $case: 'allExtensionNumbersOfType', value: 'google.protobuf.FieldOptions' },
  ])
  expect(filesOf(answers[0])[0]?.name).toBe('google/rpc/error_details.proto')
  expect(filesOf(answers[1])[0]?.name).toBe('google/api/annotations.proto')
  expect(answers[2]).toMatchObject({ value: { extensionNumber: [1052] } })
})

test('what is unknown is NOT_FOUND, and the stream goes on', async () => {
  const answers = await ask([
    { $case: 'fileContainingSymbol', value: 'nobody.Knows' },
    { $case: 'fileByFilename', value: '../secrets' },
    { $case: 'listServices', value: '' },
  ])
  expect(answers.map(answer => answer?.$case)).toEqual(['errorResponse', 'errorResponse', 'listServicesResponse'])
})
