// The words of `gatewarden profile lint|show`. Their work is loaded when one of them runs: no other command pays for the linter.
import type { Command, Flags } from './command.ts'
import { configFlag } from './connect.ts'

const lintFlags = {
  strict: { type: 'boolean', help: 'warnings count: exit 1' },
  inventory: {
    type: 'string',
    value: 'FILE',
    help: 'OpenAPI document, or lines of METHOD path: report operations without a rule',
  },
  json: { type: 'boolean', help: 'print JSON for scripts' },
} as const satisfies Flags

const showFlags = {
  ...configFlag,
  json: { type: 'boolean', help: 'print JSON for scripts' },
} as const satisfies Flags

/** `packaged` is the directory of the shipped profiles. */
export function profileCommands(packaged: string): readonly Command[] {
  return [
    {
      words: 'profile lint',
      summary: 'Check profile files; exit 0 clean, 1 warnings with --strict, 2 errors.',
      positionals: [{ name: 'FILE', help: 'profile file', many: true }],
      flags: lintFlags,
      run: async (invocation, io) => (await import('./profile.ts')).lintProfiles(invocation, io),
    },
    {
      words: 'profile show',
      summary: 'Show a profile as it is served, or list all.',
      positionals: [{ name: 'PROFILE', help: 'name or file', optional: true }],
      flags: showFlags,
      run: async (invocation, io) => (await import('./profile.ts')).showProfiles(packaged, invocation, io),
    },
  ]
}
