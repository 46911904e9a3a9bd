// `unrenderable`, `unreachable`, `type` for the `facade` block: its answers can be written, and somebody who is known gets there.
import { compileCreateCall, requirementAt } from './compile-facade.ts'
import type { FacadeAnswer } from './compiled-facade.ts'
import { formatPath } from './finding.ts'
import { pathFault } from './lint-routes.ts'
import { lintRule } from './lint-rule.ts'

const base = ['facade', 'create_api_key']

export const lintFacade = [
  lintRule(['facade', 'ids', 'credential', 'usage_log', 'routes', 'scopes'], (profile, report) => {
    if (profile.facade === null) return
    const told = new Set<string>()
    const call = compileCreateCall(profile, profile.facade.create_api_key, 'production', (path, fault) => {
      const place = `${formatPath(path)} ${fault.problem}`
      if (!told.has(place)) report('unrenderable', path, `${fault.problem}; ${fault.mend}`)
      told.add(place)
    })
    if (told.size > 0) return
    for (const [name, answer] of [
      ['body', call.success],
      ['invalid_body', call.invalid],
    ] as const) {
      if (!isObject(answer)) {
        report('unrenderable', [...base, name], 'the body is not a JSON object; write a mapping of its members')
      }
    }
  }),
  lintRule(['facade'], ({ facade }, report) => {
    if (facade === null) return
    const { request, success, invalid } = facade.create_api_key
    const seen = new Map<string, string>()
    for (const [name, { field }] of Object.entries(request)) {
      const earlier = seen.get(field)
      if (earlier !== undefined) {
        const message = `\`${field}\` is already given by \`${earlier}\`; remove one of them`
        report('type', [...base, 'request', name, 'field'], message)
      }
      seen.set(field, name)
    }
    const label = Object.values(request).find(({ field }) => field === 'display_name')
    if (label?.required !== true) {
      const message = 'no member gives `display_name`, which every API key has; add one with `required: true`'
      report('type', [...base, 'request'], message)
    }
    if (success.status > 299) report('type', [...base, 'success', 'status'], 'a success has a status of 200 to 299')
    if (invalid.status < 400 || invalid.status > 499) {
      report('type', [...base, 'invalid', 'status'], 'a request that is refused has a status of 400 to 499')
    }
  }),
  lintRule(['facade', 'routes', 'upstream'], ({ facade, routes, upstream }, report) => {
    if (facade === null) return
    const { method, path } = facade.create_api_key
    const at = [...base, 'path']
    if (pathFault(path, 'significant') !== undefined || path.includes('{') || path.includes('*')) {
      report('unreachable', at, '`path` is not a canonical path of literals; correct it')
      return
    }
    const rule = requirementAt(routes, method, path)
    if (rule === undefined) {
      report('unreachable', at, `no route rule maps ${method} ${path}; add one that needs a scope`)
    } else if (rule.access === 'public') {
      report('unreachable', at, `the route rule of ${method} ${path} is public, so no caller is known; name a scope`)
    }
    for (const member of ['organization', 'api_key', 'environment'] as const) {
      if (upstream[member] !== null) continue
      report('unreachable', ['upstream', member], `\`${member}\` is null, but the facade reads it; name a header`)
    }
  }),
] as const

/** Literals of a template are written first: an object begins with its brace, a text or a value with a hole. */
function isObject({ body }: FacadeAnswer): boolean {
  return body.pieces[0]?.toString('utf8').startsWith('{') === true
}
