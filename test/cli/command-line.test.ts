// The command line takes exactly what its table says, answers help for everything, and says what is wrong with a mend.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Io, OutputFailure } from '../../src/cli/command.ts'
import { allCommands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/main.ts'

let cwd = ''
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'gwl-'))
})
afterEach(() => {
  rmSync(cwd, { recursive: true })
})

const never = async () => {
  throw new Error('a role was started')
}
const commands = allCommands(
  { serve: never, check: never, admin: never, migrate: never, bootstrap: never },
  join(process.cwd(), 'profiles'),
)

/** Why nothing can be written to standard output; undefined: it can. */
let refused: string | undefined
afterEach(() => {
  refused = undefined
})

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: -1, out: '', err: '' }
  const io: Io = {
    out: text => {
      if (refused !== undefined) throw new OutputFailure(refused)
      result.out += text
    },
    err: text => {
      result.err += text
    },
    environment: {},
    cwd,
    now: () => 0,
    uuid: () => '00000000-0000-4000-8000-000000000000',
  }
  result.code = await runCommandLine(args, commands, '1.2.3', io)
  return result
}

describe('help', () => {
  it.each(commands.map(command => command.words))('%s explains itself and all its flags', async words => {
    const { code, out } = await run(...words.split(' '), '--help')
    expect(code).toBe(0)
    expect(out).toContain(`Usage: gatewarden ${words}`)
    const command = commands.find(each => each.words === words)
    for (const [name, flag] of Object.entries(command?.flags ?? {})) {
      expect(out).toContain(`--${name}`)
      expect(out).toContain(flag.help)
    }
  })

  it('the overview names every command', async () => {
    for (const args of [[], ['--help'], ['help']]) {
      const { code, out } = await run(...args)
      expect(code).toBe(0)
      for (const { words } of commands) expect(out).toContain(words)
    }
  })

  it('a group shows its own commands only', async () => {
    const { out, code } = await run('keys', '--help')
    expect(code).toBe(0)
    expect(out).toContain('keys rotate')
    expect(out).not.toContain('orgs create')
  })

  it('the version is printed', async () => {
    expect(await run('--version')).toMatchObject({ code: 0, out: 'gatewarden 1.2.3\n' })
  })
})

describe('usage errors end with 2, before anything is done', () => {
  it.each([
    [['kyes', 'create', 'o'], 'there is no command "kyes create". Did you mean `gatewarden keys create`?'],
    [['chekc', '--workers', '2'], 'Did you mean `gatewarden check`? `gatewarden --help` lists what there is.'],
    [['keys', 'incinerate'], 'there is no command "keys incinerate". `gatewarden keys --help` lists what there is.'],
    [['keys'], 'there is no command "keys". `gatewarden keys --help`'],
    [['keys', 'create'], 'ORGANIZATION missing.'],
    [['keys', 'create', 'o'], '--name is missing.'],
    [['keys', 'create', 'o', 'p', '--name', 'x'], '"p" is one word too many.'],
    [['keys', 'create', 'o', '--nmae', 'x'], "Unknown option '--nmae'. Did you mean --name?"],
    [['keys', 'create', 'o', '--name'], "'--name"],
    [['keys', 'create', 'o', '--name', 'a', '--name', 'b'], '--name is given twice'],
    [
      ['keys', 'create', 'o', '--name', 'a', '--scope', 's', '--all-scopes'],
      '--scope and --all-scopes exclude each other',
    ],
    [['keys', 'create', 'o', '--name', 'a', '--expires', 'soon'], '--expires is "soon"; write an instant'],
    [
      ['keys', 'create', 'o', '--name', 'a', '--expires', '2027-13-01T00:00:00Z'],
      '--expires is "2027-13-01T00:00:00Z"',
    ],
    [['keys', 'create', 'o', '--name', 'a', '--limit', '10'], '--limit is "10"; write REQUESTS/WINDOW'],
    [['keys', 'create', 'o', '--name', 'a', '--label', 'x'], '--label is "x"; write KEY=VALUE'],
    [['keys', 'create', 'o', '--name', 'a', '--label', 'x=1', '--label', 'x=2'], '--label gives "x" two values'],
    [
      ['keys', 'create', 'o', '--name', 'a', '--expires', '2027-02-30T00:00:00Z'],
      '--expires is "2027-02-30T00:00:00Z"',
    ],
    [['keys', 'get', 'k'], '"k" is no API key'],
    [['keys', 'update', 'o/k'], 'nothing to change'],
    [['keys', 'revoke', 'o/k'], '--reason is missing.'],
    [
      ['keys', 'revoke', 'o/k', '--reason', 'bored'],
      'write one of leaked, superseded, cessation, policy, owner-request',
    ],
    [['keys', 'extend', 'o/k'], '--until is missing.'],
    [['keys', 'rotate', 'o/k', '--grace', '1.5h'], '--grace is "1.5h"'],
    [['orgs', 'create', '--name', 'x'], '--profile is missing.'],
    [['orgs', 'list', '--max', '0', '--key-file', 'k'], '--max is "0"'],
    [['wait'], 'TOKEN missing.'],
    [['profile', 'lint'], 'FILE missing.'],
    [['serve', '--port', '1'], "Unknown option '--port'. `gatewarden serve --help` shows its flags."],
    [['usage', 'list', '--since', 'yesterday', '--key-file', 'k'], '--since is "yesterday"; write an instant'],
    [['usage', 'list', '--since', 'yesterday', '--key-file', 'k'], 'or a duration ago such as 24h.'],
    [['profile', 'show', 'nobody'], 'there is no profile nobody; '],
  ])('%j', async (args, expected) => {
    if (args.includes('k')) writeFileSync(join(cwd, 'k'), 'gwa_x', { mode: 0o600 })
    const { code, err, out } = await run(...args)
    expect(err).toContain(expected)
    expect(code).toBe(2)
    expect(out).toBe('')
  })

  it.each([
    ['', 'has no row'],
    ['{"display_name":"a"}\nnonsense gwa_canary0123\n', 'in.jsonl:2: it is no JSON object'],
    [
      `{"display_name":"a","environment":"live","digest":"${'0'.repeat(63)}","key_hint":"x"}`,
      'in.jsonl:1: digest: found a text of 63 characters; accepted: the SHA-256 of the secret as 64 hex digits',
    ],
    [
      `{"display_name":"a","environment":"live","digest":"${'0'.repeat(64)}","key_hint":"x","secret":"canary"}`,
      'in.jsonl:1',
    ],
  ])('an import file %j is refused whole', async (text, expected) => {
    writeFileSync(join(cwd, 'in.jsonl'), text)
    const { code, err } = await run('keys', 'import', 'o', 'in.jsonl')
    expect(err).toContain(expected)
    expect(err).not.toContain('canary')
    expect(code).toBe(2)
  })
})

