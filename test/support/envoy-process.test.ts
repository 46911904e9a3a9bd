// The Envoy launcher: ports that the system chose, a log for failures, nothing left behind.
import { describe, expect, it } from 'vitest'
import { startEnvoy } from './envoy-process.ts'

const config = `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: direct
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: direct
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{ match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "%ANSWER%" } } }]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
`

describe('startEnvoy', () => {
  it('serves on the ports it tells, and ends when told', async () => {
    const envoy = await startEnvoy(config, { replace: { '%ANSWER%': 'hello' } })
    const url = `http://127.0.0.1:${envoy.port('direct')}/`
    expect(await (await fetch(url)).text()).toBe('hello')
    expect(() => envoy.port('other')).toThrow(/no TCP listener other: direct/)
    await envoy.stop()
    await expect(fetch(url)).rejects.toThrow()
    await envoy.exited
  })

  it('says why it did not start', async () => {
    await expect(startEnvoy(`${config}\nnonsense: true`, { replace: { '%ANSWER%': 'x' } })).rejects.toThrow(/nonsense/)
    await expect(startEnvoy(config, { replace: { '%MISSING%': 'x' } })).rejects.toThrow(/does not contain %MISSING%/)
  })
})
