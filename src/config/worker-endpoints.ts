// Where one of several workers listens: every address that the settings name, made its own by the worker's number. Total.
import type { Config } from './config.ts'
import { parseListen } from './listen-address.ts'

/** What a worker listens on. */
export interface WorkerEndpoints {
  readonly check: readonly string[]
  readonly als: readonly string[]
  readonly metrics: string
}

/** Endpoints of the `worker`-th process, counted from 1. */
export function workerEndpoints(config: Pick<Config, 'check' | 'als' | 'metrics'>, worker: number): WorkerEndpoints {
  const own = (address: string) => endpointOf(address, worker)
  return { check: config.check.listen.map(own), als: config.als.listen.map(own), metrics: own(config.metrics.listen) }
}

/** `unix:/run/check.sock` becomes `unix:/run/check-2.sock` for worker 2, and port 9001 becomes 9002; port 0 stays any port. */
export function endpointOf(address: string, worker: number): string {
  const listen = parseListen(address)
  if (listen === undefined) return address
  if (listen.kind === 'unix') return `unix:${listen.path.replace(/(\.[^./]*)?$/, `-${worker}$1`)}`
  const port = listen.port === 0 ? 0 : listen.port + worker - 1
  return address.replace(/\d+$/, String(port))
}
