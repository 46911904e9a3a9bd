// What exists only once is delivered, kept or told to be lost: where standard output takes nothing, where a file cannot be made,
// where the connection breaks. Nobody finds out by a missing key.
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Serving, startServing } from '../bin/serving.ts'
import { commandFile, runGatewarden } from '../support/gatewarden-process.ts'
import { repositoryFile } from '../support/repository-file.ts'

let serving: Serving
let organization = ''
beforeAll(async () => {
  serving = await startServing()
  const made = await serving.run('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example', '--json')
  organization = (JSON.parse(made.out) as { organization: { name: string } }).organization.name
}, 60_000)
afterAll(async () => {
  await serving.stop()
})

/** Runs the built command with its standard output where the shell text says. */
function into(redirection: string, ...args: string[]): { code: number | null; err: string } {
  const script = `"$0" "$@" ${redirection}`
  const ran = spawnSync('bash', ['-c', `set -o pipefail; ${script}`, process.execPath, commandFile(), ...args], {
    cwd: serving.directory,
    env: { PATH: process.env['PATH'], ...serving.environment },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { code: ran.status, err: ran.stderr }
}

const create = (...more: string[]) => [
  'keys',
  'create',
  organization,
  '--name',
  'k',
  '--scope',
  'customers:READ',
  ...more,
]
const secretForm = /bbb_live_[0-9A-Za-z]{20,}|gwa_[0-9A-Za-z]{10,}/

describe('standard output that takes nothing', () => {
  it.each([
    ['> /dev/full', 'ENOSPC', []],
    ['> /dev/full', 'ENOSPC', ['--json']],
    ['| true', 'EPIPE', []],
  ])('%s: a created key whose secret is lost is named with its mends', (redirection, reason, more) => {
    const { code, err } = into(redirection, ...create(...more))
    expect(code).toBe(74)
    expect(err).toContain(
      `gatewarden keys create: standard output cannot be written (${reason}). The change was made: revision `,
    )
    const name = /gatewarden keys rotate (organizations\/\S+\/apiKeys\/\S+) --grace 0s\n/.exec(err)?.[1] ?? ''
    expect(err).toContain(`gatewarden keys revoke ${name} --reason superseded\n`)
    expect(err).not.toMatch(secretForm)
    const again = into('', 'keys', 'rotate', name, '--grace', '0s')
    expect(again).toMatchObject({ code: 0 })
  })

  it('a rotated key likewise, and the key it names is the one without a secret', async () => {
    const made = await serving.run(...create('--json'))
    const { apiKey } = JSON.parse(made.out) as { apiKey: { name: string } }
    const { code, err } = into('> /dev/full', 'keys', 'rotate', apiKey.name)
    expect(code).toBe(74)
    const name = /keys rotate (\S+) --grace 0s/.exec(err)?.[1] ?? ''
    expect((await serving.run('keys', 'get', apiKey.name)).out).toMatch(new RegExp(`rotated to +${name}\n`))
    expect(err).not.toMatch(secretForm)
  })

  it('a change without a secret says that it was made', async () => {
    const { code, err } = into('> /dev/full', 'orgs', 'update', organization, '--name', 'Renamed')
    expect(code).toBe(74)
    expect(err).toMatch(/The change was made: revision \d+, token \S+\.\n/)
    expect(err).not.toContain('secret')
    expect((await serving.run('orgs', 'get', organization)).out).toContain('Renamed')
  })

  it('a list ends with 74: silently where the reader has gone, with a sentence where there is no room', () => {
    expect(into('| true', 'keys', 'list')).toEqual({ code: 74, err: '' })
    expect(into('> /dev/full', 'keys', 'list').err).toContain('standard output cannot be written (ENOSPC)')
    expect(into('> /dev/full', 'keys', 'list').code).toBe(74)
    expect(into('> /dev/full', 'usage', 'export', '-').code).toBe(74)
  })

  it('a refused call still says why, and a trial that nothing was changed', () => {
    const refused = into('> /dev/full', 'keys', 'get', 'nobody/none', '--json')
    expect(refused.err).toContain('ORGANIZATION_UNKNOWN')
    expect(refused.code).toBe(74)
    const tried = into('> /dev/full', ...create('--validate-only'))
    expect(tried.err).not.toContain('The change was made')
    expect(tried.code).toBe(74)
  })

  it('a bootstrap token that could not be printed is of use to nobody', () => {
    const { code, err } = into('> /dev/full', 'bootstrap', '--break-glass')
    expect(err).toContain('The token is lost and nobody can use it: run the command again.')
    expect(err).not.toContain('gwb_')
    expect(code).toBe(74)
  })

  it('a long list reaches a slow reader whole', () => {
    const profiles = join(serving.directory, 'many')
    mkdirSync(profiles)
    const copies = Array.from({ length: 9 }, (_, i) => `${i}.yaml`)
    for (const name of copies) copyFileSync(repositoryFile('profiles/bitbybit.yaml'), join(profiles, name))
    const script = `"$0" "$1" profile show --json | (sleep 0.3; cat)`
    const out = execFileSync('bash', ['-c', script, process.execPath, commandFile()], {
      cwd: serving.directory,
      env: { PATH: process.env['PATH'], GATEWARDEN_PROFILES_DIR: profiles },
      encoding: 'utf8',
    })
    expect((JSON.parse(out) as unknown[]).length).toBe(copies.length)
    expect(out.length).toBeGreaterThan(65_536)
  })
})

describe('bootstrap complete --save', () => {
  const token = async () =>
    (await runGatewarden(['bootstrap', '--break-glass'], serving.environment, serving.directory)).stdout.trim()
  const file = (name: string) => join(serving.directory, name)

  it('a file that is there, or cannot be made, is refused before the token is used', async () => {
    const once = await token()
    writeFileSync(file('there.key'), 'something of value')
    const there = await serving.run('bootstrap', 'complete', once, '--save', 'there.key')
    expect(there.err).toContain(`--save: ${file('there.key')} exists already; name a new file`)
    expect(there.code).toBe(1)
    expect(readFileSync(file('there.key'), 'utf8')).toBe('something of value')
    const nowhere = await serving.run('bootstrap', 'complete', once, '--save', 'nowhere/new.key')
    expect(nowhere.err).toContain(`${file('nowhere/new.key')} cannot be written (ENOENT)`)
    const made = await serving.run('bootstrap', 'complete', once, '--save', 'made.key', '--json')
    expect(made.code).toBe(0)
    const { adminKey, secret } = JSON.parse(made.out) as { adminKey: { name: string }; secret?: string }
    expect(adminKey.name).toMatch(/^adminKeys\//)
    expect(secret).toBeUndefined()
    expect(statSync(file('made.key')).mode & 0o777).toBe(0o600)
    expect(readFileSync(file('made.key'), 'utf8')).toMatch(/^gwa_\S+\n$/)
    expect((await serving.run('orgs', 'list', '--key-file', 'made.key')).code).toBe(0)
  }, 30_000)

  it('leaves no file where the token is refused or nothing answers', async () => {
    const refused = await serving.run('bootstrap', 'complete', 'gwb_none', '--save', 'left.key')
    expect(refused.err).toContain('BOOTSTRAP_TOKEN_INVALID')
    const away = ['--server', `unix:${file('away.sock')}`]
    expect((await serving.run('bootstrap', 'complete', 'gwb_none', '--save', 'left.key', ...away)).code).toBe(1)
    expect(existsSync(file('left.key'))).toBe(false)
  })

  it('a disk that is full is met before the token is used', async () => {
    const once = await token()
    // With a bound of 0 on the size of files nothing can be written to one.
    const script = 'ulimit -f 0; exec "$0" "$@"'
    const args = ['bootstrap', 'complete', once, '--save', 'full.key']
    const full = spawnSync('bash', ['-c', script, process.execPath, commandFile(), ...args], {
      cwd: serving.directory,
      env: { PATH: process.env['PATH'], ...serving.environment },
      encoding: 'utf8',
    })
    expect(full.stderr).toContain('full.key cannot be written (EFBIG)')
    expect(full.stderr).toContain('The token was not used.')
    expect(existsSync(file('full.key'))).toBe(false)
    expect((await serving.run('bootstrap', 'complete', once, '--save', 'full.key')).code).toBe(0)
  }, 30_000)

  it('without --save a key that could not be printed is named as lost', async () => {
    const { code, err } = into('> /dev/full', 'bootstrap', 'complete', await token())
    expect(err).toContain('The token is used and the admin key is lost: `gatewarden bootstrap --break-glass`')
    expect(err).not.toMatch(secretForm)
    expect(code).toBe(74)
  }, 30_000)
})

describe('a connection that breaks in the middle of a call', () => {
  let server: Http2Server
  const address = () => `unix:${join(serving.directory, 'breaking.sock')}`
  beforeAll(async () => {
    const sessions = new Set<ServerHttp2Session>()
    server = createServer()
    server.on('session', session => sessions.add(session))
    server.on('stream', stream => {
      stream.on('error', () => undefined)
      for (const session of sessions) session.destroy()
    })
    await new Promise<void>(resolve => server.listen(join(serving.directory, 'breaking.sock'), resolve))
  })
  afterAll(async () => {
    await new Promise(resolve => server.close(resolve))
  })

  it('names the flags that make the same command safe, with instants in place of durations', async () => {
    const { code, err } = await serving.run(...create('--expires', '90d'), '--server', address())
    expect(code).toBe(1)
    const flags = /The same command with (--request-id \S+ --expires \S+) is safe/.exec(err)?.[1]?.split(' ') ?? []
    expect(flags).toHaveLength(4)
    const plain = create(...flags)
    const first = await serving.run(...plain)
    const second = await serving.run(...plain)
    expect([first.code, second.code]).toEqual([0, 0])
    expect(/^name +(\S+)/m.exec(second.out)?.[1]).toBe(/^name +(\S+)/m.exec(first.out)?.[1])
    expect(second.out).toContain(`keys rotate ${/^name +(\S+)/m.exec(first.out)?.[1]} --grace 0s`)
  })

  it('tells scripts as well, and tells nothing of the kind of reads and trials', async () => {
    const told = await serving.run(...create('--json'), '--server', address())
    expect(JSON.parse(told.out)).toMatchObject({
      error: { code: 'UNAVAILABLE', repeatWith: /^--request-id / },
    } as object)
    for (const args of [['keys', 'list'], create('--validate-only')]) {
      const { err } = await serving.run(...args, '--server', address())
      expect(err).toContain('UNAVAILABLE')
      expect(err).not.toContain('--request-id')
    }
  })

  it('bootstrap complete says that the token may be used', async () => {
    const { err, code } = await serving.run('bootstrap', 'complete', 'gwb_x', '--server', address(), '--save', 'x.key')
    expect(err).toContain('Whether the token was used is not known')
    expect(existsSync(join(serving.directory, 'x.key'))).toBe(false)
    expect(code).toBe(1)
  })
})

describe('an import that is run again', () => {
  it('says which lines failed, that nothing was changed, and how to pass over what is there', async () => {
    const row = (n: number, more: object = {}) => ({
      display_name: 'old',
      environment: 'live',
      digest: String(n).repeat(64),
      key_hint: 'bbb_live_…ey01',
      ...more,
    })
    const text = [row(1), row(2)].map(each => JSON.stringify(each)).join('\n\n')
    writeFileSync(join(serving.directory, 'rows.jsonl'), `\uFEFF${text}\n`)
    expect((await serving.run('keys', 'import', organization, 'rows.jsonl')).code).toBe(0)
    const again = await serving.run('keys', 'import', organization, 'rows.jsonl')
    expect(again.code).toBe(1)
    expect(again.out).toMatch(/imported 0, skipped 0, failed 2\n {2}rows\.jsonl:1: A key with.*\n {2}rows\.jsonl:3: /)
    expect(again.err).toBe(
      'Nothing was changed.\n2 of the failed rows have digests of keys that exist already: if an earlier run imported them, --on-conflict skip passes over them and changes nothing.\n',
    )
    const skipped = await serving.run('keys', 'import', organization, 'rows.jsonl', '--on-conflict', 'skip')
    expect(skipped).toMatchObject({ code: 0, out: 'imported 0, skipped 2, failed 0\n', err: 'Nothing was changed.\n' })
    writeFileSync(join(serving.directory, 'wrong.jsonl'), JSON.stringify(row(3, { environment: 'x', scopes: ['y'] })))
    const wrong = await serving.run('keys', 'import', organization, 'wrong.jsonl')
    expect(wrong.out).toMatch(/wrong\.jsonl:1: .*environment.*; .*scopes\[0\]: /)
  })
})
