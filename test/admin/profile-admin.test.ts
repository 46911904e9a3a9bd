// The linter as a call: the caller is known first, and no connection is held while a text is judged, however long that takes
// (a slow lint once made other calls answer STORE_UNAVAILABLE).
import { beforeEach, expect, test } from 'vitest'
import { profileAdmin } from '../../src/admin/profile-admin.ts'
import type { LintJob, LintOutcome } from '../../src/profile/lint-job.ts'
import { adminConnectionsMax } from '../../src/store/pool.ts'
import { judgeHere, profileText } from '../profile/documents.ts'
import { callWith, refusal, useWorld } from './admin-world.ts'

const world = useWorld()
const root = () => callWith(world().rootKey)
const request = { yaml: profileText('bitbybit'), inventory: '', strict: false }

let judged: LintJob[] = []
beforeEach(() => {
  judged = []
})

/** The service with a linter that notes what it is asked. */
function service(outcome: (job: LintJob) => Promise<LintOutcome>) {
  const judgeProfile = async (job: LintJob) => {
    judged.push(job)
    return await outcome(job)
  }
  return profileAdmin({ ...world().context, judgeProfile })
}

test('while more texts are judged than there are connections, every other call is answered', async () => {
  let release: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  const profiles = service(async job => {
    await gate
    return await judgeHere(job)
  })
  const lints = Array.from({ length: adminConnectionsMax + 4 }, () => profiles.lintProfile(request, root()))
  await expect.poll(() => judged.length).toBe(lints.length)
  expect(world().pool.idleCount).toBe(world().pool.totalCount)
  expect((await profiles.listProfiles({ pageSize: 10, pageToken: '' }, root())).profiles.length).toBe(3)
  release()
  for (const { findings } of await Promise.all(lints)) {
    expect(findings.filter(({ level }) => level === 'error')).toEqual([])
  }
})

test('the text of a stranger is not looked at, nor one without, nor one too long', async () => {
  const profiles = service(judgeHere)
  expect((await refusal(profiles.lintProfile(request, callWith('gwa_nobody')))).reason).toBe('ADMIN_KEY_INVALID')
  expect((await refusal(profiles.lintProfile({ ...request, yaml: '' }, root()))).reason).toBe('FIELD_REQUIRED')
  const long = { ...request, inventory: 'x'.repeat(300_000) }
  expect((await refusal(profiles.lintProfile(long, root()))).reason).toBe('FIELD_TOO_LONG')
  expect(judged).toEqual([])
})

test('strict makes errors of warnings, and the inventory reaches the linter', async () => {
  const profiles = service(judgeHere)
  const inventory = 'DELETE /nowhere\n'
  const levelOf = async (strict: boolean) =>
    (await profiles.lintProfile({ ...request, inventory, strict }, root())).findings
      .filter(({ message }) => message.includes('/nowhere'))
      .map(({ level }) => level)
  expect(await levelOf(false)).toEqual(['warning'])
  expect(await levelOf(true)).toEqual(['error'])
  expect(judged[0]).toMatchObject({ text: request.yaml, inventory, file: 'profile.yaml' })
})

test('a text that costs too much has one finding that says so', async () => {
  const profiles = service(async () => ({
    kind: 'unfinished',
    reason: 'costly',
    cause: 'it took longer than 10000 ms',
  }))
  const { digest, findings } = await profiles.lintProfile(request, root())
  expect(digest).toBe('')
  expect(findings).toMatchObject([{ code: 'limit', level: 'error', line: 1 }])
  expect(findings[0]?.message).toMatch(/longer than 10000 ms; shorten or simplify it$/)
})

test('a busy linter tells the caller when to come again, a broken one is our own fault', async () => {
  const busy = service(async () => ({ kind: 'unfinished', reason: 'busy', cause: 'too many others' }))
  const refused = await refusal(busy.lintProfile(request, root()))
  expect(refused.reason).toBe('RATE_LIMITED')
  expect(refused.details.retryDelayMs).toBeGreaterThan(0)
  const broken = service(async () => ({ kind: 'unfinished', reason: 'failed', cause: 'no script' }))
  await expect(broken.lintProfile(request, root())).rejects.toThrow('no script')
})
