// Server reflection (v1, and v1alpha with the same messages) over the committed descriptor set.
// Every answer carries the files that the asked one imports, so that a client needs one round trip.
// Never registered unless the deployment asks for it: it shows the whole interface to whoever reaches the port.
import { createFileRegistry, type DescFile, fromBinary, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { type Server, status } from '@grpc/grpc-js'
import { descriptorSetBase64 } from '../gen/descriptor-set.ts'
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  type ServerReflectionServer,
  ServerReflectionService,
} from '../gen/grpc/reflection/v1/reflection.ts'

type Answer = NonNullable<ServerReflectionResponse['messageResponse']>
type Question = ServerReflectionRequest['messageRequest']

/** Adds reflection to a server. `services`: the full names it lists. */
export function addReflection(server: Server, services: readonly string[]): void {
  const answer = createAnswers(services)
  const implementation: ServerReflectionServer = {
    serverReflectionInfo(call) {
      call.on('data', (request: ServerReflectionRequest) => {
        call.write({
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(request.messageRequest),
        })
      })
      call.on('end', () => call.end())
    },
  }
  server.addService(ServerReflectionService, implementation)
  const { serverReflectionInfo } = ServerReflectionService
  const path = serverReflectionInfo.path.replace('.v1.', '.v1alpha.')
  server.addService({ serverReflectionInfo: { ...serverReflectionInfo, path } }, implementation)
}

/** The pure part: a question of the protocol to its answer. */
export function createAnswers(services: readonly string[]): (question: Question) => Answer {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSetBase64, 'base64')))
  const extensions = [...registry].filter(type => type.kind === 'extension')

  function fileOfSymbol(symbol: string): DescFile | undefined {
    // A method, field or enum value is found with the type that holds it.
    return (registry.get(symbol) ?? registry.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf('.')))))?.file
  }

  return question => {
    switch (question?.$case) {
      case 'fileByFilename':
        return withImports(registry.getFile(question.value), question.value)
      case 'fileContainingSymbol':
        return withImports(fileOfSymbol(question.value), question.value)
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value
        const found = extensions.find(
          type => type.extendee.typeName === containingType && type.number === extensionNumber,
        )
        return withImports(found?.file, containingType)
      }
      case 'allExtensionNumbersOfType': {
        if (registry.getMessage(question.value) === undefined) return notFound(question.value)
        const extensionNumber = extensions.filter(t => t.extendee.typeName === question.value).map(t => t.number)
        return {
          $case: 'allExtensionNumbersResponse',
          value: { baseTypeName: question.value, extensionNumber },
        }
      }
      case 'listServices':
        return { $case: 'listServicesResponse', value: { service: services.map(name => ({ name })) } }
      case undefined:
        return { $case: 'errorResponse', value: { errorCode: status.INVALID_ARGUMENT, errorMessage: 'no question' } }
    }
  }
}

function withImports(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return notFound(asked)
  const files = new Set<DescFile>([file])
  for (const found of files) for (const imported of found.dependencies) files.add(imported)
  const fileDescriptorProto = [...files].map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)))
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto } }
}

function notFound(asked: string): Answer {
  return { $case: 'errorResponse', value: { errorCode: status.NOT_FOUND, errorMessage: `not found: ${asked}` } }
}