describe('calls that cannot be made', () => {
  it('a missing admin key is said with the two mends', async () => {
    const { code, err } = await run('orgs', 'list')
    expect(err).toContain(`no admin key: ${cwd}/.gatewarden/admin.key does not exist`)
    expect(err).toContain('--key-file')
    expect(code).toBe(78)
  })

  it('an admin key that others may read is refused', async () => {
    writeFileSync(join(cwd, 'k'), 'gwa_x', { mode: 0o644 })
    expect((await run('orgs', 'list', '--key-file', 'k')).err).toContain('mode 0644, readable by others')
  })

  it('a service that does not answer is named with its address', async () => {
    writeFileSync(join(cwd, 'k'), 'gwa_x', { mode: 0o600 })
    const { code, err } = await run('orgs', 'list', '--key-file', 'k', '--server', `unix:${cwd}/none.sock`)
    expect(err).toContain(`no admin service answers at unix:${cwd}/none.sock`)
    expect(code).toBe(1)
  })

  it('an admin key is never sent in clear text beyond this machine', async () => {
    writeFileSync(join(cwd, 'k'), 'gwa_x', { mode: 0o600 })
    const { code, err } = await run('orgs', 'list', '--key-file', 'k', '--server', 'admin.example:9002')
    expect(err).toContain('--ca FILE')
    expect(code).toBe(2)
  })

  it.each([
    ['', 'which is empty'],
    ['gwa_canary\ngwa_second', 'which is no admin key'],
    ['gwa_canary\u00e9', 'which is no admin key'],
  ])('a file that holds no admin key alone is refused: %j', async (content, expected) => {
    writeFileSync(join(cwd, 'k'), content, { mode: 0o600 })
    const { code, err } = await run('orgs', 'list', '--key-file', 'k')
    expect(err).toContain(`the admin key is not usable: found ${cwd}/k, ${expected}`)
    expect(err).not.toContain('canary')
    expect(code).toBe(78)
  })

  it('an authority that is no PEM is refused in one sentence', async () => {
    writeFileSync(join(cwd, 'k'), 'gwa_x', { mode: 0o600 })
    writeFileSync(join(cwd, 'none.pem'), 'no PEM at all')
    const damaged = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    writeFileSync(join(cwd, 'damaged.pem'), damaged)
    for (const [file, found] of [
      ['none.pem', 'holds no PEM certificate'],
      ['damaged.pem', 'holds a damaged certificate'],
      ['missing.pem', 'cannot be read (ENOENT)'],
    ] as const) {
      const { code, err } = await run('orgs', 'list', '--key-file', 'k', '--ca', file)
      expect(err).toContain(`--ca is "${file}", which ${found}; accepted: a PEM file`)
      expect(err.trim().split('\n')).toHaveLength(1)
      expect(code).toBe(78)
    }
  })

  it('a faulty configuration ends with 78', async () => {
    writeFileSync(join(cwd, 'gatewarden.yaml'), 'log: {level: loud}\n')
    const { code, err } = await run('orgs', 'list')
    expect(err).toContain('gatewarden.yaml:1:7 log.level')
    expect(code).toBe(78)
  })
})

describe('output that cannot be written', () => {
  it.each([['--version'], ['help'], ['keys', '--help'], ['keys', 'create', '--help'], ['profile', 'show']])(
    'ends with 74, and says so unless the reader has gone: %s',
    async (...args) => {
      refused = 'ENOSPC'
      const full = await run(...args)
      expect(full.err).toBe(
        'gatewarden: standard output cannot be written (ENOSPC); the result is not complete. Free some space, or write elsewhere.\n',
      )
      expect(full.code).toBe(74)
      refused = 'EPIPE'
      expect(await run(...args)).toEqual({ code: 74, out: '', err: '' })
    },
  )
})
