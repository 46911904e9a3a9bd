// `npm run demo`: three products decided through a real Envoy on this machine, then a prompt. `-- --check` runs the golden cases instead.
// The only file of the demo that reads the process's arguments and exits.
import { bold, curlCommand, faint, type Print } from './show.ts'
import { type DemoStack, startDemoStack } from './stack.ts'
import { stories } from './story.ts'
import { type Told, tell } from './tell.ts'

const usage = `usage: npm run demo               three products through a real Envoy, then a prompt
       npm run demo -- --check    the golden cases through Envoy; last line "N passed, 0 failed"
       npm run demo -- --no-prompt  leave after the requests
`

const print: Print = (line = '') => process.stdout.write(`${line}\n`)

/** The demo proper. */
async function show(withPrompt: boolean): Promise<number> {
  const began = performance.now()
  print('Starting PostgreSQL, gatewarden serve and Envoy …')
  const stack = await startDemoStack()
  // The stack is also stopped when the reader of our output went away or the user is impatient.
  process.once('SIGTERM', () => void stack.stop().finally(() => process.exit(143)))
  if (!withPrompt) process.once('SIGINT', () => void stack.stop().finally(() => process.exit(130)))
  try {
    const told: Told[] = []
    for (const story of stories) told.push(await tell(stack, print, story))
    const answers = told.flatMap(({ story, answers }) => answers.map(answer => ({ ...answer, profile: story.profile })))
    const wrong = answers.filter(({ faults }) => faults.length > 0)
    print()
    for (const { profile, says, faults } of wrong) print(`FAILED ${profile}: ${says}: ${faults.join('; ')}`)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    print(`${answers.length - wrong.length} answers as documented, ${wrong.length} not, after ${seconds} s.`)
    if (withPrompt) {
      await guide(stack, told)
      const { runPrompt } = await import('./prompt.ts')
      await runPrompt(stack)
    }
    return wrong.length === 0 ? 0 : 1
  } finally {
    await stack.stop()
  }
}

/** Ports, the admin key, and commands that work as they stand. */
async function guide(stack: DemoStack, told: readonly Told[]): Promise<void> {
  print()
  print(bold('Running until you leave (exit, Ctrl-D):'))
  print(`  Envoy, TLS      https://127.0.0.1:${stack.edgePort}   (CA ${stack.caFile})`)
  print(`  Envoy admin     http://127.0.0.1:${stack.envoyAdminPort}`)
  print(`  metrics         http://127.0.0.1:${stack.metricsPort}/metrics`)
  print(`  admin service   ${stack.adminAddress}, admin key in ${stack.adminKeyFile}`)
  print()
  for (const { story, organization, keys } of told) {
    const made = await stack.gatewarden(
      'keys',
      'create',
      organization,
      '--name',
      'yours',
      ...firstFlags(story.profile),
      '--json',
      '--wait',
    )
    const secret = String((JSON.parse(made.stdout) as Record<string, unknown>)['secret'])
    const [request] = story.steps
    if (request?.step !== 'request') continue
    print(faint(`  # ${story.profile}`))
    print(
      `  ${curlCommand(story.host, stack.edgePort, stack.caFile, request.method, request.path, story.header(secret))}`,
    )
    print(`  gatewarden keys list ${organization}`)
    const [first] = keys.values()
    if (first !== undefined) print(`  gatewarden keys get ${first.name}`)
    print()
  }
}

function firstFlags(profile: string): readonly string[] {
  return stories.find(story => story.profile === profile)?.keys[0]?.flags ?? []
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length === 0) return show(true)
  if (args.length === 1 && args[0] === '--no-prompt') return show(false)
  if (args.length === 1 && args[0] === '--check') {
    const { runChecks } = await import('./check.ts')
    return runChecks(print)
  }
  process.stderr.write(usage)
  return 2
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.kill(process.pid, 'SIGTERM')
})
main(process.argv.slice(2)).then(
  code => {
    process.exitCode = code
  },
  error => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  },
)
