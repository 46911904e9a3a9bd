// Tells one product's story on a running stack and compares every answer with the one documented.

import type { Answer } from '../support/http-request.ts'
import { until } from '../support/until.ts'
import { bold, faint, type Print, showAnswer } from './show.ts'
import type { DemoStack } from './stack.ts'
import type { ProductStory, StoryStep } from './story.ts'

interface CreatedKey {
  readonly name: string
  readonly secret: string
}

/** A product after its story: what is left to play with. */
export interface Told {
  readonly story: ProductStory
  readonly organization: string
  readonly keys: ReadonlyMap<string, CreatedKey>
  /** Every request of the story, with what was wrong about its answer. */
  readonly answers: readonly { readonly says: string; readonly faults: readonly string[] }[]
}

async function run(stack: DemoStack, args: readonly string[]): Promise<Record<string, unknown>> {
  const finished = await stack.gatewarden(...args, '--json')
  if (finished.code !== 0)
    throw new Error(`gatewarden ${args.join(' ')} ended with ${finished.code}: ${finished.stderr}`)
  return JSON.parse(finished.stdout) as Record<string, unknown>
}

function nameOf(resource: unknown): string {
  if (typeof resource === 'object' && resource !== null && 'name' in resource) return String(resource.name)
  throw new Error('the reply has no resource')
}

async function createKey(
  stack: DemoStack,
  print: Print,
  organization: string,
  name: string,
  flags: readonly string[],
): Promise<CreatedKey> {
  print(
    faint(`  $ gatewarden keys create ${organization} --name ${name}${flags.map(flag => ` ${quoted(flag)}`).join('')}`),
  )
  const reply = await run(stack, ['keys', 'create', organization, '--name', name, ...flags, '--wait'])
  return { name: nameOf(reply['apiKey']), secret: String(reply['secret']) }
}

const quoted = (word: string) => (/^[\w:/.=-]+$/.test(word) ? word : `'${word}'`)

/** Runs the story. */
export async function tell(stack: DemoStack, print: Print, story: ProductStory): Promise<Told> {
  print()
  print(bold(story.title))
  const created = await run(stack, ['orgs', 'create', '--name', 'Demo', '--profile', story.profile])
  const organization = nameOf(created['organization'])
  print(faint(`  $ gatewarden orgs create --name Demo --profile ${story.profile}`))
  const keys = new Map<string, CreatedKey>()
  for (const key of story.keys) keys.set(key.name, await createKey(stack, print, organization, key.name, key.flags))
  const answers: { says: string; faults: readonly string[] }[] = []
  for (const step of story.steps) {
    if (step.step === 'change') await change(stack, print, keys, step)
    else answers.push({ says: step.says, faults: await request(stack, print, story, keys, step) })
  }
  return { story, organization, keys, answers }
}

async function change(
  stack: DemoStack,
  print: Print,
  keys: Map<string, CreatedKey>,
  step: Extract<StoryStep, { step: 'change' }>,
): Promise<void> {
  const { name } = known(keys, step.key)
  print(
    faint(`  $ gatewarden keys ${step.command} ${name}${step.flags.map(flag => ` ${quoted(flag)}`).join('')} --wait`),
  )
  const reply = await run(stack, ['keys', step.command, name, ...step.flags, '--wait'])
  if (step.as !== undefined) keys.set(step.as, { name: nameOf(reply['apiKey']), secret: String(reply['secret']) })
}

function known(keys: ReadonlyMap<string, CreatedKey>, name: string): CreatedKey {
  const key = keys.get(name)
  if (key === undefined) throw new Error(`the story has no key named ${name}`)
  return key
}

/** Sends one request; what was wrong with the answer. */
async function request(
  stack: DemoStack,
  print: Print,
  story: ProductStory,
  keys: Map<string, CreatedKey>,
  step: Extract<StoryStep, { step: 'request' }>,
): Promise<readonly string[]> {
  const secret = step.secret ?? (step.key === null ? undefined : known(keys, step.key).secret)
  const presented = step.secret !== undefined ? step.secret : step.key === null ? 'no key' : `key ${step.key}`
  print(`  ${step.method} ${step.path}   ${faint(`(${presented}) ${step.says}`)}`)
  if (step.sends !== undefined) print(`    ${step.sends}`)
  const credential = secret === undefined ? [] : [story.header(secret)]
  const type = step.sends === undefined ? [] : [['content-type', 'application/json'] as const]
  const ask = () => stack.request(story.host, step.method, step.path, [...credential, ...type], step.sends)
  const answer = isNew(step, keys)
    ? await until('the new key is known', async () => accepted(await ask()))
    : await ask()
  showAnswer(print, answer, step.body !== undefined)
  const faults: string[] = []
  if (answer.status !== step.status) faults.push(`status ${answer.status}, not ${step.status}: ${answer.body}`)
  if (step.body !== undefined && !patternOf(step.body).test(answer.body))
    faults.push(`body ${answer.body}, not ${step.body}`)
  for (const [name, value] of Object.entries(step.headers ?? {})) {
    if (answer.headers[name] !== value) faults.push(`${name}: ${answer.headers[name]}, not ${value}`)
  }
  if (step.makes !== undefined && faults.length === 0) {
    const { data } = JSON.parse(answer.body) as { readonly data: { readonly id: string; readonly secret: string } }
    keys.set(step.makes, { name: data.id, secret: data.secret })
  }
  return faults
}

/** A key that a request has made: `keys create --wait` waits for the others to be in force. */
function isNew(step: Extract<StoryStep, { step: 'request' }>, keys: ReadonlyMap<string, CreatedKey>): boolean {
  return step.key !== null && keys.get(step.key)?.name.includes('/') === false
}

function accepted(answer: Answer): Answer | false {
  return answer.status === 401 ? false : answer
}

/** A body with `<name>` for texts without quotes. */
function patternOf(body: string): RegExp {
  const pattern = body
    .split(/<[a-z_]+>/)
    .map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^"]+')
  return new RegExp(`^${pattern}$`)
}
