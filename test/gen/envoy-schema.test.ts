// Our minimal schemas say of every field what the full published ones say: number, type, label and oneof.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadSync } from '@grpc/proto-loader'
import { expect, test } from 'vitest'
import { protoFolder } from '../rpc/harness.ts'

const published = fileURLToPath(new URL('deps', import.meta.resolve('@grpc/grpc-js-xds/package.json')))
const publishedFolders = ['envoy-api', 'googleapis', 'xds', 'protoc-gen-validate'].map(name => join(published, name))

const files = [
  'envoy/service/auth/v3/external_auth.proto',
  'envoy/service/auth/v3/attribute_context.proto',
  'envoy/service/accesslog/v3/als.proto',
  'envoy/data/accesslog/v3/accesslog.proto',
  'envoy/config/core/v3/address.proto',
  'envoy/config/core/v3/base.proto',
  'envoy/type/v3/http_status.proto',
  'google/rpc/status.proto',
  'google/rpc/error_details.proto',
  'google/api/http.proto',
]

/** Published later than the copy that the package carries; a real Envoy checks the first, proto-loader clients the second. */
const newer = new Set([
  'envoy.service.auth.v3.CheckResponse.error_response',
  'google.rpc.BadRequest.FieldViolation.reason',
])

interface Field {
  readonly name: string
  readonly number: number
  readonly type: string
  readonly label: string
  readonly typeName: string
  readonly oneofIndex?: number
}

interface Message {
  readonly name: string
  readonly field: readonly Field[]
  readonly nestedType: readonly Message[]
  readonly oneofDecl: readonly { readonly name: string }[]
  readonly enumType: readonly EnumType[]
}

interface EnumType {
  readonly name: string
  readonly value: readonly { readonly name: string; readonly number: number }[]
}

/** Every field as `package.Message.field` → what is on the wire, and every enum value likewise. */
function factsOf(includeDirs: string[]): Map<string, string> {
  const facts = new Map<string, string>()
  const addEnum = (prefix: string, type: EnumType) => {
    for (const { name, number } of type.value) facts.set(`${prefix}.${type.name}.${name}`, String(number))
  }
  const addMessage = (prefix: string, message: Message) => {
    const path = `${prefix}.${message.name}`
    for (const field of message.field) {
      const oneof = message.oneofDecl[field.oneofIndex ?? -1]?.name ?? ''
      const type = [field.number, field.type, field.label, field.typeName, oneof].join(' ')
      facts.set(`${path}.${field.name}`, type)
    }
    for (const nested of message.nestedType) addMessage(path, nested)
    for (const nested of message.enumType) addEnum(path, nested)
  }
  for (const file of files) {
    for (const [name, definition] of Object.entries(loadSync(file, { includeDirs, keepCase: true }))) {
      const format = (definition as { format?: unknown }).format
      const prefix = name.slice(0, name.lastIndexOf('.'))
      // Nested types are also listed on their own; those are reached through their parents.
      if (/\.[A-Z]/.test(prefix)) continue
      const { type } = definition as { type?: unknown }
      if (format === 'Protocol Buffer 3 DescriptorProto') addMessage(prefix, type as Message)
      if (format === 'Protocol Buffer 3 EnumDescriptorProto') addEnum(prefix, type as EnumType)
    }
  }
  return facts
}

test('every field and enum value of ours is as published', () => {
  for (const file of files) {
    expect(
      publishedFolders.some(folder => existsSync(join(folder, file))),
      file,
    ).toBe(true)
  }
  const theirs = factsOf(publishedFolders)
  const ours = [...factsOf([protoFolder])].filter(([path]) => !path.startsWith('google.protobuf.') && !newer.has(path))
  const wrong = ours.filter(([path, facts]) => theirs.get(path) !== facts)
  expect(wrong.map(([path, facts]) => `${path}: ${facts}, published ${theirs.get(path)}`)).toEqual([])
  // Guards the guard: a comparison that sees nothing would pass.
  expect(ours.length).toBeGreaterThan(100)
  process.stdout.write(`${ours.length} fields and enum values compared\n`)
})
