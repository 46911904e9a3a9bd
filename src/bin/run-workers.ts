// Several check processes under one: each with endpoints, a table and a spool lane of its own, so that Envoy spreads checks over
// them request by request. The parent answers nothing; it starts workers, starts one again that ended by itself, and ends with them.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type ExitCode, exitConfig, exitFailed, exitOk } from '../cli/command.ts'
import { workerEndpoints } from '../config/worker-endpoints.ts'
import type { Frame } from './process-frame.ts'

/** From the end of a worker to its next start; doubled for each end in a row. */
const restartMs = 1000
const restartMsMax = 30_000
/** A worker that lived this long had started well. */
const steadyMs = 60_000

export interface WorkersInvocation {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** `--config`, as given. */
  readonly configFile: string | undefined
}

/** Runs until the end is wanted; resolves when every worker has ended. */
export async function runWorkers({ config, log, ending }: Frame, invocation: WorkersInvocation): Promise<ExitCode> {
  const environments = Array.from({ length: config.check.workers }, (_, index) => {
    const { check, als, metrics } = workerEndpoints(config, index + 1)
    return {
      GATEWARDEN_CHECK_WORKERS: '1',
      GATEWARDEN_CHECK_LISTEN: check.join(','),
      GATEWARDEN_ALS_LISTEN: als.join(','),
      GATEWARDEN_METRICS_LISTEN: metrics,
    }
  })
  const args = ['check', ...(invocation.configFile === undefined ? [] : ['--config', invocation.configFile])]
  let isEnding = false
  let code: ExitCode = exitOk
  const workers = new Set<ChildProcess>()
  const run = async (environment: Readonly<Record<string, string>>, worker: number) => {
    for (let failures = 0; !isEnding; ) {
      const begin = performance.now()
      const child = startWorker(args, { ...withoutFiles(invocation.environment, environment), ...environment })
      workers.add(child)
      log.info('worker starts', { worker, pid: child.pid })
      const status = await endOf(child)
      workers.delete(child)
      if (isEnding) {
        if (status !== exitOk && code === exitOk) code = exitFailed
        return
      }
      if (status === exitConfig) {
        code = exitConfig
        return ending.fail(new Error(`worker ${worker} refuses its configuration`))
      }
      failures = performance.now() - begin < steadyMs ? failures + 1 : 1
      const delayMs = Math.min(restartMs * 2 ** (failures - 1), restartMsMax)
      log.error('a worker ended by itself and is started again', { worker, status, delayMs })
      await Promise.race([ending.wanted, new Promise(resolve => setTimeout(resolve, delayMs))])
    }
  }
  const runs = environments.map((environment, index) => run(environment, index + 1))
  const { signal } = await ending.wanted
  isEnding = true
  log.info('draining', { signal })
  for (const child of workers) child.kill(signal === 'failure' ? 'SIGINT' : signal)
  await Promise.all(runs)
  log.info('drained', { signal })
  return signal === 'failure' && code === exitOk ? exitFailed : code
}

/** A setting is given once: what a worker is told replaces what a file was named for. */
function withoutFiles(
  environment: WorkersInvocation['environment'],
  own: Readonly<Record<string, string>>,
): WorkersInvocation['environment'] {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !(name.replace(/_FILE$/, '') in own)))
}

/** In a session of its own: a terminal's Ctrl-C reaches the parent alone, which passes it on once. */
function startWorker(args: readonly string[], env: Readonly<Record<string, string | undefined>>): ChildProcess {
  return fork(fileURLToPath(new URL('gatewarden.js', import.meta.url)), args, { env, detached: true })
}

/** Exit status, or the signal that ended it. */
function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (status, signal) => resolve(status ?? signal ?? exitFailed))
  })
}
