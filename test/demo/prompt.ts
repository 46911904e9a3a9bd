// The prompt after the demo: an ordinary shell, so that what is pasted works as it stands, over several lines and with variables.
// Ends with `exit` or Ctrl-D. Commands may also come from a pipe.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { shellEnvironment } from './shell.ts'
import type { DemoStack } from './stack.ts'

/** Runs the shell to its end. */
export async function runPrompt(stack: DemoStack): Promise<void> {
  const interactive = process.stdin.isTTY === true ? ['-i'] : []
  const env = { ...shellEnvironment(stack), PS1: 'demo> ', ENV: '' }
  const shell = spawn('sh', interactive, { env, stdio: 'inherit' })
  await once(shell, 'close')
}
