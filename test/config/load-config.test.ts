// The configuration is read whole or refused whole, and a refusal names every fault with what would be right.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Config, type Role, roles } from '../../src/config/config.ts'
import { renderFaults } from '../../src/config/fault.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { makePepperFile, readPepper } from '../../src/config/pepper-file.ts'
import { type Environment, knownEnvironmentNames } from '../../src/config/read-environment.ts'
import { readYaml } from '../../src/config/read-yaml.ts'
import { settingPaths } from '../../src/config/settings.ts'

let cwd = ''
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'gwc-'))
})
afterEach(() => {
  rmSync(cwd, { recursive: true })
})

function load(environment: Environment, role: Role = 'serve', yaml?: string) {
  if (yaml !== undefined) writeFileSync(join(cwd, 'gatewarden.yaml'), yaml)
  return loadConfig({ role, environment, cwd })
}

function config(environment: Environment, role: Role = 'serve', yaml?: string): Config {
  const result = load(environment, role, yaml)
  if (!result.ok) throw new Error(renderFaults(result.faults))
  return result.config
}

function faults(environment: Environment, role: Role = 'serve', yaml?: string): string {
  const result = load(environment, role, yaml)
  return result.ok ? 'no fault' : renderFaults(result.faults)
}

const checkEnvironment = {
  DATABASE_URL: 'postgres://gw@db/gw',
  GATEWARDEN_PEPPERS: 'p1=/run/p1',
  GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
}

describe('defaults', () => {
  it('serve needs no setting at all', () => {
    const found = config({ PATH: '/bin', HOME: '/' })
    expect(found.check.listen).toEqual([`unix:${cwd}/.gatewarden/check.sock`, '127.0.0.1:9001'])
    expect(found.clientAddress).toEqual({ mode: 'grpc-metadata' })
    expect(found.database.url).toBeNull()
    expect(found.admin.listen).toBe('127.0.0.1:9002')
    expect(found.profiles.dir).toBeNull()
    expect(Object.isFrozen(found.check.listen)).toBe(true)
  })

  it('./profiles is taken where it exists', () => {
    mkdirSync(join(cwd, 'profiles'))
    expect(config({}).profiles.dir).toBe(join(cwd, 'profiles'))
  })

  it('check without its needs ends with each of them named, and the five modes with when to take which', () => {
    const text = faults({}, 'check')
    expect(text).toContain('configuration: 3 faults')
    expect(text).toContain('client_address.mode (GATEWARDEN_CLIENT_ADDRESS_MODE): found nothing')
    for (const mode of ['grpc-metadata', 'trusted-header', 'xff-hops', 'xff-trusted-cidrs', 'source-address']) {
      expect(text).toMatch(new RegExp(`^    ${mode} `, 'm'))
    }
    expect(text).toContain('database.url (DATABASE_URL)')
    expect(text).toContain('peppers (GATEWARDEN_PEPPERS)')
  })
})

describe('sources', () => {
  it('environment variables win over the file', () => {
    const yaml = 'log: {level: debug}\nadmin: {listen: "127.0.0.1:1"}\n'
    const found = config({ GATEWARDEN_ADMIN_LISTEN: '127.0.0.1:2' }, 'serve', yaml)
    expect(found.admin.listen).toBe('127.0.0.1:2')
    expect(found.log.level).toBe('debug')
  })

  it('lists are separated by commas, members of objects have names of their own', () => {
    const found = config({
      ...checkEnvironment,
      GATEWARDEN_CHECK_LISTEN: 'unix:/run/gw/check.sock, [::1]:9001',
      GATEWARDEN_PEPPERS: 'p2=/run/p2,p1=rel/p1',
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-hops',
      GATEWARDEN_CLIENT_ADDRESS_HOPS: '2',
      GATEWARDEN_CLIENT_ADDRESS_APPENDED: 'false',
    })
    expect(found.check.listen).toEqual(['unix:/run/gw/check.sock', '[::1]:9001'])
    expect(found.peppers).toEqual([
      { id: 'p2', file: '/run/p2' },
      { id: 'p1', file: join(cwd, 'rel/p1') },
    ])
    expect(found.clientAddress).toEqual({ mode: 'xff-hops', hops: 2, appended: false })
  })

  it('a secret comes from the file that _FILE names, without its line end', () => {
    writeFileSync(join(cwd, 'url'), 'postgres://gw:pw@db/gw\n')
    expect(config({ DATABASE_URL_FILE: 'url' }).database.url).toBe('postgres://gw:pw@db/gw')
    expect(faults({ DATABASE_URL_FILE: 'missing' })).toContain(
      'DATABASE_URL_FILE: found "missing", which cannot be read (ENOENT)',
    )
  })

  it('one setting given under two names is a fault', () => {
    expect(faults({ DATABASE_URL: 'postgres://a/', GATEWARDEN_DATABASE_URL: 'postgres://b/' })).toContain(
      'DATABASE_URL and GATEWARDEN_DATABASE_URL: found the same setting more than once',
    )
  })

  it('a settings file that was asked for must exist', () => {
    const result = loadConfig({ role: 'serve', environment: {}, cwd, file: 'other.yaml' })
    expect(result.ok ? '' : renderFaults(result.faults)).toContain(
      'other.yaml: found a file that cannot be read (ENOENT)',
    )
  })

  it('what this version does not read yet is accepted and said', () => {
    const result = load({ REDIS_URL: 'redis://cache' })
    expect(result.ok && result.warnings).toEqual(['REDIS_URL is set, but this version does not use redis.url yet'])
  })
})

