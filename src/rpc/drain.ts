// Ends a grpc-js server without failing a call: NOT_SERVING, time for callers to see it, GOAWAY, then a deadline.
// Guarantee: resolves at the latest `noticeMs + deadlineMs` after the start, with the server closed.
import type { Server } from '@grpc/grpc-js'
import { cutServer } from '../transport/grpc-js-sessions.ts'
import type { Health } from './health.ts'

/** How long the parts of a drain may take. */
export interface DrainTimes {
  /** Between NOT_SERVING and GOAWAY: what a load balancer needs to look elsewhere. */
  readonly noticeMs: number
  /** From GOAWAY until streams that are still open are cut. */
  readonly deadlineMs: number
}

/** How a drain ended: `clean` if every call was answered, `forced` if streams were cut. */
export type DrainEnd = 'clean' | 'forced'

/** Drains one server. While the notice lasts, calls are answered as ever. */
export async function drain(server: Server, health: Health, times: DrainTimes): Promise<DrainEnd> {
  health.startDraining()
  await delay(times.noticeMs)
  const shutdown = new Promise<DrainEnd>(resolve => {
    const timer = setTimeout(() => {
      cutServer(server)
      resolve('forced')
    }, times.deadlineMs)
    server.tryShutdown(error => {
      clearTimeout(timer)
      if (error !== undefined) cutServer(server)
      resolve(error === undefined ? 'clean' : 'forced')
    })
  })
  health.endWatches()
  return await shutdown
}

function delay(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
