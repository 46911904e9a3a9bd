// Every client command against a real service: what it changes, what it prints for people and for scripts, how a refusal reads.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ran, type Serving, startServing } from '../bin/serving.ts'
import { runGatewarden } from '../support/gatewarden-process.ts'

let serving: Serving
let organization = ''
beforeAll(async () => {
  serving = await startServing()
  organization = String(
    field(
      await serving.run('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example', '--json'),
      'organization',
      'name',
    ),
  )
}, 60_000)
afterAll(async () => {
  await serving.stop()
})

function field(ran: Ran, ...path: readonly string[]): unknown {
  if (ran.code !== 0) throw new Error(ran.err)
  return path.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], JSON.parse(ran.out))
}

async function createKey(...flags: readonly string[]): Promise<{ name: string; secret: string }> {
  const ran = await serving.run(
    'keys',
    'create',
    organization,
    '--name',
    'test key',
    '--scope',
    'customers:READ',
    ...flags,
    '--json',
  )
  return { name: String(field(ran, 'apiKey', 'name')), secret: String(field(ran, 'secret')) }
}

const state = async (name: string) => field(await serving.run('keys', 'get', name, '--json'), 'state')

describe('organizations', () => {
  it('are created, shown, listed, changed, suspended and resumed', async () => {
    const made = await serving.run('orgs', 'create', '--profile', 'bitgpt', '--name', 'Second', '--label', 'tier=gold')
    expect(made.out).toMatch(/display name +Second\n/)
    expect(made.out).toMatch(/labels +tier=gold\n/)
    expect(made.err).toMatch(/^revision \d+, token \S+\n$/)
    const name = /^name +(\S+)$/m.exec(made.out)?.[1] ?? ''
    expect((await serving.run('orgs', 'list')).out).toContain(name)
    expect((await serving.run('orgs', 'get', name.split('/')[1] ?? '')).out).toContain('profiles/bitgpt')
    const renamed = await serving.run('orgs', 'update', name, '--name', 'Renamed', '--label', 'none')
    expect(renamed.out).toMatch(/display name +Renamed/)
    expect(renamed.out).not.toContain('tier')
    expect((await serving.run('orgs', 'suspend', name, '--reason', 'unpaid')).out).toMatch(/state +suspended/)
    expect((await serving.run('orgs', 'resume', name)).out).toMatch(/state +active/)
  })
})

