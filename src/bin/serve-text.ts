// What `gatewarden serve` says to the person who started it: where it is, the admin key once, what to try.
import type { Frame } from './process-frame.ts'
import type { Profiles } from './profiles.ts'

/** Bound addresses. */
export interface ServingPorts {
  readonly check: readonly string[]
  readonly als: readonly string[]
  readonly admin: string
  readonly facade: string
  readonly metrics: string
}

/** Where everything is, and the first two commands to try. */
export function servingText({ config, version }: Frame, profiles: Profiles, ports: ServingPorts): string {
  const names = profiles.current().profiles.map(profile => profile.name)
  const database = config.database.url === null ? `PostgreSQL in ${config.dataDir}` : 'the one of DATABASE_URL'
  return [
    `gatewarden ${version} serves.`,
    `  check     ${ports.check.join(', ')}`,
    `  als       ${ports.als.join(', ')}`,
    `  admin     ${ports.admin}`,
    `  facade    ${ports.facade}`,
    `  metrics   ${ports.metrics}`,
    `  database  ${database}`,
    `  profiles  ${names.join(', ')}`,
    '',
    `  gatewarden orgs create --profile ${names[0] ?? 'PROFILE'} --name Example`,
    '  gatewarden keys create ORGANIZATION --name "first key" --scope SCOPE',
    '',
  ].join('\n')
}

/** The admin key, the one time it is shown. `file` null: it could not be kept. */
export function adminKeyText(secret: string, file: string | null): string {
  const kept =
    file === null ? 'It could not be kept: note it now.' : `It is kept in ${file}, where the command line finds it.`
  return `Admin key, shown this once:\n\n  ${secret}\n\n${kept}\n`
}
