// The whole running product for the canary test: `gatewarden serve` with its log at debug, a real Envoy that logs what we tell it in
// dynamic metadata, an upstream, and an admin client that speaks the .proto files through another reader than our generated code.
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import {
  type Client,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import pg from 'pg'
import { openDirectory, settingsIn, untilPrinted } from '../bin/serving.ts'
import { editEnvoy } from '../e2e/edit-envoy.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { type Running, startGatewarden } from '../support/gatewarden-process.ts'
import { preparedDataDir } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'

/** A busy machine writes a snapshot of 100 MB in some seconds. */
const snapshotWithinMs = 60_000
const callDeadlineMs = 20_000

/** A request message as JSON, field by field. */
export type Message = Readonly<Record<string, unknown>>

/** What an admin call came to. */
export interface AdminAnswer {
  readonly reply: Message | null
  /** Everything of a refusal that reaches the caller: message, details, trailers. */
  readonly refusal: string
}

export interface RequestField {
  /** Names of fields from the request message down to one that holds text or octets. */
  readonly path: readonly string[]
  readonly repeated: boolean
  readonly octets: boolean
}

export interface AdminRpc {
  /** `ApiKeyAdmin/CreateApiKey`. */
  readonly name: string
  readonly streams: boolean
  readonly fields: readonly RequestField[]
}

export interface CanaryStack {
  readonly directory: string
  readonly dataDir: string
  readonly serve: Running
  readonly envoy: EnvoyProcess
  readonly adminKey: string
  readonly checkSocket: string
  readonly rpcs: readonly AdminRpc[]
  admin(rpc: string, message: Message, metadata?: Readonly<Record<string, string>>): Promise<AdminAnswer>
  /** Like `admin`, for messages of a client stream. */
  adminStream(rpc: string, messages: readonly Message[]): Promise<AdminAnswer>
  /** Like `admin`, for a reply in parts. */
  adminDownload(
    rpc: string,
    message: Message,
  ): Promise<{ readonly parts: readonly Message[]; readonly refusal: string }>
  metricsPage(): Promise<string>
  /** Octets of the usage spool as it lies on disk now. */
  spooled(): Buffer
  /** Every row of every table as text, table by table. */
  dump(): Promise<ReadonlyMap<string, string>>
  accessLog(): string
  /** A heap snapshot of the serving process; V8 collects garbage before it takes one. */
  heapSnapshot(): Promise<string>
  stopServe(): Promise<void>
  stop(): Promise<void>
}

const packageName = 'gatewarden.admin.v1'

function loadProtos() {
  const folder = repositoryFile('proto/gatewarden/admin/v1')
  const files = readdirSync(folder).map(name => join(folder, name))
  return loadSync(files, {
    includeDirs: [repositoryFile('proto')],
    longs: String,
    enums: String,
    defaults: false,
    oneofs: true,
  })
}

/** An access log line of everything that we tell Envoy of a decision. */
function withAccessLog(config: string, path: string): string {
  return editEnvoy(config, edit => {
    const text =
      '%DYNAMIC_METADATA(envoy.filters.http.ext_authz)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %FILTER_STATE(envoy.filters.http.ext_authz)%\n'
    edit.manager('edge')['access_log'] = [
      {
        name: 'envoy.access_loggers.file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path,
          log_format: { text_format_source: { inline_string: text } },
        },
      },
    ]
  })
}