describe('API keys', () => {
  it('a secret is printed once, for people with a note', async () => {
    const { out, code } = await serving.run(
      'keys',
      'create',
      organization,
      '--name',
      'ci',
      '--scope',
      'customers:READ',
      '--scope',
      'orders:READ',
      '--allow',
      '203.0.113.0/24=Office',
      '--expires',
      '90d',
      '--limit',
      '100/1m',
      '--label',
      'a=b',
      '--description',
      'for ci',
      '--environment',
      'test',
    )
    expect(code).toBe(0)
    const secret = /bbb_test_[0-9A-Za-z]{38}/.exec(out)?.[0] ?? ''
    expect(out.split(secret).length).toBe(2)
    expect(out).toContain('This is the secret. It is shown this once')
    for (const line of [
      /state +active/,
      /scopes +customers:READ, orders:READ/,
      /allowlist +203\.0\.113\.0\/24 \(Office\)/,
      /rate limit +100\/1m/,
      /labels +a=b/,
      /environment +test/,
      /expires +20\d\d-/,
    ]) {
      expect(out).toMatch(line)
    }
    const name = /^name +(\S+)$/m.exec(out)?.[1] ?? ''
    expect((await serving.run('keys', 'get', name)).out).not.toContain(secret)
  })

  it('the same request id gives the same key without the secret', async () => {
    const id = 'f81d4fae-7dec-4a1d-8765-00a0c91e6bf6'
    const first = await createKey('--request-id', id)
    const again = await serving.run(
      'keys',
      'create',
      organization,
      '--name',
      'test key',
      '--scope',
      'customers:READ',
      '--request-id',
      id,
    )
    expect(again.out).toContain(first.name)
    expect(again.out).not.toContain(first.secret)
    expect(again.out).toContain('cannot be shown again')
  })

  it('--validate-only changes nothing', async () => {
    const before = (await serving.run('keys', 'list', organization, '--json')).out
    const tried = await serving.run(
      'keys',
      'create',
      organization,
      '--name',
      'never',
      '--scope',
      'customers:READ',
      '--validate-only',
    )
    expect(tried.code).toBe(0)
    expect(tried.err).toContain('Nothing was changed')
    expect(tried.out).not.toContain('bbb_live_0')
    expect((await serving.run('keys', 'list', organization, '--json')).out).toBe(before)
  })

  it('are listed by filter and order, with a hint when there are more', async () => {
    await createKey('--label', 'team=red')
    await createKey('--label', 'team=red')
    const red = field(
      await serving.run(
        'keys',
        'list',
        organization,
        '--filter',
        'labels.team = "red"',
        '--order-by',
        'create_time desc',
        '--json',
      ),
    )
    expect((red as unknown[]).length).toBe(2)
    const one = await serving.run('keys', 'list', '--filter', 'labels.team = "red"', '--max', '1')
    expect(one.err).toContain('There are more than 1')
    expect(one.out.split('\n').filter(line => line !== '').length).toBe(2)
  })

  it('change what a flag says and nothing else', async () => {
    const { name } = await createKey('--description', 'kept', '--limit', '10/1h', '--expires', '1d')
    const { out } = await serving.run(
      'keys',
      'update',
      name,
      '--name',
      'new name',
      '--expires',
      'never',
      '--allow',
      '198.51.100.7',
      '--limit',
      'default',
    )
    expect(out).toMatch(/display name +new name/)
    expect(out).toMatch(/description +kept/)
    expect(out).toMatch(/expires +never/)
    expect(out).toMatch(/allowlist +198\.51\.100\.7\/32/)
    expect(out).not.toMatch(/rate limit/)
    const cleared = await serving.run('keys', 'update', name, '--allow', 'none')
    expect(cleared.out).toMatch(/allowlist +none/)
  })

  it('rotate, extend and finish', async () => {
    const { name, secret } = await createKey()
    const rotated = await serving.run('keys', 'rotate', name, '--grace', '1h', '--name', 'successor')
    expect(rotated.out).toMatch(/display name +successor/)
    expect(rotated.out).toContain('The key it replaces:')
    const next = /bbb_live_[0-9A-Za-z]{38}/.exec(rotated.out)?.[0]
    expect(next).toBeDefined()
    expect(next).not.toBe(secret)
    expect(await state(name)).toBe('ROTATING_OUT')
    expect((await serving.run('keys', 'extend', name, '--until', '2h')).out).toMatch(/grace ends +20/)
    expect((await serving.run('keys', 'finish', name)).out).toMatch(/state +expired/)
  })

  it('suspend, resume, expire, delete, undelete and revoke', async () => {
    const { name } = await createKey()
    expect((await serving.run('keys', 'suspend', name, '--reason', 'abuse')).out).toMatch(/suspended +20.*\(abuse\)/)
    expect((await serving.run('keys', 'resume', name)).out).toMatch(/state +active/)
    expect((await serving.run('keys', 'delete', name)).out).toMatch(/state +deleted/)
    expect((await serving.run('keys', 'undelete', name)).out).toMatch(/state +active/)
    expect((await serving.run('keys', 'revoke', name, '--reason', 'leaked', '--comment', 'in a log')).out).toMatch(
      /revoked +20.*\(leaked: in a log\)/,
    )
    const other = await createKey()
    expect((await serving.run('keys', 'expire', other.name)).out).toMatch(/state +expired/)
  })

  it('import from JSON Lines of digests', async () => {
    const digest = (secret: string) => createHash('sha256').update(secret).digest('hex')
    const row = {
      display_name: 'old',
      environment: 'live',
      digest: digest('bbb_live_importedkey01'),
      key_hint: 'bbb_live_…ey01',
      scopes: ['customers:READ'],
    }
    writeFileSync(join(serving.directory, 'in.jsonl'), `${JSON.stringify(row)}\n`)
    const first = await serving.run('keys', 'import', organization, 'in.jsonl')
    expect(first.out).toContain('imported 1, skipped 0, failed 0')
    const again = await serving.run('keys', 'import', organization, 'in.jsonl')
    expect(again.out).toMatch(/imported 0, skipped 0, failed 1\n {2}in\.jsonl:1: /)
    expect(again.code).toBe(1)
    expect((await serving.run('keys', 'import', organization, 'in.jsonl', '--on-conflict', 'skip')).out).toContain(
      'skipped 1',
    )
  })
})

describe('waiting', () => {
  it('a change is in force when the sidecar has it', async () => {
    const ran = await serving.run('keys', 'create', organization, '--name', 'w', '--scope', 'customers:READ', '--json')
    const waited = await serving.run('wait', String(field(ran, 'revisionToken')), '--timeout', '5s')
    expect(waited.out).toBe('In force at 1 of 1 live sidecars.\n')
    expect(waited.code).toBe(0)
    const json = await serving.run('wait', String(field(ran, 'revisionToken')), '--json')
    expect(JSON.parse(json.out)).toEqual({ governing: true, confirmed: 1, total: 1, lagging: [] })
  })
})

