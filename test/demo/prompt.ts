// The prompt after the demo: each line is run by the shell, with `gatewarden` on the PATH and set up for the demo's admin service.
// Ends with `exit`, Ctrl-D or Ctrl-C. Lines may also come from a pipe.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { commandFile } from '../support/gatewarden-process.ts'
import type { DemoStack } from './stack.ts'

/** Reads and runs lines until there are no more. */
export async function runPrompt(stack: DemoStack): Promise<void> {
  const bin = join(stack.directory, 'bin')
  mkdirSync(bin)
  writeFileSync(
    join(bin, 'gatewarden'),
    `#!/bin/sh\nexec ${JSON.stringify(process.execPath)} ${JSON.stringify(commandFile())} "$@"\n`,
  )
  chmodSync(join(bin, 'gatewarden'), 0o755)
  const env = { ...process.env, ...stack.environment, PATH: `${bin}:${process.env['PATH'] ?? ''}` }
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: process.stdin.isTTY === true,
    prompt: 'demo> ',
  })
  lines.on('SIGINT', () => lines.close())
  lines.prompt()
  for await (const line of lines) {
    if (line.trim() === 'exit' || line.trim() === 'quit') break
    if (line.trim() !== '') {
      const child = spawn('sh', ['-c', line], { env, cwd: stack.directory, stdio: ['ignore', 'inherit', 'inherit'] })
      await once(child, 'close')
    }
    lines.prompt()
  }
  lines.close()
}
