// `gatewarden orgs …`: organizations, the isolation boundary.
import { OrganizationAdminService } from '../gen/gatewarden/admin/v1/organization_admin.ts'
import { Organization } from '../gen/gatewarden/admin/v1/resources.ts'
import { type Command, exitOk, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { type Connection, clientFlags, withConnection } from './connect.ts'
import { creationFields, creationFlags, finish, mutationFields, mutationFlags, withChange } from './mutation.ts'
import { listAll, listFlags } from './paging.ts'
import { organizationTable, organizationText } from './render.ts'
import { toJson } from './to-json.ts'
import { organizationName, parseLabels } from './values.ts'

const organization = { name: 'ORGANIZATION', help: 'organizations/ID or ID' } as const
const nameFlag = { type: 'string', value: 'TEXT', help: 'name for people' } as const
const labelFlag = { type: 'string', multiple: true, value: 'KEY=VALUE', help: 'label; repeat for more' } as const
const reasonFlag = { type: 'string', value: 'TEXT', help: 'why, for the audit log' } as const

const createFlags = {
  name: nameFlag,
  profile: { type: 'string', value: 'PROFILE', help: 'product profile its keys follow; never changes' },
  id: { type: 'string', value: 'ID', help: 'id of your choice, if it fits the profile' },
  label: labelFlag,
  ...creationFlags,
} as const satisfies Flags

const updateFlags = {
  name: nameFlag,
  label: { ...labelFlag, help: 'labels in place of the present ones; repeat for more, `none` for none' },
  ...mutationFlags,
} as const satisfies Flags

/** The value of a flag that must be given. @throws UsageError */
export function required(invocation: Invocation, flag: string): string {
  const value = invocation.text(flag)
  if (value === undefined) throw new UsageError(`--${flag} is missing.`)
  return value
}

/** A profile's resource name. */
function profileName(text: string): string {
  return text.startsWith('profiles/') ? text : `profiles/${text}`
}

/** The labels of a flag; `none` alone means none. */
export function labelsOf(invocation: Invocation): Map<string, string> {
  const given = invocation.list('label')
  return given.length === 1 && given[0] === 'none' ? new Map() : parseLabels(given, 'label')
}

function clientOf({ channel }: Connection) {
  return channel.client(OrganizationAdminService)
}

async function create(invocation: Invocation, io: Io) {
  const fields = {
    displayName: required(invocation, 'name'),
    profile: profileName(required(invocation, 'profile')),
    labels: labelsOf(invocation),
  }
  const request = {
    organization: Organization.create(fields),
    organizationId: invocation.text('id') ?? '',
    ...creationFields(invocation, io),
  }
  return withChange(invocation, io, request, async connection => {
    const reply = await clientOf(connection).createOrganization(request)
    return finish(reply, shown(reply.organization), invocation, io, connection)
  })
}

function shown(resource: Organization | undefined): string {
  return resource === undefined ? '' : organizationText(resource)
}

async function get(invocation: Invocation, io: Io) {
  const name = organizationName(invocation.positionals[0] ?? '')
  return withConnection(invocation, io, async connection => {
    const found = await clientOf(connection).getOrganization({ name, minRevision: '' })
    io.out(invocation.flag('json') ? `${JSON.stringify(toJson(found), null, 2)}\n` : organizationText(found))
    return exitOk
  })
}

async function list(invocation: Invocation, io: Io) {
  return withConnection(invocation, io, async connection => {
    const client = clientOf(connection)
    await listAll(invocation, io, organizationTable, async (pageSize, pageToken) => {
      const query = { filter: invocation.text('filter') ?? '', orderBy: invocation.text('order-by') ?? '' }
      const page = await client.listOrganizations({ ...query, pageSize, pageToken, minRevision: '' })
      return { items: page.organizations, nextPageToken: page.nextPageToken }
    })
    return exitOk
  })
}

async function update(invocation: Invocation, io: Io) {
  const name = organizationName(invocation.positionals[0] ?? '')
  const displayName = invocation.text('name')
  const relabelled = invocation.list('label').length > 0
  const updateMask = [...(displayName === undefined ? [] : ['display_name']), ...(relabelled ? ['labels'] : [])]
  if (updateMask.length === 0) throw new UsageError('nothing to change: give --name or --label.')
  const changed = Organization.create({ name, displayName: displayName ?? '', labels: labelsOf(invocation) })
  const request = { organization: changed, updateMask, ...mutationFields(invocation, io) }
  return withChange(invocation, io, request, async connection => {
    const reply = await clientOf(connection).updateOrganization(request)
    return finish(reply, shown(reply.organization), invocation, io, connection)
  })
}

function switchCommand(verb: 'suspend' | 'resume', summary: string): Command {
  return {
    words: `orgs ${verb}`,
    summary,
    positionals: [organization],
    flags: { reason: reasonFlag, ...mutationFlags },
    run: async (invocation, io) => {
      const name = organizationName(invocation.positionals[0] ?? '')
      const request = { name, reason: invocation.text('reason') ?? '', ...mutationFields(invocation, io) }
      return withChange(invocation, io, request, async connection => {
        const client = clientOf(connection)
        const reply = await (verb === 'suspend'
          ? client.suspendOrganization(request)
          : client.resumeOrganization(request))
        return finish(reply, shown(reply.organization), invocation, io, connection)
      })
    },
  }
}

export const organizationCommands: readonly Command[] = [
  { words: 'orgs create', summary: 'Create an organization.', positionals: [], flags: createFlags, run: create },
  { words: 'orgs get', summary: 'Show an organization.', positionals: [organization], flags: clientFlags, run: get },
  {
    words: 'orgs list',
    summary: 'List organizations.',
    positionals: [],
    flags: { ...listFlags, ...clientFlags },
    run: list,
  },
  {
    words: 'orgs update',
    summary: 'Change name or labels of an organization.',
    positionals: [organization],
    flags: updateFlags,
    run: update,
  },
  switchCommand('suspend', 'Deny every key of an organization until it is resumed.'),
  switchCommand('resume', 'End the suspension of an organization.'),
]
