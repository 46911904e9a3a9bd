// Dockerfile and docker-compose.yml, held as far as possible without an engine: every variable is a setting that the role accepts,
// sockets, volumes and ports fit together, nothing listens beyond its container but Envoy, nothing runs as root.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { type Role, roles } from '../../src/config/config.ts'
import { renderFaults } from '../../src/config/fault.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { commands } from './generated-tables.ts'
import { root } from './sources.ts'

interface Service {
  readonly image?: string
  readonly build?: string
  readonly user?: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
  readonly secrets?: readonly string[]
  readonly depends_on?: Readonly<Record<string, unknown>>
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly tmpfs?: readonly string[]
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
  readonly secrets: Readonly<Record<string, unknown>>
}

const read = (file: string) => readFileSync(join(root, file), 'utf8')
const compose = parse(read('docker-compose.yml'), { merge: true, maxAliasCount: 100 }) as Compose
const services = Object.entries(compose.services)
const ours = services.filter(([, { build }]) => build !== undefined)
const isRole = (word: string): word is Role => roles.some(role => role === word)

/** Environment of a service as the process would see it, with the secret file replaced by its content. */
function environmentOf({ environment = {} }: Service): Record<string, string> {
  const { DATABASE_URL_FILE: file, ...rest } = environment
  return {
    GATEWARDEN_DATA_DIR: '/data',
    ...rest,
    ...(file === undefined ? {} : { DATABASE_URL: 'postgres://gatewarden:x@postgres:5432/gatewarden' }),
  }
}

const pathsIn = (service: Service) => (service.volumes ?? []).map(each => each.split(':')[1] ?? '')

describe('docker-compose.yml', () => {
  it('has Envoy, PostgreSQL, Valkey, check and admin', () => {
    for (const name of ['envoy', 'postgres', 'valkey', 'check', 'admin'])
      expect(Object.keys(compose.services)).toContain(name)
  })

  it.each(ours)('%s is a command with settings that it accepts', (_name, service) => {
    const [word = 'client', ...flags] = service.command ?? []
    const role = isRole(word) ? word : 'client'
    const command = commands.find(each => each.words === role)
    for (const flag of flags) expect(Object.keys(command?.flags ?? {})).toContain(flag.replace('--', ''))
    const result = loadConfig({ role, environment: environmentOf(service), cwd: '/app' })
    expect(result.ok ? '' : renderFaults(result.faults)).toBe('')
  })

  it.each(ours)('%s cannot change its container, gain rights or be reached from outside', (_name, service) => {
    expect(service.read_only).toBe(true)
    expect(service.cap_drop).toEqual(['ALL'])
    expect(service.security_opt).toEqual(['no-new-privileges:true'])
    expect(service.ports).toBeUndefined()
    expect(service.user).toBeUndefined()
  })

  it.each(ours)('%s mounts every file that its settings name', (_name, service) => {
    const files = Object.entries(service.environment ?? {}).flatMap(([name, value]) =>
      name === 'GATEWARDEN_PEPPERS'
        ? value.split(',').map(pair => pair.split('=')[1] ?? '')
        : name.endsWith('_FILE')
          ? [value]
          : [],
    )
    const mounted = pathsIn(service)
    for (const file of files) expect(mounted.some(path => file === path || file.startsWith(`${path}/`))).toBe(true)
    for (const value of Object.values(service.environment ?? {})) {
      const socket = /^unix:(.*)\/[^/]+$/.exec(value)?.[1]
      if (socket !== undefined) expect(mounted).toContain(socket)
    }
  })

  it('volumes, secrets and dependencies are declared', () => {
    for (const [, service] of services) {
      const named = (service.volumes ?? []).map(each => each.split(':')[0] ?? '').filter(each => !each.startsWith('.'))
      for (const name of named) expect(Object.keys(compose.volumes)).toContain(name)
      for (const name of service.secrets ?? []) expect(Object.keys(compose.secrets)).toContain(name)
      for (const name of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(name)
      for (const path of (service.volumes ?? [])
        .map(each => each.split(':')[0] ?? '')
        .filter(each => each.startsWith('./envoy'))) {
        expect(existsSync(join(root, path))).toBe(true)
      }
    }
  })

  it('Envoy asks and logs where check listens, calls where the facade listens, and the command line calls where admin listens', () => {
    const envoy = read('envoy/envoy-uds.yaml')
    const { check, admin, cli, envoy: service } = compose.services
    const socket = check?.environment?.['GATEWARDEN_CHECK_LISTEN']?.replace('unix:', '')
    expect(envoy).toContain(`pipe: { path: ${socket} }`)
    const als = check?.environment?.['GATEWARDEN_ALS_LISTEN']?.replace('unix:', '')
    expect(envoy).toContain(`pipe: { path: ${als} }`)
    const facade = admin?.environment?.['GATEWARDEN_FACADE_LISTEN']?.replace('unix:', '')
    expect(envoy).toContain(`pipe: { path: ${facade} }`)
    expect(cli?.environment?.['GATEWARDEN_CLI_SERVER']).toBe(admin?.environment?.['GATEWARDEN_ADMIN_LISTEN'])
    expect(service?.ports).toEqual(['127.0.0.1:8080:8080'])
    expect(envoy).toContain('address: 0.0.0.0, port_value: 8080')
    expect(service?.user).toBe('65532:65532')
    expect(check?.environment?.['GATEWARDEN_CLIENT_ADDRESS_MODE']).toBe('grpc-metadata')
    expect(envoy).toContain('key: x-gatewarden-client-ip')
  })

  it('the API behind Envoy is a service with the name and port that Envoy knows', () => {
    const cluster = /socket_address: \{ address: (\w+), port_value: (\d+) \} \} \} \}\] \}\]\s*$/.exec(
      read('envoy/envoy-uds.yaml'),
    )
    expect(Object.keys(compose.services)).toContain(cluster?.[1])
    expect(compose.services['api']?.command?.join(' ')).toContain(`listen(${cluster?.[2]})`)
  })

  it('images have a version, but for our own', () => {
    for (const [, { image = '' }] of services)
      if (!image.startsWith('gatewarden')) expect(image).toMatch(/:v?\d+(\.\d+)*/)
  })
})

