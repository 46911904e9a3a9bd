// Compiles the `facade` block: answers as templates whose holes are filled when a call has been made, texts about fields, the
// members of a request. The linter runs the same code with its own fault sink, so what passes lint compiles.
import {
  type CompiledFacade,
  type CreateCall,
  type FacadeAnswer,
  type FacadeFault,
  type FacadeMember,
  type FacadeMessageName,
  type FacadeValueName,
  facadeFaults,
  facadeMessageNames,
  facadeValueNames,
} from './compiled-facade.ts'
import type { FieldPath } from './finding.ts'
import type { Part, Resolved, TemplateFault } from './placeholders.ts'
import type { Data } from './read-yaml.ts'
import { matchesPath } from './route-match.ts'
import { parseRoutePath } from './route-path.ts'
import { type Requirement, requirementOf } from './route-requirement.ts'
import type { ProfileDocument } from './schema.ts'
import { compileJson, type Resolve, type TemplateFaults, textParts } from './template.ts'

/** The parts of a profile that a facade is made of. */
export type FacadeSource = Pick<ProfileDocument, 'facade' | 'ids' | 'credential' | 'usage_log' | 'routes' | 'scopes'>

type CreateCallDocument = NonNullable<ProfileDocument['facade']>['create_api_key']
type Answer = 'success' | 'invalid' | 'metrics'

/** What only one kind of answer knows. */
const ofKey: ReadonlySet<FacadeValueName> = new Set([
  'api_key_id',
  'organization_id',
  'environment',
  'display_name',
  'description',
  'secret',
  'scopes',
  'allowlist',
  'expire_time',
  'create_time',
  'update_time',
  'usage_metrics',
])
const ofMetrics: ReadonlySet<FacadeValueName> = new Set(['total_requests', 'last_used_at'])
const values: ReadonlySet<FacadeValueName> = new Set([
  'secret',
  'scopes',
  'allowlist',
  'expire_time',
  'update_time',
  'usage_metrics',
  'last_used_at',
  'field_errors',
])
/** What a text about a field has a value for, beside `title`. */
const told: Readonly<Record<FacadeFault, readonly FacadeMessageName[]>> = {
  required: ['title'],
  too_long: ['title', 'max'],
  wrong_type: ['title'],
  unknown_scope: ['title', 'value'],
  not_grantable: ['title', 'value'],
  invalid_entry: ['title', 'value'],
  too_many: ['title', 'max'],
  invalid_time: ['title'],
  past_time: ['title'],
  unknown_field: [],
}

/** The facade of a sound profile. @throws Error for one that did not pass lint. */
export function compileFacade(source: FacadeSource, deploymentEnvironment: string): CompiledFacade | null {
  if (source.facade === null) return null
  const call = source.facade.create_api_key
  return {
    createApiKey: compileCreateCall(source, call, deploymentEnvironment, (_, { problem }) => {
      throw new Error(`facade: ${problem}`)
    }),
  }
}

/** Compiles the create call. `faults` gets the path from the root of the profile. */
export function compileCreateCall(
  source: FacadeSource,
  call: CreateCallDocument,
  deploymentEnvironment: string,
  faults: TemplateFaults,
): CreateCall {
  const base: FieldPath = ['facade', 'create_api_key']
  const at =
    (...path: FieldPath): TemplateFaults =>
    (inner, fault) =>
      faults([...path, ...inner], fault)
  const answer = (name: 'success' | 'invalid', body: Data, bodyAt: string): FacadeAnswer => {
    const { status, message } = call[name]
    const known = { source, answer: name, status, deploymentEnvironment }
    const parts = textParts(message, resolver({ ...known, message: undefined }), at(...base, name, 'message'))
    return { status, body: compileJson(body, resolver({ ...known, message: parts }), at(...base, bodyAt)) }
  }
  const rule = requirementAt(source.routes, call.method, call.path)
  const { metrics } = source.usage_log
  const ofCall = { source, answer: 'metrics', status: call.success.status, deploymentEnvironment } as const
  return {
    method: call.method,
    path: call.path,
    members: Object.entries(call.request).map(([name, member]) => memberOf(name, member)),
    requires: { mode: rule?.mode ?? 'all', scopes: rule?.scopes ?? [], join: source.scopes.join },
    success: answer('success', call.body as Data, 'body'),
    invalid: answer('invalid', call.invalid_body as Data, 'invalid_body'),
    usageMetrics:
      metrics === null
        ? null
        : compileJson(metrics as Data, resolver({ ...ofCall, message: undefined }), at('usage_log', 'metrics')),
    fieldMessages: compileMessages(call, at(...base, 'field_messages')),
  }
}