export async function startCanaryStack(): Promise<CanaryStack> {
  const directory = openDirectory('gwc-')
  const dataDir = await preparedDataDir()
  const started: { stop(): Promise<unknown> }[] = []
  const stop = async () => {
    for (const part of started.reverse()) await part.stop()
    for (const each of [directory, dataDir]) rmSync(each, { recursive: true, force: true })
  }
  try {
    const upstream = await startUpstream()
    started.push(upstream)
    const environment = {
      ...settingsIn(directory),
      GATEWARDEN_DATA_DIR: dataDir,
      GATEWARDEN_LOG_LEVEL: 'debug',
      NODE_OPTIONS: `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${directory}`,
    }
    const serve = startGatewarden(['serve'], environment, directory)
    started.push({ stop: () => serve.stop('SIGINT') })
    await untilPrinted(serve, 'gatewarden keys create')
    const logFile = join(directory, 'envoy-access.log')
    const config = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
      listeners: ['edge'],
      clusters: {
        gatewarden: { socket: join(directory, 'check.sock') },
        gatewarden_als: { socket: join(directory, 'als.sock') },
        api: { port: upstream.port },
      },
    })
    const envoy = await startEnvoy(withAccessLog(config, logFile))
    started.push(envoy)
    const adminKey = readFileSync(join(dataDir, 'admin.key'), 'utf8').trim()
    const admin = openAdmin(`unix:${directory}/admin.sock`, adminKey)
    started.push({ stop: async () => admin.close() })
    return {
      directory,
      dataDir,
      serve,
      envoy,
      adminKey,
      checkSocket: join(directory, 'check.sock'),
      rpcs: admin.rpcs,
      admin: admin.call,
      adminStream: admin.stream,
      adminDownload: admin.download,
      metricsPage: () => httpText(join(directory, 'metrics.sock'), '/metrics'),
      spooled: () => octetsBelow(join(dataDir, 'spool')),
      dump: () => dumpTables(join(dataDir, 'postgres')),
      accessLog: () => readFileSync(logFile, 'utf8'),
      heapSnapshot: () => takeSnapshot(serve.pid, directory),
      stopServe: async () => {
        await serve.stop('SIGINT')
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

interface MethodShape {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestType: { readonly type: unknown }
}

function openAdmin(address: string, adminKey: string) {
  const definition = loadProtos()
  const loaded = loadPackageDefinition(definition)
  const constructors = packageName
    .split('.')
    .reduce((at, name) => at[name] as typeof loaded, loaded) as unknown as Readonly<
    Record<
      string,
      new (
        address: string,
        credentials: unknown,
      ) => Client & Readonly<Record<string, (...args: readonly unknown[]) => unknown>>
    >
  >
  const clients = new Map<string, InstanceType<(typeof constructors)[string]>>()
  const rpcs: AdminRpc[] = []
  for (const [name, service] of Object.entries(definition)) {
    const short = name.slice(packageName.length + 1)
    const make = constructors[short]
    if (!name.startsWith(packageName) || 'type' in service || make === undefined) continue
    clients.set(short, new make(address, credentials.createInsecure()))
    for (const [method, shape] of Object.entries(service as Readonly<Record<string, MethodShape>>)) {
      const type = shape.requestType.type
      rpcs.push({
        name: `${short}/${method}`,
        streams: shape.requestStream || shape.responseStream,
        fields: textFields(type, definition, []),
      })
    }
  }
  const metadataOf = (more: Readonly<Record<string, string>>) => {
    const metadata = new Metadata()
    for (const [name, value] of Object.entries({ authorization: `Bearer ${adminKey}`, ...more }))
      metadata.set(name, value)
    return metadata
  }
  const clientOf = (rpc: string) => {
    const [service = '', method = ''] = rpc.split('/')
    const client = clients.get(service)
    const start = client?.[method]
    if (client === undefined || start === undefined) throw new Error(`no RPC ${rpc}`)
    return start.bind(client)
  }
  const options = () => ({ deadline: Date.now() + callDeadlineMs })
  return {
    rpcs,
    close: () => {
      for (const client of clients.values()) client.close()
    },
    call: (rpc: string, message: Message, metadata: Readonly<Record<string, string>> = {}) =>
      new Promise<AdminAnswer>(resolve => {
        clientOf(rpc)(message, metadataOf(metadata), options(), (error: ServiceError | null, reply: Message) =>
          resolve(answerOf(error, reply)),
        )
      }),
    download: (rpc: string, message: Message) =>
      new Promise<{ parts: readonly Message[]; refusal: string }>(resolve => {
        const parts: Message[] = []
        const call = clientOf(rpc)(message, metadataOf({}), options()) as ClientReadableStream<Message>
        call.on('data', part => parts.push(part))
        call.on('error', error => resolve({ parts, refusal: answerOf(error as ServiceError, {}).refusal }))
        call.on('end', () => resolve({ parts, refusal: '' }))
      }),
    stream: (rpc: string, messages: readonly Message[]) =>
      new Promise<AdminAnswer>(resolve => {
        const call = clientOf(rpc)(metadataOf({}), options(), (error: ServiceError | null, reply: Message) =>
          resolve(answerOf(error, reply)),
        ) as {
          write(message: Message): void
          end(): void
        }
        for (const message of messages) call.write(message)
        call.end()
      }),
  }
}

function answerOf(error: ServiceError | null, reply: Message): AdminAnswer {
  if (error === null) return { reply, refusal: '' }
  const trailers = Object.entries(error.metadata.toJSON()).flatMap(([name, values]) =>
    values.map(value => `${name}: ${String(value)}`),
  )
  return { reply: null, refusal: [error.details, error.message, ...trailers].join('\n') }
}

interface FieldShape {
  readonly name: string
  readonly label: string
  readonly type: string
  readonly typeName: string
}

/** Every field of text or octets of a message, however deep. */
function textFields(type: unknown, definition: ReturnType<typeof loadProtos>, path: readonly string[]): RequestField[] {
  if (path.length > 3) return []
  const { field } = type as { readonly field: readonly FieldShape[] }
  return field.flatMap(({ name, label, type: kind, typeName }) => {
    const here = [...path, name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())]
    const repeated = label === 'LABEL_REPEATED'
    if (kind === 'TYPE_STRING' || kind === 'TYPE_BYTES')
      return [{ path: here, repeated, octets: kind === 'TYPE_BYTES' }]
    if (kind !== 'TYPE_MESSAGE') return []
    const inner = [typeName, typeName.replace(/^\./, ''), `${packageName}.${typeName}`]
      .map(each => definition[each])
      .find(each => each !== undefined)
    if (inner === undefined || !('type' in inner)) return []
    return textFields(inner.type, definition, repeated ? [...here, '0'] : here)
  })
}

function octetsBelow(folder: string): Buffer {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(name => join(folder, name))
  return Buffer.concat(
    files.map(file => {
      try {
        return statSync(file).isFile() ? readFileSync(file) : Buffer.alloc(0)
      } catch {
        return Buffer.alloc(0) // stored and removed meanwhile
      }
    }),
  )
}

function httpText(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, agent: false }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      response.on('end', () => resolve(text))
    })
    call.once('error', reject)
    call.end()
  })
}

