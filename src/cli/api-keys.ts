// `gatewarden keys create|get|list|update|rotate`: API keys and their secrets. Commands that end or pause a key: api-key-states.ts.
// A secret is printed once, to standard output, and kept nowhere.
import { ApiKeyAdminService } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import type { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import { keyFields, keyFlags } from './api-key-fields.ts'
import { type Command, exitOk, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { type Connection, clientFlags, withConnection } from './connect.ts'
import {
  creationFields,
  creationFlags,
  finish,
  mutationFields,
  mutationFlags,
  pinnedInstant,
  warn,
  withChange,
} from './mutation.ts'
import { required } from './organizations.ts'
import { listAll, listFlags } from './paging.ts'
import { apiKeyTable, apiKeyText, secretText } from './render.ts'
import { toJson } from './to-json.ts'
import { apiKeyName, organizationName, parseDuration } from './values.ts'

export const keyPositional = { name: 'KEY', help: 'organizations/ORG/apiKeys/KEY, or ORG/KEY' } as const
export const organizationPositional = { name: 'ORGANIZATION', help: 'organizations/ID or ID' } as const

const callerFlag = {
  'caller-address': { type: 'string', value: 'ADDRESS', help: 'warn if the allowlist leaves this address out' },
} as const satisfies Flags

const createFlags = {
  ...keyFlags,
  environment: { type: 'string', value: 'NAME', help: 'environment of the key; default the first of the profile' },
  id: { type: 'string', value: 'ID', help: 'id of your choice, if it fits the profile' },
  ...callerFlag,
  ...creationFlags,
} as const satisfies Flags

const rotateFlags = {
  grace: {
    type: 'string',
    value: 'DURATION',
    help: 'how long the old secret still works, such as 24h; 0s ends it now; default that of the profile',
  },
  ...keyFlags,
  ...mutationFlags,
} as const satisfies Flags

/** The client of the service of API keys. */
export function keysOf({ channel }: Connection) {
  return channel.client(ApiKeyAdminService)
}

/** A key as text; nothing where the reply had none. */
export function shownKey(key: ApiKey | undefined): string {
  return key === undefined ? '' : apiKeyText(key)
}

async function create(invocation: Invocation, io: Io) {
  const parent = organizationName(invocation.positionals[0] ?? '')
  required(invocation, 'name')
  const { apiKey } = keyFields(invocation, io, '', invocation.text('environment') ?? '')
  const request = {
    parent,
    apiKey,
    apiKeyId: invocation.text('id') ?? '',
    callerAddress: invocation.text('caller-address') ?? '',
    ...creationFields(invocation, io),
  }
  const call = async (connection: Connection) => {
    const reply = await keysOf(connection).createApiKey(request)
    warn(reply.warnings, io)
    const text = shownKey(reply.apiKey) + secretText(reply.secret, reply.secretAlreadyDelivered, reply.apiKey?.name)
    return finish(reply, text, invocation, io, connection)
  }
  return withChange(invocation, io, request, call, pinnedInstant(invocation, 'expires', apiKey.expireTime))
}

async function get(invocation: Invocation, io: Io) {
  const name = apiKeyName(invocation.positionals[0] ?? '')
  return withConnection(invocation, io, async connection => {
    const found = await keysOf(connection).getApiKey({ name, minRevision: '' })
    io.out(invocation.flag('json') ? `${JSON.stringify(toJson(found), null, 2)}\n` : apiKeyText(found))
    return exitOk
  })
}

async function list(invocation: Invocation, io: Io) {
  const parent = organizationName(invocation.positionals[0] ?? '-')
  return withConnection(invocation, io, async connection => {
    const client = keysOf(connection)
    await listAll(invocation, io, apiKeyTable, async (pageSize, pageToken) => {
      const page = await client.listApiKeys({
        parent,
        filter: invocation.text('filter') ?? '',
        orderBy: invocation.text('order-by') ?? '',
        showDeleted: invocation.flag('show-deleted'),
        pageSize,
        pageToken,
        minRevision: '',
      })
      return { items: page.apiKeys, nextPageToken: page.nextPageToken }
    })
    return exitOk
  })
}

async function update(invocation: Invocation, io: Io) {
  const { apiKey, mask } = keyFields(invocation, io, apiKeyName(invocation.positionals[0] ?? ''))
  if (mask.length === 0) throw new UsageError('nothing to change: give a flag such as --name, --scope or --expires.')
  const callerAddress = invocation.text('caller-address') ?? ''
  const request = { apiKey, updateMask: mask, callerAddress, ...mutationFields(invocation, io) }
  const call = async (connection: Connection) => {
    const reply = await keysOf(connection).updateApiKey(request)
    warn(reply.warnings, io)
    return finish(reply, shownKey(reply.apiKey), invocation, io, connection)
  }
  return withChange(invocation, io, request, call, pinnedInstant(invocation, 'expires', apiKey.expireTime))
}

async function rotate(invocation: Invocation, io: Io) {
  const name = apiKeyName(invocation.positionals[0] ?? '')
  const grace = invocation.text('grace')
  const { apiKey, mask } = keyFields(invocation, io)
  const request = {
    name,
    gracePeriod: grace === undefined ? undefined : parseDuration(grace, 'grace'),
    overrides: mask.length === 0 ? undefined : apiKey,
    overridesMask: mask.length === 0 ? undefined : mask,
    ...mutationFields(invocation, io),
  }
  const call = async (connection: Connection) => {
    const reply = await keysOf(connection).rotateApiKey(request)
    warn(reply.warnings, io)
    const old = reply.predecessor === undefined ? '' : `\nThe key it replaces:\n${apiKeyText(reply.predecessor)}`
    const secret = secretText(reply.secret, reply.secretAlreadyDelivered, reply.apiKey?.name)
    return finish(reply, shownKey(reply.apiKey) + secret + old, invocation, io, connection)
  }
  return withChange(invocation, io, request, call, pinnedInstant(invocation, 'expires', apiKey.expireTime))
}

export const apiKeyCommands: readonly Command[] = [
  {
    words: 'keys create',
    summary: 'Create an API key and print its secret, once.',
    details: ['Without --scope and --all-scopes the profile decides what the key holds.'],
    positionals: [organizationPositional],
    flags: createFlags,
    run: create,
  },
  { words: 'keys get', summary: 'Show an API key.', positionals: [keyPositional], flags: clientFlags, run: get },
  {
    words: 'keys list',
    summary: 'List the API keys of an organization, or of all.',
    positionals: [{ ...organizationPositional, optional: true }],
    flags: {
      ...listFlags,
      'show-deleted': { type: 'boolean', help: 'deleted keys as well' },
      ...clientFlags,
    },
    run: list,
  },
  {
    words: 'keys update',
    summary: 'Change an API key; what has no flag stays.',
    positionals: [keyPositional],
    flags: { ...keyFlags, ...callerFlag, ...mutationFlags },
    run: update,
  },
  {
    words: 'keys rotate',
    summary: 'Replace an API key by a successor and print its secret, once.',
    details: ['The successor copies the key, but for what the flags say.'],
    positionals: [keyPositional],
    flags: rotateFlags,
    run: rotate,
  },
]