describe('faults', () => {
  it('all are reported at once, with name, found and accepted', () => {
    const yaml = 'log:\n  level: loud\nchekc: {listen: [x]}\nadmin:\n  listen: nowhere\n'
    const text = faults({ GATEWARDEN_CHECK_WORKERS: '0', GATEWARDEN_LOGLEVEL: 'info' }, 'serve', yaml)
    expect(text).toContain('configuration: 5 faults')
    expect(text).toContain('gatewarden.yaml:2:3 log.level: found "loud"; accepted: debug, info, warn or error')
    expect(text).toContain('gatewarden.yaml:3:1 chekc: found a name that is no setting')
    expect(text).toContain('gatewarden.yaml:5:3 admin.listen: found "nowhere"; accepted: host:port')
    expect(text).toContain('GATEWARDEN_CHECK_WORKERS: found 0; accepted: a whole number from 1 to 64')
    expect(text).toContain(
      'GATEWARDEN_LOGLEVEL: found a name that is no setting; accepted: a known variable; did you mean GATEWARDEN_LOG_LEVEL?',
    )
  })

  it.each([
    ['a: &x {b: 1}\nlog: *x', 'gatewarden.yaml:2:6: found the alias *x'],
    [
      'log: {level: info}\nlog: {level: warn}',
      'gatewarden.yaml:2:1: found a name that stands there already; accepted: each name once',
    ],
    ['- log', 'gatewarden.yaml:1:1: found ["log"]; accepted: an object of settings'],
    ['log: info', 'log: found "info"; accepted: an object: log.level'],
    ['log: {level: !!binary aGk=}', 'gatewarden.yaml:1:14: found a tag, or a value that does not fit it'],
    ['log: {level: [unclosed', 'gatewarden.yaml:'],
    ['x'.repeat(70_000), 'found 70000 characters'],
  ])('the file %j is refused with a position', (yaml, expected) => {
    expect(faults({}, 'serve', yaml)).toContain(expected)
  })

  it('the value of a secret setting is in no fault', () => {
    const text = faults({ DATABASE_URL: 'mysql://gw:hunter2@db' })
    expect(text).toContain('DATABASE_URL: found a value not shown here; accepted: a URL that begins with postgres://')
    expect(text).not.toContain('hunter2')
  })

  it('names that Kubernetes writes for a Service called gatewarden are no settings and no faults', () => {
    const links = {
      GATEWARDEN_SERVICE_HOST: '10.0.0.1',
      GATEWARDEN_SERVICE_PORT: '9001',
      GATEWARDEN_PORT: 'tcp://10.0.0.1:9001',
      GATEWARDEN_PORT_9001_TCP_ADDR: '10.0.0.1',
    }
    expect(faults(links)).toBe('no fault')
    expect(faults({ GATEWARDEN_PORT: '9001' })).toContain('GATEWARDEN_PORT: found a name that is no setting')
  })

  it.each([
    [{ GATEWARDEN_ADMIN_LISTEN: '0.0.0.0:9002' }, 'found 0.0.0.0:9002 without TLS'],
    [{ GATEWARDEN_ADMIN_LISTEN: 'admin.internal:9002' }, 'found admin.internal:9002 without TLS'],
    [{ GATEWARDEN_CHECK_LISTEN: '[::]:9001' }, 'found [::]:9001 without TLS'],
  ])('a listener beyond loopback without TLS is refused: %j', (environment, expected) => {
    expect(faults(environment)).toContain(expected)
  })

  it('a mode that trusts call metadata is refused where callers need no certificate', () => {
    for (const file of ['cert', 'key', 'ca']) writeFileSync(join(cwd, file), '')
    const environment = {
      GATEWARDEN_CHECK_LISTEN: '0.0.0.0:9001',
      GATEWARDEN_CHECK_TLS_CERT: 'cert',
      GATEWARDEN_CHECK_TLS_KEY: 'key',
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata',
    }
    expect(faults(environment)).toContain('open to callers without a certificate')
    expect(faults({ ...environment, GATEWARDEN_CHECK_TLS_CLIENT_CA: 'ca' })).toBe('no fault')
    expect(faults({ ...environment, GATEWARDEN_CHECK_TLS_KEY: 'absent' })).toContain('"absent", which does not exist')
  })

  it('an access log listener beyond loopback is refused where callers need no certificate', () => {
    for (const file of ['cert', 'key', 'ca']) writeFileSync(join(cwd, file), '')
    const tls = { GATEWARDEN_CHECK_TLS_CERT: 'cert', GATEWARDEN_CHECK_TLS_KEY: 'key' }
    const environment = { GATEWARDEN_ALS_LISTEN: 'unix:/run/gw/als.sock,0.0.0.0:9003' }
    for (const open of [environment, { ...environment, ...tls }]) {
      expect(faults(open)).toContain('found 0.0.0.0:9003, open to callers without a certificate')
    }
    expect(faults({ ...environment, ...tls, GATEWARDEN_CHECK_TLS_CLIENT_CA: 'ca' })).toBe('no fault')
    expect(config({}).als.listen).toEqual([`unix:${cwd}/.gatewarden/als.sock`, '127.0.0.1:9003'])
  })

  it('a facade on TCP, loopback too, is refused without certificates both ways and the names of its callers', () => {
    for (const file of ['cert', 'key', 'ca']) writeFileSync(join(cwd, file), '')
    const tls = { GATEWARDEN_ADMIN_TLS_CERT: 'cert', GATEWARDEN_ADMIN_TLS_KEY: 'key' }
    const environment = { GATEWARDEN_FACADE_LISTEN: '127.0.0.1:9004' }
    expect(faults(environment)).toContain('GATEWARDEN_FACADE_LISTEN: found 127.0.0.1:9004; accepted: a unix address')
    expect(faults({ ...environment, ...tls })).toContain('or also admin.tls.client_ca, facade.trusted_peers')
    const whole = {
      ...environment,
      ...tls,
      GATEWARDEN_ADMIN_TLS_CLIENT_CA: 'ca',
      GATEWARDEN_FACADE_TRUSTED_PEERS: 'a,b',
    }
    expect(config(whole).facade).toEqual({ listen: '127.0.0.1:9004', trustedPeers: ['a', 'b'] })
    expect(config({}).facade).toEqual({ listen: `unix:${cwd}/.gatewarden/facade.sock`, trustedPeers: [] })
    expect(faults({ ...checkEnvironment, ...environment }, 'check'), 'check has no facade').toBe('no fault')
  })

  it('a mode without its members is refused', () => {
    expect(faults({ ...checkEnvironment, GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-hops' }, 'check')).toMatch(
      /hops.*\n.*appended/,
    )
    expect(faults({ ...checkEnvironment, GATEWARDEN_CLIENT_ADDRESS_MODE: 'trusted-header' }, 'check')).toContain(
      'client_address.header',
    )
    expect(faults({ ...checkEnvironment, GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-trusted-cidrs' }, 'check')).toContain(
      'trusted_cidrs',
    )
  })

  it('a member of client_address that the mode does not read is refused, with the mode that reads it', () => {
    expect(faults({ GATEWARDEN_CLIENT_ADDRESS_HOPS: '1' })).toContain(
      'GATEWARDEN_CLIENT_ADDRESS_HOPS: found a value that client_address.mode grpc-metadata does not read; accepted: client_address.mode xff-hops with it, or nothing',
    )
    const mode = { ...checkEnvironment, GATEWARDEN_CLIENT_ADDRESS_APPENDED: 'true' }
    expect(faults(mode, 'check')).toContain('accepted: client_address.mode xff-hops or xff-trusted-cidrs with it')
    expect(faults({ GATEWARDEN_CLIENT_ADDRESS_HOPS: '1' }, 'admin'), 'admin has no such mode').not.toContain('hops')
  })

  it.each([
    [{ GATEWARDEN_METRICS_LISTEN: '127.0.0.1:9001' }, 'GATEWARDEN_METRICS_LISTEN', 'check.listen'],
    [{ GATEWARDEN_CHECK_LISTEN: '127.0.0.1:9090' }, 'GATEWARDEN_CHECK_LISTEN', 'metrics.listen'],
    [{ GATEWARDEN_METRICS_LISTEN: 'localhost:9002' }, 'GATEWARDEN_METRICS_LISTEN', 'admin.listen'],
    [{ GATEWARDEN_METRICS_LISTEN: '0.0.0.0:9003' }, 'GATEWARDEN_METRICS_LISTEN', 'als.listen'],
    [{ GATEWARDEN_METRICS_LISTEN: '[::]:9003' }, 'GATEWARDEN_METRICS_LISTEN', 'als.listen'],
    [
      { GATEWARDEN_FACADE_LISTEN: 'unix:/run/a/../x', GATEWARDEN_ADMIN_LISTEN: 'unix:/run/x' },
      'FACADE_LISTEN',
      'ADMIN_LISTEN',
    ],
    [{ GATEWARDEN_CHECK_LISTEN: 'unix:/x,unix:/x' }, 'GATEWARDEN_CHECK_LISTEN', 'the same setting'],
  ])('listeners that want one address are found, with both names: %j', (environment, blamed, other) => {
    const text = faults(environment)
    expect(text).toContain('configuration: 1 fault')
    expect(text).toMatch(new RegExp(`${blamed}: found \\S+, where .*${other.replace('.', '\\.')}.* listens as well`))
  })

  it.each([
    { GATEWARDEN_METRICS_LISTEN: '127.0.0.1:0', GATEWARDEN_ADMIN_LISTEN: '127.0.0.1:0' },
    { GATEWARDEN_METRICS_LISTEN: '127.0.0.2:9001' },
    { GATEWARDEN_METRICS_LISTEN: '[::1]:9001' },
    { GATEWARDEN_METRICS_LISTEN: 'metrics.internal:9001' },
  ])('listeners that do not meet are no fault: %j', environment => {
    expect(faults(environment)).toBe('no fault')
  })

  it("what a role does not open is in nobody's way, and workers count their ports up", () => {
    const admin = { ...checkEnvironment, GATEWARDEN_ADMIN_LISTEN: '127.0.0.1:9001' }
    expect(faults(admin, 'check')).toBe('no fault')
    expect(faults({ ...checkEnvironment, GATEWARDEN_CHECK_WORKERS: '2' }, 'check')).toBe('no fault')
    expect(faults({ ...checkEnvironment, GATEWARDEN_CHECK_WORKERS: '3' }, 'check')).toContain(
      'found 127.0.0.1:9003 for worker 3, where als.listen (GATEWARDEN_ALS_LISTEN) listens as well (127.0.0.1:9003 for worker 1)',
    )
  })

  it('one file for two peppers, or an id without its file, is refused', () => {
    expect(faults({ GATEWARDEN_PEPPERS: 'p1=./x,p2=x' })).toContain(
      'GATEWARDEN_PEPPERS: found "x" for pepper p2 and for pepper p1; accepted: a file of its own for each pepper',
    )
    expect(faults({ GATEWARDEN_PEPPERS: 'p1=x', GATEWARDEN_ADMIN_PEPPER_FILE: 'x' })).toContain(
      'GATEWARDEN_ADMIN_PEPPER_FILE: found "x" for the admin pepper and for pepper p1',
    )
    expect(faults({ GATEWARDEN_ADMIN_PEPPER_ID: 'a2' })).toContain('admin.pepper.file (GATEWARDEN_ADMIN_PEPPER_FILE)')
  })

  it('a directory that is a file is refused before anything is made in it', () => {
    writeFileSync(join(cwd, 'file'), '')
    for (const name of ['GATEWARDEN_DATA_DIR', 'GATEWARDEN_USAGE_SPOOL_DIR']) {
      expect(faults({ [name]: 'file' })).toContain(`${name}: found "file", which is no directory`)
    }
  })

  it('names the entry of a list that is wrong', () => {
    expect(faults({ GATEWARDEN_CHECK_LISTEN: 'unix:/x,300.1.1.1:1' })).toContain('found "300.1.1.1:1" as entry 2 of 2')
  })

  it('a flag wins over file and environment, and is named where it is wrong', () => {
    const sources = { role: 'check' as const, environment: { ...checkEnvironment, GATEWARDEN_CHECK_WORKERS: '2' }, cwd }
    const result = (text: string) => loadConfig({ ...sources, flags: { 'check.workers': { text, flag: '--workers' } } })
    const sound = result('1')
    expect(sound.ok && sound.config.check.workers).toBe(1)
    const faulty = result('many')
    expect(faulty.ok ? '' : renderFaults(faulty.faults)).toContain('--workers: found "many"; accepted: a whole number')
  })

  it('a file without end is not read to its end', () => {
    const result = loadConfig({ role: 'serve', environment: {}, cwd, file: '/dev/zero' })
    expect(result.ok ? '' : renderFaults(result.faults)).toContain('/dev/zero: found more than 262144 octets')
    expect(faults({ DATABASE_URL_FILE: '/dev/zero' })).toContain('cannot be read (EFBIG)')
    const nameless = loadConfig({ role: 'serve', environment: {}, cwd, file: '' })
    expect(nameless.ok ? '' : renderFaults(nameless.faults)).toContain('--config: found nothing')
  })

  it.each([
    ['chcek: {}', 'did you mean check?'],
    ['check: {tsl: {cert: x}}', 'did you mean check.tls?'],
    ['log: {level: }', 'log.level: found nothing; accepted: debug'],
    ['a: 1\n---\nb: 2', 'found a second document; accepted: one document'],
    ['log:\n\tlevel: info', 'found a tab; accepted: blanks'],
  ])('the file %j is answered in our words', (yaml, expected) => {
    expect(faults({}, 'serve', yaml)).toContain(expected)
  })

  it('a data directory too long for the sockets in it is refused', () => {
    expect(faults({ GATEWARDEN_DATA_DIR: `/${'d'.repeat(90)}` })).toContain('because unix sockets are made in it')
  })
})

describe('hostile input', () => {
  const names = knownEnvironmentNames()
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom(
      '',
      ',',
      '=',
      'a=b,',
      '-1',
      '1e9',
      'true',
      '[::1]:9001',
      'unix:',
      'unix:/x',
      '0.0.0.0:1',
      'postgres://',
      '__proto__',
    ),
  )

  it('no environment makes it throw, and no secret value comes back in a fault', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 6 }),
        fc.constantFrom(...roles),
        (environment, role) => {
          const canary = 'mysql://u:c4n4ry@h'
          const result = loadConfig({ role, environment: { ...environment, REDIS_URL: canary }, cwd })
          expect(result.ok).toBe(false)
          expect(result.ok ? '' : renderFaults(result.faults)).not.toContain('c4n4ry')
        },
      ),
      { numRuns: 300 },
    )
  })

  it('no YAML makes it throw', () => {
    const piece = fc.constantFrom(
      'log',
      ':',
      ' ',
      '\n',
      '  ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '!!map',
      '"',
      "'",
      '|',
      '>',
      '- ',
      '? ',
      'level',
      'check',
      'listen',
      '<<',
      '#',
      '%',
      '\t',
      '\u0000',
      'null',
      '~',
      '0x1',
      '__proto__',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), pieces => {
        const { values, faults: found } = readYaml(pieces.join(''), 'f.yaml')
        expect([...values.keys()].every(path => settingPaths.includes(path))).toBe(true)
        for (const fault of found) expect(fault.name).toMatch(/^f\.yaml/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('peppers', () => {
  it('a made pepper is read back, and read by its owner only', () => {
    const file = join(cwd, 'p1')
    makePepperFile(file)
    const read = readPepper({ id: 'p1', file })
    expect(read.ok && read.pepper.octets.length).toBe(32)
    expect(() => makePepperFile(file)).toThrow('EEXIST')
  })

  it.each([0o640, 0o604, 0o660, 0o777])('mode %o is refused', mode => {
    const file = join(cwd, 'p1')
    makePepperFile(file)
    chmodSync(file, mode)
    const read = readPepper({ id: 'p1', file })
    expect(read.ok ? '' : read.fault.found).toContain('readable by others')
  })

  it.each(['', 'ab'.repeat(31), `${'ab'.repeat(32)}0`, 'zz'.repeat(32), `${'ab'.repeat(32)}\n\n`])(
    'content %j is refused and not shown',
    content => {
      const file = join(cwd, 'p1')
      writeFileSync(file, content, { mode: 0o600 })
      const read = readPepper({ id: 'p1', file })
      expect(read.ok ? '' : renderFaults([read.fault])).toContain('is not 64 hex digits')
      expect(read.ok || content === '' ? '' : read.fault.found).not.toContain('abab')
    },
  )
})
