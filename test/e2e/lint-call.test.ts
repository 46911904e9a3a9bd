// The lint call of a real admin process: what it says of a profile is what the service says of the one it has loaded, and neither
// hostile texts nor many at once keep other calls waiting.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ProfileAdminService } from '../../src/gen/gatewarden/admin/v1/profile_admin.ts'
import { JOBS_WAITING_MAX } from '../../src/profile/lint-thread.ts'
import { profileText } from '../profile/documents.ts'
import { hostileTexts, largestProfile } from '../profile/hostile-texts.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { type AdminProcess, killProcesses, startAdminProcess } from './processes.ts'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-lc-'))
let admin: AdminProcess
const open = () => admin.channel.client(ProfileAdminService)
let profiles: ReturnType<typeof open>

beforeAll(async () => {
  admin = await startAdminProcess({ directory, database: database().database })
  profiles = open()
})
afterAll(async () => {
  admin?.channel.close()
  await killProcesses()
  rmSync(directory, { recursive: true, force: true })
})

const lint = (yaml: string) => profiles.lintProfile({ yaml, inventory: '', strict: false })

it('says of a loaded profile what the service says of it', async () => {
  const { digest, findings } = await lint(profileText('billoget'))
  expect(await profiles.getProfile({ name: 'profiles/billoget' })).toMatchObject({
    digest,
    findingsCount: findings.length,
  })
  expect(findings.length).toBeGreaterThan(0)
  expect((await lint(largestProfile())).findings.filter(({ level }) => level === 'error')).toEqual([])
})

it('answers other calls while hostile texts are judged, and tells whoever comes when too many wait', async () => {
  const texts = ['commas in brackets', 'a star a line', 'open brackets'].map(name => hostileTexts[name] ?? '')
  const sent = JOBS_WAITING_MAX + 8
  let ended = 0
  const lints = Array.from({ length: sent }, async (_, i) => {
    const outcome = await lint(texts[i % texts.length] ?? '').catch((error: unknown) => error)
    ended++
    return outcome
  })
  let answered = 0
  while (ended < sent - JOBS_WAITING_MAX) {
    await profiles.listProfiles({ pageSize: 1, pageToken: '' })
    answered++
  }
  const outcomes = await Promise.all(lints)
  const refused = outcomes.filter(outcome => outcome instanceof Error)
  expect(answered).toBeGreaterThan(0)
  expect(refused.length).toBeGreaterThan(0)
  for (const error of refused) expect(error).toMatchObject({ reason: 'RATE_LIMITED' })
  for (const outcome of outcomes) {
    if (!(outcome instanceof Error)) expect(outcome).toMatchObject({ findings: [{ code: 'limit', level: 'error' }] })
  }
})