async function dumpTables(socketFolder: string): Promise<ReadonlyMap<string, string>> {
  const client = new pg.Client({ host: socketFolder, user: 'postgres', database: 'postgres' })
  await client.connect()
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
    )
    const dumped = new Map<string, string>()
    for (const { name } of tables) {
      // Text of each row, and once more column by column as JSON, which writes octets and arrays otherwise.
      const { rows } = await client.query<{ line: string }>(
        `SELECT t::text || E'\\n' || to_jsonb(t)::text AS line FROM ${name} t`,
      )
      dumped.set(name, rows.map(row => row.line).join('\n'))
    }
    return dumped
  } finally {
    await client.end()
  }
}

async function takeSnapshot(pid: number, directory: string): Promise<string> {
  const snapshots = () => readdirSync(directory).filter(name => name.endsWith('.heapsnapshot'))
  const before = new Set(snapshots())
  process.kill(pid, 'SIGUSR2')
  return await until(
    'the heap snapshot is written',
    () => {
      const name = snapshots().find(each => !before.has(each))
      if (name === undefined) return undefined
      const path = join(directory, name)
      return statSync(path).size > 0 && endsWhole(path) && path
    },
    snapshotWithinMs,
  )
}

/** A snapshot is one JSON object. */
function endsWhole(path: string): boolean {
  const text = readFileSync(path)
  return /\]\s*\}\s*$/.test(text.subarray(-16).toString('latin1'))
}

/** An id for a request that changes something. */
export const newRequestId = (): string => randomUUID()
