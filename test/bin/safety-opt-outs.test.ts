// Whoever takes away some of the safety of a default sees it in the first log line and as a gauge.
import { expect, it } from 'vitest'
import { safetyOptOutFields, safetyOptOutSamples } from '../../src/bin/safety-opt-outs.ts'
import { loadConfig } from '../../src/config/load-config.ts'

function configOf(environment: Readonly<Record<string, string>>) {
  const result = loadConfig({ role: 'serve', environment, cwd: '/nowhere' })
  if (!result.ok) throw new Error(JSON.stringify(result.faults))
  return result.config
}

const gauges = (environment: Readonly<Record<string, string>>) =>
  safetyOptOutSamples(configOf(environment)).map(({ labels, value }) => [labels['setting'], value])

it('says nothing in the log while every default holds, and shows each setting as 0', () => {
  expect(safetyOptOutFields(configOf({}))).toEqual({})
  expect(gauges({})).toEqual([
    ['check.own_failure', 0],
    ['feed.proof', 0],
  ])
})

it.each([
  ['GATEWARDEN_CHECK_OWN_FAILURE', 'error_response', 'check.own_failure'],
  ['GATEWARDEN_CHECK_OWN_FAILURE', 'rpc-error', 'check.own_failure'],
  ['GATEWARDEN_FEED_PROOF', 'read', 'feed.proof'],
])('names %s=%s', (variable, value, setting) => {
  expect(safetyOptOutFields(configOf({ [variable]: value }))).toEqual({ safetyOptOuts: [`${setting}: ${value}`] })
  expect(Object.fromEntries(gauges({ [variable]: value }))[setting]).toBe(1)
})

it('refuses stale_if_error, which is not in this version', () => {
  const environment = { GATEWARDEN_CHECK_STALE_IF_ERROR: 'true' }
  const result = loadConfig({ role: 'serve', environment, cwd: '/nowhere' })
  expect(result.ok ? [] : result.faults.map(({ accepted }) => accepted)).toEqual([
    expect.stringContaining('comes with a later version'),
  ])
})
