// Every command in README.md and in the walk-throughs of docs/ is run against one real stack (PostgreSQL, `gatewarden serve`, Envoy
// with TLS, an upstream), and prints what the document shows. The convention of the transcripts is in transcript.ts.
// It needs curl, as a reader does.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { shellEnvironment } from '../demo/shell.ts'
import { type DemoStack, startDemoStack } from '../demo/stack.ts'
import { filesBelow, root } from '../house/sources.ts'
import { matchOutput, readSteps, type Step, type Variables } from './transcript.ts'

const documents = ['README.md', ...filesBelow('docs', '.md').map(({ path }) => path)]
  .map(path => ({ path, steps: readSteps(readFileSync(join(root, path), 'utf8')) }))
  .filter(({ steps }) => steps.some(step => step.kind === 'command'))

/** What a reader has in the root of the repository, for commands that name it. */
const shared = ['profiles', 'proto', 'node_modules']

let stack: DemoStack
let environment: Record<string, string | undefined>

beforeAll(async () => {
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' })
  } catch {
    throw new Error('The documents use curl, and there is none on the PATH: install it (apt-get install curl).')
  }
  stack = await startDemoStack()
  environment = shellEnvironment(stack)
}, 120_000)

afterAll(() => stack?.stop())

/** Runs one command as a terminal would show it: both streams in the order they were written. */
async function run(command: string, cwd: string, variables: Variables): Promise<string> {
  const env = { ...environment, ...variables }
  const child = spawn('sh', ['-c', `exec 2>&1\n${command}`], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  await once(child, 'close')
  return output.replaceAll('\r\n', '\n')
}

it('there is a transcript in README.md', () => {
  expect(documents.map(({ path }) => path)).toContain('README.md')
})

it.concurrent.each(documents)('$path prints what it shows', { timeout: 120_000 }, async ({ path, steps }) => {
  const cwd = join(stack.directory, path.replaceAll('/', '-'))
  mkdirSync(cwd)
  for (const name of shared) symlinkSync(join(root, name), join(cwd, name))
  let variables: Variables = {}
  for (const step of steps) variables = await take(step, path, cwd, variables)
})

async function take(step: Step, path: string, cwd: string, variables: Variables): Promise<Variables> {
  if (step.kind === 'file') {
    writeFileSync(join(cwd, step.name), step.text)
    return variables
  }
  const output = await run(step.text, cwd, variables)
  const after = matchOutput(step.expected, output, variables)
  if (after === null) {
    throw new Error(
      `${path}:${step.line}: the command\n\n${step.text}\n\nprinted\n\n${output}\nand the document shows\n\n${step.expected.join('\n')}`,
    )
  }
  return after
}
