// The `facade` block: what compiles, and every way in which its answers could not be written or its call not be reached.
import { describe, expect, it } from 'vitest'
import { facadeFaults } from '../../src/profile/compiled-facade.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { compileText, profileText } from './documents.ts'

const text = profileText('bitgpt')

function edited(from: string, to: string): string {
  expect(text.split(from).length, `${from} occurs once`).toBe(2)
  return text.replace(from, () => to)
}

function findingsOf(profile: string): string[] {
  const { findings } = lintProfile(profile, { file: 'test.yaml' })
  return findings.filter(({ level }) => level === 'error').map(({ code, field }) => `${code} ${field}`)
}

const at = (place: string) => `facade.create_api_key.${place}`

describe('a sound facade', () => {
  const call = compileText(text).facade?.createApiKey

  it('keeps method, path, members in their order and what the route asks for', () => {
    expect(call).toMatchObject({ method: 'POST', path: '/developers/api_keys' })
    expect(call?.requires).toEqual({ mode: 'all', scopes: ['api_keys.create'], join: ', ' })
    expect(call?.members.map(({ name, field }) => [name, field])).toEqual([
      ['label', 'display_name'],
      ['description', 'description'],
      ['scopes', 'scopes'],
      ['ip_allow_list', 'allowlist'],
      ['expires_at', 'expire_time'],
    ])
    expect(Object.keys(call?.fieldMessages ?? {})).toEqual([...facadeFaults])
  })

  it('is frozen, holes and all', () => {
    expect(Object.isFrozen(call?.success.body.holes)).toBe(true)
    expect(Object.isFrozen(call?.members[0])).toBe(true)
  })

  it('profiles without one have none; the offset of times is in minutes', () => {
    expect(compileText(profileText('billoget')).facade).toBeNull()
    expect(compileText(edited('offset: "+00:00"', 'offset: "-05:30"')).timestamps).toEqual({
      format: 'YYYY-MM-DD HH:MM:SS',
      offsetMinutes: -330,
    })
  })
})

/** What is wrong, the edit, and the findings. */
type Case = readonly [string, string, string, readonly (readonly [code: string, field: string])[]]

describe('what is refused', () => {
  const cases: readonly Case[] = [
    [
      'an unknown placeholder',
      'label: {$: display_name}',
      'label: {$: displayname}',
      [['unrenderable', at('body.data.label')]],
    ],
    [
      'a value inside a text',
      'label: {$: display_name}',
      'label: "{scopes}"',
      [['unrenderable', at('body.data.label')]],
    ],
    [
      'the secret in an error',
      'validator: {$: field_errors}',
      'validator: {$: secret}',
      [['unrenderable', at('invalid_body.validator')]],
    ],
    [
      'field errors in a success',
      'secret: {$: secret}',
      'secret: {$: field_errors}',
      [['unrenderable', at('body.data.secret')]],
    ],
    [
      'the id of a decision, which the facade does not know',
      'secret: {$: secret}',
      'secret: {$: decision_id}',
      [['unrenderable', at('body.data.secret')]],
    ],
    [
      'counts outside of the metrics',
      'secret: {$: secret}',
      'secret: {$: total_requests}',
      [['unrenderable', at('body.data.secret')]],
    ],
    [
      'a placeholder of the metrics that is not of a key',
      'total_requests: {$: total_requests}',
      'total_requests: {$: usage_metrics}',
      [['unrenderable', 'usage_log.metrics.total_requests']],
    ],
    [
      'a message inside itself',
      'message: Resource created successfully',
      'message: "{message}"',
      [['unrenderable', at('success.message')]],
    ],
    [
      'a text about a member that names what it has not',
      'required: "{title} is required"',
      'required: "{title} {value}"',
      [['unrenderable', at('field_messages.required')]],
    ],
    [
      'a title of what has none',
      'unknown_field: "Unknown field"',
      'unknown_field: "{title}"',
      [['unrenderable', at('field_messages.unknown_field')]],
    ],
    [
      'a lone brace',
      'wrong_type: "{title} has the wrong type"',
      'wrong_type: "{title has"',
      [['unrenderable', at('field_messages.wrong_type')]],
    ],
    [
      'a support id without a template',
      'support: "support_{uuidv7}"',
      'support: null',
      [
        ['unrenderable', 'errors.body.support_id'],
        ['unrenderable', at('invalid_body.support_id')],
      ],
    ],
    [
      'two members for one setting',
      '{field: scopes, title: Scopes}',
      '{field: description, title: Scopes}',
      [['type', at('request.scopes.field')]],
    ],
    [
      'a name that nobody must give',
      'title: Label, required: true',
      'title: Label, required: false',
      [['type', at('request')]],
    ],
    ['a success that is none', 'success: {status: 200', 'success: {status: 400', [['type', at('success.status')]]],
    ['a refusal that is none', 'invalid: {status: 400', 'invalid: {status: 200', [['type', at('invalid.status')]]],
    [
      'a path that no rule maps',
      '    path: /developers/api_keys\n',
      '    path: /developers/keys\n',
      [['unreachable', at('path')]],
    ],
    [
      'a path with a parameter',
      '    path: /developers/api_keys\n',
      '    path: /developers/{id}\n',
      [['unreachable', at('path')]],
    ],
    [
      'a path that is refused before any rule',
      '    path: /developers/api_keys\n',
      '    path: /developers//api_keys\n',
      [['unreachable', at('path')]],
    ],
    ['a method that no rule maps', '    method: POST\n', '    method: PUT\n', [['unreachable', at('path')]]],
    [
      'a rule that is public',
      'methods: {POST: api_keys.create}',
      'methods: {POST: public}',
      [['unreachable', at('path')]],
    ],
    [
      'a header that the facade reads and nobody sets',
      'facade:\n',
      'upstream: {api_key: null}\nfacade:\n',
      [['unreachable', 'upstream.api_key']],
    ],
    ['a missing text', 'past_time: "{title} is in the past", ', '', [['type', at('field_messages.past_time')]]],
    [
      'a text for no fault',
      'unknown_field: "Unknown field"',
      'unknown_field: "Unknown field", odd: x',
      [['unknown_field', at('field_messages.odd')]],
    ],
  ]
  it.each(cases)('%s', (_, from, to, expected) => {
    const found = findingsOf(edited(from, to))
    for (const each of expected) expect(found).toContain(each.join(' '))
  })

  it('a body that is a text', () => {
    const whole = /\n {4}invalid_body: .*/.exec(text)?.[0] ?? ''
    expect(findingsOf(edited(whole, '\n    invalid_body: "{message}"'))).toEqual([`unrenderable ${at('invalid_body')}`])
  })
})
