// The shell of the demo: what its prompt, and the test that runs the commands of the documents, offer to a command line.
// `gatewarden` is on the PATH and set up for this stack; EDGE is Envoy's address, CA the authority of its
// certificate, METRICS and ENVOY_ADMIN the addresses of both sides' counters.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandFile } from '../support/gatewarden-process.ts'
import type { DemoStack } from './stack.ts'

/** The environment of a shell in `stack.directory`. Call it once: it puts the command into the stack's directory. */
export function shellEnvironment(stack: DemoStack): Record<string, string | undefined> {
  const bin = join(stack.directory, 'bin')
  mkdirSync(bin)
  const command = join(bin, 'gatewarden')
  writeFileSync(command, `#!/bin/sh\nexec ${JSON.stringify(process.execPath)} ${JSON.stringify(commandFile())} "$@"\n`)
  chmodSync(command, 0o755)
  return {
    ...process.env,
    ...stack.environment,
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    EDGE: `127.0.0.1:${stack.edgePort}`,
    METRICS: `127.0.0.1:${stack.metricsPort}`,
    ENVOY_ADMIN: `127.0.0.1:${stack.envoyAdminPort}`,
    CA: stack.caFile,
  }
}