describe('refusals', () => {
  it('name every field with its flag', async () => {
    const { code, err, out } = await serving.run(
      'keys',
      'create',
      organization,
      '--name',
      'bad',
      '--scope',
      'nope:READ',
      '--allow',
      '10.0.0.0/8',
    )
    expect(code).toBe(1)
    expect(out).toBe('')
    expect(err).toContain('gatewarden keys create: INVALID_ARGUMENT FIELD_INVALID')
    expect(err).toMatch(/api_key\.scopes\[0\] \(--scope\): SCOPE_UNKNOWN/)
    expect(err).toMatch(/api_key\.allowlist\[0\].* \(--allow\): PRIVATE_RANGE/)
    expect(err).toContain('request id ')
  })

  it('give scripts code, reason and violations', async () => {
    const { code, out } = await serving.run(
      'keys',
      'get',
      `${organization}/apiKeys/key_01a21421-1bce-7a86-89fc-d0913e97f3b6`,
      '--json',
    )
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'NOT_FOUND', reason: 'API_KEY_UNKNOWN' } })
  })

  it('name the mend of a stale etag and of a foreign admin key', async () => {
    const { name } = await createKey()
    const stale = await serving.run('keys', 'update', name, '--name', 'x', '--etag', 'v99')
    expect(stale.err).toContain('ABORTED ETAG_MISMATCH')
    expect(stale.err).toContain('read it again')
    writeFileSync(join(serving.directory, 'foreign.key'), 'gwa_0123456789ABCDEFGHIJKLMNOPQRSTUV27hpmI\n', {
      mode: 0o600,
    })
    const foreign = await serving.run('orgs', 'list', '--key-file', 'foreign.key')
    expect(foreign.err).toContain('UNAUTHENTICATED ADMIN_KEY_INVALID')
    expect(foreign.err).toContain('--key-file')
    expect(foreign.err).not.toContain('27hpmI')
  })
})

describe('bootstrap', () => {
  it('is closed while there is a ROOT, and opens with --break-glass', async () => {
    const closed = await runGatewarden(['bootstrap'], serving.environment, serving.directory)
    expect(closed.stderr).toContain('There is a ROOT already')
    expect(closed.code).toBe(1)
    const opened = await runGatewarden(['bootstrap', '--break-glass'], serving.environment, serving.directory)
    const token = opened.stdout.trim()
    expect(token).toMatch(/^gwb_/)
    expect(opened.stderr).not.toContain(token)
    const file = join(serving.directory, 'second.key')
    const made = await serving.run('bootstrap', 'complete', token, '--save', 'second.key', '--name', 'second')
    expect(made.err).toContain(file)
    expect(existsSync(file) && statSync(file).mode & 0o777).toBe(0o600)
    expect((await serving.run('orgs', 'list', '--key-file', 'second.key')).code).toBe(0)
    const again = await serving.run('bootstrap', 'complete', token)
    expect(again.err).toContain('BOOTSTRAP_TOKEN_INVALID')
  }, 60_000)
})

describe('profiles', () => {
  it('are linted with the exit codes of the linter', async () => {
    const clean = await serving.run('profile', 'lint', 'profiles/x.yaml')
    expect(clean.code).toBe(2)
    expect(clean.err).toContain('cannot be read (ENOENT)')
    const shipped = await runGatewarden(
      ['profile', 'lint', 'profiles/bitbybit.yaml', 'profiles/billoget.yaml', 'profiles/bitgpt.yaml'],
      {},
    )
    expect(shipped.stdout).toMatch(/3 files, 0 errors/)
    expect(shipped.code).toBe(0)
    writeFileSync(join(serving.directory, 'bad.yaml'), 'api_version: nonsense\n')
    const bad = await serving.run('profile', 'lint', 'bad.yaml', '--json')
    expect(bad.code).toBe(2)
    expect((JSON.parse(bad.out) as { findings: unknown[] }).findings.length).toBeGreaterThan(0)
  }, 60_000)

  it('are shown by name and as a list', async () => {
    const list = await serving.run('profile', 'show')
    expect(list.out).toContain('api.bitbybit.studio')
    const one = await serving.run('profile', 'show', 'billoget')
    expect(one.out).toContain('bk_live_')
    expect((JSON.parse((await serving.run('profile', 'show', 'bitgpt', '--json')).out) as { name: string }).name).toBe(
      'bitgpt',
    )
    expect((await serving.run('profile', 'show', 'nobody')).code).toBe(2)
  })
})

describe('what is left behind', () => {
  it('no secret in the log of the service', () => {
    const log = serving.process.output()
    expect(log).not.toMatch(/bbb_(live|test)_[0-9A-Za-z]{10}/)
    expect(log.match(/gwa_[0-9A-Za-z]{10,}/g)?.length).toBe(1)
    expect(readFileSync(join(serving.dataDir, 'admin.key'), 'utf8')).toMatch(/^gwa_/)
  })
})
