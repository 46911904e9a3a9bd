// The scripted source of the unit tests keeps the same contract as the real one; otherwise they would prove nothing.
import { beforeEach } from 'vitest'
import { type SourceHarness, sourceContract } from './source-contract.ts'
import { digestOf, keyRow, organizationRow, unixMicros } from './support/rows.ts'
import { ScriptedServer } from './support/scripted-server.ts'
import { ScriptedSource } from './support/scripted-source.ts'
import { VirtualTime } from './support/virtual-time.ts'

let harness: SourceHarness

beforeEach(() => {
  const time = new VirtualTime()
  const server = new ScriptedServer(time)
  const source = new ScriptedSource(time, server)
  server.commitOrganization('org_1', organizationRow('org_1'))
  harness = {
    source,
    commit: async (apiKeys, scopes) => server.commitApiKeys(apiKeys.map(n => [digestOf(n), keyRow(n, 1, { scopes })])),
    record: async kinds => server.record(kinds.map(kind => ({ kind }))),
    suspendOrganization: async () =>
      server.commitOrganization('org_1', organizationRow('org_1', { suspend_time: unixMicros(1) })),
    remove: async n => server.commitApiKeys([[digestOf(n), null]]),
    prune: async floor => server.prune(floor),
    takeSlots: async () => {
      server.loadSlots = 0
      return async () => {
        server.loadSlots = 4
      }
    },
    hint: async () => source.hint(),
    now: () => VirtualTime.START_UNIX_MS + time.now(),
    drive: async promise => {
      let settled = false
      const done = promise.finally(() => {
        settled = true
      })
      done.catch(() => undefined) // whoever awaits `done` hears of it
      await time.until(() => settled)
      return done
    },
  }
})

sourceContract('the scripted server', () => harness)