describe('Dockerfile', () => {
  const lines = read('Dockerfile')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  const of = (word: string) =>
    lines.filter(line => line.startsWith(`${word} `)).map(line => line.slice(word.length + 1))
  const known = new Set([
    'FROM',
    'WORKDIR',
    'COPY',
    'RUN',
    'LABEL',
    'USER',
    'ENV',
    'VOLUME',
    'STOPSIGNAL',
    'ENTRYPOINT',
    'CMD',
  ])

  it('uses instructions it needs and no others', () => {
    expect(lines.map(line => line.split(' ')[0] ?? '').filter(word => !known.has(word))).toEqual([])
  })

  it('runs in a second stage without shell, as 65532', () => {
    const [build = '', run = ''] = of('FROM')
    expect(build).toMatch(/^node:22\S* AS build$/)
    expect(run).toMatch(/^gcr\.io\/distroless\/nodejs22\S+:nonroot$/)
    expect(of('USER')).toEqual(['65532:65532'])
    expect(of('FROM').length).toBe(2)
  })

  it('copies what exists and is not ignored', () => {
    const ignored = read('.dockerignore')
      .split('\n')
      .filter(line => line !== '')
    const copies = of('COPY').filter(line => !line.includes('--from='))
    const sources = copies.flatMap(line =>
      line
        .split(' ')
        .filter(word => !word.startsWith('--'))
        .slice(0, -1),
    )
    expect(sources.length).toBeGreaterThan(5)
    for (const source of sources) {
      expect(existsSync(join(root, source))).toBe(true)
      expect(ignored).not.toContain(source.split('/')[0])
    }
  })

  it('installs without scripts and brings everything that is read at run time', () => {
    expect(of('RUN').join('\n')).toContain('npm ci --ignore-scripts')
    for (const path of ['./dist', './src/store/migrations', './profiles', './node_modules']) {
      expect(of('COPY').some(line => line.split(' ').at(-1) === path || line.endsWith('./'))).toBe(true)
    }
  })

  it('starts the command of package.json, with signals of its own', () => {
    const manifest = JSON.parse(read('package.json')) as { bin: { gatewarden: string } }
    expect(of('ENTRYPOINT')).toEqual([
      `["/nodejs/bin/node", "--disable-proto=delete", "/app/${manifest.bin.gatewarden}"]`,
    ])
    expect(of('STOPSIGNAL')).toEqual(['SIGTERM'])
    expect(of('CMD')).toEqual(['["serve"]'])
  })

  it('sets only settings that exist', () => {
    const names = of('ENV').flatMap(line =>
      [...line.matchAll(/(GATEWARDEN_\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value] as const),
    )
    const result = loadConfig({ role: 'serve', environment: Object.fromEntries(names), cwd: '/app' })
    expect(result.ok ? '' : renderFaults(result.faults)).toBe('')
  })
})