function memberOf(name: string, member: CreateCallDocument['request'][string]): FacadeMember {
  const { field, title, required, max_length: maxLength, nullable } = member
  return { name, field, title, required, maxLength: maxLength ?? null, nullable }
}

/** What the route rule of a path asks for; undefined: no rule maps it. A literal path wins over a template, as in a check. */
export function requirementAt(
  routes: ProfileDocument['routes'],
  method: string,
  path: string,
): Requirement | undefined {
  const base = routes.base_path.strip
  const inner = base !== '' && path.startsWith(`${base}/`) ? path.slice(base.length) : path
  if (base !== '' && inner === path && routes.base_path.required) return undefined
  const segments = inner.split('/').slice(1)
  const rules = routes.rules.filter(
    rule => Object.hasOwn(rule.methods, method) && matchesPath(parseRoutePath(rule.path), segments),
  )
  const rule = rules.find(each => each.path === inner) ?? rules[0]
  const value = rule?.methods[method]
  return value === undefined ? undefined : requirementOf(value)
}

interface Known {
  readonly source: FacadeSource
  readonly answer: Answer
  readonly status: number
  readonly deploymentEnvironment: string
  /** Undefined where the message is not known: in itself, and in what is part of an answer. */
  readonly message: readonly Part<FacadeValueName>[] | undefined
}

function resolver(known: Known): Resolve<FacadeValueName> {
  return name => resolveCompiled(name, known) ?? resolveValue(name, known)
}

/** What is known when the profile is compiled; undefined: nothing of that name. */
function resolveCompiled(name: string, known: Known): Resolved<FacadeValueName> | TemplateFault | undefined {
  switch (name) {
    case 'http_status':
      return { parts: [String(known.status)], kind: 'number' }
    case 'code':
      return { parts: null, kind: 'text' }
    case 'deployment_environment':
      return { parts: [known.deploymentEnvironment], kind: 'text' }
    case 'header_name':
      return { parts: [known.source.credential.sources[0]?.header ?? ''], kind: 'text' }
    case 'message':
      return known.message === undefined
        ? { problem: 'there is no message to insert here', mend: 'write the text out', perReason: false }
        : { parts: known.message, kind: 'text' }
    default:
      return undefined
  }
}

function resolveValue(name: string, { answer, source }: Known): Resolved<FacadeValueName> | TemplateFault {
  if (!isValue(name)) {
    const known = ['http_status', 'code', 'message', 'deployment_environment', 'header_name', ...facadeValueNames]
    const mend = `use one of ${known.join(', ')}`
    return { problem: `there is no placeholder \`${name}\` in the answers of a facade`, mend, perReason: false }
  }
  if (name === 'support_id' && source.ids.support === null) {
    const problem = 'the placeholder `support_id` has no value because `ids.support` is null'
    return { problem, mend: 'set a template there', perReason: false }
  }
  const where = homeOf(name)
  if (where === undefined || where.includes(answer))
    return { parts: [{ hole: name }], kind: name === 'total_requests' ? 'number' : values.has(name) ? 'value' : 'text' }
  const place = { success: '`body`', invalid: '`invalid_body`', metrics: '`usage_log.metrics`' }
  const mend = `it exists in ${where.map(each => place[each]).join(' and ')} only`
  return { problem: `the placeholder \`${name}\` has no value here`, mend, perReason: false }
}

/** The answers that have a value; undefined: all. */
function homeOf(name: FacadeValueName): readonly Answer[] | undefined {
  if (name === 'field_errors') return ['invalid']
  if (name === 'usage_metrics') return ['success']
  if (ofMetrics.has(name)) return ['metrics']
  return ofKey.has(name) ? ['success', 'metrics'] : undefined
}

function isValue(name: string): name is FacadeValueName {
  return (facadeValueNames as readonly string[]).includes(name)
}

function compileMessages(call: CreateCallDocument, faults: TemplateFaults): CreateCall['fieldMessages'] {
  const entries = facadeFaults.map(fault => {
    const resolve: Resolve<FacadeMessageName> = name => {
      const hole = facadeMessageNames.find(each => each === name)
      if (hole !== undefined && told[fault].includes(hole)) return { parts: [{ hole }], kind: 'text' }
      const mend = told[fault].length === 0 ? 'write the text out' : `use one of ${told[fault].join(', ')}`
      return { problem: `the placeholder \`${name}\` has no value in \`${fault}\``, mend, perReason: false }
    }
    return [fault, textParts(call.field_messages[fault], resolve, (path, problem) => faults([fault, ...path], problem))]
  })
  return Object.fromEntries(entries) as CreateCall['fieldMessages']
}
