// The thread in which profile texts are judged (see lint-thread.ts): a job in, a verdict out, one at a time. Whoever started it
// ends it; whatever a text does to this thread, it does to no other.
import { parentPort } from 'node:worker_threads'
import { judge, type LintJob } from './lint-job.ts'

const port = parentPort
port?.on('message', (job: LintJob) => port.postMessage(judge(job)))
